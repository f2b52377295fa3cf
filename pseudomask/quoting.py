"""Text for people and shells: safe quoting, counts with nouns, shortened lists and durations."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import PurePath

_PLAIN = re.compile(r"[A-Za-z_][\w./*-]*", re.ASCII)


def command(*words: object) -> str:
    """`pseudomask WORDS`, ready to paste into a shell; a path is never mistaken for a flag."""
    return " ".join(["pseudomask", *map(shell_word, words)])


def shell_word(word: object) -> str:
    """One word quoted for bash, zsh and similar shells, on a single line and without terminal control characters.

    A path that begins with a dash gets the prefix `./`. Unprintable characters become escapes in `$'…'`.
    """
    text = str(word)
    if isinstance(word, PurePath) and text.startswith("-"):
        text = f"./{text}"
    if text.isprintable():
        return shlex.quote(text)
    return f"$'{''.join(_escaped(letter) for letter in text)}'"


def quoted(word: object) -> str:
    """Like `shell_word`, but always in quotes, for a name inside a sentence."""
    text = shell_word(word)
    return text if text.startswith(("'", "$'")) else f"'{text}'"


def _escaped(letter: str) -> str:
    if letter.isprintable() and letter not in "\\'!":
        return letter
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(letter))


def double_quoted(text: str) -> str:
    """`text` as a double-quoted string that is valid in YAML and TOML."""
    return f'"{"".join(_in_double_quotes(letter) for letter in text)}"'


def _in_double_quotes(letter: str) -> str:
    if letter in '\\"':
        return f"\\{letter}"
    if letter.isprintable() or "\udc80" <= letter <= "\udcff":  # keep non-UTF-8 bytes in names as they are
        return letter
    return f"\\u{ord(letter):04x}" if letter <= "\uffff" else f"\\U{ord(letter):08x}"


def yaml_word(text: str) -> str:
    """`text` as a YAML string, quoted only if necessary."""
    reserved = text.lower() in ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
    return text if _PLAIN.fullmatch(text) and not reserved else double_quoted(text)


def printable(text: str) -> str:
    """`text` on one line, without control characters or characters that a terminal cannot show."""
    if text.isprintable():
        return text
    return "".join(_visible(letter) for letter in text)


def _visible(letter: str) -> str:
    if letter.isprintable() or letter == "\u200d":  # the joiner inside emoji
        return letter
    if "\udc80" <= letter <= "\udcff":  # a byte in a name that is not valid UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")


def count(n: int, noun: str) -> str:
    """`1 photo`, `1,200 photos`, `2 classes`."""
    ending = "" if n == 1 else "es" if noun.endswith("s") else "s"
    return f"{n:,} {noun}{ending}"


def some(names: Sequence[str], most: int, rest: str) -> str:
    """`a, b, c`, or `a, b and 5 more (REST)`, where REST says where to find the others."""
    left = len(names) - most
    return ", ".join(names[:most]) + (f" and {left:,} more ({rest})" if left > 0 else "")


def listed(names: Sequence[str], most: int = 3) -> str:
    """At most the first `most` names: `a, b, c, …`."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def duration(seconds: float) -> str:
    """`8 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole >= 10 else f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
