"""The program: its verbs, and how it exits on errors, signals and closed pipes."""

from __future__ import annotations

import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from pseudomask._version import __version__
from pseudomask.cli import console
from pseudomask.cli.help import Group
from pseudomask.cli.verb import add
from pseudomask.config import sources
from pseudomask.config.settings import settings
from pseudomask.config.values import nearest
from pseudomask.errors import PseudomaskError
from pseudomask.running.ranks import error_prefix, ranks
from pseudomask.verbs import VERBS

HELP = "From photos and image-level tags to pixel masks: CAM, ReCAM and CPMC pseudo masks."


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code; never raises."""
    debug = "--debug" in arguments or bool(os.environ.get("PSEUDOMASK_DEBUG"))
    try:
        code = _dispatch(list(arguments) or ["--help"])
        console.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if debug:
            traceback.print_exc()
        console.error(error_prefix() + _message(error))
        return _exit_code(error)


def build() -> typer.Typer:
    """The Typer app."""
    app = typer.Typer(
        name="pseudomask",
        cls=Group,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback(help=HELP)(_program)
    for verb in VERBS.values():
        add(app, verb, tuple(VERBS))
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        console.out(f"pseudomask {__version__}")
        raise typer.Exit


def _program(
    version: bool = typer.Option(
        False, "--version", help="Show the version and exit.", is_eager=True, callback=_show_version
    ),
) -> None:
    """The options before the verb."""


def _dispatch(arguments: list[str]) -> int:
    command = typer.main.get_command(build())
    if any(name.startswith(sources.PREFIX) for name in os.environ) and ranks().first:
        for line in sources.strays(os.environ, _variables()):
            console.err(line, head="warning: ", colour=console.YELLOW)
    try:
        code: Any = command.main(arguments, prog_name="pseudomask", standalone_mode=False)
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # `--help | head -1` is not a failure
            return 0
        code = leaving.code
    return code if isinstance(code, int) else 0


def _variables() -> list[str]:
    """All environment variables that set something for any verb."""
    return [
        name for verb in VERBS.values() for one in settings(verb.config) for name in sources.variables(verb.name, one)
    ]


def _message(error: Exception) -> str:
    """One line that says what is wrong, where, and what to do."""
    if isinstance(error, PseudomaskError):
        return str(error)
    shown = getattr(error, "format_message", None)  # Typer's own errors: an unknown flag, a missing argument
    if shown is not None:
        near = getattr(error, "possibilities", None)
        text = f"{error.message}{nearest(error.option_name, near)}" if near else str(shown()).rstrip(".")  # type: ignore[attr-defined]
        return f"{text}; see '{_usage_of(error)} --help'"
    if isinstance(error, OSError) and error.strerror:
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return where + error.strerror
    return f"internal error: {type(error).__name__}: {error}{_place(error)}; add --debug for the traceback"


def _usage_of(error: Exception) -> str:
    context = getattr(error, "ctx", None)
    return str(getattr(context, "command_path", "pseudomask"))


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _exit_code(error: Exception) -> int:
    code = getattr(error, "exit_code", 1)
    return code if isinstance(code, int) else 1
