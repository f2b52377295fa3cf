"""A run that fills a folder: what is done, what is left, what may not be mixed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pseudomask.errors import CollisionError, RecordMismatch
from pseudomask.running.folder_run import FolderRun
from pseudomask.running.layout import MANIFEST, RECORD, Outputs
from pseudomask.running.manifest import DONE, FAILED
from pseudomask.running.record import RunRecord

KEYS = ("a", "b", "deep/c")


def opened(out: Path, *, threshold: float = 0.2, overwrite: bool = False) -> FolderRun:
    record = RunRecord(command="extract", config={"threshold": threshold})
    outputs = [Outputs(key, out) for key in KEYS]
    run = FolderRun(out, record, outputs, fields=("command", "config"), overwrite=overwrite)
    run.start()
    return run


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def finish(run: FolderRun, key: str, *, scores: bool = True) -> None:
    one = Outputs(key, run.out)
    write(one.mask)
    if scores:
        write(one.scores)
    run.note({"key": key, "status": DONE})


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    run = opened(tmp_path / "out")
    assert run.pending(with_scores=True) == [0, 1, 2]
    finish(run, "b")
    run.note({"key": "a", "status": FAILED})
    assert (run.count(DONE), run.count(FAILED)) == (1, 1)
    again = opened(tmp_path / "out")
    assert again.pending(with_scores=True) == [0, 2], "failed ones are tried again"
    assert (again.count(DONE), again.count(FAILED)) == (1, 1)


def test_each_file_that_is_wanted_counts(tmp_path: Path) -> None:
    run = opened(tmp_path / "out")
    for key in KEYS:
        finish(run, key, scores=key != "a")
    assert run.pending(with_scores=False) == []
    assert run.pending(with_scores=True) == [0]
    write(Outputs("deep/c", run.out).overlay)
    assert run.pending(with_scores=False, with_overlays=True) == [0, 1]
    Outputs("b", run.out).mask.unlink()
    assert run.pending(with_scores=False) == [1]


def test_a_mask_without_a_line_is_made_again(tmp_path: Path) -> None:
    """Killed between the two."""
    run = opened(tmp_path / "out")
    write(Outputs("a", run.out).mask)
    assert opened(tmp_path / "out").pending(with_scores=False) == [0, 1, 2]


def test_other_settings_and_foreign_files(tmp_path: Path) -> None:
    run = opened(tmp_path / "out")
    finish(run, "a")
    before = (run.out / RECORD).read_bytes()
    with pytest.raises(RecordMismatch, match=r"threshold was 0\.2, now 0\.5"):
        opened(run.out, threshold=0.5)
    assert (run.out / RECORD).read_bytes() == before
    write(tmp_path / "other/b.png")
    with pytest.raises(CollisionError, match=r"b\.png would be overwritten"):
        opened(tmp_path / "other")
    assert not (tmp_path / "other" / RECORD).exists()


def test_overwrite_forgets_the_manifest(tmp_path: Path) -> None:
    finish(opened(tmp_path / "out"), "a")
    run = opened(tmp_path / "out", threshold=0.5, overwrite=True)
    assert run.pending(with_scores=False) == [0, 1, 2]
    assert run.entries == {}
    assert not (run.out / MANIFEST).exists()


def test_overwrite_removes_what_the_old_run_made_and_nothing_else(tmp_path: Path) -> None:
    """A mask of a photo that is not asked for now would be measured with the new ones."""
    old = opened(tmp_path / "out")
    for key in KEYS:
        finish(old, key)
        write(Outputs(key, old.out).overlay)
    old.note({"key": "../mine", "status": DONE})
    write(tmp_path / "mine.png")
    write(tmp_path / "out/notes.txt")
    record = RunRecord(command="extract", config={"threshold": 0.5})
    run = FolderRun(old.out, record, [Outputs("a", old.out)], fields=("command", "config"), overwrite=True)
    assert Outputs("b", old.out).mask.exists(), "nothing happens before the start"
    run.start()
    old.close()
    run.close()
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"mine.png", "out/notes.txt", "out/run.json"}


def test_seconds_of_resumed_runs_add_up(tmp_path: Path) -> None:
    opened(tmp_path / "out").finish({"extract": 2.0})
    again = opened(tmp_path / "out")
    again.finish({"extract": 0.5})
    assert again.record.timings == {"extract": 2.5}
    anew = opened(tmp_path / "out", overwrite=True)
    anew.finish({"extract": 0.5})
    assert anew.record.timings == {"extract": 0.5}


def test_finish_orders_the_manifest_and_completes_the_record(tmp_path: Path) -> None:
    run = opened(tmp_path / "out")
    for key in reversed(KEYS):
        finish(run, key)
    run.finish({"extract": 1.23456})
    assert list(run.manifest.load()) == list(KEYS)
    record = RunRecord.read(run.out / RECORD)
    assert record is not None
    assert record.timings == {"extract": 1.235}
    assert record.peak_memory
