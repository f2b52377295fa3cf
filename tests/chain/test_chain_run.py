"""Chains that run: every step on tiny photos, and what happens when one is changed, killed, stopped or failing."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image

from pseudomask import api
from pseudomask.chain.outcome import RunResult
from pseudomask.chain.plan import plan
from pseudomask.chain.status import fingerprint
from pseudomask.config import ExtractConfig, RefineConfig, RunConfig
from pseudomask.errors import DeviceError, RecordMismatch, TrainingDiverged, UsageError, WeightsError
from pseudomask.pipeline import run
from pseudomask.running import ranks

Write = Callable[..., Path]
TRAINED = ("train-cls", "reactivate", "extract", "refine", "evaluate")
BUNDLED = '[extract]\nweights = "weights.safetensors"\nscales = "1.0"\nflip = false\n'


def do(file: Path, reporter: Any = None, **more: Any) -> RunResult:
    return run(RunConfig(config=file, **more), reporter)


def became(result: RunResult) -> dict[str, str]:
    return {entry["step"]: entry["status"] for entry in result.steps}


def told(tmp_path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tmp_path / "out/chain.json").read_text())
    return content


def bytes_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.png"))}


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def test_a_whole_chain_and_then_nothing_left_to_do(chain: Write, tmp_path: Path) -> None:
    file = chain(
        "train-cls",
        "reactivate",
        "calibrate",
        "extract",
        "train-affinity",
        '[refine]\nmethod = "walk,pamr"\npamr-iterations = 1\n',
        '[[evaluate]]\ntruth = "truth"\n',
        '[[evaluate]]\nof = "extract"\ntruth = "truth"\nsweep = true\n',
        "report",
        "export",
    )
    first = do(file)
    assert first.exit_code == 0
    assert set(became(first).values()) == {"done"}
    assert (tmp_path / "out/report.html").is_file()
    assert (tmp_path / "out/export/export.json").is_file()
    content = told(tmp_path)
    assert content == json.loads(json.dumps(first.to_json()))
    by_step = {entry["step"]: entry for entry in content["steps"]}
    assert by_step["extract"]["results"]["masks"] == 12
    assert by_step["extract"]["config"]["method"] == "cpmc"
    assert by_step["evaluate extract"]["results"]["threshold_source"] == "chosen on this truth"
    assert 0 <= by_step["evaluate"]["results"]["mean_iou"] <= 1
    precision = by_step["train-cls"]["results"]["held_out_precision"]
    assert f"AP {precision:.3f}" in dict(first.summary())["train-cls"]
    assert "mIoU " in dict(first.summary())["evaluate"]

    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    second = do(file)
    assert set(became(second).values()) == {"skipped"}
    assert [entry["results"] for entry in second.steps] == [entry["results"] for entry in first.steps]
    fresh = {path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert {path.name for path in fresh} == {"chain.json", "run.html", "run.toml"}
    assert set(became(do(tmp_path / "out/run.toml")).values()) == {"skipped"}  # all settings, and no other


def test_a_chain_makes_what_the_verbs_make(chain: Write, room: Path, tmp_path: Path) -> None:
    do(chain(BUNDLED, "refine"))
    common: dict[str, Any] = {"images": room / "photos", "device": "cpu", "workers": 0}
    api.extract(
        ExtractConfig(
            out=tmp_path / "a",
            labels=room / "photos.csv",
            weights=room / "weights.safetensors",
            scales="1.0",
            flip=False,
            amp="off",
            method="cpmc",
            refine=("none",),
            **common,
        )
    )
    api.refine(
        RefineConfig(seeds=tmp_path / "a", out=tmp_path / "b", method=("pamr",), pamr_iterations=2, amp="off", **common)
    )
    assert bytes_below(tmp_path / "out/seeds") == bytes_below(tmp_path / "a")
    assert bytes_below(tmp_path / "out/refined") == bytes_below(tmp_path / "b")


def test_prototypes_are_a_step_whose_file_extract_takes(chain: Write, room: Path, tmp_path: Path) -> None:
    prototypes = '[prototypes]\nweights = "weights.safetensors"\nclusters = 3\n'
    file = chain(prototypes, BUNDLED)
    first = do(file)
    assert became(first) == {"prototypes": "done", "extract": "done"}
    made = {entry["step"]: entry for entry in first.steps}
    assert made["extract"]["config"]["cam"] == "lpcam"
    assert sum(n for n, _ in made["prototypes"]["results"]["prototypes"].values())
    assert set(became(do(file)).values()) == {"skipped"}
    change(file, "clusters = 3", "clusters = 2")
    with pytest.raises(RecordMismatch, match=r"^prototypes: .*prototypes\.safetensors .*other settings; add --over"):
        do(file)
    before = (tmp_path / "out/prototypes.safetensors").read_bytes()
    assert set(became(do(file, overwrite=True)).values()) == {"done"}
    assert (tmp_path / "out/prototypes.safetensors").read_bytes() != before
    labels = room / "photos.csv"
    rows = labels.read_text().splitlines()
    file.write_text(file.read_text().replace('labels = "photos.csv"', f'labels = "{tmp_path / "fewer.csv"}"'))
    (tmp_path / "fewer.csv").write_text("\n".join(rows[:-1]) + "\n")
    assert became(do(file, dry_run=True, overwrite=True))["prototypes"] == "to redo"


def test_a_plain_map_takes_no_prototypes(chain: Write) -> None:
    step = plan(chain('[prototypes]\nweights = "weights.safetensors"\n', BUNDLED + 'cam = "plain"\n'), {}).steps[1]
    assert (step.config.cam, step.config.lpcam_prototypes) == ("plain", None)


def test_what_changed_is_refused_before_any_work_and_made_anew_on_demand(chain: Write, tmp_path: Path) -> None:
    file = chain(*TRAINED)
    do(file)
    change(file, "pamr-iterations = 2", "pamr-iterations = 3")
    ear = tiny.Ear()
    with pytest.raises(RecordMismatch, match=r"^refine: .*/refined .*: pamr_iterations was 2, now 3; add --over"):
        do(file, ear)
    assert ear.infos == []
    result = do(file, ear, overwrite=True)
    status = ["skipped", "skipped", "skipped", "done", "done"]
    assert became(result) == dict(zip(TRAINED, status, strict=True))
    assert any("refine: redoing" in line and "pamr_iterations was 2, now 3" in line for line in ear.infos)
    assert result.steps[3]["why"].endswith("pamr_iterations was 2, now 3")


def test_new_weights_redo_what_hangs_on_them_and_nothing_else(chain: Write, tmp_path: Path) -> None:
    file = chain(*TRAINED)
    do(file)
    change(file, "[reactivate]\n", "[reactivate]\nsce-weight = 0.5\n")
    with pytest.raises(RecordMismatch, match=r"^reactivate: .*sce_weight was 1\.0, now 0\.5"):
        do(file)
    dry = do(file, overwrite=True, dry_run=True)
    waits = "after earlier steps"
    assert became(dry) == dict(zip(TRAINED, ["already done", "to redo", waits, waits, waits], strict=True))
    result = do(file, overwrite=True)
    assert became(result) == dict(zip(TRAINED, ["skipped", *["done"] * 4], strict=True))
    assert "the weights differ" in result.steps[2]["why"]


def test_a_training_to_come_makes_older_masks_stale(chain: Write, tmp_path: Path) -> None:
    """Known before the training, not after it."""
    file = chain("train-cls", "extract")
    do(file)
    (tmp_path / "out/cls/weights.safetensors").unlink()
    ear = tiny.Ear()
    with pytest.raises(RecordMismatch, match=r"^extract: .*/seeds is outdated, because train-cls"):
        do(file, ear)
    assert ear.infos == []
    assert set(became(do(file, overwrite=True)).values()) == {"done", "skipped"}  # the same weights again


class Killed(BaseException):
    """As abrupt as a kill: nobody catches it."""


class Dies(tiny.Ear):
    """Ends the process, as it were, when so many photos or steps are done."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    @contextmanager
    def progress(self, total: int | None, label: str, unit: str = "images") -> Iterator[Any]:
        yield self

    def advance(self, n: int = 1, **shown: object) -> None:
        self.left -= n
        if self.left <= 0:
            raise Killed


