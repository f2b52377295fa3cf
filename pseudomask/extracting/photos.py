"""Photos decoded and resized."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pseudomask.data.decoding import decode, image_size
from pseudomask.data.jpeg import plain_jpeg
from pseudomask.data.pixels import resize, with_long_side
from pseudomask.data.reading import AS_IT_COMES, Reading
from pseudomask.errors import ImageError
from pseudomask.extracting.transfers import Fetched
from pseudomask.running.identity import TOUCHED, Identity, identify
from pseudomask.running.locks import locked
from pseudomask.running.memory import give_back
from pseudomask.scores import MAX_SIDE


@dataclass(frozen=True)
class Photo:
    """One photo, ready for the network.

    Attributes:
        index: its position in the run's list.
        size: (H, W) of the upright photo.
        views: uint8 (h_s, w_s, 3) at each scale; empty where `problem` says what went wrong.
        to_scale: its only view is the photo itself, which the device resizes to each scale.
        whole: uint8 (H, W, 3), only when an overlay or a refiner wants it and it has at most `WHOLE` pixels.
        file: what the photo's file was when it was read.
        white: nothing else is in it, as where all of it is transparent.
        jpeg: its file, where the device shall decode it: then it has no views yet.
        planes: `whole` of a photo that the device has decoded, uint8 (3, H, W), on its way.
    """

    index: int
    size: tuple[int, int]
    views: tuple[Tensor, ...]
    whole: np.ndarray | None = None
    problem: str = ""
    file: Identity | None = None
    white: bool = False
    to_scale: bool = False
    jpeg: bytes = b""
    planes: Fetched | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Photos of equal shape may share a batch."""
        return self.size if self.jpeg else tuple(side for view in self.views for side in view.shape[:2])


def reduction(size: tuple[int, int], max_side: int) -> int:
    """By how much a photo's score grid is coarser than that of a photo within `max_side`: 1, 2, 3, …"""
    return -(-max(size) // max_side)


def working_size(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """The size at which scale 1 is seen: the photo's own, its long side reduced to `max_side` at most."""
    return size if max(size) <= max_side else with_long_side(size, max_side)


def view_sizes(size: tuple[int, int], scales: Sequence[float], max_side: int) -> list[tuple[int, int]]:
    """(h_s, w_s) at which a photo of `size` is seen at each scale."""
    h, w = working_size(size, max_side)
    return [(max(1, round(h * s)), max(1, round(w * s))) for s in scales]


WHOLE = 1 << 21
"""Pixels of a photo that is kept beside its views, as over a hundred may be under way; a larger one is read again."""

MANY = 1 << 24
"""Pixels of a photo after which memory is given back: else each worker would keep what it took, some 9 bytes each."""

LARGE = 1 << 26
"""Pixels above which photos are decoded one at a time, whatever the number of workers: it takes some 9 bytes each."""

_NEVER_LARGE = 1 << 17  # bytes of a file; a header costs another look at the file system


def header_size(path: Path) -> tuple[int, int]:
    """(H, W) of the upright photo, from its header; (0, 0) if that cannot be read."""
    try:
        return image_size(path)
    except ImageError:
        return (0, 0)


class Photos(Dataset[Photo]):
    """Decodes and resizes one photo an index; what cannot be read comes back with its reason.

    With `encoded`, a photo that a GPU can decode comes as it is (`Photo.jpeg`).
    """

    def __init__(
        self,
        paths: Sequence[Path],
        indices: Sequence[int],
        *,
        scales: Sequence[float],
        max_side: int,
        max_pixels: int,
        allow_truncated: bool,
        keep_whole: bool,
        reading: Reading = AS_IT_COMES,
        hashed: bool = False,
        to_scale: bool = False,
        encoded: bool = False,
    ) -> None:
        self.paths, self.indices, self.scales = paths, list(indices), tuple(scales)
        self.max_side, self.max_pixels = max_side, max_pixels
        self.allow_truncated, self.keep_whole = allow_truncated, keep_whole
        self.reading, self.hashed, self.to_scale = reading, hashed, to_scale
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> Photo:
        index = self.indices[i]
        return (self._as_it_is(index) if self.encoded else None) or self.read(index)

    def _as_it_is(self, index: int) -> Photo | None:
        """A photo that the device can decode and resize."""
        path = self.paths[index]
        file = identify(path, hashed=self.hashed)
        try:
            found = plain_jpeg(path, max_pixels=min(self.max_pixels, WHOLE), reading=self.reading)
        except ImageError:
            return None
        if found is None or max(found.size) > self.max_side or not file.untouched(path):
            return None
        return Photo(index, found.size, (), file=file, to_scale=self.to_scale, jpeg=found.data)

    def read(self, index: int) -> Photo:
        """The photo at `index` of the run's list, decoded here."""
        path = self.paths[index]
        file = identify(path, hashed=self.hashed)
        large = file.size > _NEVER_LARGE and math.prod(header_size(path)) > LARGE
        try:
            with _alone() if large else nullcontext():
                photo = self._prepare(path, file)
                if math.prod(photo.size) > MANY:
                    give_back()
        except ImageError as error:
            return Photo(index, (0, 0), (), problem=error.reason)
        return replace(photo, index=index, file=None if photo.problem else file)

    def _prepare(self, path: Path, file: Identity) -> Photo:
        image = self._decode(path, file)
        whole = self.keep_whole and _few(image)
        return prepare(image, self.scales, self.max_side, keep_whole=whole, to_scale=self.to_scale)

    def whole(self, photo: Photo) -> np.ndarray | None:
        """A photo's pixels, uint8 (H, W, 3), read again if need be; None if nothing needs them.

        Raises `ImageError` if it is no longer the same.
        """
        if photo.planes is not None:
            return np.ascontiguousarray(photo.planes.get().permute(1, 2, 0).numpy())
        if not self.keep_whole or photo.whole is not None or photo.file is None:
            return photo.whole
        return self._decode(self.paths[photo.index], photo.file)

    def _decode(self, path: Path, file: Identity) -> np.ndarray:
        image = decode(path, max_pixels=self.max_pixels, allow_truncated=self.allow_truncated, reading=self.reading)
        if not file.untouched(path):
            raise ImageError(path, TOUCHED)
        return image


def _few(image: np.ndarray) -> bool:
    return bool(image.shape[0] * image.shape[1] <= WHOLE)


@contextmanager
def _alone() -> Iterator[None]:
    """Wait until no other process of this user on this machine is within such a block."""
    name = f"pseudomask-large-{os.getuid() if hasattr(os, 'getuid') else ''}.lock"
    with locked(Path(tempfile.gettempdir(), name)):
        yield


def prepare(
    image: np.ndarray, scales: Sequence[float], max_side: int, *, keep_whole: bool, to_scale: bool = False
) -> Photo:
    """A decoded photo, uint8 (H, W, 3), with its views; or the problem if it is too large.

    With `to_scale`, a photo within `max_side` is left to the device to resize: less to do and less to send.
    """
    size = (image.shape[0], image.shape[1])
    if max(size) > MAX_SIDE:
        return Photo(0, (0, 0), (), problem=f"too large: {size[1]}x{size[0]}, a side is at most {MAX_SIDE:,}")
    white = bool(image[0].min() == 255 and image.min() == 255)
    if to_scale and max(size) <= max_side:
        return Photo(0, size, (torch.from_numpy(image),), white=white, to_scale=True)
    views = tuple(torch.from_numpy(np.array(resize(image, one))) for one in view_sizes(size, scales, max_side))
    return Photo(0, size, views, image if keep_whole else None, white=white)
