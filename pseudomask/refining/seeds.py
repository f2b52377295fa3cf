"""SEEDS: a folder that `extract` or `refine --scores` wrote, and which photo each of its score files belongs to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pseudomask.config import ExtractConfig, RefineConfig
from pseudomask.config.roles import changed, deciding
from pseudomask.data.images import ImageItem, PassedOver, look_through, passed_over_line, read_list, select
from pseudomask.data.labels import read_classes
from pseudomask.errors import LabelError, PseudomaskError, UsageError
from pseudomask.measuring.pairing import find_files
from pseudomask.running.identity import Identity, identify, older
from pseudomask.running.inputs import Line, same_folder
from pseudomask.running.layout import MANIFEST, RECORD, Outputs
from pseudomask.running.manifest import Entry, Manifest
from pseudomask.running.record import RunRecord, hash_file, hash_lines
from pseudomask.running.threshold import made_threshold

_CONFIGS: dict[str, type] = {"extract": ExtractConfig, "refine": RefineConfig}
# All settings of extract and refine in version 0.1.0.
_BEFORE = frozenset(
    [
        "affinity",
        "allow_truncated",
        "amp",
        "auto_sample",
        "batch_size",
        "calib_target",
        "class_file",
        "cpmc_background",
        "cpmc_calibration",
        "cpmc_contrast",
        "cpmc_features",
        "cpmc_gamma",
        "cpmc_high",
        "cpmc_iterations",
        "cpmc_kappa",
        "cpmc_lambda",
        "cpmc_low",
        "cpmc_output",
        "cpmc_power",
        "cpmc_refine",
        "cpmc_weights",
        "crf_bilateral_rgb",
        "crf_bilateral_weight",
        "crf_bilateral_xy",
        "crf_gauss_weight",
        "crf_gauss_xy",
        "crf_gt_prob",
        "crf_iterations",
        "crf_preset",
        "crf_side",
        "crf_unary",
        "crowd",
        "device",
        "difficult",
        "dry_run",
        "engine",
        "flip",
        "images",
        "label_format",
        "label_split",
        "labels",
        "limit",
        "list",
        "mask_mode",
        "max_failures",
        "max_pixels",
        "max_side",
        "method",
        "out",
        "overlay",
        "overwrite",
        "pamr_dilations",
        "pamr_iterations",
        "pamr_side",
        "pamr_softness",
        "recam_weights",
        "scales",
        "score_bits",
        "score_stride",
        "scores",
        "seeds",
        "threshold",
        "tta",
        "walk_beta",
        "walk_power",
        "walk_radius",
        "walk_side",
        "walk_steps",
        "walk_threshold",
        "weights",
        "workers",
    ]
)
_DECIDING = ("recam_weights", "affinity_sha256", "seeds_hash")  # in a record's protocol


@dataclass(frozen=True)
class Seeds:
    """What a folder of seeds says of itself.

    Attributes:
        threshold: the background's height in its scores, None where nothing tells; `threshold_from`: who chose it.
        entries: what its manifest tells of each photo, by key; empty where there is none.
        hash: of all settings that decided the scores; `hash_before`: the same as version 0.1.0 recorded it.
        config: the settings of the run that made it.
        photos: what each photo was when its scores were made, by key; `record_file` what the record was when read.
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
    photos: dict[str, Identity] = field(default_factory=dict)
    record_file: Identity | None = None

    def scores(self, key: str) -> Path:
        """Where the scores of a photo are, or would be."""
        return Outputs(key, self.folder).scores

    def tests(self, images: Path, *, hashed: bool = False) -> dict[str, Callable[[Path], bool]]:
        """By key, what tells whether a photo in `images` still is that of its scores; none where nothing was noted.

        Files of a copy have times of their own, which tell nothing.
        """
        timed = same_folder(self.config.get("images"), images)
        return {key: partial(photo.holds, hashed=hashed, timed=timed) for key, photo in self.photos.items()}

    def check(self) -> None:
        """Raise `PseudomaskError` where another run has begun to make these seeds with other settings."""
        path = self.folder / RECORD
        if self.record_file is None or self.record_file == identify(path):
            return
        try:
            record = RunRecord.read(path)
        except UsageError:
            record = None
        if record is None or _settings_hash(record) != self.hash:
            raise PseudomaskError(
                f"{self.folder} was removed or made anew with other settings while it was being read; this run stops; "
                "run it again with --overwrite once the seeds are complete"
            )


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
            f"{folder}: no scores/ in it; make them with `pseudomask extract` without --no-scores, "
            "or with `pseudomask refine --scores`"
        )
    given = read_classes(class_file) if class_file is not None else None
    record_file = identify(folder / RECORD)
    record = _record(folder)
    if record is None:
        if given is None:
            raise UsageError(f"{folder}: no {RECORD} in it that tells the classes; give them with --class-file")
        return Seeds(folder, given, None, "")
    classes = tuple(record.classes)
    if given is not None and given != classes:
        raise LabelError(_difference(given, classes, folder), class_file)
    threshold, chosen = made_threshold(record.config, record.protocol)
    photos: dict[str, Identity] = {}
    entries = _told(Manifest(folder / MANIFEST), photos)
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
        entries=entries,
        config=record.config,
        photos=photos,
        record_file=record_file,
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
    """As version 0.1.0 made it, whose half-done folders are still resumed.

    Settings that it did not know count where they are not at their default: the record may have been written anew.
    """
    kind = _CONFIGS.get(record.command)
    later = [name for name in record.config if name not in _BEFORE]
    still = changed(record.config, kind, later) if kind is not None else {}
    idle = {"out", "device", "amp", "workers", "batch_size", "overlay", "max_failures", "overwrite", "dry_run"}
    idle |= {"mask_mode", "images", "seeds", "labels", "list", "weights", "class_file"}
    told = {name: value for name, value in record.config.items() if name in _BEFORE or name in still}
    decided = {name: value for name, value in told.items() if name not in idle}
    facts = [record.command, decided, record.protocol, record.weights, record.images_hash, record.labels_hash]
    return hash_lines([*record.classes, json.dumps(facts, sort_keys=True)])


def _told(manifest: Manifest, photos: dict[str, Identity]) -> dict[str, Entry]:
    """Of each line what is asked for later; values that many photos have in common are held once. Fills `photos`."""
    seen: dict[str, Any] = {}

    def brief(entry: Entry) -> Entry:
        found = {name: entry[name] for name in ("tags", "size", "classes", "reason") if name in entry}
        same: Entry = seen.setdefault(repr(found), found)
        return same

    entries = {}
    for entry in manifest.lines():
        key = entry["key"]
        entries[key] = brief(entry)
        photo = Identity.from_json(entry.get("photo"))
        if photo is not None:
            photos[key] = photo
        else:
            photos.pop(key, None)
    return entries


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
        raise UsageError(f"{reason}; SEEDS must be what extract or refine wrote") from error


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
