"""Group photos of equal size into batches, for devices where launching a computation costs more than running it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from pseudomask.config import RefineConfig
from pseudomask.refining.refiner import alike
from pseudomask.refining.work import Job
from pseudomask.running.manifest import Entry

ON_ACCELERATORS = 16
_PIXELS = 1 << 26  # per batch of decoded photos in one process: 192 MiB


def pick_batch(config: RefineConfig, device: torch.device) -> int:
    """Batch size: the configured one, else 1 on the CPU and `ON_ACCELERATORS` elsewhere."""
    if config.batch_size is not None:
        return config.batch_size
    return 1 if device.type == "cpu" else ON_ACCELERATORS


def plan_batches(jobs: Sequence[Job], seeds: Mapping[str, Entry], most: int) -> list[tuple[Job, ...]]:
    """Split all jobs into batches of at most `most` photos of the same size and with similar numbers of labels.

    Args:
        seeds: the manifest of SEEDS, with sizes and classes; a photo without a size is refined alone.
    """
    if most == 1:
        return [(job,) for job in jobs]
    entries = [seeds.get(job.outputs.key, {}) for job in jobs]
    sizes, labels = [_size(entry) for entry in entries], [_labels(entry) for entry in entries]
    batches: list[tuple[Job, ...]] = [(job,) for job, size in zip(jobs, sizes, strict=True) if size is None]
    for size, group in alike(sizes):
        fit = max(1, min(most, _PIXELS // (size[0] * size[1])))
        ordered = [jobs[i] for i in sorted(group, key=labels.__getitem__)]
        batches += [tuple(ordered[start : start + fit]) for start in range(0, len(ordered), fit)]
    return batches


def _size(entry: Entry) -> tuple[int, int] | None:
    """Height and width from a manifest entry; None if missing or malformed."""
    size = entry.get("size")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        return None
    return size[0], size[1]


def _labels(entry: Entry) -> int:
    classes = entry.get("classes")
    return len(classes) if isinstance(classes, list) else 0
