"""What this machine offers, without asking torch."""

from __future__ import annotations

import os

from pseudomask.running.ranks import ranks


def cores() -> int:
    """Number of processors for this process; the processes of one torchrun share the machine's."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, count // ranks().here)
