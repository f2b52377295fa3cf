"""What a file was when it was read: size and time of its last change, on request a hash of its bytes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from pseudomask.running.record import hash_file

TOUCHED = "it changed while it was read; run the same command again"


class Identity(NamedTuple):
    """One file at one time; `mtime_ns` is its modification time in nanoseconds since 1970."""

    size: int
    mtime_ns: int
    sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As a manifest's line holds it."""
        plain = {"bytes": self.size, "mtime_ns": self.mtime_ns}
        return plain if self.sha256 is None else {**plain, "sha256": self.sha256}

    @classmethod
    def from_json(cls, value: Any) -> Identity | None:
        """None where `value` is no identity, as in lines of version 0.1.0."""
        if not isinstance(value, dict):
            return None
        size, time, digest = value.get("bytes"), value.get("mtime_ns"), value.get("sha256")
        if not isinstance(size, int) or not isinstance(time, int):
            return None
        return cls(size, time, digest if isinstance(digest, str) else None)

    def holds(self, path: Path, *, hashed: bool = False, timed: bool = True) -> bool:
        """Whether `path` still is that file.

        Where a hash was noted it decides, if the times differ or `hashed` asks for it. Without one a file with another
        time is another; not so where `timed` is off, as for a copy, whose time tells nothing.
        """
        try:
            now = path.stat()
            if now.st_size != self.size:
                return False
            if self.sha256 is not None and (hashed or now.st_mtime_ns != self.mtime_ns):
                return hash_file(path) == self.sha256
        except OSError:
            return False
        return not timed or now.st_mtime_ns == self.mtime_ns

    def untouched(self, path: Path) -> bool:
        """Whether size and time are still the same, right after the reading."""
        return identify(path)[:2] == self[:2]


def identify(path: Path, *, hashed: bool = False) -> Identity:
    """The file as it is now; one that is not there has an identity of its own, and its reader will tell why."""
    try:
        now = os.stat(path)  # noqa: PTH116 - a link's target
        digest = hash_file(path) if hashed and stat.S_ISREG(now.st_mode) else None
    except OSError:
        return Identity(-1, -1)
    return Identity(now.st_size, now.st_mtime_ns, digest)


def older(path: Path, mask: Path) -> bool:
    """Whether `path` was last changed before `mask` was made: all that can be known where no identity was noted."""
    try:
        return path.stat().st_mtime_ns <= mask.stat().st_mtime_ns
    except OSError:
        return False
