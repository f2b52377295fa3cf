"""Inspect every photo: whether it can be read, its size, and a thumbnail of 16 × 16 colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pseudomask.data.decoding import glance, image_size
from pseudomask.data.reading import Reading
from pseudomask.errors import ImageError
from pseudomask.measuring.counting import in_order
from pseudomask.running.reporter import Reporter
from pseudomask.training.duplicates import SIDE


@dataclass(frozen=True)
class Looked:
    """What was found out about N photos.

    Attributes:
        sizes: int32 (N, 2), (H, W) upright; 0 where a photo cannot be read.
        small: uint8 (N, 16, 16, 3); None if only headers were read.
        problems: why a photo cannot be read, keyed by position.
    """

    sizes: np.ndarray
    small: np.ndarray | None
    problems: dict[int, str]

    @property
    def readable(self) -> np.ndarray:
        """Positions of the photos that can be read."""
        return np.flatnonzero(self.sizes[:, 0])


def look(paths: Sequence[Path], reading: Reading, *, decode: bool, threads: int, reporter: Reporter) -> Looked:
    """Read all photos, or only their headers; uses at most 1 KB of memory per photo."""
    sizes = np.zeros((len(paths), 2), np.int32)
    small = np.zeros((len(paths), SIDE, SIDE, 3), np.uint8) if decode else None
    problems = dict[int, str]()
    with reporter.progress(len(paths), "looking at photos") as progress:
        for i, found in enumerate(in_order(partial(_look, reading=reading, decode=decode), paths, threads)):
            if isinstance(found, str):
                problems[i] = found
            else:
                sizes[i], colours = found
                if small is not None and colours is not None:
                    small[i] = colours
            progress.advance()
    return Looked(sizes, small, problems)


def _look(path: Path, *, reading: Reading, decode: bool) -> tuple[tuple[int, int], np.ndarray | None] | str:
    try:
        return glance(path, SIDE, reading=reading) if decode else (image_size(path), None)
    except ImageError as error:
        return error.reason
