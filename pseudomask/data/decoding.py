"""Decode an image file to an upright RGB array, or read only its header.

Pillow decodes, except TIFF and PNM files whose values it would truncate (read here) and 16-bit colour PNGs (OpenCV).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile

from pseudomask.data.deep_png import read_deep_png
from pseudomask.data.headers import PnmHeader, precision
from pseudomask.data.levels import Raw, render
from pseudomask.data.opening import Opened, is_truncation, opened, quiet
from pseudomask.data.reading import AS_IT_COMES, Reading, choose_bands
from pseudomask.data.tiff_pixels import read_pixels
from pseudomask.data.turning import upright
from pseudomask.quoting import count

MAX_PIXELS = 200_000_000
_BYTES_A_PIXEL = 8  # memory limit for values wider than 8 bits, per pixel of `max_pixels`


def decode(
    path: Path, *, max_pixels: int = MAX_PIXELS, allow_truncated: bool = False, reading: Reading = AS_IT_COMES
) -> np.ndarray:
    """Read an image as RGB, upright according to its EXIF orientation.

    Returns uint8 (H, W, 3), contiguous and writable: the first frame of an animation, blended with white if it is
    transparent. Wider values are scaled as `reading` says, by default from the range that the file seems to use.
    Colour profiles are not applied. `max_pixels` (width x height) is checked from the header, before memory for pixels
    is allocated. With `allow_truncated`, the missing end of a truncated file is black (JPEG: grey or coarse);
    truncated WebP and TIFF files are still refused. Pillow itself refuses TIFF, WebP and GIF beyond about 179 million
    pixels, whatever `max_pixels` says.

    Raises ImageError with a short reason for anything that cannot be read.
    """
    with opened(path, max_pixels=max_pixels, allow_truncated=allow_truncated, reading=reading) as photo:
        raw = _values(photo, path, reading, allow_truncated, _BYTES_A_PIXEL * max_pixels)
        return upright(render(raw, reading), photo.orientation)


def glance(
    path: Path, side: int, *, max_pixels: int = MAX_PIXELS, reading: Reading = AS_IT_COMES
) -> tuple[tuple[int, int], np.ndarray]:
    """A photo's (H, W), and all of it upright in a square, uint8 (side, side, 3); much faster than `decode` for JPEG.

    The whole file is read, so that a damaged one is found. Raises ImageError as `decode` does.
    """
    with opened(path, max_pixels=max_pixels, reading=reading) as photo:
        if photo.kind == "JPEG" and photo.image is not None:
            photo.image.draft(photo.image.mode, (2 * side, 2 * side))  # of 8x8 coefficients the lowest few
        raw = _values(photo, path, reading, False, _BYTES_A_PIXEL * max_pixels)
        pixels = upright(render(raw, reading), photo.orientation)
        return _upright_size(photo), np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX))


def read_raw(path: Path, *, max_pixels: int = MAX_PIXELS, reading: Reading = AS_IT_COMES) -> Raw | None:
    """The values of a photo with more than 8 bits, not rotated; None for any other. Raises ImageError."""
    with opened(path, max_pixels=max_pixels, reading=reading) as photo:
        raw = _values(photo, path, reading, False, _BYTES_A_PIXEL * max_pixels)
        return None if raw.values.dtype == np.uint8 else raw


@dataclass(frozen=True)
class Header:
    """What is known about a photo before any pixel is decoded.

    Attributes:
        kind: JPEG, PNG, …; `size`: (H, W) upright; `turned`: whether its EXIF data asks for a rotation.
        plain: 8-bit grey or RGB in a single frame, without transparency, which any program shows as `decode` does.
        wide: values of more than 8 bits; `alpha`: transparency; `frames`: more than one frame or page.
        bands: of a TIFF with more bands than are read; `unexplained`: its description, if it is unclear which to read.
    """

    kind: str
    size: tuple[int, int]
    turned: bool
    plain: bool = False
    wide: bool = False
    alpha: bool = False
    frames: bool = False
    bands: int = 0
    unexplained: str = ""


def read_header(path: Path, *, max_pixels: int | None = None) -> Header:
    """The facts in a file's header. Raises ImageError as `decode` does."""
    with opened(path, max_pixels=max_pixels) as photo:
        more = _from_image(photo, photo.image) if photo.image else _from_directory(photo)
        return Header(photo.kind, _upright_size(photo), photo.orientation != 1, **more)


def image_size(path: Path, *, max_pixels: int | None = None) -> tuple[int, int]:
    """(H, W) of the upright image, from the header alone. Raises ImageError as `decode` does."""
    with opened(path, max_pixels=max_pixels) as photo:
        return _upright_size(photo)


def _upright_size(photo: Opened) -> tuple[int, int]:
    return photo.size if photo.orientation >= 5 else photo.size[::-1]


def _from_directory(photo: Opened) -> dict[str, Any]:
    directory = photo.directory
    if directory is None:
        return {"wide": photo.pnm is not None and photo.pnm.most >= 65535}
    return {
        "wide": directory.dtype != np.uint8,
        "alpha": directory.alpha is not None,
        "frames": directory.pages,
        "bands": directory.bands if directory.colours == 2 or directory.colours > 3 else 0,
        "unexplained": directory.what() if directory.unexplained else "",
    }


