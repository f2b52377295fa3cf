"""The last lines of a run: done, failed, where, how made, how good, what next."""

from __future__ import annotations

from pathlib import Path

from pseudomask.running.folder_result import FolderResult
from pseudomask.running.folder_run import brief


def result(**more: object) -> FolderResult:
    return FolderResult(out=Path("out"), classes=("background", "cat"), threshold=0.25, threshold_from="given", **more)  # type: ignore[arg-type]


def test_a_run_without_a_fault() -> None:
    assert result(done=8, skipped=2, seconds=3.0).summary() == [
        ("done", "8 masks (2.00 per second), 2 from an earlier run"),
        ("failed", "none"),
        ("where", "out"),
        ("made with", "threshold 0.25, given"),
        ("quality", "not measured; every tag has pixels in its mask"),
        ("next", "pseudomask evaluate out TRUE_MASKS"),
    ]


def test_some_failures_are_named_and_the_rest_counted() -> None:
    names = {f"{n}.jpg": "cut off" for n in range(5)}
    rows = result(done=1, failed=5, failures=names, empty=1).summary()
    assert rows[1:6] == [
        ("failed", "5"),
        ("", "0.jpg: cut off"),
        ("", "1.jpg: cut off"),
        ("", "2.jpg: cut off"),
        ("", "and 2 more; see out/manifest.jsonl for the reasons"),
    ]
    assert dict(rows)["quality"] == "not measured; tags without pixels in 1 of 1 mask, see pseudomask report out"


def test_commands_to_copy_are_quoted() -> None:
    odd = FolderResult(out=Path("my masks"), classes=(), threshold=0.5, threshold_from="given", done=1, empty=1)
    told = dict(odd.summary())
    assert told["next"] == "pseudomask evaluate 'my masks' TRUE_MASKS"
    assert told["quality"].endswith("pseudomask report 'my masks'")


def test_nothing_done_has_no_quality_and_no_next_step() -> None:
    assert {"quality", "next"}.isdisjoint(dict(result(failed=1, failures={"a": "b"}).summary()))


def test_of_a_finished_image_a_run_keeps_whether_a_tag_has_no_pixel() -> None:
    whole = {"key": "a", "status": "done", "empty": ["cat"], "area": {"dog": 0.5}}
    assert brief(whole) == {"status": "done", "empty": True}
    assert brief(whole | {"empty": []}) is brief(whole | {"key": "b", "empty": []})  # nothing of its own is kept
