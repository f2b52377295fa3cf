"""Batches that shrink when memory runs out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch

from pseudomask.errors import PseudomaskError
from pseudomask.running.reporter import Reporter

Item = TypeVar("Item")
Result = TypeVar("Result")

OUT_OF_MEMORY = (MemoryError, torch.OutOfMemoryError)
_SAID = re.compile(r"out of memory|_STATUS_(\w+_)?ALLOC(ATION)?_FAILED|(can't allocate|not enough) memory", re.I)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Within the block, whatever says that memory ran out is one of `OUT_OF_MEMORY`.

    cuBLAS, cuDNN, MPS and the CPU's allocator say so in a plain RuntimeError.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, OUT_OF_MEMORY) or not _SAID.search(str(error)):
            raise
        raise torch.OutOfMemoryError(str(error)) from error


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
            with memory_errors():
                done += work(part)
            continue
        except OUT_OF_MEMORY:
            if len(part) == 1:
                raise
        most = len(part) // 2
        free_cache()  # outside the except block: the traceback keeps tensors alive
        report(len(part), most)
    return done, most


def halving_on(
    device: torch.device,
    items: Sequence[Item],
    most: int,
    work: Callable[[Sequence[Item]], Sequence[Result]],
    reporter: Reporter,
    *,
    lower: str,
) -> tuple[list[Result], int]:
    """`halving` that warns each time. Raises `PseudomaskError` if a single photo does not fit.

    Args:
        lower: the settings to lower then, for the message.
    """
    try:
        return halving(items, most, work, warn_of_halving(reporter))
    except OUT_OF_MEMORY as error:
        raise PseudomaskError(
            f"{device}: out of memory with a single photo; lower {lower}, or use --device cpu"
        ) from error


def free_cache() -> None:
    """Give back the memory that torch keeps on a GPU for later."""
    torch.cuda.empty_cache()  # no effect before the first use
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def warn_of_halving(reporter: Reporter) -> Callable[[int, int], None]:
    """A `report` for `halving` that warns each time."""

    def report(tried: int, left: int) -> None:
        reporter.warn(f"out of memory with batches of {tried}; continuing with {left}")

    return report
