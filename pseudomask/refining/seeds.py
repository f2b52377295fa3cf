"""SEEDS, a folder written by `extract` or `refine --scores`, and the matching of its score files to photos."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pseudomask.config import ExtractConfig, PredictConfig, RefineConfig
from pseudomask.config.common import PhotoReadingOptions, SeedOptions
from pseudomask.config.refiners import RefinerOptions
from pseudomask.config.roles import changed, deciding
from pseudomask.data.images import ImageItem, PassedOver, look_through, passed_over_line, read_list, select
from pseudomask.data.labels import read_classes
from pseudomask.errors import LabelError, PseudomaskError, UsageError
from pseudomask.running.identity import Identity, identify, older
from pseudomask.running.inputs import Line
from pseudomask.running.layout import RECORD
from pseudomask.running.made import MadeFolder
from pseudomask.running.manifest import Entry
from pseudomask.running.record import hash_file, hash_lines

_CONFIGS: dict[str, type] = {"extract": ExtractConfig, "refine": RefineConfig, "predict": PredictConfig}
_INHERITED = {one.name for one in fields(PhotoReadingOptions)}  # so they are in refine's own record
# The settings of extract and refine in version 0.1.0.
_BEFORE = frozenset(
    """
    affinity allow_truncated amp auto_sample batch_size calib_target class_file cpmc_background cpmc_calibration
    cpmc_contrast cpmc_features cpmc_gamma cpmc_high cpmc_iterations cpmc_kappa cpmc_lambda cpmc_low cpmc_output
    cpmc_power cpmc_refine cpmc_weights crf_bilateral_rgb crf_bilateral_weight crf_bilateral_xy crf_gauss_weight
    crf_gauss_xy crf_gt_prob crf_iterations crf_preset crf_side crf_unary crowd device difficult dry_run engine
    flip images label_format label_split labels limit list mask_mode max_failures max_pixels max_side method out
    overlay overwrite pamr_dilations pamr_iterations pamr_side pamr_softness recam_weights scales score_bits
    score_stride scores seeds threshold tta walk_beta walk_power walk_radius walk_side walk_steps walk_threshold
    weights workers
    """.split()  # noqa: SIM905
)
_REFINERS = {one.name for one in fields(RefinerOptions)}  # in an extraction they affect only the masks
_DECIDING = ("recam_weights", "affinity_sha256", "seeds_hash")  # fields of a record's protocol


@dataclass(frozen=True)
class Seeds(MadeFolder):
    """A folder of seeds; `given`: its classes, if a class file lists them."""

    advice: str | None = "SEEDS must be an output folder of extract or refine"
    given: tuple[str, ...] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.given or () if self.record is None else tuple(self.record.classes)

    @cached_property
    def entries(self) -> Mapping[str, Entry]:
        """The manifest fields that are needed later, by key; values shared by many photos are stored once."""
        seen: dict[str, Any] = {}

        def brief(entry: Entry) -> Entry:
            found = {name: entry[name] for name in ("tags", "size", "classes", "reason") if name in entry}
            same: Entry = seen.setdefault(repr(found), found)
            return same

        return {entry["key"]: brief(entry) for entry in self.lines()} if self.record is not None else {}

    @cached_property
    def hash(self) -> str:
        """Hash of everything that determines a photo's scores; the set of photos and their tags are not part of it."""
        record = self.record
        if record is None:
            return "none"
        method = record.config.get("method")
        methods = method if isinstance(method, list | tuple) else (method,)
        settings, kind = record.config, _CONFIGS.get(record.command)
        if kind is not None:
            names = deciding(kind, methods, roles=("result",))
            settings = changed(settings, kind, [name for name in names if name not in _INHERITED])
        protocol = {name: record.protocol.get(name) for name in _DECIDING}
        facts = [record.command, settings, protocol, record.weights.get("sha256")]
        return hash_lines([*record.classes, json.dumps(facts, sort_keys=True)])

    @cached_property
    def hash_before(self) -> str:
        """The hash as computed by version 0.1.0, whose unfinished folders can still be resumed.

        Newer settings count if they differ from their default, since the record may have been rewritten.
        """
        record = self.record
        if record is None:
            return "none"
        kind = _CONFIGS.get(record.command)
        later = [name for name in record.config if name not in _BEFORE]
        counts = _BEFORE | (changed(record.config, kind, later).keys() if kind is not None else set())
        idle = {"out", "device", "amp", "workers", "batch_size", "overlay", "max_failures", "overwrite", "dry_run"}
        idle |= {"mask_mode", "images", "seeds", "labels", "list", "weights", "class_file"}
        if record.command == "extract":
            idle |= _REFINERS | {"refine"}
        decided = {name: value for name, value in record.config.items() if name in counts - idle}
        facts = [record.command, decided, record.protocol, record.weights, record.images_hash, record.labels_hash]
        return hash_lines([*record.classes, json.dumps(facts, sort_keys=True)])

    @cached_property
    def photos(self) -> Mapping[str, Identity]:
        """Identity of each photo when its scores were made, if recorded."""
        noted = {entry["key"]: Identity.from_json(entry.get("photo")) for entry in self.lines()} if self.record else {}
        return {key: photo for key, photo in noted.items() if photo is not None}

    def tests(self, images: Path, *, hashed: bool = False) -> dict[str, Callable[[Path], bool]]:
        """By key, a check that the photo in `images` is still the one its scores were made from, if recorded."""
        timed = self.made_from(images)
        return {key: partial(photo.holds, hashed=hashed, timed=timed) for key, photo in self.photos.items()}

    @cached_property
    def record_file(self) -> Identity:
        """Identity of the record file when it was first accessed."""
        return identify(self.path / RECORD)

    def check(self) -> None:
        """Raise `PseudomaskError` if the seeds have been removed or replaced with other settings meanwhile."""
        if self.record is None or self.record_file == identify(self.path / RECORD):
            return
        now = Seeds(self.path, given=self.given)
        try:
            same = now.record is not None and now.hash == self.hash
        except UsageError:
            same = False
        if not same:
            raise PseudomaskError(
                f"{self.path} was removed or replaced with other settings while it was being read; "
                "run this command again with --overwrite once the seeds are complete"
            )


