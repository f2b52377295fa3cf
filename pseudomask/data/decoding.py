"""One image file to one RGB array: every mode, EXIF orientation, bombs and damage refused.

Pillow decodes. Its plugin is chosen by the file's first bytes and constructed directly: that
skips the process-wide pixel limit and its warning (our limit is an argument), needs no global
switch for truncated files, and so works from many threads at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import stat
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin

from pseudomask.data.kinds import SNIFF_BYTES, sniff
from pseudomask.errors import ImageError
from pseudomask.running.locks import fork_safe_lock

MAX_PIXELS = 200_000_000

_PLUGINS = {
    "PNG": ("PIL.PngImagePlugin", "PngImageFile"),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "PPM": ("PIL.PpmImagePlugin", "PpmImageFile"),
}
_warnings_lock = fork_safe_lock()
# Else Pillow's complaints about a damaged file reach stderr beside the ImageError that tells the same.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Header:
    """`kind`: JPEG, PNG, …; `size`: (H, W) upright; `turned`: whether its EXIF data asks for a rotation.

    `plain`: 8-bit grey or RGB in a single frame, without transparency: what any program shows as `decode` does.
    """

    kind: str
    size: tuple[int, int]
    turned: bool
    plain: bool = False


class _Jpeg(JpegImagePlugin.JpegImageFile):
    """Pillow's JPEG reader without its look for a resolution in the EXIF block, which can warn."""

    def _read_dpi_from_exif(self) -> None:
        return


class _PatientJpeg(_Jpeg):
    """Ends a cut file with the end marker, so that what has arrived is decoded."""

    _marker_sent = False

    def load_read(self, read_bytes: int) -> bytes:
        assert self.fp is not None
        data = self.fp.read(read_bytes)
        if data or self._marker_sent:
            return data
        self._marker_sent = True
        return b"\xff\xd9"


def decode(path: Path, *, max_pixels: int = MAX_PIXELS, allow_truncated: bool = False) -> np.ndarray:
    """Read an image as RGB, turned upright by its EXIF orientation.

    Returns uint8 (H, W, 3), contiguous and writable. The first frame of an animation; anything
    transparent is laid over white; 16-bit grey is divided by 257, wider or float grey is scaled by
    the range it holds; colour profiles are not applied. `max_pixels` (width x height) is checked
    from the header, before memory for pixels is taken. With `allow_truncated`, what is missing at
    a cut file's end is black (JPEG: grey or coarse); cut WebP and TIFF files stay refused. Pillow
    itself refuses TIFF, WebP and GIF beyond about 179 million pixels, whatever `max_pixels` says.

    Raises ImageError with a short reason for anything that cannot be read.
    """
    with _opened(path, max_pixels, allow_truncated) as image:
        turn = _orientation(image)
        try:
            with _quiet(image.format):
                image.load()
        except (OSError, EOFError, SyntaxError) as error:
            if not (allow_truncated and _is_truncation(error)) or image.format == "TIFF":
                raise
            image.tile = []  # keep the rows that were decoded before the end
        return _upright(_to_rgb(image), turn)


def image_size(path: Path, *, max_pixels: int | None = None) -> tuple[int, int]:
    """(H, W) of the upright image, from the header alone. Raises ImageError as `decode` does."""
    return read_header(path, max_pixels=max_pixels).size


def read_header(path: Path, *, max_pixels: int | None = None) -> Header:
    """What a file's header tells of its photo. Raises ImageError as `decode` does."""
    with _opened(path, max_pixels, False) as image:
        width, height = image.size
        turn = _orientation(image)
        size = (width, height) if turn >= 5 else (height, width)
        return Header(image.format or "", size, turn != 1, _plain(image))


_STORED = {"JPEG": ("L", "RGB"), "PNG": ("L", "RGB"), "BMP": ("BGR",), "WEBP": ("RGB",)}
"""How plain pixels lie in a file, in Pillow's words; a kind that is not here has too many variants."""


_XMP_TURN = re.compile(r'tiff:Orientation(="|>)[2-8]')


def _plain(image: ImageFile.ImageFile) -> bool:
    if image.has_transparency_data or getattr(image, "is_animated", False):
        return False
    if _XMP_TURN.search(str(image.info.get("xmp") or image.info.get("XML:com.adobe.xmp"))):
        return False  # Pillow's exif_transpose obeys it; `decode` and OpenCV know EXIF alone
    stored = image.tile[0].args if image.tile else image.mode  # WebP has no tile before it is decoded
    return (stored[0] if isinstance(stored, tuple) else stored) in _STORED.get(image.format or "", ())


