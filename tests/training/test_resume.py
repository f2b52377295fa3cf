"""A training that was stopped, killed or robbed of its checkpoint ends where the uninterrupted one does."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

from pseudomask.api import TrainingResult, train_cls
from pseudomask.config import TrainClsConfig
from pseudomask.networks.checkpoint import read_tensors
from pseudomask.running import atomic
from pseudomask.running.jsonable import jsonable
from pseudomask.training.state import CHECKPOINT, PREVIOUS, Log, load_state, save_state

Settings = Callable[..., TrainClsConfig]


def stopped(config: TrainClsConfig, step: int, number: int = signal.SIGTERM) -> TrainingResult:
    result = train_cls(config, tiny.StopsAt(step, number))
    assert result.weights is None
    assert result.facts["steps"] == step
    return result


def step_of(path: Path) -> int:
    return int(read_tensors(path)[1]["step"])


def same_end(run: Path, other: Path) -> None:
    """Weights and log (but for speeds) are equal to the last bit."""
    (mine, card), (theirs, other_card) = (read_tensors(p / "weights.safetensors") for p in (run, other))
    assert card == other_card
    assert mine.keys() == theirs.keys()
    assert [k for k in mine if not torch.equal(mine[k], theirs[k])] == []
    logs = []
    for folder in (run, other):
        entries = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        logs.append([{k: v for k, v in e.items() if k != "images_per_second"} for e in entries])
    assert logs[0] == logs[1]


@pytest.fixture(scope="module")
def whole(room: Path, settings: Settings) -> Path:
    """The uninterrupted run, with momentum."""
    train_cls(settings(room / "whole"))
    return room / "whole"


@pytest.mark.parametrize(("step", "number"), [(1, signal.SIGTERM), (3, signal.SIGINT)])
def test_resuming_after_a_stop_is_exact(whole: Path, runs: Path, settings: Settings, step: int, number: int) -> None:
    """With checkpoints rarer than steps: the stop itself writes one."""
    config = settings(runs / "x", checkpoint_every=100)
    assert stopped(config, step, number).exit_code == 128 + number
    assert step_of(runs / "x" / CHECKPOINT) == step
    ear = tiny.Ear()
    assert train_cls(config, ear).exit_code == 0
    assert f"resuming from step {step} of 6" in ear.infos
    same_end(runs / "x", whole)


def test_resuming_without_momentum_is_exact(runs: Path, settings: Settings) -> None:
    config = settings(runs / "x", momentum=0.0)
    train_cls(replace(config, run=runs / "whole"))
    stopped(config, 4)
    train_cls(config)
    same_end(runs / "x", runs / "whole")


def test_resuming_after_a_kill_is_exact(whole: Path, runs: Path, settings: Settings) -> None:
    config = settings(runs / "x")
    child = Path(__file__).with_name("resume_child.py")
    command = [sys.executable, str(child), json.dumps(jsonable(config))]
    environment = os.environ | {"PYTHONPATH": str(Path(tiny.__file__).parent)}
    target = random.randint(1, 5)
    wait = random.uniform(0, 0.15)
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment)
    try:
        end = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < end:
            try:
                if (runs / "x" / CHECKPOINT).exists() and step_of(runs / "x" / CHECKPOINT) >= target:
                    break
            except Exception:
                pass  # between the two renames there is none
            time.sleep(0.005)
        time.sleep(wait)  # anywhere in a step, or in the writing of a checkpoint
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL, f"it ended before step {target} was killed"
    assert not (runs / "x/weights.safetensors").exists()
    leftover = runs / "x" / f".pseudomask-{atomic._HOST}-{process.pid}-99.part"
    leftover.write_bytes(b"half a checkpoint")
    ear = tiny.Ear()
    train_cls(config, ear)
    assert any(info.startswith("resuming from step") for info in ear.infos), (target, wait)
    same_end(runs / "x", whole)
    assert not list((runs / "x").glob(".*")), "what the killed process left is swept"


@pytest.mark.parametrize("damage", ["cut in half", "empty", "missing", "foreign"])
def test_a_damaged_checkpoint_falls_back_to_the_previous(
    whole: Path, runs: Path, settings: Settings, damage: str, room: Path
) -> None:
    config, path = settings(runs / "x"), runs / "x" / CHECKPOINT
    stopped(config, 3)
    assert (step_of(path), step_of(path.with_name(PREVIOUS))) == (3, 2)
    whole_bytes = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "foreign":
        shutil.copy(room / "backbone.safetensors", path)
    else:
        path.write_bytes(whole_bytes[: len(whole_bytes) // 2] if damage == "cut in half" else b"")
    ear = tiny.Ear()
    train_cls(config, ear)
    assert "resuming from step 2 of 6" in ear.infos
    told = [w for w in ear.warnings if "is damaged and was skipped" in w]
    assert len(told) == (damage != "missing")
    assert not any("\n" in w for w in told)
    same_end(runs / "x", whole)


def test_two_damaged_checkpoints_start_anew(whole: Path, runs: Path, settings: Settings) -> None:
    config = settings(runs / "x")
    stopped(config, 2)
    (runs / "x" / CHECKPOINT).write_bytes(b"x")
    (runs / "x" / PREVIOUS).write_bytes(b"")
    ear = tiny.Ear()
    train_cls(config, ear)
    assert not any("resuming" in info for info in ear.infos)
    same_end(runs / "x", whole)


def test_a_finished_run_is_left_as_it_is(whole: Path) -> None:
    before = {name: (whole / name).read_bytes() for name in ("weights.safetensors", "log.jsonl", CHECKPOINT)}
    config = json.loads((whole / "run.json").read_text())["config"]
    assert config["momentum"] == 0.9
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        from resume_child import config_from
    finally:
        sys.path.pop(0)
    room = whole.parent
    places = {"images": room / "photos", "labels": room / "photos.csv", "run": whole, "workers": 0}
    result = train_cls(config_from(config | places))
    assert (result.exit_code, result.facts["steps"]) == (0, 6)
    assert {name: (whole / name).read_bytes() for name in before} == before


def small() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    network = torch.nn.Linear(2, 2)
    return network, torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)


def test_state_round_trip(tmp_path: Path) -> None:
    network, optimizer = small()
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    save_state(tmp_path, network, optimizer, 7)  # type: ignore[arg-type]
    other, fresh = small()
    assert load_state(tmp_path, other, fresh) == (7, None)  # type: ignore[arg-type]
    assert torch.equal(other.weight, network.weight)
    buffers = [[s["momentum_buffer"] for s in o.state_dict()["state"].values()] for o in (optimizer, fresh)]
    assert len(buffers[1]) == 2
    assert all(torch.equal(a, b) for a, b in zip(*buffers, strict=True))
    assert not (tmp_path / PREVIOUS).exists()
    save_state(tmp_path, network, optimizer, 8)  # type: ignore[arg-type]
    assert (step_of(tmp_path / CHECKPOINT), step_of(tmp_path / PREVIOUS)) == (8, 7)


def test_the_scale_of_fp16_is_part_of_the_state(tmp_path: Path) -> None:
    """Else a resumed run would begin with another scale, and skip steps that the whole one took."""
    network, optimizer = small()
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    save_state(tmp_path, network, optimizer, 3, scaler)  # type: ignore[arg-type]
    fresh = torch.amp.GradScaler("cpu")
    assert load_state(tmp_path, network, optimizer, fresh) == (3, None)  # type: ignore[arg-type]
    assert fresh.get_scale() == 512.0
    off = torch.amp.GradScaler("cpu", enabled=False)
    save_state(tmp_path, network, optimizer, 4, off)  # type: ignore[arg-type]
    assert load_state(tmp_path, network, optimizer, off) == (4, None)  # type: ignore[arg-type]


def test_no_state_is_step_zero(tmp_path: Path) -> None:
    network, optimizer = small()
    assert load_state(tmp_path, network, optimizer) == (0, None)  # type: ignore[arg-type]


def test_the_log_forgets_what_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = Log(path, from_step=0)
    for step in (10, 20, 30):
        log.write(step=step, loss=0.5)
    with path.open("a") as file:
        file.write('{"step": 40, "lo')  # cut by a kill
    log = Log(path, from_step=20)
    log.write(step=21, loss=float("nan"), norm=float("inf"), speed=1.5)
    entries = [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]
    assert entries == [
        {"step": 10, "loss": 0.5},
        {"step": 20, "loss": 0.5},
        {"step": 21, "loss": None, "norm": None, "speed": 1.5},
    ]
    Log(path, from_step=0)
    assert path.read_text() == ""
