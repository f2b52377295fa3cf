"""`coco`: an instances file; category ids become contiguous positions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudomask.data.labels.builder import TableBuilder
from pseudomask.data.labels.coco_ids import Ids
from pseudomask.data.labels.coco_ids import number as whole_number
from pseudomask.data.labels.foreign import foreign_json, other_coco
from pseudomask.data.labels.json_rows import read_rows
from pseudomask.data.labels.table import LabelTable, ReadOptions, parse_json, read_text
from pseudomask.errors import LabelError
from pseudomask.quoting import count


@dataclass
class _Rows:
    """What tags need of a file's rows: `annotations` are (image, category, whether it is a crowd)."""

    images: list[tuple[Any, Any]] = field(default_factory=list)
    categories: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[tuple[Any, Any, bool]] = field(default_factory=list)
    ids: set[Any] = field(default_factory=set)
    twice: int = 0

    def image(self, row: dict[str, Any], *_: int) -> None:
        self.images.append((row.get("id"), row.get("file_name")))

    def category(self, row: dict[str, Any], *_: int) -> None:
        self.categories.append(row)

    def annotation(self, row: dict[str, Any], *_: int) -> None:
        if not self.annotations and (what := other_coco(row)):
            raise _OtherCoco(what)
        self.annotations.append((row.get("image_id"), row.get("category_id"), bool(row.get("iscrowd"))))
        number = row.get("id")
        if isinstance(number, int | str):
            self.twice += number in self.ids
            self.ids.add(number)


class _OtherCoco(Exception):
    """It is another one of COCO's files."""


def read_coco(path: Path, options: ReadOptions) -> LabelTable:
    """COCO JSON. Classes are in the order of their category ids, unless a class list is given.

    Crowds (`iscrowd` 1) count as tags only if `options.crowd` is `keep`. Images without annotations have no tag. The
    notes give the id of each class.
    """
    rows = _load(path)
    builder = TableBuilder(path, "coco", options)
    positions = _categories(rows.categories, builder)
    names = _images(rows.images, path)
    tags: dict[int | str, set[int]] = {image: set() for image in names}
    crowds = 0
    images, categories = Ids(names), Ids(positions)
    by_name = {name: number for number, (name, _) in positions.items()}
    named = 0
    for i, (of_image, of_category, is_crowd) in enumerate(rows.annotations):
        image, category = images.find(of_image), categories.find(of_category)
        if image is None:
            raise LabelError(f"annotation {i} refers to image {of_image!r}, which is not in 'images'", path)
        if category is None and isinstance(of_category, str):
            category = by_name.get(of_category)
            named += category is not None
        if category is None:
            raise LabelError(f"annotation {i} refers to category {of_category!r}, which is not in 'categories'", path)
        if is_crowd and options.crowd == "ignore":
            crowds += 1
            continue
        name, position = positions[int(category)]
        tags[image].update(position if position is not None else builder.resolve((name,), None))
    matched = max(images.matched, categories.matched)
    for n, noun, what in (
        (matched, "id", "matched by value: written as text in one place and as a number in another"),
        (named, "annotation", "with the name of a category instead of its id"),
        (crowds, "crowd annotation", "not used as tags (--crowd ignore)"),
        (rows.twice, "annotation", "with the id of an earlier one: perhaps of files that were joined"),
    ):
        if n:
            builder.notes.append(f"{count(n, noun)} {what}")
    for image, name in names.items():
        builder.add_positions(name, tuple(sorted(tags[image])))
    return builder.finish()


def _load(path: Path) -> _Rows:
    text, rows = read_text(path), _Rows()
    rules = {
        "images": rows.image,
        "annotations": rows.annotation,
        "categories": lambda row, *_: rows.categories.append(row),
    }
    try:
        read_rows(text, rules)
    except _OtherCoco as other:
        raise LabelError(f"is {other}", path) from None
    except (ValueError, RecursionError) as error:
        data = parse_json(text, path)  # raises for what is no JSON
        what = foreign_json(data)
        if what:
            raise LabelError(f"is {what}", path) from None
        if not isinstance(data, dict):
            raise LabelError("not a COCO file (the top level is not an object)", path) from None
        raise LabelError(f"not a COCO instances file ({error})", path) from error
    return rows


def _categories(rows: list[dict[str, Any]], builder: TableBuilder) -> dict[int, tuple[str, tuple[int, ...] | None]]:
    """Category id -> its name and position(s).

    The position is None for a category missing from the given class list: an error only if used.
    """
    names: dict[int, str] = {}
    for row in rows:
        number, name = whole_number(row.get("id")), row.get("name")
        if type(number) is not int or not isinstance(name, str) or not name.strip():
            raise LabelError(f"a category needs a whole number 'id' and a 'name', not {row}", builder.path)
        if number < 0:
            raise LabelError(f"category id {number} is negative", builder.path)
        if number in names or name in names.values():
            raise LabelError(f"category {number} '{name}' is defined twice", builder.path)
        names[number] = name
    order = sorted(names)
    given = builder.options.classes
    if given is None:
        builder.declare(names[number] for number in order)
    known = {
        number: (
            names[number],
            builder.resolve((names[number],), None) if given is None or builder.classes.knows(names[number]) else None,
        )
        for number in order
    }
    mapping = ", ".join(f"{n}->{p[0]}" for n, (_, p) in known.items() if p)
    builder.notes.append(f"category id -> position: {mapping}")
    return known


def _images(rows: list[tuple[Any, Any]], path: Path) -> dict[int | str, str]:
    names: dict[int | str, str] = {}
    for number, name in rows:
        number = whole_number(number) if isinstance(number, float) else number
        if not isinstance(number, int | str) or not isinstance(name, str):
            raise LabelError("an image needs an 'id' and a 'file_name'", path)
        if number in names:
            raise LabelError(f"image id {number} is defined twice", path)
        names[number] = name
    return names
