"""One image file to one RGB array: every mode, EXIF orientation, bombs and damage refused.

Pillow decodes, but for TIFF and PNM files whose numbers it would cut (`data.tiff`), and OpenCV the 16-bit colours of
PNG. Pillow's plugin is chosen by the file's first bytes and constructed directly: that
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin, features

from pseudomask.data import tiff
from pseudomask.data.headers import CODE_STREAM, PNM_HEADER, bare_png, is_deep_png, precision
from pseudomask.data.kinds import SNIFF_BYTES, convert_how, not_an_image, sniff
from pseudomask.data.reading import AS_IT_COMES, Raw, Reading, ReadingProblem, choose_bands, render
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
    "JPEG 2000": ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile"),
}
_OPTIONAL = {"JPEG 2000": "jpg_2000", "AVIF": "avif"}
"""Kinds that Pillow may have been built without, and how `features` calls them."""
_BYTES_A_PIXEL = 8  # that values wider than 8 bits may take, of `max_pixels` pixels
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


@dataclass(frozen=True)
class _Wide:
    """A file that is read here: a TIFF by its `directory`, or PNM values up to `most` that begin at `start`."""

    format: str
    size: tuple[int, int]
    file: IO[bytes]
    directory: tiff.Directory | None = None
    most: int = 0
    start: int = 0
    bands: int = 1


Opened = ImageFile.ImageFile | _Wide


def _size(image: Opened) -> tuple[int, int]:
    """(W, H) as the file has it, TIFF upright."""
    turned = isinstance(image, _Wide) and image.directory is not None and image.directory.orientation >= 5
    return (image.size[1], image.size[0]) if turned else image.size


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


def decode(
    path: Path, *, max_pixels: int = MAX_PIXELS, allow_truncated: bool = False, reading: Reading = AS_IT_COMES
) -> np.ndarray:
    """Read an image as RGB, turned upright by its EXIF orientation.

    Returns uint8 (H, W, 3), contiguous and writable. The first frame of an animation; anything
    transparent is laid over white; wider values are scaled as `reading` says, by the range that the file
    itself seems to use where that does not tell; colour profiles are not applied. `max_pixels` (width x height)
    is checked from the header, before memory for pixels is taken. With `allow_truncated`, what is missing at
    a cut file's end is black (JPEG: grey or coarse); cut WebP and TIFF files stay refused. Pillow
    itself refuses TIFF, WebP and GIF beyond about 179 million pixels, whatever `max_pixels` says.

    Raises ImageError with a short reason for anything that cannot be read.
    """
    with _opened(path, max_pixels, allow_truncated, reading) as image:
        turn = _orientation(image)
        found = _pixels(image, path, reading, allow_truncated, max_pixels)
        return _upright(found if isinstance(found, np.ndarray) else render(found, reading), turn)


def read_raw(path: Path, *, max_pixels: int = MAX_PIXELS, reading: Reading = AS_IT_COMES) -> Raw | None:
    """The values of a photo that has more than 8 bits, as stored; None for any other. Raises ImageError."""
    with _opened(path, max_pixels, False, reading) as image:
        # A range that no 16-bit photo has: nothing is taken for full scale before it was looked at.
        found = _pixels(image, path, replace(reading, bits=None), False, max_pixels, raw=True)
        return found if isinstance(found, Raw) and found.values.dtype != np.uint8 else None


def image_size(path: Path, *, max_pixels: int | None = None) -> tuple[int, int]:
    """(H, W) of the upright image, from the header alone. Raises ImageError as `decode` does."""
    return read_header(path, max_pixels=max_pixels).size


def read_header(path: Path, *, max_pixels: int | None = None) -> Header:
    """What a file's header tells of its photo. Raises ImageError as `decode` does."""
    with _opened(path, max_pixels, False, AS_IT_COMES) as image:
        width, height = _size(image)
        turn = _orientation(image)
        size = (width, height) if turn >= 5 else (height, width)
        return Header(image.format or "", size, turn != 1, _plain(image))


_STORED = {"JPEG": ("L", "RGB"), "PNG": ("L", "RGB"), "BMP": ("BGR",), "WEBP": ("RGB",)}
"""How plain pixels lie in a file, in Pillow's words; a kind that is not here has too many variants."""


_XMP_TURN = re.compile(r'tiff:Orientation(="|>)[2-8]')


def _plain(image: Opened) -> bool:
    if isinstance(image, _Wide) or image.has_transparency_data or getattr(image, "is_animated", False):
        return False
    if _XMP_TURN.search(str(image.info.get("xmp") or image.info.get("XML:com.adobe.xmp"))):
        return False  # Pillow's exif_transpose obeys it; `decode` and OpenCV know EXIF alone
    stored = image.tile[0].args if image.tile else image.mode  # WebP has no tile before it is decoded
    return (stored[0] if isinstance(stored, tuple) else stored) in _STORED.get(image.format or "", ())


