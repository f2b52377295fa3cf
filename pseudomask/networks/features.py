"""The features of a view: computed once, read by map methods, tag classifier and boundary head."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Features:
    """Outputs of a backbone's parts for a batch of photos of one size, from fine to coarse.

    Attributes:
        outputs: (B, D_k, ⌈H/s_k⌉, ⌈W/s_k⌉) of the stem and each stage, or of the last stage only.
        strides: s_k of each output, in pixels per position.
        size: (H, W) of the photos.
        image: (B, 3, H, W), the network's input, if it was kept.
        fitted: the positions cover the photo exactly, because it was resized to a whole number of them; otherwise the
            last row and column may reach beyond it.
        attention: (B, h·w, h·w) float32, from each position of the last stage (rows) to all, if it was kept.
    """

    outputs: tuple[Tensor, ...]
    strides: tuple[int, ...]
    size: tuple[int, int]
    image: Tensor | None = None
    fitted: bool = False
    attention: Tensor | None = None

    @property
    def last(self) -> Tensor:
        """The last stage's output, (B, D, h, w), which the classifier reads."""
        return self.outputs[-1]

    @property
    def stages(self) -> tuple[Tensor, ...]:
        """The outputs of the stages, without the stem. Raises `ValueError` if only the last was kept."""
        if len(self.outputs) == 1:
            raise ValueError("only the last stage was kept; set `pyramid = True` in a method that reads the others")
        return self.outputs[1:]

    def first(self, photos: int) -> Features:
        """The features of the first `photos` photos."""
        image = None if self.image is None else self.image[:photos]
        attention = None if self.attention is None else self.attention[:photos]
        outputs = tuple(one[:photos] for one in self.outputs)
        return replace(self, outputs=outputs, image=image, attention=attention)

    def part(self, photo: int) -> Features:
        """The outputs for one photo."""
        outputs = tuple(one[photo : photo + 1] for one in self.outputs)
        return Features(outputs, self.strides, self.size, fitted=self.fitted)

    def detach(self) -> Features:
        """The same values, detached from the graph."""
        return replace(self, outputs=tuple(one.detach() for one in self.outputs))


def grown(maps: Tensor, stride: int, to: int, size: tuple[int, int], *, fitted: bool) -> Tensor:
    """Resample maps bilinearly to a finer grid, their blocks staying where they are in the photo.

    Args:
        maps: (B, n, h, w), positions of `stride` pixels.
        to: pixels per position of the result; size: its (height, width).
        fitted: whether the maps cover the photo exactly (see `Features`); else what reaches beyond it is cut off.
    """
    if maps.shape[-2:] == size:
        return maps
    beyond = list(size) if fitted else [-(-side * stride // to) for side in maps.shape[-2:]]
    return F.interpolate(maps, size=beyond, mode="bilinear", align_corners=False)[..., : size[0], : size[1]]
