"""A chain of verbs as data: its steps with all their settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pseudomask.verbs import VERBS, Verb

STEPS = {name: verb for name, verb in VERBS.items() if verb.writes}
"""The verbs that can be steps, in the order in which a chain runs them."""


@dataclass(frozen=True)
class Step:
    """A step with all its settings.

    Attributes:
        label: its verb, and its name if it has one.
        needs: labels of earlier steps whose products it uses.
    """

    verb: Verb
    label: str
    config: Any
    name: str | None = None
    needs: frozenset[str] = frozenset()

    @property
    def output(self) -> Path:
        """The folder or file that it writes."""
        made: Path = getattr(self.config, self.verb.writes)
        return made


@dataclass(frozen=True)
class Chain:
    """Steps in their order, and the folder below which they write."""

    file: Path
    out: Path
    steps: tuple[Step, ...]
