"""Whole files or none, whatever happens in between."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pseudomask.errors import PseudomaskError
from pseudomask.running import atomic
from pseudomask.running.atomic import atomic_text, atomic_write, sweep_leftovers


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir())


def test_content_arrives_in_new_folders(tmp_path: Path) -> None:
    target = tmp_path / "x" / "y" / "mask.png"
    with atomic_write(target, durable=True) as stream:
        stream.write(b"abc")
        assert not target.exists()
    assert target.read_bytes() == b"abc"
    assert names(target.parent) == ["mask.png"]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "mask.png"
    target.write_bytes(b"old")

    def fail() -> None:
        with atomic_write(target) as stream:
            stream.write(b"new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["mask.png"]


def test_a_name_of_255_bytes_can_be_written(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 251 + ".png")
    atomic_text(target, "x")
    assert target.read_text() == "x"


def test_text_keeps_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    atomic_text(tmp_path / "t", os.fsdecode(b"caf\xe9 \xc3\xa9"))
    assert (tmp_path / "t").read_bytes() == b"caf\xe9 \xc3\xa9"


def test_permissions_follow_the_umask_as_for_any_file(tmp_path: Path) -> None:
    atomic_text(tmp_path / "a", "x")
    (tmp_path / "b").write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PseudomaskError, match="no space left") as caught, atomic_write(tmp_path / "m"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "m") in str(caught.value)
    assert names(tmp_path) == []


def test_file_size_limit_of_the_system(tmp_path: Path) -> None:
    """A real failing write, in a process of its own: the error is ours and nothing is left."""
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from pseudomask.running.atomic import atomic_write\n"
        "from pseudomask.errors import PseudomaskError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with atomic_write(Path(sys.argv[1])) as stream:\n"
        "        stream.write(bytes(100_000))\n"
        "except PseudomaskError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m")], capture_output=True, text=True)
    assert done.stdout.startswith(f"cannot write {tmp_path / 'm'}: ")
    assert done.stderr == ""
    assert names(tmp_path) == []


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(PseudomaskError, match="is a file, not a folder"):
        atomic_text(tmp_path / "x" / "y" / "m.png", "")


def test_a_folder_of_the_targets_name(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    with pytest.raises(PseudomaskError, match="folder with this name"):
        atomic_text(tmp_path / "m", "")
    assert names(tmp_path) == ["m"]


def test_an_error_about_another_file_is_not_renamed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "m"):
        Path("/nowhere/at/all").read_bytes()


def test_kill_never_shows_half_a_file(tmp_path: Path) -> None:
    """A writer is killed at odd moments: the target is one of its whole versions each time."""
    code = (
        "import sys; from pathlib import Path; from pseudomask.running.atomic import atomic_write\n"
        "n = 0\n"
        "while True:\n"
        "    n = (n + 1) % 256\n"
        "    with atomic_write(Path(sys.argv[1])) as stream:\n"
        "        for _ in range(50): stream.write(bytes([n]) * 20_000)\n"
    )
    target = tmp_path / "m"
    for delay in (0.0, 0.013, 0.031):
        target.unlink(missing_ok=True)
        writer = subprocess.Popen([sys.executable, "-c", code, str(target)])
        while not target.exists():
            assert writer.poll() is None
            time.sleep(0.001)
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        content = target.read_bytes()
        assert content == content[:1] * 1_000_000
    sweep_leftovers(tmp_path)
    assert names(tmp_path) == ["m"]


def test_sweep_takes_only_what_dead_runs_left(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True)
    host, pid = atomic._HOST, int(dead.stdout)
    folder = tmp_path / "x"
    folder.mkdir()
    gone = [folder / f".pseudomask-{host}-{pid}-3.part", folder / ".pseudomask-00000000-1-0.part"]
    kept = [
        folder / f".pseudomask-{host}-{os.getppid()}-0.part",  # a living process
        folder / f".pseudomask-{host}-{os.getpid()}-0.part",  # this run's own, maybe of another thread
        folder / ".pseudomask-00000000-1-1.part",  # another machine's, young
        folder / ".pseudomask-notes.part",  # somebody else's file
    ]
    for one in gone + kept:
        one.write_bytes(b"")
    os.utime(gone[1], (0, 0))
    assert sweep_leftovers(tmp_path) == 2
    assert sorted(folder.iterdir()) == sorted(kept)


def test_the_temporary_name_is_one_that_sweep_knows(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "m"):
        (temporary,) = names(tmp_path)
    assert re.fullmatch(atomic._LEFTOVER, temporary)


def test_containers_of_one_host_name_do_not_take_each_other_for_dead(tmp_path: Path) -> None:
    """Their process ids mean nothing to each other, nor do those from before a reboot."""
    boot, ids = tmp_path / "boot", tmp_path / "ids"
    boot.write_text("1")
    ids.symlink_to("pid:[1]")
    first = atomic.place(boot, ids)
    assert atomic.place(boot, ids) == first
    ids.unlink()
    ids.symlink_to("pid:[2]")
    other = atomic.place(boot, ids)
    boot.write_text("2")
    assert len({first, other, atomic.place(boot, ids)}) == 3
    assert re.fullmatch(atomic._LEFTOVER, f".pseudomask-{other}-1-0.part")
    theirs = tmp_path / f".pseudomask-{other}-999999999-0.part"
    theirs.touch()
    assert sweep_leftovers(tmp_path) == 0
    assert theirs.exists()
