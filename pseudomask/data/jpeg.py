"""JPEG files that a GPU may decode in place of Pillow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import JpegImagePlugin

from pseudomask.data.opening import opened
from pseudomask.data.reading import AS_IT_COMES, Reading

_END = b"\xff\xd9"
_SAMPLED = {(1, 1), (2, 1), (2, 2)}  # 4:4:4, 4:2:2 and 4:2:0; colours at full size besides


@dataclass(frozen=True)
class Jpeg:
    """A file's bytes, and (H, W) of what is in it."""

    data: bytes
    size: tuple[int, int]


def plain_jpeg(path: Path, *, max_pixels: int, reading: Reading = AS_IT_COMES) -> Jpeg | None:
    """A JPEG file that every decoder reads alike; None for any other file.

    Not those that are progressive, to be rotated, CMYK, RGB without YCbCr, or of an unusual layout, nor those without
    their end marker: nvJPEG shows what it can of a truncated file, where `decode` refuses it. Raises ImageError as
    `decode` does for what is wrong in the header.
    """
    with opened(path, max_pixels=max_pixels, reading=reading) as photo:
        image = photo.image
        if not isinstance(image, JpegImagePlugin.JpegImageFile) or photo.orientation != 1 or reading.bands:
            return None
        if image.info.get("progressive") or not _usual(image):
            return None
        photo.file.seek(0)
        data = photo.file.read()
        return Jpeg(data, (image.size[1], image.size[0])) if data.endswith(_END) else None


def _usual(image: JpegImagePlugin.JpegImageFile) -> bool:
    """Whether its bands are grey, or YCbCr in one of the usual samplings."""
    bands = [(name, (across, down)) for name, across, down, _ in image.layer]
    if image.mode == "L":
        return len(bands) == 1
    if image.mode != "RGB" or len(bands) != 3 or image.info.get("adobe_transform", 1) != 1:
        return False
    names, sampled = zip(*bands, strict=True)
    return names == (1, 2, 3) and sampled[0] in _SAMPLED and set(sampled[1:]) == {(1, 1)}
