"""Read the TOML file of a chain: the settings at the top, and one table per step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pseudomask.chain.steps import STEPS, DataPart
from pseudomask.config.sources import load_toml
from pseudomask.errors import UsageError
from pseudomask.suggest import did_you_mean

DATA = "data"
"""The tables that say what data the chain expects."""

Entries = dict[str, tuple[object, str]]
"""Key, with dashes → its value and its location, for errors."""


@dataclass(frozen=True)
class Table:
    """The settings of one step."""

    verb: str
    where: str
    entries: Entries


@dataclass(frozen=True)
class ChainFile:
    """The settings of a file; tables in the order of the chain, not of the file."""

    path: Path
    top: Entries
    tables: tuple[Table, ...]
    data: tuple[DataPart, ...] = ()

    @property
    def refined_later(self) -> bool:
        """Whether a step of its own refines what extract makes: then extract refines only if it is told to."""
        return any(table.verb == "refine" for table in self.tables)

    def extract_refines(self, own: Mapping[str, tuple[object, str]]) -> bool:
        """Whether extract, whose table holds `own`, runs refiners."""
        given = own.get("refine", self.top.get("refine"))
        return not self.refined_later if given is None else given[0] not in ("none", ["none"])


def read_file(path: Path) -> ChainFile:
    """Read a chain file. Raises `UsageError` if it is missing, not TOML, or has no tables or unknown ones."""
    content = load_toml(path, str(path))
    data = _data(content.pop(DATA, []), path)
    tables = {name: value for name, value in content.items() if _is_table(value)}
    for name, value in tables.items():
        if name == "run":
            raise UsageError(f"{path}: put the chain's settings at the top of the file, not in [run]")
        if name not in STEPS:
            raise UsageError(
                f"{path}: [{name}] is not a step{did_you_mean(name, STEPS)}; the steps are {', '.join(STEPS)}"
            )
        if isinstance(value, list) and not STEPS[name].several:
            several = ", ".join(verb.name for verb in STEPS.values() if verb.several)
            raise UsageError(f"{path}: [[{name}]] may occur only once, as [{name}]; only {several} may be repeated")
    if not tables:
        raise UsageError(f"{path}: no steps; write one table per step, such as [extract]")
    found = []
    for verb in (verb for verb in STEPS if verb in tables):
        value = tables[verb]
        where = f"{path} [[{verb}]]" if isinstance(value, list) else f"{path} [{verb}]"
        found += [Table(verb, where, _entries(one, where)) for one in (value if isinstance(value, list) else [value])]
    top = {name: value for name, value in content.items() if name not in tables}
    return ChainFile(path, _entries(top, str(path)), tuple(found), data)


def _data(tables: object, path: Path) -> tuple[DataPart, ...]:
    """The [[data]] tables: `path`, and if known `count` and `from`."""
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise UsageError(f"{path}: write the expected data as [[{DATA}]], one table per file or folder")
    found = []
    for one in tables:
        where, number = one.pop("path", None), one.pop("count", None)
        source = one.pop("from", "")
        if one:
            raise UsageError(f"{path} [[{DATA}]]: unknown key {next(iter(one))!r}; it has path, count and from")
        if not isinstance(where, str) or not where or "\0" in where:
            raise UsageError(f"{path} [[{DATA}]]: `path` must be a path, not {where!r}")
        if not (number is None or (type(number) is int and number > 0)) or not isinstance(source, str):
            raise UsageError(f"{path} [[{DATA}]] {where}: `count` must be a number, and `from` text")
        found.append(DataPart(Path(where), number, source))
    return tuple(found)


def _is_table(value: object) -> bool:
    several = isinstance(value, list) and value != [] and all(isinstance(one, dict) for one in value)
    return isinstance(value, dict) or several


def _entries(table: Mapping[str, object], where: str) -> Entries:
    found: Entries = {}
    for name, value in table.items():
        key = name.replace("_", "-")
        if key in found:
            raise UsageError(f"{where}: '{key}' is given twice, with a dash and with an underscore")
        found[key] = (value, f"{where}: {name}")
    return found
