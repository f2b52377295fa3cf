"""A folder of masks as objects of other libraries: `supervision.Detections` and `datasets.Dataset`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from pseudomask.config import ExportConfig
from pseudomask.errors import SetupError
from pseudomask.exporting.confidence import confidences
from pseudomask.exporting.source import Source, read_source
from pseudomask.masks import ignore_index, load_mask
from pseudomask.running.reporter import SilentReporter


def detections(folder: Path | str, images: Path | str | None = None) -> Iterator[tuple[Path, Any]]:
    """Yield each photo's path and its `supervision.Detections`: one detection per class, with mask and confidence.

    Args:
        folder: output folder of extract, refine or predict.
        images: the photos; by default where the run found them.

    `class_id` is the mask index, `data["class_name"]` the name, `confidence` the mean stored score over the class's
    pixels, or NaN without stored scores. Raises `SetupError` if supervision is missing, `UsageError` for other folders
    and `ImageError` for masks that cannot be read.
    """
    # Not in the generator, so that mistakes are told at once.
    return _detections(_library("supervision"), _source(folder, images))


def _detections(supervision: Any, source: Source) -> Iterator[tuple[Path, Any]]:
    ignore = ignore_index(len(source.classes))
    for piece in source.pieces:
        assert piece.photo is not None
        mask = load_mask(piece.mask)
        found = [int(index) for index in np.unique(mask) if index not in (0, ignore)]
        regions = np.array([mask == index for index in found], bool).reshape(len(found), *mask.shape)
        sure = confidences(piece, mask, Counter())
        yield (
            piece.photo,
            supervision.Detections(
                xyxy=np.array([_box(region) for region in regions], np.float32).reshape(-1, 4),
                mask=regions,
                confidence=np.array([sure.get(index, np.nan) for index in found], np.float32),
                class_id=np.array(found, int),
                data={"class_name": np.array([source.classes[index - 1] for index in found], str)},
            ),
        )


def _box(region: np.ndarray) -> tuple[int, int, int, int]:
    """The first and last column and row of a region, (x, y, x, y), as `supervision.mask_to_xyxy` has them."""
    rows, columns = np.flatnonzero(region.any(1)), np.flatnonzero(region.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


def to_dataset(folder: Path | str, images: Path | str | None = None) -> Any:
    """A `datasets.Dataset` of a folder: `key`, `image`, `mask` (mask values as grey levels or palette) and `classes`.

    Images are read when they are used; `classes` are the names in the mask's manifest line. Arguments and errors
    are those of `detections`, with datasets for supervision.
    """
    datasets = _library("datasets")
    source = _source(folder, images)
    rows = {
        "key": [piece.key for piece in source.pieces],
        "image": [str(piece.photo) for piece in source.pieces],
        "mask": [str(piece.mask) for piece in source.pieces],
        "classes": [list(source.made.entries[piece.key].get("classes", ())) for piece in source.pieces],
    }
    text, picture = datasets.Value("string"), datasets.Image()
    names = datasets.Sequence(text)
    features = datasets.Features({"key": text, "image": picture, "mask": picture, "classes": names})
    made = datasets.Dataset.from_dict(rows, features=features)
    made.info.description = "mask values: " + ", ".join(f"{i} {name}" for i, name in enumerate(source.classes, start=1))
    return made


def _source(folder: Path | str, images: Path | str | None) -> Source:
    config = ExportConfig(out=Path(folder), dest=Path(), format="coco", images=None if images is None else Path(images))
    return read_source(config, SilentReporter(), with_photos=True)


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise SetupError(f'{name} is not installed: pip install "pseudomask[bridges]"') from error
