"""From photos and image-level tags to pixel masks.

`import pseudomask` is light: torch is imported when a verb that needs it is first used.

    import pseudomask
    from pathlib import Path

    config = pseudomask.ExtractConfig(images=Path("photos"), out=Path("masks"))
    result = pseudomask.extract(config)
"""

from __future__ import annotations

import importlib
import sys

if sys.argv[:1] == ["-m"]:  # Python sets this while it looks for the module given to -m
    from pseudomask._safe_path import leave_current_folder

    leave_current_folder()

from typing import TYPE_CHECKING, Any

from pseudomask._version import __version__ as __version__
from pseudomask.errors import PseudomaskError as PseudomaskError
from pseudomask.verbs import VERBS

if TYPE_CHECKING:
    from pseudomask.api import *  # noqa: F403
else:
    _CONFIGS = {verb.config.__name__: verb.config for verb in VERBS.values()}
    _VERBS = {verb.identifier: verb for verb in VERBS.values()}
    _OBJECTS = {"NotebookReporter": "pseudomask.cli.notebook", "Predictor": "pseudomask.predictor"}
    __all__ = ["PseudomaskError", "__version__", *_CONFIGS, *_OBJECTS, *_VERBS]
    globals().update(_CONFIGS)

    def __getattr__(name: str) -> Any:
        """The verbs' functions and the other names, imported when first asked for."""
        if name in _VERBS:
            return _VERBS[name].run
        if name in _OBJECTS:
            return getattr(importlib.import_module(_OBJECTS[name]), name)
        raise AttributeError(f"module 'pseudomask' has no attribute {name!r}")
