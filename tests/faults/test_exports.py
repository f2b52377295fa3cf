"""R9 and R11 for export: killed, or out of disk, it leaves DEST as it was."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from fault_harness.machinery import Process, Watch, tree, until

from pseudomask.exporting import FORMATS


def contents(dest: Path) -> dict[str, bytes]:
    """All files but the record, which holds DEST's name."""
    return {name: content for name, content in tree(dest).items() if name != "export.json"}


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.long)])
def test_r9_export_killed_at_random_moments(
    watch: Watch, whole: tuple[Path, Process], tmp_path: Path, kills: int
) -> None:
    """DEST is absent, or whole; the next run sweeps what the killed one left, and ends with the same bytes."""
    dice, met = random.Random(kills), 0
    for format in FORMATS:
        words = ["export", "--format", format, whole[0], tmp_path / format / "whole"]
        assert watch.server.run(*words).code == 0
    for kill in range(kills + 40):  # until one at least has met a run at work
        format = list(FORMATS)[kill % len(FORMATS)]
        dest = tmp_path / format / "dest"
        process = watch.server.start("export", "--format", format, whole[0], dest)
        until(process, lambda dest=dest: list(dest.parent.glob(".pseudomask-*")))
        time.sleep(dice.choice((0.0, 0.002, 0.005, 0.01)))
        process.send(signal.SIGKILL, group=True)
        if process.wait() == -signal.SIGKILL and not dest.exists():
            met += 1
            assert list(dest.parent.glob(".pseudomask-*")), "what it had built is aside"
            assert watch.server.run("export", "--format", format, whole[0], dest).code == 0
        assert contents(dest) == contents(dest.with_name("whole"))
        assert watch.server.run("export", "--format", format, "--overwrite", whole[0], dest).code == 0
        assert contents(dest) == contents(dest.with_name("whole"))
        assert not list(dest.parent.glob(".*")), "nothing is left aside"
        dest.rename(dest.with_name(f"dest-{kill}"))
        if met and kill + 1 >= kills:
            break
    assert met, "every run ended before it was killed"


@pytest.mark.parametrize("format", ["coco", "cvat"])
def test_r11_export_on_a_full_disk(watch: Watch, whole: tuple[Path, Process], tmp_path: Path, format: str) -> None:
    """cvat holds a file open all the while."""
    done = watch.server.run(
        "export",
        "--format",
        format,
        whole[0],
        tmp_path / "dest",
        limits={"RLIMIT_FSIZE": 3000 if format == "cvat" else 500},
    )
    assert done.code == 1, done.err
    assert len(done.errors()) == 1, done.err
    assert str(tmp_path / "dest") in done.errors()[0]
    assert list(tmp_path.iterdir()) == [], "nothing is there, and nothing aside"
