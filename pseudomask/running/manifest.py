"""The manifest: one JSON line per image, written once the image's files are in place."""

from __future__ import annotations

import errno
import json
import os
from array import array
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from pseudomask.errors import UsageError
from pseudomask.files import open_file
from pseudomask.running.atomic import atomic_write, write_error
from pseudomask.running.jsonable import jsonable
from pseudomask.running.locks import FileLock, fork_safe_lock, locked

Entry = dict[str, Any]
DONE, FAILED = "done", "failed"  # an entry's status


_writing = fork_safe_lock()  # threads of one process share its part
_CHUNK = 1 << 20


class Manifest:
    """A growing file of JSON objects, each with the `key` of its image; the last entry for a key counts.

    Several processes may append to one manifest, so every access locks the file. The next append removes a line that
    a kill truncated, so there is never half a line in the middle.

    The many processes of one job would wait for that lock. With `apart`, this process appends to a part of its own, in
    a hidden folder beside the file, which it locks once and for all. Readers read the parts too; `merge` moves them
    into the file.
    """

    def __init__(self, path: Path, *, apart: bool = False) -> None:
        self.path, self.apart = path, apart
        self.parts = path.with_name(f".{path.name}.parts")
        self._part: FileLock | None = None

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add `entry`, which must have a `key`; when this returns, the operating system has the line.

        Raises `PseudomaskError` if it cannot be written; the file is then unchanged.
        """
        if not isinstance(entry.get("key"), str):
            raise TypeError("a manifest entry needs its image's key")
        line = _line(entry)
        try:
            with self._own_part() if self.apart else self._whole() as handle:
                _append(handle, line)
        except OSError as error:
            raise write_error(self.path, error) from error

    @contextmanager
    def _whole(self) -> Iterator[int]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path, flags=os.O_APPEND) as handle:
            yield handle

    @contextmanager
    def _own_part(self) -> Iterator[int]:
        with _writing:
            if self._part is None:
                self.parts.mkdir(parents=True, exist_ok=True)
                self._part = FileLock(self.parts / f"{os.urandom(8).hex()}.jsonl", flags=os.O_APPEND)
            yield self._part.handle

    def close(self) -> None:
        """End this process's part, so that it can be merged; a later `append` begins another."""
        with _writing:
            if self._part is not None:
                self._part.release()
                self._part = None

    def merge(self) -> None:
        """Move into the file the parts of processes that have ended or closed theirs.

        Killed in between, it leaves lines in both places, which does no harm.
        """
        parts = self._parts()
        try:
            for part in parts:
                with suppress(BlockingIOError), locked(part, wait=False), part.open("rb") as lines:
                    with self._whole() as handle:
                        for chunk in iter(lambda: lines.readlines(_CHUNK), []):
                            _append(handle, b"".join(line for line in chunk if line.endswith(b"\n")))
                    part.unlink()
            if parts:
                with suppress(OSError):  # another process's part is there
                    self.parts.rmdir()
        except OSError as error:
            raise write_error(self.path, error) from error

    def remove(self) -> None:
        """Remove the file and all parts."""
        for path in (self.path, *self._parts()):
            path.unlink(missing_ok=True)
        with suppress(OSError):
            self.parts.rmdir()

    def _parts(self) -> list[Path]:
        with suppress(OSError):
            return sorted(self.parts.glob("*.jsonl"))
        return []

    def load(self) -> dict[str, Entry]:
        """The last entry of each key, in order of first appearance; empty if there is no file.

        A truncated last line is ignored. Raises `UsageError` for a file that is not a manifest.
        """
        return {entry["key"]: entry for entry in self.lines()}

    def lines(self) -> Iterator[Entry]:
        """Every complete line, in file order, then those of parts; raises the same errors as `load`."""
        parts = self._parts()
        yield from _read(self.path)
        if parts:
            for part in parts:
                yield from _read(part)
            if not all(part.exists() for part in parts):
                yield from _read(self.path)  # they were merged meanwhile

    def compact(self, order: Sequence[str], *, drop: Container[str] = ()) -> None:
        """Rewrite the file, parts merged, with one line per key: first the keys in `order`, then the rest but `drop`.

        Done at the end of a run, so that interrupted and uninterrupted runs leave the same bytes.
        """
        self.merge()
        if not self.path.exists():
            return
        with locked(self.path), self.path.open("rb") as lines:
            starts, rest = self._last_lines(lines, {key: i for i, key in enumerate(dict.fromkeys(order))})
            with atomic_write(self.path) as stream:
                for start in (*starts, *(rest[key] for key in sorted(rest) if key not in drop)):
                    if start >= 0:
                        lines.seek(start)
                        stream.write(lines.readline())

    def _last_lines(self, lines: IO[bytes], positions: Mapping[str, int]) -> tuple[array[int], dict[str, int]]:
        """Offsets of each key's last line: by position (-1: no line), or by key for keys without a position.

        Offsets rather than lines, so that a run over 100,000 images need not keep its manifest in memory.
        """
        starts, rest, start = array("q", [-1]) * len(positions), dict[str, int](), 0
        for number, line in enumerate(lines, start=1):
            entry = _parse(self.path, line, number)
            if entry is not None:
                position = positions.get(entry["key"])
                if position is None:
                    rest[entry["key"]] = start
                else:
                    starts[position] = start
            start += len(line)
        return starts, rest


def _read(path: Path) -> Iterator[Entry]:
    try:
        with open_file(path) as stream:
            for number, line in enumerate(stream, start=1):
                entry = _parse(path, line, number)
                if entry is not None:
                    yield entry
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.ESTALE:  # a part that another machine merged meanwhile
            return
        raise UsageError(f"cannot read {path}: {error.strerror}") from error


def _parse(path: Path, line: bytes, number: int) -> Entry | None:
    if not line.endswith(b"\n"):
        return None  # truncated by a kill, so the image counts as not done
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict) or not isinstance(entry.get("key"), str):
        raise UsageError(
            f"{path}, line {number}: not a manifest line", advice="use --overwrite or another output folder"
        )
    return entry


def _line(entry: Mapping[str, Any]) -> bytes:
    # ASCII escapes preserve names that are not valid UTF-8 and keep newlines out of the line.
    return json.dumps(jsonable(entry), ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"


def _append(handle: int, line: bytes) -> None:
    end = _drop_cut_line(handle)
    rest = memoryview(line)
    try:
        while rest:
            rest = rest[os.write(handle, rest) :]
    except OSError:
        os.ftruncate(handle, end)
        raise


def _drop_cut_line(handle: int, block: int = 65536) -> int:
    """Truncate the file after its last newline and return the new size."""
    size = os.lseek(handle, 0, os.SEEK_END)
    end = size
    while end > 0:
        start = max(0, end - (1 if end == size else block))  # usually one byte is enough
        os.lseek(handle, start, os.SEEK_SET)
        found = os.read(handle, end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(handle, end)
    return end
