"""What `train-affinity` and `calibrate` do first: seeds made on the way, and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from pseudomask.config import CalibrateConfig, ExtractConfig, TrainAffinityConfig
from pseudomask.config.common import LabelOptions
from pseudomask.config.settings import settings
from pseudomask.data.survey import recorded_config
from pseudomask.devices import pick_amp
from pseudomask.extracting.result import ExtractResult
from pseudomask.extraction import extract
from pseudomask.networks.checkpoint import load_network
from pseudomask.quoting import count
from pseudomask.running.reporter import Reporter

_SHARED = {one.name for one in fields(LabelOptions)} | {"images", "weights", "device", "amp", "workers", "dry_run"}


def make_seeds(config: TrainAffinityConfig | CalibrateConfig, seeds: Path, reporter: Reporter) -> ExtractResult:
    """Make what the folder `seeds` lacks: with the settings of the run there, else the usual ones without refiners.

    Raises what `extract` raises.
    """
    own = {name: getattr(config, name) for name in _SHARED} | {"out": seeds}
    recorded = recorded_config(seeds)
    begun = {"refine": ("none",)} if recorded is None else _settings(recorded)
    if recorded is not None and recorded.get("amp") == "int8":
        own["amp"] = "int8"  # others do not mix with them
    return extract(ExtractConfig(**begun | own), reporter)


def _settings(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in an extraction's record, as it was asked for."""
    told = {name: value for name, value in recorded.items() if value is not None}
    told["refine"] = told.get("refine") or ["none"]
    if not isinstance(told.get("flip"), bool):  # as --tta mirrors
        told = {name: value for name, value in told.items() if name not in ("flip", "scales")}
    free = {"overwrite", "prune", "overlay", "max_failures", "batch_size"} | _SHARED
    known = (one for one in settings(ExtractConfig) if one.name in told and one.name not in free)
    return {one.name: one.parse(told[one.name], f"{one.key} of the seeds") for one in known if not one.positional}


_HEAD = 1.3  # the head's steps, relative to the frozen backbone's alone
_TRIED = 2  # crops that the time is measured on


def how_long(config: TrainAffinityConfig, weights: Path, device: torch.device, photos: int) -> str:
    """About how long the training takes, from the time that the backbone needs for a few crops."""
    network, amp = load_network(weights)[0].on(device).eval(), pick_amp(config.amp, device)
    x = torch.zeros(_TRIED, 3, config.crop, config.crop, device=device)
    seconds = 0.0
    with torch.inference_mode(), torch.autocast(device.type, amp, enabled=amp is not None):
        for _ in range(2):  # the first prepares
            started = time.perf_counter()
            network.backbone(x).last.sum().item()
            seconds = time.perf_counter() - started
    minutes = _HEAD * seconds / _TRIED * photos * config.epochs / 60
    told = f"about {minutes:.0f} min" if minutes >= 1 else "less than a minute"
    return f"training on {count(photos, 'photo')}, {count(config.epochs, 'pass')}: {told} if nothing else runs"
