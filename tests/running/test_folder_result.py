"""The last lines of a run: done, failed, where, how made, how good, what next."""

from __future__ import annotations

from pathlib import Path

from pseudomask.running.folder_result import FolderResult
from pseudomask.running.folder_run import brief
from pseudomask.running.quality import Doubt
from pseudomask.running.reporter import Bad


def result(**more: object) -> FolderResult:
    return FolderResult(out=Path("out"), classes=("background", "cat"), threshold=0.25, threshold_from="given", **more)  # type: ignore[arg-type]


def test_a_run_without_a_fault() -> None:
    assert result(done=8, skipped=2, seconds=3.0).summary() == [
        ("done", "8 masks (2.00 per second), 2 from an earlier run"),
        ("failed", "none"),
        ("where", "out"),
        ("made with", "threshold 0.25, given"),
        ("quality", "not measured; to look at the masks: pseudomask report out"),
        ("next", "pseudomask evaluate out TRUE_MASKS"),
    ]


def test_some_failures_are_named_and_the_rest_counted() -> None:
    names = {f"{n}.jpg": "cut off" for n in range(5)}
    doubts = [Doubt("misses", 1, "tags without pixels in 1 of 1 mask: cat (1 of 1)")]
    rows = result(done=1, failed=5, failures=names, doubts=doubts).summary()
    assert rows[1:6] == [
        ("failed", "5"),
        ("", "0.jpg: cut off"),
        ("", "1.jpg: cut off"),
        ("", "2.jpg: cut off"),
        ("", "and 2 more; see out/manifest.jsonl for the reasons"),
    ]
    heading = "not measured, but in doubt; to look at the worst masks first: pseudomask report out"
    assert rows[8:10] == [("quality", heading), ("", "tags without pixels in 1 of 1 mask: cat (1 of 1)")]
    assert isinstance(rows[8][1], Bad)
    few = result(done=8, doubts=doubts).summary()
    assert not isinstance(dict(few)["quality"], Bad), "one mask of eight is no alarm"


def test_commands_to_copy_are_quoted() -> None:
    odd = FolderResult(out=Path("my masks"), classes=(), threshold=0.5, threshold_from="given", done=1)
    told = dict(odd.summary())
    assert told["next"] == "pseudomask evaluate 'my masks' TRUE_MASKS"
    assert told["quality"].endswith("pseudomask report 'my masks'")


def test_nothing_done_has_no_quality_and_no_next_step() -> None:
    assert {"quality", "next"}.isdisjoint(dict(result(failed=1, failures={"a": "b"}).summary()))


def test_of_a_finished_image_a_run_keeps_that_it_is_finished() -> None:
    whole = {"key": "a", "status": "done", "empty": ["cat"], "area": {"dog": 0.5}}
    assert brief(whole) == {"status": "done"}
    assert brief(whole) is brief(whole | {"key": "b"})  # nothing of its own is kept
