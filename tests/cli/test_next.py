"""The command that a training verb tells is one that can be typed."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from pseudomask.cli import app
from pseudomask.cli.verb import _rows, make_config
from pseudomask.config.settings import settings
from pseudomask.verbs import VERBS


@pytest.mark.parametrize("name", [name for name, verb in VERBS.items() if verb.next])
def test_what_comes_next_parses(name: str) -> None:
    verb = VERBS[name]
    places = {
        one.name: Path(f"my {one.name}") for one in fields(verb.config) if one.name in ("images", "seeds", "labels")
    }
    weights = Path("my run/weights.safetensors")
    result = SimpleNamespace(weights=weights, summary=lambda: [("steps", "2 of 2")])
    (_, _), (label, line) = _rows(verb, SimpleNamespace(**places), result)
    assert label == "next"
    first, then, *rest = shlex.split(line)
    assert first == "pseudomask"
    program: Any = typer.main.get_command(app.build())
    given = program.commands[then].make_context(then, rest).params
    following = VERBS[then]
    kept = {key: value for key, value in given.items() if not key.startswith("cli_")}
    config = make_config(following, settings(following.config), kept, tuple(VERBS), None)
    assert config.images == places["images"]
    assert weights in (getattr(config, "weights", None), getattr(config, "affinity", None))
    stopped = SimpleNamespace(weights=None, summary=lambda: [("steps", "1 of 2")])
    assert len(_rows(verb, SimpleNamespace(**places), stopped)) == 1
