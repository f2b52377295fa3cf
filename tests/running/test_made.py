"""One reader of made folders: what it tells, when it reads, and that errors carry reason and advice apart."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path

import pytest

from pseudomask.config import EvaluateConfig
from pseudomask.errors import ImageError, LabelError, RecordMismatch, UsageError
from pseudomask.evaluation import evaluate
from pseudomask.running import made as made_module
from pseudomask.running import record as record_module
from pseudomask.running.layout import MANIFEST, RECORD
from pseudomask.running.made import MadeFolder
from pseudomask.running.manifest import Manifest
from pseudomask.running.record import RunRecord, check_resume


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = {"threshold": 0.3, "images": str(tmp_path / "photos")}
    RunRecord(command="extract", config=config, classes=("cat", "dog")).write(tmp_path / RECORD)
    manifest = Manifest(tmp_path / MANIFEST)
    manifest.append({"key": "a", "image": "a.jpg", "status": "failed", "reason": "cut off"})
    manifest.append({"key": "b", "image": "b.jpg", "status": "failed", "reason": "empty"})
    manifest.append({"key": "a", "image": "a.jpg", "status": "done"})
    return tmp_path


def test_what_a_folder_tells(folder: Path) -> None:
    made = MadeFolder(folder)
    assert (made.classes, made.threshold, made.threshold_chosen) == (("cat", "dog"), 0.3, "given")
    assert made.images == folder / "photos"
    assert made.failures() == [("b.jpg", "empty")], "the last line of a key counts"
    assert made.score_files() == [], "no folder of scores is no error"
    assert made.outputs("a").mask == folder / "a.png"
    nothing = MadeFolder(folder / "no")
    assert (nothing.record, nothing.facts, nothing.classes, nothing.threshold, nothing.entries) == (
        None,
        {},
        None,
        None,
        {},
    )
    assert not nothing.holds_run()


def test_each_file_is_read_once_and_only_if_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()
    real, lines = made_module.read_content, Manifest.lines
    monkeypatch.setattr(made_module, "read_content", lambda path: seen.update(["record"]) or real(path))
    monkeypatch.setattr(Manifest, "lines", lambda self: seen.update(["manifest"]) or lines(self))
    made = MadeFolder(folder)
    assert made.record is not None
    assert made.record.classes == list(made.classes or ())
    assert (made.threshold, made.images) == (0.3, folder / "photos")
    assert seen == {"record": 1}
    assert len(made.entries) == len(made.entries) == 2
    assert seen == {"record": 1, "manifest": 1}


@pytest.mark.parametrize(
    ("inside", "whole"),
    [
        (("out/run.json", "out/scores/a.npz"), "out"),
        (("out/scores/a.npz",), "out/scores"),  # nothing tells that `out` is a made folder
        (("out/run.json", "out/scores/run.json"), "out/scores"),
        (("out/run.json", "out/scores/scores/a.npz"), "out/scores"),  # a made folder that is called scores
    ],
)
def test_scores_stand_for_the_folder_around_them(tmp_path: Path, inside: tuple[str, ...], whole: str) -> None:
    for name in inside:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    assert MadeFolder.around(tmp_path / "out/scores") == tmp_path / whole


def test_advice_is_the_readers_own(folder: Path) -> None:
    (folder / RECORD).write_text("{")
    for advice in (None, "call somebody"):
        for read in ("record", "facts", "classes"):
            with pytest.raises(UsageError, match="not JSON") as caught:
                getattr(MadeFolder(folder, advice), read)
            assert caught.value.advice == (advice or "use --overwrite or another output folder")
            assert str(caught.value) == f"{caught.value.reason}; {caught.value.advice}"
    (folder / MANIFEST).write_text("{\n")
    with pytest.raises(UsageError, match=r"line 1.*; call somebody$"):
        _ = MadeFolder(folder, "call somebody").entries


def test_errors_carry_reason_and_advice_through_processes() -> None:
    old, new = (RunRecord(command="extract", config={"threshold": t}) for t in (0.1, 0.2))
    with pytest.raises(RecordMismatch) as caught:
        check_resume(old, new, ["config.threshold"], where="out")
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.reason == "out contains a run made with other settings: threshold was 0.1, now 0.2"
    assert error.advice == record_module.START_OVER
    assert str(error) == str(caught.value) == f"{error.reason}; {error.advice}"
    assert ImageError("a.jpg", "cut off").reason == "cut off"
    assert (
        str(LabelError("no class", "t.csv", 3))
        == LabelError("no class", "t.csv", 3).reason
        == "t.csv, line 3: no class"
    )


@pytest.mark.parametrize("content", ["null", "[]", "3", '{"config": null, "classes": [1], "protocol": []}'])
def test_a_run_json_of_something_else_tells_nothing(folder: Path, content: str) -> None:
    (folder / RECORD).write_text(content)
    made = MadeFolder(folder)
    assert (made.classes, made.threshold, made.images, made.config, made.protocol) == (None, None, None, {}, {})
    with pytest.raises(UsageError, match="no config"):
        _ = made.record


def test_evaluate_says_what_helps_against_a_broken_record(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"")
    (folder / RECORD).write_bytes(json.dumps({"classes": ["cat"]}).encode()[:-1])
    with pytest.raises(UsageError) as caught:
        evaluate(EvaluateConfig(pred=folder, gt=folder, class_file=None))
    assert "repair" in caught.value.advice


@pytest.mark.parametrize(
    ("protocol", "classes"),
    [({"at_chance": ["a"]}, ("a",)), ({"seeds": {"at_chance": ["a"]}}, ("a",)), ({}, ()), ({"at_chance": "a"}, ())],
)
def test_classes_at_chance_are_those_of_the_run_or_of_its_seeds(
    tmp_path: Path, protocol: dict[str, object], classes: tuple[str, ...]
) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"protocol": protocol}))
    assert MadeFolder(tmp_path).at_chance == classes
