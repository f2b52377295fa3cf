"""Image-level labels of every format, read into one table. A new format is one function and one line here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from pseudomask.config.common import TagOptions
from pseudomask.data.labels.class_file import read_classes
from pseudomask.data.labels.coco import read_coco
from pseudomask.data.labels.csv_file import read_csv, read_imagefolder
from pseudomask.data.labels.cvat import read_cvat
from pseudomask.data.labels.detect import detect
from pseudomask.data.labels.fiftyone import read_fiftyone
from pseudomask.data.labels.folders import read_folders
from pseudomask.data.labels.foreign import foreign_bytes, foreign_name
from pseudomask.data.labels.label_studio import read_label_studio
from pseudomask.data.labels.matching import Matched, match
from pseudomask.data.labels.parquet import read_parquet
from pseudomask.data.labels.renaming import read_map
from pseudomask.data.labels.table import LabelTable, ReadOptions
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
    # -P: without it, `python -c` would import numpy from the current folder.
    convert = (
        "import sys, numpy as n; d=n.load(sys.argv[1],allow_pickle=1).item(); print('filename,labels'); "
        "[print(f'{k},'+';'.join(str(i+1) for i in n.flatnonzero(v))) for k,v in d.items()]"
    )
    raise LabelError(
        "is a pickle, which can run code when opened, and is refused; if you trust its source, convert it once: "
        f'python -P -c "{convert}" {shell_word(path)} > labels.csv',
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
    "label-studio": read_label_studio,
    "cvat": read_cvat,
    "fiftyone": read_fiftyone,
    "parquet": read_parquet,
    "npy": _refuse_pickle,
}

_WITH_SPLITS = frozenset({"csv", "voc", "voc-main", "imagefolder", "fiftyone"})
_TABLES = frozenset({"csv", "imagefolder", "parquet"})
_FOLDERS = frozenset({"voc", "voc-main", "folders", "per-image", "imagefolder", "cvat", "fiftyone", "parquet"})
_FILES = frozenset({"csv", "coco", "text", "imagefolder", "label-studio", "cvat", "fiftyone", "parquet", "npy"})


def read_labels(
    path: Path, tags: TagOptions, *, classes: Sequence[str] | None = None, images: Path | None = None
) -> LabelTable:
    """Read image tags from a file or folder in one of `FORMATS`.

    Args:
        tags: how to read them; `--label-format auto` detects the format.
        classes: the only foreground names allowed, in order; by default the source's own (COCO: by category id,
            one-hot columns: in their order, otherwise sorted by name).
        images: the image folder; absolute names are made relative to it.

    Raises LabelError, with the file and line if known.
    """
    options, format = ReadOptions.of(tags, classes, images), str(tags.label_format)
    options = replace(options, renames=read_map(tags.map))
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
    if options.split is not None and format not in _WITH_SPLITS:
        raise LabelError(f"the format '{format}' has no splits, so there is no '{options.split}'; use --list", path)
    columns = options.label_column and format != "fiftyone"  # there, a field
    if (options.image_column is not None or columns) and format not in _TABLES:
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
