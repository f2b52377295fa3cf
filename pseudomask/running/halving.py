"""Batches that shrink when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from pseudomask.running.reporter import Reporter

Item = TypeVar("Item")
Result = TypeVar("Result")

OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)


def halving(
    items: Sequence[Item],
    most: int,
    work: Callable[[Sequence[Item]], Sequence[Result]],
    report: Callable[[int, int], None] = lambda tried, left: None,
) -> tuple[list[Result], int]:
    """Run `work` on batches of at most `most` items, in order, and halve the batch size when memory runs out.

    Args:
        work: returns one result per item.
        report: called at each halving with the batch size that failed and the new one.

    Returns:
        All results and the final batch size. Re-raises the error if even a single item does not fit.
    """
    done: list[Result] = []
    while len(done) < len(items):
        part = items[len(done) : len(done) + most]
        try:
            done += work(part)
            continue
        except OUT_OF_MEMORY:
            if len(part) == 1:
                raise
        most = len(part) // 2
        torch.cuda.empty_cache()  # outside the except block: the traceback keeps tensors alive
        report(len(part), most)
    return done, most


def warn_of_halving(reporter: Reporter) -> Callable[[int, int], None]:
    """A `report` for `halving` that warns each time."""

    def report(tried: int, left: int) -> None:
        reporter.warn(f"out of memory with batches of {tried}; continuing with {left}")

    return report
