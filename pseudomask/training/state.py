"""The folder of a training run: its checkpoint, the previous one, and its log. Nothing is pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from pseudomask.errors import TrainingDiverged, WeightsError
from pseudomask.networks.checkpoint import read_tensors, write_tensors
from pseudomask.running.atomic import atomic_text
from pseudomask.running.jsonable import jsonable
from pseudomask.training.early import EarlyStop
from pseudomask.training.guard import Learning, broken, state_tensors

CHECKPOINT = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"
LATEST = "weights.latest.safetensors"
"""Weights of the last whole epoch, while the training is not finished."""
LOG = "log.jsonl"


def save_state(
    run: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    scaler: torch.amp.GradScaler | None = None,
    learning: Learning | None = None,
    early: EarlyStop | None = None,
) -> None:
    """Write the checkpoint of `step` (steps done); the last one is kept as the previous one.

    What it is given must be finite (`guard.broken`): it takes the place of a sound one.
    """
    tensors = state_tensors(network, optimizer)
    current = run / CHECKPOINT
    if current.exists():
        current.replace(run / PREVIOUS)
    scale = scaler.state_dict() if scaler is not None else {}
    asleep = sorted(learning.asleep) if learning is not None else []
    facts = {"step": str(step), "scaler": json.dumps(scale), "asleep": json.dumps(asleep)}
    write_tensors(current, tensors, facts | ({"early": early.to_text()} if early and early.patience else {}))


def steps_done(run: Path) -> int:
    """Steps done of the newest checkpoint that can be opened, without reading its tensors; 0 if there is none."""
    for name in (CHECKPOINT, PREVIOUS):
        try:
            with safe_open(run / name, framework="pt") as file:
                return int((file.metadata() or {})["step"])
        except (SafetensorError, OSError, KeyError, ValueError):
            continue
    return 0


def load_state(
    run: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None = None,
    learning: Learning | None = None,
    early: EarlyStop | None = None,
) -> tuple[int, str | None]:
    """Load the newest valid checkpoint: (steps done, a warning or None); (0, None) if there is none.

    Raises `TrainingDiverged` where one holds NaN or infinite values and no other is sound.
    """
    warning, ruined = None, None
    for name in (CHECKPOINT, PREVIOUS):
        path = run / name
        if not path.exists():
            continue
        try:
            tensors, metadata = read_tensors(path)
            step = int(metadata["step"])
            scale = json.loads(metadata.get("scaler", "{}"))
            asleep = [int(i) for i in json.loads(metadata.get("asleep", "[]"))]
            if broken(tensors):
                ruined = path
                warning = f"{path} contains NaN or infinite values and was skipped"
                continue
            _restore(tensors, network, optimizer)
            if scaler is not None and scale:
                scaler.load_state_dict(scale)
            if learning is not None:
                learning.resume(asleep)
            if early is not None and early.patience and "early" in metadata:
                early.resume(metadata["early"])
        except (WeightsError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
            reason = str(error).partition("\n")[0]
            warning = f"{path} is damaged and was skipped ({reason})"
            continue
        return step, warning
    if ruined is not None:
        raise TrainingDiverged(
            f"{ruined}: this training diverged earlier, and no checkpoint without NaN or infinite values is left; add "
            "--overwrite to start over with a lower --lr"
        )
    return 0, warning


def _restore(tensors: dict[str, Tensor], network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, i, name = key.split(".", 2)
            state.setdefault(int(i), {})[name] = value
    whole = optimizer.state_dict()
    whole["state"] = state
    optimizer.load_state_dict(whole)


class Log:
    """JSON Lines without NaN; a resumed run drops lines logged after the step it resumes from."""

    def __init__(self, path: Path, *, from_step: int) -> None:
        self.path = path
        kept = []
        if path.exists() and from_step > 0:
            for line in path.read_text("utf-8", "replace").splitlines():
                try:
                    if json.loads(line).get("step", 0) <= from_step:
                        kept.append(line)
                except (ValueError, TypeError, AttributeError):
                    continue  # a line truncated by a kill, or foreign
        atomic_text(path, "".join(line + "\n" for line in kept))

    def write(self, **entry: Any) -> None:
        """Append one line; non-finite numbers become null."""
        line = json.dumps(jsonable(entry), allow_nan=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
