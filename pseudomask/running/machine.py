"""What this machine offers, without asking torch."""

from __future__ import annotations

import os

from pseudomask.running.ranks import ranks


def cores() -> int:
    """Processors that this process may use; those of the machine are shared by the processes of a torchrun."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, count // ranks().here)
