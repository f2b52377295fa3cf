"""The result of `extract`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pseudomask.data.images import PassedOver
from pseudomask.quoting import command
from pseudomask.running.folder_result import FolderResult


@dataclass(kw_only=True)
class ExtractResult(FolderResult):
    """What `extract` did.

    Attributes:
        tags_from: where the tags came from.
        untagged: keys of photos without a row of labels; `orphans`: rows without a photo.
        passed_over: files of `images` that hold pictures of kinds that are not read.
        images, with_scores: the photos' folder, and whether scores were written, too.
        quality: the quality and what it stands for.
        refined_by: the refiners that made the masks from the scores; `masks_threshold`: their background threshold,
            while `threshold` is that of the scores.
        own_weights: the weights that --weights gave.
    """

    tags_from: str
    images: Path
    with_scores: bool
    untagged: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    passed_over: tuple[PassedOver, ...] = ()
    refined_by: tuple[str, ...] = ()
    masks_threshold: float = 0.5
    own_weights: Path | None = None
    quality: str = ""

    def details(self) -> list[tuple[str, str]]:
        return [*([("quality", self.quality)] if self.quality else []), ("tags", self.tags_from)]

    def made_with(self) -> list[tuple[str, str]]:
        refined = ("refined by", f"{', then '.join(self.refined_by)} (threshold afterwards {self.masks_threshold:g})")
        return [*super().made_with(), *([refined] if self.refined_by else [])]

    def _failed(self) -> list[tuple[str, str]]:
        left = [("ignored", ", ".join(map(str, self.passed_over)))] if self.passed_over else []
        return [*super()._failed(), *left]

    def next_steps(self) -> list[tuple[str, str]]:
        if not self.with_scores or self.refined_by:
            return super().next_steps()
        measure = f"with true masks: {command('evaluate', self.out, 'TRUE_MASKS', '--sweep')}"
        refine: tuple[object, ...] = ("refine", self.images, self.out, "REFINED")
        if self.own_weights is not None:  # the walk is the best refiner, but needs a boundary head on their backbone
            refine = ("train-affinity", self.images, self.out, "RUN", "--weights", self.own_weights)
        return [("next", command(*refine)), ("or", measure)]
