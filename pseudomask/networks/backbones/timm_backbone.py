"""timm's networks as backbones: ResNet, ConvNeXt, Swin, ViT, DeiT, EVA, DINOv2, DINOv3 (docs/networks.md).

One adapter on what timm gives for all of them, `forward_intermediates` and `feature_info`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pseudomask.config import Style
from pseudomask.data.pixels import Normalisation
from pseudomask.errors import UsageError
from pseudomask.networks.backbones.attention import MOST, attentive, portions, watching
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.backbones.timm_resnet import set_strides
from pseudomask.networks.backbones.timm_zoo import PREFIX, facts_of, load, published, timm_model
from pseudomask.networks.features import Features

STAGES = 4
"""Stages that the blocks of a network with one stride are divided into."""


class TimmBackbone(Backbone):
    """A network of timm without its classifier.

    The last output is what its head would classify: normalised as the head does, without prefix tokens. Other outputs
    are those of the stages, unnormalised; a network with one stride is divided into `STAGES` of equally many blocks.
    Batch norm keeps its stored statistics, as in `ResNetBackbone`.

    Photos are resized to a whole number of `multiple` pixels, so that positions cover the photo exactly
    (`Features.fitted`); padding would shift the map of a mirrored photo. A ResNet needs no such thing.
    """

    def __init__(
        self,
        name: str,
        net: Any,
        facts: Mapping[str, Any],
        channels: Sequence[int],
        strides: Sequence[int],
        *,
        style: Style = "pytorch",
    ) -> None:
        resnet = set_strides(net, style)
        super().__init__(
            name,
            parts=("stem", *(f"stage{i}" for i in range(1, len(channels)))),
            channels=channels,
            strides=strides,
            style=style if resnet else "pytorch",
            normalisation=Normalisation(tuple(facts["mean"]), tuple(facts["std"])),
        )
        self.net, self.stages = net, stages_of(net)
        self.multiple = 1 if resnet else self.output_stride
        self.prefix = int(getattr(net, "num_prefix_tokens", 0))
        self._told = dict(facts)

    @property
    def facts(self) -> dict[str, Any]:
        return self._told | {"multiple": self.multiple, "strides": list(self.strides)}

    @property
    def attends(self) -> bool:
        return bool(attentive(self.net))

    def parameters_of(self, part: str) -> Iterator[nn.Parameter]:
        """The network's parameters come in the order of their use: before the first stage, of each, and after it."""
        place, wanted = 0, self.parts.index(part)
        for name, parameter in self.net.named_parameters():
            at = [k for k, one in enumerate(self.stages, 1) if name.startswith(one["prefixes"])]
            place = at[0] if at else place
            if place == wanted:
                yield parameter

    def train(self, mode: bool = True) -> TimmBackbone:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, x: Tensor, *, pyramid: bool = True, attention: bool = False) -> Features:
        size = (x.shape[-2], x.shape[-1])
        grid = (-(-size[0] // self.multiple), -(-size[1] // self.multiple))
        if self.multiple > 1:
            whole = (grid[0] * self.multiple, grid[1] * self.multiple)
            if whole != size:
                x = F.interpolate(x, whole, mode="bilinear", align_corners=False)
        positions, layers = grid[0] * grid[1], attentive(self.net) if attention else []
        strides = self.strides if pyramid else self.strides[-1:]
        fitted = self.multiple > 1
        if not layers or positions > MOST:
            return Features(self._outputs(x, grid, pyramid), strides, size, fitted=fitted)
        parts, seen = [], []
        for part in portions(x, positions + self.prefix, layers[0].num_heads):
            with watching(layers, self.prefix) as watched:
                parts.append(self._outputs(part, grid, pyramid))
            assert watched.total is not None
            seen.append(watched.total)
        outputs = tuple(torch.cat(one) for one in zip(*parts, strict=True))
        return Features(outputs, strides, size, fitted=fitted, attention=torch.cat(seen))

    def _outputs(self, x: Tensor, grid: tuple[int, int], pyramid: bool) -> tuple[Tensor, ...]:
        if not pyramid:
            return (self._last(self.net.forward_features(x), grid),)
        indices = [one["index"] for one in self.stages]
        with _input_of(self.net.get_submodule(self.stages[0]["first"])) as stem:
            last, inner = self.net.forward_intermediates(x, indices=indices, norm=False, output_fmt="NCHW")
        begun = self._as_map(stem[0], (x.shape[-2] // self.strides[0], x.shape[-1] // self.strides[0]))
        return (begun, *inner[:-1], self._last(last, grid))

    def _last(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """What the network's head pools, normalised position by position as the head does."""
        for norm in (getattr(self.net, "fc_norm", None), getattr(getattr(self.net, "head", None), "norm", None)):
            if isinstance(norm, nn.Module):
                x = norm(x)
        return self._as_map(x, grid)

    def _as_map(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Tokens (B, N, D), or a map with its channels last, as (B, D, h, w)."""
        if x.ndim == 3:
            x = x[:, self.prefix :].unflatten(1, grid)
        elif getattr(self.net, "output_fmt", "NCHW") != "NHWC":
            return x
        return x.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    def load_pretrained(self, tensors: Mapping[str, Tensor] | None) -> None:
        """Load weights in timm's naming, or in the published one that timm converts; None downloads timm's."""
        name = self.name.removeprefix(PREFIX)
        load(self.net, name, published(name) if tensors is None else tensors)


def from_timm(name: str, *, style: Style, output_stride: int) -> TimmBackbone:
    """timm's network `timm:NAME` with random weights, at this stride if it has it, else at its own."""
    if output_stride not in (8, 16, 32):
        output_stride = 16  # `make_backbone` refuses the result if another was asked for
    bare = name.removeprefix(PREFIX)
    shape = shape_of(bare, output_stride)
    return TimmBackbone(name, timm_model(bare, output_stride=output_stride), facts_of(bare), *shape, style=style)


def stages_of(net: Any) -> list[dict[str, Any]]:
    """The stages by `feature_info`, each with its index there, its first module and the prefixes of its parameters."""
    told: Sequence[dict[str, Any]] = getattr(net.feature_info, "info", net.feature_info)
    kept = [i for i, one in enumerate(told) if not one["module"].startswith(("stem", "conv", "bn", "act"))]
    if len({told[i]["reduction"] for i in kept}) == 1 and len(kept) > 1:
        ends = sorted({-(-len(kept) * k // STAGES) for k in range(1, STAGES + 1)} - {0})
        groups = [kept[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    else:
        groups = [[i] for i in kept]
    return [
        {
            "index": group[-1],
            "first": told[group[0]]["module"],
            "prefixes": tuple(f"{told[i]['module']}." for i in group),
            "num_chs": told[group[-1]]["num_chs"],
            "reduction": told[group[-1]]["reduction"],
        }
        for group in groups
    ]


@contextmanager
def _input_of(module: nn.Module) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    try:
        yield seen
    finally:
        hook.remove()


@cache
def shape_of(name: str, output_stride: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Channels and strides of the stem and the stages, seen in a pass without memory or arithmetic.

    Raises `UsageError` for a network that gives no maps, or takes photos of one size only.
    """
    with torch.device("meta"), torch.no_grad():
        net: Any = timm_model(name, output_stride=output_stride)
        if not hasattr(net, "forward_intermediates") or not hasattr(net, "feature_info"):
            raise UsageError(f"{PREFIX}{name}: timm gives no maps of it; take a ResNet, ConvNeXt, Swin, ViT or EVA")
        stages = stages_of(net)
        last = int(stages[-1]["reduction"])
        side = last * -(-64 // last)
        try:
            with _input_of(net.get_submodule(stages[0]["first"])) as stem:
                net.forward_features(torch.empty(1, 3, side, side + last))
        except (AssertionError, RuntimeError, ValueError):
            raise UsageError(f"{PREFIX}{name}: takes photos of one size only, so it cannot make maps") from None
    begun = stem[0].shape
    channels_last = stem[0].ndim == 3 or getattr(net, "output_fmt", "NCHW") == "NHWC"
    first = last if stem[0].ndim == 3 else side // begun[1 if channels_last else 2]
    channels = [one["num_chs"] for one in stages[:-1]]
    return (
        (begun[-1 if channels_last else 1], *channels, net.num_features),
        (first, *(one["reduction"] for one in stages)),
    )
