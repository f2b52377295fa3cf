"""What a backbone makes of photos: computed once a view, and read by map methods, classifier and boundary head."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Features:
    """The outputs of a backbone's parts for photos of one size, from fine to coarse.

    Attributes:
        outputs: (B, D_k, ⌈H/s_k⌉, ⌈W/s_k⌉) of the stem and of each stage, or the last stage's alone.
        strides: s_k, pixels a position of each.
        size: (H, W) of the photos.
        image: (B, 3, H, W), what the network was given, where it is kept.
    """

    outputs: tuple[Tensor, ...]
    strides: tuple[int, ...]
    size: tuple[int, int]
    image: Tensor | None = None

    @property
    def last(self) -> Tensor:
        """(B, D, h, w), the last stage's: what the classifier reads."""
        return self.outputs[-1]

    @property
    def stages(self) -> tuple[Tensor, ...]:
        """The stages' outputs, without the stem's. Raises `ValueError` where only the last was kept."""
        if len(self.outputs) == 1:
            raise ValueError("only the last stage was kept; a method that reads the others says `pyramid = True`")
        return self.outputs[1:]

    def first(self, photos: int) -> Features:
        """Those of the first photos alone."""
        image = None if self.image is None else self.image[:photos]
        return replace(self, outputs=tuple(one[:photos] for one in self.outputs), image=image)

    def detach(self) -> Features:
        """The same values, through which no gradient passes."""
        return replace(self, outputs=tuple(one.detach() for one in self.outputs))
