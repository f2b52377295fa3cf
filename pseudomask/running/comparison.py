"""Compare the photos that existing masks were made from with the photos as they are now."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from pseudomask.errors import RecordMismatch
from pseudomask.quoting import count
from pseudomask.running.inputs import Inputs, Line
from pseudomask.running.made import MadeFolder
from pseudomask.running.manifest import DONE, Entry

_ASKED, _THREADS = 64, 16


@dataclass
class Comparison:
    """The photos of existing masks, in their state when a run starts.

    Attributes:
        gone: keys of photos that no longer exist, and whether they have a mask.
        changed: keys and paths of photos that have changed since their masks were made.
        others: number of masks whose photos are outside this run.
        undated: number of masks made by version 0.1.0, which recorded nothing about photos; these seem to be unchanged.
        settings: differences between the settings of the masks and this run's, if they are to be remade for that.
    """

    gone: dict[str, bool] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    others: int = 0
    undated: int = 0
    settings: Sequence[str] = ()

    @property
    def lost(self) -> int:
        """Number of masks whose photos are gone."""
        return sum(self.gone.values())

    def messages(self) -> Iterator[str]:
        """The messages to report."""
        if lost := [key for key, done in self.gone.items() if done]:
            yield f"--prune removes {count(len(lost), 'mask')} of photos that are gone (first: {lost[0]})"
        if self.settings:
            masks = count(len(self.changed), "mask")
            yield f"--update remakes {masks} made with other settings: {'; '.join(self.settings)}"
        elif self.changed:
            first = next(iter(self.changed.values()))
            yield (
                f"{count(len(self.changed), 'photo')} changed (or tags or seeds did) since the masks were made (first: "
                f"{first}); these masks are outdated, and those in this run are remade"
            )
        if self.others:
            yield f"keeping {count(self.others, 'mask')} of photos outside this run"
        if self.undated:
            yield (
                f"{count(self.undated, 'mask')} by a version that did not record photos; photos that are not newer "
                "than their masks count as unchanged"
            )


def compare(
    made: MadeFolder,
    entries: Mapping[str, Entry],
    inputs: Inputs,
    *,
    own: Collection[str],
    prune: bool,
    settings: Sequence[str] = (),
) -> Comparison:
    """Compare the inputs recorded in a folder's manifest with the current ones.

    Args:
        entries: status of each image by key.
        own: keys of the images in this run.
        settings: differences in settings; if there are any, all masks count as changed.

    Raises `RecordMismatch` if masks have lost their photos, unless such masks may be removed (`prune`).
    """
    lines = {entry["key"]: Line.of(entry) for entry in made.lines()}
    found = Comparison(settings=settings)
    asked = [key for key, entry in entries.items() if entry.get("status") == DONE and key in inputs.keys]
    current = {} if settings else _current(made, inputs, [(key, lines[key]) for key in asked])
    for key, entry in entries.items():
        done = entry.get("status") == DONE
        if key not in inputs.keys:
            found.gone[key] = done
        elif done:
            line = lines[key]
            if settings or not current[key]:
                found.changed[key] = key + line.suffix
            found.undated += line.photo is None and key not in found.changed
            found.others += key not in own
    lost = [key for key, done in found.gone.items() if done]
    if lost and not prune:
        raise RecordMismatch(
            f"{made.path} contains masks of {count(len(lost), 'photo')} no longer {inputs.where} (first: {lost[0]})",
            advice="add --prune to remove these masks, or choose another output folder",
        )
    return found


def _current(made: MadeFolder, inputs: Inputs, lines: Sequence[tuple[str, Line]]) -> dict[str, bool]:
    """Whether each mask is up to date. Threads ask, as each answer of a network's file system takes milliseconds."""

    def ask(some: Sequence[tuple[str, Line]]) -> list[tuple[str, bool]]:
        return [(key, inputs.current(key, line, made.outputs(key).mask)) for key, line in some]

    parts = [lines[start : start + _ASKED] for start in range(0, len(lines), _ASKED)]
    if len(parts) < 2:
        return dict(ask(lines))
    with ThreadPoolExecutor(_THREADS) as pool:
        return dict(pair for part in pool.map(ask, parts) for pair in part)
