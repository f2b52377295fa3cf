"""`--help`: groups of flags, each with one sentence and its default; the text is the same in pipes and on terminals.

Typer's own pages leave half of 80 columns empty, truncate long flags and break the names of choices in the middle.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from pseudomask.cli import console
from pseudomask.config.settings import settings
from pseudomask.config.values import nearest
from pseudomask.errors import UsageError
from pseudomask.quoting import printable
from pseudomask.verbs import GROUPS, VERBS

EVERYDAY = """\
pseudomask extract images/ masks/ --labels labels.csv --overlay
pseudomask report masks/
pseudomask VERB --help"""

_TEXT = 27  # column at which sentences begin
_WIDEST = 100
_NOTE = re.compile(r"\[(?:default|required)[^\]]*\]")

Row = tuple[str, str]
"""What to type and what it does."""


class Command(TyperCommand):
    """A verb."""

    def get_help(self, ctx: Any) -> str:
        return _shown(page(self, ctx, _width(), whole=False))

    def whole_help(self, ctx: Any) -> str:
        """The help that shows all settings (`--help-all`)."""
        return _shown(page(self, ctx, _width()))


class Group(TyperGroup):
    """The program, with its verbs in groups."""

    def get_help(self, ctx: Any) -> str:
        return _shown(page(self, ctx, _width()))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb with this name. Raises a `UsageError` that suggests the nearest one."""
        found = self.commands.get(cmd_name)
        if found is None and not ctx.resilient_parsing and not cmd_name.startswith("-"):
            near = nearest(cmd_name, self.commands)
            raise UsageError(f"unknown verb {printable(cmd_name)!r}{near}; see '{ctx.command_path} --help'")
        return found


def page(command: Any, ctx: Any, width: int, *, whole: bool = True) -> str:
    """The help of a command in lines of at most `width` characters; headings end with a colon.

    `whole`: show all settings, not only those that people use first.
    """
    hidden = set[str]() if whole else later(command)
    lines = [
        *textwrap.wrap(_usage(command, ctx), width, subsequent_indent="  "),
        "",
        *textwrap.wrap(command.help, width),
    ]
    for title, rows in sections(command, ctx, hidden):
        lines += ["", f"{title}:", *(line for row in rows for line in _entry(*row, width))]
    if hidden:
        lines += ["", *textwrap.wrap(f"{len(hidden)} more settings: {ctx.command_path} --help-all", width)]
    if hasattr(command, "commands"):
        lines += ["", "Start with:", *(f"  {line}" for line in EVERYDAY.splitlines())]
    return "\n".join(lines)


def later(command: Any) -> set[str]:
    """The settings of a verb that people need less often; empty if no setting is marked as `first`."""
    found = settings(VERBS[command.name].config) if command.name in VERBS else []
    shown = any(one.first for one in found)
    return {one.name for one in found if shown and not (one.first or one.positional or one.required or one.needed)}


def sections(command: Any, ctx: Any, hidden: Collection[str] = ()) -> list[tuple[str, list[Row]]]:
    """Headings with their rows: arguments, then groups in order of appearance, then the flags that all verbs share."""
    found: dict[str, list[Row]] = {"Arguments": []}
    for name, verb in getattr(command, "commands", {}).items():
        found.setdefault(verb.rich_help_panel, []).append((name, verb.help))
    for one in command.get_params(ctx):
        if one.param_type_name == "argument":
            found["Arguments"].append((one.metavar, one.help or ""))
        elif one.name not in hidden:
            panel = getattr(one, "rich_help_panel", None) or ("Program" if _is_typers(one) else "Options")
            found.setdefault(panel, []).append(_option(one))
    titles = sorted(found, key=lambda title: (title == "Program", GROUPS.index(title) if title in GROUPS else 0))
    return [(title, found[title]) for title in titles if found[title]]


def _is_typers(one: Any) -> bool:
    return one.name in ("help", "version", "install_completion", "show_completion")


def _option(one: Any) -> Row:
    """`-q, --quiet`, `--[no-]overlay` or `--limit N`, with its sentence."""
    names = sorted(one.opts, key=len)
    if one.secondary_opts:
        names[-1] = f"--[no-]{names[-1].removeprefix('--')}"
    value = "" if one.is_flag else f" {one.metavar}"
    return ", ".join(names) + value, one.help or ""


def _usage(command: Any, ctx: Any) -> str:
    if hasattr(command, "commands"):
        return f"Usage: {ctx.command_path} VERB ..."
    words = [one.metavar for one in command.get_params(ctx) if one.param_type_name == "argument"]
    return f"Usage: {' '.join([ctx.command_path, *words, '[OPTIONS]'])}"


def _entry(typed: str, text: str, width: int) -> Iterator[str]:
    """The lines of one row: side by side if there is room, otherwise with the sentence below."""
    head, narrow = f"  {typed}", width < 2 * _TEXT
    if len(head) > width:  # a list of choices too long for one line moves into the sentence
        flag, _, choices = typed.partition(" ")
        head, text = f"  {flag}", f"{', '.join(choices.split('|'))}: {text}"
    indent = " " * (6 if narrow else _TEXT)
    whole = _NOTE.sub(lambda note: note[0].replace(" ", "\xa0"), text)  # keep a default on one line
    body = textwrap.wrap(whole, width - len(indent), break_on_hyphens=False, break_long_words=False) or [""]
    body = [line.replace("\xa0", " ") for line in body]
    if not narrow and len(head) < _TEXT - 1:
        yield (head.ljust(_TEXT) + body.pop(0)).rstrip()
    else:
        yield head
    yield from (indent + line for line in body if line)


def _width() -> int:
    return max(32, min(_WIDEST, shutil.get_terminal_size((80, 24)).columns))


def _shown(text: str) -> str:
    """`text`, coloured if stdout is a terminal and $NO_COLOR is not set."""
    return coloured(text) if console.is_live(sys.stdout) and not os.environ.get("NO_COLOR") else text


def coloured(text: str) -> str:
    """Headings bold, flags cyan, defaults dim."""
    lines: Sequence[str] = text.split("\n")
    painted = []
    for line in lines:
        if re.fullmatch(r"\w[^ ].*:", line):
            line = f"\x1b[1m{line}\x1b[0m"
        elif match := re.match(r"  (\S.*?)(?=  |$)", line):
            line = f"  \x1b[36m{match[1]}\x1b[0m{line[match.end() :]}"
        painted.append(line)
    return _NOTE.sub("\x1b[2m\\g<0>\x1b[0m", "\n".join(painted))
