"""Freed memory is kept: only where the user has not said otherwise, and where the C library can."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from pseudomask.running.memory import keep_pages

# After 64 MiB came and went, the process still holds them: mapped pages would be gone.
KEEPS = """
import os, pathlib
from pseudomask.running.memory import keep_pages
if {wanted}: keep_pages()
import ctypes
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def held(): return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
before = held()
block = libc.malloc(64 << 20)
ctypes.memset(block, 1, 64 << 20)
libc.free(block)
print(held() - before > 32 << 20)
"""


def glibc() -> bool:
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


@pytest.mark.skipif(not glibc(), reason="the C library is not glibc")
@pytest.mark.parametrize("wanted", [True, False])
def test_freed_memory_stays(wanted: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KEEPS.format(wanted=wanted)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(wanted)


def test_what_the_user_has_set_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("malloc was set in spite of the user's own setting")

    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000")
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    monkeypatch.setattr(ctypes, "CDLL", never)
    keep_pages()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    keep_pages()
