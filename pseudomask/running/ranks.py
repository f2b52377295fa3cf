"""The processes of one `torchrun`: which one this is, and how they wait for and talk to each other.

Messages go through torch.distributed's store as bytes that are never unpickled. A process that torchrun did
not start is alone: it does all the work, never waits and imports nothing.
"""

from __future__ import annotations

import itertools
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from pseudomask.errors import PseudomaskError, UsageError, error_from_json, error_to_json
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.running.signals import Stop

if TYPE_CHECKING:
    from torch.distributed import Store

Item = TypeVar("Item")

_POLL = 0.02  # seconds between two polls of the store


@dataclass(frozen=True)
class Ranks:
    """This process and its place in the team.

    Attributes:
        rank: 0 to world − 1; rank 0 writes the files that exist once.
        local: the rank among the `here` processes on this machine, which is also the index of its GPU.
        attempt: how often torchrun has restarted this machine's processes after a failure.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    here: int = 1
    attempt: int = 0
    _count: Iterator[int] = field(default_factory=itertools.count, compare=False, repr=False)

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def alone(self) -> bool:
        return self.world == 1

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every world-th item from the rank-th on, for steps that all take together; see also `claims`."""
        return items if self.alone else items[self.rank :: self.world]

    def anew(self, overwrite: bool) -> bool:
        """Whether to start over; a team restarted by torchrun resumes, even with --overwrite."""
        return overwrite and not any(map(int, self.gather(str(self.attempt).encode())))

    def once(self, reporter: Reporter) -> Reporter:
        """A reporter for messages that are the same in all processes, so that only rank 0 shows them."""
        return reporter if self.first else SilentReporter()

    def label(self, text: str) -> str:
        """The label of a progress bar that counts only this process's share."""
        return text if self.alone else f"{text}, process {self.rank} of {self.world}"

    def common_label(self, text: str) -> str:
        """The label of one that counts what all processes have done (`claims.Tally`)."""
        return text if self.alone else f"{text}, {self.world} processes"

    def fresh(self) -> str:
        """An unused name in the store; all processes get the same one, because they ask in the same order."""
        return str(next(self._count))

    def gather(
        self, data: bytes, stop: Stop | None = None, meanwhile: Callable[[], object] = lambda: None
    ) -> list[bytes]:
        """Wait for all processes and return their data by rank; only this process's own once `stop` is requested.

        `meanwhile` is called again and again while this process waits.
        """
        if self.alone:
            return [data]
        name = self.fresh()
        with connection_errors_in_one_line():
            self.store.set(f"{name}/{self.rank}", zlib.compress(data, 1).hex())  # the store takes text
            keys = [f"{name}/{rank}" for rank in range(self.world)]
            if not _until(lambda: self.store.check(keys), stop, meanwhile):
                return [data]
            found = [zlib.decompress(bytes.fromhex(self.store.get(key).decode())) for key in keys]
            self.store.add(f"{name}/seen", 1)
            # Rank 0 may host the store, so it must leave last.
            if self.first:
                _until(lambda: self.store.add(f"{name}/seen", 0) == self.world, stop)
            return found

    def broadcast(self, value: Any, stop: Stop | None = None) -> Any:
        """Rank 0's value, which must be plain JSON; this process's own once `stop` is requested."""
        if self.alone:
            return value
        data = self.gather(json.dumps(value).encode() if self.first else b"", stop)[0]
        return json.loads(data) if data else value

    def by_first(self, make: Callable[[], Any], stop: Stop | None = None) -> Any:
        """What `make` returns in rank 0, the only one that calls it; it must be plain JSON. None once stopped.

        If it raises a `PseudomaskError` there, the same error is raised in all processes.
        """
        if self.alone:
            return make()
        if not self.first:
            told = self.broadcast(None, stop) or {"made": None}
            if "failed" in told:
                raise error_from_json(told["failed"])
            return told["made"]
        try:
            made = make()
        except PseudomaskError as error:
            self.broadcast({"failed": error_to_json(error)}, stop)
            raise
        self.broadcast({"made": made}, stop)
        return made

    def wait(self, stop: Stop | None = None, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until all processes have arrived or `stop` is requested."""
        self.gather(b"", stop, meanwhile)

    @cached_property
    def store(self) -> Store:
        """torchrun's store at MASTER_ADDR and MASTER_PORT, with a key prefix that only these processes use."""
        from torch import distributed

        with connection_errors_in_one_line():
            store, *_ = next(distributed.rendezvous("env://"))
            return distributed.PrefixStore(agree_on_prefix(store, self.rank, self.world), store)


ALONE = Ranks()


@cache
def ranks() -> Ranks:
    """This process, from torchrun's variables RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return ALONE
    rank, world = _number("RANK", 0), _number("WORLD_SIZE", 1)
    local, here = _number("LOCAL_RANK", rank), _number("LOCAL_WORLD_SIZE", 1)
    if not 0 <= rank < world:
        raise UsageError(f"RANK {rank} must be below WORLD_SIZE {world}; start the processes with torchrun")
    return Ranks(rank, world, local, here, _number("TORCHELASTIC_RESTART_COUNT", 0))


def agree_on_prefix(store: Store, rank: int, world: int) -> str:
    """Agree on a fresh key prefix, because after a restart the store may still hold values of the last attempt.

    Each process publishes a random token and takes the prefix from rank 0 once rank 0 has seen that token.
    """
    own = os.urandom(8).hex()
    if rank:
        store.set(f"token/{rank}", own)
        while not store.check(["offer"]) or (offer := json.loads(store.get("offer")))["tokens"].get(str(rank)) != own:
            time.sleep(_POLL)
        store.add(f"{offer['prefix']}/agreed", 1)
        return str(offer["prefix"])
    while store.add(f"{own}/agreed", 0) < world - 1:
        keys = {str(other): f"token/{other}" for other in range(1, world)}
        tokens = {other: store.get(key).decode() for other, key in keys.items() if store.check([key])}
        store.set("offer", json.dumps({"prefix": own, "tokens": tokens}))
        time.sleep(_POLL)
    return own


def error_prefix() -> str:
    """The prefix of an error message if there are several processes: `process 1: `."""
    several = "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
    return f"process {os.environ['RANK']}: " if several else ""


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal():
        raise UsageError(f"the variable {name}={text!r} is not a number; start the processes with torchrun")
    return int(text)


def _until(true: Callable[[], bool], stop: Stop | None, meanwhile: Callable[[], object] = lambda: None) -> bool:
    """Wait in Python, because a process waiting inside the store would receive no signals."""
    while not true():
        if stop is not None and stop.requested:
            return False
        meanwhile()
        time.sleep(_POLL)
    return True


@contextmanager
def connection_errors_in_one_line() -> Iterator[None]:
    """Errors of the store as a `PseudomaskError`."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise PseudomaskError(
            f"the other processes of this job cannot be reached ({reason}); run the same command again to resume"
        ) from error
