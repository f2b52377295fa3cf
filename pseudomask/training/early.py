"""Early stopping: end a training whose held-out loss no longer falls, and take the weights of its best epoch."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from pseudomask.errors import WeightsError
from pseudomask.networks.checkpoint import read_tensors, write_tensors

BEST = "checkpoint.best.safetensors"
"""The network after the epoch with the lowest held-out loss, while early stopping is on."""


@dataclass
class EarlyStop:
    """Counts epochs without a lower held-out loss.

    Attributes:
        patience: how many of them end the training; 0: never.
        lowest: the lowest held-out loss so far, after `step` steps; `waited`: epochs since.
    """

    patience: int = 0
    lowest: float = math.inf
    step: int = 0
    waited: int = 0

    @property
    def over(self) -> bool:
        return 0 < self.patience <= self.waited

    def see(self, step: int, loss: float) -> bool:
        """Count an epoch; returns whether it is the best so far."""
        if loss < self.lowest:
            self.lowest, self.step, self.waited = loss, step, 0
            return True
        self.waited += 1
        return False

    def to_text(self) -> str:
        """For a checkpoint's metadata."""
        return json.dumps({name: value for name, value in asdict(self).items() if name != "patience"})

    def resume(self, text: str) -> None:
        """Take up what `to_text` wrote; raises `ValueError` or `KeyError` for anything else."""
        told = json.loads(text)
        self.lowest, self.step, self.waited = float(told["lowest"]), int(told["step"]), int(told["waited"])


def save_best(run: Path, network: nn.Module, step: int) -> None:
    """Write the network after `step` steps as the best one."""
    write_tensors(run / BEST, dict(network.state_dict()), {"step": str(step)})


def load_best(run: Path, network: nn.Module, step: int) -> bool:
    """Load the best network, that of `step`; False if the file is missing, damaged or of another step."""
    try:
        tensors, metadata = read_tensors(run / BEST)
        if metadata.get("step") != str(step):
            return False
        network.load_state_dict(tensors)
    except (WeightsError, RuntimeError):
        return False
    return True
