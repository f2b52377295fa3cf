"""Many processes on one folder over a slow file system: wall time against the ideal, nothing lost, no photo twice.

Everything of `extract` runs but the network, which is a pause, so that one machine can play eight. Every open, stat,
rename, append, lock … below the simulated mount takes `--latency` milliseconds, in every process. The last process is
`--slow` times slower in all of this. `--kills` processes die by SIGKILL, one after the other; each time the launcher
does what torchrun does: it ends the others and starts all of them again.

    python -m benchmarks.scale /tmp/scale --json benchmarks/results/scale.json
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.slow_files import slow_below
from pseudomask.config import ExtractConfig
from pseudomask.data.collected import collect_once
from pseudomask.extracting.filling import fill
from pseudomask.extracting.photos import Photo, Photos
from pseudomask.extracting.result import ExtractResult
from pseudomask.running.folder_run import FolderRun
from pseudomask.running.jsonable import jsonable
from pseudomask.running.layout import MANIFEST, plan_outputs
from pseudomask.running.ranks import ranks
from pseudomask.running.record import RunRecord
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.scores import ScoreMap

SIDE, CLASSES = 32, ("thing",)


@dataclass(frozen=True)
class Job:
    """What is simulated; see `main`."""

    place: Path
    photos: int = 4000
    ranks: int = 8
    latency: float = 5.0
    network: float = 40.0
    slow: float = 10.0
    kills: int = 2
    workers: int = 1

    @property
    def out(self) -> Path:
        return self.place / "mount/out"

    @property
    def images(self) -> Path:
        return self.place / "mount/photos"

    @property
    def ideal(self) -> float:
        """Seconds that the network alone takes if no process ever waits."""
        return self.photos * self.network / 1000 / (self.ranks - 1 + 1 / self.slow)

    def slowness(self, rank: int) -> float:
        return self.slow if self.ranks > 1 and rank == self.ranks - 1 else 1.0


class Pausing:
    """A network that takes its time and finds the same in every photo."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.values = np.linspace(0, 1, SIDE * SIDE // 16, dtype=np.float32).reshape(1, SIDE // 4, SIDE // 4)

    def make(self, photos: Sequence[Photo], tags: Sequence[Any]) -> list[Any]:
        time.sleep(self.seconds * len(photos))
        return [SimpleNamespace(scores=ScoreMap((1,), self.values, one.size, 4), found=None) for one in photos]


class Plan:
    """The `Planned` of the simulation."""

    device, threshold, refinement, scales, batch_size, guesser = torch.device("cpu"), 0.5, None, (1.0,), 4, "classifier"
    framed = False

    def __init__(self, job: Job) -> None:
        self.job = job
        self.config = ExtractConfig(images=job.images, out=job.out, method="cam", workers=job.workers, refine=("none",))
        self.max_side = self.config.max_side

    @cached_property
    def collection(self) -> Any:
        return replace(collect_once(self.job.images, self.config, ranks()), classes=CLASSES)

    @cached_property
    def outputs(self) -> Any:
        return plan_outputs(self.collection.items, self.job.images, self.job.out)

    def result(self) -> ExtractResult:
        return ExtractResult(
            out=self.job.out,
            classes=CLASSES,
            threshold=0.5,
            threshold_from="given",
            tags_from="classifier",
            images=self.job.images,
            with_scores=True,
        )

    def understood(self) -> list[tuple[str, str]]:
        return []

    def record(self) -> RunRecord:
        return RunRecord(command="extract", config=jsonable(self.config), classes=CLASSES)

    def compared(self) -> list[str]:
        return ["command", "classes"]

    def photos(self, indices: Sequence[int]) -> Photos:
        return Photos(
            [item.path for item in self.collection.items],
            indices,
            scales=self.scales,
            max_side=self.max_side,
            max_pixels=10**6,
            allow_truncated=False,
            keep_whole=False,
        )

    def engine(self, reporter: Reporter, record: RunRecord | None = None) -> Pausing:
        return Pausing(self.job.network / 1000 * self.job.slowness(ranks().rank))


