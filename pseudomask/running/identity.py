"""The identity of a file at the time of reading: size, modification time and, on request, a hash."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, NamedTuple

from pseudomask.running.record import hash_file

TOUCHED = "it changed while it was read; run the same command again"


class Identity(NamedTuple):
    """A file at one point in time; `mtime_ns` is its modification time in nanoseconds since 1970."""

    size: int
    mtime_ns: int
    sha256: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The identity as stored in a manifest line."""
        plain = {"bytes": self.size, "mtime_ns": self.mtime_ns}
        return plain if self.sha256 is None else {**plain, "sha256": self.sha256}

    @classmethod
    def from_json(cls, value: Any) -> Identity | None:
        """The stored identity; None if `value` is not one, as in lines of version 0.1.0."""
        if not isinstance(value, dict):
            return None
        size, time, digest = value.get("bytes"), value.get("mtime_ns"), value.get("sha256")
        if not isinstance(size, int) or not isinstance(time, int):
            return None
        return cls(size, time, digest if isinstance(digest, str) else None)

    def holds(self, path: Path, *, hashed: bool = False, timed: bool = True) -> bool:
        """Whether `path` is still that file.

        If the times differ or `hashed` is set, a recorded hash decides. Without a hash, a different time means a
        different file, unless `timed` is off, as for copies.
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
        """Whether size and time are still the same; to be asked right after reading."""
        return identify(path)[:2] == self[:2]


def identify(path: Path, *, hashed: bool = False) -> Identity:
    """The current identity of a file; a missing file gets a special one, and whoever reads it reports the error."""
    try:
        now = os.stat(path)  # noqa: PTH116 - a link's target
        digest = hash_file(path) if hashed and stat.S_ISREG(now.st_mode) else None
    except OSError:
        return Identity(-1, -1)
    return Identity(now.st_size, now.st_mtime_ns, digest)


def older(path: Path, mask: Path) -> bool:
    """Whether `path` was last changed before `mask` was made; used if no identity was recorded."""
    try:
        return path.stat().st_mtime_ns <= mask.stat().st_mtime_ns
    except OSError:
        return False
