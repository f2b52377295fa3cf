"""Which files count as images, by extension and first bytes, and which kinds are not supported."""

from __future__ import annotations

import re

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif", ".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc"}
)
"""Lower-case extensions of files that are listed as images even if they turn out to be broken."""

SNIFF_BYTES = 352
"""Number of leading bytes that `sniff` needs: NIfTI's magic number is at 344."""

_RAW = (".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef")
NOT_READ = (
    {".dcm": "DICOM", ".dicom": "DICOM", ".nii": "NIfTI", ".mha": "MetaImage", ".mhd": "MetaImage", ".nrrd": "NRRD"}
    | dict.fromkeys((*_RAW, ".srw", ".x3f", ".iiq", ".3fr", ".rwl"), "camera RAW")
    | {".tga": "TGA", ".psd": "Photoshop", ".psb": "Photoshop", ".xcf": "GIMP", ".exr": "OpenEXR"}
    | {
        ".svg": "SVG",
        ".svgz": "SVG",
        ".pdf": "PDF",
        ".eps": "EPS",
        ".djvu": "DjVu",
        ".jxl": "JPEG XL",
        ".jxr": "JPEG XR",
    }
    | {".ico": "icon", ".dds": "DDS", ".pcx": "PCX", ".sgi": "SGI", ".czi": "microscope", ".nd2": "microscope"}
    | {".lif": "microscope", ".svs": "slide", ".ndpi": "slide", ".mrxs": "slide", ".fits": "FITS"}
    | dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv"), "video")
    | dict.fromkeys((".part", ".crdownload", ".download", ".partial"), "unfinished download")
)
"""Extension → kind of unsupported image files. Their content decides if it is recognised."""

ARCHIVES = frozenset({".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst"})

_HOW = {
    "DICOM": "convert it with dcm2img or pydicom (docs/photos.md)",
    "NIfTI": "save its slices as PNG with nibabel (docs/photos.md)",
    "AVIF": "convert it to JPEG or PNG, or install a version of Pillow that supports it",
    "JPEG 2000": "convert it to JPEG or PNG, or install a version of Pillow that supports it",
    "camera RAW": "develop it to JPEG or 16-bit TIFF, for example with `darktable-cli a.nef a.tif`",
    "video": "extract frames, for example with `ffmpeg -i a.mp4 -r 1 frames/%05d.png`",
    "archive": "unpack it",
    "unfinished download": "download it again",
    "PDF": "convert its pages to images, for example with `pdftoppm -png a.pdf page`",
}

_BMP_HEADER_SIZES = frozenset((12, 16, 40, 52, 56, 64, 108, 124))
_PNM = re.compile(rb"P[1-6](?:\s+\d|\s*#)")
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BRANDS = (
    {b"avif": "AVIF", b"avis": "AVIF", b"crx ": "camera RAW"}
    | dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "HEIC")
    | dict.fromkeys((b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V ", b"3gp4", b"3gp5"), "video")
)
_MAGIC = (
    (b"8BPS", "Photoshop"),
    (b"gimp xcf", "GIMP"),
    (b"v/1\x01", "OpenEXR"),
    (b"#?R", "Radiance HDR"),
    (b"%PDF", "PDF"),
    (b"IIU\0", "camera RAW"),
    (b"IIRO", "camera RAW"),
    (b"IIRS", "camera RAW"),
    (b"FUJIFILMCCD", "camera RAW"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"SIMPLE  =", "FITS"),
    (b"NRRD0", "NRRD"),
    (b"DDS ", "DDS"),
)
READ = frozenset({"JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG 2000", "AVIF"})
"""Kinds that are decoded, some of them only where Pillow does."""


def sniff(head: bytes) -> str | None:
    """The kind of image that a file's first `SNIFF_BYTES` bytes announce, or None.

    One of `READ`, or of those that are recognised, so that they can be reported, but not decoded (HEIC, DICOM, …).
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(_TIFF_MAGIC):
        return "camera RAW" if head[8:10] == b"CR" and head[2:4] == b"*\0" else "TIFF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if head.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")):
        return "JPEG 2000"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    if _PNM.match(head):
        return "PPM"
    return _unread(head)


def _unread(head: bytes) -> str | None:
    if head[128:132] == b"DICM":
        return "DICOM"
    if head[344:348] in (b"n+1\0", b"ni1\0"):
        return "NIfTI"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


def convert_how(kind: str) -> str:
    """What to do with files of an unsupported kind."""
    return _HOW.get(kind, "convert it to JPEG or PNG")


def not_an_image(head: bytes) -> str:
    """Why a file with an image's name is not an image, by its first bytes."""
    if not head:
        return "empty file"
    if not any(head):
        return "it starts with zeros; was it copied completely?"
    if head.startswith(b"version https://git-lfs.github.com/"):
        return "a Git LFS pointer, not the photo itself; run `git lfs pull`"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "an HTML page, not an image, as a server sends for a missing photo"
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in head.lower()):
        return "SVG is not supported; convert it to JPEG or PNG"
    if start.startswith((b"<?xml", b"<error", b"{")):
        return "XML or JSON text, not an image; did the download fail?"
    return "not a known image format"
