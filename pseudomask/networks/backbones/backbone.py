"""The interface of backbones. Each family of networks implements it in its own file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from pseudomask.config import Style
from pseudomask.data.pixels import IMAGENET, Normalisation
from pseudomask.errors import UsageError, WeightsError
from pseudomask.networks.features import Features
from pseudomask.quoting import count, listed
from pseudomask.suggest import did_you_mean

ALL = "all"
"""The freeze point, common to all backbones, that freezes the whole backbone."""


class Backbone(nn.Module):
    """A network without its classifier: a stem and stages, applied in turn.

    A family subclasses this and registers its parts as submodules; `forward` and `freeze` then work unchanged.

    Args:
        name: the name in the registry.
        parts: names of the submodules in order, starting with `stem`. Each is a freeze point.
        channels, strides: of the parts' outputs, (B, channels[k], ⌈H/strides[k]⌉, ⌈W/strides[k]⌉); each
            stride divides the last one. In a family whose `Features` are `fitted`, H and W are those that it resizes
            the photo to.
        style: which convolution of a stage has the stride, for families that offer a choice.
        normalisation: mean and standard deviation of the pixels, as used to train the weights.
    """

    def __init__(
        self,
        name: str,
        *,
        parts: Sequence[str],
        channels: Sequence[int],
        strides: Sequence[int],
        style: Style = "pytorch",
        normalisation: Normalisation = IMAGENET,
    ) -> None:
        super().__init__()
        self.name, self.style, self.normalisation = name, style, normalisation
        self.parts, self.channels, self.strides = tuple(parts), tuple(channels), tuple(strides)
        self.frozen: tuple[str, ...] = ()

    @property
    def dim(self) -> int:
        """Channels of the last stage."""
        return self.channels[-1]

    @property
    def output_stride(self) -> int:
        """Pixels per position of the last stage."""
        return self.strides[-1]

    @property
    def card_facts(self) -> dict[str, str | int]:
        """The card's fields that identify the backbone; `make_backbone(**card_facts)` rebuilds it."""
        return {"backbone": self.name, "style": self.style, "output_stride": self.output_stride}

    @property
    def facts(self) -> dict[str, Any]:
        """What the card tells of the network besides `card_facts`, such as the licence of its weights."""
        return {}

    @property
    def attends(self) -> bool:
        """Whether `forward` can give `Features.attention`."""
        return False

    def forward(self, x: Tensor, *, pyramid: bool = True, attention: bool = False) -> Features:
        """(B, 3, H, W), normalised → the outputs of all parts, or only of the last one, to save memory.

        `attention`: also keep the attention between positions, in families that have one (`attends`).
        """
        outputs, size = [], (x.shape[-2], x.shape[-1])
        for name in self.parts:
            with torch.set_grad_enabled(torch.is_grad_enabled() and name not in self.frozen):
                x = getattr(self, name)(x)
            if pyramid:
                outputs.append(x)
        return Features(tuple(outputs), self.strides, size) if pyramid else Features((x,), self.strides[-1:], size)

    frames = False
    """Whether there is `see_each`, once the backbone is folded."""

    def see_each(self, inputs: Sequence[Tensor], *, pyramid: bool = True) -> list[Features]:
        """As `forward`, of photos of several sizes at once: each (B_i, 3, h_i, w_i), normalised → its features."""
        raise NotImplementedError

    @property
    def freeze_points(self) -> tuple[str, ...]:
        """The values that `freeze` accepts."""
        return ("none", *self.parts, ALL)

    def freeze_point(self, point: str) -> str:
        """The part named by `point`; `all` is the last. Raises `UsageError`, with the valid points, for any other."""
        if point not in self.freeze_points:
            raise UsageError(
                f"--freeze {point!r}: {self.name} has no such part{did_you_mean(point, self.freeze_points)}; there are "
                f"{', '.join(self.freeze_points)}"
            )
        return self.parts[-1] if point == ALL else point

    def parameters_of(self, part: str) -> Iterator[nn.Parameter]:
        """The parameters of one of `parts`."""
        yield from getattr(self, part).parameters()

    def freeze(self, point: str) -> None:
        """Freeze everything up to and including `point`; the rest is trained."""
        point = self.freeze_point(point)
        self.frozen = () if point == "none" else self.parts[: self.parts.index(point) + 1]
        for name in self.parts:
            for parameter in self.parameters_of(name):
                parameter.requires_grad_(name not in self.frozen)

    def fold(self, dtype: torch.dtype | None = None) -> None:
        """Optimise in place for inference: the same features, faster. The backbone cannot be trained afterwards.

        Families override this if they can do more than freeze the weights.

        Args:
            dtype: of weights and features, where that is faster; None keeps float32. Inputs may have any type.
        """
        self.requires_grad_(False)

    def load_pretrained(self, tensors: Mapping[str, Tensor] | None) -> None:
        """Load weights in the family's published naming; None downloads the weights named in the registry.

        Raises `WeightsError` if they do not fit, cannot be downloaded, or do not exist.
        """
        self.load_renamed(self.own_names(self.published() if tensors is None else tensors))

    def published(self) -> Mapping[str, Tensor]:
        """The family's published weights, downloaded once, with their classifier. Raises `WeightsError` if none."""
        raise WeightsError(f"{self.name} has no published weights to download", advice="give --backbone-weights FILE")

    def own_names(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors in the family's published naming, under this module's names, without those of a classifier."""
        return dict(tensors)

    def misfits(self, tensors: Mapping[str, Tensor]) -> dict[str, list[str]]:
        """Names of tensors that are `missing`, `unknown` or `of another shape`, compared with this module's."""
        own = self.state_dict()
        return {
            "missing": [k for k in own if k not in tensors and not k.endswith("num_batches_tracked")],
            "unknown": [k for k in tensors if k not in own],
            "of another shape": [k for k in own if k in tensors and own[k].shape != tensors[k].shape],
        }

    def load_renamed(self, tensors: Mapping[str, Tensor]) -> None:
        """Load tensors with this module's names. Raises `WeightsError` if names or shapes differ."""
        wrong = {kind: names for kind, names in self.misfits(tensors).items() if names}
        if wrong:
            told = (f"{count(len(names), 'tensor')} {kind} ({listed(names)})" for kind, names in wrong.items())
            raise WeightsError(f"these weights are not a {self.name}: {', '.join(told)}")
        self.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, strict=False)


class OnBackbone(nn.Module):
    """Base class for networks that own a `backbone`."""

    backbone: Backbone

    def on(self, device: torch.device) -> Self:
        """Move to a device in channels-last layout, which is faster for convolutions on every device."""
        return self.to(device).to(memory_format=torch.channels_last)

    def for_maps(self, device: torch.device, dtype: torch.dtype | None = None) -> Self:
        """As `on`, then `Backbone.fold(dtype)`: faster, but cannot be trained afterwards."""
        self.on(device).eval()
        self.backbone.fold(dtype)
        return self
