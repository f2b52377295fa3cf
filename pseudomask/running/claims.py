"""Share a job's work by a counter: each process claims a block when it is ready, so that a slow one delays none."""

from __future__ import annotations

from collections.abc import Iterator

from pseudomask.running.ranks import Ranks, connection_errors_in_one_line

_PIECES = 4  # a block is at most this part of what each process would have to do yet


def claims(team: Ranks, count: int, most: int) -> Iterator[int]:
    """The positions below `count` that this process does; together, the processes get each exactly once.

    They are claimed in blocks of neighbours, `most` long and fewer towards the end, as they are asked for.
    All processes must call it, with the same arguments.
    """
    if team.alone:
        return iter(range(count))
    return _claimed(team, team.fresh(), _borders(count, team.world, most))


def _claimed(team: Ranks, name: str, borders: list[int]) -> Iterator[int]:
    while True:
        with connection_errors_in_one_line():
            block = team.store.add(f"{name}/next", 1)
        if block >= len(borders):
            return
        yield from range(borders[block - 1], borders[block])


def _borders(count: int, world: int, most: int) -> list[int]:
    borders = [0]
    while (left := count - borders[-1]) > 0:
        borders.append(borders[-1] + max(1, min(most, left // (_PIECES * world))))
    return borders


class Tally:
    """A count to which all processes add. All must create it, in the same order as all else that they share."""

    def __init__(self, team: Ranks) -> None:
        self.team, self.seen = team, 0
        self.name = "" if team.alone else f"{team.fresh()}/tally"

    def add(self, n: int = 0) -> int:
        """Count `n` more; return what all have counted since this process asked last."""
        if self.team.alone:
            return n
        with connection_errors_in_one_line():
            before, self.seen = self.seen, self.team.store.add(self.name, n)
        return self.seen - before
