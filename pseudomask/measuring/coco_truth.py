"""True masks drawn from a COCO instances file, one at a time.

The file of COCO's training photos takes gigabytes as Python objects. So only its text stays in memory, with the place
of each photo's annotations in it; these are read when the photo is drawn.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from pycocotools import mask as coco_mask

from pseudomask.data.labels.json_rows import read_rows
from pseudomask.data.labels.table import read_text
from pseudomask.data.run_lengths import decode, runs_of
from pseudomask.errors import LabelError, UsageError
from pseudomask.measuring.coding import Coding
from pseudomask.quoting import listed
from pseudomask.running.listing import File
from pseudomask.suggest import did_you_mean_path

Crowds = Literal["ignore", "background"]

_Span = tuple[int, int, int, bool]
"""A category, the place of an annotation in the text, and whether it is a crowd."""


def is_instances(truth: Path) -> bool:
    """Whether true masks are to be drawn from a JSON file. Raises `UsageError` if the file does not exist."""
    if truth.suffix.lower() != ".json" or truth.is_dir():
        return False
    if not truth.is_file():
        raise UsageError(f"{truth}: no such file{did_you_mean_path(truth)}")
    return True


@dataclass(frozen=True, eq=False)
class CocoTruth(Coding):
    """Draws the masks of the photos in an instances file.

    Of overlapping objects the later wins. Pixels that only a crowd covers are ignored, or background by `crowds`.
    """

    file: Path = Path()
    crowds: Crowds = "ignore"
    ignore: int = 255
    text: str = ""
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)  # by file name: (H, W)
    spans: dict[str, list[_Span]] = field(default_factory=dict)
    indices: dict[int, int] = field(default_factory=dict)  # class index by category id

    @property
    def plain(self) -> bool:
        return False

    def defines(self, value: int) -> bool:
        return value == self.ignore

    @property
    def files(self) -> list[File]:
        """The photos as files below the instances file, sorted by key; `read` knows their paths."""
        found = (File(str(PurePosixPath(name).with_suffix("")), name, self.file / name) for name in self.sizes)
        return sorted(found, key=lambda file: file.key)

    def read(self, path: Path) -> tuple[np.ndarray, bool]:
        """The mask of a photo, uint16 (H, W). Raises `UsageError` for a shape that does not fit it."""
        name = path.relative_to(self.file).as_posix()
        size = self.sizes[name]
        drawn = np.zeros(size, np.uint16)
        for category, begin, end, crowd in sorted(self.spans.get(name, ()), key=lambda one: not one[3]):
            if crowd and self.crowds == "background":
                continue
            one = json.loads(self.text[begin:end])
            try:
                region = _region(one.get("segmentation"), size)
            except ValueError as error:
                raise UsageError(f"{self.file}: annotation {one.get('id')} of {name}: {error}") from error
            drawn[region] = self.ignore if crowd else self.indices[category]
        return drawn, False


def read_coco_truth(path: Path, names: tuple[str, ...] | None, crowds: Crowds, ignore: int) -> CocoTruth:
    """Find every photo's annotations in an instances file.

    names: all classes, background first, among which the categories are found by name; without it, they count from 1
    in the order of their ids. Raises `LabelError` for a file of another kind, an id that is used twice, or an
    annotation of an unknown photo or category; `UsageError` for a category that is not in the class list.
    """
    text = read_text(path)
    images: dict[Any, str] = {}
    sizes: dict[str, tuple[int, int]] = {}
    categories: dict[int, str] = {}
    spans: dict[Any, list[_Span]] = {}
    ids: Counter[Any] = Counter()

    def image(row: dict[str, Any], begin: int, end: int) -> None:
        if row["id"] in images or row["file_name"] in sizes:
            raise LabelError(f"image {row['id']} ({row['file_name']}) is listed twice", path)
        images[row["id"]] = row["file_name"]
        sizes[row["file_name"]] = (int(row["height"]), int(row["width"]))

    def category(row: dict[str, Any], begin: int, end: int) -> None:
        if row["id"] in categories or row["name"] in categories.values():
            raise LabelError(f"category {row['id']} ({row['name']}) is defined twice", path)
        categories[int(row["id"])] = row["name"]

    def annotation(row: dict[str, Any], begin: int, end: int) -> None:
        ids[row.get("id")] += row.get("id") is not None
        span = (int(row["category_id"]), begin, end, bool(row.get("iscrowd")))
        spans.setdefault(row["image_id"], []).append(span)

    try:
        read_rows(text, {"images": image, "categories": category, "annotations": annotation})
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        told = f"no {error} in a row" if isinstance(error, KeyError) else str(error)
        raise LabelError(f"not a COCO instances file ({told})", path) from error
    twice = next((one for one, n in ids.items() if n > 1), None)
    if twice is not None:
        raise LabelError(f"annotation id {twice} is used twice", path)
    lost = next((one for one in spans if one not in images), None)
    if lost is not None:
        raise LabelError(f"an annotation refers to image {lost}, which is not in 'images'", path)
    unknown = {one[0] for some in spans.values() for one in some} - categories.keys()
    if unknown:
        raise LabelError(f"an annotation refers to category {min(unknown)}, which is not in 'categories'", path)
    return CocoTruth(
        side="truth",
        description=f"{path} (drawn; crowds are {'ignored' if crowds == 'ignore' else 'background'})",
        file=path,
        crowds=crowds,
        ignore=ignore,
        text=text,
        sizes=sizes,
        spans={images[one]: some for one, some in spans.items()},
        indices=_indices(categories, names, path),
    )


def _indices(categories: dict[int, str], names: tuple[str, ...] | None, path: Path) -> dict[int, int]:
    if names is None:
        return {number: index for index, number in enumerate(sorted(categories), 1)}
    lost = [name for name in categories.values() if name not in names]
    if lost:
        raise UsageError(f"{path}: its categories {listed(lost)} are not in the class list, {listed(names[1:])}")
    return {number: names.index(name) for number, name in categories.items()}


def _region(shape: Any, size: tuple[int, int]) -> np.ndarray:
    """bool (H, W) of polygons or of a run-length code. Raises `ValueError` if it does not fit."""
    if isinstance(shape, list):
        fit = all(isinstance(one, list) and len(one) >= 6 and len(one) % 2 == 0 for one in shape)
        if not shape or not fit or not all(isinstance(n, int | float) for one in shape for n in one):
            raise ValueError("its polygons are not lists of at least three x, y pairs")
        codes = coco_mask.frPyObjects(shape, *size)
        drawn: np.ndarray = coco_mask.decode(coco_mask.merge(codes)).astype(bool)
        return drawn
    found, runs = runs_of(shape)
    if found != size:
        raise ValueError(f"its shape is for {found[1]}x{found[0]} pixels, the photo has {size[1]}x{size[0]}")
    return decode(found, runs)
