"""The settings of LPCAM."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pseudomask.config.common import option

_lpcam = partial(option, panel="LPCAM", of=("lpcam",))


@dataclass(frozen=True, kw_only=True)
class LpcamOptions:
    """LPCAM (Chen & Sun, CVPR 2023)."""

    lpcam_prototypes: Path | None = _lpcam(
        None,
        "Prototypes from `pseudomask prototypes`; by default those bundled for these weights, if any.",
        role="place",
    )
