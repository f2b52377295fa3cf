"""Regions made by another program: a folder with one file of run-length codes per photo."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pseudomask.config import RefineConfig
from pseudomask.data.decoding import image_size
from pseudomask.errors import ImageError, UsageError
from pseudomask.quoting import count
from pseudomask.refining.proposal_files import file_of, load_proposals
from pseudomask.refining.refiner import Refined, Refiner
from pseudomask.refining.regions import Region, refine_by, region_of, sizes_differ
from pseudomask.scores import ScoreMap


@dataclass(frozen=True)
class FromFile:
    """The refiner for one photo."""

    path: Path
    side: int

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        return refine_by(self.regions, self.side, photo, scores, threshold)

    def regions(self, photo: np.ndarray, stride: int) -> Iterator[Region]:
        try:
            found = load_proposals(self.path)
        except UsageError as error:
            raise ImageError(self.path, str(error)) from error
        if found.size not in (None, photo.shape[:2]):
            raise ImageError(self.path, f"{self.path}: {sizes_differ(found.size, photo.shape)}")
        return (region_of(mask, stride) for mask in found.masks())


@dataclass(frozen=True)
class FromFolder:
    """The refiner. Without a photo's key it leaves the scores unchanged."""

    folder: Path
    side: int = 1024

    def of_photo(self, key: str) -> Refiner:
        return FromFile(file_of(self.folder, key), self.side)

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        return refine_by(lambda photo, stride: (), self.side, photo, scores, threshold)

    def check(self, photos: Iterable[tuple[str, Path]]) -> None:
        """Raise `UsageError` if a photo's region file is missing, malformed or for another photo size."""
        pairs = [(path, file_of(self.folder, key)) for key, path in photos]
        missing = [file for _, file in pairs if not file.exists()]
        if missing:
            raise UsageError(
                f"--proposals {self.folder}: {count(len(missing), 'photo')} of {len(pairs)} without a file of regions "
                f"(first: {missing[0]}); add them, or leave the photos out with --list"
            )
        for photo, file in pairs:
            found = load_proposals(file).size
            if found is None:
                continue
            try:
                size = image_size(photo)
            except ImageError:
                continue  # reported when the photo is refined
            if found != size:
                raise UsageError(f"{file}: {sizes_differ(found, size)}")


def make(config: RefineConfig, device: str) -> FromFolder:
    if config.proposals is None:
        raise UsageError("proposals needs a folder of regions; give --proposals FOLDER")
    if not config.proposals.is_dir():
        what = "is a file, not a folder" if config.proposals.exists() else "no such folder"
        raise UsageError(f"--proposals {config.proposals}: {what}")
    return FromFolder(config.proposals, config.region_side)
