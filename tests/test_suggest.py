"""The nearest valid name, of a list and of a folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pseudomask.suggest import did_you_mean, did_you_mean_path, nearest


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


@pytest.mark.parametrize(
    "name", ["it's $(touch code).csv", "a`touch code`'.csv", "$HOME'.csv", "-x.csv", "a\nb'$(touch code).csv"]
)
def test_what_is_suggested_can_be_pasted_into_a_shell(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    told = did_you_mean_path(tmp_path / f"{name}x")
    word = told.removeprefix("; did you mean ").removesuffix("?")
    run = subprocess.run(["bash", "-c", f"printf %s {word}"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout == str(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert "\n" not in told


def test_a_plain_name_stands_in_quotes() -> None:
    assert did_you_mean("catt", ["cat"]) == "; did you mean 'cat'?"
