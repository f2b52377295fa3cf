"""`check` on small folders: verdicts, photos that cannot serve, duplicates, tags that contradict each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image

from pseudomask.checking.check import check
from pseudomask.checking.result import CheckResult
from pseudomask.cli import app
from pseudomask.config import CheckConfig
from pseudomask.errors import UsageError

Check = Callable[..., CheckResult]


def picture(seed: int, side: int = 96) -> Image.Image:
    colours = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((side, side), Image.Resampling.BILINEAR)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """120 photos: cat in the first 60, dog in 40 to 99, skin in all, hat in the last 3."""
    rows = ["filename,labels"]
    (tmp_path / "photos").mkdir()
    for i in range(120):
        picture(i).save(tmp_path / "photos" / f"{i:03d}.jpg", quality=90)
        names = ["skin"] + ["cat"] * (i < 60) + ["dog"] * (40 <= i < 100) + ["hat"] * (i >= 117)
        rows.append(f"{i:03d}.jpg,{';'.join(names)}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def run(folder: Path, **more: Any) -> CheckResult:
    return check(CheckConfig(images=folder / "photos", labels=folder / "labels.csv", workers=0, **more))


def test_each_class_has_its_verdict_the_worst_first(folder: Path) -> None:
    result = run(folder)
    assert [(one.name, one.photos, one.without, one.verdict) for one in result.classes] == [
        ("hat", 3, 117, "hopeless"),
        ("skin", 120, 0, "hopeless"),
        ("cat", 60, 60, "will work"),
        ("dog", 60, 60, "will work"),
    ]
    assert sum(one.held_out for one in result.classes if one.name == "skin") == result.held_out == 6
    assert result.counts == {"hopeless": 2, "doubtful": 0, "will work": 2}
    assert result.exit_code == 1
    assert run(folder, max_hopeless=2).exit_code == 0
    told = "\n".join(result.notes())
    assert "add photos without it" in told
    assert "train-cls" not in told, "nobody is led on to a training that cannot work"
    assert (result.twins, result.unreadable, result.tiny) == ([], {}, [])


def test_photos_that_cannot_be_read_or_are_tiny(folder: Path) -> None:
    (folder / "photos/000.jpg").write_bytes(b"no photo")
    cut = (folder / "photos/001.jpg").read_bytes()
    (folder / "photos/001.jpg").write_bytes(cut[: len(cut) // 2])
    picture(2, 63).save(folder / "photos/002.jpg")
    picture(3, 64).save(folder / "photos/003.jpg")
    result = run(folder)
    assert sorted(result.unreadable) == ["000.jpg", "001.jpg"]
    assert "truncated" in result.unreadable["001.jpg"]
    assert result.tiny == ["002.jpg"]
    assert any("002.jpg" in line for line in result.notes())
    headers = run(folder, decode=False)
    assert list(headers.unreadable) == ["000.jpg"], "a cut photo has a sound header"
    assert headers.twins is None
    assert any("--decode" in line for line in headers.notes())


def test_identical_photos_with_other_tags(folder: Path) -> None:
    (folder / "photos/050.jpg").write_bytes((folder / "photos/010.jpg").read_bytes())
    result = run(folder, val_fraction=0)
    (one,) = result.twins or ()
    assert (one.photos, one.identical, one.across_split, one.tags_differ) == (("010.jpg", "050.jpg"), True, False, True)
    assert any("identical photos with different tags: 010.jpg = 050.jpg" in line for line in result.notes())


def test_near_duplicates_across_the_split(folder: Path) -> None:
    picture(10).resize((48, 48)).save(folder / "photos/011.jpg", quality=60)
    (folder / "val.txt").write_text("011\n012\n")
    result = run(folder, val_list=folder / "val.txt")
    (one,) = result.twins or ()
    assert (one.photos, one.identical, one.across_split, one.tags_differ) == (
        ("010.jpg", "011.jpg"),
        False,
        True,
        False,
    )
    assert result.copied == ["011.jpg"]
    assert any("1 of 2 held-out photos" in line and "--val-list" in line for line in result.notes())


def test_identical_ones_among_near_duplicates_are_told_once_more(folder: Path) -> None:
    (folder / "photos/050.jpg").write_bytes((folder / "photos/010.jpg").read_bytes())
    picture(10).resize((80, 80)).save(folder / "photos/012.jpg", quality=60)
    twins = run(folder, val_fraction=0).twins or ()
    assert [(one.photos, one.identical) for one in twins] == [
        (("010.jpg", "012.jpg", "050.jpg"), False),
        (("010.jpg", "050.jpg"), True),
    ]


def test_lists_are_cut_only_with_a_word_on_where_the_rest_stands(folder: Path) -> None:
    for i in range(5):
        (folder / f"photos/{i:03d}.jpg").write_bytes(b"no photo")
    result = run(folder)
    line = next(line for line in result.notes() if "cannot be read" in line)
    assert "and 2 more (--json lists all)" in line
    assert len(result.to_json()["unreadable"]) == 5


def test_the_command_prints_a_table_or_json(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["check", str(folder / "photos"), "--labels", str(folder / "labels.csv"), "--no-decode"]
    assert app.run(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "2 will work, 2 hopeless" in err
    assert "in every photo" in err
    assert app.run([*arguments, "--json", "-q", "--max-hopeless", "2"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["schema"] == 1
    assert plain["verdicts"] == {"hopeless": 2, "doubtful": 0, "will work": 2}
    assert plain["limits"]["few"] == 40
    assert plain["classes"][0]["reasons"][0]["kind"] == "hardly_any"
    assert plain["duplicates"] is None


@pytest.mark.parametrize(("cats", "closed_form"), [(60, True), (99, True), (100, False)])
def test_sound_tags_lead_to_the_training_that_fits_their_number(folder: Path, cats: int, closed_form: bool) -> None:
    rows = [f"{i:03d}.jpg,{'cat' if i < cats else ''}" for i in range(120)]
    (folder / "labels.csv").write_text("\n".join(["filename,labels", *rows]) + "\n")
    result = run(folder, decode=False)
    assert result.exit_code == 0
    assert result.notes()[-1].startswith("next: pseudomask train-cls ")
    assert result.notes()[-1].endswith(" --fit lda") == closed_form


def test_what_train_cls_would_refuse_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="--labels"):
        check(CheckConfig(images=folder / "photos"))
    ear = tiny.Ear()
    (folder / "photos/late.jpg").write_bytes((folder / "photos/000.jpg").read_bytes())
    check(CheckConfig(images=folder / "photos", labels=folder / "labels.csv", decode=False), ear)
    assert any("no row" in line for line in ear.warnings)
