"""What every way of training has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch

from pseudomask.config import TrainAffinityConfig, TrainingOptions, TrainSegConfig
from pseudomask.devices import pick_amp
from pseudomask.running.ranks import ranks
from pseudomask.running.reporter import Reporter
from pseudomask.running.signals import Stop
from pseudomask.training.learner import AnyNetwork, Learner
from pseudomask.training.measured import Measured
from pseudomask.training.result import Trained
from pseudomask.training.samples import Crops

AnyOptions = TrainingOptions | TrainAffinityConfig | TrainSegConfig
Measure = Callable[..., Measured | None]
"""Called with the network, `device` and `amp`; measures on held-out photos."""


class BaseTrainer(ABC):
    """Trains one network on one set of photos, in the folder `options.run`.

    Attributes:
        stepwise: whether it takes the optimizer steps that `--epochs` plans.
        patience: how many epochs without a lower held-out loss end the training; 0: never.
        before_saving: called before anything is written; raises where RUN belongs to another run by now.
        after_epoch: called with the steps done and what was measured, after each epoch but the last.
    """

    stepwise: ClassVar[bool] = True

    def __init__(
        self,
        learner: Learner,
        options: AnyOptions,
        *,
        device: torch.device,
        crops: Crops,
        measure: Measure | None,
        reporter: Reporter,
        stop: Stop,
    ) -> None:
        self.learner, self.options, self.run = learner, options, options.run
        self.team = ranks()
        self.reporter, self.lead, self.stop = reporter, self.team.once(reporter), stop
        self.crops, self.measure = crops, measure
        self.device, self.amp = device, pick_amp(options.amp, device)
        self.network: AnyNetwork = learner.network.on(device)
        self.patience = 0
        self.before_saving: Callable[[], None] = lambda: None
        self.after_epoch: Callable[[int, Measured | None], None] = lambda done, validation: None

    @abstractmethod
    def train(self) -> Trained:
        """Train until the end or until `stop` asks to stop."""
