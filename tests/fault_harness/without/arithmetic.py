"""What is tested in pytest's own process: tables, memory that runs out, lost workers, counts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fault_harness.without.patching import Patch


def names_looked_up(patch: Patch) -> None:
    """names that came before are looked up, not walked through"""
    from pseudomask.data.labels.builder import TableBuilder

    real = TableBuilder.add_positions

    def checked(self: TableBuilder, name: str, *words: Any) -> None:
        if len(self._tags) % 500 == 0:  # at every row it would take hours
            assert sum(one == name for one in self._tags) <= 1
        real(self, name, *words)

    patch(TableBuilder, "add_positions", checked)


def smaller_batches(patch: Patch) -> None:
    """a batch that is too large is halved"""
    from pseudomask.extracting.engine import Engine

    patch(Engine, "make", lambda self, photos, tags: self._make(photos, tags))


def new_refiners(patch: Patch) -> None:
    """a dead refining worker costs one photo"""
    from pseudomask.errors import PseudomaskError
    from pseudomask.running.workers import _Pool

    def replace(self: Any, worker: Any) -> Iterator[Any]:
        raise PseudomaskError("a worker died")
        yield

    patch(_Pool, "_replace", replace)


def ignored_truth(patch: Patch) -> None:
    """pixels of the ignore index are not counted"""
    from pseudomask.measuring import confusion

    real = confusion.count

    def count(pred: np.ndarray, truth: np.ndarray, **more: Any) -> Any:
        return real(pred, np.where(truth == more.pop("ignore", 255), 0, truth), **more)

    patch(confusion, "count", count)


def absent_classes(patch: Patch) -> None:
    """a class in neither truth nor prediction is left out of the mean"""
    from pseudomask.measuring import confusion

    def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
        return np.divide(part, np.maximum(whole, 1))

    patch(confusion, "_share", share)


def wide_counts(patch: Patch) -> None:
    """counts are 64 bits wide"""
    from pseudomask.measuring.confusion import Confusion

    real = Confusion.__init__

    def narrow(self: Confusion, n_classes: int | None = None) -> None:
        real(self, n_classes)
        self.table = self.table.astype(np.int32)

    patch(Confusion, "__init__", narrow)


def equal_sizes(patch: Patch) -> None:
    """a prediction has the size and kind of its truth"""
    from pseudomask.measuring import confusion

    patch(confusion, "check_maps", lambda pred, truth: None)


def labels_of_the_list(patch: Patch) -> None:
    """no label is beyond the class list"""
    from pseudomask.measuring import confusion

    patch(confusion, "check_labels", lambda values, what, n_classes: None)


def rule_against_pickles(patch: Patch) -> None:
    """no module of the package calls torch.load"""
    import test_inputs as tests

    root = Path(tempfile.mkdtemp())
    (root / "pseudomask").mkdir()
    (root / "pseudomask/new.py").write_text("import torch\n\nweights = torch.load('weights.pth')\n")
    patch(tests, "ROOT", root)
