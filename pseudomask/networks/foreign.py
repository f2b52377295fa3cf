"""Checkpoints of other programs: read without running code, their names mapped to torchvision's.

Known layouts: torchvision's and timm's (`conv1.weight`, …, `fc.weight`), also below a common prefix such as `module.`;
and `resnet50_cam.Net` of IRN and ReCAM, which holds every tensor up to three times (`resnet50.*`, `stage1.*`,
`backbone.*`) and its classifier twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from pseudomask.errors import UsageError, WeightsError
from pseudomask.networks.states import read_state
from pseudomask.quoting import count, listed

_STAGES = (
    (re.compile(r"^stage1\.0\."), "conv1."),
    (re.compile(r"^stage1\.1\."), "bn1."),
    (re.compile(r"^stage1\.4\."), "layer1."),
    *((re.compile(rf"^stage{n}\.0\."), f"layer{n}.") for n in (2, 3, 4)),
)
_COPIES = re.compile(r"^(stage[1-4]|backbone|newly_added)\.")  # of Net, which lists its parts again


@dataclass(frozen=True)
class Classifier:
    """A linear layer on pooled features: `weight` (C, D), and the bias (C,) that it may have."""

    weight: Tensor
    bias: Tensor | None = None


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or .pth file, by name. Raises `UsageError` if `read_state` cannot read it."""
    try:
        return read_state(path)
    except WeightsError as error:
        raise UsageError(str(error)) from None


def split_network(tensors: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], Classifier]:
    """The backbone in torchvision's naming, and the classifier. Raises `UsageError` if either is not recognised."""
    named = without_prefix(tensors)
    if any(name.startswith("stage1.") for name in named):
        named = _staged(named)
    stem = next((name for name in named if name.endswith("conv1.weight") and named[name].shape[1:2] == (3,)), None)
    if stem is None:
        raise UsageError(
            f"{source}: no network that is known here; its tensors are {listed(sorted(tensors), 4)}, those of a ResNet "
            "begin with conv1.weight, bn1, layer1, … (docs/import.md)"
        )
    prefix = stem.removesuffix("conv1.weight")
    body = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
    parts = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")
    backbone = {name: value for name, value in body.items() if name.startswith(parts)}
    rest = {name: value for name, value in body.items() if name not in backbone}
    if prefix:
        rest |= {n: v for n, v in named.items() if not n.startswith(prefix) and not _COPIES.match(n)}
    return backbone, classifier_of(rest, source)


def classifier_of(tensors: Mapping[str, Tensor], source: str) -> Classifier:
    """The only linear layer among these tensors. Raises `UsageError` where there is none, or more than one."""
    layers = {name: value for name, value in tensors.items() if value.ndim in (2, 4) and name.endswith("weight")}
    if not layers:
        raise UsageError(f"{source}: has no classifier (such as fc.weight); a map needs its weights")
    if len(layers) > 1:
        raise UsageError(
            f"{source}: its classifier has {len(layers)} layers ({listed(list(layers), 4)}); a class activation map "
            "needs a single linear layer on the pooled features"
        )
    ((name, weight),) = layers.items()
    if weight.ndim == 4 and weight.shape[2:] != (1, 1):
        raise UsageError(f"{source}: its classifier {name} is not a linear layer (shape {tuple(weight.shape)})")
    bias = name.removesuffix("weight") + "bias"
    foreign = [one for one in tensors if one not in (name, bias)]
    if foreign:
        raise UsageError(
            f"{source}: {count(len(foreign), 'tensor')} that no part of the network has ({listed(foreign)})"
        )
    return Classifier(weight.flatten(1), tensors.get(bias))


def without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the names that all of them begin with (`module.`, `_orig_mod.`, `model.`)."""
    named = dict(tensors)
    while named:
        first = {name.partition(".")[0] for name in named}
        if len(first) > 1 or any("." not in name for name in named):
            break
        named = {name.partition(".")[2]: value for name, value in named.items()}
    return named


def _staged(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`resnet50_cam.Net` with each tensor once, in torchvision's naming."""
    found = {}
    for name, value in named.items():
        if name.startswith("stage"):
            for pattern, own in _STAGES:
                name = pattern.sub(own, name)
            found[name] = value
        elif name.startswith("classifier."):
            found[name] = value
    return found
