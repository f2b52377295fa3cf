"""Open an image file by its first bytes: as a Pillow image, or for our own readers of TIFF and PNM.

Pillow's plugins are constructed directly. This avoids its process-wide pixel limit, warning and switch for truncated
files (ours are arguments), and so works in many threads at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from PIL import Image, ImageFile, JpegImagePlugin, features

from pseudomask.data.headers import PnmHeader, code_stream_size, pnm_header
from pseudomask.data.kinds import SNIFF_BYTES, convert_how, not_an_image, sniff
from pseudomask.data.reading import AS_IT_COMES, Reading, ReadingProblem
from pseudomask.data.tiff import Directory, read_directory
from pseudomask.data.turning import exif_orientation
from pseudomask.errors import ImageError
from pseudomask.files import open_file
from pseudomask.running.locks import fork_safe_lock

_PLUGINS = {"PNG": "Png", "GIF": "Gif", "BMP": "Bmp", "TIFF": "Tiff", "WEBP": "WebP", "PPM": "Ppm"} | {
    "JPEG 2000": "Jpeg2K",
    "AVIF": "Avif",
}
_OPTIONAL = {"JPEG 2000": "jpg_2000", "AVIF": "avif"}
"""Kinds that Pillow may have been built without, with their names in `features`."""
_warnings_lock = fork_safe_lock()
# Otherwise Pillow's complaints about a damaged file reach stderr, in addition to our ImageError.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Opened:
    """A file whose header was read.

    Attributes:
        kind: see `sniff`; `size`: (W, H) as stored; `orientation`: EXIF orientation 1..8 that is still to be applied.
        image: Pillow's, or None if `directory` (TIFF) or `pnm` describes the pixels in `file`.
    """

    kind: str
    size: tuple[int, int]
    file: IO[bytes]
    orientation: int = 1
    image: ImageFile.ImageFile | None = None
    directory: Directory | None = None
    pnm: PnmHeader | None = None


@contextmanager
def opened(
    path: Path, *, max_pixels: int | None = None, allow_truncated: bool = False, reading: Reading = AS_IT_COMES
) -> Iterator[Opened]:
    """The file with its parsed header; any error in the block becomes an ImageError.

    `allow_truncated`: accept an incomplete JPEG file; `max_pixels` is checked before memory for pixels is allocated.
    """
    try:
        with open_file(path) as file:
            photo = _construct(file, allow_truncated, reading)
            width, height = photo.size
            if max_pixels is not None and width * height > max_pixels:
                raise ImageError(path, f"too large: {width}x{height} is more than the limit of {max_pixels:,} pixels")
            yield photo
    except ImageError:
        raise
    except ReadingProblem as error:
        raise ImageError(path, str(error)) from error
    except Exception as error:  # decoders of hostile bytes raise nearly anything
        raise ImageError(path, _reason(error)) from error


def _construct(file: IO[bytes], allow_truncated: bool, reading: Reading) -> Opened:
    head = file.read(SNIFF_BYTES)
    file.seek(0)
    kind = sniff(head)
    if kind == "JPEG":
        return _by_pillow(kind, file, (TruncatedJpeg if allow_truncated else Jpeg)(file))
    if kind == "TIFF":
        return _tiff(file, reading)
    if kind == "PPM" and (pnm := pnm_header(head)) and pnm.most > 255:
        return Opened(kind, pnm.size, file, pnm=pnm)
    if kind in _PLUGINS and features.check(_OPTIONAL.get(kind, "pil")):
        return _by_pillow(kind, file, _plugin(kind, file))
    if kind is not None:
        raise ReadingProblem(f"{kind} is not supported; {convert_how(kind)}")
    raise ReadingProblem(not_an_image(head))


def _by_pillow(kind: str, file: IO[bytes], image: ImageFile.ImageFile, directory: Directory | None = None) -> Opened:
    orientation = 1 if kind == "TIFF" else exif_orientation(image.info.get("exif"))  # Pillow rotates TIFFs itself
    return Opened(kind, image.size, file, orientation, image, directory)


def _plugin(kind: str, file: IO[bytes]) -> ImageFile.ImageFile:
    module = importlib.import_module(f"PIL.{_PLUGINS[kind]}ImagePlugin")
    reader: Callable[[IO[bytes]], ImageFile.ImageFile] = getattr(module, f"{_PLUGINS[kind]}ImageFile")
    with quiet(kind):
        image = reader(file)
    if kind == "JPEG 2000" and code_stream_size(file) != image.size:
        raise ValueError("two sizes")  # the one in a JP2 file's boxes is only a copy, which the decoder ignores
    return image


def _tiff(file: IO[bytes], reading: Reading) -> Opened:
    """Pillow's image if Pillow reads the file correctly, otherwise the directory for our own reader."""
    try:
        directory = read_directory(file)
    except (ValueError, struct.error, OverflowError):
        directory = None
    file.seek(0)
    if directory is None:
        return _by_pillow("TIFF", file, _plugin("TIFF", file))
    if directory.camera:
        raise ReadingProblem(f"camera RAW is not supported; {convert_how('camera RAW')}")
    ours = not directory.ordinary or (reading.bands and directory.photometric <= 2)
    if ours and directory.dtype is not None and min(directory.size) > 0:
        return Opened("TIFF", directory.size[::-1], file, directory.orientation, directory=directory)
    try:
        return _by_pillow("TIFF", file, _plugin("TIFF", file), directory)
    except (SyntaxError, ValueError) as error:
        if "mode" in str(error):
            raise ReadingProblem(directory.not_read()) from error
        raise


@contextmanager
def quiet(kind: str) -> Iterator[None]:
    """Silence Pillow's warnings about odd TIFF tags; this is process-wide, so only for this kind, under a lock."""
    if kind != "TIFF":
        yield
        return
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Jpeg(JpegImagePlugin.JpegImageFile):
    """Pillow's JPEG reader, except that it does not look for a resolution in the EXIF block, which can warn."""

    def _read_dpi_from_exif(self) -> None:
        return


class TruncatedJpeg(Jpeg):
    """Adds the end marker to a truncated file, so that the existing part is decoded."""

    _marker_sent = False

    def load_read(self, read_bytes: int) -> bytes:
        assert self.fp is not None
        data = self.fp.read(read_bytes)
        if data or self._marker_sent:
            return data
        self._marker_sent = True
        return b"\xff\xd9"


def is_truncation(error: BaseException) -> bool:
    return isinstance(error, EOFError) or "truncated" in str(error).lower()


def _reason(error: Exception) -> str:
    """One short line for people."""
    if isinstance(error, OSError) and error.errno is not None:
        return (error.strerror or os.strerror(error.errno)).lower()
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "too large"
    if is_truncation(error) or isinstance(error, struct.error):
        return "truncated"
    text = " ".join(str(error).split())[:120]
    return f"damaged ({text})" if text else "damaged"
