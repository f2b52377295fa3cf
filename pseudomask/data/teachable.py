"""Find tags from which a class cannot be learned, in the matrix of photos and classes, before any training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pseudomask.quoting import count

FEW = 20
"""With fewer photos of a class, or fewer without it, a classifier can hardly learn the class."""
_SHOWN = 8

# Verbs in braces agree with the number of classes.
_TEXTS = {
    "absent": "{has} no photo: {names}; add photos, or leave it out",
    "held_out": "{has} no photo to train on, because all are held out: {names}; choose others with --val-list, or give "
    "--val-fraction 0",
    "few": "{has} fewer than 20 photos: {names}",
    "everywhere": "{is_} in every photo: {names}; it cannot be told from its surroundings, so add photos without it",
    "nearly_everywhere": "{is_} in all but fewer than 20 photos: {names}; add photos without it",
    "together": "of classes always {come} together: {names}; they cannot be told apart, so add photos of one without "
    "the other, or merge them",
    "implied": "{is_} only in photos of another class: {names}; add photos without the other class, or leave it out",
    "never_alone": "{is_} in no photo alone: {names}; add photos that show no other class",
}


@dataclass(frozen=True)
class Finding:
    """One kind of problem, with all classes that have it.

    Attributes:
        kind: `absent`, `held_out`, `few`, `everywhere`, `nearly_everywhere`, `together`, `implied` or `never_alone`.
        classes: names: of one class; of a group that always comes together; of a class and what its photos also show.
        photos: how many photos each has; for `held_out` how many are held out, for `nearly_everywhere` how many lack
            it.
        text: one line for people.
    """

    kind: str
    classes: tuple[tuple[str, ...], ...]
    photos: tuple[int, ...]

    @property
    def text(self) -> str:
        one, several = len(self.classes) == 1, self.kind in ("together", "implied")
        shown = [self._written(*pair) for pair in zip(self.classes, self.photos, strict=True)][:_SHOWN]
        names = ", ".join(shown)
        if not several and any(self.photos):
            names += f" ({', '.join(map(str, self.photos[:_SHOWN]))})"
        if len(self.classes) > _SHOWN:
            names += f" and {len(self.classes) - _SHOWN} more (--json lists all)"
        number = count(len(self.classes), "group" if self.kind == "together" else "class")
        words = {"has": "has" if one else "have", "is_": "is" if one else "are", "come": "comes" if one else "come"}
        return f"{number} {_TEXTS[self.kind].format(names=names, **words)}"

    def _written(self, group: tuple[str, ...], photos: int) -> str:
        if self.kind == "together":
            return f"{' = '.join(group)} ({photos})"
        return group[0] if len(group) == 1 else f"{group[0]} ({photos}, always with {' and '.join(group[1:])})"

    def to_json(self) -> dict[str, object]:
        groups = [list(group) for group in self.classes]
        return {"kind": self.kind, "classes": groups, "photos": list(self.photos), "text": self.text}


def examine(tags: np.ndarray, classes: Sequence[str], held_out: np.ndarray | None = None) -> list[Finding]:
    """The problems of these tags that training cannot solve: at most one finding per kind.

    A class with a single photo always comes with what else the photo shows; it is reported as `few` only.

    Args:
        tags: (N, C) of 0 and 1, the photos to train on.
        held_out: (M, C), the held-out photos.
    """
    if not len(classes):
        return []
    shown = np.asarray(tags, np.float32)
    counts = shown.sum(0).astype(int)  # (C,)
    lacking = len(shown) - counts
    elsewhere = np.zeros_like(counts) if held_out is None else np.asarray(held_out).sum(0).astype(int)
    groups, implied, never_alone = _company(shown, counts)
    here = counts > 0
    found = [
        _single("absent", ~here & (elsewhere == 0), counts, classes),
        _single("held_out", ~here & (elsewhere > 0), elsewhere, classes),
        _single("few", here & (counts < FEW), counts, classes),
        _single("everywhere", here & (lacking == 0), counts, classes),
        _single("nearly_everywhere", (counts >= FEW) & (lacking > 0) & (lacking < FEW), lacking, classes),
        _several("together", groups, counts, classes),
        _several("implied", implied, counts, classes),
        _single("never_alone", never_alone, counts, classes),
    ]
    return [finding for finding in found if finding.classes]


def _company(shown: np.ndarray, counts: np.ndarray) -> tuple[list[list[int]], list[list[int]], np.ndarray]:
    """Groups of equal columns; each class with the classes that all its photos also show; those never alone (C,).

    A class in every photo does not count as company; each class or group is in the first of the three that applies.
    """
    usual = (counts > 1) & (counts < len(shown))
    pairs = shown.T @ shown  # (C, C): photos that show both
    within = (pairs == counts[:, None]) & usual[:, None] & usual  # [a, b]: all photos of a show b
    equal = within & within.T
    first = equal.argmax(1)  # of those equal to it, itself included
    groups = [np.flatnonzero(equal[c]).tolist() for c in np.flatnonzero(usual) if first[c] == c and equal[c].sum() > 1]
    grouped = np.zeros(len(counts), bool)
    grouped[[c for group in groups for c in group]] = True
    others = within & ~equal
    implied = [[int(c), *np.flatnonzero(others[c]).tolist()] for c in np.flatnonzero(~grouped & others.any(1))]
    telling = shown * (counts < len(shown))
    alone = telling[telling.sum(1) == 1].sum(0)  # (C,)
    return groups, implied, usual & (counts >= FEW) & (alone == 0) & ~grouped & ~others.any(1)


def _single(kind: str, which: np.ndarray, counts: np.ndarray, classes: Sequence[str]) -> Finding:
    return _several(kind, [[int(c)] for c in np.flatnonzero(which)], counts, classes)


def _several(kind: str, groups: Sequence[Sequence[int]], counts: np.ndarray, classes: Sequence[str]) -> Finding:
    names = tuple(tuple(classes[c] for c in group) for group in groups)
    return Finding(kind, names, tuple(int(counts[group[0]]) for group in groups))
