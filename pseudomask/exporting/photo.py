"""A photo's way into an export: its bytes, a link, or, where readers would go wrong, its pixels written anew."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image

from pseudomask.data.decoding import Header, decode
from pseudomask.errors import ImageError

KINDS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""Suffixes (in lower case) that all readers know, and what is written under them."""

_SETTINGS: dict[str, dict[str, object]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}


def put_photo(source: Path, target: Path, header: Header, *, link: bool) -> str:
    """Bring a photo to `target`; returns what became of it: copied, hard-linked, linked or rewritten.

    A photo that its EXIF data turns is written anew, upright: some readers turn it and some do not, and the mask
    fits the upright one. So is one whose kind is another than a `.jpg` target must be. Raises `ImageError` where it
    cannot be read.
    """
    kind = KINDS.get(target.suffix.lower(), "")
    if header.turned or (kind == "JPEG" and header.kind != "JPEG"):
        target.write_bytes(_rewritten(source, kind))
        return "rewritten"
    if link:
        return _link(Path(os.path.realpath(source)), target)
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ImageError(source, (error.strerror or str(error)).lower()) from error
    target.write_bytes(content)
    return "copied"


def _rewritten(source: Path, kind: str) -> bytes:
    pixels = Image.fromarray(decode(source))
    stream = io.BytesIO()  # the encoder's errors are the photo's, those of writing are the disk's
    try:
        pixels.save(stream, kind, **_SETTINGS.get(kind, {}))
    except (OSError, ValueError) as error:
        raise ImageError(source, f"cannot be written as {kind}: {error}") from error
    return stream.getvalue()


def _link(source: Path, target: Path) -> str:
    try:
        target.hardlink_to(source)
        return "hard-linked"
    except OSError:  # another disk, or one that knows no hard links
        target.symlink_to(source)
        return "linked"
