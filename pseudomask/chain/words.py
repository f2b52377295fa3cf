"""The words in a step's table that are no settings of its verb: names of steps, and published numbers."""

from __future__ import annotations

from collections.abc import Iterable

from pseudomask.chain.file import Entries
from pseudomask.errors import UsageError


def take_word(entries: Entries, key: str, valid: Iterable[str] | None) -> str | None:
    """A name in a table: one of `valid`, or, if that is None, any name that a file can have."""
    value, where = entries.pop(key, (None, ""))
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise UsageError(f"{where}: must be a name, not {value!r}")
    if valid is not None and value not in valid:
        known = " or ".join(valid) or "none"
        raise UsageError(f"{where}: {value!r} is not an earlier step that makes masks; there is {known}")
    if valid is None and not value.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise UsageError(f"{where}: a name may contain only letters, digits, dots and dashes, not {value!r}")
    return value


def take_published(entries: Entries) -> tuple[float | None, str]:
    """A published mean IoU to compare an evaluation with, in percent, and how that one was measured."""
    number, where = entries.pop("published", (None, ""))
    protocol, place = entries.pop("protocol", ("", ""))
    if number is not None and (
        not isinstance(number, int | float) or isinstance(number, bool) or not 0 < number <= 100
    ):
        raise UsageError(f"{where}: must be a mean IoU in percent, not {number!r}")
    if not isinstance(protocol, str):
        raise UsageError(f"{place}: must be text, not {protocol!r}")
    return (None if number is None else float(number)), protocol