@contextmanager
def _opened(path: Path, max_pixels: int | None, patient: bool) -> Iterator[ImageFile.ImageFile]:
    """The file's header, parsed; whatever goes wrong inside leaves as ImageError."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageError(path, "not a regular file")
            image = _construct(path, file, patient)
            width, height = image.size
            if max_pixels is not None and width * height > max_pixels:
                raise ImageError(path, f"too large: {width}x{height} is more than the limit of {max_pixels:,} pixels")
            yield image
    except ImageError:
        raise
    except Exception as error:  # decoders of hostile bytes raise nearly anything
        raise ImageError(path, _reason(error)) from error


def _open_without_waiting(name: str, flags: int) -> int:
    """A pipe with an image's name must not block the run."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _construct(path: Path, file: IO[bytes], patient: bool) -> ImageFile.ImageFile:
    head = file.read(SNIFF_BYTES)
    file.seek(0)
    kind = sniff(head)
    if kind == "JPEG":
        return (_PatientJpeg if patient else _Jpeg)(file)
    if kind in _PLUGINS:
        module, name = _PLUGINS[kind]
        reader: Callable[[IO[bytes]], ImageFile.ImageFile] = getattr(importlib.import_module(module), name)
        with _quiet(kind):
            return reader(file)
    if kind is not None:
        raise ImageError(path, f"{kind} is not read; convert it to JPEG or PNG")
    raise ImageError(path, "not an image of a known kind" if head else "empty file")


@contextmanager
def _quiet(kind: str | None) -> Iterator[None]:
    """Odd TIFF tags make Pillow warn; silencing that is process-wide, hence for this kind only, locked."""
    if kind != "TIFF":
        yield
        return
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _is_truncation(error: BaseException) -> bool:
    return isinstance(error, EOFError) or "truncated" in str(error).lower()


def _reason(error: Exception) -> str:
    """One short line for people."""
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno).lower()
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "too large"
    if _is_truncation(error) or isinstance(error, struct.error):
        return "truncated"
    text = " ".join(str(error).split())[:120]
    return f"damaged ({text})" if text else "damaged"


def _to_rgb(image: Image.Image) -> np.ndarray:
    """uint8 (H, W, 3) from a loaded image of any Pillow mode."""
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return np.array(image)
    if mode[0] in "IF":
        grey = _grey_to_8_bit(np.asarray(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data or mode in ("RGBa", "La"):
        layer = image.convert("RGBA")
        sheet = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        sheet.alpha_composite(layer)
        return np.array(sheet.convert("RGB"))
    return np.array(image.convert("RGB"))


def _grey_to_8_bit(values: np.ndarray) -> np.ndarray:
    """uint8 of the same shape from uint16, int32 or float32 grey.

    uint16 is full scale over 257 whatever it holds, so that a folder of frames keeps its relative
    brightness. Others go by their range: [0, 1] for floats, 8 bits, 16 bits, else stretched.
    """
    if values.dtype.kind == "u":
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    is_float = values.dtype.kind == "f"
    wide = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(wide.min()), float(wide.max())
    if low >= 0 and high <= (1 if is_float else 255):
        wide *= 255.0 if is_float else 1.0
    elif low >= 0 and high <= 255:
        pass
    elif low >= 0 and high <= 65535:
        wide /= 257.0
    else:
        wide = (wide - low) * (255.0 / max(high - low, 1e-12))
    return np.rint(wide).astype(np.uint8)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W, 3) turned as EXIF `orientation` 1..8 tells; contiguous."""
    if orientation == 1:
        return pixels
    if orientation >= 5:  # rows and columns change places
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation 1..8 still to be applied; 1 where the header tells nothing sensible.

    1 for TIFF: Pillow turns that kind itself and gives its turned size.
    """
    value = 1 if image.format == "TIFF" else _exif_orientation(image.info.get("exif"))
    return value if 1 <= value <= 8 else 1


def _exif_orientation(block: object) -> int:
    """The orientation entry of an EXIF block's first directory.

    Read by hand because Pillow's reader warns, process-wide, about the damaged blocks that
    cameras and editors leave behind.
    """
    if not isinstance(block, bytes):
        return 1
    tiff = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _ = struct.unpack_from(order + "HHI", tiff, entry)
            if tag == 0x0112:
                number = {1: "B", 3: "H", 4: "I"}.get(kind)  # other readers obey wider numbers, too
                return int(struct.unpack_from(order + number, tiff, entry + 8)[0]) if number else 1
    except struct.error:
        pass
    return 1
