"""A chain of verbs as data: its steps with all their settings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pseudomask.verbs import VERBS, Verb

STEPS = {name: verb for name, verb in VERBS.items() if verb.writes}
"""The verbs that can be steps, in the order in which a chain runs them."""


MARK = " #"
"""What stands in a label between the step and the number of its repetition."""


@dataclass(frozen=True)
class Step:
    """A step with all its settings.

    Attributes:
        label: its verb, and its name if it has one.
        needs: labels of earlier steps whose products it uses.
        published, protocol: for an evaluation, a published mean IoU in percent to show beside it, and how that one was
            measured.
        overrides: what variables change of the file's settings, as `epochs 1`.
        repeat: which repetition with another seed it belongs to; 0 is the file's own.
    """

    verb: Verb
    label: str
    config: Any
    name: str | None = None
    needs: frozenset[str] = frozenset()
    published: float | None = None
    protocol: str = ""
    overrides: tuple[str, ...] = ()
    repeat: int = 0

    @property
    def base(self) -> str:
        """The label in the file, without that of a repetition."""
        return self.label.partition(MARK)[0]

    @property
    def output(self) -> Path:
        """The folder or file that it writes."""
        made: Path = getattr(self.config, self.verb.writes)
        return made


@dataclass(frozen=True)
class DataPart:
    """A part of the data that a chain expects.

    Attributes:
        path: a folder of files, a list of names, or any other file.
        count: of files in the folder, or names in the list; None where it is not known.
        source: where it is got, in words.
    """

    path: Path
    count: int | None = None
    source: str = ""


@dataclass(frozen=True)
class Chain:
    """Steps in their order, the folder below which they write, and what the file expects of the data.

    Attributes:
        found: what of the data is there, as in chain.json.
        partial: whether the steps were cut down to it.
    """

    file: Path
    out: Path
    steps: tuple[Step, ...]
    data: tuple[DataPart, ...] = ()
    found: tuple[dict[str, Any], ...] = ()
    partial: bool = False
