"""What the verbs' commands have in common: settings in, result out, and what goes to which stream."""

from __future__ import annotations

import inspect
import json
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import typer

from pseudomask.cli import console, options, sources
from pseudomask.cli.help import GROUPS, Command
from pseudomask.cli.progress import ConsoleReporter
from pseudomask.errors import UsageError
from pseudomask.quoting import command
from pseudomask.running.ranks import ranks
from pseudomask.running.reporter import Reporter


class Result(Protocol):
    """What a function of the Python API returns."""

    @property
    def exit_code(self) -> int: ...

    def summary(self) -> Sequence[tuple[str, object]]:
        """(label, value) lines for people."""

    def to_json(self) -> Any:
        """The same and more for programs."""


@dataclass(frozen=True)
class Verb:
    """One verb: its config class, one line of help, and the function of the API that does it.

    `next` gives the command that most people want then, where the summary does not.
    `run` imports what it needs when it is called. `show` gives lines for people instead of the
    summary; `data` gives lines of stdout where --json is not asked for (paths, mostly). `shared`: each process of a
    torchrun does its share; else the first does it all. `group`: its heading in the program's help,
    of `help.GROUPS`.
    """

    name: str
    config: type
    help: str
    run: Callable[[Any, Reporter], Result]
    show: Callable[[Any], Sequence[str]] | None = None
    next: Callable[[Any, Any], str] | None = None
    data: Callable[[Any, Any], Sequence[str]] | None = None
    shared: bool = False
    group: str = GROUPS[0]
    configurable: bool = True  # whether --config can hold its settings


def extract_next(config: Any, result: Any) -> str:
    """What people do with a new classifier."""
    return command("extract", config.images, "MASKS", "--labels", config.labels, "--weights", result.weights)


def weights_file(config: Any, result: Any) -> list[str]:
    """The stdout of a training verb: the weights that it wrote, if any."""
    return [] if result.weights is None else [str(result.weights)]


def out_folder(config: Any, result: Any) -> list[str]:
    """The stdout of a verb that fills a folder: where, for the next command of a script."""
    return [] if config.dry_run else [str(config.out)]


def add(app: typer.Typer, verb: Verb, verbs: Sequence[str]) -> None:
    """Make `verb` a command of `app`; `verbs` are all verbs' names, for the tables of a config file."""
    found = options.settings(verb.config)

    def body(given: dict[str, Any]) -> None:
        common = {key: given.pop(key) for key in list(given) if key.startswith("cli_")}
        config = make_config(verb, found, given, verbs, common.get("cli_config"))
        raise typer.Exit(_execute(verb, config, common))

    own = any(setting.name == "json" for setting in found)
    command = options.as_command(found, _common(with_json=not own, with_config=verb.configurable), body)
    app.command(verb.name, cls=Command, help=verb.help, short_help=verb.help, rich_help_panel=verb.group)(command)


def make_config(
    verb: Verb,
    found: list[options.Setting],
    given: dict[str, Any],
    verbs: Sequence[str],
    config_file: str | None,
) -> Any:
    """The config object of `verb`, from flags, environment, config file and defaults."""
    if verb.configurable:
        config_file = config_file or os.environ.get(f"{sources.PREFIX}CONFIG")
    file = sources.read_config(Path(config_file), verb.name, found, verbs) if config_file else {}
    resolved = sources.resolve(verb.name, found, given, os.environ, file)
    try:
        return verb.config(**resolved)
    except ValueError as error:
        raise UsageError(f"{verb.name}: {error}") from error


def _execute(verb: Verb, config: Any, common: dict[str, Any]) -> int:
    """Run the verb and show its result; returns the exit code."""
    job = ranks()
    if not job.first and not verb.shared:
        return 0
    reporter = ConsoleReporter(quiet=bool(common["cli_quiet"]) or not job.first)
    with warnings.catch_warnings():
        if not common["cli_debug"]:
            warnings.showwarning = lambda message, *where, **more: reporter.warn(str(message))
        reporter.hint(f"{verb.name} ...")
        try:
            result = verb.run(config, reporter)
        finally:
            reporter.settle()
    if not job.first:  # the first tells what became of all
        return result.exit_code
    if not common["cli_quiet"]:
        for label, text in _lines(verb, config, result):
            bad = (label.strip() in _BAD and text not in ("none", "0")) or text.startswith(("MISSING", "not ready"))
            first, *more = console.folded(text, len(label))
            console.err(first, head=label, colour=console.RED if bad else console.CYAN)
            for line in more:
                console.err(" " * len(label) + line)
    if result.exit_code < 128:  # stopped by a signal: no document that a program could take for whole
        if common.get("cli_json") or getattr(config, "json", False):
            console.out(json.dumps(result.to_json(), indent=2, ensure_ascii=True))
        elif verb.data is not None:
            for line in verb.data(config, result):
                console.out(line)
    return result.exit_code


_BAD = ("failed", "missing")


def _lines(verb: Verb, config: Any, result: Any) -> Sequence[tuple[str, str]]:
    """What people read at the end: a label, which may be empty, and a text."""
    if verb.show is not None:
        return [("", line) for line in verb.show(result)]
    rows = list(result.summary())
    if verb.next is not None and result.weights is not None:
        rows.append(("next", verb.next(config, result)))
    return columns(rows)


def columns(rows: Sequence[tuple[str, object]]) -> list[tuple[str, str]]:
    """A summary's rows, their labels padded to one width."""
    width = max((len(label) for label, _ in rows), default=0)
    return [(f"{label.ljust(width)}  ", str(value)) for label, value in rows]


def _common(*, with_json: bool, with_config: bool) -> list[inspect.Parameter]:
    """The flags that every verb has and no config needs."""
    panel = "Program"

    def switch(name: str, *flags: str, help: str) -> inspect.Parameter:
        info = typer.Option(False, *flags, help=help, rich_help_panel=panel, show_default=False)
        return options.keyword(name, bool, info)

    config = typer.Option(
        None,
        "--config",
        metavar="FILE",
        help="TOML file of settings; flags and PSEUDOMASK_* variables win over it.",
        rich_help_panel=panel,
        show_default=False,
        parser=str,
    )
    common = [
        *([options.keyword("cli_config", str | None, config)] if with_config else []),
        switch("cli_quiet", "--quiet", "-q", help="Only warnings and errors on stderr."),
        switch("cli_debug", "--debug", help="Show where an error came from."),
    ]
    if with_json:
        common.insert(-2, switch("cli_json", "--json", help="Print the result as one JSON document."))
    return common
