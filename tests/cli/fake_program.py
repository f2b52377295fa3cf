"""A program with one verb that does what its flags say: run by the tests as a real process."""

from __future__ import annotations

import builtins
import sys
import warnings
from dataclasses import dataclass, field
from typing import Any

from pseudomask import errors
from pseudomask.cli import app
from pseudomask.running.reporter import Reporter
from pseudomask.running.signals import graceful
from pseudomask.verbs import MAKE, Verb


@dataclass(frozen=True, kw_only=True)
class Config:
    name: str = field(metadata={"positional": True, "help": "A name."})
    fail: str = field(default="", metadata={"help": "Name of the exception to raise."})
    code: int = field(default=0, metadata={"help": "Exit code of the result."})
    lines: int = field(default=1, metadata={"help": "Lines of data."})
    wait: bool = field(default=False, metadata={"help": "Work until a signal comes."})


@dataclass
class Result:
    exit_code: int
    name: str

    def summary(self) -> list[tuple[str, object]]:
        return [("name", self.name), ("exit code", self.exit_code)]

    def to_json(self) -> dict[str, Any]:
        return {"schema": 1, "name": self.name}


def run(config: Config, reporter: Reporter) -> Result:
    reporter.info(f"working on {config.name}")
    if config.fail:
        raise (getattr(errors, config.fail, None) or getattr(builtins, config.fail))("went wrong")
    warnings.warn("odd [weights]\nhere", UserWarning, stacklevel=1)
    code = config.code
    with graceful() as stop, reporter.progress(4, "[bold]step", "images") as progress:
        for _ in range(4):
            progress.advance(1, loss=0.5)
        while config.wait and not stop.requested:
            reporter.info("waiting")
            stop_wait()
        code = stop.exit_code or code
    return Result(code, config.name)


def stop_wait() -> None:
    import time

    time.sleep(0.02)


def data(config: Config, result: Result) -> list[str]:
    return [f"{result.name}/{number}" for number in range(config.lines)]


ROW: Any = {"config": Config, "function": "__main__:run", "group": MAKE}

if __name__ == "__main__":
    app.VERBS.clear()
    app.VERBS["work"] = Verb(name="work", help="Work.", stdout=data, shared=True, **ROW)
    app.VERBS["rest"] = Verb(name="rest", help="Rest.", **ROW)
    sys.exit(app.run(sys.argv[1:]))
