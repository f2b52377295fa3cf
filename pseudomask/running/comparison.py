"""What has become of the photos whose masks are there when a run begins."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from pseudomask.errors import RecordMismatch
from pseudomask.running.inputs import Inputs, Line
from pseudomask.running.made import MadeFolder
from pseudomask.running.manifest import DONE, Entry


@dataclass
class Comparison:
    """What has become of the photos whose masks are there when a run begins.

    Attributes:
        gone: keys of photos that are gone, and whether they have a mask.
        changed: keys of photos that are not what their mask was made from, with their paths.
        others: how many masks are of photos that this run is not asked for.
        undated: how many were made by version 0.1.0, which noted nothing of the photo, and seem to be unchanged.
    """

    gone: dict[str, bool] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)
    others: int = 0
    undated: int = 0

    @property
    def lost(self) -> int:
        """How many masks are of photos that are gone."""
        return sum(self.gone.values())

    def news(self) -> Iterator[str]:
        """In words for people."""
        if any(self.gone.values()):
            lost = [key for key, made in self.gone.items() if made]
            yield f"--prune removes {len(lost)} masks of photos that are gone (first: {lost[0]})"
        if self.changed:
            first = next(iter(self.changed.values()))
            yield (
                f"{len(self.changed)} photos, or their tags or seeds, changed since their masks were made (first: "
                f"{first}); these masks are outdated, and this run remakes those it was asked for"
            )
        if self.others:
            yield f"{self.others} masks of photos outside this run are kept"
        if self.undated:
            yield (
                f"{self.undated} masks were made by a version that did not record their photos; photos that are not "
                "newer than their masks count as unchanged"
            )


def compare(
    made: MadeFolder, entries: Mapping[str, Entry], inputs: Inputs, *, own: Collection[str], prune: bool
) -> Comparison:
    """Compare the inputs of a folder's masks, as its manifest tells them, with those of today.

    Args:
        entries: status of each image by key.
        own: keys of the images that the run is asked for.

    Raises `RecordMismatch` where photos of masks are gone, unless they may be removed (`prune`).
    """
    lines = {entry["key"]: Line.of(entry) for entry in made.lines()}
    found = Comparison()
    for key, entry in entries.items():
        done = entry.get("status") == DONE
        if key not in inputs.keys:
            found.gone[key] = done
        elif done:
            line = lines[key]
            if not inputs.current(key, line, made.outputs(key).mask):
                found.changed[key] = key + line.suffix
            found.undated += line.photo is None and key not in found.changed
            found.others += key not in own
    lost = [key for key, done in found.gone.items() if done]
    if lost and not prune:
        raise RecordMismatch(
            f"{made.path} holds masks of {len(lost)} photos that are not {inputs.where} any more (first: {lost[0]})",
            advice="add --prune to remove these masks, or choose another output folder",
        )
    return found
