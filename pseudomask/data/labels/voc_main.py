"""`voc-main`: ImageSets/Main/<class>_<split>.txt, lines of a stem and 1, 0 or -1."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pseudomask.data.labels.builder import TableBuilder
from pseudomask.data.labels.table import LabelTable, ReadOptions, read_text
from pseudomask.data.labels.voc_xml import voc_root
from pseudomask.errors import LabelError
from pseudomask.quoting import count

SPLITS = ("trainval", "train", "val", "test")


def read_voc_main(path: Path, options: ReadOptions) -> LabelTable:
    """A folder of such lists, or a VOC folder with ImageSets/Main.

    1 tags the image; 0 (only difficult objects) tags it unless `options.difficult` is `drop`; -1
    does not. Without `options.split`: trainval if it exists, otherwise all splits found.
    """
    folder = path if path.name == "Main" else voc_root(path) / "ImageSets" / "Main"
    if not folder.is_dir():
        folder = path
    files = class_files(folder)
    splits = {split for _, split, _ in files}
    if options.split is not None:
        wanted = {options.split}
        files += _files_of_split(folder, options.split) if options.split not in SPLITS else []
    else:
        wanted = {"trainval"} if "trainval" in splits else splits
    chosen = [(name, file) for name, split, file in files if split in wanted]
    if not chosen:
        what = f"<class>_{options.split}.txt" if options.split else "<class>_<split>.txt"
        raise LabelError(f"contains no {what}", folder)
    builder = TableBuilder(folder, "voc-main", options)
    builder.notes.append(f"split {', '.join(sorted(wanted))}: {count(len(chosen), 'class list')}")
    tags: dict[str, set[str]] = {}
    for name, file in chosen:
        builder.resolve((name,), None, file)
        for stem, value in _rows(file):
            shown = tags.setdefault(stem, set())
            if value == "1" or (value == "0" and options.difficult == "keep"):
                shown.add(name)
    for stem, shown in tags.items():
        builder.add(stem, tuple(sorted(shown)))
    return builder.finish()


def class_files(folder: Path) -> list[tuple[str, str, Path]]:
    """(class, split, file) of every list named <class>_<one of SPLITS>.txt."""
    found = []
    for file in sorted(folder.glob("*_*.txt")):
        name, _, split = file.stem.rpartition("_")
        if name and split in SPLITS:
            found.append((name, split, file))
    return found


def _files_of_split(folder: Path, split: str) -> list[tuple[str, str, Path]]:
    tail = f"_{split}"
    return [(f.stem.removesuffix(tail), split, f) for f in sorted(folder.glob("*.txt")) if f.stem.endswith(tail)]


def _rows(file: Path) -> Iterator[tuple[str, str]]:
    for line, content in enumerate(read_text(file).split("\n"), start=1):
        if not content.strip():
            continue
        match = re.fullmatch(r"\s*(\S.*?)\s+(1|0|-1)\s*", content)
        if not match:
            raise LabelError(f"expected a name and 1, 0 or -1, not {content.strip()[:60]!r}", file, line)
        yield match[1], match[2]