_PLAIN = {"JPEG": ("L", "RGB"), "PNG": ("L", "RGB"), "BMP": ("BGR",), "WEBP": ("RGB",)}
"""Pillow's names for the layouts of plain pixels; other kinds have too many variants."""
_XMP_TURN = re.compile(r'tiff:Orientation(="|>)[2-8]')


def _from_image(photo: Opened, image: ImageFile.ImageFile) -> dict[str, Any]:
    alpha = image.has_transparency_data
    frames = photo.directory.pages if photo.directory else bool(getattr(image, "is_animated", False))
    # Pillow's exif_transpose obeys it; `decode` and OpenCV only know EXIF.
    xmp = _XMP_TURN.search(str(image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")))
    plain = not (alpha or frames or xmp) and _stored(image) in _PLAIN.get(photo.kind, ())
    wide = image.mode[0] in "IF" or _stored(image).endswith(";16B")
    if photo.kind == "JPEG 2000":
        wide = wide and precision(photo.file) > 8
    return {"plain": plain, "wide": wide, "alpha": alpha, "frames": frames}


def _stored(image: ImageFile.ImageFile) -> str:
    """Pillow's name for the layout of the pixels in the file; WebP has no tile before it is decoded."""
    how = image.tile[0].args if image.tile else image.mode
    return str(how[0] if isinstance(how, tuple) else how)


def _values(photo: Opened, path: Path, reading: Reading, allow_truncated: bool, max_bytes: int) -> Raw:
    """The bands that are read, as stored in the file; not yet upright."""
    if photo.image is not None:
        return _from_pillow(photo.image, photo.kind, path, reading, allow_truncated)
    if photo.directory is not None:
        return read_pixels(photo.file, photo.directory, reading, max_bytes)
    assert photo.pnm is not None
    raw = _chosen(_pnm_values(photo.file, photo.pnm), None, reading, "PNM photo")
    return raw if photo.pnm.most >= 65535 else replace(raw, span=(0.0, float(photo.pnm.most)))


def _from_pillow(image: ImageFile.ImageFile, kind: str, path: Path, reading: Reading, allow_truncated: bool) -> Raw:
    deep = kind == "PNG" and image.mode[0] != "I" and _stored(image).endswith(";16B")
    if not _load(image, kind, allow_truncated):
        deep = False
    if image.mode[0] in "IF":
        values, alpha = np.array(image)[:, :, None], None
        if kind == "JPEG 2000" and image.fp is not None and values.dtype == np.uint16:
            values >>= 16 - min(16, precision(image.fp))  # Pillow spreads them over 16 bits
    else:
        values, alpha = _colours(image, reading)
        if deep:
            values = read_deep_png(path, image.size)
    return _chosen(values, alpha, reading, f"{kind} photo")


def _load(image: ImageFile.ImageFile, kind: str, allow_truncated: bool) -> bool:
    """Decode; False if the file is truncated and that is allowed: the rows before its end are kept."""
    try:
        with quiet(kind):
            image.load()
        return True
    except (OSError, EOFError, SyntaxError) as error:
        if not (allow_truncated and is_truncation(error)) or kind == "TIFF":
            raise
        image.tile = []
        return False


def _colours(image: ImageFile.ImageFile, reading: Reading) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels of an image in any 8-bit mode, uint8 (H, W, 3) or, if bands of grey are chosen, (H, W, 1); its alpha."""
    transparent = image.has_transparency_data or image.mode in ("RGBa", "La")
    if not transparent:
        values, alpha = np.array(image if image.mode == "RGB" else image.convert("RGB")), None
    else:
        layer = np.array(image.convert("RGBA"))
        values, alpha = layer[:, :, :3], layer[:, :, 3]
    return values[:, :, :1] if reading.bands and image.mode in ("1", "L", "LA", "La") else values, alpha


def _chosen(values: np.ndarray, alpha: np.ndarray | None, reading: Reading, what: str) -> Raw:
    """The requested bands of colours (H, W, 3 or 1) and alpha, which counts as the last band."""
    if not reading.bands:
        return Raw(values, alpha)
    n = values.shape[2] + (alpha is not None)
    kept = choose_bands(n, None, is_rgb=True, reading=reading, what=f"a {what} with {count(n, 'band')}")
    bands = [values[:, :, band] for band in range(values.shape[2])]
    if alpha is not None:
        bands.append(alpha if values.dtype == np.uint8 else alpha.astype(values.dtype) * 257)
    return Raw(np.dstack([bands[band] for band in kept]), None if n - 1 in kept else alpha)


def _pnm_values(file: IO[bytes], header: PnmHeader) -> np.ndarray:
    """uint16 (H, W, n)."""
    width, height = header.size
    file.seek(header.start)
    n = width * height * header.bands
    data = file.read(2 * n)
    if len(data) < 2 * n:
        raise EOFError("truncated")
    return np.frombuffer(data, ">u2").astype(np.uint16).reshape(height, width, header.bands)
