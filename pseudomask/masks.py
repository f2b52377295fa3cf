"""Label maps: their PNG files, their colours, and overlays of a mask on its photo.

A label map is an integer array (H, W): 0 background, i + 1 for the class at position i, 255 ignore (65,535 in
the 16-bit maps that are needed for more than 254 classes).
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngImageFile

from pseudomask.errors import ImageError, UsageError
from pseudomask.files import read_bytes
from pseudomask.running.atomic import atomic_write

IGNORE = 255
IGNORE_16 = 65_535
MAX_8BIT_CLASSES = 254  # foreground classes, not counting background and ignore
_JPEG_SIDE = 65_500  # libjpeg's limit

MaskMode = Literal["palette", "index"]


def ignore_index(classes: int) -> int:
    """The ignore index for masks with this many foreground classes."""
    return IGNORE if classes <= MAX_8BIT_CLASSES else IGNORE_16


@functools.cache
def palette(colours: int = 256) -> np.ndarray:
    """The PASCAL VOC colour map, uint8 (colours, 3) RGB, read-only.

    Bits 0, 1, 2 of an index become the highest bits of red, green, blue; bits 3, 4, 5 the next highest, and so on.
    """
    rest = np.arange(colours)
    table = np.zeros((colours, 3), np.uint8)
    for place in range(7, -1, -1):
        for channel in range(3):
            table[:, channel] |= ((rest >> channel & 1) << place).astype(np.uint8)
        rest = rest >> 3
    table.flags.writeable = False
    return table


def save_mask(path: Path, mask: np.ndarray, *, mode: MaskMode = "palette") -> None:
    """Write an integer label map (H, W) as a PNG file, atomically.

    "palette" uses VOC's colours, "index" plain grey levels (dark to the eye, but OpenCV reads the classes).
    A uint16 map, or one with values above 255, becomes a 16-bit index PNG whatever the mode. Raises
    UsageError for any other shape, type or mode, or for values outside 0..65535.
    """
    if mode not in ("palette", "index"):
        raise UsageError(f"unknown mask mode {mode!r}; choose palette or index")
    image = Image.fromarray(_storable(mask))
    if image.mode == "L" and mode == "palette":
        image.putpalette(palette().tobytes())
    with atomic_write(path) as file:
        image.save(file, format="PNG")


@dataclass(frozen=True, eq=False)
class MaskFile:
    """The content of a mask PNG.

    mode: Pillow's mode; values: uint8 or uint16 (H, W) indices or grey levels, None for colour images; colours:
    uint8 (H, W, 3) RGB of a colour image, otherwise None; palette: uint8 (n, 3) RGB of a palette image, otherwise
    None; by_alpha: whether all pixels have the same colour and differ only in transparency.
    """

    mode: str
    values: np.ndarray | None
    colours: np.ndarray | None = None
    palette: np.ndarray | None = None
    by_alpha: bool = False

    def in_colours(self) -> np.ndarray | None:
        """uint8 (H, W, 3) RGB of a colour or palette image; None for 16-bit grey levels."""
        if self.colours is not None or self.values is None:
            return self.colours
        if self.palette is not None:
            table = np.zeros((256, 3), np.uint8)
            table[: len(self.palette)] = self.palette
            colours: np.ndarray = table[self.values]
            return colours
        return None if self.values.dtype != np.uint8 else np.repeat(self.values[..., None], 3, 2)


def read_mask_file(path: Path, *, max_pixels: int = 200_000_000) -> MaskFile:
    """Read a mask PNG with its values or colours; transparency is ignored.

    As in 1-bit files, 2-bit and 4-bit grey levels stay the stored numbers (0..3, 0..15) and are not stretched to 255.
    Raises ImageError if the file is missing, damaged, too large or not a PNG.
    """
    try:
        data = read_bytes(path)
        with PngImageFile(io.BytesIO(data)) as image:
            image.verify()  # verifies the checksums, which decoding alone would not
        with PngImageFile(io.BytesIO(data)) as image:  # not Image.open, whose pixel limit is global and warns
            if image.width * image.height > max_pixels:
                reason = f"{image.width} x {image.height} pixels exceed the limit of {max_pixels}"
                raise ImageError(path, reason)
            image.load()
            return _mask_file(image, bits=data[_BITS], grey=data[_COLOUR_TYPE] == 0)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(path, _reason(error)) from error


_BITS, _COLOUR_TYPE = 24, 25  # offsets in a PNG's header


def stored_in_bytes(data: bytes) -> bool:
    """Whether a mask PNG has 8 or 16 bits per value; some readers stretch fewer bits to 255, others do not."""
    return data[_BITS] >= 8 and data[_COLOUR_TYPE] in (0, 3)


def _mask_file(image: Image.Image, *, bits: int, grey: bool) -> MaskFile:
    """`bits` (per sample) and `grey` come from the file's header, since Pillow's mode hides them."""
    mode = image.mode
    if mode not in ("1", "L", "P", "I;16", "I;16B", "I"):
        colours = np.asarray(image.convert("RGB"))
        hidden = mode in ("LA", "RGBA") and np.ptp(np.asarray(image.getchannel("A"))) > 0
        return MaskFile(mode, None, colours, by_alpha=bool(hidden and (colours == colours[:1, :1]).all()))
    values = np.asarray(image)
    if grey and bits in (2, 4):
        values = values // (255 // (2**bits - 1))
    values = values.astype(np.uint8 if values.dtype.itemsize == 1 else np.uint16)
    flat = image.getpalette("RGB") if mode == "P" else None
    table = None if flat is None else np.array(flat, np.uint8).reshape(-1, 3)
    return MaskFile(mode, values, palette=table)


def load_mask(path: Path, *, max_pixels: int = 200_000_000) -> np.ndarray:
    """Read a label map PNG as uint8 or uint16 (H, W); palette images yield indices, not colours.

    Raises UsageError if the PNG holds colours instead of class indices, and ImageError like `read_mask_file`.
    """
    file = read_mask_file(path, max_pixels=max_pixels)
    if file.values is None:
        raise UsageError(f"{path}: contains colours ({file.mode}), not class indices; use a palette or grey PNG")
    return file.values


def overlay(
    image: np.ndarray, mask: np.ndarray, *, alpha: float = 0.5, names: Sequence[str] | None = None
) -> np.ndarray:
    """The photo with its mask on top, uint8 (H, W, 3).

    image: uint8 (H, W, 3) RGB; mask: integer (H, W); alpha: weight of the class colour, in [0, 1].
    Regions get a thin white contour; the background is unchanged. With `names` (of foreground classes, in
    order), a legend of the classes present is drawn in the upper left corner if it fits.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise UsageError(f"a photo must be uint8 (H, W, 3), not {image.dtype} {image.shape}")
    if mask.shape != image.shape[:2]:
        raise UsageError(f"the mask has size {mask.shape}, its photo {image.shape[:2]}")
    labels = _storable(mask)
    colours = palette(256 if labels.dtype == np.uint8 else 65_536)[labels]
    blended = cv2.addWeighted(image, 1 - alpha, colours, alpha, 0)
    out = np.where((labels > 0)[..., None], blended, image)
    out[_contour(labels)] = 255
    return out if names is None else _with_legend(out, labels, names)


