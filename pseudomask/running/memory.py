"""How memory is asked of the system: large tensors come and go with every photo, and each page costs time."""

from __future__ import annotations

import ctypes
import os
import sys

# malloc.h of glibc
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_pages() -> None:
    """Have freed memory kept for the next photo, in huge pages where torch can ask for them.

    By default the C library returns every large block at once, and the system clears its pages again at the next
    request, which a network's time shows most on virtual machines (docs/speed.md). What the user has set in the
    environment stands. Call it before the first tensor is made; only Linux's glibc knows the calls.
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
