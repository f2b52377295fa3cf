"""Photos matched with their tags, the input of every verb that reads both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pseudomask.config import LabelOptions
from pseudomask.data.images import ImageItem, PassedOver, look_through, passed_over_line, read_list, select
from pseudomask.data.labels import match, read_classes, read_labels
from pseudomask.data.labels.renaming import advice, check_targets, dropped, names_of, read_map
from pseudomask.data.labels.suspects import fold
from pseudomask.errors import LabelError, UsageError
from pseudomask.quoting import count, listed
from pseudomask.running.record import hash_lines
from pseudomask.running.reporter import Reporter

_OWN_CLASSES = 20  # fewer may be a small data set with one photo per class


@dataclass(frozen=True)
class Collection:
    """The photos of a run, in order, and their tags.

    Attributes:
        items: the photos.
        classes: foreground names; empty when no labels were given.
        tags: positions in `classes` by image key; photos without a row are missing.
        untagged: keys of photos without a row; `orphans`: rows without a photo.
        labels: the source of the tags, for people ("labels.csv (csv)").
        notes: what the label reader mapped or left out, as sentences.
        classes_given: whether a class file names the classes; `merge_names`: see `TagOptions`.
        drop_unknown: whether tags that the weights do not know are left out; `renamed`: names that --map gave.
        passed_over: image files of unsupported kinds in the folder.
        found: the collection of all photos in the folder, if `items` are only some of them.
    """

    items: tuple[ImageItem, ...]
    classes: tuple[str, ...] = ()
    tags: dict[str, tuple[int, ...]] | None = None
    untagged: tuple[str, ...] = ()
    orphans: tuple[str, ...] = ()
    labels: str = "none"
    notes: tuple[str, ...] = ()
    classes_given: bool = False
    merge_names: bool = False
    drop_unknown: bool = False
    renamed: frozenset[str] = frozenset()
    passed_over: tuple[PassedOver, ...] = ()
    found: Collection | None = None

    @property
    def whole(self) -> Collection:
        """The collection with all photos of the folder, including those left out by --list and --limit."""
        return self.found or self

    def tag_names(self, key: str) -> tuple[str, ...] | None:
        """A photo's tags; None if it has no row."""
        given = None if self.tags is None else self.tags.get(key)
        return None if given is None else tuple(self.classes[i] for i in given)

    @property
    def images_hash(self) -> str:
        """Hash of the list of photos (names, not contents)."""
        return hash_lines(item.relative for item in self.items)

    @property
    def labels_hash(self) -> str:
        """Hash of the matched tags."""
        if self.tags is None:
            return "none"
        rows = (f"{key}\t{';'.join(self.classes[i] for i in tags)}" for key, tags in self.tags.items())
        return hash_lines([*self.classes, *sorted(rows)])

    def tag_counts(self) -> dict[str, int]:
        """Photos by class name, in the classes' order."""
        counts = dict.fromkeys(self.classes, 0)
        for item in self.items:
            for i in (self.tags or {}).get(item.key, ()):
                counts[self.classes[i]] += 1
        return counts

    def describe(self) -> list[tuple[str, str]]:
        """(label, value) for people: what was found, and what could not be matched."""
        rows = [("photos", _counted([item.relative for item in self.items]))]
        if self.passed_over:
            rows.append(("ignored", ", ".join(map(str, self.passed_over))))
        if self.tags is not None:
            counts = [f"{name} {n}" for name, n in self.tag_counts().items() if n]
            matched = sum(item.key in self.tags for item in self.items)
            rows.append(("labels", f"{self.labels}, for {count(matched, 'photo')}: {listed(counts, 20) or 'no class'}"))
            rows.append(("photos without a row", _counted(self.untagged)))
            rows.append(("rows without a photo", _counted(self.orphans)))
        rows.append(("classes", f"{len(self.classes)}: {listed(self.classes, 20)}"))
        return [*rows, *(("note", note) for note in self.notes)]

    def subset(self, items: Sequence[ImageItem]) -> Collection:
        """The collection restricted to `items`."""
        return replace(self, items=tuple(items))


