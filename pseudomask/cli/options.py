"""Turn a config data class into flags, so that every setting is written down exactly once.

A field's metadata may hold: `help`; `positional` (an argument, not a flag); `flag` (another name than
the field's); `short` (`-m`); `panel` (heading in the help); `metavar`; `min` and `max` (inclusive);
`env` (False: no variable sets it); `cli` (False: no flag at all).
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import typer

from pseudomask.cli import values
from pseudomask.errors import UsageError

_LAST = ("Output", "Run", "Machine", "CPMC", "CRF", "PAMR", "Walk")  # the groups that people look for least


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of a config as the command line knows it."""

    name: str
    annotation: Any
    default: Any
    required: bool
    positional: bool
    flag: str
    help: str
    short: str | None = None
    panel: str | None = None
    metavar: str | None = None
    min: float | None = None
    max: float | None = None
    env: bool = True

    def parse(self, value: object, where: str) -> Any:
        """`value` as this field's type and within its bounds. Raises `UsageError`."""
        parsed = values.convert(self.annotation, value, where)
        for one in parsed if isinstance(parsed, tuple) else (parsed,):
            if isinstance(one, bool) or not isinstance(one, int | float):
                continue
            if self.min is not None and one < self.min:
                raise UsageError(f"{where}: must be at least {self.min:g}, not {one}")
            if self.max is not None and one > self.max:
                raise UsageError(f"{where}: must be at most {self.max:g}, not {one}")
        return parsed

    @property
    def key(self) -> str:
        """The name in a config file: the flag without its dashes."""
        return self.flag.removeprefix("--")


def settings(config: type) -> list[Setting]:
    """The settings of a config data class: its fields' order, but the groups of `_LAST` at the end."""
    hints = get_type_hints(config)
    found = [
        _setting(one, hints[one.name])
        for one in dataclasses.fields(config)
        if one.init and one.metadata.get("cli", True)
    ]
    flags = [setting.flag for setting in found]
    if len(set(flags)) != len(flags):
        raise TypeError(f"{config.__name__}: two fields share a flag")
    return sorted(found, key=lambda setting: _LAST.index(setting.panel) if setting.panel in _LAST else -1)


def _setting(one: dataclasses.Field[Any], annotation: Any) -> Setting:
    meta = dict(one.metadata)
    default, required = one.default, False
    if one.default_factory is not dataclasses.MISSING:
        default = one.default_factory()
    elif default is dataclasses.MISSING:
        default, required = None, True
    flag = meta.get("flag") or one.name.strip("_").replace("_", "-")
    return Setting(
        name=one.name,
        annotation=annotation,
        default=default,
        required=required,
        positional=bool(meta.get("positional")),
        flag="--" + flag.removeprefix("--"),
        help=meta.get("help", ""),
        **{key: meta[key] for key in ("short", "panel", "metavar", "min", "max", "env") if key in meta},
    )


def as_command(
    found: list[Setting],
    extra: list[inspect.Parameter],
    body: Callable[[dict[str, Any]], None],
) -> Callable[..., None]:
    """A function whose signature Typer reads: the settings and the `extra` parameters.

    `body` gets what was really given, by name: text for a value, a bool for a switch, None for the
    rest. Typer only splits the line; the conversion is ours, so that a flag, a variable and a config
    file share one set of rules and one wording of errors.
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
        return keyword(setting.name, Path | None, info)  # the type is for the help alone
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
        if setting.default:  # a switch that is off needs no note
            notes.append(f"default: {setting.key}")
    elif shown := values.show(setting.default):
        notes.append(f"default: {shown}")
    if setting.required and not setting.positional:
        notes.append("required")
    return " ".join([setting.help, *([f"[{'; '.join(notes)}]"] if notes else [])]).strip()


def _text(value: str) -> str:
    """Take a value as it came: Typer's own check refuses names that are not UTF-8."""
    return value
