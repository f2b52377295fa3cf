"""Crops from files to the network's side: how they are decoded depends on who computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from pseudomask.devices import pick_workers
from pseudomask.running.helpers import compute_alone, lower_priority, starting
from pseudomask.running.shared_memory import has_room
from pseudomask.training.samples import Crops

_AHEAD = 2  # batches that a worker may be ahead
_BYTES = 4  # of a pixel, with its share of a crop's labels

Batch = tuple[Tensor, Tensor, Sequence[str]]
"""Pixels (B, S, S, 3) uint8, tags or labels (B, …), and what is wrong with each."""


def load_batches(
    crops: Crops, batches: Sequence[Sequence[tuple[int, int]]], *, workers: int, device: torch.device
) -> Iterator[Batch]:
    """The crops of each batch, in order. Call it while no other thread runs: processes may be forked here.

    For a GPU, processes decode ahead of the need. On a CPU that would take a processor from the network: its threads
    wait for each other, so that all stand still until the one is back. There as many threads decode a batch between two
    steps, which takes no longer than the work itself.

    Args:
        batches: the indices, (epoch, photo), of each batch.
        workers: processes or threads; -1 is chosen by the machine, 0 is none beside this one.
    """
    if device.type == "cpu" and workers:
        return _between_steps(crops, batches, torch.get_num_threads() if workers < 0 else workers)
    count, pin = pick_workers(workers), device.type == "cuda"
    largest = max((len(indices) for indices in batches), default=0) * crops.crop**2 * _BYTES
    shared = not count or has_room((count + 1) * _AHEAD * largest)
    loader: DataLoader[tuple[Tensor, Tensor, str]] = DataLoader(
        crops,
        batch_sampler=[list(indices) for indices in batches],
        num_workers=count,
        collate_fn=default_collate if shared else _as_arrays,
        prefetch_factor=_AHEAD if count else None,
        pin_memory=pin and shared,
        worker_init_fn=lower_priority,
    )
    with starting():
        return iter(loader) if shared else _as_tensors(iter(loader), pin)


def _as_arrays(crops: list[tuple[Tensor, Tensor, str]]) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
    """A batch that processes hand over through a pipe, as they do all but tensors."""
    pixels, truth, problems = default_collate(crops)
    return pixels.numpy(), truth.numpy(), problems


def _as_tensors(batches: Iterator[tuple[np.ndarray, np.ndarray, Sequence[str]]], pin: bool) -> Iterator[Batch]:
    for pixels, truth, problems in batches:
        tensors = torch.from_numpy(pixels), torch.from_numpy(truth)
        yield (*((one.pin_memory() for one in tensors) if pin else tensors), problems)


def _between_steps(crops: Crops, batches: Sequence[Sequence[tuple[int, int]]], threads: int) -> Iterator[Batch]:
    with ThreadPoolExecutor(threads, initializer=compute_alone) as pool:
        for indices in batches:
            yield default_collate(list(pool.map(crops.__getitem__, indices)))
