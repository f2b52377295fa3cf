"""What is told of a mistyped name: one line, with the name that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from pseudomask.cli import app, console


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("PSEUDOMASK_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    (tmp_path / "tags.csv").write_text("filename,labels\na.jpg,cat\n")
    (tmp_path / "bad.toml").write_text("trheshold = 0.1\n")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("extrct photos out", "unknown verb 'extrct' (did you mean 'extract'?); see 'pseudomask --help'"),
        ("qqq photos out", "unknown verb 'qqq'; see 'pseudomask --help'"),
        (
            "extract photos out --methd cam",
            "No such option: --methd (did you mean '--method'?); see 'pseudomask extract --help'",
        ),
        ("extract photos out --method recm", "unknown method 'recm'; did you mean 'recam'?"),
        ("extract photos out --tta balanecd", "(did you mean 'balanced'?)"),
        ("extract photo out", "photo: no such folder; did you mean 'photos'?"),
        ("extract photos out --labels tags.cvs", "did you mean 'tags.csv'?"),
        ("extract photos out --config bad.toml", "unknown key 'trheshold' for extract (did you mean 'threshold'?)"),
        ("extract photos out --labels tags.csv --device cuad", "did you mean 'cuda'?"),
        ("refine photos photos out --method crff", "did you mean 'crf'?"),
    ],
)
def test_the_name_that_was_meant(line: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("error: ")


def test_a_variable_that_sets_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PSEUDOMASK_BATCHSIZE", "3")
    monkeypatch.setenv("PSEUDOMASK_EXTRACT_TRHESHOLD", "0.1")
    monkeypatch.setenv("PSEUDOMASK_REFINE_CRF_SIDE", "64")
    monkeypatch.setenv("PSEUDOMASK_LIMIT", "1")
    monkeypatch.setenv("PSEUDOMASK_DEBUG", "")
    assert app.run(["extract", "photo", "out"]) == 2
    assert capsys.readouterr().err.splitlines()[:-1] == [
        "warning: PSEUDOMASK_BATCHSIZE is not a known variable (did you mean 'PSEUDOMASK_BATCH_SIZE'?)",
        "warning: PSEUDOMASK_EXTRACT_TRHESHOLD is not a known variable (did you mean 'PSEUDOMASK_EXTRACT_THRESHOLD'?)",
    ]


def test_long_lines_are_folded_beside_their_label(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "one two three four five"
    assert console.folded(text, 10) == [text]  # pytest's stderr is no terminal
    monkeypatch.setattr(console, "is_live", lambda stream: True)
    monkeypatch.setenv("COLUMNS", "30")
    assert console.folded(text, 10) == ["one two three four", "five"]
    assert console.folded("", 10) == [""]
    assert console.folded(f"pseudomask {text}", 10) == [f"pseudomask {text}"]
    path = "/a/path-of/more/than/twenty/columns"
    assert console.folded(f"in {path}", 10) == ["in", path]


def test_colours_only_where_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert console.paint("error: ", console.RED) == "error: "  # pytest's stderr is no terminal
    monkeypatch.setattr(console, "is_live", lambda stream: True)
    assert console.paint("error: ", console.RED) == "\x1b[31merror: \x1b[0m"
    assert console.paint("", console.RED) == console.paint("", 0) == ""
    monkeypatch.setenv("NO_COLOR", "1")
    assert console.paint("error: ", console.RED) == "error: "