def work(job: Job, rank: int, port: int, attempt: int) -> None:
    """One process of the job."""
    os.environ.update(
        {"RANK": str(rank), "WORLD_SIZE": str(job.ranks), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(job.ranks)}
        | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
        | {"TORCHELASTIC_RESTART_COUNT": str(attempt)}
    )
    ranks.cache_clear()
    torch.set_num_threads(1)
    note, log = FolderRun.note, os.open(job.place / "noted", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def noting(run: FolderRun, entry: dict[str, Any]) -> None:
        note(run, entry)
        os.write(log, f"{attempt} {rank} {entry['key']}\n".encode())

    FolderRun.note = noting  # type: ignore[method-assign]
    slow_below(job.place / "mount", job.latency / 1000 * job.slowness(rank))
    plan = Plan(job)
    result = fill(plan, plan.result(), SilentReporter(), "extracting")  # type: ignore[arg-type]
    os._exit(result.exit_code)


def keep_store(ready: Any, world: int) -> None:
    """The store that torchrun would keep."""
    from torch.distributed import TCPStore

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = TCPStore("127.0.0.1", port, None, True, wait_for_workers=False)
    ready.send(port)
    signal.pause()
    del store


def simulate(job: Job) -> dict[str, Any]:
    """Run the job, kills and restarts included, and check what it made."""
    shutil.rmtree(job.out, ignore_errors=True)
    (job.place / "noted").unlink(missing_ok=True)
    write_photos(job)
    context = multiprocessing.get_context("fork")  # torch is imported once
    here, there = context.Pipe()
    keeper = context.Process(target=keep_store, args=(there, job.ranks), daemon=True)
    keeper.start()
    port = here.recv()
    started, deaths = time.monotonic(), list[float]()
    try:
        for attempt in range(job.kills + 1):
            team = [context.Process(target=work, args=(job, rank, port, attempt)) for rank in range(job.ranks)]
            for one in team:
                one.start()
            if attempt < job.kills:
                until(job, (attempt + 1) / (job.kills + 1), team)
                os.kill(team[attempt % job.ranks].pid or 0, signal.SIGKILL)
                begun = time.monotonic()
                _end(team)
                deaths.append(time.monotonic() - begun)
        for one in team:
            one.join()
        codes = [one.exitcode for one in team]
    finally:
        _end(team)
        keeper.kill()
    seconds = time.monotonic() - started
    return {"job": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(job).items()}, "exit": codes} | {
        "ideal": round(job.ideal, 1),
        "seconds": round(seconds, 1),
        "to_end_the_others": [round(one, 1) for one in deaths],
        **checked(job),
    }


def until(job: Job, share: float, team: Sequence[BaseProcess]) -> None:
    """Wait until this share of the photos is noted."""
    while len(noted(job)) < share * job.photos:
        if any(one.exitcode is not None for one in team):
            raise RuntimeError(f"a process ended by itself: {[one.exitcode for one in team]}")
        time.sleep(0.1)


def _end(team: Sequence[BaseProcess]) -> None:
    for one in team:
        if one.is_alive():
            one.terminate()
    for one in team:
        one.join(30)
        one.kill()
        one.join()


def noted(job: Job) -> list[str]:
    log = job.place / "noted"
    return log.read_text().splitlines() if log.exists() else []


def checked(job: Job) -> dict[str, Any]:
    """What is missing, and what was done twice; by rank, the photos done."""
    keys = [json.loads(line)["key"] for line in (job.out / MANIFEST).read_text().splitlines()]
    lines = [line.split() for line in noted(job)]
    return {
        "masks": len(list(job.out.glob("*.png"))),
        "lost": job.photos - len(set(keys)),
        "twice": len(keys) - len(set(keys)) + sum(n - 1 for n in Counter(line[2] for line in lines).values()),
        "by_rank": [n for _, n in sorted(Counter(int(line[1]) for line in lines).items())],
        "left_over": sum(path.name.startswith(".") for path in job.out.rglob("*")),
    }


def write_photos(job: Job) -> None:
    if len(list(job.images.glob("*.jpg"))) == job.photos:
        return
    shutil.rmtree(job.images, ignore_errors=True)
    job.images.mkdir(parents=True)
    Image.new("RGB", (SIDE, SIDE), (90, 120, 60)).save(job.images / "p000000.jpg")
    data = (job.images / "p000000.jpg").read_bytes()
    for i in range(1, job.photos):
        (job.images / f"p{i:06d}.jpg").write_bytes(data)


def table(found: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    rows = ["| case | ideal, s | took, s | lost | twice | photos of the slowest | of the others |", "|" + " --- |" * 7]
    for one in found:
        *others, slowest = one["by_rank"]
        others = others or [slowest]
        rows.append(
            f"| {one['case']} | {one['ideal']:.0f} | {one['seconds']:.0f} | {one['lost']} | {one['twice']} "
            f"| {slowest} | {min(others)} to {max(others)} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", type=Path, help="an empty folder for photos and masks")
    for name, kind in (("photos", int), ("ranks", int), ("latency", float), ("network", float), ("slow", float)):
        parser.add_argument(f"--{name}", type=kind, default=getattr(Job, name))
    parser.add_argument("--kills", type=int, default=Job.kills)
    parser.add_argument("--hard", action="store_true", help="only the last case: a slow process, and killed ones")
    parser.add_argument("--json", type=Path, help="also write the numbers there")
    given = vars(parser.parse_args())
    target, only = given.pop("json"), given.pop("hard")
    hard = Job(**given)
    calm = Job(**given | {"slow": 1.0, "kills": 0})
    slow = Job(**given | {"kills": 0})
    cases = {
        "all alike": calm,
        f"one {hard.slow:g} times slower": slow,
        f"one {hard.slow:g} times slower, {hard.kills} killed": hard,
    }
    found = []
    for name, job in list(cases.items())[-1 if only else 0 :]:
        found.append({"case": name} | simulate(job))
        print(found[-1], flush=True)
    print(table(found))
    if target:
        target.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
