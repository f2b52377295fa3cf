"""`fiftyone`: samples.json of a FiftyOneDataset, or labels.json of an image classification or detection set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pseudomask.data.labels.builder import TableBuilder
from pseudomask.data.labels.json_rows import read_rows
from pseudomask.data.labels.table import LabelTable, ReadOptions, parse_json, read_text
from pseudomask.errors import LabelError
from pseudomask.quoting import count, listed
from pseudomask.suggest import did_you_mean

FILES = ("samples.json", "labels.json")
"""Their names in the folder of an export."""

_TRUTH = "ground_truth"  # FiftyOne's own name for the field of labels


def read_fiftyone(path: Path, options: ReadOptions) -> LabelTable:
    """An exported folder or its file.

    Samples: the labels of the only field that has any, of `ground_truth`, or of `options.label_column` (`tags`: the
    samples' tags); `options.split` takes the samples with this tag. Samples that nobody labelled have no row.
    """
    if path.is_dir():
        path = next((path / name for name in FILES if (path / name).is_file()), path / FILES[0])
    text = read_text(path)
    builder, samples = TableBuilder(path, "fiftyone", options), _Samples()
    try:
        read_rows(text, {"samples": samples.add})
    except (ValueError, RecursionError) as error:
        data = parse_json(text, path)
        if not isinstance(data, dict) or not isinstance(data.get("labels"), dict):
            raise LabelError(
                "not a FiftyOne export (it has neither a list 'samples' nor an object 'labels')", path
            ) from error
        return _by_name(data, builder)
    return samples.table(builder)


class _Samples:
    """What tags need of the samples."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, list[Any], dict[str, tuple[str, ...]]]] = []  # file, tags, names by field
        self.fields: Counter[str] = Counter()
        self.kinds: set[str] = set()

    def add(self, sample: dict[str, Any], *_: int) -> None:
        names = {key: found for key, value in sample.items() if (found := _names_in(value)) is not None}
        self.fields.update(names.keys())
        self.kinds.add(str(sample.get("_media_type", sample.get("media_type", "image"))))
        tags = sample.get("tags")
        self.rows.append((sample.get("filepath"), tags if isinstance(tags, list) else [], names))

    def table(self, builder: TableBuilder) -> LabelTable:
        path, split = builder.path, builder.options.split
        other = sorted(self.kinds - {"image"})
        if other:
            raise LabelError(f"has samples of the kind {listed(other)}, which are not photos", path)
        fields, unlabelled = self._fields(builder), 0
        for number, (file, tags, names) in enumerate(self.rows):
            if not isinstance(file, str) or not file:
                raise LabelError(f"sample {number} has no 'filepath'", path)
            if split is not None and split not in tags:
                continue
            found = [tags if field == "tags" else names[field] for field in fields if field == "tags" or field in names]
            if found:
                builder.add(file, tuple(dict.fromkeys(str(name) for some in found for name in some)))
            else:
                unlabelled += 1
        if unlabelled:
            builder.notes.append(f"{count(unlabelled, 'sample')} without labels left out")
        return builder.finish()

    def _fields(self, builder: TableBuilder) -> tuple[str, ...]:
        path, given, split = builder.path, builder.options.label_column, builder.options.split
        every = sorted({str(tag) for _, tags, _ in self.rows for tag in tags})
        if split is not None and split not in every:
            raise LabelError(f"no sample has the tag '{split}' (--label-split){did_you_mean(split, every)}", path)
        known = [*self.fields, *(["tags"] if every else [])]
        for field in given:
            if field not in known:
                told = listed(known) if known else "there is none"
                raise LabelError(f"no labels in a field '{field}' (--label-column); fields with labels: {told}", path)
        if given:
            return given
        if not self.fields:
            hint = f"; --label-column tags takes the samples' tags, {listed(every, 5)}" if every else ""
            raise LabelError(f"no sample has a field with labels{hint}", path)
        if len(self.fields) > 1 and _TRUTH not in self.fields:
            raise LabelError(f"has labels in the fields {listed([*self.fields])}; choose with --label-column", path)
        field = _TRUTH if _TRUTH in self.fields else next(iter(self.fields))
        if len(self.fields) > 1:
            builder.notes.append(f"labels of the field '{field}' (--label-column), of {listed([*self.fields])}")
        return (field,)


def _names_in(value: Any) -> tuple[str, ...] | None:
    """The names in a field's value; None if it is no label, such as a number or a mask."""
    if not isinstance(value, dict) or "_cls" not in value:
        return None
    lists = [some for key, some in value.items() if isinstance(some, list) and key == str(value["_cls"]).lower()]
    if lists:  # Classifications, Detections, Polylines, Keypoints
        return tuple(str(one["label"]) for one in lists[0] if isinstance(one, dict) and one.get("label") is not None)
    return (str(value["label"]),) if value.get("label") is not None else None


def _by_name(data: dict[str, Any], builder: TableBuilder) -> LabelTable:
    """labels.json: by the photo's name without its extension a target, several, or none."""
    path, options, classes = builder.path, builder.options, data.get("classes")
    if options.split is not None or options.label_column:
        raise LabelError("is a labels.json of FiftyOne, which has neither splits nor fields", path)
    if classes is not None and not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise LabelError("'classes' is not a list of names", path)
    if classes and options.classes is None:
        builder.declare(classes)
    unlabelled = 0
    for name, value in data["labels"].items():
        if value is None:
            unlabelled += 1
            continue
        builder.add(name, tuple(dict.fromkeys(_targets(value, classes or [], f"the photo '{name}'", path))))
    if unlabelled:
        builder.notes.append(f"{count(unlabelled, 'photo')} without labels left out")
    return builder.finish()


def _targets(value: Any, classes: list[str], where: str, path: Path) -> Iterator[str]:
    """The names of a target: a name, a position in `classes`, an object with a `label`, or a list of these."""
    if isinstance(value, list):
        for one in value:
            yield from _targets(one, classes, where, path)
    elif isinstance(value, dict) and "label" in value:
        yield from _targets(value["label"], classes, where, path)
    elif isinstance(value, str):
        yield value
    elif type(value) is int and 0 <= value < len(classes):
        yield classes[value]
    else:
        raise LabelError(f"{where} has the label {value!r}, which is neither a name nor a position in 'classes'", path)
