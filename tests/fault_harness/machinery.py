"""Starting, watching, stopping and killing real `pseudomask` processes, and looking at what they left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE = 300.0  # seconds: of processor time, or of wall time in which none was used; a busy machine decides nothing


@dataclass
class Process:
    """One running command line."""

    server: Server
    pid: int
    folder: Path
    code: int | None = None
    seconds: float = 0.0
    peak: int = 0

    def poll(self) -> int | None:
        if self.code is None:
            answer = self.server.ask({"do": "poll", "pid": self.pid})
            if answer["code"] is not None:
                self.code, self.seconds, self.peak = answer["code"], answer["seconds"], answer["peak"]
        return self.code

    def wait(self, patience: float = PATIENCE) -> int:
        hanging = Hanging(self, patience)
        while self.poll() is None:
            if hanging():
                self.send(signal.SIGKILL, group=True)
                raise AssertionError(f"still running after {patience} s: {self.err}")
            time.sleep(0.01)
        assert self.code is not None
        return self.code

    def send(self, number: int, *, group: bool = False) -> None:
        """A signal to the process, or to it and its workers, as Ctrl-C in a terminal is."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it ended since
                (os.killpg if group else os.kill)(self.pid, number)

    def used(self) -> float:
        """Seconds of processor time so far."""
        return _seconds(Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split())

    def family(self) -> list[int]:
        """Living processes of its group."""
        return [pid for pid, _ in self._group()]

    def effort(self) -> float:
        """Seconds of processor time of all living processes of its group."""
        return sum(_seconds(fields) for _, fields in self._group())

    def _group(self) -> Iterator[tuple[int, list[str]]]:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[2] == str(self.pid) and fields[0] != "Z":
                yield int(stat.parent.name), fields

    @property
    def out(self) -> str:
        return self._stream("stdout")

    @property
    def err(self) -> str:
        return self._stream("stderr")

    def _stream(self, name: str) -> str:
        path = self.folder / name
        return path.read_text(errors="surrogateescape") if path.exists() else ""

    def errors(self) -> list[str]:
        """Lines that say why it failed; never a traceback."""
        assert "Traceback" not in self.err, self.err
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


def _seconds(fields: list[str]) -> float:
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Hanging:
    """Called now and then: whether a process waits for nothing, or computes for ever."""

    def __init__(self, process: Process, patience: float) -> None:
        self.process, self.patience = process, patience
        self.looked = self.moved = time.monotonic()
        self.effort = 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self.looked < 1:
            return False
        self.looked, effort = now, self.process.effort()
        if effort != self.effort:
            self.moved, self.effort = now, effort
        return effort > self.patience or now - self.moved > self.patience


class Server:
    """The client's side of server.py; `place` gets the streams of each process.

    `without` names the protection that all processes shall lack (see mutations.py).
    """

    without = ""

    def __init__(self, place: Path) -> None:
        self.place, self.count = place, 0
        paths = [str(HERE.parent), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        for name in [name for name in environment if name.startswith("PSEUDOMASK_")]:
            del environment[name]
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def start(
        self,
        *arguments: object,
        stdin: Path | None = None,
        stdout: str | None = "",
        env: dict[str, str] | None = None,
        limits: dict[str, int] | None = None,
        disk: dict[str, str] | None = None,
        call: str | None = None,
    ) -> Process:
        """A process of `pseudomask ARGUMENTS`; `stdout` None closes it, `call` runs a function of prepare.py."""
        self.count += 1
        folder = self.place / str(self.count)
        folder.mkdir()
        answer = self.ask(
            {
                "do": "start",
                "arguments": [str(argument) for argument in arguments],
                "stdin": None if stdin is None else str(stdin),
                "stdout": None if stdout is None else stdout or str(folder / "stdout"),
                "stderr": str(folder / "stderr"),
                "env": env or {},
                "limits": limits or {},
                "disk": disk,
                "call": call,
                "without": self.without,
            }
        )
        return Process(self, answer["pid"], folder)

    def run(self, *arguments: object, **more: Any) -> Process:
        """The same, ended."""
        patience = more.pop("patience", PATIENCE)
        process = self.start(*arguments, **more)
        process.wait(patience)
        return process

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Run(Protocol):
    def __call__(self, *arguments: object, **more: Any) -> Process: ...


@dataclass
class Watch:
    """Photos, weights and the usual arguments of the fault tests."""

    server: Server
    place: Path
    count: int = 12
    quick: list[str] = field(default_factory=lambda: ["--device", "cpu", "--amp", "off", "--workers", "0"])

    @property
    def photos(self) -> Path:
        return self.place / "photos"

    @property
    def weights(self) -> Path:
        return self.place / "weights.safetensors"

    def extract(self, out: Path, *more: object, photos: Path | None = None, labels: bool = True) -> list[object]:
        """The arguments of an extraction of the photos."""
        tags = ["--labels", self.place / "photos.csv"] if labels else []
        words = [*self.quick, "--weights", self.weights, "--scales", "1.0", "--batch-size", "2", *tags]
        words += ["--method", "recam", "--tta", "balanced", "--refine", "none"]
        return ["extract", *words, *more, photos or self.photos, out]

    def refine(self, seeds: Path, out: Path, *more: object) -> list[object]:
        words = ["--method", "pamr", "--device", "cpu", "--workers", "0", "--scores"]
        return ["refine", *words, *more, self.photos, seeds, out]

    def train(self, run: Path, *more: object, verb: str = "train-cls") -> list[object]:
        """Three epochs of two steps, a checkpoint each step."""
        words = ["--crop", "64", "--batch-size", "4", "--epochs", "3", "--lr", "0.002", "--momentum", "0.9"]
        words += ["--val-fraction", "0.25", "--checkpoint-every", "1", "--weights-dtype", "fp32", "--seed", "5"]
        first = ["--backbone", "narrow", "--backbone-weights", self.place / "backbone.safetensors"]
        start = first if verb == "train-cls" else ["--weights", self.weights]
        return [verb, *self.quick, *words, *start, "--labels", self.place / "photos.csv", *more, self.photos, run]


def tree(folder: Path) -> dict[str, bytes]:
    """All files by name, but for the record and the log, which hold times."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("run.json", "log.jsonl")
    }


def manifest(out: Path) -> dict[str, dict[str, Any]]:
    """The entries by key; a cut last line is none."""
    path = out / "manifest.jsonl"
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    entries = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return {entry["key"]: entry for entry in entries}


def until(process: Process, ready: Any, patience: float = PATIENCE) -> bool:
    """Wait for `ready()`; False where the process ended before."""
    hanging = Hanging(process, patience)
    while not ready():
        if process.poll() is not None:
            return False
        assert not hanging(), f"nothing happened: {process.err}"
        time.sleep(0.002)
    return True


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    folder.chmod(0o555)
    try:
        yield
    finally:
        folder.chmod(0o755)


def pngs(folder: Path) -> Sequence[Path]:
    return sorted(path for path in folder.rglob("*.png") if not path.name.startswith("."))
