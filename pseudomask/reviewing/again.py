"""The commands that make the masks of changed tags again, and no others."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pseudomask.config import ExtractConfig, PredictConfig, RefineConfig
from pseudomask.config.common import TagOptions
from pseudomask.config.quality import QUALITIES, USUAL
from pseudomask.config.settings import Setting, settings
from pseudomask.networks.store import bundled_prototypes
from pseudomask.quoting import command
from pseudomask.reporting.folder import PageFolder, read_folder
from pseudomask.reviewing.tags import Tags

_CONFIGS = {"extract": ExtractConfig, "predict": PredictConfig}
_ONCE = ("overwrite", "update", "prune", "dry_run")
_KEPT = ("bits", "value_range")  # a later run takes them from the record


def commands(tags: Tags) -> list[str]:
    """To be run in turn; none if the folder's record does not say how its masks were made."""
    made = tags.made
    if made.facts.get("command") != "refine":
        return _extract(made, tags)
    seeds, images = made.config.get("seeds"), made.photos_folder or made.images
    if not isinstance(seeds, str) or images is None or not Path(seeds).is_dir():
        return []
    first = _extract(read_folder(Path(seeds), made.given_images), tags)
    inherited = str(made.protocol.get("threshold_chosen")).startswith("that of SEEDS")
    out = (*_ONCE, *(("threshold",) if inherited else ()))
    words = ["refine", images, Path(seeds), made.path, *_flags(RefineConfig, made.config, out)]
    return [*first, command(*words)] if first else []


def _extract(made: PageFolder, tags: Tags) -> list[str]:
    verb, images = made.facts.get("command"), made.photos_folder or made.images
    if verb not in _CONFIGS or images is None:
        return []
    out = {*_ONCE, *_KEPT, *(one.name for one in dataclasses.fields(TagOptions)), *_settled(made)}
    recorded = {**made.config, **({"refine": ["none"]} if made.config.get("refine") == [] else {})}
    flags = _flags(_CONFIGS[verb], recorded, out)
    labels = ["--labels", tags.path, "--class-file", tags.class_file]
    return [command(verb, images, made.path, *labels, *flags, "--update")]


def _settled(made: PageFolder) -> Iterator[str]:
    """The settings in a record that the run chose itself, as the next one does."""
    config, chosen = made.config, made.protocol.get("threshold_chosen")
    if chosen != "given":
        yield "threshold"
    if config.get("lpcam_prototypes") in [str(path) for path in bundled_prototypes()]:
        yield "lpcam_prototypes"
    if not isinstance(config.get("flip"), bool):
        yield "flip"
    quality = config.get("quality")
    if quality == USUAL:
        yield "quality"
    point = next((point for name, point in QUALITIES.items() if name == quality), None)
    own = config.get("recam_weights") or config.get("cpmc_weights") != ExtractConfig.cpmc_weights
    if point is not None and not own and (config.get("method"), config.get("tta")) == (point.method, point.tta):
        yield from ("method", "tta")
        if config.get("cam") == "plain" or (point.cam is None and config.get("cam") == "lpcam"):
            yield "cam"
        if config.get("refine") == list(point.refine):
            yield "refine"


def _flags(config: type, recorded: Mapping[str, Any], out: Collection[str]) -> Iterator[object]:
    """The flags of the recorded settings that differ from their defaults."""
    for setting in settings(config):
        value = recorded.get(setting.name)
        usual = json.loads(json.dumps(setting.default, default=str))
        if setting.positional or setting.name in out or setting.name not in recorded or value == usual:
            continue
        yield from _flag(setting, value)


def _flag(setting: Setting, value: Any) -> Iterator[object]:
    if isinstance(value, bool):
        yield setting.flag if value else f"--no-{setting.key}"
        return
    yield setting.flag
    if isinstance(value, list):
        yield ",".join(map(str, value))
    else:
        yield "none" if value is None else value
