"""`--quality`: what extract does where method, refiners and test-time augmentation are not given one by one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from pseudomask.config.extract import ExtractConfig, Quality, Tta


class Point(NamedTuple):
    """What a quality stands for; in words without the refiners, because those that run may be fewer."""

    method: str
    refine: tuple[str, ...]
    tta: Tta

    def __str__(self) -> str:
        return f"{self.method}, --tta {self.tta}"


USUAL: Quality = "balanced"
QUALITIES: dict[Quality, Point] = {
    "fast": Point("recam", ("walk", "crf"), "fast"),
    "balanced": Point("cpmc", ("walk", "crf"), "fast"),
    "best": Point("cpmc", ("walk", "crf"), "full"),
}


def settle_quality(config: ExtractConfig, recorded: Mapping[str, Any] | None) -> tuple[ExtractConfig, tuple[str, ...]]:
    """`config` with method and augmentation filled in, and the refiners that run unless `config.refine` names some.

    Args:
        recorded: settings of the run that is in the output folder. Versions without qualities knew other defaults;
            what they began is finished with those.
    """
    before = None if config.quality is not None or recorded is None else _before(recorded)
    point = before or QUALITIES[config.quality or USUAL]
    quality = config.quality if before else config.quality or USUAL
    filled = replace(config, quality=quality, method=config.method or point.method, tta=config.tta or point.tta)
    return filled, point.refine


def in_words(quality: Quality | None, given: ExtractConfig) -> str:
    """A quality, what it stands for and what of that was `given` otherwise; empty where all of it was."""
    own = [f"--{name}" for name in Point._fields if getattr(given, name) not in (None, ())]
    if len(own) == len(Point._fields):
        return ""
    told = "as this folder was begun" if quality is None else f"{quality} ({QUALITIES[quality]})"
    return f"{told}, but for {' '.join(own)}" if own else told


def _before(recorded: Mapping[str, Any]) -> Point | None:
    """What a version without qualities recorded; None if this record is of a later one."""
    if recorded.get("quality") is not None or not isinstance(recorded.get("method"), str):
        return None
    refine, tta = recorded.get("refine") or ["none"], recorded.get("tta")
    if not isinstance(refine, list) or not all(isinstance(name, str) for name in refine):
        return None
    return Point(recorded["method"], tuple(refine), tta if tta in ("full", "fast") else "balanced")
