"""SEEDS: a folder that `extract` or `refine --scores` wrote, and which photo each of its score files belongs to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudomask.config import ExtractConfig, RefineConfig
from pseudomask.config.roles import changed, deciding
from pseudomask.data.images import ImageItem, PassedOver, look_through, passed_over_line, read_list, select
from pseudomask.data.labels import read_classes
from pseudomask.errors import LabelError, UsageError
from pseudomask.measuring.pairing import find_files
from pseudomask.running.identity import older
from pseudomask.running.inputs import Line
from pseudomask.running.layout import MANIFEST, RECORD, Outputs
from pseudomask.running.manifest import Entry, Manifest
from pseudomask.running.record import RunRecord, hash_file, hash_lines
from pseudomask.running.threshold import made_threshold

_CONFIGS: dict[str, type] = {"extract": ExtractConfig, "refine": RefineConfig}
_DECIDING = ("recam_weights", "affinity_sha256", "seeds_hash")  # in a record's protocol


@dataclass(frozen=True)
class Seeds:
    """What a folder of seeds says of itself.

    Attributes:
        threshold: the background's height in its scores, None where nothing tells; `threshold_from`: who chose it.
        entries: what its manifest tells of each photo, by key; empty where there is none.
        hash: of all settings that decided the scores; `hash_before`: the same as version 0.1.0 recorded it.
        config: the settings of the run that made it.
    """

    folder: Path
    classes: tuple[str, ...]
    threshold: float | None
    threshold_from: str
    weights: dict[str, Any] = field(default_factory=dict)
    images_hash: str = ""
    hash: str = "none"
    hash_before: str = "none"
    protocol: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    def scores(self, key: str) -> Path:
        """Where the scores of a photo are, or would be."""
        return Outputs(key, self.folder).scores


@dataclass(frozen=True)
class Matched:
    """Photos and seeds together.

    items: what is to be refined; a seed without a photo is one of them, with its key for a name.
    orphans: keys of those; `without_seeds`: photos that have no scores.
    photos: all that have a seed, whether they are to be refined or not.
    passed_over: files that hold pictures of kinds that are not read.
    """

    items: tuple[ImageItem, ...]
    orphans: frozenset[str]
    without_seeds: tuple[str, ...]
    photos: Mapping[str, ImageItem]
    passed_over: tuple[PassedOver, ...] = ()


class PhotosAndSeeds:
    """The `Inputs` of a folder that refine fills; `hashed`: photos are compared by their bytes where it can be done."""

    def __init__(self, matched: Matched, seeds: Seeds, images: Path, *, hashed: bool) -> None:
        self.keys, self.seeds, self.hashed = matched.photos, seeds, hashed
        self.where = f"in {images}, or have no scores in {seeds.folder},"

    def current(self, key: str, line: Line, mask: Path) -> bool:
        """Whether photo and scores are still those."""
        scores = self.seeds.scores(key)
        same = older(scores, mask) if line.seed is None else hash_file(scores) == line.seed
        return same and line.holds(self.keys[key].path, mask, hashed=self.hashed)


def read_seeds(folder: Path, class_file: Path | None) -> Seeds:
    """Check a folder of seeds and read its record.

    Raises `UsageError` where it holds no scores, or no class list and none is given; `LabelError` where `class_file`
    names other classes.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: {'is a file, not a folder of seeds' if folder.exists() else 'no such folder'}")
    if not (folder / "scores").is_dir() and folder.name == "scores" and (folder.parent / RECORD).is_file():
        folder = folder.parent
    if not (folder / "scores").is_dir():
        raise UsageError(
            f"{folder}: contains no scores/; run `pseudomask extract` without --no-scores, or `pseudomask refine "
            "--scores`"
        )
    given = read_classes(class_file) if class_file is not None else None
    record = _record(folder)
    if record is None:
        if given is None:
            raise UsageError(f"{folder}: no {RECORD} with class names; give --class-file")
        return Seeds(folder, given, None, "")
    classes = tuple(record.classes)
    if given is not None and given != classes:
        raise LabelError(_difference(given, classes, folder), class_file)
    threshold, chosen = made_threshold(record.config, record.protocol)
    return Seeds(
        folder=folder,
        classes=classes,
        threshold=threshold,
        threshold_from=f"that of SEEDS ({chosen})" if chosen else "",
        weights=record.weights,
        images_hash=record.images_hash,
        hash=_settings_hash(record),
        hash_before=_hash_before(record),
        protocol=record.protocol,
        entries=_told(Manifest(folder / MANIFEST)),
        config=record.config,
    )


