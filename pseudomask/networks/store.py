"""Find the weights to use if none are named."""

from __future__ import annotations

import os
from pathlib import Path

from pseudomask.errors import WeightsError
from pseudomask.suggest import did_you_mean_path

VARIABLE = "PSEUDOMASK_WEIGHTS"
BUNDLED = "recam_resnet50_voc_animals.safetensors"
NAMED = {"imagenet": "imagenet_resnet50.safetensors"}
"""Bundled weights that `--weights` accepts by name."""
HEADS = "boundaries_*.safetensors"
"""Boundary heads bundled with pseudomask, each for one backbone."""
PROTOTYPES = "prototypes_*.safetensors"
"""LPCAM's prototypes bundled with pseudomask, each file for the classes of one weights file."""


def bundled_folders() -> tuple[Path, ...]:
    """Folders of bundled weights: in an installed package, then in a checkout."""
    package = Path(__file__).parents[1]
    return package / "weights", package.parent / "weights"


def bundled_heads() -> list[Path]:
    """The boundary heads bundled with pseudomask, from the first folder that has any."""
    return _all(HEADS)


def bundled_prototypes() -> list[Path]:
    """The prototypes bundled with pseudomask, from the first folder that has any."""
    return _all(PROTOTYPES)


def _all(pattern: str) -> list[Path]:
    found = (sorted(folder.glob(pattern)) for folder in bundled_folders())
    return next((files for files in found if files), [])


def find_weights(named: Path | None) -> Path:
    """`named` (a file, or a key of `NAMED`), else $PSEUDOMASK_WEIGHTS, else the bundled weights.

    Raises `WeightsError` if there are none.
    """
    if named is not None:
        bundled = NAMED.get(str(named))
        if bundled is not None and not named.exists():
            return _bundled(bundled)
        if not named.is_file():
            raise WeightsError(f"{named}: no such weights file{did_you_mean_path(named)}")
        return named
    variable = os.environ.get(VARIABLE)
    if variable:
        if not Path(variable).is_file():
            raise WeightsError(f"{variable}: no such weights file ({VARIABLE} names it)")
        return Path(variable)
    return _bundled(BUNDLED)


def _bundled(name: str) -> Path:
    for folder in bundled_folders():
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(
        f"no weights: give --weights FILE or set {VARIABLE}; `pseudomask train-cls` makes weights ({name} is not there)"
    )
