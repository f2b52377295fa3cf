"""A training that is slow enough to be killed in its middle: started by test_resume.py as a process."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from pseudomask.api import train_cls
from pseudomask.config import TrainClsConfig
from pseudomask.running.reporter import SilentReporter


class Slow(SilentReporter):
    """Takes a moment over each step."""

    @contextmanager
    def progress(self, total: int | None, label: str, unit: str = "images") -> Iterator[Any]:
        yield self

    def advance(self, n: int = 1, **shown: object) -> None:
        time.sleep(0.1)


def config_from(values: dict[str, Any]) -> TrainClsConfig:
    hints = get_type_hints(TrainClsConfig)
    paths = {f.name for f in fields(TrainClsConfig) if Path in (hints[f.name], *getattr(hints[f.name], "__args__", ()))}
    return TrainClsConfig(**{k: Path(v) if k in paths and v is not None else v for k, v in values.items()})


if __name__ == "__main__":
    import tiny

    assert tiny.NARROW  # its import makes the backbone known
    train_cls(config_from(json.loads(sys.argv[1])), Slow())
