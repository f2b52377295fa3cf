"""`coco`: an instances file; category ids become contiguous positions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pseudomask.data.labels.builder import TableBuilder
from pseudomask.data.labels.coco_ids import Ids
from pseudomask.data.labels.coco_ids import number as whole_number
from pseudomask.data.labels.foreign import foreign_json, other_coco
from pseudomask.data.labels.table import LabelTable, ReadOptions, read_json
from pseudomask.errors import LabelError
from pseudomask.quoting import count


def read_coco(path: Path, options: ReadOptions) -> LabelTable:
    """COCO JSON. Classes are in the order of their category ids, unless a class list is given.

    Crowds (`iscrowd` 1) count as tags only if `options.crowd` is `keep`. Images without annotations have no tag. The
    notes give the id of each class.
    """
    data = _load(path)
    builder = TableBuilder(path, "coco", options)
    positions = _categories(data, builder)
    names = _images(data, path)
    tags: dict[int | str, set[int]] = {image: set() for image in names}
    crowds = 0
    images, categories = Ids(names), Ids(positions)
    by_name = {name: number for number, (name, _) in positions.items()}
    named = 0
    for i, annotation in enumerate(data["annotations"]):
        image, category = images.find(annotation.get("image_id")), categories.find(annotation.get("category_id"))
        if image is None:
            raise LabelError(
                f"annotation {i} refers to image {annotation.get('image_id')!r}, which is not in 'images'", path
            )
        if category is None and isinstance(annotation.get("category_id"), str):
            category = by_name.get(annotation["category_id"])
            named += category is not None
        if category is None:
            raise LabelError(
                f"annotation {i} refers to category {annotation.get('category_id')!r}, which is not in 'categories'",
                path,
            )
        if annotation.get("iscrowd") and options.crowd == "ignore":
            crowds += 1
            continue
        name, position = positions[int(category)]
        tags[image].update(position if position is not None else builder.resolve((name,), None))
    matched = max(images.matched, categories.matched)
    for n, noun, what in (
        (matched, "id", "matched by value: written as text in one place and as a number in another"),
        (named, "annotation", "with the name of a category instead of its id"),
        (crowds, "crowd annotation", "not used as tags (--crowd ignore)"),
    ):
        if n:
            builder.notes.append(f"{count(n, noun)} {what}")
    for image, name in names.items():
        builder.add_positions(name, tuple(sorted(tags[image])))
    return builder.finish()


def _load(path: Path) -> dict[str, Any]:
    data = read_json(path)
    what = foreign_json(data)
    if what:
        raise LabelError(f"is {what}", path)
    if not isinstance(data, dict):
        raise LabelError("not a COCO file (the top level is not an object)", path)
    what = other_coco(data)
    if what:
        raise LabelError(f"is {what}", path)
    for key in ("images", "annotations", "categories"):
        rows = data.get(key)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise LabelError(f"not a COCO instances file ('{key}' is not a list of objects)", path)
    return data


def _categories(data: dict[str, Any], builder: TableBuilder) -> dict[int, tuple[str, tuple[int, ...] | None]]:
    """Category id -> its name and position(s).

    The position is None for a category missing from the given class list: an error only if used.
    """
    names: dict[int, str] = {}
    for row in data["categories"]:
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


def _images(data: dict[str, Any], path: Path) -> dict[int | str, str]:
    names: dict[int | str, str] = {}
    for row in data["images"]:
        number, name = row.get("id"), row.get("file_name")
        number = whole_number(number) if isinstance(number, float) else number
        if not isinstance(number, int | str) or not isinstance(name, str):
            raise LabelError("an image needs an 'id' and a 'file_name'", path)
        if number in names:
            raise LabelError(f"image id {number} is defined twice", path)
        names[number] = name
    return names
