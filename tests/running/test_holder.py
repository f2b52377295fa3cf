"""One run fills a folder at a time: locks that go with their process, and a run whose record is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import tiny

from pseudomask.errors import FolderInUse, PseudomaskError, RecordMismatch, UsageError
from pseudomask.running import holder as holder_module
from pseudomask.running.folder_run import FolderRun
from pseudomask.running.holder import LOCK, hold, holding, report_filling
from pseudomask.running.layout import RECORD, Outputs
from pseudomask.running.locks import FileLock
from pseudomask.running.manifest import DONE
from pseudomask.running.record import RunRecord

ROOT = Path(__file__).parents[2]
FILLS = """
import os, sys
from pathlib import Path
from pseudomask.running.folder_run import FolderRun
from pseudomask.running.layout import Outputs
from pseudomask.running.record import RunRecord
out, threshold, fork = Path(sys.argv[1]), float(sys.argv[2]), len(sys.argv) > 3
record = RunRecord(command="extract", config={"threshold": threshold})
run = FolderRun(out, record, [Outputs("a", out)], fields=("command", "config"), overwrite=False)
run.start()
if fork and os.fork() == 0:
    import time
    print("ready", flush=True)
    time.sleep(60)
    os._exit(0)
if not fork:
    print("ready", flush=True)
sys.stdin.readline()
run.finish({})
run.close()
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no flock")


def opened(out: Path, threshold: float = 0.2, *, overwrite: bool = False) -> FolderRun:
    record = RunRecord(command="extract", config={"threshold": threshold})
    return FolderRun(out, record, [Outputs("a", out)], fields=("command", "config"), overwrite=overwrite)


@contextmanager
def another(out: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A process that fills `out` with threshold 0.2 until a line comes, or it is killed."""
    command = [sys.executable, "-c", FILLS, str(out), "0.2", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        try:
            yield child
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def test_overwriting_what_another_process_fills_is_refused_and_who_it_is_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with another(out) as child:
        before = (out / RECORD).read_bytes()
        with pytest.raises(FolderInUse, match=rf"process {child.pid} on .*since 20") as caught:
            opened(out, 0.7, overwrite=True).start()
        assert caught.value.exit_code == 2
        assert "\n" not in str(caught.value)
        assert (out / RECORD).read_bytes() == before
        with pytest.raises(RecordMismatch):
            opened(out, 0.7)


def test_another_process_of_the_same_run_may_join(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with another(out) as child:
        run = opened(out)
        run.start()
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.wait(20) == 0
        run.note({"key": "a", "status": DONE})
        assert (out / LOCK).exists()
        run.close()
        assert not (out / LOCK).exists(), "the last one takes it away"


def test_the_lock_goes_with_a_process_that_is_killed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with another(out) as child:
        child.kill()
        child.wait()
        assert (out / LOCK).exists()
        run = opened(out, 0.7, overwrite=True)
        run.start()
        run.close()
    assert not (out / LOCK).exists()


def test_a_forked_child_does_not_keep_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with another(out, "fork") as child:
        child.kill()  # its own child lives on
        child.wait()
        run = opened(out, 0.7, overwrite=True)
        run.start()
        run.close()


def test_a_run_that_began_between_the_look_and_the_start_counts(tmp_path: Path) -> None:
    late = opened(tmp_path / "out", 0.7)
    first = opened(tmp_path / "out", 0.2)
    first.start()
    first.close()
    with pytest.raises(RecordMismatch, match=r"threshold was 0\.2, now 0\.7"):
        late.start()
    late.close()


@pytest.mark.parametrize("fate", ["gone", "folder", "another", "damaged"])
def test_a_run_whose_record_is_not_its_own_any_more_stops(tmp_path: Path, fate: str) -> None:
    """As after `rm -rf`, or on a file system that has no locks."""
    out = tmp_path / "out"
    run = opened(out)
    run.start()
    run.note({"key": "a", "status": DONE})
    manifest = (out / "manifest.jsonl").read_bytes()
    if fate == "folder":
        out.rename(tmp_path / "away")
    elif fate == "gone":
        (out / RECORD).unlink()
    elif fate == "another":
        RunRecord(command="extract", config={"threshold": 0.7}).write(out / RECORD)
    else:
        (out / RECORD).write_text("{")
    for write in (lambda: run.note({"key": "b", "status": DONE}), lambda: run.finish({})):
        with pytest.raises(PseudomaskError, match="was removed or belongs to another run") as caught:
            write()
        assert caught.value.exit_code == 1
    assert out.exists() == (fate != "folder")
    assert ((out if out.exists() else tmp_path / "away") / "manifest.jsonl").read_bytes() == manifest
    run.close()


def test_a_record_that_another_process_of_the_run_rewrote_is_its_own(tmp_path: Path) -> None:
    run = opened(tmp_path / "out")
    run.start()
    RunRecord(command="extract", config={"threshold": 0.2}, timings={"extract": 5.0}).write(tmp_path / "out" / RECORD)
    run.note({"key": "a", "status": DONE})
    run.close()


def test_what_is_read_while_it_is_filled_is_told(tmp_path: Path) -> None:
    out, ear = tmp_path / "out", tiny.Ear()
    with another(out) as child:
        report_filling(out, ear)
        assert f"process {child.pid}" in ear.warnings[0]
    quiet = tiny.Ear()
    report_filling(out, quiet)
    report_filling(tmp_path, quiet)
    assert quiet.warnings == []


def test_without_locks_the_names_are_gone_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system: its error is no reason to fail."""

    def none(*words: object, **more: object) -> FileLock:
        raise OSError(37, "No locks available")

    out = tmp_path / "out"
    with another(out) as child:
        monkeypatch.setattr(holder_module, "FileLock", none)
        with pytest.raises(FolderInUse, match=f"process {child.pid}"):
            hold(out)
        hold(out, share=True).release()
    with holding(tmp_path / "free"):
        assert json.loads((tmp_path / "free" / LOCK).read_text())["pid"] == os.getpid()
    assert not (tmp_path / "free" / LOCK).exists()


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PseudomaskError, match="cannot write") as caught:
        hold(tmp_path / "file" / "out")
    assert not isinstance(caught.value, UsageError)
