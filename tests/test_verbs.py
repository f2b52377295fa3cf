"""The table of verbs: all that is made from it agrees with it, and one more row is one more verb."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

import pseudomask
from pseudomask import api
from pseudomask.chain import steps as chain_steps
from pseudomask.chain.plan import plan
from pseudomask.checkup import Check, DoctorResult
from pseudomask.cli import app
from pseudomask.cli.manual import manual
from pseudomask.errors import UsageError
from pseudomask.exporting.result import ExportResult
from pseudomask.running.folder_result import FolderResult
from pseudomask.running.reporter import Bad, Reporter
from pseudomask.verbs import GROUPS, VERBS, Verb

ROWS = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)


@ROWS
def test_a_row_is_consistent(verb: Verb) -> None:
    names = {one.name for one in fields(verb.config)}
    assert verb.group in GROUPS
    assert {verb.writes, *verb.inputs, *verb.aliases.values()} - {""} <= names
    assert bool(verb.writes) == bool(verb.below) == bool(verb.inputs)
    takers = {name for other in VERBS.values() for name in other.inputs}
    assert set(verb.makes) - {"masks"} <= takers
    assert (verb.method is not None) <= ("weights" in verb.makes)
    words = verb.next.split()
    assert not words or words[0] in VERBS
    assert {name for _, name, _, _ in Formatter().parse(verb.next) if name} <= names | {"weights"}


@ROWS
def test_the_api_has_its_function_and_its_settings(verb: Verb) -> None:
    name = verb.identifier
    function = getattr(api, name)
    assert function is getattr(pseudomask, name) is verb.run
    assert getattr(api, verb.config.__name__) is getattr(pseudomask, verb.config.__name__) is verb.config
    first, second = inspect.signature(function, eval_str=True).parameters.values()
    assert first.annotation is verb.config
    assert second.name == "reporter"
    assert inspect.signature(function, eval_str=True).return_annotation.__name__ in vars(api)
    assert {name, verb.config.__name__} <= set(pseudomask.__all__)


def test_the_api_has_nothing_besides() -> None:
    public = {name for name, value in vars(api).items() if callable(value)}
    known = {name for verb in VERBS.values() for name in (verb.identifier, verb.config.__name__)}
    besides = {"NotebookReporter", "Prediction", "Predictor"}
    assert {name for name in public - known - besides if not name.endswith("Result")} == set()
    assert set(pseudomask.__all__) == known | {"NotebookReporter", "Predictor", "PseudomaskError", "__version__"}


@pytest.mark.parametrize("name", ["evaluate", "report", "review", "export", "run", "doctor"])
def test_what_needs_no_torch_loads_none(name: str) -> None:
    code = f"import sys, pseudomask; pseudomask.{name}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@dataclass(frozen=True, kw_only=True)
class CountConfig:
    out: Path = field(metadata={"positional": True, "help": "Folder of masks."})
    into: Path | None = field(default=None, metadata={"help": "File of the count."})
    kind: str = field(default="png", metadata={"help": "Suffix of what is counted."})


@dataclass
class Counted:
    count: int
    exit_code: int = 0

    def summary(self) -> list[tuple[str, object]]:
        return [("files", self.count), ("failed", "none"), ("note", "MISSING nothing"), ("lost", Bad("2 of them"))]

    def to_json(self) -> dict[str, int]:
        return {"count": self.count}


def count(config: CountConfig, reporter: Reporter) -> Counted:
    found = len(list(config.out.glob(f"*.{config.kind}")))
    if config.into is not None:
        config.into.write_text(str(found))
    return Counted(found)


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> Verb:
    """A verb that is only a row, a class and a function."""
    verb = Verb(
        name="count",
        config=CountConfig,
        function=f"{__name__}:count",
        help="Count masks.",
        group=GROUPS[1],
        stdout=lambda config, result: (result.count,),
        writes="into",
        below="count.txt",
        inputs=("out",),
        aliases={"masks": "out"},
        several=True,
    )
    monkeypatch.setitem(VERBS, "count", verb)
    monkeypatch.setitem(chain_steps.STEPS, "count", verb)
    return verb


def test_one_more_row_is_one_more_command(
    one_more: Verb, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "c.toml").write_text("[count]\nkind = 'toml'\n")
    assert app.run(["count", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "1\n"
    assert app.run(["count", str(tmp_path), "--config", str(tmp_path / "c.toml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"count": 1}
    monkeypatch.setenv("PSEUDOMASK_COUNT_KIND", "jpg")
    assert app.run(["count", str(tmp_path), "-q"]) == 0
    streams = capsys.readouterr()
    assert (streams.out, streams.err) == ("0\n", "")  # and the variable is no stray
    assert app.run(["--help"]) == app.run(["count", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Count masks." in shown
    assert "--kind TEXT" in shown
    assert ".SH COUNT\n" in manual()
    monkeypatch.setenv("_PSEUDOMASK_COMPLETE", "complete_zsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "pseudomask cou")
    assert app.run([]) == 0
    assert '"count":"Count masks."' in capsys.readouterr().out


def test_one_more_row_is_one_more_step(one_more: Verb, tmp_path: Path) -> None:
    file = tmp_path / "chain.toml"
    file.write_text(f"images = 'photos'\nout = '{tmp_path}/out'\n[extract]\n[[count]]\n[[count]]\nname = 'b'\n")
    extract, first, second = plan(file, {}).steps
    assert first.config == CountConfig(out=tmp_path / "out/seeds", into=tmp_path / "out/count.txt")
    assert second.config.into == tmp_path / "out/count-b.txt"
    assert first.needs == {extract.label}


def test_one_more_step_runs_in_a_chain(one_more: Verb, tmp_path: Path) -> None:
    """Once, and again only when what it looked at is other."""
    masks, file = tmp_path / "masks", tmp_path / "chain.toml"
    masks.mkdir()
    (masks / "a.png").touch()
    file.write_text(f"masks = '{masks}'\nout = '{tmp_path}/out'\n[[count]]\n")
    config = pseudomask.RunConfig(config=file)
    assert [step["status"] for step in pseudomask.run(config).steps] == ["done"]
    assert (tmp_path / "out/count.txt").read_text() == "1"
    assert [step["status"] for step in pseudomask.run(config).steps] == ["skipped"]
    (masks / "b.png").touch()
    assert [step["status"] for step in pseudomask.run(config).steps] == ["done"]
    assert (tmp_path / "out/count.txt").read_text() == "2"
    file.write_text(f"out = '{tmp_path}/out'\n[[count]]\n")
    with pytest.raises(UsageError, match="count needs `out`: no step before it makes masks"):
        pseudomask.run(config)


@dataclass(frozen=True, kw_only=True)
class NeedyConfig(CountConfig):
    what: str = field(metadata={"help": "What is counted."})


def test_a_setting_that_a_new_step_needs_is_asked_for(
    one_more: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(chain_steps.STEPS, "count", replace(one_more, config=NeedyConfig))
    file = tmp_path / "chain.toml"
    file.write_text("masks = 'm'\nout = 'o'\n[[count]]\n")
    with pytest.raises(UsageError, match="count needs `what`: give it in its table"):
        plan(file, {})


def test_red_is_what_the_result_says_is_wrong(
    one_more: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not what happens to begin with a certain word."""
    painted: dict[str, int] = {}

    def err(text: str, *, head: str = "", colour: int = 0) -> None:
        painted[head.strip()] = colour

    monkeypatch.setattr("pseudomask.cli.console.err", err)
    assert app.run(["count", str(tmp_path)]) == 0
    red = {label for label, colour in painted.items() if colour == 31}
    assert red == {"lost"}
    assert {"files", "failed", "note"} <= set(painted)


