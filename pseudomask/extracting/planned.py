"""What `fill` needs of a run: which photos, where their files go, and what makes their scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from pseudomask.data.collection import Collection
from pseudomask.extracting.photos import Photo, Photos
from pseudomask.extracting.refinement import Refinement
from pseudomask.running.folder_result import FolderResult
from pseudomask.running.layout import Outputs
from pseudomask.running.record import RunRecord
from pseudomask.running.reporter import Reporter
from pseudomask.scores import ScoreMap


class Made(Protocol):
    """What a network found in a photo: its scores, and what `Refinement.look` found in its features."""

    @property
    def scores(self) -> ScoreMap: ...
    @property
    def found(self) -> Tensor | None: ...


class Maker(Protocol):
    """The network of a run."""

    def make(self, photos: Sequence[Photo], tags: Sequence[tuple[int, ...] | None]) -> Sequence[Made]:
        """Score maps of photos of a batch; tags are None where the network shall say which classes there are."""


class Planned(Protocol):
    """A run that is ready to start.

    Attributes:
        config: with `FolderOptions`, `workers` and `scores`; `decode`: cpu or gpu.
        collection, outputs: the photos and, in their order, their files.
        threshold: the background threshold of the scores.
        scales, max_side: the sizes at which photos are decoded (`view_sizes`).
        batch_size: photos that may share a batch; framed: also those of several sizes (`frames.py`).
        guesser: who says which classes a photo without tags has, for the manifest.
    """

    @property
    def config(self) -> Any: ...
    @property
    def collection(self) -> Collection: ...
    @property
    def outputs(self) -> Sequence[Outputs]: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def threshold(self) -> float: ...
    @property
    def refinement(self) -> Refinement | None: ...
    @property
    def scales(self) -> Sequence[float]: ...
    @property
    def max_side(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def framed(self) -> bool: ...
    @property
    def guesser(self) -> str: ...

    def result(self) -> FolderResult:
        """The result of a run that has done nothing yet."""

    def understood(self) -> list[tuple[str, str]]:
        """What a dry run reports."""

    def record(self) -> RunRecord:
        """The run's record, before its start."""

    def compared(self) -> list[str]:
        """Fields of the record that must be equal for a run to resume another."""

    def photos(self, indices: Sequence[int]) -> Photos:
        """The photos at `indices` of the collection, to be decoded."""

    def engine(self, reporter: Reporter, record: RunRecord) -> Maker:
        """The network, on its device. What is only known now is added to `record`, before it is written."""
