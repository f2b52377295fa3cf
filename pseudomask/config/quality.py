"""`--quality`: what extract does unless method, refiners and test-time augmentation are given individually."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from pseudomask.config.extract import ExtractConfig, Quality, Tta


class Point(NamedTuple):
    """What a quality stands for; a `cam` of None is lpcam if prototypes come with the weights, else plain.

    Its text form leaves out the refiners and `cam`, which depend on the weights.
    """

    method: str
    refine: tuple[str, ...]
    tta: Tta
    cam: str | None = "plain"

    def __str__(self) -> str:
        return f"{self.method}, --tta {self.tta}"


USUAL: Quality = "balanced"
QUALITIES: dict[Quality, Point] = {
    "fast": Point("recam", ("walk", "crf"), "fast"),
    "balanced": Point("cpmc", ("walk", "crf"), "three", None),
    "best": Point("cpmc", ("walk", "crf"), "six", None),
}
_FORMER: dict[Quality, Tta] = {"balanced": "fast", "best": "full"}
"""What --tta these stood for when no quality saw three sizes."""


def settle_quality(config: ExtractConfig, recorded: Mapping[str, Any] | None) -> tuple[ExtractConfig, tuple[str, ...]]:
    """`config` with method, map and augmentation filled in, and the refiners to run unless `config.refine` names some.

    Args:
        recorded: settings of the run already in the output folder. Versions without qualities had other defaults, and
            the runs that they began are finished with those.
    """
    before = None if config.quality is not None or recorded is None else _before(recorded)
    point = before or QUALITIES[config.quality or USUAL]
    quality = config.quality if before else config.quality or USUAL
    cam = config.cam or _usual_cam(config, point, recorded)
    tta = config.tta or _usual_tta(point, quality, recorded)
    filled = replace(config, quality=quality, method=config.method or point.method, tta=tta, cam=cam)
    return filled, point.refine


def _usual_tta(point: Point, quality: Quality | None, recorded: Mapping[str, Any] | None) -> Tta:
    """The quality's; what it was before in a folder begun with that."""
    former = None if quality is None else _FORMER.get(quality)
    begun = recorded is not None and (recorded.get("quality"), recorded.get("tta")) == (quality, former)
    return former if former is not None and begun else point.tta


def _usual_cam(config: ExtractConfig, point: Point, recorded: Mapping[str, Any] | None) -> str | None:
    """The quality's where it chooses the method and its weights too; plain otherwise, and in a folder begun so."""
    begun = recorded is not None and recorded.get("cam", "plain") == "plain"
    own = config.method or config.recam_weights or config.cpmc_weights != ExtractConfig.cpmc_weights
    return "plain" if own or begun else point.cam


def in_words(settled: ExtractConfig, given: ExtractConfig) -> str:
    """The quality, what it stands for in this folder and which parts `given` overrides; empty if it overrides all."""
    own = [f"--{name}" for name in ("method", "refine", "tta", "cam") if getattr(given, name) not in (None, ())]
    if {"--method", "--refine", "--tta"} <= set(own):
        return ""
    if settled.quality is None:
        told = "as this folder was begun"
    else:
        point = QUALITIES[settled.quality]
        if given.tta is None and settled.tta is not None:  # not the quality's in a folder of an earlier version
            point = point._replace(tta=settled.tta)
        told = f"{settled.quality} ({point})"
    return f"{told}, but for {' '.join(own)}" if own else told


def _before(recorded: Mapping[str, Any]) -> Point | None:
    """What a version without qualities recorded; None if the record is from a later version."""
    if recorded.get("quality") is not None or not isinstance(recorded.get("method"), str):
        return None
    refine, tta = recorded.get("refine") or ["none"], recorded.get("tta")
    if not isinstance(refine, list) or not all(isinstance(name, str) for name in refine):
        return None
    return Point(recorded["method"], tuple(refine), tta if tta in ("full", "fast") else "balanced")
