"""The manifest survives kills, odd names, full disks and a second writer."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pseudomask.errors import PseudomaskError, UsageError
from pseudomask.running.manifest import Manifest, _drop_cut_line


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return Manifest(tmp_path / "out" / "manifest.jsonl")


def test_no_file_is_an_empty_manifest(manifest: Manifest) -> None:
    assert manifest.load() == {}
    manifest.compact(["a"])
    assert not manifest.path.exists()


def test_the_last_entry_of_a_key_counts(manifest: Manifest) -> None:
    manifest.append({"key": "a", "status": "failed"})
    manifest.append({"key": "b", "status": "done"})
    manifest.append({"key": "a", "status": "done"})
    assert manifest.load() == {"a": {"key": "a", "status": "done"}, "b": {"key": "b", "status": "done"}}


def test_an_entry_without_key_is_refused(manifest: Manifest) -> None:
    with pytest.raises(TypeError):
        manifest.append({"status": "done"})


@pytest.mark.parametrize("key", [os.fsdecode(b"caf\xe9"), "a\nb", "猫 🐈", 'quote"', "-x", "[x]"])
def test_names_round_trip(manifest: Manifest, key: str) -> None:
    manifest.append({"key": key})
    assert manifest.path.read_bytes().isascii()
    assert manifest.path.read_bytes().count(b"\n") == 1
    assert list(manifest.load()) == [key]


def test_values_become_plain_json(manifest: Manifest) -> None:
    manifest.append(
        {"key": "a", "margin": math.nan, "area": np.float32(0.5), "tags": (1, np.int64(2)), "p": Path("x/y")}
    )
    assert manifest.load()["a"] == {"key": "a", "margin": None, "area": 0.5, "tags": [1, 2], "p": "x/y"}


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_cut_last_line_is_passed_over_and_then_dropped(manifest: Manifest, cut: int) -> None:
    manifest.append({"key": "a"})
    whole = manifest.path.read_bytes()
    manifest.append({"key": "b"})
    manifest.path.write_bytes(manifest.path.read_bytes()[:-cut])
    assert list(manifest.load()) == ["a"]
    manifest.append({"key": "c"})
    assert manifest.path.read_bytes() == whole + b'{"key": "c"}\n'


@pytest.mark.parametrize("content", [b"", b"\n", b"ab", b"ab\n", b"ab\nc", b"\n\n", b"abcdefgh", b"a\nbcdefghij"])
@pytest.mark.parametrize("block", [1, 2, 3, 4096])
def test_dropping_a_cut_line_against_plain_slicing(tmp_path: Path, content: bytes, block: int) -> None:
    path = tmp_path / "m"
    path.write_bytes(content)
    handle = os.open(path, os.O_RDWR)
    try:
        end = _drop_cut_line(handle, block)
    finally:
        os.close(handle)
    assert path.read_bytes() == content[: content.rfind(b"\n") + 1]
    assert end == path.stat().st_size


@pytest.mark.parametrize("line", [b"[]", b"{}", b'{"key": 3}', b"{", b"\xff\xfe"])
def test_a_foreign_file_is_named_with_its_line(manifest: Manifest, line: bytes) -> None:
    manifest.append({"key": "a"})
    with manifest.path.open("ab") as stream:
        stream.write(line + b"\n")
    with pytest.raises(UsageError, match=r"manifest\.jsonl, line 2: not a manifest line"):
        manifest.load()


def test_compact_makes_the_bytes_of_an_uninterrupted_run(tmp_path: Path) -> None:
    straight, broken = Manifest(tmp_path / "1"), Manifest(tmp_path / "2")
    for key in ("a", "b", "c"):
        straight.append({"key": key, "status": "done"})
    for key, status in (("c", "done"), ("a", "failed"), ("b", "done"), ("a", "done")):
        broken.append({"key": key, "status": status})
    straight.compact(["a", "b", "c"])
    broken.compact(["a", "b", "c"])
    assert broken.path.read_bytes() == straight.path.read_bytes()
    assert [json.loads(line)["key"] for line in straight.path.read_bytes().splitlines()] == ["a", "b", "c"]


def test_compact_keeps_entries_outside_its_order(manifest: Manifest) -> None:
    for key in ("z", "b", "a", "c"):
        manifest.append({"key": key})
    manifest.compact(["c", "nowhere", "a"])
    assert list(manifest.load()) == ["c", "a", "b", "z"]


def test_a_write_that_fails_halfway_leaves_no_half_line(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest.append({"key": "a"})
    before = manifest.path.read_bytes()
    real, calls = os.write, []

    def fails_second(handle: int, data: bytes) -> int:
        calls.append(1)
        if len(calls) == 1:
            return real(handle, bytes(data)[:4])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", fails_second)
    with pytest.raises(PseudomaskError, match="no space left"):
        manifest.append({"key": "b"})
    monkeypatch.undo()
    assert manifest.path.read_bytes() == before


def test_two_processes_lose_no_line_even_while_one_compacts(manifest: Manifest) -> None:
    code = (
        "import sys; from pathlib import Path; from pseudomask.running.manifest import Manifest\n"
        "one = Manifest(Path(sys.argv[1]))\n"
        "for n in range(150):\n"
        "    one.append({'key': f'{sys.argv[2]}{n}', 'fill': 'x' * (n * 7)})\n"
        "    if n % 2 == 0: one.compact([])\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(manifest.path), name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert manifest.load().keys() == {f"{name}{n}" for name in "ab" for n in range(150)}


def test_parts_are_read_and_merged_to_the_bytes_of_one_file(tmp_path: Path) -> None:
    straight, whole = Manifest(tmp_path / "1"), Manifest(tmp_path / "2")
    parts = [Manifest(whole.path, apart=True) for _ in range(2)]
    for i, key in enumerate("abcd"):
        straight.append({"key": key, "status": "done"})
        parts[i % 2].append({"key": key, "status": "done"})
    assert not whole.path.exists(), "nobody waits for its lock"
    assert whole.load() == straight.load()
    whole.merge()
    assert whole.load() == straight.load()
    assert not whole.path.exists(), "parts in use stay"
    for part in parts:
        part.close()
    for one in (straight, whole):
        one.compact("abcd")
    assert whole.path.read_bytes() == straight.path.read_bytes()
    assert not whole.parts.exists()


def test_a_killed_process_leaves_a_part_that_the_next_run_merges(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from pseudomask.running.manifest import Manifest\n"
        "one = Manifest(Path(sys.argv[1]), apart=True)\n"
        "for key in 'abc': one.append({'key': key, 'status': 'done'})\n"
        'os.write(one._part.handle, b\'{"key": "d\')\n'
        "os.kill(os.getpid(), 9)"
    )
    whole = Manifest(tmp_path / "m")
    whole.append({"key": "a", "status": "failed"})
    assert subprocess.run([sys.executable, "-c", code, str(whole.path)]).returncode == -9
    expected = {key: {"key": key, "status": "done"} for key in "abc"}
    assert whole.load() == expected, "read before it is merged, without the line that was cut"
    unlink, Path.unlink = Path.unlink, lambda *args, **more: os.kill(os.getpid(), 0)  # type: ignore[assignment, method-assign]
    try:
        whole.merge()  # as if killed before the part is removed
    finally:
        Path.unlink = unlink  # type: ignore[method-assign]
    whole.merge()
    assert whole.load() == expected
    whole.compact("abc")
    assert len(whole.path.read_bytes().splitlines()) == 3
    assert not whole.parts.exists()


def test_removing_a_manifest_removes_its_parts(tmp_path: Path) -> None:
    part = Manifest(tmp_path / "m", apart=True)
    part.append({"key": "a"})
    part.close()
    Manifest(tmp_path / "m").remove()
    assert list(tmp_path.iterdir()) == []