@contextmanager
def _opened(path: Path, max_pixels: int | None, patient: bool, reading: Reading) -> Iterator[Opened]:
    """The file's header, parsed; whatever goes wrong inside leaves as ImageError."""
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageError(path, "not a regular file")
            image = _construct(path, file, patient, reading)
            width, height = _size(image)
            if max_pixels is not None and width * height > max_pixels:
                raise ImageError(path, f"too large: {width}x{height} is more than the limit of {max_pixels:,} pixels")
            yield image
    except ImageError:
        raise
    except (ReadingProblem, tiff.NotRead) as error:
        raise ImageError(path, str(error)) from error
    except Exception as error:  # decoders of hostile bytes raise nearly anything
        raise ImageError(path, _reason(error)) from error


def _open_without_waiting(name: str, flags: int) -> int:
    """A pipe with an image's name must not block the run."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _construct(path: Path, file: IO[bytes], patient: bool, reading: Reading) -> Opened:
    head = file.read(SNIFF_BYTES)
    file.seek(0)
    kind = sniff(head)
    if kind == "JPEG":
        return (_PatientJpeg if patient else _Jpeg)(file)
    if kind == "TIFF":
        return _tiff(path, file, reading)
    if kind == "PPM" and (wide := _wide_pnm(file, head)):
        return wide
    if kind in _PLUGINS and features.check(_OPTIONAL.get(kind, "pil")):
        return _plugin(kind, file)
    if kind is not None:
        raise ImageError(path, f"{kind} is not read; {convert_how(kind)}")
    raise ImageError(path, not_an_image(head))


def _plugin(kind: str, file: IO[bytes]) -> ImageFile.ImageFile:
    module, name = _PLUGINS[kind]
    reader: Callable[[IO[bytes]], ImageFile.ImageFile] = getattr(importlib.import_module(module), name)
    with _quiet(kind):
        image = reader(file)
    if kind == "JPEG 2000":
        _same_size(image, file)
    return image


def _same_size(image: ImageFile.ImageFile, file: IO[bytes]) -> None:
    """The size in a JP2 file's boxes is only a copy: the decoder goes by that of the code stream."""
    place = file.tell()
    file.seek(0)
    head = file.read(1 << 16)
    file.seek(place)
    start = head.find(CODE_STREAM)
    right, bottom, left, top = struct.unpack_from(">4I", head, start + 8) if start >= 0 else (0, 0, 0, 0)
    if (right - left, bottom - top) != image.size:
        raise ValueError("two sizes")


def _tiff(path: Path, file: IO[bytes], reading: Reading) -> Opened:
    """Pillow's image where that is right, else the directory for our own reader."""
    try:
        directory = tiff.read_directory(file)
    except (ValueError, struct.error, OverflowError):
        directory = None
    finally:
        file.seek(0)
    if directory is None:
        return _plugin("TIFF", file)
    if directory.camera:
        raise ImageError(path, f"camera RAW is not read; {convert_how('camera RAW')}")
    ours = not directory.ordinary or (reading.bands and directory.photometric <= 2)
    if ours and directory.dtype is not None and min(directory.size) > 0:
        return _Wide("TIFF", directory.size[::-1], file, directory=directory)
    try:
        return _plugin("TIFF", file)
    except (SyntaxError, OSError, ValueError) as error:
        if isinstance(error, SyntaxError | ValueError) and "mode" in str(error):
            raise tiff.NotRead(f"a {directory.what()}: not read; convert it to 8 or 16 bits") from error
        raise


def _wide_pnm(file: IO[bytes], head: bytes) -> _Wide | None:
    """A binary PNM file of 16-bit values, whose header tells the largest."""
    match = PNM_HEADER.match(head)
    if match is None or int(match[4]) < 256:
        return None
    size = int(match[2]), int(match[3])
    return _Wide("PPM", size, file, most=int(match[4]), start=match.end(), bands=3 if match[1] == b"6" else 1)


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


