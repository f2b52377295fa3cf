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
from pseudomask.config import ReactivateConfig, TrainClsConfig
from pseudomask.config.settings import settings
from pseudomask.extracting.result import ExtractResult
from pseudomask.verbs import VERBS


@pytest.mark.parametrize("name", [name for name, verb in VERBS.items() if verb.next])
def test_what_comes_next_parses(name: str) -> None:
    verb = VERBS[name]
    places = {
        one.name: Path(f"my {one.name}") for one in fields(verb.config) if one.name in ("images", "seeds", "labels")
    }
    weights = Path("my run/weights.safetensors")
    made = SimpleNamespace(**{"fit": "sgd"} | places)
    result = SimpleNamespace(weights=weights, summary=lambda: [("steps", "2 of 2")])
    (_, _), (label, line) = _rows(verb, made, result)
    assert label == "next"
    first, then, *rest = shlex.split(line)
    assert first == "pseudomask"
    program: Any = typer.main.get_command(app.build())
    given = program.commands[then].make_context(then, rest).params
    following = VERBS[then]
    kept = {key: value for key, value in given.items() if not key.startswith("cli_")}
    config = make_config(following, settings(following.config), kept, tuple(VERBS), None)
    assert config.images == (Path("PHOTOS") if name == "train-seg" else places["images"])
    assert weights in (getattr(config, "weights", None), getattr(config, "affinity", None))
    stopped = SimpleNamespace(weights=None, summary=lambda: [("steps", "1 of 2")])
    assert len(_rows(verb, made, stopped)) == 1


def test_the_next_command_keeps_the_options_that_were_used() -> None:
    weights = Path("cls/weights.safetensors")
    result = SimpleNamespace(weights=weights, summary=list)
    base = {"images": Path("photos"), "run": Path("cls"), "labels": Path("l.json")}
    ((_, line),) = _rows(VERBS["train-cls"], TrainClsConfig(**base), result)
    assert line == "pseudomask reactivate photos RUN --labels l.json --weights cls/weights.safetensors"
    used = TrainClsConfig(**base, crop=320, map="a b=cat", merge_names=True, unknown_tags="drop", lr=0.5)
    ((_, line),) = _rows(VERBS["train-cls"], used, result)
    assert line.startswith("pseudomask reactivate photos RUN --labels l.json --weights cls/weights.safetensors ")
    rest = shlex.split(line)[8:]
    assert sorted(rest) == sorted(["--crop", "320", "--merge-names", "--map", "a b=cat", "--unknown-tags", "drop"])
    ((_, line),) = _rows(VERBS["reactivate"], ReactivateConfig(**base, weights=weights, crop=320), result)
    assert line.endswith("--weights cls/weights.safetensors --method cpmc")


def test_own_weights_lead_to_a_boundary_head_on_their_backbone() -> None:
    made: dict[str, Any] = {"out": Path("m"), "classes": ("cat",), "threshold": 0.2, "threshold_from": "given"}
    made |= {"tags_from": "l.csv", "images": Path("p"), "with_scores": True, "done": 1}
    rows = dict(ExtractResult(**made, own_weights=Path("w.safetensors")).next_steps())
    assert rows["next"] == "pseudomask train-affinity p m RUN --weights w.safetensors"
    assert dict(ExtractResult(**made).next_steps())["next"] == "pseudomask refine p m REFINED"
