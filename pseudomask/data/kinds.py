"""What counts as an image: the extensions, and the first bytes of each kind of file."""

from __future__ import annotations

import re

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif"}
)
"""Lower-case extensions of files that are listed as images even when they turn out to be broken."""

SNIFF_BYTES = 32
"""How many leading bytes `sniff` wants."""

_BMP_HEADER_SIZES = frozenset((12, 16, 40, 52, 56, 64, 108, 124))
_PNM = re.compile(rb"P[1-6](?:\s+\d|\s*#)")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UNREAD_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"
)


def sniff(head: bytes) -> str | None:
    """The kind of image that a file's first `SNIFF_BYTES` bytes announce, or None.

    One of JPEG, PNG, GIF, BMP, TIFF, WEBP, PPM, and of AVIF, HEIC, which are recognised
    (so that they can be reported) but not decoded.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(_TIFF_MAGIC):
        return "TIFF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if head[4:8] == b"ftyp":
        return _UNREAD_BRANDS.get(head[8:12])
    if _PNM.match(head):
        return "PPM"
    return None
