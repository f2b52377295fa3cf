"""The files that a chain writes beside its steps' folders: chain.json (the outcome) and run.toml (all settings)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pseudomask.chain.steps import Chain, Step
from pseudomask.config.settings import settings
from pseudomask.errors import UsageError
from pseudomask.files import read_bytes
from pseudomask.quoting import double_quoted
from pseudomask.running.atomic import atomic_text
from pseudomask.running.jsonable import jsonable
from pseudomask.running.record import hash_file, package_versions, platform_facts

SCHEMA = 1
SUMMARY = "chain.json"
RESOLVED = "run.toml"

Entry = dict[str, Any]
"""One step of chain.json: label, verb, status, why, seconds, place, results, fingerprint, config."""


def entry_of(step: Step) -> Entry:
    """The entry of a step that has not run yet."""
    return {
        "step": step.label,
        "verb": step.verb.name,
        "repeat": step.repeat,
        "status": "waiting",
        "why": "",
        "seconds": 0.0,
        "place": str(step.output),
        "results": {},
        "config": jsonable(step.config),
    }


def read_entries(chain: Chain) -> dict[str, Entry]:
    """The steps of an earlier run, by label, if there was one. Raises `UsageError` for a foreign file."""
    path = chain.out / SUMMARY
    try:
        content = json.loads(read_bytes(path))
        if content["schema"] != SCHEMA:
            raise KeyError
        return {entry["step"]: entry for entry in content["steps"] if isinstance(entry["results"], dict)}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} was not written by `pseudomask run`; move it away, or choose another `out`"
        ) from error


def document(
    chain: Chain, entries: Sequence[Entry], exit_code: int | None, numbers: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """The content of chain.json; while the chain runs, `exit_code` is None and `numbers` (of `spread`) is empty."""
    return {
        "schema": SCHEMA,
        "file": str(chain.file),
        "file_sha256": hash_file(chain.file),
        "out": str(chain.out),
        "exit_code": exit_code,
        "packages": package_versions(),
        "platform": platform_facts(),
        "data": list(chain.found),
        "partial": chain.partial,
        "steps": list(entries),
        "numbers": list(numbers),
    }


def write_summary(chain: Chain, content: dict[str, Any]) -> None:
    """Write what `document` gave."""
    atomic_text(chain.out / SUMMARY, json.dumps(content, indent=2, ensure_ascii=True) + "\n")


def write_resolved(chain: Chain) -> None:
    """Write every setting of every step as a file for `pseudomask run`."""
    atomic_text(chain.out / RESOLVED, resolved(chain))


def resolved(chain: Chain) -> str:
    """TOML with all settings, including defaults, except those without a value."""
    lines = [f"# Resolved from {json.dumps(str(chain.file))}, with all defaults.", f"out = {_toml(chain.out)}"]
    for part in chain.data:
        lines += ["", "[[data]]", f"path = {_toml(part.path)}"]
        lines += [f"count = {part.count}"] if part.count is not None else []
        lines += [f"from = {_toml(part.source)}"] if part.source else []
    for step in (one for one in chain.steps if not one.repeat):
        several = step.verb.several
        lines += ["", f"[[{step.verb.name}]]" if several else f"[{step.verb.name}]"]
        if step.name is not None:
            lines.append(f"name = {_toml(step.name)}")
        if step.published is not None:
            lines.append(f"published = {step.published!r}")
        if step.protocol:
            lines.append(f"protocol = {_toml(step.protocol)}")
        for setting in settings(step.verb.config):
            value = getattr(step.config, setting.name)
            if value is not None and setting.name not in ("dry_run", "overwrite"):
                lines.append(f"{setting.key} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """A setting's value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, Path | str):
        return double_quoted(str(value))
    return repr(value)
