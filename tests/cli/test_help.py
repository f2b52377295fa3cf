"""What `--help` shows: nothing cut off, nothing torn, every flag with its sentence."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer

from pseudomask.cli import app, help, options
from pseudomask.config.settings import settings
from pseudomask.verbs import GROUPS, VERBS

WORDS = re.compile(r"\s+")


@pytest.fixture(scope="module")
def program() -> Any:
    return typer.main.get_command(app.build())


def page(program: Any, verb: str, width: int) -> str:
    context = typer.Context(program, info_name="pseudomask")
    if not verb:
        return help.page(program, context, width)
    return help.page(program.commands[verb], typer.Context(program.commands[verb], context, verb), width)


@pytest.mark.parametrize("width", [40, 80, 100])
@pytest.mark.parametrize("verb", ["", *VERBS])
def test_nothing_is_wider_than_the_terminal_and_nothing_is_left_out(program: Any, verb: str, width: int) -> None:
    text = page(program, verb, width)
    commands = "Start with:" if not verb else "\0"  # lines to copy are not broken
    assert [line for line in text.split(commands)[0].splitlines() if len(line) > width] == []
    assert "…" not in text.replace("/….", "").replace(", …)", "")  # no name is cut off
    flat = WORDS.sub(" ", text)
    for name in VERBS if not verb else ():
        assert f" {name} {program.commands[name].help}" in flat
    found = settings(VERBS[verb].config) if verb else []
    for setting in found:
        assert WORDS.sub(" ", options.describe(setting)) in flat
        assert setting.positional or re.search(rf"--(\[no-\])?{setting.key}\b", text)


def test_rows_at_80_and_at_40_columns(program: Any) -> None:
    wide, narrow = page(program, "extract", 80).splitlines(), page(program, "extract", 40).splitlines()
    assert wide[0] == "Usage: pseudomask extract IMAGES OUT [OPTIONS]"
    assert wide[4:6] == ["Arguments:", "  IMAGES                   Folder of photos, searched with its subfolders."]
    assert "  --limit N                Use only the first N photos." in wide
    assert "  --[no-]scores            Write OUT/scores/….npz, for evaluate's sweep and for" in wide
    assert narrow[narrow.index("  --limit N") + 1] == "      Use only the first N photos."
    at = narrow.index("  --label-format")  # its list of choices is wider than the page
    assert WORDS.sub(" ", "".join(narrow[at + 1 : at + 4])).startswith(" auto, csv, voc, voc-main, coco, folders,")


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_the_first_settings_and_counts_the_rest(program: Any, verb: str) -> None:
    context = typer.Context(program.commands[verb], typer.Context(program, info_name="pseudomask"), verb)
    flat = WORDS.sub(" ", help.page(program.commands[verb], context, 80, whole=False))
    found, hidden = settings(VERBS[verb].config), help.later(program.commands[verb])
    for one in found:
        assert (WORDS.sub(" ", options.describe(one)) in flat) == (one.name not in hidden), one.name
    assert (f"{len(hidden)} more settings: pseudomask {verb} --help-all" in flat) == bool(hidden)
    assert not [one.name for one in found if one.name in hidden and (one.required or one.needed)]


def test_long_verbs_are_short(program: Any) -> None:
    for verb in ("extract", "refine", "train-cls", "reactivate", "calibrate", "train-affinity"):
        hidden = help.later(program.commands[verb])
        found = {one.name for one in settings(VERBS[verb].config) if not one.positional}
        assert 5 <= len(found - hidden) <= 10, verb
        assert hidden


def test_required_options_are_marked(program: Any) -> None:
    for verb, needed in (("train-cls", 1), ("reactivate", 2), ("calibrate", 2), ("extract", 0)):
        assert page(program, verb, 100).count("[required]") == needed, verb


def test_help_all_shows_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["extract", "--help"]) == 0
    short = capsys.readouterr().out
    assert app.run(["extract", "--help-all"]) == 0
    whole = capsys.readouterr().out
    assert "--labels" in short
    for one in settings(VERBS["extract"].config):
        assert one.positional or re.search(rf"--(\[no-\])?{one.key}\b", whole), one.name
    assert len(short) < len(whole) / 2


@pytest.mark.parametrize("verb", VERBS)
def test_a_default_stays_in_one_piece(program: Any, verb: str) -> None:
    assert not re.search(r"\[(default|required)[^\]]*$", page(program, verb, 80), re.MULTILINE)


def test_every_verb_stands_under_a_known_heading(program: Any) -> None:
    titles = [title for title, _ in help.sections(program, typer.Context(program, info_name="pseudomask"))]
    assert titles == [*GROUPS, "Program"]


def test_colours_change_no_word(program: Any) -> None:
    text = page(program, "refine", 80)
    painted = help.coloured(text)
    assert re.sub(r"\x1b\[\d*m", "", painted) == text
    assert "\x1b[1mCRF:\x1b[0m" in painted
    assert "  \x1b[36m--limit N\x1b[0m" in painted
    assert "\x1b[2m[default: irn]\x1b[0m" in painted
