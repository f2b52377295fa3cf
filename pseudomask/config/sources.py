"""Where settings come from: flags, then PSEUDOMASK_* variables, then the config file, then defaults."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pseudomask.config.settings import Setting
from pseudomask.config.values import nearest
from pseudomask.errors import UsageError
from pseudomask.files import read_bytes

PREFIX = "PSEUDOMASK_"


def resolve(
    verb: str,
    found: list[Setting],
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Mapping[str, tuple[object, str]],
) -> dict[str, Any]:
    """The converted value of each setting that was given anywhere; defaults are left to the config.

    `flags` maps field names to what was typed (None: not given); `file` is what `read_config` returns.
    Raises `UsageError` for an invalid value or a missing required setting.
    """
    resolved: dict[str, Any] = {}
    for setting in found:
        given = _given(verb, setting, flags, environment, file)
        if given is not None:
            resolved[setting.name] = setting.parse(*given)
        elif setting.required:
            raise UsageError(f"{verb} needs {setting.flag}; see 'pseudomask {verb} --help'")
    return resolved


def _given(
    verb: str,
    setting: Setting,
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    file: Mapping[str, tuple[object, str]],
) -> tuple[object, str] | None:
    """The value with the highest precedence, and where it came from (for error messages)."""
    value = flags.get(setting.name)
    if value is not None:
        return value, setting.flag if not setting.positional else setting.key.upper()
    for name in variables(verb, setting):
        if environment.get(name):
            return environment[name], name
    return file.get(setting.name)


def variables(verb: str, setting: Setting) -> list[str]:
    """The environment variables of a setting, the verb's own first."""
    if setting.positional or not setting.env:
        return []
    key = setting.key.upper().replace("-", "_")
    return [f"{PREFIX}{verb.upper().replace('-', '_')}_{key}", f"{PREFIX}{key}"]


def strays(environment: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """One line for each PSEUDOMASK_* variable that sets nothing and is most likely a typo."""
    names = {*known, f"{PREFIX}CONFIG", f"{PREFIX}DEBUG"}
    found = sorted(name for name in environment if name.startswith(PREFIX) and name not in names)
    return [f"{name} is not a known variable{nearest(name, names)}" for name in found]


def read_config(path: Path, verb: str, found: list[Setting], verbs: Iterable[str]) -> dict[str, tuple[object, str]]:
    """A mapping from field name to (TOML value, origin) for this verb.

    Top-level keys apply to the verb that runs; a table such as `[extract]` applies to that verb alone and
    overrides them, so one file can serve a whole chain of verbs. A key is a flag's name, with
    dashes or underscores. Raises `UsageError` if the file is not TOML or a key is unknown.
    """
    content = load_toml(path, f"--config {path}")
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    for name in tables:
        if name not in verbs:
            raise UsageError(f"{path}: unknown table [{name}]{nearest(name, verbs)}; tables are named after verbs")
    top = {name: value for name, value in content.items() if name not in tables}
    known = {setting.key: setting for setting in found}
    values: dict[str, tuple[object, str]] = {}
    for place, entries in ((f"{path}", top), (f"{path} [{verb}]", tables.get(verb, {}))):
        for name, value in entries.items():
            setting = known.get(name.replace("_", "-"))
            if setting is None:
                raise UsageError(f"{place}: unknown key '{name}' for {verb}{nearest(name, known)}")
            if setting.positional:
                raise UsageError(f"{place}: '{name}' must be given on the command line, not in a config file")
            values[setting.name] = (value, f"{place}: {name}")
    return values


def load_toml(path: Path, told: str) -> dict[str, Any]:
    """A TOML file's content. Raises a `UsageError` that begins with `told` if the file is unreadable or not TOML."""
    try:
        text = read_bytes(path, pipe=True).decode("utf-8-sig")
        return tomllib.loads(text.replace("\r\n", "\n").replace("\r", "\n"))
    except OSError as error:
        raise UsageError(f"{told}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{told}: not a TOML file: {error}") from error
