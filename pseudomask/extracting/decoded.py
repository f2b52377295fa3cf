"""Photos that a GPU decodes, a batch ahead of the network; what it cannot decode is decoded as ever."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pseudomask.devices import make_current
from pseudomask.extracting.loading import arrived
from pseudomask.extracting.nvjpeg import Decoder
from pseudomask.extracting.photos import Photo, Photos
from pseudomask.extracting.transfers import Fetched
from pseudomask.running.halving import OUT_OF_MEMORY, halving

_AHEAD = 2  # batches: one being decoded, one that is ready


def decoded(batches: Iterable[list[Photo]], photos: Photos, device: torch.device, most: int) -> Iterator[list[Photo]]:
    """The same batches with the pixels of all photos, in order; those that cannot be read come alone.

    Args:
        most: photos in a batch.
    """
    turn = Turn(Decoder(device), photos, most)
    with ThreadPoolExecutor(1, "decode", make_current, (device,)) as pool:
        waiting = deque[Future[list[Photo]]]()
        for batch in batches:
            waiting.append(pool.submit(turn.take, batch))
            if len(waiting) > _AHEAD:
                yield from _apart(waiting.popleft().result())
        while waiting:
            yield from _apart(waiting.popleft().result())


def _apart(batch: Sequence[Photo]) -> Iterator[list[Photo]]:
    yield from ([photo] for photo in batch if photo.problem)
    if whole := [photo for photo in batch if not photo.problem]:
        yield whole


@dataclass
class Turn:
    """Decodes batches; `largest` shrinks when the device's memory runs out."""

    decode: Callable[[Sequence[bytes]], list[Tensor]]
    photos: Photos
    largest: int

    def take(self, batch: Sequence[Photo]) -> list[Photo]:
        """The photos of a batch, decoded."""
        files = [photo.jpeg for photo in batch if photo.jpeg]
        found = iter(self._planes(files))
        return [self._photo(photo, next(found)) if photo.jpeg else photo for photo in batch]

    def _photo(self, photo: Photo, planes: Tensor | None) -> Photo:
        if planes is None or planes.dtype != torch.uint8 or planes.shape != (3, *photo.size):
            return arrived(self.photos, self.photos.read(photo.index))
        planes_there = Fetched(planes) if self.photos.keep_whole else None
        return replace(photo, jpeg=b"", views=(planes.permute(1, 2, 0),), planes=planes_there)

    def _planes(self, files: Sequence[bytes]) -> Sequence[Tensor | None]:
        """Of each file, uint8 (3, H, W); None where it cannot be decoded."""
        try:
            found, self.largest = halving(files, self.largest, self._each)
        except OUT_OF_MEMORY:
            self.largest = 1
            return [None] * len(files)
        return found

    def _each(self, files: Sequence[bytes]) -> Sequence[Tensor | None]:
        """One file that is refused costs the others a second or third try, in halves."""
        try:
            return self.decode(files)
        except OUT_OF_MEMORY:
            raise
        except RuntimeError:
            half = len(files) // 2
            return [*self._each(files[:half]), *self._each(files[half:])] if half else [None]
