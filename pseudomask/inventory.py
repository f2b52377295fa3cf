"""The verb `weights`: which weights are here, what they know, and a search among their classes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudomask import vocabulary
from pseudomask.config import WeightsConfig
from pseudomask.errors import UsageError, WeightsError
from pseudomask.networks.card import AFFINITY, Card
from pseudomask.networks.checkpoint import read_card
from pseudomask.networks.edge_weights import bundled_head
from pseudomask.networks.store import NAMED, VARIABLE, bundled, bundled_heads, cached_backbones, find_weights
from pseudomask.quoting import count, listed
from pseudomask.running.jsonable import jsonable
from pseudomask.running.record import hash_file
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.running.shown import Shown
from pseudomask.suggest import did_you_mean, nearest

_MOST = 20
"""Found classes that are shown; `--json` has all of them."""
_WIDEST = 80


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One weights file, or a downloaded backbone, which has no card.

    Attributes:
        name: what `--weights`, `--affinity` or `--backbone` takes.
        size: in bytes.
        head: the boundary head bundled for its backbone.
    """

    name: str
    path: Path
    size: int
    card: Card | None = None
    head: Path | None = None

    @property
    def holds(self) -> str:
        if self.card is None:
            return "backbone"
        return "boundary head" if self.card.method == AFFINITY else self.card.method


@dataclass(frozen=True, kw_only=True)
class Found:
    """A class, or a kind of classes, that a search has found: its name and the classes of the weights that it is."""

    weights: str
    name: str
    classes: tuple[str, ...]


@dataclass(kw_only=True)
class WeightsResult(Shown):
    """The result of `weights`.

    Attributes:
        stored: the weights that are here, or the one that was named.
        word: the word that was searched; `found`: the classes with it.
        near: names that are nearest to the word, if none has it.
        detailed: whether one was named, so that its card is shown.
    """

    stored: list[Stored] = field(default_factory=list)
    word: str | None = None
    found: list[Found] = field(default_factory=list)
    near: list[str] = field(default_factory=list)
    detailed: bool = False
    exit_code: int = 0

    def table(self) -> tuple[list[str], list[list[str]]] | None:
        if self.word is not None and not self.found:
            return None
        if self.word is not None:
            found = [[one.weights, one.name, _classes(one)] for one in self.found[:_MOST]]
            widths = [max((len(row[i]) for row in found), default=0) for i in (0, 1)]
            room = max(20, _WIDEST - 4 - sum(widths))
            return ["weights", "tag", "classes"], [[a, b, _cut(c, room)] for a, b, c in found]
        if self.detailed:
            return None
        header = ["name", "holds", "classes", "boundaries", "licence", "MB"]
        return header, [_row(one) for one in self.stored]

    def notes(self) -> list[str]:
        if self.word is None:
            return [] if self.detailed else ["pseudomask weights NAME shows a card, --classes WORD searches classes"]
        if not self.found:
            near = f"; the nearest names are {', '.join(self.near)}" if self.near else ""
            return [f"no class of {', '.join(one.name for one in self.stored)} has {self.word!r} in its name{near}"]
        left = len(self.found) - _MOST
        return [f"and {count(left, 'name')} more (--json has all)"] if left > 0 else []

    def summary(self) -> list[tuple[str, object]]:
        return list(_card_rows(self.stored[0])) if self.detailed else []

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = jsonable({"schema": 1, **self.__dict__})
        return plain


def weights(config: WeightsConfig, reporter: Reporter | None = None) -> WeightsResult:
    """List weights, show a card, or search the classes (see `WeightsConfig`).

    Raises `UsageError` for a name that nothing here has, `WeightsError` for a damaged file.
    """
    reporter = reporter or SilentReporter()
    stored = list(_all(reporter)) if config.name is None else [_named(config.name)]
    result = WeightsResult(stored=stored, detailed=config.name is not None and config.classes is None)
    if config.classes is not None:
        if not vocabulary.fold(config.classes):
            raise UsageError(f"--classes {config.classes!r}: give a word, such as dog")
        result.word = config.classes
        result.stored = [one for one in stored if one.card is not None and one.card.method != AFFINITY]
        result.found = [found for one in result.stored for found in _search(one, config.classes)]
        if not result.found:
            result.near = _nearest(config.classes, result.stored)
    return result


