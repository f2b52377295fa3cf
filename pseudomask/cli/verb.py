"""Turn a row of the table of verbs into a command: read its settings and send its result to the right streams."""

from __future__ import annotations

import inspect
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from pseudomask.carried import carried
from pseudomask.cli import console, options
from pseudomask.cli.help import Command
from pseudomask.cli.progress import ConsoleReporter
from pseudomask.config import sources
from pseudomask.config.settings import Setting, settings
from pseudomask.errors import UsageError
from pseudomask.quoting import command
from pseudomask.running.ranks import ranks
from pseudomask.running.reporter import Bad
from pseudomask.verbs import VERBS, Verb


def add(app: typer.Typer, verb: Verb, verbs: Sequence[str]) -> None:
    """Make `verb` a command of `app`; `verbs` are the names of all verbs, for the tables of a config file."""
    found = settings(verb.config)

    def body(given: dict[str, Any]) -> None:
        common = {key: given.pop(key) for key in list(given) if key.startswith("cli_")}
        config = make_config(verb, found, given, verbs, common.get("cli_config"))
        raise typer.Exit(_execute(verb, config, common))

    own = any(setting.name == "json" for setting in found)
    command = options.as_command(found, _common(with_json=not own, with_config=verb.configurable), body)
    app.command(verb.name, cls=Command, help=verb.help, short_help=verb.help, rich_help_panel=verb.group)(command)


def make_config(
    verb: Verb,
    found: list[Setting],
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
    """Run the verb, show its result and return the exit code."""
    job = ranks()
    if not job.first and not verb.shared:
        return 0
    as_json = bool(common.get("cli_json") or getattr(config, "json", False))
    reporter = ConsoleReporter(quiet=bool(common["cli_quiet"]) or not job.first, json=as_json)
    with warnings.catch_warnings():
        if not common["cli_debug"]:
            warnings.showwarning = lambda message, *where, **more: reporter.warn(str(message))
        reporter.hint(f"{verb.name} ...")
        try:
            result = verb.run(config, reporter)
        finally:
            reporter.settle()
    if not job.first:  # rank 0 prints the combined result
        return result.exit_code
    if not common["cli_quiet"]:
        _show(verb, config, result)
    if result.exit_code < 128:  # no JSON after a signal, so that no program takes a partial result for a complete one
        if as_json:
            console.out(json.dumps(result.to_json(), indent=2, ensure_ascii=True))
        else:
            for line in verb.stdout(config, result):
                console.out(str(line))
    return result.exit_code


def _show(verb: Verb, config: Any, result: Any) -> None:
    """Print the result for people: its headline (if any), its table or else its summary, and its notes (if any)."""
    if hasattr(result, "headline"):
        _lines(result.headline(), "")
    if hasattr(result, "table") and (table := result.table()):
        _lines(*console.table(*table))
    else:
        _show_summary(_rows(verb, config, result))
    if hasattr(result, "notes") and (notes := result.notes()):
        _lines("", *notes)


def _lines(*lines: str) -> None:
    for line in lines:
        console.err(line)


def _show_summary(rows: Sequence[tuple[str, object]]) -> None:
    width = max((len(label) for label, _ in rows), default=0) + 2
    for label, value in rows:
        first, *more = console.folded(str(value), width)
        console.err(first, head=label.ljust(width), colour=console.RED if isinstance(value, Bad) else console.CYAN)
        for line in more:
            console.err(" " * width + line)


def _rows(verb: Verb, config: Any, result: Any) -> list[tuple[str, object]]:
    """The result's summary, and the usual next command."""
    rows: list[tuple[str, object]] = list(result.summary())
    verb = verb.of(config)
    if verb.next and result.weights is not None:
        known = vars(config) | {"weights": result.weights}
        first, *words = (known[word[1:-1]] if word[:1] == "{" else word for word in verb.next.split())
        rows.append(("next", command(first, *words, *carried(config, VERBS[str(first)].config))))
    return rows


def _show_all(context: typer.Context, wanted: bool) -> None:
    if wanted:
        shown: Any = context.command
        console.out(shown.whole_help(context))
        raise typer.Exit


def _common(*, with_json: bool, with_config: bool) -> list[inspect.Parameter]:
    """The flags that all verbs share and that are not settings."""
    panel = "Program"

    def switch(name: str, *flags: str, help: str) -> inspect.Parameter:
        info = typer.Option(False, *flags, help=help, rich_help_panel=panel, show_default=False)
        return options.keyword(name, bool, info)

    config = typer.Option(
        None,
        "--config",
        metavar="FILE",
        help="TOML file of settings; flags and PSEUDOMASK_* variables take precedence.",
        rich_help_panel=panel,
        show_default=False,
        parser=str,
    )
    every = typer.Option(
        False,
        "--help-all",
        help="Show all settings and exit.",
        rich_help_panel=panel,
        show_default=False,
        is_eager=True,
        callback=_show_all,
    )
    common = [
        *([options.keyword("cli_config", str | None, config)] if with_config else []),
        switch("cli_quiet", "--quiet", "-q", help="Print only warnings and errors to stderr."),
        switch("cli_debug", "--debug", help="Show the traceback of an error."),
        options.keyword("cli_help_all", bool, every),
    ]
    if with_json:
        common.insert(-3, switch("cli_json", "--json", help="Print the result as one JSON document."))
    return common
