"""The result of a training, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudomask.data.teachable import Finding
from pseudomask.quoting import count
from pseudomask.running.jsonable import jsonable
from pseudomask.running.shown import Shown
from pseudomask.training.measured import Measured

# How the facts of a training are shown; an empty text means that another one includes the fact.
_TEXTS = {
    "steps": "{steps} of {steps_planned}",
    "steps_planned": "",
    "images_per_second": "{images_per_second} images/s",
    "held_out_precision": "{held_out_precision}, by chance {held_out_chance} (mean over {measured_classes})",
    "held_out_miou": "{held_out_miou} with the masks of {held_out_photos} photos, which are not true masks",
    "held_out_photos": "",
    "held_out_chance": "",
    "held_out_classes": "",
    "held_out_too_few": "{held_out_too_few} of {measured_classes}",
}
_LABELS = {"images_per_second": "speed", "held_out_too_few": "too few held out to tell"}


@dataclass
class Trained:
    """The outcome of a trainer."""

    steps: int
    total: int
    validation: Measured | None
    unreadable: int
    images_per_second: float
    lost: frozenset[int] = frozenset()  # numbers of the photos to train on that could not be read
    doubts: tuple[str, ...] = ()
    ended: bool = False  # by --finish, or early
    weights_step: int = 0  # the step of the weights, where it is another than the last

    @property
    def finished(self) -> bool:
        return self.ended or self.steps >= self.total

    def facts(self) -> dict[str, Any]:
        """How far it came, for `TrainingResult`."""
        facts = {
            "steps": self.steps,
            "steps_planned": self.total,
            "images_per_second": round(self.images_per_second, 1),
        }
        return facts | ({"unreadable": self.unreadable} if self.unreadable else {})

    def measured(self) -> dict[str, Any]:
        """How well it did on held-out photos, for `TrainingResult`."""
        return self.validation.measured() if self.validation else {}


@dataclass(frozen=True)
class TrainingResult(Shown):
    """What a training verb returns.

    Attributes:
        weights: the file written, or None when the run was stopped early or only described.
        facts: what was trained, how far and how well, by name: photos, held_out, classes; steps of steps_planned and
            images_per_second; unreadable photos; of the held-out ones held_out_loss (cross-entropy) and
            held_out_precision (mean average precision in [0, 1] over held_out_classes classes), held_out_chance (that
            of a random order) and held_out_too_few (classes of which too few photos were held out to tell); of a
            segmentation network held_out_miou (in [0, 1], with the masks of held_out_photos photos).
        understood: (label, value) lines instead of the facts, when only a description was asked for.
        exit_code: 0, or 130/143 after a signal.
        findings: problems of the tags.
        doubts: reasons to doubt the weights, one line each.
    """

    weights: Path | None
    facts: dict[str, Any]
    understood: list[tuple[str, str]] = field(default_factory=list)
    exit_code: int = 0
    findings: Sequence[Finding] = ()
    doubts: Sequence[str] = ()

    def summary(self) -> list[tuple[str, str]]:
        if self.understood:
            return self.understood
        facts = {
            name: value
            for name, value in self.facts.items()
            if value not in (None, "") and (name != "held_out_too_few" or value)
        }
        words = facts | {"measured_classes": count(facts.get("held_out_classes", 0), "class")}
        texts = {name: _TEXTS.get(name, f"{{{name}}}").format_map(words) for name in facts}
        return [(_LABELS.get(name, name.replace("_", " ")), text) for name, text in texts.items() if text]

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = jsonable({"schema": 1, **self.facts, "weights": self.weights})
        plain["tag_problems"] = [finding.to_json() for finding in self.findings]
        plain["doubts"] = list(self.doubts)
        plain["understood"] = [{"what": what, "value": value} for what, value in self.understood]
        return plain
