"""The table of verdicts, and what it leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pseudomask.config import ReviewOptions
from pseudomask.data.images import ImageItem
from pseudomask.data.review import left_out, read_review
from pseudomask.errors import LabelError, UsageError
from pseudomask.running.reporter import SilentReporter

ITEMS = [ImageItem(key, f"{key}.jpg", Path("photos")) for key in ("a", "sub/b", "c", "d")]


@dataclass
class Told(SilentReporter):
    warned: str = ""

    def warn(self, text: str) -> None:
        self.warned += text


def written(folder: Path, text: str) -> Path:
    path = folder / "review.csv"
    path.write_text(text, "utf-8")
    return path


def reasons(path: Path, reporter: Any = None, **more: Any) -> dict[str, str]:
    options = ReviewOptions(review=path, **more)
    return dict(left_out(options, ITEMS, reporter or SilentReporter()).reasons)


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_it_is_read(tmp_path: Path, mark: str) -> None:
    rows = [
        ["Photo", "verdict", "note", "more"],
        ["a.jpg", "BAD", "half", ""],
        ["sub/b.jpg", "", "look", ""],
        ["c", "good"],
    ]
    found = read_review(written(tmp_path, "\ufeff" + "\r\n".join(mark.join(row) for row in rows)))
    assert {name: (one.verdict, one.note, one.line) for name, one in found.items()} == {
        "a.jpg": ("bad", "half", 2),
        "sub/b.jpg": ("", "look", 3),
        "c": ("good", "", 4),
    }


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no column 'photo'"),
        ("photo,mask\na,bad\n", "line 1: no column 'verdict'"),
        ("photo,verdict\na,bda\n", "line 2: unknown verdict 'bda'; did you mean 'bad'"),
        ("photo,verdict\na,7\n", "write good, bad or unsure"),
        ("photo,verdict\n,bad\n", "line 2: no photo"),
        ("photo,verdict\na,bad\na,good\n", "line 3: a is good here, but bad in line 2"),
        ('photo,verdict\n"a,bad\n', "malformed table"),
        ("photo,verdict\nzebra,bad\n", "names none of 4 masks"),
    ],
)
def test_wrong_files_are_told_in_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as told:
        reasons(written(tmp_path, text))
    assert "\n" not in str(told.value)
    assert "review.csv" in str(told.value)


def test_a_missing_file_and_a_name_of_two_photos(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="cannot be read"):
        reasons(tmp_path / "review.csv")
    twins = [ImageItem(key, f"{key}.jpg", Path()) for key in ("x/a", "y/a")]
    path = written(tmp_path, "photo,verdict\na.jpg,bad\n")
    with pytest.raises(LabelError, match=r"line 2: a\.jpg is ambiguous"):
        left_out(ReviewOptions(review=path), twins, SilentReporter())


def test_bad_masks_are_left_out_and_others_by_choice(tmp_path: Path) -> None:
    path = written(tmp_path, "photo,verdict,note\na.jpg,bad,half\nb.jpg,unsure,\nc,good,\ngone.jpg,bad,\n")
    told = Told()
    assert reasons(path, told) == {"a": "bad in review.csv: half"}
    assert "1 row without a mask (first: gone.jpg)" in told.warned
    assert [*reasons(path, unsure="drop")] == ["a", "sub/b"]
    assert [*reasons(path, unreviewed="drop")] == ["a", "d"]
    assert [*reasons(path, unsure="drop", unreviewed="drop")] == ["a", "sub/b", "d"]
    with pytest.raises(UsageError, match="leaves out all 2 masks"):
        left_out(ReviewOptions(review=path, unsure="drop"), ITEMS, told).kept(ITEMS[:2])


def test_without_a_review_nothing_is_left_out() -> None:
    assert left_out(ReviewOptions(), ITEMS, SilentReporter()).kept(ITEMS) == ITEMS
    with pytest.raises(UsageError, match="--unsure drop needs --review"):
        left_out(ReviewOptions(unsure="drop"), ITEMS, SilentReporter())
