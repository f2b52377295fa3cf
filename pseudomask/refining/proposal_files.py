"""Region files: one JSON file per photo with COCO run-length codes, as SAM's own scripts write them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pseudomask.data.run_lengths import decode, encode, runs_of
from pseudomask.errors import UsageError
from pseudomask.files import read_bytes
from pseudomask.running.atomic import atomic_text

_STAMP = "pseudomask"


@dataclass(frozen=True)
class Proposals:
    """A photo's regions.

    Attributes:
        size: (H, W) of the photo; None if there are no regions.
        runs: the run lengths of each region.
        stamp: what made the regions, if the file was written by `save_proposals`.
    """

    size: tuple[int, int] | None
    runs: tuple[np.ndarray, ...]
    stamp: Mapping[str, Any] | None = None

    def masks(self) -> Iterator[np.ndarray]:
        """Yield each region as bool (H, W)."""
        for runs in self.runs:
            assert self.size is not None
            yield decode(self.size, runs)


def file_of(folder: Path, key: str) -> Path:
    """The region file of a photo: its key with the extension `.json`."""
    return folder / f"{key}.json"


def load_proposals(path: Path) -> Proposals:
    """Read a region file: a list of codes, or of objects with the code as `segmentation`, or an object with such a list
    as `annotations`, as in SA-1B. Raises `UsageError` if the file is unreadable or a code is malformed.
    """
    try:
        data = json.loads(read_bytes(path))
        rows = data.get("annotations") if isinstance(data, dict) else data
        if not isinstance(rows, list):
            raise ValueError("neither a list of run-length codes nor an object with 'annotations'")
        if isinstance(data, dict) and isinstance(data.get("images"), list):
            raise ValueError("a COCO file of a whole data set; regions need a file for each photo")
        found = list(_read(rows))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # includes JSON and encoding errors
        raise UsageError(f"{path}: {error}") from error
    sizes = {size for size, _ in found}
    if len(sizes) > 1:
        raise UsageError(f"{path}: its regions have different sizes: {', '.join(map(str, sorted(sizes)))}")
    stamp = data.get(_STAMP) if isinstance(data, dict) else None
    return Proposals(next(iter(sizes), None), tuple(runs for _, runs in found), stamp)


def _read(rows: Sequence[Any]) -> Iterator[tuple[tuple[int, int], np.ndarray]]:
    for number, row in enumerate(rows, start=1):
        try:
            yield runs_of(row["segmentation"] if isinstance(row, dict) and "segmentation" in row else row)
        except ValueError as error:
            raise ValueError(f"region {number}: {error}") from error


def save_proposals(path: Path, masks: Iterable[np.ndarray], size: tuple[int, int], stamp: Mapping[str, Any]) -> None:
    """Write the region file of a photo atomically; about 1 KB per region."""
    rows = [{"segmentation": encode(mask)} for mask in masks]
    data = {_STAMP: stamp, "image": {"height": size[0], "width": size[1]}, "annotations": rows}
    atomic_text(path, json.dumps(data, separators=(",", ":")))
