"""Turn the settings of a config data class into flags, so that every setting is defined exactly once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import typer

from pseudomask.config import values
from pseudomask.config.settings import Setting


def as_command(
    found: list[Setting],
    extra: list[inspect.Parameter],
    body: Callable[[dict[str, Any]], None],
) -> Callable[..., None]:
    """A function with a signature for Typer to read: the settings and the `extra` parameters.

    `body` receives what was given, by name: text for a value, a bool for a switch, None for the rest.
    Typer only splits the line; we convert values ourselves, so that flags, variables and config
    files share the same rules and error messages.
    """
    parameters = [_parameter(setting) for setting in found] + extra

    def command(**given: Any) -> None:
        body(given)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    return command


def _parameter(setting: Setting) -> inspect.Parameter:
    if setting.positional:
        info: Any = typer.Argument(
            ... if setting.required else None,
            metavar=setting.metavar or setting.key.upper().replace("-", "_"),
            help=describe(setting),
            parser=_text,
            show_default=False,
        )
        return keyword(setting.name, str | None, info)  # of a Path, Typer before 0.29 makes one
    if values.is_bool(setting.annotation):
        return keyword(setting.name, bool | None, _option(setting, f"{setting.flag}/--no-{setting.key}"))
    info = _option(
        setting,
        setting.flag,
        metavar=setting.metavar or values.metavar(setting.annotation),
        parser=_text,
    )
    return keyword(setting.name, str | None, info)


def _option(setting: Setting, declaration: str, **more: Any) -> Any:
    declarations = [declaration, *([setting.short] if setting.short else [])]
    return typer.Option(
        None,
        *declarations,
        help=describe(setting),
        rich_help_panel=setting.panel,
        show_default=False,
        **more,
    )


def keyword(name: str, annotation: Any, info: Any) -> inspect.Parameter:
    """A parameter of a command's signature; `info` is Typer's Option or Argument."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=info, annotation=annotation)


def describe(setting: Setting) -> str:
    """The help of a setting, with its default."""
    notes = []
    if values.is_bool(setting.annotation):
        if setting.default:  # a switch that is off by default needs no note
            notes.append(f"default: {setting.key}")
    elif shown := values.show(setting.default):
        notes.append(f"default: {shown}")
    if (setting.required or setting.needed) and not setting.positional:
        notes.append("required")
    return " ".join([setting.help, *([f"[{'; '.join(notes)}]"] if notes else [])]).strip()


def _text(value: str) -> str:
    """Take a value as is, because Typer's own check rejects names that are not valid UTF-8."""
    return value
