"""Small pictures of one image: photo, scores as a heat map, mask and truth in VOC's colours."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, features

from pseudomask.data.decoding import MAX_PIXELS, decode
from pseudomask.data.reading import AS_IT_COMES, Reading
from pseudomask.errors import PseudomaskError
from pseudomask.masks import load_mask, palette
from pseudomask.reporting.panels import Folders, Panel
from pseudomask.scores import ScoreMap, load_scores

SIDE = 256  # pixels of a thumbnail's long side
_QUALITY = 62

MaskReader = Callable[[Path], np.ndarray]


class Picture(NamedTuple):
    """The bytes of a picture file; `kind` is png, jpeg or webp."""

    kind: str
    data: bytes

    @property
    def uri(self) -> str:
        return f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode('ascii')}"


@dataclass(frozen=True)
class Maker:
    """Makes the thumbnails of a panel.

    read_mask: reads the label map of a panel's mask file, or of its score file with `from_scores`.
    """

    folders: Folders
    read_mask: MaskReader = load_mask
    read_truth: MaskReader = load_mask
    from_scores: bool = False
    max_pixels: int = MAX_PIXELS
    reading: Reading = AS_IT_COMES

    def __call__(self, panel: Panel) -> dict[str, str]:
        """Data URIs by kind (photo, scores, mask, truth); none for files that are missing or cannot be read."""
        found: dict[str, str] = {}
        with suppress(PseudomaskError, OSError):
            if path := _path(self.folders.photo, panel.photo):
                found["photo"] = photo_picture(decode(path, max_pixels=self.max_pixels, reading=self.reading)).uri
        with suppress(PseudomaskError, OSError):
            if path := _path(self.folders.scores, panel.scores):
                found["scores"] = scores_picture(load_scores(path)).uri
        with suppress(PseudomaskError, OSError):
            scores = _path(self.folders.scores, panel.scores) if self.from_scores else None
            if path := scores or _path(self.folders.mask, panel.mask):
                found["mask"] = mask_picture(self.read_mask(path)).uri
        with suppress(PseudomaskError, OSError):
            if path := _path(self.folders.truth, panel.truth):
                found["truth"] = mask_picture(self.read_truth(path)).uri
        return found


def photo_picture(photo: np.ndarray, side: int = SIDE) -> Picture:
    """uint8 (H, W, 3) RGB, reduced to a long side of `side` pixels."""
    return _lossy(_reduced(photo, cv2.INTER_AREA, side))


def scores_picture(scores: ScoreMap, side: int = SIDE) -> Picture:
    """The highest score of any class as a heat map, dark (0) to bright (1)."""
    values = scores.values.max(0) if scores.classes else np.zeros((1, 1), np.float32)
    size = _small(*scores.size, side)
    grey = cv2.resize(np.rint(values * 255).astype(np.uint8), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return _lossy(cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_MAGMA), cv2.COLOR_BGR2RGB))


def mask_picture(mask: np.ndarray, side: int = SIDE) -> Picture:
    """A label map (H, W) as PNG in VOC's colours, background transparent."""
    small = _reduced(mask, cv2.INTER_NEAREST, side)
    stream = io.BytesIO()
    if small.dtype == np.uint8:
        image = Image.fromarray(small)
        image.putpalette(palette().tobytes())
        image.save(stream, "PNG", optimize=True, transparency=0)
    else:
        opaque = np.where(small > 0, 255, 0).astype(np.uint8)[..., None]
        Image.fromarray(np.concatenate([palette(65_536)[small], opaque], axis=2)).save(stream, "PNG", optimize=True)
    return Picture("png", stream.getvalue())


def _path(folder: Path | None, relative: str | None) -> Path | None:
    return None if folder is None or relative is None else folder / relative


def _small(height: int, width: int, side: int) -> tuple[int, int]:
    """(H, W) reduced to `side`."""
    scale = min(1.0, side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _reduced(array: np.ndarray, interpolation: int, side: int) -> np.ndarray:
    height, width = _small(array.shape[0], array.shape[1], side)
    return np.asarray(cv2.resize(array, (width, height), interpolation=interpolation))


def _lossy(picture: np.ndarray) -> Picture:
    kind = "webp" if features.check("webp") else "jpeg"
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind.upper(), quality=_QUALITY)
    return Picture(kind, stream.getvalue())
