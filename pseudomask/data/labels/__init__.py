"""Image-level labels of every format, read into one table. A new format is one function and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from pseudomask.data.labels.class_file import read_classes
from pseudomask.data.labels.coco import read_coco
from pseudomask.data.labels.csv_file import read_csv, read_imagefolder
from pseudomask.data.labels.detect import detect
from pseudomask.data.labels.folders import read_folders
from pseudomask.data.labels.foreign import foreign_bytes, foreign_name
from pseudomask.data.labels.matching import Matched, match
from pseudomask.data.labels.table import LabelTable, ReadOptions, check_classes
from pseudomask.data.labels.text_file import read_per_image, read_text_lines
from pseudomask.data.labels.voc_main import read_voc_main
from pseudomask.data.labels.voc_xml import read_voc
from pseudomask.errors import LabelError, UsageError
from pseudomask.files import open_file
from pseudomask.quoting import shell_word
from pseudomask.suggest import did_you_mean_path
from pseudomask.suggest import nearest as nearest_name

__all__ = ["FORMATS", "LabelTable", "Matched", "match", "read_classes", "read_labels"]


def _refuse_pickle(path: Path, options: ReadOptions) -> LabelTable:
    # -P: without it `python -c` would take its numpy from the current folder.
    convert = (
        "import sys, numpy as n; d=n.load(sys.argv[1],allow_pickle=1).item(); print('filename,labels'); "
        "[print(f'{k},'+';'.join(str(i+1) for i in n.flatnonzero(v))) for k,v in d.items()]"
    )
    raise LabelError(
        "is a pickle, which can run any code when opened, and is refused; if you trust its source, convert "
        f'it once: python -P -c "{convert}" {shell_word(path)} > labels.csv',
        path,
    )


FORMATS: dict[str, Callable[[Path, ReadOptions], LabelTable]] = {
    "csv": read_csv,
    "voc": read_voc,
    "voc-main": read_voc_main,
    "coco": read_coco,
    "folders": read_folders,
    "text": read_text_lines,
    "per-image": read_per_image,
    "imagefolder": read_imagefolder,
    "npy": _refuse_pickle,
}

_WITH_SPLITS = frozenset({"csv", "voc", "voc-main", "imagefolder"})
_TABLES = frozenset({"csv", "imagefolder"})
_FOLDERS = frozenset({"voc", "voc-main", "folders", "per-image", "imagefolder"})
_FILES = frozenset({"csv", "coco", "text", "imagefolder", "npy"})


def read_labels(
    path: Path,
    *,
    format: str = "auto",
    classes: Sequence[str] | None = None,
    difficult: Literal["keep", "drop"] = "keep",
    crowd: Literal["ignore", "keep"] = "ignore",
    split: str | None = None,
    separator: str | None = None,
    no_class: Sequence[str] = (),
    skip_tag: Sequence[str] = (),
    merge_names: bool = False,
    renames: Mapping[str, str] | None = None,
    drop_unknown: bool = False,
    count_from: int | None = None,
    image_column: str | None = None,
    label_column: Sequence[str] = (),
    images: Path | None = None,
) -> LabelTable:
    """Read image tags from a file or folder in one of `FORMATS`; `auto` detects the format.

    Args:
        classes: the only foreground names allowed, in order; by default the source's own (COCO: by category id,
            one-hot columns: in their order, else sorted by name).
        difficult: whether VOC objects marked difficult count as tags.
        crowd: whether COCO crowd annotations count as tags.
        split: split of a VOC folder, or of a table's `split` column.
        separator: separator of several tags in one cell; by default `;`, or `,` if `;` separates the columns.
        no_class: tags that mean that a photo shows no class.
        skip_tag: tags whose rows are skipped.
        merge_names: whether names that differ only in case, spaces, `_` or `-` are one class.
        renames: class by tag, the tag in lower case (`renaming.read_map`).
        drop_unknown: whether tags that are not in `classes` are left out; otherwise they are an error.
        count_from: number (0 or 1) of the first of `classes` if tags are numbers; by default the format's.
        image_column, label_column: names of a table's columns; several label columns are 0/1 columns, one per class.
        images: the image folder; absolute names are made relative to it.

    Raises LabelError, with the file and line if known.
    """
    options = ReadOptions(
        classes=None if classes is None else check_classes(classes),
        difficult=difficult,
        crowd=crowd,
        split=split,
        separator=separator or None,
        no_class=frozenset(name.casefold() for name in no_class),
        skip_tag=frozenset(name.casefold() for name in skip_tag),
        merge_names=merge_names,
        renames=renames or {},
        drop_unknown=drop_unknown,
        count_from=count_from,
        image_column=image_column,
        label_column=tuple(label_column),
        images=images,
    )
    if not path.exists():
        raise LabelError(f"no such label file or folder{did_you_mean_path(path)}", path)
    if path.is_file() and format != "npy":
        _refuse_foreign(path)
    names = ", ".join(FORMATS)
    if format == "auto":
        found = detect(path)
        if found is None:
            raise LabelError(f"cannot detect the label format; give --label-format ({names})", path)
        format = found
    if format not in FORMATS:
        close = nearest_name(format, FORMATS)
        hint = f"did you mean '{close}'? " if close else ""
        raise UsageError(f"unknown label format '{format}': {hint}choose one of {names}")
    if format not in (_FOLDERS if path.is_dir() else _FILES):
        kind = "folder" if path.is_dir() else "file"
        raise LabelError(f"is a {kind}, but the label format '{format}' is not", path)
    if split is not None and format not in _WITH_SPLITS:
        raise LabelError(f"the label format '{format}' has no splits, so there is no '{split}'; use --list", path)
    if (image_column is not None or label_column) and format not in _TABLES:
        raise LabelError(f"is not a table but '{format}'; leave out --image-column and --label-column", path)
    return FORMATS[format](path, options)


def _refuse_foreign(path: Path) -> None:
    if not path.is_file():  # a pipe can be read once only
        return
    try:
        with open_file(path) as file:
            what = foreign_bytes(file.read(4096)) or foreign_name(path)
    except OSError as error:
        raise LabelError(f"cannot be read ({error.strerror})", path) from error
    if what:
        raise LabelError(f"is {what}", path)
