"""Batches that shrink when memory runs out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)


def halving(
    items: Sequence[Item],
    most: int,
    work: Callable[[Sequence[Item]], Sequence[Result]],
    report: Callable[[int, int], None] = lambda tried, left: None,
) -> tuple[list[Result], int]:
    """`work` on at most `most` items at a time, in order; on half as many from where the memory runs out.

    Args:
        work: a result for each of its items.
        report: called at each halving with how many were too many, and how many go together from there.

    Returns:
        all results; how many items went together at the end. Raises `work`'s error once it is about a single item.
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
        torch.cuda.empty_cache()  # only now: until the error is forgotten, it holds on to what was computed
        report(len(part), most)
    return done, most
