"""Find reasons to distrust masks without any true masks, from the manifest's lines alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from pseudomask.quoting import count, some
from pseudomask.running.manifest import DONE

FILLED = 0.95
"""Share of the photo from which one class, or all together, cover so much that no shape is left."""
MANY = 0.25
"""Share of masks from which a fault can no longer be blamed on individual photos."""
_LEAST = 3
"""Minimum number of affected masks for a share to be meaningful."""
_SHOWN = 3


@dataclass(frozen=True)
class Doubt:
    """One reason to distrust masks.

    Attributes:
        kind: `at_chance`, `fills`, `no_background`, `misses`, `no_class` or `threshold`.
        masks: number of masks that it may have spoiled.
        text: one line for people.
        classes: number of masks by class, worst first, if the doubt is about classes.
    """

    kind: str
    masks: int
    text: str
    classes: Mapping[str, int] = field(default_factory=dict)


@dataclass
class ClassCoverage:
    """Masks of the photos tagged with one class. `empty`: those where it has no pixels; `filled`: those where it covers
    the photo; `area`: the sum of its shares of the photos."""

    tagged: int = 0
    empty: int = 0
    filled: int = 0
    area: float = 0.0

    @property
    def spoiled(self) -> float:
        """Share of its masks in which it is missing or fills the photo."""
        return (self.empty + self.filled) / max(self.tagged, 1)


@dataclass
class Coverage:
    """How much of each photo the classes cover.

    Attributes:
        masks: number of masks; `without_class`: those of photos in which the classifier found no class; `with_empty`:
            those with a tag that has no pixels; `full`: those without background.
        classes: by name, every class that some photo is tagged with.
    """

    masks: int = 0
    without_class: int = 0
    with_empty: int = 0
    full: int = 0
    classes: dict[str, ClassCoverage] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Mapping[str, Any]]) -> Coverage:
        """The coverage of a manifest's entries, the last one per image; fields of an unexpected type are ignored."""
        found = cls()
        for entry in entries:
            if entry.get("status", DONE) == DONE:
                found._add(entry)
        return found

    def _add(self, entry: Mapping[str, Any]) -> None:
        shares = {name: share for name, share in _table(entry.get("area")).items() if _is_share(share)}
        empty = _names(entry.get("empty"))
        self.masks += 1
        self.with_empty += bool(empty)
        self.full += sum(shares.values()) >= FILLED
        names = _names(entry.get("classes"))
        self.without_class += not names and entry.get("tags") == "classifier"
        for name in names:
            one = self.classes.setdefault(name, ClassCoverage())
            one.tagged += 1
            one.empty += name in empty
            one.filled += shares.get(name, 0) >= FILLED
            one.area += shares.get(name, 0)

    def doubts(self, at_chance: Sequence[str] = (), rest: str = "pseudomask report lists all") -> list[Doubt]:
        """Reasons to distrust the masks, most harmful first.

        Args:
            at_chance: classes that the weights detect in held-out photos no better than chance.
            rest: says where the classes that a line leaves out are listed.
        """
        chance = {name: self.classes[name].tagged for name in at_chance if name in self.classes}
        fills = {name: one.filled for name, one in self.classes.items() if _is_usual(one.filled, one.tagged)}
        misses = {name: one.empty for name, one in self.classes.items() if one.empty}
        found = []
        if chance:
            found.append(
                _doubt("at_chance", sum(chance.values()), chance, "{}: no better than chance on held-out photos", rest)
            )
        if fills:
            found.append(_doubt("fills", sum(fills.values()), self._of(fills), "{}: fills the whole photo", rest))
        elif _is_usual(self.full, self.masks):
            found.append(Doubt("no_background", self.full, f"no background in {self._among(self.full)}"))
        if self.without_class:
            found.append(Doubt("no_class", self.without_class, f"no class found in {self._among(self.without_class)}"))
        if self.with_empty:
            text = f"tags without pixels in {self._among(self.with_empty)}: {{}}"
            found.append(_doubt("misses", self.with_empty, self._of(misses), text, rest))
        return in_order_of_harm(found)

    def _among(self, some_masks: int) -> str:
        return f"{some_masks:,} of {count(self.masks, 'mask')}"

    def _of(self, masks: Mapping[str, int]) -> dict[str, str]:
        return {name: f"{n} of {self.classes[name].tagged}" for name, n in masks.items()}


def in_order_of_harm(doubts: Iterable[Doubt]) -> list[Doubt]:
    """Those that may have spoiled most masks first."""
    return sorted(doubts, key=lambda one: -one.masks)


def _doubt(kind: str, masks: int, numbers: Mapping[str, int | str], text: str, rest: str) -> Doubt:
    """A doubt about classes; `numbers` has the masks of each class, as a number or as `N of TOTAL`."""
    first = {name: int(str(n).partition(" ")[0]) for name, n in numbers.items()}
    order = sorted(first, key=lambda name: (-first[name], name))
    named = some([f"{name} ({numbers[name]})" for name in order], _SHOWN, rest)
    return Doubt(kind, masks, text.format(named), {name: first[name] for name in order})


def _is_usual(masks: int, among: int) -> bool:
    return masks >= max(_LEAST, MANY * among)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _names(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _is_share(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 <= float(value) <= 1