@dataclass
class Listed(Counted):
    def headline(self) -> str:
        return "One file."

    def table(self) -> tuple[list[str], list[list[str]]]:
        return ["name", "bytes"], [["a.png", "0"]]

    def notes(self) -> list[str]:
        return ["That is all."]


def listed(config: CountConfig, reporter: Reporter) -> Listed:
    return Listed(1)


def test_a_result_may_have_a_headline_a_table_and_notes(
    one_more: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(VERBS, "count", replace(one_more, function=f"{__name__}:listed"))
    assert app.run(["count", str(tmp_path)]) == 0
    lines = ["One file.", "", "name   bytes", "-----  -----", "a.png      0", "", "That is all."]
    assert capsys.readouterr().err.splitlines() == lines


def test_failures_of_the_real_results_are_bad(tmp_path: Path) -> None:
    def bad(result: Any) -> set[str]:
        return {label for label, value in result.summary() if isinstance(value, Bad)}

    assert bad(ExportResult(dest=tmp_path, format="voc", classes=(), splits={"train": 1})) == set()
    failed = ExportResult(
        dest=tmp_path, format="voc", classes=(), splits={"train": 1}, failures={"a": "b"}, left_out={"c": "d"}
    )
    assert bad(failed) == {"failed"}
    checks = [Check("torch", False, "x"), Check("crf", False, "y", essential=False), Check("numpy", True, "MISSING?")]
    assert bad(DoctorResult(checks=checks)) == {"torch", "verdict"}
    assert bad(DoctorResult(checks=checks[1:])) == set()
    made: dict[str, Any] = {"out": tmp_path, "classes": (), "threshold": 0.2, "threshold_from": "given"}
    assert bad(FolderResult(**made)) == set()
    assert bad(FolderResult(**made, failed=1, failures={"a": "b"})) == {"failed"}
