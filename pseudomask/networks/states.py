"""Backbones from files: those of pseudomask, and those of other programs, read without running code."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pseudomask.errors import WeightsError
from pseudomask.files import open_file
from pseudomask.networks.backbones import make_backbone
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.checkpoint import OF_BACKBONE, is_ours, read_tensors
from pseudomask.suggest import did_you_mean_path

_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net", "network")
_SAVED_BY_TORCH = (".pth", ".pt", ".bin", ".tar", ".ckpt")
_DAMAGED = "not a PyTorch checkpoint of tensors, or truncated"


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, or of one that torch saved, by name and without `module.` before it.

    What torch saved is a pickle; its restricted reader (`weights_only=True`) builds nothing but tensors and plain
    containers from it. Raises `WeightsError` for anything else.
    """
    try:
        with open_file(path) as file:
            if path.suffix.lower() not in _SAVED_BY_TORCH and not zipfile.is_zipfile(file):
                return read_tensors(path)[0]
            file.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about pickle protocols; what matters is raised
                content = torch.load(file, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except OSError as error:
        near = did_you_mean_path(path) if isinstance(error, FileNotFoundError) else ""
        raise WeightsError(f"{path}: {error.strerror or error}{near}") from None
    except Exception as error:  # a damaged pickle can make the reader raise nearly anything
        raise WeightsError(f"{path}: {_why(error)}") from None
    tensors = dict(_flat(_unwrapped(content)))
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors by name; save the network's state_dict()")
    return tensors


def _why(error: Exception) -> str:
    """What torch's restricted reader refused, in one line."""
    found = re.search(r"(?:GLOBAL|global|class|Type) ([\w.]+)", str(error))
    if found is None:
        return _DAMAGED
    return (
        f"needs {found[1]}, and building Python objects can run code, so it is refused; save the state_dict() alone, "
        "best as safetensors"
    )


def _unwrapped(content: Any) -> Any:
    """The dictionary of tensors inside a training's checkpoint."""
    while isinstance(content, Mapping) and not any(isinstance(one, Tensor) for one in content.values()):
        inner = next((content[name] for name in _NESTED if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        content = inner
    return content


def _flat(content: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Mapping):
        for name, value in content.items():
            if isinstance(name, str) and isinstance(value, Tensor):
                yield name.removeprefix("module."), value.detach()


def new_backbone(backbone: str, *, weights: Path | None, style: str, output_stride: int) -> Backbone:
    """A pretrained backbone.

    Args:
        weights: a weights file of pseudomask, or one in the family's own naming (`read_state`); None downloads the
            family's default.
    """
    made = make_backbone(backbone, style=style, output_stride=output_stride)
    if weights is not None and is_ours(weights):
        tensors = read_tensors(weights)[0]
        made.load_renamed({k.removeprefix(OF_BACKBONE): v for k, v in tensors.items() if k.startswith(OF_BACKBONE)})
    else:
        made.load_pretrained(None if weights is None else read_state(weights))
    return made
