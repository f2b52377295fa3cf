"""`cvat`: annotations.xml of CVAT's export "CVAT for images 1.1", or a folder of such files."""

from __future__ import annotations

from pathlib import Path

from pseudomask.data.labels.builder import TableBuilder
from pseudomask.data.labels.table import LabelTable, ReadOptions
from pseudomask.data.labels.xml_events import Refused, XmlEvents
from pseudomask.errors import LabelError
from pseudomask.quoting import count

_MARKS = frozenset({"tag", "box", "polygon", "polyline", "points", "mask", "ellipse", "cuboid", "skeleton"})


def read_cvat(path: Path, options: ReadOptions) -> LabelTable:
    """The tags of each image, and the labels of its shapes. Raises LabelError for the tracks of a video."""
    files = sorted(path.rglob("*.xml")) if path.is_dir() else [path]
    if not files:
        raise LabelError("contains no XML annotation", path)
    builder, shapes = TableBuilder(path, "cvat", options), 0
    for file in files:
        reader = _Reader()
        reader.read(file)
        for name, labels, line in reader.images:
            builder.add(name, tuple(dict.fromkeys(labels)), line, file)
        shapes += reader.shapes
    if shapes:
        builder.notes.append(f"{count(shapes, 'shape')} used as tags")
    return builder.finish()


class _Reader(XmlEvents):
    """Collects (name, labels, line) of annotations/image from expat's events."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[tuple[str, list[str], int]] = []
        self.shapes = 0
        self._path: list[str] = []
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = lambda tag: self._path.pop()

    def _start(self, tag: str, facts: dict[str, str]) -> None:
        self._path.append(tag)
        if self._path[0] != "annotations":
            raise Refused("is not a CVAT export (its root is not <annotations>)")
        if self._path == ["annotations", "track"]:
            raise Refused("has tracks of a video: export its frames as 'CVAT for images 1.1'")
        if self._path == ["annotations", "image"]:
            if "name" not in facts:
                raise Refused("an image has no name")
            self.images.append((facts["name"], [], self.parser.CurrentLineNumber))
        elif self._path[:2] == ["annotations", "image"] and len(self._path) == 3 and tag in _MARKS:
            if "label" not in facts:
                raise Refused(f"a {tag} has no label")
            self.shapes += tag != "tag"
            self.images[-1][1].append(facts["label"])
