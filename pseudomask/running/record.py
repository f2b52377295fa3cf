"""The run record `run.json`: how an output folder was made, for provenance and for resuming."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from pseudomask._version import __version__
from pseudomask.errors import RecordMismatch, UsageError
from pseudomask.files import read_bytes
from pseudomask.running.atomic import atomic_text
from pseudomask.running.jsonable import is_text, json_object

SCHEMA = 1
ABSENT = object()
_RESUMING = "use --overwrite or another output folder"
START_OVER = "add --overwrite to start over, or choose another output folder"
_PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "pillow", "safetensors")
_SHOWN = 60  # characters of a value shown in a difference
# Hashes mean nothing to people, who only need to know that they differ.
_IN_WORDS = {
    "images_hash": "the list of photos differs",
    "labels_hash": "the tags differ",
    "tagged": "one of the two runs has --labels, the other does not",
    "weights.sha256": "the weights differ",
    "protocol.seeds_hash": "the seeds differ",
    "weights.seeds_hash": "the seeds differ",
    "protocol.int8": "the 8-bit arithmetic of --amp int8 differs",
    "protocol.affinity_sha256": "the weights of --affinity differ",
    "protocol.masks_threshold": "the refined scores are cut at another threshold",
    "protocol.scores_threshold": "the refined scores are cut at another threshold",
}


# The types that later code relies on; everything else is only displayed.
_KINDS: dict[str, type] = {
    "command": str,
    "classes": list,
    "weights": dict,
    "images_hash": str,
    "labels_hash": str,
    "protocol": dict,
    "timings": dict,
}
_NAMES: dict[type, str] = {str: "text", list: "a list", dict: "an object"}


@dataclass
class RunRecord:
    """Everything that determines the bytes of a run's outputs, and what the run cost.

    `config` is the resolved configuration; `weights` has at least `sha256` and `licence`;
    `images_hash` and `labels_hash` come from `hash_lines`; `timings` are seconds per stage;
    `peak_memory` is in bytes; `protocol` is what must accompany any number measured on the outputs.
    """

    command: str
    config: dict[str, Any]
    classes: Sequence[str] = ()
    seed: int | None = None
    device: str = ""
    weights: dict[str, Any] = field(default_factory=dict)
    images_hash: str = ""
    labels_hash: str = ""
    protocol: dict[str, Any] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    peak_memory: int | None = None
    packages: dict[str, str] = field(default_factory=lambda: package_versions())
    platform: dict[str, str] = field(default_factory=lambda: platform_facts())
    schema: int = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return json_object(self)

    @property
    def tagged(self) -> bool:
        """Whether tags were given; otherwise the classifier predicted them."""
        return self.labels_hash not in ("", "none")

    def write(self, path: Path) -> None:
        """Replace `path` with this record. Raises `PseudomaskError` if it cannot be written."""
        atomic_text(path, json.dumps(self.to_json(), indent=2, ensure_ascii=True) + "\n")

    @classmethod
    def read(cls, path: Path) -> RunRecord | None:
        """The record at `path`, or None if the file does not exist. Raises `UsageError` for any other file."""
        content = read_content(path)
        return None if content is ABSENT else cls.parse(content, path)

    @classmethod
    def parse(cls, content: Any, path: Path) -> RunRecord:
        """The record in `content`, the JSON at `path`. Raises `UsageError` if it is not a record of this schema."""
        if not isinstance(content, dict) or not isinstance(content.get("config"), dict):
            raise _foreign(path, "it has no config")
        if content.get("schema") != SCHEMA:
            raise _foreign(path, f"its schema is {content.get('schema')!r}, but this version reads {SCHEMA}")
        for name, kind in _KINDS.items():
            if name in content and not isinstance(content[name], kind):
                raise _foreign(path, f"'{name}' must be {_NAMES[kind]}")
        if not all(map(is_text, content.get("classes", ()))):
            raise _foreign(path, "a class has no name")
        if not all(is_text(content.get(name, "")) for name in ("images_hash", "labels_hash")):
            raise _foreign(path, "a hash must be text")
        seconds = content.get("timings", {}).values()
        if not all(isinstance(value, int | float) and 0 <= value < 1e12 for value in seconds):
            raise _foreign(path, "invalid timings")
        names = {one.name for one in dataclasses.fields(cls)}
        try:
            return cls(**{name: value for name, value in content.items() if name in names})
        except TypeError as error:
            raise _foreign(path, "'command' is missing") from error


def read_content(path: Path) -> Any:
    """The content of a JSON file, or `ABSENT` if it does not exist. Raises `UsageError` if it cannot be read."""
    try:
        return json.loads(read_bytes(path))
    except FileNotFoundError:
        return ABSENT
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"cannot read {path}: it is not JSON", advice=_RESUMING) from error


def check_resume(
    old: RunRecord,
    new: RunRecord,
    fields: Sequence[str],
    *,
    where: Path | str = "",
    defaults: Mapping[str, Any] | None = None,
    earlier: Mapping[str, Any] | None = None,
) -> None:
    """Raise `RecordMismatch`, listing each difference, unless both records agree on `fields`.

    A field is a dotted name (`config.threshold`, `weights.sha256`); if it names a table, all its values are
    compared. `where` is the output folder, for the message. `defaults` are the settings' defaults: a setting missing
    from the old record counts as its default, so that an upgrade changes nothing. `earlier` holds another accepted
    value of a field, such as one that an earlier version of this program recorded.
    """
    differences = compare_records(old, new, fields, defaults=defaults, earlier=earlier)
    if differences:
        folder = f"{where} contains" if where else "the output folder contains"
        raise RecordMismatch(f"{folder} a run made with other settings: {'; '.join(differences)}", advice=START_OVER)


def compare_records(
    old: RunRecord,
    new: RunRecord,
    fields: Sequence[str],
    *,
    defaults: Mapping[str, Any] | None = None,
    earlier: Mapping[str, Any] | None = None,
) -> list[str]:
    """The differences for which `check_resume` raises, one phrase each."""
    before, after = (one.to_json() | {"tagged": one.tagged} for one in (old, new))
    before["config"] = {**(defaults or {}), **before["config"]}
    differences: list[str] = []
    for name in fields:
        if earlier and name in earlier and earlier[name] == _lookup(before, name):
            continue
        differences += _differences(name, _lookup(before, name), _lookup(after, name))
    return differences


def _lookup(content: Any, name: str) -> Any:
    for part in name.split("."):
        content = content.get(part, ABSENT) if isinstance(content, dict) else ABSENT
    return content


def _differences(name: str, old: Any, new: Any) -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        found = (_differences(f"{name}.{key}", old.get(key, ABSENT), new.get(key, ABSENT)) for key in keys)
        return [one for part in found for one in part]
    if old is ABSENT and new is ABSENT:
        return []
    # `1` and `1.0` are the same setting, but `1` and `true` are not
    if old == new and isinstance(old, bool) == isinstance(new, bool):
        return []
    if name in _IN_WORDS:
        return [_IN_WORDS[name]]
    return [f"{name.removeprefix('config.')} was {_short(old)}, now {_short(new)}"]


def _short(value: Any) -> str:
    text = "absent" if value is ABSENT else json.dumps(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _foreign(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} is not a valid run record: {why}", advice=_RESUMING)


def package_versions(names: Iterable[str] = _PACKAGES) -> dict[str, str]:
    """Installed versions by name, read from package metadata to avoid importing anything heavy."""
    found = {"pseudomask": __version__, "python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def platform_facts() -> dict[str, str]:
    """System, release and processor type."""
    return {"system": platform.system(), "release": platform.release(), "machine": platform.machine()}


def peak_memory() -> int | None:
    """The peak resident size of this process in bytes; None if the system does not report it."""
    try:
        import resource
    except ImportError:
        return None
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_lines(lines: Iterable[str]) -> str:
    """SHA-256 of a sequence of strings, in hexadecimal; it depends on where one string ends and the next begins."""
    digest = hashlib.sha256()
    for line in lines:
        data = line.encode("utf-8", "surrogateescape")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()