def _storable(mask: np.ndarray) -> np.ndarray:
    """The same labels as contiguous uint8 or uint16 (H, W)."""
    if mask.ndim != 2 or mask.size == 0 or mask.dtype.kind not in "ui":
        raise UsageError(f"a mask must be a non-empty integer array (H, W), not {mask.dtype} {mask.shape}")
    if mask.dtype not in (np.uint8, np.uint16):
        low, high = int(mask.min()), int(mask.max())
        if low < 0 or high > IGNORE_16:
            raise UsageError(f"mask values must be in 0..{IGNORE_16}, found {low}..{high}")
        mask = mask.astype(np.uint8 if high <= 255 else np.uint16)
    return np.ascontiguousarray(mask)


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = " ".join(str(error).split())
    return "not a PNG file" if "not a PNG" in text else f"damaged PNG ({text[:80]})"


def _contour(labels: np.ndarray) -> np.ndarray:
    """Pixels of a region that touch another region, bool (H, W); the line is about 1/400 of the short side thick."""
    edge = np.zeros(labels.shape, bool)
    across, down = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    edge[:, 1:] |= across & (labels[:, 1:] > 0)
    edge[:, :-1] |= across & (labels[:, 1:] == 0)
    edge[1:] |= down & (labels[1:] > 0)
    edge[:-1] |= down & (labels[1:] == 0)
    thickness = round(min(labels.shape) / 400)
    if thickness > 1:
        edge = cv2.dilate(edge.astype(np.uint8), np.ones((thickness, thickness), np.uint8)) > 0
    return edge


def _with_legend(picture: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """`picture` with a swatch and a name for as many of the classes present as fit, largest first."""
    areas = np.bincount(labels.ravel(), minlength=len(names) + 1)[: len(names) + 1]
    present = [int(index) for index in np.argsort(-areas, kind="stable") if index > 0 and areas[index] > 0]
    height, width = labels.shape
    size = max(11, round(min(height, width) / 26))
    row, pad = round(size * 1.4), size // 3
    present = present[: max(0, (height - 2 * pad) // row)]
    if not present or width < 4 * size:
        return picture
    font = ImageFont.load_default(size)
    table = palette(max(256, len(names) + 1))
    texts = [_printable(names[index - 1]) for index in present]
    inner = size + 2 * pad + max(round(font.getlength(text)) for text in texts)
    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas, "RGBA")
    draw.rectangle((0, 0, min(width, inner + 2 * pad), len(present) * row + 2 * pad - 1), fill=(0, 0, 0, 170))
    for line, (index, text) in enumerate(zip(present, texts, strict=True)):
        top = pad + line * row
        swatch = (pad, top + (row - size) // 2, pad + size - 1, top + (row - size) // 2 + size - 1)
        draw.rectangle(swatch, fill=tuple(table[index].tolist()), outline=(255, 255, 255))
        draw.text((2 * pad + size, top + row // 2), text, font=font, fill=(255, 255, 255), anchor="lm")
    return np.asarray(canvas)


def _printable(name: str) -> str:
    short = name if len(name) <= 24 else name[:23] + "…"
    return "".join(letter if letter.isprintable() else "?" for letter in short)


def save_picture(path: Path, picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3) RGB as a JPEG file, atomically; for viewing, not for measuring.

    Sides above JPEG's limit are scaled down (the aspect ratio is not kept).
    """
    image = Image.fromarray(picture)
    if max(image.size) > _JPEG_SIDE:
        image = image.resize((min(image.width, _JPEG_SIDE), min(image.height, _JPEG_SIDE)))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=88)
    with atomic_write(path) as file:
        file.write(stream.getvalue())
