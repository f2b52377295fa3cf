"""The settings of a config data class, as read from the command line, environment variables and TOML files.

A field's metadata may hold: `help`; `positional` (an argument, not a flag); `flag` (if it differs from
the field's name); `short` (`-m`); `panel` (heading in the help); `metavar`; `min` and `max` (inclusive);
`env` (False: no variable sets it); `cli` (False: no flag at all); `of` (the methods that it is for); `first` (shown
by `--help`, whereas `--help-all` shows all settings); `needed` (has a default, but the verb refuses it).
"""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

from pseudomask.config import values
from pseudomask.errors import UsageError

_OF_SEVERAL = ("Regions",)  # groups that several refiners share
_LAST = ("Output", "Run", "Machine")  # the groups people need least, apart from those of single methods


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
    of: tuple[str, ...] = ()
    first: bool = False
    needed: bool = False

    def parse(self, value: object, where: str) -> Any:
        """`value` converted to this field's type. Raises `UsageError` if it does not fit the type or the bounds."""
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

    @property
    def position(self) -> tuple[int, str]:
        """Where its group appears in the help; groups named after a method, or shared by several, come last."""
        group = self.panel or ""
        if group.lower() in self.of or group in _OF_SEVERAL:
            return len(_LAST), group.lower()
        return _LAST.index(group) if group in _LAST else -1, ""


def settings(config: type) -> list[Setting]:
    """The settings of a config data class in field order, sorted by `position`."""
    hints = get_type_hints(config)
    found = [
        _setting(one, hints[one.name])
        for one in dataclasses.fields(config)
        if one.init and one.metadata.get("cli", True)
    ]
    flags = [setting.flag for setting in found]
    if len(set(flags)) != len(flags):
        raise TypeError(f"{config.__name__}: two fields share a flag")
    return sorted(found, key=lambda setting: setting.position)


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
        **{
            key: meta[key]
            for key in ("short", "panel", "metavar", "min", "max", "env", "of", "first", "needed")
            if key in meta
        },
    )