def _all(reporter: Reporter) -> Iterator[Stored]:
    for name, file in NAMED.items():
        try:
            yield _stored(name, bundled(file))
        except WeightsError as error:
            reporter.warn(str(error))
    variable = os.environ.get(VARIABLE)
    if variable:
        try:
            yield _stored(variable, find_weights(None))
        except WeightsError as error:
            reporter.warn(str(error))
    for head in bundled_heads():
        yield _stored(head.stem, head)
    for name, path in cached_backbones().items():
        yield Stored(name=name, path=path, size=_size(path))


def _named(name: str) -> Stored:
    heads = {head.stem: head for head in bundled_heads()}
    if not Path(name).is_file():
        cached = cached_backbones()
        if name in cached:
            return Stored(name=name, path=cached[name], size=_size(cached[name]))
        if name in heads:
            return _stored(name, heads[name])
        if name not in NAMED:
            known = [*NAMED, *heads, *cached]
            near = did_you_mean(name, known)
            raise UsageError(f"{name}: no such file, nor weights of that name{near}; there are {', '.join(known)}")
    return _stored(name, find_weights(Path(name)))


def _stored(name: str, path: Path) -> Stored:
    card = read_card(path)
    head = None if card.method == AFFINITY else bundled_head(path)
    return Stored(name=name, path=path, size=_size(path), card=card, head=head)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [one for one in path.glob("blobs/*") if one.is_file()]
    return sum(one.stat().st_size for one in files)


def _search(stored: Stored, word: str) -> Iterator[Found]:
    """The classes with `word` in their names; where tags are looked up in a vocabulary, first what the word means."""
    assert stored.card is not None
    names = stored.card.classes
    wanted = vocabulary.fold(word)
    meaning = vocabulary.meaning(word) if stored.card.vocabulary else None
    if meaning is not None:
        yield Found(weights=stored.name, name=word, classes=tuple(names[i] for i in meaning.classes))
    for name in names:
        if wanted in vocabulary.fold(name) and not (meaning is not None and vocabulary.fold(name) == wanted):
            yield Found(weights=stored.name, name=name, classes=(name,))


def _nearest(word: str, stored: Sequence[Stored]) -> list[str]:
    cards = [one.card for one in stored if one.card is not None]
    if any(card.vocabulary for card in cards):
        return vocabulary.nearest(word)
    near = nearest(word, {name for card in cards for name in card.classes})
    return [near] if near else []


def _row(one: Stored) -> list[str]:
    classes = f"{len(one.card.classes)}" if one.card else "-"
    boundaries = "-" if one.card is None or one.card.method == AFFINITY else "yes" if one.head else "no"
    return [one.name, one.holds, classes, boundaries, _licence(one.card), f"{one.size / 1e6:.1f}"]


def _licence(card: Card | None) -> str:
    """The licence's name, without its remarks."""
    return card.license.partition(";")[0][:14] if card else "-"


def _card_rows(one: Stored) -> Iterator[tuple[str, object]]:
    yield "file", str(one.path)
    yield "size", f"{one.size / 1e6:.1f} MB"
    if one.card is None:
        yield "holds", "a downloaded backbone, for train-cls --backbone"
        return
    card = one.card
    yield "sha256", hash_file(one.path)
    yield "holds", f"{one.holds}, {card.backbone}, {card.style} strides, output stride {card.output_stride}"
    yield "classes", f"{len(card.classes):,}: {listed(card.classes, 20)}"
    if card.method != AFFINITY:
        yield "boundary head", str(one.head or "none; extract refines with the CRF alone")
    yield "licence", card.license
    data = card.training.get("data") or card.training.get("source")
    if data:
        yield "trained on", str(data)
    for name, value in card.thresholds.items():
        yield f"threshold, {name}", f"{value:g}"
    for entry in card.measured:
        yield str(entry.get("what", "measured")), f"{entry.get('value')} ({entry.get('protocol')})"
    if card.notes:
        yield "notes", card.notes


def _classes(one: Found) -> str:
    return f"{len(one.classes)}: {', '.join(one.classes[:4])}{', …' if len(one.classes) > 4 else ''}"


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 1].rstrip(', ')}…"
