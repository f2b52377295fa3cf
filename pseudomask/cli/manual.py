"""`python -m pseudomask.cli.manual > pseudomask.1`: the manual page, from the same text as --help."""

from __future__ import annotations

from typing import Any

import typer

from pseudomask.cli import app, help

INTRODUCTION = """\
.TH PSEUDOMASK 1
.SH NAME
pseudomask \\- from photos and image-level tags to pixel masks
.SH SYNOPSIS
.B pseudomask
.I VERB ...
.SH DESCRIPTION
Options can also be set by environment variables (PSEUDOMASK_BATCH_SIZE=8, or PSEUDOMASK_EXTRACT_BATCH_SIZE=8 for one
verb) and in a TOML file (--config). Flags take precedence over variables, and variables over the file. Paths and JSON
go to stdout, everything else to stderr.
.SH EXIT STATUS
0: success. 1: some photos failed, or the work stopped early. 2: a mistake in the command, its files or its labels.
3: the machine lacks something. 130, 143: interrupted; run the same command again to resume.
"""


def manual() -> str:
    """The page in troff's man macros."""
    program: Any = typer.main.get_command(app.build())
    above = typer.Context(program, info_name="pseudomask")
    lines = [INTRODUCTION.rstrip()]
    for name, verb in program.commands.items():
        lines += [f".SH {_plain(name.upper())}", _plain(verb.help)]
        for title, rows in help.sections(verb, typer.Context(verb, above, name)):
            lines.append(f".SS {_plain(f'{name}: {title}')}")
            for typed, text in rows:
                lines += [".TP", f".B {_plain(typed)}", _plain(text)]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """`text` with all troff commands escaped."""
    safe = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe


if __name__ == "__main__":
    print(manual(), end="")
