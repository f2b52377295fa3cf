"""Find the weights to use if none are named."""

from __future__ import annotations

import os
from pathlib import Path

from pseudomask.errors import WeightsError
from pseudomask.quoting import command
from pseudomask.suggest import did_you_mean_path

VARIABLE = "PSEUDOMASK_WEIGHTS"
BUNDLED = "recam_resnet50_voc_animals.safetensors"
NAMED = {"voc": BUNDLED, "imagenet": "imagenet_resnet50.safetensors"}
"""Bundled weights that `--weights` accepts by name."""
PUBLISHED = ("timm:", "torchvision:")
"""Beginnings of the names that `import` downloads."""
HEADS = "boundaries_*.safetensors"
"""Boundary heads bundled with pseudomask, each for one backbone."""
PROTOTYPES = "prototypes_*.safetensors"
"""LPCAM's prototypes bundled with pseudomask, each file for the classes of one weights file."""


def bundled_folders() -> tuple[Path, ...]:
    """Folders of bundled weights: in an installed package, then in a checkout."""
    package = Path(__file__).parents[1]
    return package / "weights", package.parent / "weights"


def cached_backbones() -> dict[str, Path]:
    """Backbones that torchvision and timm have downloaded to their caches: name → file or folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    torch_hub = Path(os.environ.get("TORCH_HOME") or cache / "torch") / "hub" / "checkpoints"
    hugging_face = Path(os.environ.get("HF_HOME") or cache / "huggingface") / "hub"
    hugging_face = Path(os.environ.get("HF_HUB_CACHE") or hugging_face)
    files, models = sorted(torch_hub.glob("*.pth")), sorted(hugging_face.glob("models--timm--*"))
    return {f"torchvision:{file.stem.rpartition('-')[0] or file.stem}": file for file in files} | {
        f"timm:{folder.name.removeprefix('models--timm--')}": folder for folder in models
    }


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
        by_name = NAMED.get(str(named))
        if by_name is not None and not named.is_file():
            return bundled(by_name)
        if str(named).startswith(PUBLISHED) and not named.is_file():
            raise WeightsError(
                f"{named} names weights without maps; make them once with "
                f"`{command('import', named, 'WEIGHTS.safetensors')}` and give --weights WEIGHTS.safetensors"
            )
        if not named.is_file():
            raise WeightsError(f"{named}: no such weights file{did_you_mean_path(named)}")
        return named
    variable = os.environ.get(VARIABLE)
    if variable:
        if not Path(variable).is_file():
            raise WeightsError(f"{variable}: no such weights file ({VARIABLE} names it)")
        return Path(variable)
    return bundled(BUNDLED)


def bundled(name: str) -> Path:
    """The bundled file of this name. Raises `WeightsError` if it is not there."""
    for folder in bundled_folders():
        if (folder / name).is_file():
            return folder / name
    raise WeightsError(
        f"no weights: give --weights FILE or set {VARIABLE}; `pseudomask train-cls` makes weights ({name} is not there)"
    )