def collect(folder: Path, options: LabelOptions, *, exclude: Path | None = None) -> Collection:
    """Find photos, read labels and match them.

    Raises `UsageError` for an empty folder, a list with missing photos, or labels that match no photo.
    """
    seen = look_through(folder, exclude=exclude)
    items = found = seen.items
    if options.list is not None:
        items = select(items, read_list(options.list), source=str(options.list))
    if options.limit is not None:
        items = items[: options.limit]
    names = read_classes(options.class_file) if options.class_file else None
    if options.labels is None:
        whole = Collection(tuple(found)) if len(items) < len(found) else None
        return Collection(tuple(items), names or (), passed_over=seen.passed_over, found=whole)
    table = read_labels(options.labels, options, classes=names, images=folder)
    # Match against all photos found, so that rows outside --list do not count as orphans.
    matched = match(found, table)
    wanted = {item.key for item in items}
    return Collection(
        items=tuple(items),
        classes=table.classes,
        tags={key: tags for key, tags in matched.tags.items() if key in wanted},
        untagged=tuple(key for key in matched.untagged if key in wanted),
        orphans=tuple(matched.orphans),
        labels=f"{options.labels.name} ({table.format})",
        notes=table.notes,
        classes_given=names is not None,
        merge_names=options.merge_names,
        drop_unknown=options.unknown_tags == "drop",
        renamed=frozenset(read_map(options.map).values()),
        passed_over=seen.passed_over,
        found=(
            Collection(tuple(found), table.classes, matched.tags, merge_names=options.merge_names)
            if len(items) < len(found)
            else None
        ),
    )


def align_tags(collection: Collection, classes: tuple[str, ...], *, better: str = "") -> Collection:
    """The collection with tags as positions in the class list of the weights.

    Raises `LabelError` if the labels name a class that the weights do not have; `better` is its first advice, if any.
    """
    if collection.tags is None or collection.classes == classes:
        return replace(collection, classes=classes)
    position = {name: i for i, name in enumerate(classes)}
    if collection.merge_names:
        by_fold = {fold(name): i for i, name in enumerate(classes)}
        position = {name: by_fold[fold(name)] for name in collection.classes if fold(name) in by_fold} | position
    used = {i for tags in collection.tags.values() for i in tags}
    unknown = [collection.classes[i] for i in sorted(used) if collection.classes[i] not in position]
    check_targets(unknown, collection.renamed, classes)
    if unknown and not collection.drop_unknown:
        raise LabelError(
            f"{collection.labels}: the weights have no class {names_of(unknown)}; "
            f"{f'{better}; or' if better else f'they have {listed(classes, 6)};'} {advice(unknown, classes)}"
        )
    moved = {old: position.get(name) for old, name in enumerate(collection.classes)}
    tags = {
        key: tuple(sorted({new for i in old if (new := moved[i]) is not None})) for key, old in collection.tags.items()
    }
    notes = (*collection.notes, *([dropped(unknown)] if unknown else []))
    found = collection.found and align_tags(replace(collection.found, drop_unknown=True), classes)
    return replace(collection, classes=classes, tags=tags, notes=notes, found=found)


def report_ignored(collection: Collection, reporter: Reporter) -> None:
    """Warn about image files in the photo folder that cannot be read."""
    if line := passed_over_line(collection.passed_over):
        reporter.warn(line)


def report_labels(collection: Collection, reporter: Reporter, untagged: str) -> None:
    """Report the label reader's notes, and warn about unmatched rows and photos; `untagged`: what happens to these."""
    for note in collection.notes:
        reporter.info(f"{collection.labels}: {note}" if len(note) <= 200 else f"{collection.labels}: {note[:199]}…")
    if collection.untagged:
        total = len(collection.untagged) + len(collection.tags or {})
        reporter.warn(
            f"no row in {collection.labels} for {len(collection.untagged)} of {count(total, 'photo')} (first: "
            f"{collection.untagged[0]}); {untagged}"
        )
    if collection.orphans:
        rows = count(len(collection.orphans), "row")
        reporter.warn(f"{rows} of {collection.labels} without a photo (first: {collection.orphans[0]})")


def _counted(names: Sequence[str]) -> str:
    return f"{len(names)}: {listed(names)}" if names else "none"


def need_tags(collection: Collection) -> Collection:
    """The photos that have a row, for training.

    Raises `UsageError` or `LabelError` without labels, without any tag, or if nearly every photo is its own class.
    """
    if collection.tags is None:
        raise UsageError("training needs tags; give --labels FILE")
    items = [item for item in collection.items if item.key in collection.tags]
    if not any(collection.tags[item.key] for item in items):
        raise LabelError("no photo has a tag; training needs at least one")
    used = Counter(collection.tags[item.key] for item in items)
    if (
        not collection.classes_given
        and len(used) >= _OWN_CLASSES
        and len(used) >= 0.9 * len(items)
        and max(map(len, used)) == 1
    ):
        raise LabelError(
            f"{collection.labels}: {count(len(used), 'class')} for {count(len(items), 'photo')}, so nearly every photo "
            "is its own class; name the column of the classes with --label-column, or list them in a --class-file"
        )
    return collection.subset(items)
