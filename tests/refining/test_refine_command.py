"""`pseudomask refine` as people call it: streams, exit codes, and what bad input gets."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from planted import KEYS, blurred

import pseudomask
from pseudomask.cli import app
from pseudomask.networks import store
from pseudomask.running.record import RunRecord
from pseudomask.scores import load_scores, save_scores

Call = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def folders(source: Path, tmp_path: Path) -> Path:
    """photos/ and seeds/ of its own: tests may break them."""
    for name in ("photos", "seeds"):
        shutil.copytree(source / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def call(folders: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs refine in this process; returns exit code, stdout and the lines of stderr."""

    def run(*more: str, images: str = "photos", seeds: str = "seeds", out: str = "out") -> tuple[int, str, list[str]]:
        places = [str(folders / one) for one in (images, seeds, out)]
        code = app.run(["refine", *places, "--workers", "0", "--device", "cpu", "--method", "pamr", *more])
        streams = capsys.readouterr()
        assert "Traceback" not in streams.err
        return code, streams.out, streams.err.splitlines()

    return run


def test_as_a_process(folders: Path) -> None:
    """A first run, with two workers, from any folder."""
    words = ("refine", "photos", "seeds", "out", "--method", "pamr", "--scores")
    done = tiny.program(*words, cwd=folders, PSEUDOMASK_WORKERS="2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "out\n"
    assert "Traceback" not in done.stderr
    assert "0.3, that of SEEDS (from the weights' card)" in done.stderr
    assert len(list((folders / "out").rglob("*.png"))) == len(list((folders / "out/scores").rglob("*.npz"))) == 6


def test_json_and_evaluate(call: Call, folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call("--json", "--scores", "--threshold", "0.4")
    result = json.loads(out)
    assert (code, result["done"], result["method"], result["threshold"]) == (0, 6, ["pamr"], 0.4)
    assert app.run(["evaluate", str(folders / "out"), str(folders / "out"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["protocol"]["threshold"] == 0.4
    assert app.run(["evaluate", str(folders / "out"), str(folders / "out"), "--sweep", "--quiet"]) == 0


def test_mistakes_are_found_before_any_work(call: Call, folders: Path) -> None:
    (folders / "classes.txt").write_text("background\nbar\ndisk\nsquare\n")
    (folders / "few.txt").write_text("background\nbar\n")
    (folders / "bare").mkdir()
    (folders / "odd/scores").mkdir(parents=True)
    save_scores(folders / "odd/scores/other.npz", load_scores(folders / "seeds/scores/p01.npz"))
    shutil.copytree(folders / "seeds", folders / "untold")
    (folders / "untold/run.json").unlink()
    shutil.copytree(folders / "seeds", folders / "damaged")
    (folders / "damaged/run.json").write_text("{}")
    before = sorted(folders.rglob("*"))
    names = str(folders / "classes.txt")
    for arguments, places, message in (
        (("--method", "crv"), {}, "--method 'crv' must be one of "),
        (("--threshold", "2"), {}, "must be at most 1"),
        (("--threshold", "best"), {}, "--threshold"),
        ((), {"seeds": "nowhere"}, "nowhere: no such folder"),
        ((), {"seeds": "bare"}, "bare: contains no scores/; run `pseudomask extract`"),
        ((), {"seeds": "odd"}, "give --class-file"),
        (("--class-file", names), {"seeds": "odd"}, "has a photo of its name"),
        (("--class-file", names), {}, "class 2 is 'disk', in the seeds 'disc'"),
        (("--class-file", str(folders / "few.txt")), {}, "it names 1 classes, the seeds have 3"),
        (("--class-file", names), {"seeds": "untold"}, "give --threshold X or auto"),
        ((), {"seeds": "damaged"}, "SEEDS must be an output folder of extract or refine"),
        ((), {"out": "seeds"}, "is the seeds' folder"),
        ((), {"out": "seeds/more"}, "lies inside the seeds' folder"),
        ((), {"out": "photos"}, "is the image folder"),
        ((), {"out": "photos/out"}, "lies inside the image folder"),
        ((), {"images": "bare"}, "no image found"),
    ):
        code, out, lines = call(*arguments, **places)  # type: ignore[arg-type]
        errors = [line for line in lines if line.startswith("error: ")]
        assert (code, out, len(errors)) == (2, "", 1), message
        assert message in errors[0]
    assert sorted(folders.rglob("*")) == before


def test_what_the_machine_lacks(call: Call, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)  # not importable, wherever this runs
    monkeypatch.setattr(store, "bundled_folders", lambda: ())  # no boundary head
    for arguments in (
        ("--method", "crf", "--engine", "pydensecrf"),
        ("--method", "walk"),
        ("--method", "walk,crf", "--affinity", str(folders / "none.safetensors")),
    ):
        code, out, lines = call(*arguments)
        assert (code, out, sum(line.startswith("error: ") for line in lines)) == (3, "", 1), arguments
    assert not (folders / "out").exists()


def test_what_does_not_fit_fails_alone(call: Call, folders: Path) -> None:
    (folders / "photos/p01.png").unlink()
    Image.new("RGB", (50, 40)).save(folders / "photos/p03.png")
    (folders / "seeds/scores/p05.npz").write_bytes(b"no scores")
    photo = folders / "photos/deep/p00.png"
    photo.write_bytes(photo.read_bytes()[:200])
    code, out, lines = call()
    assert (code, out) == (1, f"{folders / 'out'}\n")
    told = "\n".join(lines)
    assert "p01: no photo with this name in IMAGES" in told
    assert "p03.png: its scores belong to a photo of 48x64, not 50x40; extract it again" in told
    assert "p05.png: not a pseudomask score file" in told
    assert "deep/p00.png: " in told
    entries = [json.loads(line) for line in (folders / "out/manifest.jsonl").read_text().splitlines()]
    assert {e["key"] for e in entries if e["status"] == "done"} == {"deep/p02", "deep/p04"}
    assert call("--max-failures", "4")[0] == 0


def test_scores_of_an_unknown_class(call: Call, folders: Path) -> None:
    record = RunRecord.read(folders / "seeds/run.json")
    assert record is not None
    record.classes = list(tiny.CLASSES[:1])
    record.write(folders / "seeds/run.json")
    code, _, lines = call()
    assert code == 1
    assert any("there are only 1" in line for line in lines)


def test_lists_name_photos(call: Call, folders: Path) -> None:
    (folders / "seeds/scores/p03.npz").unlink()
    code, out, lines = call("--json", out="all")
    assert (code, json.loads(out)["without_seeds"]) == (0, ["p03"])
    (folders / "list").write_text("p05\np03\n")
    code, _, lines = call("--list", str(folders / "list"))
    assert code == 1
    assert any("p03.png: no scores in SEEDS" in line for line in lines)
    assert [p.name for p in (folders / "out").rglob("*.png")] == ["p05.png"]
    (folders / "list").write_text("p05\nghost\n")
    assert call("--list", str(folders / "list"), out="new")[0] == 2


def test_a_seed_that_comes_later_is_refined_later(call: Call, folders: Path) -> None:
    kept = (folders / "seeds/scores/p03.npz").read_bytes()
    (folders / "seeds/scores/p03.npz").unlink()
    assert call()[0] == 0
    (folders / "seeds/scores/p03.npz").write_bytes(kept)
    code, out, _ = call("--json")
    assert (code, json.loads(out)["done"], json.loads(out)["skipped"]) == (0, 6, 5)


def test_scores_from_elsewhere(call: Call, folders: Path) -> None:
    """No run.json: classes and threshold must be told; `SEEDS/scores` itself is understood where there is one."""
    assert call(seeds="seeds/scores", out="one")[0] == 0
    for name in ("run.json", "manifest.jsonl"):
        (folders / "seeds" / name).unlink()
    (folders / "classes.txt").write_text("\n".join(["background", *tiny.CLASSES]))
    assert call("--class-file", str(folders / "classes.txt"), "--threshold", "0.3", out="two")[0] == 0
    assert (folders / "one/p01.png").read_bytes() == (folders / "two/p01.png").read_bytes()


def test_dry_run(call: Call, folders: Path) -> None:
    (folders / "photos/p01.png").unlink()
    code, out, lines = call("--dry-run")
    told = "\n".join(lines)
    assert (code, out) == (0, "")
    assert "scores without a photo  1: p01" in told
    assert "6 masks to make, 0 already done; nothing was written" in told
    assert "0.3, that of SEEDS" in told
    assert not (folders / "out").exists()


def test_an_empty_photo_gets_an_empty_mask(call: Call, folders: Path) -> None:
    plain = np.full((30, 40, 3), 120, np.uint8)
    Image.fromarray(plain).save(folders / "photos/plain.png")
    save_scores(folders / "seeds/scores/plain.npz", blurred(plain))
    assert call()[0] == 0
    assert not np.asarray(Image.open(folders / "out/plain.png")).any()
    assert len(list((folders / "out").rglob("*.png"))) == len(KEYS) + 1


def test_the_package_offers_it(folders: Path) -> None:
    config = pseudomask.RefineConfig(
        images=folders / "photos", seeds=folders / "seeds", out=folders / "out", method=("pamr",), workers=0
    )
    assert pseudomask.refine(config).done == 6
