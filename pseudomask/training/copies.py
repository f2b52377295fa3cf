"""Held-out photos that are (nearly) the same as one that is trained on, before a training."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pseudomask.data.images import ImagePaths
from pseudomask.data.reading import Reading
from pseudomask.quoting import count
from pseudomask.running.reporter import SilentReporter
from pseudomask.training.duplicates import groups
from pseudomask.training.glancing import look
from pseudomask.training.split import Split

MOST_SECONDS = 15.0
"""A training does not wait longer than this for the search."""
_TRIED = 48
"""Photos on which the time of the search is estimated."""


@dataclass(frozen=True)
class Copies:
    """What a search found.

    Attributes:
        names: the held-out photos that have a duplicate among those trained on.
        seconds: how long the search would have taken, where it was too long; `names` is then empty.
    """

    names: tuple[str, ...] = ()
    seconds: float = 0.0

    def told(self, held_out: int) -> str:
        """One line for people; "" if nothing was found."""
        if self.seconds:
            return (
                "held-out photos were not compared with those to train on, which would take "
                f"{max(1, round(self.seconds / 60))} min; `pseudomask check` does it"
            )
        if not self.names:
            return ""
        return (
            f"{len(self.names):,} of {count(held_out, 'held-out photo')} (nearly) the same as one that is trained on "
            f"(first: {self.names[0]}), so that the held-out measures flatter; `pseudomask check` lists all"
        )


def find_copies(split: Split, reading: Reading, threads: int) -> Copies:
    """Compare held-out photos with those to train on, if that takes at most about `MOST_SECONDS`."""
    if not split.held_out.items:
        return Copies()
    items = [*split.training.items, *split.held_out.items]
    step = max(1, len(items) // _TRIED)
    started = time.monotonic()
    sample = items[::step]
    look(ImagePaths(sample), reading, decode=True, threads=threads, reporter=SilentReporter())
    expected = (time.monotonic() - started) * len(items) / len(sample)
    if expected > MOST_SECONDS:
        return Copies(seconds=expected)
    seen = look(ImagePaths(items), reading, decode=True, threads=threads, reporter=SilentReporter())
    assert seen.small is not None
    readable = seen.readable
    found = across((readable[group].tolist() for group in groups(seen.small[readable])), len(split.training.items))
    return Copies(tuple(items[i].relative for i in found))


def across(duplicates: Iterable[Sequence[int]], held_from: int) -> list[int]:
    """Positions of held-out photos in groups that also have one to train on; held-out ones start at `held_from`."""
    mixed = (group for group in duplicates if min(group) < held_from)
    return sorted(i for group in mixed for i in group if i >= held_from)
