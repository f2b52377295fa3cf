"""A training run's folder: its checkpoint, the one before it, its log. Nothing here is pickled."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pseudomask.errors import WeightsError
from pseudomask.networks.checkpoint import read_tensors, write_tensors
from pseudomask.running.atomic import atomic_text

CHECKPOINT = "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"
LOG = "log.jsonl"


def save_state(
    run: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    step: int,
    scaler: torch.amp.GradScaler | None = None,
) -> None:
    """Write the checkpoint of `step` (steps done); the last one stays as the previous."""
    tensors: dict[str, Tensor] = {f"network.{k}": v for k, v in network.state_dict().items()}
    for i, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{i}.{name}"] = value
    current = run / CHECKPOINT
    if current.exists():
        current.replace(run / PREVIOUS)
    scale = scaler.state_dict() if scaler is not None else {}
    write_tensors(current, tensors, {"step": str(step), "scaler": json.dumps(scale)})


def load_state(
    run: Path, network: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler | None = None
) -> tuple[int, str | None]:
    """Take up the newest sound checkpoint: (steps done, a warning or None); (0, None) when there is none."""
    warning = None
    for name in (CHECKPOINT, PREVIOUS):
        path = run / name
        if not path.exists():
            continue
        try:
            tensors, metadata = read_tensors(path)
            step = int(metadata["step"])
            scale = json.loads(metadata.get("scaler", "{}"))
            _restore(tensors, network, optimizer)
            if scaler is not None and scale:
                scaler.load_state_dict(scale)
        except (WeightsError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
            reason = str(error).partition("\n")[0]
            warning = f"{path} is damaged and was passed over ({reason})"
            continue
        return step, warning
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
    """JSON lines; a resumed run forgets what was logged after the step it goes on from."""

    def __init__(self, path: Path, *, from_step: int) -> None:
        self.path = path
        kept = []
        if path.exists() and from_step > 0:
            for line in path.read_text("utf-8", "replace").splitlines():
                try:
                    if json.loads(line).get("step", 0) <= from_step:
                        kept.append(line)
                except (ValueError, TypeError, AttributeError):
                    continue  # a line cut by a kill, or foreign
        atomic_text(path, "".join(line + "\n" for line in kept))

    def write(self, **entry: Any) -> None:
        """Append one line; numbers that are not finite become null."""
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(clean) + "\n")
