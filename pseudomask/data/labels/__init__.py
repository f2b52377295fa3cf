"""Image-level labels of every kind, read into one table. A format is one function and one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    count_from: int | None = None,
    image_column: str | None = None,
    label_column: Sequence[str] = (),
    images: Path | None = None,
) -> LabelTable:
    """Read image tags from a file or folder of any of `FORMATS`; `auto` looks which it is.

    `classes`: the only foreground names allowed, in order; without it the source's own (COCO: by
    category id, one-hot columns: as they stand, else sorted by name). `difficult` and `crowd`: what
    VOC's difficult objects and COCO's crowds count for. `split`: of VOC folders, or of a table's
    `split` column. `separator` parts the tags of a cell (default: `;`, in a table whose columns `;` parts: `,`);
    `no_class` are tags that mean that a photo shows no class, `skip_tag` those whose rows are left out;
    `merge_names` takes names for one that only case, blanks, `_` or `-` tell apart. `count_from` (0 or 1; default: the
    format's) is the number of the first of `classes` where tags are numbers. `image_column` and `label_column`
    name a table's columns, several of the latter a 0/1 column for each class. `images`: the image folder, which
    absolute names are made relative to. Raises LabelError, with the file and line where there is one.
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
            raise LabelError(f"cannot tell its label format; name it with --label-format ({names})", path)
        format = found
    if format not in FORMATS:
        close = nearest_name(format, FORMATS)
        hint = f"did you mean '{close}'? " if close else ""
        raise UsageError(f"unknown label format '{format}': {hint}known are {names}")
    if format not in (_FOLDERS if path.is_dir() else _FILES):
        kind = "folder" if path.is_dir() else "file"
        raise LabelError(f"is a {kind}, which the label format '{format}' is not", path)
    if split is not None and format not in _WITH_SPLITS:
        raise LabelError(f"has no splits to take '{split}' from (label format '{format}'); use --list", path)
    if (image_column is not None or label_column) and format not in _TABLES:
        raise LabelError(f"is no table, so --image-column and --label-column name nothing in it ('{format}')", path)
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
