"""Write a photo to an export: copied or linked, or re-encoded if trainers would read other pixels than the masks' run.

Trainers read with Pillow (torchvision, datasets, detectron2) or OpenCV (mmcv, YOLO). A file is kept only if both
decode the pixels that the masks were made from: 8-bit grey or RGB, one frame, upright, in a format that both know.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pseudomask.data.decoding import MAX_PIXELS, Header, decode, read_header
from pseudomask.data.reading import AS_IT_COMES, Reading
from pseudomask.errors import ImageError

KINDS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".webp": "WEBP"}
"""Suffixes (in lower case) that all readers know, and the file format of each."""

_SUFFIXES = {kind: suffix for suffix, kind in reversed(KINDS.items())}
_SETTINGS: dict[str, dict[str, object]] = {"JPEG": {"quality": 95, "subsampling": 0}}


@dataclass(frozen=True)
class PhotoDecoding:
    """How the run that made the masks decoded its photos.

    allow_truncated: it accepted truncated files; reading: how values and bands became colours.
    """

    max_pixels: int = MAX_PIXELS
    allow_truncated: bool = False
    reading: Reading = AS_IT_COMES

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> PhotoDecoding:
        """From the recorded settings of a run."""
        limit = config.get("max_pixels")
        return cls(
            max_pixels=limit if isinstance(limit, int) and limit > 0 else MAX_PIXELS,
            allow_truncated=config.get("allow_truncated") is True,
            reading=Reading.recorded(config),
        )

    def pixels(self, photo: Path) -> np.ndarray:
        """The pixels that the run used: uint8 (H, W, 3) RGB, upright. Raises `ImageError`."""
        return decode(photo, max_pixels=self.max_pixels, allow_truncated=self.allow_truncated, reading=self.reading)

    def fault(self, photo: Path, header: Header) -> str | None:
        """Why other programs would decode other pixels from the file; None if they would not."""
        if self.reading.bands:
            return "bands chosen with --bands"
        if header.turned:
            return "rotated by EXIF data"
        if not header.plain or header.kind not in _SUFFIXES:
            return f"{header.kind} that not all programs read alike"
        if self.allow_truncated and _is_truncated(photo):
            return "truncated"
        return None


def suffix_of(photo: Path, decoding: PhotoDecoding) -> str:
    """The suffix of a photo in an export that allows several: its own if the file is kept and its name is right.

    Re-encoded photos are PNG, or JPEG if the original was: PNG would be ten times as large.
    """
    try:
        header = read_header(photo)
    except ImageError:
        return ".jpg"  # `write_photo` reports it
    if decoding.fault(photo, header) is not None:
        return ".jpg" if header.kind == "JPEG" else ".png"
    suffix = os.path.splitext(photo)[1]  # noqa: PTH122 - a key may end with a dot
    return suffix if KINDS.get(suffix.lower()) == header.kind else _SUFFIXES[header.kind]


def write_photo(
    source: Path, target: Path, header: Header, decoding: PhotoDecoding, *, link: bool
) -> tuple[str, str | None]:
    """Write a photo to `target`; returns how (copied, hard-linked, linked, rewritten), and why it was rewritten.

    It is re-encoded, with the pixels that the masks were made from, if other programs would read other pixels
    (`PhotoDecoding.fault`) or if `target` requires another format. Raises `ImageError` if it cannot be read.
    """
    kind = KINDS[target.suffix.lower()]
    fault = decoding.fault(source, header)
    if fault is None and kind != header.kind:
        fault = f"{header.kind}, but {kind} is needed"
    if fault is not None:
        target.write_bytes(_encoded(decoding.pixels(source), source, kind))
        return "rewritten", fault
    if link:
        return _link(Path(os.path.realpath(source)), target), None
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ImageError(source, (error.strerror or str(error)).lower()) from error
    target.write_bytes(content)
    return "copied", None


def _is_truncated(photo: Path) -> bool:
    try:
        decode(photo)
    except ImageError:
        return True
    return False


def _encoded(pixels: np.ndarray, source: Path, kind: str) -> bytes:
    stream = io.BytesIO()  # so that errors of the encoder are not mistaken for a full disk
    try:
        Image.fromarray(pixels).save(stream, kind, **_SETTINGS.get(kind, {}))
    except (OSError, ValueError) as error:
        raise ImageError(source, f"cannot be written as {kind}: {error}") from error
    return stream.getvalue()


def _link(source: Path, target: Path) -> str:
    try:
        target.hardlink_to(source)
        return "hard-linked"
    except OSError:  # another disk, or one without hard links
        target.symlink_to(source)
        return "linked"
