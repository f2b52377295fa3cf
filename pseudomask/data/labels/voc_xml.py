"""`voc`: a folder of PASCAL VOC annotations (XML)."""

from __future__ import annotations

from pathlib import Path

from pseudomask.data.images import read_list
from pseudomask.data.labels.builder import TableBuilder
from pseudomask.data.labels.foreign import foreign_bytes
from pseudomask.data.labels.table import LabelTable, ReadOptions
from pseudomask.data.labels.xml_events import Refused, XmlEvents
from pseudomask.errors import LabelError
from pseudomask.quoting import count

Objects = list[tuple[str, bool]]
"""(class name, is difficult) of each annotated object."""


def voc_root(path: Path) -> Path:
    """The folder with Annotations and ImageSets: `path`, or the only VOC* folder in it."""
    if path.name == "Annotations" and not (path / "Annotations").is_dir():
        return path.parent
    if path.name == "Main" and path.parent.name == "ImageSets":
        return path.parent.parent
    if (path / "Annotations").is_dir() or (path / "ImageSets").is_dir():
        return path
    inner = sorted(p for p in path.glob("VOC*") if (p / "Annotations").is_dir() or (p / "ImageSets").is_dir())
    if len(inner) > 1:
        raise LabelError(f"contains {', '.join(p.name for p in inner)}; give one of them", path)
    return inner[0] if inner else path


def read_voc(path: Path, options: ReadOptions) -> LabelTable:
    """VOCdevkit, VOC2012, or any folder of XML files; an image's name is its XML file's stem.

    `options.split` takes the images of ImageSets/Segmentation/<split>.txt, or Main/<split>.txt.
    """
    root = voc_root(path)
    folder = root / "Annotations" if (root / "Annotations").is_dir() else path
    builder = TableBuilder(folder, "voc", options)
    names = _split_names(root, options.split)
    files = sorted(folder.rglob("*.xml"))
    if not files:
        raise LabelError("contains no XML annotation", folder)
    dropped = 0
    for file in files:
        name = file.relative_to(folder).with_suffix("").as_posix()
        if names is not None and name not in names:
            continue
        objects = read_objects(file)
        kept = [tag for tag, difficult in objects if not (difficult and options.difficult == "drop")]
        dropped += len(objects) - len(kept)
        builder.add(name, tuple(part for tag in dict.fromkeys(kept) for part in builder.names(tag)), where=file)
    if dropped:
        builder.notes.append(f"{count(dropped, 'object')} marked difficult and dropped")
    return builder.finish()


def _split_names(root: Path, split: str | None) -> set[str] | None:
    if split is None:
        return None
    for kind in ("Segmentation", "Main"):
        file = root / "ImageSets" / kind / f"{split}.txt"
        if file.is_file():
            return set(read_list(file))
    raise LabelError(f"has neither ImageSets/Segmentation/{split}.txt nor ImageSets/Main/{split}.txt", root)


def read_objects(file: Path) -> Objects:
    """The objects of one annotation; parts of objects (`object/part`) are not objects.

    A file that declares entities is refused: a few lines of them can expand to gigabytes.
    """
    reader = _ObjectReader()
    reader.read(file)
    if not reader.has_root:
        what = foreign_bytes(file.read_bytes()[:4096])
        raise LabelError(f"is {what}" if what else "is not a VOC annotation (its root is not <annotation>)", file)
    return reader.objects


class _ObjectReader(XmlEvents):
    """Collects annotation/object/{name,difficult} from expat's events."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: Objects = []
        self.has_root = False
        self._path: list[str] = []
        self._text: list[str] = []
        self._name: str | None = None
        self._difficult = False
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text.append

    def _start(self, tag: str, _: object) -> None:
        self._path.append(tag)
        self._text.clear()
        if self._path == ["annotation"]:
            self.has_root = True
        if self._path == ["annotation", "object"]:
            self._name, self._difficult = None, False

    def _end(self, tag: str) -> None:
        text = "".join(self._text).strip()
        if self._path == ["annotation", "object", "name"]:
            self._name = text
        elif self._path == ["annotation", "object", "difficult"]:
            self._difficult = text not in ("0", "", "false", "False")
        elif self._path == ["annotation", "object"]:
            if not self._name:
                raise Refused("an object has no name")
            self.objects.append((self._name, self._difficult))
        self._path.pop()
        self._text.clear()