def _pixels(
    image: Opened, path: Path, reading: Reading, patient: bool, max_pixels: int, *, raw: bool = False
) -> Raw | np.ndarray:
    """Wide values as stored, anything else as uint8 (H, W, 3); not yet upright. `raw`: 16-bit colours of PNG too."""
    if isinstance(image, _Wide):
        found = _wide(image, reading, _BYTES_A_PIXEL * max_pixels)
        return replace(found, values=_turned(found.values, image), alpha=_turned(found.alpha, image))
    try:
        with _quiet(image.format):
            image.load()
    except (OSError, EOFError, SyntaxError) as error:
        if not (patient and _is_truncation(error)) or image.format == "TIFF":
            raise
        image.tile = []  # keep the rows that were decoded before the end
        return _to_rgb(image, reading)
    if image.mode[0] in "IF":
        values = np.array(image)[:, :, None]
        if image.format == "JPEG2000" and image.fp is not None and values.dtype == np.uint16:
            values >>= 16 - min(16, precision(image.fp))  # Pillow spreads them over 16 bits
        return _chosen(values, None, reading, "a photo")
    if image.format == "PNG" and image.mode in ("RGB", "RGBA", "LA") and is_deep_png(path):
        high = np.asarray(image)[..., : 1 if image.mode == "LA" else 3]  # the upper bytes
        if raw or (reading.bits or 16) < 16 or (reading.fixed(_UINT16) is None and high.max(initial=0) < 64):
            return _deep_png(image, path, reading)
    return _to_rgb(image, reading)


_UINT16 = np.dtype(np.uint16)


def _turned(values: Any, image: _Wide) -> Any:
    """TIFF's own orientation, which Pillow applies by itself."""
    turn = 1 if image.directory is None else image.directory.orientation
    return values if values is None or turn == 1 else _upright(values, turn)


def _wide(image: _Wide, reading: Reading, max_bytes: int) -> Raw:
    if image.directory is not None:
        return tiff.read_pixels(image.file, image.directory, reading, max_bytes)
    width, height = image.size
    image.file.seek(image.start)
    n = width * height * image.bands
    data = image.file.read(2 * n)
    if len(data) < 2 * n:
        raise EOFError("truncated")
    values: np.ndarray = np.frombuffer(data, ">u2").astype(np.uint16).reshape(height, width, image.bands)
    if image.most < 65535:  # the header's word, not a guess
        table = np.rint(np.arange(65536).clip(max=image.most) * (255 / image.most)).astype(np.uint8)
        values = table[values]
    return _chosen(values, None, reading, "a PNM photo")


def frames(path: Path) -> bool:
    """Whether a GIF holds more than one. Raises ImageError."""
    with _opened(path, None, False, AS_IT_COMES) as image:
        return bool(getattr(image, "is_animated", False))


def _deep_png(image: ImageFile.ImageFile, path: Path, reading: Reading) -> Raw:
    """All 16 bits of a colour PNG, of which Pillow keeps 8; it has found the file sound."""
    found = cv2.imdecode(np.frombuffer(bare_png(path), np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16 or found.shape[:2] != (image.height, image.width):
        raise ValueError("16-bit PNG")
    values = found[:, :, None] if found.ndim == 2 else found[:, :, 2::-1] if found.shape[2] >= 3 else found[:, :, :1]
    alpha = np.asarray(image.convert("RGBA"))[:, :, 3] if image.has_transparency_data else None
    return _chosen(values, alpha, reading, "a 16-bit PNG")


def _chosen(values: np.ndarray, alpha: np.ndarray | None, reading: Reading, what: str) -> Raw:
    """The bands asked for, of colours (H, W, 3 or 1) and alpha, which counts as the last band."""
    if not reading.bands:
        return Raw(values, alpha)
    n = values.shape[2] + (alpha is not None)
    kept = choose_bands(n, None, told=True, reading=reading, what=f"{what} with {n} bands")
    bands = [values[:, :, band] for band in range(values.shape[2])]
    if alpha is not None:
        bands.append(alpha if values.dtype == np.uint8 else alpha.astype(values.dtype) * 257)
    return Raw(np.dstack([bands[band] for band in kept]), None if n - 1 in kept else alpha)


def _to_rgb(image: Image.Image, reading: Reading) -> np.ndarray:
    """uint8 (H, W, 3) from a loaded image of any Pillow mode."""
    transparent = image.has_transparency_data or image.mode in ("RGBa", "La")
    if image.mode == "RGB" and not transparent and not reading.bands:
        return np.array(image)
    grey = image.mode in ("1", "L", "LA", "La")
    if not transparent or (reading.alpha == "ignore" and not reading.bands):
        colours = np.array((image.convert("RGBA") if transparent else image).convert("RGB"))
        alpha = None
    else:
        layer = np.array(image.convert("RGBA"))
        colours, alpha = layer[:, :, :3], layer[:, :, 3]
    if grey and reading.bands:
        colours = colours[:, :, :1]
    return render(_chosen(colours, alpha, reading, f"a {image.format} photo"), reading)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(H, W) or (H, W, n) turned as EXIF `orientation` 1..8 tells; contiguous."""
    if orientation == 1:
        return pixels
    if orientation >= 5:  # rows and columns change places
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _orientation(image: Opened) -> int:
    """EXIF orientation 1..8 still to be applied; 1 where the header tells nothing sensible.

    1 for TIFF: Pillow turns that kind itself and gives its turned size.
    """
    if isinstance(image, _Wide):
        return 1
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
