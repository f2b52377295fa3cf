"""The nearest valid name, of a list and of a folder."""

from __future__ import annotations

from pathlib import Path

from pseudomask.suggest import did_you_mean_path, nearest


def test_the_nearest_name_whatever_its_case() -> None:
    assert nearest("CATT", ["dog", "Cat"]) == "Cat"
    assert nearest("zebra", ["dog", "cat"]) is None


def test_a_path_is_corrected_where_it_first_goes_wrong(tmp_path: Path) -> None:
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    (tmp_path / "photos" / "tags.csv").touch()
    assert did_you_mean_path(tmp_path / "photo" / "cats") == f"; did you mean '{tmp_path}/photos/cats'?"
    assert did_you_mean_path(tmp_path / "photos" / "tags.cvs") == f"; did you mean '{tmp_path}/photos/tags.csv'?"
    assert did_you_mean_path(tmp_path / "photo" / "zebras") == ""  # photos/zebras is not there either
    assert did_you_mean_path(tmp_path / "q") == ""
    assert did_you_mean_path(tmp_path / "photos" / "tags.csv" / "x") == ""  # a file holds nothing
