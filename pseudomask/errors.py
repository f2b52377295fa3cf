"""All errors that pseudomask reports, with their exit codes.

PseudomaskError                 1   something failed during the work
├── ImageError                  1   one image cannot be read (recorded; the run continues)
├── TrainingDiverged            1   the loss, a gradient or the weights became NaN or infinite
├── NothingLearned              1   a training ran without teaching the network anything
├── UsageError                  2   wrong arguments, labels or files, found before any work
│   ├── LabelError              2   a label file: carries the file and the line
│   ├── CollisionError          2   two images would write one mask, or an output would harm an input
│   ├── FolderInUse             2   another process is writing to the output folder
│   └── RecordMismatch          2   the output folder holds a run with other settings
└── SetupError                  3   the machine lacks something
    ├── WeightsError            3   weights missing, damaged or of another kind
    ├── DeviceError             3   the requested device is missing
    └── MissingExtra            3   an optional package is not installed
"""

from __future__ import annotations

from pathlib import Path


class PseudomaskError(Exception):
    """Base class; `str(error)` is one line that says what is wrong and what to do.

    Attributes:
        reason: what is wrong; `advice`: what to do, where a caller may know better advice. The message holds both.
    """

    exit_code = 1

    def __init__(self, reason: str = "", *, advice: str = "") -> None:
        super().__init__(f"{reason}; {advice}" if advice else reason)
        self.reason, self.advice = reason, advice


class ImageError(PseudomaskError):
    """An image that cannot be used; `reason` is a short phrase for the manifest."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageError], tuple[Path | str, str]]:
        return type(self), (self.path, self.reason)  # crosses worker processes


class TrainingDiverged(PseudomaskError):
    """The loss, a gradient or the weights are NaN, infinite or unusable; the last good checkpoint is kept."""


class NothingLearned(PseudomaskError):
    """No photo gave the network, or its new part, a gradient; no weights were written."""


class UsageError(PseudomaskError):
    """Invalid arguments, labels or folders; raised before anything is written."""

    exit_code = 2


class LabelError(UsageError):
    """A mistake in a label or class file, at the place that the message names."""

    def __init__(self, message: str, path: Path | str | None = None, line: int | None = None) -> None:
        where = "" if path is None else f"{path}: " if line is None else f"{path}, line {line}: "
        super().__init__(where + message)
        self.path = path
        self.line = line


class CollisionError(UsageError):
    """Two images would share one mask, or the output folder overlaps the input."""


class FolderInUse(UsageError):
    """Another process is writing to the output folder; the message names it."""


class RecordMismatch(UsageError):
    """The output folder was made with other settings; the message lists each field that differs."""


class SetupError(PseudomaskError):
    """The machine lacks something that was requested."""

    exit_code = 3


class WeightsError(SetupError):
    """Weights are missing, damaged, or made for something else."""


class DeviceError(SetupError):
    """The requested device is missing."""


class MissingExtra(SetupError):
    """An optional package is needed; the message says how to install it."""


def error_to_json(error: PseudomaskError) -> dict[str, str]:
    """An error for another process; a `LabelError` keeps its message only."""
    return {"kind": type(error).__name__, "reason": error.reason, "advice": error.advice}


def error_from_json(told: dict[str, str]) -> PseudomaskError:
    """The error of another process."""
    kind = globals()[told["kind"]]
    error: PseudomaskError = kind.__new__(kind)
    PseudomaskError.__init__(error, told["reason"], advice=told["advice"])
    return error
