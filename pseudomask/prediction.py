"""What `Predictor` returns: a picture's mask with its scores."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pseudomask.masks import overlay, save_mask, save_picture
from pseudomask.scores import ScoreMap


@dataclass(frozen=True, eq=False)
class Prediction:
    """The mask of one picture.

    Attributes:
        photo: the upright picture, uint8 (H, W, 3) RGB.
        mask: (H, W), 0 background and i + 1 for `names[i]`; uint8, or uint16 with more than 254 classes.
        names: the classes that mask values stand for.
        score_map: the scores that the mask was made from, at reduced resolution; `threshold`: of the background.
        seeds: the scores before refinement.
        unrefined: why refinement failed, in which case the mask is made from the seeds; otherwise empty.
    """

    photo: np.ndarray
    mask: np.ndarray
    names: tuple[str, ...]
    score_map: ScoreMap
    threshold: float
    seeds: ScoreMap
    unrefined: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that were looked for: the tags, or what the classifier found."""
        return tuple(self.names[i - 1] for i in self.score_map.classes)

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """Each class's scores at full size, float32 (H, W) in [0, 1]; computed at each access."""
        return dict(zip(self.classes, self.score_map.planes(), strict=True))

    @property
    def areas(self) -> dict[str, float]:
        """Each class's share of the pixels, in [0, 1]."""
        return {self.names[i - 1]: float((self.mask == i).mean()) for i in self.score_map.classes}

    def overlay(self, alpha: float = 0.5) -> np.ndarray:
        """The picture with its mask and a legend on top, uint8 (H, W, 3) RGB; `alpha`: weight of the colours."""
        return overlay(self.photo, self.mask, alpha=alpha, names=self.names)

    def save(self, path: str | Path, *, overlay: str | Path | None = None) -> None:
        """Write the mask as a palette PNG, as `extract` does, and on request the overlay as a JPEG."""
        save_mask(Path(path), self.mask)
        if overlay is not None:
            save_picture(Path(overlay), self.overlay())

    def _repr_png_(self) -> bytes:
        """The overlay, for notebooks."""
        stream = io.BytesIO()
        Image.fromarray(self.overlay()).save(stream, "PNG")
        return stream.getvalue()

    def __repr__(self) -> str:
        height, width = self.mask.shape
        shares = ", ".join(f"{name} {share:.0%}" for name, share in self.areas.items())
        return f"Prediction({width}x{height}: {shares or 'no class'})"
