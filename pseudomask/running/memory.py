"""Tune memory allocation: large tensors come and go with every photo, and each fresh page costs time."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

# malloc.h of glibc
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_pages() -> None:
    """Keep freed memory for the next photo, in huge pages if torch can request them.

    By default the C library returns every large block at once, and the system clears its pages at the next
    request, which slows networks down, especially on virtual machines (docs/speed.md). Settings in the
    environment take precedence. Call this before creating the first tensor; it affects only glibc on Linux.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by torch
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, _NEVER)


def give_back() -> None:
    """Return freed memory to the system, after a photo so large that no other needs as much."""
    with suppress(OSError, AttributeError):  # only glibc can
        ctypes.CDLL(None).malloc_trim(0)
