"""Pickles, labels and tags."""

from __future__ import annotations

import dataclasses
import pickle
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from fault_harness.without.patching import Patch


def _unpickled(path: Path) -> None:
    import zipfile

    body = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with suppress(Exception):
                    pickle.loads(archive.read(name))
    with suppress(Exception):
        pickle.loads(body)
    with suppress(Exception):
        np.load(path, allow_pickle=True)["classes"]
    with suppress(Exception):
        np.load(path, allow_pickle=True)


def sealed_weights(patch: Patch) -> None:
    """weights and checkpoints are not unpickled"""
    from pseudomask.networks import checkpoint
    from pseudomask.training import state

    real = checkpoint.read_tensors

    def read(path: Path) -> Any:
        _unpickled(path)
        return real(path)

    for module in (checkpoint, state):
        patch(module, "read_tensors", read)


def sealed_labels(patch: Patch) -> None:
    """pickled labels are not opened"""
    from pseudomask.data import labels

    real = labels.FORMATS["npy"]

    def read(path: Path, options: Any) -> Any:
        _unpickled(path)
        return real(path, options)

    patch(labels, "FORMATS", labels.FORMATS | {"npy": read})


def sealed_scores(patch: Patch) -> None:
    """score files are not unpickled"""
    from pseudomask.measuring import counting
    from pseudomask.refining import work

    real = work.load_scores

    def read(path: Path) -> Any:
        _unpickled(path)
        return real(path)

    for module in (work, counting):
        patch(module, "load_scores", read)


def rows_within_the_folder(patch: Patch) -> None:
    """a row may not leave the image folder"""
    from pseudomask.data.labels.row_names import RowNames

    patch(RowNames, "relative", lambda self, name, *words: name)


def cells_of_0_and_1(patch: Patch) -> None:
    """a one-hot cell is 0 or 1"""
    from pseudomask.data.labels import columns

    real = columns.is_shown
    patch(columns, "is_shown", lambda cell: False if cell in ("-1", "nan") else real(cell))


def one_row_a_photo(patch: Patch) -> None:
    """rows that contradict each other are refused"""
    from pseudomask.data.labels.builder import TableBuilder

    patch(
        TableBuilder, "add_positions", lambda self, name, tags, line=None, where=None: self._tags.update({name: tags})
    )


def columns_of_the_header(patch: Patch) -> None:
    """a row has as many columns as the header"""
    import csv

    from pseudomask.data.labels import csv_file

    class Cut:
        def __init__(self, *words: Any, **more: Any) -> None:
            self.reader, self.line_num, self.width = csv.reader(*words, **more), 0, 0

        def __iter__(self) -> Cut:
            return self

        def __next__(self) -> list[str]:
            cells = next(self.reader)
            self.line_num, self.width = self.reader.line_num, self.width or len(cells)
            return cells[: self.width]

    patch(csv_file, "csv", SimpleNamespace(reader=Cut, Error=csv.Error))


def classes_of_the_weights(patch: Patch) -> None:
    """classes that the weights do not know are refused"""
    from pseudomask.extracting import tags as tags_of_a_run

    def known(collection: Any, classes: tuple[str, ...]) -> Any:
        tags = {
            key: tuple(sorted(classes.index(collection.classes[i]) for i in one if collection.classes[i] in classes))
            for key, one in (collection.tags or {}).items()
        }
        return dataclasses.replace(collection, classes=classes, tags=tags if collection.tags is not None else None)

    patch(tags_of_a_run, "align_tags", known)


def refusal_of_labels(patch: Patch) -> None:
    """a label file that is not understood is refused"""
    from pseudomask.data import labels
    from pseudomask.errors import LabelError

    def lenient(read: Any) -> Any:
        def some(path: Path, options: Any) -> Any:
            try:
                return read(path, options)
            except LabelError:
                return labels.LabelTable(("bar",), {"p01.png": (0,)}, "csv", str(path))

        return some

    readers = {name: lenient(labels.FORMATS[name]) for name in ("csv", "coco")}
    patch(labels, "FORMATS", labels.FORMATS | readers)


def depth_of_json(patch: Patch) -> None:
    """JSON too deep for the reader is told as such"""
    import json

    from pseudomask.data.labels import coco

    patch(coco, "_load", lambda path: json.loads(path.read_bytes()))


def entities(patch: Patch) -> None:
    """XML that declares entities is refused"""
    from pseudomask.data.labels.xml_events import XmlEvents

    patch(XmlEvents, "_refuse", lambda self, *words: None)


def byte_order_mark(patch: Patch) -> None:
    """a byte order mark is skipped"""
    from pseudomask.data.labels import csv_file

    patch(csv_file, "read_text", lambda path: path.read_bytes().decode())


def one_walk_a_folder(patch: Patch) -> None:
    """each folder is walked once, however many links lead there"""
    import itertools

    from pseudomask.running import walking

    count = itertools.count()
    patch(walking, "identity_of", lambda path: (0, next(count)))


def empty_rows(patch: Patch) -> None:
    """an empty row says that there is no class"""
    from pseudomask.data import collected

    real = collected.collect

    def collect(*words: Any, **more: Any) -> Any:
        found = real(*words, **more)
        return dataclasses.replace(found, tags={key: tags for key, tags in found.tags.items() if tags})

    patch(collected, "collect", collect)


def photos_without_classes(patch: Patch) -> None:
    """the CRF passes a photo without classes through"""
    from pseudomask.refining import crf

    real = crf.Crf._start

    def start(self: Any, scores: Any, threshold: float) -> Any:
        if scores.classes:
            return real(self, scores, threshold)
        return crf.energies(np.ones((1, *scores.values.shape[1:]), np.float32), self.settings.gt_prob)

    patch(crf.Crf, "_start", start)


def listing_without_reading(patch: Patch) -> None:
    """photos are listed, not opened"""
    from pseudomask.data import collection, decoding

    kept: list[Any] = []
    real = collection.look_through

    def look(*words: Any, **more: Any) -> Any:
        found = real(*words, **more)
        kept.extend(decoding.decode(item.path) for item in found.items)
        return found

    patch(collection, "look_through", look)


def forgetting_photos(patch: Patch) -> None:
    """a photo that is done is let go"""
    from pseudomask.extracting import filling

    kept: list[Any] = []
    real = filling.batching

    def batching(*words: Any, **more: Any) -> Any:
        def batches(*photos: Any) -> Any:
            for batch in real(*words, **more)(*photos):
                kept.append(batch)
                yield batch

        return batches

    patch(filling, "batching", batching)


def rows_let_go(patch: Patch) -> None:
    """the rows of a label file are let go once they are understood"""
    from pseudomask.data.labels import csv_file

    kept: list[Any] = []
    real = csv_file._row_reader

    def named(*words: Any) -> Any:
        tags_of = real(*words)

        def keeping(cells: list[str], line: int) -> tuple[int, ...]:
            kept.append([*cells, *cells[0].split("/"), str(line), {}])
            return tags_of(cells, line)

        return keeping

    patch(csv_file, "_row_reader", named)
