"""Find tags from which a class cannot be learned, in the matrix of photos and classes, before any training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pseudomask.quoting import count

HOPELESS, DOUBTFUL, WORKS = VERDICTS = ("hopeless", "doubtful", "will work")
"""The verdicts on a class, worst first."""


@dataclass(frozen=True)
class Limits:
    """Rules of thumb, all defined here; docs/how-many-photos.md has measurements.

    Attributes:
        hopeless: a class with fewer photos cannot be learned; with fewer than `few` it is doubtful.
        without: a class that fewer photos lack is doubtful; one that no photo lacks is hopeless.
        together: two classes always occur together if this share of each one's photos also shows the other.
        fine_tune: where the classes have fewer photos (median), `train-cls --fit lda` is advised.
        tiny: side of a photo in pixels; a smaller photo covers at most 3 × 3 cells of the network's map.
    """

    hopeless: int = 5
    few: int = 40
    without: int = 10
    together: float = 0.98
    fine_tune: int = 100
    tiny: int = 64


LIMITS = Limits()
_SHOWN = 8


@dataclass(frozen=True)
class Rule:
    """One kind of problem.

    Attributes:
        verdict: on a class with this problem, unless it also has a worse one.
        text: describes the classes with this problem; the verbs in braces agree with their number.
        why: the short form for one class; {others} are the classes that it occurs with.
        advice: how to fix it.
        rarity: whether it also matters when a class is learned from masks.
    """

    verdict: str
    text: str
    why: str
    advice: str
    rarity: bool = False


RULES = {
    "absent": Rule(HOPELESS, "{has} no photo", "no photo", "add photos, or leave out such classes", True),
    "held_out": Rule(
        HOPELESS,
        "{has} no photo to train on, because all are held out",
        "all its photos are held out",
        "choose others with --val-list, or give --val-fraction 0",
    ),
    "hardly_any": Rule(
        HOPELESS,
        f"{{has}} fewer than {LIMITS.hopeless} photos",
        f"fewer than {LIMITS.hopeless} photos",
        f"add photos ({LIMITS.few} or more), merge with similar classes, or leave out such classes",
        True,
    ),
    "everywhere": Rule(
        HOPELESS,
        "{is_} in every photo",
        "in every photo, so it cannot be told from its surroundings",
        "add photos without it",
    ),
    "together": Rule(
        DOUBTFUL,
        "of classes (nearly) always {come} together",
        "(nearly) always together with {others}: they cannot be told apart",
        "add photos of one without the other, or merge them",
    ),
    "nearly_everywhere": Rule(
        DOUBTFUL,
        f"{{is_}} in all but fewer than {LIMITS.without} photos",
        f"fewer than {LIMITS.without} photos without it",
        "add photos without it",
    ),
    "implied": Rule(
        DOUBTFUL,
        "{is_} (nearly) only in photos of another class",
        "(nearly) only in photos of {others}",
        "add photos without the other class, or leave out such classes",
    ),
    "few": Rule(
        DOUBTFUL,
        f"{{has}} fewer than {LIMITS.few} photos",
        f"fewer than {LIMITS.few} photos",
        "add photos, or merge with similar classes",
        True,
    ),
    "never_alone": Rule(
        WORKS, "{is_} in no photo alone", "in no photo alone", "photos that show no other class would help"
    ),
}
"""Every kind of problem, in the order of harm."""


@dataclass(frozen=True)
class Finding:
    """One kind of problem and all classes affected by it.

    Attributes:
        kind: a key of `RULES`.
        classes: tuples of names: one class; a group that occurs together; or a class and those its photos also show.
        photos: number of photos of each; for `nearly_everywhere`, of photos that lack it.
        text: one human-readable line.
    """

    kind: str
    classes: tuple[tuple[str, ...], ...]
    photos: tuple[int, ...]

    @property
    def rule(self) -> Rule:
        return RULES[self.kind]

    @property
    def _head(self) -> str:
        one, what = len(self.classes) == 1, "group" if self.kind == "together" else "class"
        words = {"has": "has" if one else "have", "is_": "is" if one else "are", "come": "comes" if one else "come"}
        return f"{count(len(self.classes), what)} {self.rule.text.format(**words)}"

    @property
    def remedy(self) -> str:
        """One line without names: the number of classes and the advice."""
        return f"{self._head}: {self.rule.advice}"

    @property
    def text(self) -> str:
        several = self.kind in ("together", "implied")
        shown = [self._written(*pair) for pair in zip(self.classes, self.photos, strict=True)][:_SHOWN]
        names = ", ".join(shown)
        if not several and any(self.photos):
            names += f" ({', '.join(map(str, self.photos[:_SHOWN]))})"
        if len(self.classes) > _SHOWN:
            names += f" and {len(self.classes) - _SHOWN} more (pseudomask check lists all)"
        judged = "" if self.rule.verdict == WORKS else f"{self.rule.verdict}: "
        return f"{judged}{self._head}: {names}; {self.rule.advice}"

    def why(self, name: str) -> str:
        """The problem with one of its classes."""
        return self.rule.why.format(others=" and ".join(self.others(name)))

    def others(self, name: str) -> tuple[str, ...]:
        """The classes that one of its classes occurs with."""
        group = next(group for group in self.classes if self._tells(group, name))
        return tuple(one for one in group if one != name)

    def concerns(self, name: str) -> bool:
        """Whether a class has the problem."""
        return any(self._tells(group, name) for group in self.classes)

    def _tells(self, group: tuple[str, ...], name: str) -> bool:
        return name in group if self.kind == "together" else name == group[0]

    def _written(self, group: tuple[str, ...], photos: int) -> str:
        if self.kind == "together":
            return f"{' = '.join(group)} ({photos})"
        return group[0] if len(group) == 1 else f"{group[0]} ({photos}, with {' and '.join(group[1:])})"

    def to_json(self) -> dict[str, object]:
        groups = [list(group) for group in self.classes]
        return {"kind": self.kind, "classes": groups, "photos": list(self.photos), "text": self.text}


def verdict(findings: Sequence[Finding], name: str) -> str:
    """The worst verdict of any finding on a class."""
    return min((one.rule.verdict for one in findings if one.concerns(name)), key=VERDICTS.index, default=WORKS)


def examine(tags: np.ndarray, classes: Sequence[str], held_out: np.ndarray | None = None) -> list[Finding]:
    """Find problems with these tags that training cannot overcome: at most one finding per kind, worst first.

    Counts include held-out photos: their share is small, and users count all photos. A class with hardly any photos
    always occurs with whatever else they show, so it is reported only as `hardly_any`.

    Args:
        tags: (N, C) of 0 and 1, the photos to train on.
        held_out: (M, C), the held-out photos.
    """
    if not len(classes):
        return []
    trained = np.asarray(tags, np.float32)
    shown = trained if held_out is None else np.concatenate([trained, np.asarray(held_out, np.float32)])
    counts = shown.sum(0).astype(int)  # (C,)
    taught = trained.sum(0).astype(int)
    lacking, everywhere = len(shown) - counts, (taught == len(trained)) & (taught > 0)
    groups, implied, never_alone = _company(shown, counts)
    here = taught > 0
    found = {
        "absent": _single(counts == 0),
        "held_out": _single(~here & (counts > 0)),
        "hardly_any": _single(here & (counts < LIMITS.hopeless)),
        "everywhere": _single(everywhere),
        "together": groups,
        "nearly_everywhere": _single((counts >= LIMITS.few) & ~everywhere & (lacking < LIMITS.without)),
        "implied": implied,
        "few": _single(here & (counts >= LIMITS.hopeless) & (counts < LIMITS.few)),
        "never_alone": _single(never_alone),
    }
    return [
        Finding(
            kind,
            tuple(tuple(classes[c] for c in group) for group in found[kind]),
            tuple(int((lacking if kind == "nearly_everywhere" else counts)[group[0]]) for group in found[kind]),
        )
        for kind in RULES
        if found[kind]
    ]


def _company(shown: np.ndarray, counts: np.ndarray) -> tuple[list[list[int]], list[list[int]], np.ndarray]:
    """Groups of (nearly) equal columns; each class with those that (nearly) all its photos also show; and bool (C,):
    classes that never occur alone.

    Classes shown in every photo are ignored; each class or group is only in the first of the three that applies.
    """
    usual = (counts >= LIMITS.hopeless) & (counts < len(shown))
    pairs = shown.T @ shown  # (C, C): photos that show both
    within = (pairs >= LIMITS.together * counts[:, None]) & usual[:, None] & usual  # [a, b]: photos of a show b
    equal = within & within.T
    for _ in range(len(counts).bit_length()):  # a chain of equal classes is one group
        equal = equal @ equal
    first = equal.argmax(1)  # of the classes equal to it, itself included
    groups = [np.flatnonzero(equal[c]).tolist() for c in np.flatnonzero(usual) if first[c] == c and equal[c].sum() > 1]
    grouped = np.zeros(len(counts), bool)
    grouped[[c for group in groups for c in group]] = True
    others = within & ~equal
    implied = [[int(c), *np.flatnonzero(others[c]).tolist()] for c in np.flatnonzero(~grouped & others.any(1))]
    telling = shown * (counts < len(shown))
    alone = telling[telling.sum(1) == 1].sum(0)  # (C,)
    return groups, implied, usual & (counts >= LIMITS.few) & (alone == 0) & ~grouped & ~others.any(1)


def _single(which: np.ndarray) -> list[list[int]]:
    return [[int(c)] for c in np.flatnonzero(which)]
