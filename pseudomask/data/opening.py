"""A file, by its first bytes, to something that has pixels: an image of Pillow's, or a file that is read here.

Pillow's plugin is constructed directly: that skips the process-wide pixel limit and its warning (our limit is an
argument), needs no global switch for truncated files, and so works from many threads at once.
"""

from __future__ import annotations

import importlib
import logging
import os
import stat
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
from pseudomask.running.locks import fork_safe_lock

_PLUGINS = {"PNG": "Png", "GIF": "Gif", "BMP": "Bmp", "TIFF": "Tiff", "WEBP": "WebP", "PPM": "Ppm"} | {
    "JPEG 2000": "Jpeg2K",
    "AVIF": "Avif",
}
_OPTIONAL = {"JPEG 2000": "jpg_2000", "AVIF": "avif"}
"""Kinds that Pillow may have been built without, and how `features` calls them."""
_warnings_lock = fork_safe_lock()
# Else Pillow's complaints about a damaged file reach stderr beside the ImageError that tells the same.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Opened:
    """A file whose header was read.

    Attributes:
        kind: as `sniff` calls it; `size`: (W, H) as stored; `turn`: EXIF orientation 1..8 still to be applied.
        image: Pillow's, or None where `directory` (TIFF) or `pnm` says how the pixels lie in `file`.
    """

    kind: str
    size: tuple[int, int]
    file: IO[bytes]
    turn: int = 1
    image: ImageFile.ImageFile | None = None
    directory: Directory | None = None
    pnm: PnmHeader | None = None


@contextmanager
def opened(
    path: Path, *, max_pixels: int | None = None, patient: bool = False, reading: Reading = AS_IT_COMES
) -> Iterator[Opened]:
    """The file's header, parsed; whatever goes wrong inside leaves as ImageError.

    `patient`: what has arrived of a JPEG file will do; `max_pixels` is checked before memory for pixels is taken.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ImageError(path, "not a regular file")
            photo = _construct(path, file, patient, reading)
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


def _open_without_waiting(name: str, flags: int) -> int:
    """A pipe with an image's name must not block the run."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def _construct(path: Path, file: IO[bytes], patient: bool, reading: Reading) -> Opened:
    head = file.read(SNIFF_BYTES)
    file.seek(0)
    kind = sniff(head)
    if kind == "JPEG":
        return _by_pillow(kind, file, (PatientJpeg if patient else Jpeg)(file))
    if kind == "TIFF":
        return _tiff(file, reading)
    if kind == "PPM" and (pnm := pnm_header(head)) and pnm.most > 255:
        return Opened(kind, pnm.size, file, pnm=pnm)
    if kind in _PLUGINS and features.check(_OPTIONAL.get(kind, "pil")):
        return _by_pillow(kind, file, _plugin(kind, file))
    if kind is not None:
        raise ReadingProblem(f"{kind} is not read; {convert_how(kind)}")
    raise ReadingProblem(not_an_image(head))


def _by_pillow(kind: str, file: IO[bytes], image: ImageFile.ImageFile, directory: Directory | None = None) -> Opened:
    turn = 1 if kind == "TIFF" else exif_orientation(image.info.get("exif"))  # Pillow turns TIFFs itself
    return Opened(kind, image.size, file, turn, image, directory)


def _plugin(kind: str, file: IO[bytes]) -> ImageFile.ImageFile:
    module = importlib.import_module(f"PIL.{_PLUGINS[kind]}ImagePlugin")
    reader: Callable[[IO[bytes]], ImageFile.ImageFile] = getattr(module, f"{_PLUGINS[kind]}ImageFile")
    with quiet(kind):
        image = reader(file)
    if kind == "JPEG 2000" and code_stream_size(file) != image.size:
        raise ValueError("two sizes")  # that in a JP2 file's boxes is only a copy: the decoder goes by the other
    return image


def _tiff(file: IO[bytes], reading: Reading) -> Opened:
    """Pillow's image where that is right, else the directory for our own reader."""
    try:
        directory = read_directory(file)
    except (ValueError, struct.error, OverflowError):
        directory = None
    file.seek(0)
    if directory is None:
        return _by_pillow("TIFF", file, _plugin("TIFF", file))
    if directory.camera:
        raise ReadingProblem(f"camera RAW is not read; {convert_how('camera RAW')}")
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
    """Odd TIFF tags make Pillow warn; silencing that is process-wide, hence for this kind only, locked."""
    if kind != "TIFF":
        yield
        return
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Jpeg(JpegImagePlugin.JpegImageFile):
    """Pillow's JPEG reader without its look for a resolution in the EXIF block, which can warn."""

    def _read_dpi_from_exif(self) -> None:
        return


class PatientJpeg(Jpeg):
    """Ends a cut file with the end marker, so that what has arrived is decoded."""

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
        return os.strerror(error.errno).lower()
    if isinstance(error, MemoryError):
        return "not enough memory to decode it"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "too large"
    if is_truncation(error) or isinstance(error, struct.error):
        return "truncated"
    text = " ".join(str(error).split())[:120]
    return f"damaged ({text})" if text else "damaged"
