"""The two streams: stdout carries data for programs, stderr everything for people."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

from pseudomask.quoting import printable

RED, YELLOW, CYAN = 31, 33, 36

_NUMBER = re.compile(r"([-+]?[\d.,]+|-|)")


def out(text: str) -> None:
    """Write a line of data to stdout, keeping names byte for byte as on disk. A closed pipe is not an error."""
    _write(sys.stdout, text, keep_bytes=True)


def err(text: str, *, head: str = "", colour: int = 0) -> None:
    """Write a line for people to stderr, preceded by `head`, which is coloured on a terminal."""
    _write(sys.stderr, paint(head, colour) + printable(text), keep_bytes=False)


def error(text: str) -> None:
    """Write the one line that says why a command failed."""
    err(text, head="error: ", colour=RED)


def folded(text: str, indent: int) -> list[str]:
    """`text` wrapped to the terminal, beside a label of `indent` columns; a single line if stderr is not a terminal.

    Commands stay on one line so that they can be copied. Words are never split, so paths stay whole.
    """
    if not indent or not is_live(sys.stderr) or "pseudomask " in text:
        return [text]
    width = max(20, shutil.get_terminal_size((80, 24)).columns - indent)
    return textwrap.wrap(printable(text), width, break_long_words=False, break_on_hyphens=False) or [text]


def paint(text: str, colour: int) -> str:
    """`text` in this colour (SGR 31 to 36), if stderr is a terminal and $NO_COLOR is not set."""
    wanted = text and colour and is_live(sys.stderr) and not os.environ.get("NO_COLOR")
    return f"\x1b[{colour}m{text}\x1b[0m" if wanted else text


def flush() -> None:
    """Flush both streams; a closed pipe is not an error."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            try:
                stream.flush()
            except BrokenPipeError:
                _silence(stream)


def is_live(stream: TextIO | None) -> bool:
    """Whether `stream` can show a moving bar, i.e. is a terminal that understands cursor movement."""
    return stream is not None and stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """The lines of a plain table: text left-aligned, numbers right-aligned, two spaces between columns."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(headers), *cells]) for i in range(len(headers))]
    numeric = [all(_NUMBER.fullmatch(row[i]) for row in cells) for i in range(len(headers))]
    lines = []
    for line in [list(headers), ["-" * width for width in widths], *cells]:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "-"
    return f"{value:.1f}" if isinstance(value, float) else printable(str(value))


def _write(stream: TextIO | None, text: str, *, keep_bytes: bool) -> None:
    if stream is None or stream.closed:  # started with the stream closed
        return
    try:
        stream.write(_encodable(text, stream.encoding or "utf-8", keep_bytes) + "\n")
        stream.flush()
    except BrokenPipeError:
        _silence(stream)


def _encodable(text: str, encoding: str, keep_bytes: bool) -> str:
    """`text`, with backslash escapes for characters that the stream cannot encode."""
    try:
        text.encode(encoding)
        return text
    except UnicodeEncodeError:
        pass
    if keep_bytes:
        sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
        try:
            text.encode(encoding, "surrogateescape")
            return text
        except UnicodeEncodeError:
            pass
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _silence(stream: TextIO) -> None:
    """Discard further output once the reader has gone, so that the command ends with its own exit code."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
