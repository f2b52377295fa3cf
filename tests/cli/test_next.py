"""The command that a training verb tells is one that can be typed."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from pseudomask.cli import app, options
from pseudomask.cli.verb import _lines, make_config


@pytest.mark.parametrize("name", ["train-cls", "reactivate", "calibrate", "train-affinity"])
def test_what_comes_next_parses(name: str) -> None:
    verb = __import__(app.VERBS[name], fromlist=["VERB"]).VERB
    places = {
        one.name: Path(f"my {one.name}") for one in fields(verb.config) if one.name in ("images", "seeds", "labels")
    }
    weights = Path("my run/weights.safetensors")
    result = SimpleNamespace(weights=weights, summary=lambda: [("steps", "2 of 2")])
    (_, _), (label, line) = _lines(verb, SimpleNamespace(**places), result)
    assert label == "next   "
    first, then, *rest = shlex.split(line)
    assert first == "pseudomask"
    program: Any = typer.main.get_command(app.build())
    given = program.commands[then].make_context(then, rest).params
    following = __import__(app.VERBS[then], fromlist=["VERB"]).VERB
    kept = {key: value for key, value in given.items() if not key.startswith("cli_")}
    config = make_config(following, options.settings(following.config), kept, tuple(app.VERBS), None)
    assert config.images == places["images"]
    assert weights in (getattr(config, "weights", None), getattr(config, "affinity", None))
    stopped = SimpleNamespace(weights=None, summary=lambda: [("steps", "1 of 2")])
    assert len(_lines(verb, SimpleNamespace(**places), stopped)) == 1
