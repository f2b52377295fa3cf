"""What the processes of a torchrun tell each other; here they are threads with one store."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tiny import Ear
from torch.distributed import HashStore

from pseudomask.errors import LabelError, PseudomaskError, UsageError
from pseudomask.running import machine
from pseudomask.running.ranks import ALONE, Ranks, agree_on_prefix, error_prefix, ranks
from pseudomask.running.signals import Stop


def together(work: Callable[[Ranks], Any], attempts: tuple[int, ...] = (0, 0, 0)) -> list[Any]:
    """What `work` returns in each process."""
    store, world = HashStore(), len(attempts)
    jobs = [Ranks(rank, world, attempt=attempt) for rank, attempt in enumerate(attempts)]
    for job in jobs:
        job.__dict__["store"] = store
    with ThreadPoolExecutor(world) as pool:
        return list(pool.map(work, jobs))


def test_alone() -> None:
    assert ranks() == ALONE
    assert ALONE.first
    assert ALONE.share([1, 2, 3]) == [1, 2, 3]
    assert ALONE.gather(b"x") == [b"x"]
    assert ALONE.broadcast([1]) == [1]
    assert ALONE.label("extracting") == "extracting"
    assert ALONE.by_first(lambda: {"a": 1}) == {"a": 1}
    assert error_prefix() == ""
    ALONE.wait()


def test_a_process_alone_imports_nothing_for_it() -> None:
    code = (
        "import sys; from pseudomask.running.ranks import ranks; ranks().broadcast(1); ranks().wait();"
        "print([name for name in ('torch', 'torch.distributed') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_the_environment_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert ranks.__wrapped__() == Ranks(3, 8, 1, 2, 0)
    assert error_prefix() == "process 3: "
    monkeypatch.setenv("RANK", "8")
    with pytest.raises(UsageError, match="RANK 8 must be below WORLD_SIZE 8"):
        ranks.__wrapped__()
    monkeypatch.setenv("RANK", "x")
    with pytest.raises(UsageError, match="RANK='x' is not a number"):
        ranks.__wrapped__()


def test_every_item_is_in_one_share() -> None:
    shares = [Ranks(rank, 3).share(list(range(8))) for rank in range(3)]
    assert shares == [[0, 3, 6], [1, 4, 7], [2, 5]]


def test_all_hear_all_and_the_first() -> None:
    def work(job: Ranks) -> Any:
        job.wait()
        return job.gather(bytes([job.rank]) * 3), job.broadcast({"rank": job.rank})

    assert together(work) == [([b"\0\0\0", b"\1\1\1", b"\2\2\2"], {"rank": 0})] * 3


def test_the_dead_of_an_earlier_attempt_are_not_heard() -> None:
    store = HashStore()
    names = []
    for _ in range(2):
        with ThreadPoolExecutor(3) as pool:
            met = list(pool.map(lambda rank: agree_on_prefix(store, rank, 3), range(3)))
        assert len(set(met)) == 1
        names.append(met[0])
    assert names[0] != names[1]


def test_who_is_asked_to_stop_waits_no_longer() -> None:
    stop = Stop()
    stop.signal = signal.SIGTERM
    job = Ranks(1, 2)
    job.__dict__["store"] = HashStore()
    job.wait(stop)
    assert job.gather(b"mine", stop) == [b"mine"]
    assert job.broadcast("mine", stop) == "mine"


def test_a_lost_connection_is_one_line() -> None:
    class Lost:
        def set(self, *args: object) -> None:
            raise RuntimeError("Broken pipe\nException raised from …")

    job = Ranks(0, 2)
    job.__dict__["store"] = Lost()
    with pytest.raises(PseudomaskError, match=r"cannot be reached \(Broken pipe\); run the same command again"):
        job.wait()


def test_overwrite_holds_for_the_first_attempt_only() -> None:
    """Else a job that torchrun restarts would remove what it had made."""
    assert together(lambda job: job.anew(True)) == [True] * 3
    restarted = together(lambda job: job.anew(True), (0, 0, 1))
    assert restarted == [False] * 3, "one machine's processes were restarted, the others know nothing of it"
    assert not ALONE.anew(False)


def test_news_that_all_have_are_told_once() -> None:
    ears = [Ear(), Ear()]
    for rank, ear in enumerate(ears):
        Ranks(rank, 2).once(ear).info("8 photos")
    assert [ear.infos for ear in ears] == [["8 photos"], []]


def test_processes_of_a_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: set(range(12)), raising=False)
    for here, expected in ((1, 12), (5, 2), (16, 1)):
        monkeypatch.setattr(machine, "ranks", lambda here=here: Ranks(0, here, 0, here))
        assert machine.cores() == expected


def test_names_are_fresh_and_agreed() -> None:
    """A second process group must not find the addresses that the first one left in the store."""
    first, second = (Ranks(rank, 2, rank, 2) for rank in range(2))
    names = [(first.fresh(), second.fresh()) for _ in range(3)]
    assert all(one == other for one, other in names)
    assert len(set(names)) == 3


def test_what_the_first_finds_all_have() -> None:
    looked: list[int] = []

    def work(job: Ranks) -> Any:
        return job.by_first(lambda: looked.append(job.rank) or [job.rank, "\udce9"])  # type: ignore[func-returns-value]

    assert together(work) == [[0, "\udce9"]] * 3
    assert looked == [0], "nobody else looks"


def test_a_mistake_that_the_first_finds_stops_all() -> None:
    def fail() -> None:
        raise LabelError("no class cow", "tags.csv", 3)

    def work(job: Ranks) -> Any:
        with pytest.raises(LabelError) as caught:
            job.by_first(fail)
        return str(caught.value), caught.value.exit_code

    assert together(work) == [("tags.csv, line 3: no class cow", 2)] * 3
