"""How a protection is taken away."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

Patch = Callable[[Any, str, Any], None]
"""Set an attribute: for good in a process that ends anyway, until the test's end in that of pytest."""


def mutation(name: str) -> Callable[[Patch], None]:
    """The function of `module.function` in this package."""
    module, _, function = name.partition(".")
    found: Callable[[Patch], None] = getattr(importlib.import_module(f"{__package__}.{module}"), function)
    return found
