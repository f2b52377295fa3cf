"""A photo's way into an export: its bytes, a link, or, where readers would go wrong, its pixels written again.

Trainers read with Pillow (torchvision, datasets, detectron2) or OpenCV (mmcv, YOLO). A file is kept only where both
give the pixels that the masks were made from: 8-bit grey or RGB, one frame, upright, in a kind that both know.
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

KINDS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".bmp": "BMP",
    ".webp": "WEBP",
}
"""Suffixes (in lower case) that all readers know, and the kind of file that must lie under them."""

_SUFFIXES = {kind: suffix for suffix, kind in reversed(KINDS.items())}
_SETTINGS: dict[str, dict[str, object]] = {"JPEG": {"quality": 95, "subsampling": 0}}


@dataclass(frozen=True)
class AsSeen:
    """How the run that made the masks saw its photos; the one place where an export decodes.

    patient: it accepted files that are cut off; reading: how values and bands became colours.
    """

    max_pixels: int = MAX_PIXELS
    patient: bool = False
    reading: Reading = AS_IT_COMES

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> AsSeen:
        """That of a run with the recorded settings."""
        limit = config.get("max_pixels")
        return cls(
            max_pixels=limit if isinstance(limit, int) and limit > 0 else MAX_PIXELS,
            patient=config.get("allow_truncated") is True,
            reading=Reading.recorded(config),
        )

    def pixels(self, photo: Path) -> np.ndarray:
        """What the run saw: uint8 (H, W, 3) RGB, upright. Raises `ImageError`."""
        return decode(photo, max_pixels=self.max_pixels, allow_truncated=self.patient, reading=self.reading)

    def fault(self, photo: Path, header: Header) -> str | None:
        """Why readers would not see `pixels` in the file itself, if they would not."""
        if self.reading.bands:
            return "read by bands of the run's choice"
        if header.turned:
            return "turned by EXIF data"
        if not header.plain or header.kind not in _SUFFIXES:
            return f"{header.kind} that not all readers open alike"
        if self.patient and _is_cut(photo):
            return "cut off"
        return None


def suffix_of(photo: Path, seen: AsSeen) -> str:
    """The suffix of a photo's file in an export that may choose it: its own where the file is kept and well named.

    What is written again is PNG, or JPEG where the photo was one: lossless would be ten times as large.
    """
    try:
        header = read_header(photo)
    except ImageError:
        return ".jpg"  # it fails where it is put
    if seen.fault(photo, header) is not None:
        return ".jpg" if header.kind == "JPEG" else ".png"
    suffix = os.path.splitext(photo)[1]  # noqa: PTH122 - a key may end with a dot
    return suffix if KINDS.get(suffix.lower()) == header.kind else _SUFFIXES[header.kind]


def put_photo(source: Path, target: Path, header: Header, seen: AsSeen, *, link: bool) -> tuple[str, str | None]:
    """Bring a photo to `target`; returns what became of it (copied, hard-linked, linked, rewritten), and why rewritten.

    It is written again, with the pixels that the masks were made from, where readers would see others (`AsSeen`), and
    where it is of another kind than `target` must be. Raises `ImageError` where it cannot be read.
    """
    kind = KINDS[target.suffix.lower()]
    fault = seen.fault(source, header)
    if fault is None and kind != header.kind:
        fault = f"{header.kind} where {kind} is needed"
    if fault is not None:
        target.write_bytes(_rewritten(seen.pixels(source), source, kind))
        return "rewritten", fault
    if link:
        return _link(Path(os.path.realpath(source)), target), None
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ImageError(source, (error.strerror or str(error)).lower()) from error
    target.write_bytes(content)
    return "copied", None


def _is_cut(photo: Path) -> bool:
    try:
        decode(photo)
    except ImageError:
        return True
    return False


def _rewritten(pixels: np.ndarray, source: Path, kind: str) -> bytes:
    stream = io.BytesIO()  # the encoder's errors are the photo's, those of writing are the disk's
    try:
        Image.fromarray(pixels).save(stream, kind, **_SETTINGS.get(kind, {}))
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