def _settings_hash(record: RunRecord) -> str:
    """Of what decides the scores of any photo. Which photos there are, and their tags, does not."""
    method = record.config.get("method", ())
    settings, kind = record.config, _CONFIGS.get(record.command)
    if kind is not None:
        names = deciding(kind, (method,) if isinstance(method, str) else method, roles=("result",))
        settings = changed(settings, kind, names)
    protocol = {name: record.protocol.get(name) for name in _DECIDING}
    facts = [record.command, settings, protocol, record.weights.get("sha256")]
    return hash_lines([*record.classes, json.dumps(facts, sort_keys=True)])


def _hash_before(record: RunRecord) -> str:
    """As version 0.1.0 made it, whose half-done folders are still resumed."""
    idle = {"out", "device", "amp", "workers", "batch_size", "overlay", "max_failures", "overwrite", "dry_run"}
    idle |= {"mask_mode", "images", "seeds", "labels", "list", "weights", "class_file"}
    decided = {name: value for name, value in record.config.items() if name not in idle}
    facts = [record.command, decided, record.protocol, record.weights, record.images_hash, record.labels_hash]
    return hash_lines([*record.classes, json.dumps(facts, sort_keys=True)])


def _told(manifest: Manifest) -> dict[str, Entry]:
    """Of each line what is asked for later; values that many photos have in common are held once."""
    seen: dict[str, Any] = {}

    def brief(entry: Entry) -> Entry:
        found = {name: entry[name] for name in ("tags", "size", "classes", "reason") if name in entry}
        same: Entry = seen.setdefault(repr(found), found)
        return same

    return {entry["key"]: brief(entry) for entry in manifest.lines()}


def match_photos(config: RefineConfig, seeds: Seeds) -> Matched:
    """Which photo each score file belongs to: the one of the same key (path without extension).

    With --list the photos are those it names, whether they have scores or not. Raises `UsageError` where no photo has
    scores, or the list names what is neither.
    """
    found = look_through(config.images, exclude=config.out)
    photos = found.items
    keys = {photo.key for photo in photos}
    files = {file.key for file in find_files(seeds.folder / "scores", ".npz")}
    made = {key for key in files if "reason" not in seeds.entries.get(key, {})}  # else they are those of another photo
    if not made & keys:
        first = f", such as {min(made)}" if made else ""
        raise UsageError(
            f"none of the {len(made)} score files in {seeds.folder / 'scores'}{first}, has a photo of its "
            f"name in {config.images}, such as {photos[0].key}"
        )
    lost = sorted(made - keys)
    items = [*photos, *(ImageItem(key, key, config.images) for key in lost)]
    if config.list is not None:
        items = select(items, read_list(config.list), source=str(config.list))
    without = tuple(item.key for item in items if item.key not in made)
    if config.list is None:
        items = [item for item in items if item.key in made]
    items = items[: config.limit]
    with_files = {photo.key: photo for photo in photos if photo.key in files}
    with_files |= {item.key: item for item in items if item.key in keys}  # of two of one key the list may choose one
    return Matched(tuple(items), frozenset(lost), without, with_files, found.passed_over)


def _record(folder: Path) -> RunRecord | None:
    try:
        return RunRecord.read(folder / RECORD)
    except UsageError as error:
        reason = str(error).removesuffix("; use --overwrite or another output folder")
        raise UsageError(f"{reason}; SEEDS must be an output folder of extract or refine") from error


def _difference(given: tuple[str, ...], classes: tuple[str, ...], folder: Path) -> str:
    first = next((i for i, pair in enumerate(zip(given, classes, strict=False)) if pair[0] != pair[1]), None)
    if first is None:
        what = f"it names {len(given)} classes, the seeds have {len(classes)}"
    else:
        what = f"class {first + 1} is {given[first]!r}, in the seeds {classes[first]!r}"
    return f"not the classes of {folder / RECORD}: {what}; leave --class-file out"


def tags_of(entry: Entry | None) -> str:
    """Where a photo's tags came from, as its seeds' manifest says."""
    return str((entry or {}).get("tags", "seeds"))


def problems(config: RefineConfig, seeds: Seeds, matched: Matched) -> Iterator[str]:
    """What a person should hear before the work starts.

    Seeds of some of the photos are nothing unusual, unless the others were named, or were tried and failed.
    """
    if line := passed_over_line(matched.passed_over):
        yield line
    if matched.orphans:
        yield f"{len(matched.orphans)} score files have no photo (first: {min(matched.orphans)})"
    tried = [key for key in matched.without_seeds if config.list is not None or key in seeds.entries]
    if tried:
        why = seeds.entries.get(tried[0], {}).get("reason")
        first = f"{tried[0]}, because {why}" if why else tried[0]
        yield f"{len(tried)} photos have no scores in {seeds.folder} (first: {first})"
