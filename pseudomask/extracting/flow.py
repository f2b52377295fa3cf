"""Batches of photos in, files out: the network in this thread, encoding and writing in others."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch

from pseudomask.errors import ImageError
from pseudomask.extracting.outputs import write_outputs
from pseudomask.extracting.photos import WHOLE, Photo, Photos
from pseudomask.extracting.planned import Made, Maker, Planned
from pseudomask.running.claims import Tally
from pseudomask.running.folder_run import FolderRun
from pseudomask.running.helpers import compute_alone, lower_thread_priority
from pseudomask.running.layout import Outputs
from pseudomask.running.machine import cores
from pseudomask.running.manifest import FAILED
from pseudomask.running.reporter import Reporter
from pseudomask.running.signals import Stop


def writers(device: torch.device, processors: int) -> int:
    """Threads that encode and write: two beside a network on the CPU, which needs the cores; else up to eight."""
    return 2 if device.type == "cpu" else max(2, min(8, processors))


def _behind_the_network() -> None:
    """Use one thread and low priority, so that torch's threads, which wait for each other, keep their cores."""
    lower_thread_priority()
    compute_alone()


def _read(photo: Photo) -> dict[str, Any]:
    """What the manifest says of how a photo was read."""
    file = {"photo": photo.file.to_json()} if photo.file else {}
    return file | ({"decoded": "gpu"} if photo.views[0].device.type == "cuda" else {})


@dataclass
class Flow:
    """`run` takes the batches one after the other, until they end or `stop` is requested."""

    plan: Planned
    folder_run: FolderRun
    engine: Maker
    reporter: Reporter
    stop: Stop
    waiting: deque[Future[None]] = field(default_factory=deque)
    notes: deque[str] = field(default_factory=deque)  # warnings, shown by this thread, not by those that write
    large: threading.Lock = field(default_factory=threading.Lock)  # large photos are written one at a time

    @cached_property
    def photos(self) -> Photos:
        return self.plan.photos(())

    def run(self, batches: Iterator[list[Photo]], total: int, label: str) -> None:
        """Return once all processes are done; `total`: the photos of all."""
        tally = Tally(self.folder_run.team)
        with (
            ThreadPoolExecutor(writers(self.plan.device, cores()), "write", _behind_the_network) as pool,
            self.reporter.progress(total, label) as progress,
        ):
            for batch in batches:
                if batch[0].problem:
                    self._fail(batch[0].index, batch[0].problem)
                else:
                    self._submit(pool, batch)
                progress.advance(tally.add(len(batch)))
                self._collect(most=4 * self.plan.batch_size)
                if self.stop.requested:
                    break
            self._collect(most=0)
            self.folder_run.wait(self.stop, lambda: progress.advance(tally.add()))

    def _fail(self, index: int, problem: str) -> None:
        item = self.plan.collection.items[index]
        self.notes.append(f"{item.relative}: {problem}")
        self.folder_run.note({"key": item.key, "image": item.relative, "status": FAILED, "reason": problem})

    def _submit(self, pool: ThreadPoolExecutor, batch: Sequence[Photo]) -> None:
        collection = self.plan.collection
        given = collection.tags
        tags = [None if given is None else given.get(collection.items[photo.index].key) for photo in batch]
        for photo, one, made in zip(batch, tags, self.engine.make(batch, tags), strict=True):
            if photo.white:
                name = collection.items[photo.index].relative
                self.reporter.warn(f"{name}: all of it is white; if it is transparent, try --alpha ignore")
            self.waiting.append(
                pool.submit(
                    self._write,
                    self.plan.outputs[photo.index],
                    collection.items[photo.index].relative,
                    made,
                    self.plan.config,
                    threshold=self.plan.threshold,
                    names=collection.classes,
                    tags_from=self.plan.guesser if one is None else "labels",
                    inputs=_read(photo),
                    photo=replace(photo, views=()),
                    refinement=self.plan.refinement,
                )
            )

    def _write(self, outputs: Outputs, relative: str, made: Made, *args: Any, photo: Photo, **more: Any) -> None:
        """Write files and at once their manifest line, so that a kill loses at most one image per thread."""
        self.folder_run.own.check()
        with self.large if math.prod(photo.size) > WHOLE else nullcontext():
            try:
                whole = self.photos.whole(photo)
            except ImageError as error:
                self._fail(photo.index, error.reason)
                return
            entry = write_outputs(outputs, relative, made.scores, *args, found=made.found, photo=whole, **more)
        self.folder_run.note(entry)
        if "unrefined" in entry:
            self.notes.append(f"{entry['image']}: {entry['unrefined']}; the seed's mask is kept")

    def _collect(self, most: int) -> None:
        """Raise errors of the writing threads; wait while more than `most` images are unfinished."""
        while self.waiting and (len(self.waiting) > most or self.waiting[0].done()):
            self.waiting.popleft().result()
        while self.notes:
            self.reporter.warn(self.notes.popleft())
