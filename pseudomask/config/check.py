"""The settings of check."""

from __future__ import annotations

from dataclasses import dataclass

from pseudomask.config.common import option
from pseudomask.config.training import SplitOptions


@dataclass(frozen=True, kw_only=True)
class CheckConfig(SplitOptions):
    """Say before a training which classes can be learned from photos and tags."""

    seed: int = option(0, "Seed of the training to come: it draws the held-out photos.", "Input", min=0)
    decode: bool = option(
        True,
        "Decode every photo, reduced, to find damaged and duplicate ones; else read only headers.",
        "Run",
        env=False,  # $PSEUDOMASK_DECODE is the --decode of extract and predict
    )
    max_hopeless: int = option(0, "Exit 0 if at most N classes are hopeless.", "Run", min=0)
    workers: int = option(-1, "Threads; -1 is one per core.", "Machine", min=-1, role="free")
