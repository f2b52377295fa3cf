"""What of a chain's data is there: told before any work, and with --partial the chain is cut down to it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pseudomask.chain.steps import Chain, DataPart, Step
from pseudomask.config.roles import deciding
from pseudomask.data.images import find_images, read_list
from pseudomask.data.names import Named, NameIndex, apart
from pseudomask.errors import UsageError
from pseudomask.quoting import count, listed
from pseudomask.running.atomic import atomic_text
from pseudomask.running.listing import find_files
from pseudomask.running.reporter import Reporter
from pseudomask.running.walking import walk

LISTS = "lists"
"""Where below `out` the lists of the photos that are there are written."""
ADVICE = "get the rest, or give --partial to run with what is there"


@dataclass(frozen=True)
class Part:
    """A part of the data as it was found: `found` files or names, None if it is missing; `problem`: in words."""

    part: DataPart
    found: int | None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        expected = {"path": str(self.part.path), "expected": self.part.count, "from": self.part.source}
        return expected | {"found": self.found, "problem": self.problem}


@dataclass
class Data:
    """What was found.

    Attributes:
        parts: of what the file expects.
        names: for each (step, setting) with a list of which some photos are missing, the names that are there.
        gaps: these lists in words.
        without: why a step cannot run, by its label.
    """

    parts: Sequence[Part] = ()
    names: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    without: dict[str, str] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        return [*(one.problem for one in self.parts if one.problem), *dict.fromkeys(self.gaps)]


def examine(chain: Chain) -> Data:
    """Count what is there of the data that the file expects, and find the steps that lack some of theirs.

    A file that expects nothing is not examined: there, a missing photo is an error of the step that needs it.
    """
    if not chain.data:
        return Data()
    data = Data([_found(part) for part in chain.data])
    files = _Files()
    made = {step.verb.product(step.config).resolve() for step in chain.steps}
    for step in chain.steps:
        lost = next(_missing(step, made), None)
        needed = next((label for label in step.needs if label in data.without), None)
        if lost is not None or needed is not None:
            data.without[step.label] = f"{lost} is missing" if lost is not None else data.without[str(needed)]
            continue
        for name in ("list", "val_list"):
            source = getattr(step.config, name, None)
            if source is not None and str(source) != "-":
                _examine_list(chain, step, name, source, files, data)
    return data


def _examine_list(chain: Chain, step: Step, name: str, source: Path, files: _Files, data: Data) -> None:
    names = read_list(source)
    folder, index = files.of(step)
    kept = [one for one in names if index.find(one)]
    what = "true mask" if step.verb.name == "evaluate" else "photo"
    if len(kept) < len(names):
        some = next(iter(index), None)
        why = f": {apart(names[0], some.relative)}" if not kept and some is not None else ""
        data.gaps.append(f"{source}: {len(kept):,} of {count(len(names), 'name')} have a {what} in {folder}{why}")
    if step.verb.name == "evaluate":  # and a prediction, which there is only for photos
        masked = _masked(chain, step, data)
        kept = kept if masked is None else [one for one in kept if one in masked]
    if len(kept) == len(names):
        return
    data.names[step.label, name] = kept
    if not kept and name == "list":
        data.without[step.label] = f"{source} names nothing that is there"


def _masked(chain: Chain, step: Step, data: Data) -> set[str] | None:
    """The names whose masks an evaluation is of; None if these are all photos of a folder."""
    by_label = {one.label: one for one in chain.steps}
    ahead = [*step.needs]
    while ahead:
        one = by_label[ahead.pop()]
        source = getattr(one.config, "list", None)
        if one.verb.name in ("extract", "predict"):
            kept = data.names.get((one.label, "list"))
            return set(kept) if kept is not None else set(read_list(source)) if source is not None else None
        ahead += one.needs
    return None


def _missing(step: Step, made: set[Path]) -> Iterator[Path]:
    """The inputs of a step that are not there and that no step makes."""
    for name in deciding(type(step.config), roles=("place",)):
        value = getattr(step.config, name)
        known = name == step.verb.writes or name in ("weights", "backbone_weights") or str(value) == "-"
        if isinstance(value, Path) and not known and value.resolve() not in made and not value.exists():
            yield value


class _Files:
    """The photos of folders, or the true masks, each folder listed once."""

    def __init__(self) -> None:
        self._known: dict[Path, NameIndex[Named]] = {}

    def of(self, step: Step) -> tuple[Path, NameIndex[Named]]:
        if step.verb.name == "evaluate":
            return step.config.gt, self._index(step.config.gt, lambda folder: find_files(folder, ".png"))
        return step.config.images, self._index(step.config.images, find_images)

    def _index(self, folder: Path, find: Callable[[Path], Sequence[Named]]) -> NameIndex[Named]:
        if folder not in self._known:
            self._known[folder] = NameIndex(find(folder) if folder.is_dir() else ())
        return self._known[folder]


def _found(part: DataPart) -> Part:
    path = part.path
    if not path.exists():
        return Part(part, None, f"{path}: missing{_other_year(path)}{_got(part)}")
    if part.count is None:
        return Part(part, None)
    is_folder = path.is_dir()
    number = sum(1 for _ in walk(path)) if is_folder else len(read_list(path))
    enough = number >= part.count if is_folder else number == part.count
    if enough:
        return Part(part, number)
    what = count(part.count, "file" if is_folder else "name")
    told = f"{number:,} of {what}" if number < part.count else f"{number:,} names instead of {part.count:,}"
    return Part(part, number, f"{path}: {told}{_got(part)}")


def _got(part: DataPart) -> str:
    return f" (from {part.source})" if part.source else ""


def _other_year(path: Path) -> str:
    """Files or folders of the same name but of another year, which are other photos."""
    pattern = re.sub(r"(19|20)\d\d", "[12][0-9][0-9][0-9]", path.name)
    others = sorted(one.name for one in path.parent.glob(pattern)) if pattern != path.name else []
    return f"; {listed(others)} is of another year, with other photos" if others else ""


def report(data: Data, reporter: Reporter) -> None:
    """Say what is missing and what is left out for it."""
    for problem in data.problems:
        reporter.warn(problem)
    whys: dict[str, list[str]] = {}
    for label, why in data.without.items():
        whys.setdefault(why, []).append(label)
    for why, labels in whys.items():
        reporter.warn(f"because {why}, left out: {', '.join(labels)}")


def cut_down(chain: Chain, data: Data, *, write: bool) -> Chain:
    """The chain without the steps that lack their data, and with the names that are there as its lists.

    `write`: write these lists below `out`; without it, where they are not yet there, they are in a temporary folder.
    Raises `UsageError` if no step is left.
    """
    steps = [step for step in chain.steps if step.label not in data.without]
    if not steps:
        raise UsageError(f"{chain.file}: there is no data for any step")
    names = {key: some for key, some in data.names.items() if key[0] not in data.without}
    texts = {key: "".join(f"{one}\n" for one in some) for key, some in names.items()}
    paths = {key: chain.out / LISTS / f"{key[0].replace(' ', '-')}.{key[1]}.txt" for key in names}
    if not write and any(not _holds(path, texts[key]) for key, path in paths.items()):
        paths = {key: _passing() / path.name for key, path in paths.items()}
    for key, path in paths.items():
        if names[key] and not _holds(path, texts[key]):
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_text(path, texts[key])
    cut = []
    for step in steps:
        own = {name: some for (label, name), some in names.items() if label == step.label}
        changes = {name: paths[step.label, name] if some else None for name, some in own.items()}
        cut.append(replace(step, config=replace(step.config, **changes)))
    return replace(chain, steps=tuple(cut), partial=True)


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode("utf-8", "surrogateescape")


def _passing() -> Path:
    """A folder that is removed when the program ends."""
    if not _TEMPORARY:
        _TEMPORARY.append(tempfile.TemporaryDirectory(prefix="pseudomask-lists-"))
    return Path(_TEMPORARY[0].name)


_TEMPORARY: list[Any] = []