@pytest.mark.parametrize("after", [1, 6, 20])  # in each of the steps
def test_killed_in_the_middle_goes_on(chain: Write, room: Path, tmp_path: Path, after: int) -> None:
    file = chain("train-cls", "extract", "refine")
    with pytest.raises(Killed):
        do(file, Dies(after))
    assert "failed" in {entry["status"] for entry in told(tmp_path)["steps"]}
    assert do(file).exit_code == 0
    broken = bytes_below(tmp_path / "out/refined")
    shutil.rmtree(tmp_path / "out")
    do(file)
    assert broken == bytes_below(tmp_path / "out/refined")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_step_and_the_chain(chain: Write, tmp_path: Path, number: int, code: int) -> None:
    file = chain("train-cls", "extract", "refine")
    result = do(file, tiny.StopsAt(2 + 4, number))  # 9 photos to train on make one step, then photos are extracted
    assert result.exit_code == told(tmp_path)["exit_code"] == code
    assert became(result) == {"train-cls": "done", "extract": "stopped", "refine": "waiting"}
    again = do(file)
    assert became(again) == {"train-cls": "skipped", "extract": "done", "refine": "done"}


def test_too_many_failures_end_the_chain(chain: Write, room: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(room / "photos", photos)
    (photos / "p03.png").write_bytes((photos / "p03.png").read_bytes()[:300])
    top = f'images = "{photos}"\nout = "OUT"\ndevice = "cpu"\nworkers = 0\n'
    file, ear = chain(BUNDLED, "refine", top=top), tiny.Ear()
    result = do(file, ear)
    assert result.exit_code == 1
    assert became(result) == {"extract": "failed", "refine": "waiting"}
    assert dict(result.summary())["extract"].startswith("failed, ")
    assert "11 masks, 1 failed" in dict(result.summary())["extract"]
    assert ear.warnings[-1].startswith("extract failed: more photos failed than max-failures")
    file.write_text("max-failures = 1\n" + file.read_text())
    assert became(do(file)) == {"extract": "done", "refine": "done"}  # the failed one was tried again


def test_a_step_that_breaks_off_is_named(chain: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = chain(BUNDLED, "refine")

    def broken(*args: Any, **more: Any) -> Any:
        raise WeightsError("it is gone")

    monkeypatch.setattr("pseudomask.refining.refine.read_seeds", broken)
    with pytest.raises(WeightsError, match=r"^refine: it is gone$") as caught:
        do(file)
    assert caught.value.exit_code == 3
    content = told(tmp_path)
    assert content["exit_code"] == 3
    assert [entry["status"] for entry in content["steps"]] == ["done", "failed"]


@pytest.mark.parametrize(
    ("table", "more", "kind", "message"),
    [
        ("[refine]\nmethod = 'crff'\n", "", UsageError, "refine: --method 'crff' must be one of crf"),
        ("[refine]\nimages = 'nowhere'\n", "", UsageError, "refine: images nowhere: no such file or folder"),
        ("[evaluate]\ntruth = 'photos.csv'\n", "", UsageError, "evaluate: photos.csv: is a file, not a folder"),
        ("[evaluate]\ntruth = 'empty'\n", "", UsageError, "evaluate: gt empty: no such file or folder"),
        ("[refine]\n", "list = '-'\n", UsageError, "extract: a list from standard input can be read only once"),
        ("[refine]\n", "limit = 0\n", UsageError, "limit: must be at least 1"),
        ("[refine]\ndevice = 'mps'\n", "", DeviceError, "refine: "),
        (
            "[evaluate]\ntruth = 'truth'\nsweep = true\nthreshold = 0.3\n",
            "",
            UsageError,
            "evaluate: `sweep` and `threshold` cannot be combined",
        ),
    ],
)
def test_later_steps_are_checked_before_the_first(
    chain: Write, tmp_path: Path, table: str, more: str, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught:
        do(chain(BUNDLED, table, more=more))
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_extraction_after_a_training_is_checked_before_it(chain: Write, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("filename,labels\nnobody.png,disc\n")
    for text, message in [
        (f'labels = "{tmp_path}/bad.csv"', "extract: "),
        ('scales = "0"', "extract: "),
        ('method = "camm"', "extract: .*did you mean"),
    ]:
        with pytest.raises(UsageError, match=message):
            do(chain("train-cls", f"[extract]\n{text}\n"))
    assert not (tmp_path / "out").exists()


def test_a_dry_run_writes_nothing(chain: Write, tmp_path: Path) -> None:
    result = do(chain(*TRAINED), dry_run=True)
    assert became(result)["train-cls"] == "to make"
    assert became(result)["extract"] == "after earlier steps"
    assert not (tmp_path / "out").exists()


def test_a_part_of_a_chain(chain: Write, tmp_path: Path) -> None:
    file = chain("train-cls", "extract", "refine")
    assert became(do(file, until="extract")) == {"train-cls": "done", "extract": "done", "refine": "left out"}
    (tmp_path / "out/cls/run.json").unlink()  # nobody asks it
    assert became(do(file, from_="refine")) == {"train-cls": "left out", "extract": "left out", "refine": "done"}
    shutil.rmtree(tmp_path / "out/cls")
    with pytest.raises(UsageError, match=r"^extract: weights .*/cls/weights.safetensors: no such file"):
        do(file, from_="extract")


def test_measures_follow_masks_and_truth(chain: Write, room: Path, tmp_path: Path) -> None:
    truth = tmp_path / "truth"
    shutil.copytree(room / "truth", truth)
    file = chain(BUNDLED, f'[evaluate]\ntruth = "{truth}"\n', '[export]\nformat = "voc"\n')
    assert set(became(do(file)).values()) == {"done"}
    assert set(became(do(file)).values()) == {"skipped"}
    (truth / "p01.png").unlink()
    assert became(do(file)) == {"extract": "skipped", "evaluate": "done", "export": "skipped"}
    (tmp_path / "out/evaluate.json").unlink()
    assert became(do(file))["evaluate"] == "done"
    change(file, 'format = "voc"', 'format = "cvat"')
    with pytest.raises(RecordMismatch) as caught:
        do(file)
    assert str(caught.value).startswith(f"export: {tmp_path}/out/export was made from other inputs or")
    assert became(do(file, overwrite=True)) == {"extract": "skipped", "evaluate": "skipped", "export": "done"}


def test_a_step_may_say_itself_that_it_may_be_made_anew(chain: Write) -> None:
    file = chain(BUNDLED, "refine")
    do(file)
    change(file, "[extract]\n", "[extract]\noverwrite = true\nthreshold = 0.4\n")
    with pytest.raises(RecordMismatch, match=r"^refine: .* is outdated, because extract"):
        do(file)
    change(file, "[refine]\n", "[refine]\noverwrite = true\n")
    assert set(became(do(file)).values()) == {"done"}
    assert set(became(do(file)).values()) == {"skipped"}


def test_a_foreign_chain_file_is_not_written_over(chain: Write, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/chain.json").write_text('{"schema": 99}')
    with pytest.raises(UsageError, match="was not written by `pseudomask run`"):
        do(chain(BUNDLED))
    assert (tmp_path / "out/chain.json").read_text() == '{"schema": 99}'


def test_several_processes_are_refused(chain: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pseudomask.chain.run.ranks", lambda: ranks.Ranks(rank=0, world=2))
    with pytest.raises(UsageError, match="cannot share its steps"):
        do(chain(BUNDLED))


def test_the_fingerprint_hangs_on_masks_without_a_record_too(chain: Write, room: Path, tmp_path: Path) -> None:
    from pseudomask.chain.plan import plan

    shutil.copytree(room / "truth", tmp_path / "masks")
    top = f'masks = "{tmp_path}/masks"\ntruth = "truth"\nout = "OUT"'
    (step,) = plan(chain("evaluate", top=top), {}).steps
    before = fingerprint(step)
    assert before == fingerprint(step)
    (tmp_path / "masks/p01.png").write_bytes(b"other")
    assert before != fingerprint(step)


def test_tags_that_cannot_teach_are_told_by_a_dry_run_once(chain: Write, room: Path, tmp_path: Path) -> None:
    rows = (room / "photos.csv").read_text().splitlines()
    labels = tmp_path / "l.csv"
    odd = [f"{row.partition(',')[0]},bar{';disc' * (i % 2)}" for i, row in enumerate(rows[1:])]
    labels.write_text("\n".join([rows[0], *odd]) + "\n")
    file = chain("train-cls", "reactivate", "extract")
    change(file, "photos.csv", str(labels))
    ear = tiny.Ear()
    do(file, ear, dry_run=True)
    assert sum("in every photo: bar" in line for line in ear.warnings) == 1
    result = do(file, ear)
    assert [one["kind"] for one in told(tmp_path)["steps"][0]["results"]["tag_problems"]] == ["everywhere", "few"]
    assert result.exit_code == 0


def test_what_one_class_cannot_teach_is_known_before_train_cls(chain: Write, room: Path, tmp_path: Path) -> None:
    """What reactivate would refuse, after hours."""
    rows = (room / "photos.csv").read_text().splitlines()
    labels = tmp_path / "l.csv"
    labels.write_text("\n".join([rows[0], *(f"{row.partition(',')[0]},bar" for row in rows[1:])]) + "\n")
    file = chain("train-cls", "reactivate")
    change(file, "photos.csv", str(labels))
    change(file, "[reactivate]", "[reactivate]\ncontrast = false")
    with pytest.raises(UsageError, match=r"^reactivate: .*--no-contrast"):
        do(file)
    assert not (tmp_path / "out").exists()


def test_a_training_that_diverges_fails_the_chain(chain: Write, tmp_path: Path) -> None:
    file = chain("train-cls", "extract")
    change(file, "lr = 0.01", "lr = 1e9")
    with pytest.raises(TrainingDiverged, match=r"^train-cls: epoch 1, step \d: ") as caught:
        do(file)
    assert caught.value.exit_code == 1
    assert {entry["step"]: entry["status"] for entry in told(tmp_path)["steps"]} == {
        "train-cls": "failed",
        "extract": "waiting",
    }
    assert not list((tmp_path / "out").rglob("weights.safetensors"))


def test_a_photo_that_changed_goes_through_the_chain_alone(chain: Write, room: Path, tmp_path: Path) -> None:
    """extract and refine make its mask again; a photo that is gone is told."""
    photos = tmp_path / "photos"
    shutil.copytree(room / "photos", photos)
    file = chain(BUNDLED, "refine")
    change(file, 'images = "photos"', f'images = "{photos}"')
    assert do(file).exit_code == 0
    masks = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    assert set(became(do(file)).values()) == {"skipped"}
    Image.fromarray(np.full((40, 40, 3), 99, np.uint8)).save(photos / "p03.png")
    assert became(do(file, dry_run=True)) == {"extract": "to resume", "refine": "after earlier steps"}
    assert became(do(file)) == {"extract": "done", "refine": "done"}
    changed = {path for path, old in masks.items() if path.stat().st_mtime_ns != old}
    assert {path.relative_to(tmp_path / "out").as_posix() for path in changed} == {"seeds/p03.png", "refined/p03.png"}
    assert set(became(do(file)).values()) == {"skipped"}
    (photos / "p03.png").unlink()
    with pytest.raises(RecordMismatch, match=r"extract: .*1 photo .*p03.*--prune"):
        do(file)
    change(file, "[refine]\n", "prune = true\n[refine]\nprune = true\n")
    assert set(became(do(file)).values()) == {"done"}
    assert not any(path.exists() for path in changed)