@dataclass(frozen=True)
class SeededPhotos:
    """Photos matched with seeds.

    items: what to refine, including seeds without a photo, which use their key as the file name.
    orphans: keys of seeds without a photo; `without_seeds`: keys of photos without scores.
    photos: all photos that have a seed, whether or not they will be refined.
    passed_over: image files of unsupported kinds.
    """

    items: tuple[ImageItem, ...]
    orphans: frozenset[str]
    without_seeds: tuple[str, ...]
    photos: Mapping[str, ImageItem]
    passed_over: tuple[PassedOver, ...] = ()


class PhotosAndSeeds:
    """The `Inputs` of a folder that refine fills; `hashed`: compare photos by their bytes where possible."""

    def __init__(self, seeded: SeededPhotos, seeds: Seeds, images: Path, *, hashed: bool) -> None:
        self.keys, self.seeds, self.hashed = seeded.photos, seeds, hashed
        self.where = f"in {images}, or have no scores in {seeds.path},"

    def current(self, key: str, line: Line, mask: Path) -> bool:
        """Whether the photo and its scores are unchanged."""
        scores = self.seeds.outputs(key).scores
        same = older(scores, mask) if line.seed is None else hash_file(scores) == line.seed
        return same and line.holds(self.keys[key].path, mask, hashed=self.hashed)


def read_seeds(folder: Path, class_file: Path | None) -> Seeds:
    """Check a folder of seeds and read its record.

    Raises `UsageError` if it contains no scores, or has no class list and none is given; `LabelError` if `class_file`
    lists different classes.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: {'is a file, not a folder of seeds' if folder.exists() else 'no such folder'}")
    folder = MadeFolder.around(folder)
    if not (folder / "scores").is_dir():
        raise UsageError(
            f"{folder}: contains no scores/; run `pseudomask extract` without --no-scores, or `pseudomask refine "
            "--scores`"
        )
    seeds = Seeds(folder, given=read_classes(class_file) if class_file is not None else None)
    _ = seeds.record_file  # before the record is read
    if seeds.record is None and seeds.given is None:
        raise UsageError(f"{folder}: no {RECORD} with class names; give --class-file")
    if seeds.given not in (None, seeds.classes):
        raise LabelError(_difference(seeds.given, seeds.classes, folder), class_file)
    _ = seeds.entries  # raises now if the manifest is unreadable
    return seeds


def match_photos(config: SeedOptions, seeds: Seeds, *, exclude: Path | None = None) -> SeededPhotos:
    """Match each score file to the photo with the same key (path without extension).

    Photos in `exclude` are ignored. With --list, the photos are the listed ones, whether or not they have scores.
    Raises `UsageError` if no photo has scores, or if the list names something that is neither a photo nor a seed.
    """
    found = look_through(config.images, exclude=exclude)
    photos = found.items
    keys = {photo.key for photo in photos}
    files = {file.key for file in seeds.score_files()}
    made = {key for key in files if "reason" not in seeds.entries.get(key, {})}  # else they are another photo's
    if not made & keys:
        first = f", such as {min(made)}" if made else ""
        raise UsageError(
            f"none of the {len(made)} score files in {seeds.scores}{first}, has a photo of its "
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
    with_files |= {item.key: item for item in items if item.key in keys}  # the list may pick one of two with one key
    return SeededPhotos(tuple(items), frozenset(lost), without, with_files, found.passed_over)


def _difference(given: tuple[str, ...], classes: tuple[str, ...], folder: Path) -> str:
    first = next((i for i, pair in enumerate(zip(given, classes, strict=False)) if pair[0] != pair[1]), None)
    if first is None:
        what = f"it names {len(given)} classes, the seeds have {len(classes)}"
    else:
        what = f"class {first + 1} is {given[first]!r}, in the seeds {classes[first]!r}"
    return f"not the classes of {folder / RECORD}: {what}; leave --class-file out"


def tags_of(entry: Entry | None) -> str:
    """Source of a photo's tags, according to the manifest of its seeds."""
    return str((entry or {}).get("tags", "seeds"))


def problems(config: SeedOptions, seeds: Seeds, seeded: SeededPhotos) -> Iterator[str]:
    """Warnings to show before the work starts.

    Seeds for only some photos are normal, unless the other photos were listed explicitly, or were tried and failed.
    """
    if line := passed_over_line(seeded.passed_over):
        yield line
    if seeded.orphans:
        yield f"{len(seeded.orphans)} score files have no photo (first: {min(seeded.orphans)})"
    tried = [key for key in seeded.without_seeds if config.list is not None or key in seeds.entries]
    if tried:
        why = seeds.entries.get(tried[0], {}).get("reason")
        first = f"{tried[0]}, because {why}" if why else tried[0]
        yield f"{len(tried)} photos have no scores in {seeds.path} (first: {first})"
