"""Batches of photos in, files out: the network in this thread, encoding and writing in others."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pseudomask.errors import ImageError
from pseudomask.extracting.outputs import as_stored, write_outputs
from pseudomask.extracting.photos import MANY, WHOLE, Photo, Photos
from pseudomask.extracting.planned import Made, Maker, Planned
from pseudomask.extracting.refinement import Applied, Seed
from pseudomask.running.claims import Tally
from pseudomask.running.folder_run import FolderRun
from pseudomask.running.helpers import compute_alone, lower_thread_priority
from pseudomask.running.layout import Outputs
from pseudomask.running.machine import cores
from pseudomask.running.manifest import FAILED
from pseudomask.running.memory import give_back
from pseudomask.running.reporter import Reporter
from pseudomask.running.signals import Stop
from pseudomask.scores import ScoreMap


def writers(device: torch.device, processors: int) -> int:
    """Threads that encode and write: two beside a network on the CPU, which needs the cores; else up to eight."""
    return 2 if device.type == "cpu" else max(2, min(8, processors))


def _behind_the_network() -> None:
    """Use one thread and low priority, so that torch's threads, which wait for each other, keep their cores."""
    lower_thread_priority()
    compute_alone()


def _refined_at(refined: Future[list[Applied]], i: int, _: ScoreMap) -> Applied:
    return refined.result()[i]


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
    refining: ThreadPoolExecutor = field(init=False)
    refined_together: int = 0  # at most, where memory has run out; 0 is no limit
    large: threading.Lock = field(default_factory=threading.Lock)  # large photos are written one at a time

    @cached_property
    def photos(self) -> Photos:
        return self.plan.photos(())

    def run(self, batches: Iterator[list[Photo]], total: int, label: str) -> None:
        """Return once all processes are done; `total`: the photos of all."""
        tally = Tally(self.folder_run.team)
        with (
            ThreadPoolExecutor(2, "refine", compute_alone) as self.refining,
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
        every = self.engine.make(batch, tags)
        refined = self._refined_later(batch, every)
        for i, (photo, one, made) in enumerate(zip(batch, tags, every, strict=True)):
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
                    refined=None if refined is None else partial(_refined_at, refined, i),
                )
            )

    def _refined_later(self, batch: Sequence[Photo], made: Sequence[Made]) -> Future[list[Applied]] | None:
        """The photos of a batch together, where that takes less time; large ones are refined as they are written."""
        chain, small = self.plan.refinement, all(math.prod(photo.size) <= WHOLE for photo in batch)
        if chain is None or not chain.together or not small or len(batch) == 1:
            return None
        return self.refining.submit(self._refine, [replace(photo, views=()) for photo in batch], made)

    def _refine(self, batch: Sequence[Photo], made: Sequence[Made]) -> list[Applied]:
        assert self.plan.refinement is not None
        seeds = []
        for photo, one in zip(batch, made, strict=True):
            whole = self.photos.whole(photo)
            assert whole is not None, "small photos come with their pixels"
            scores = as_stored(one.scores, self.plan.config)
            seeds.append(Seed(self.plan.outputs[photo.index].key, whole, scores, one.found))
        most = self.refined_together or len(batch)
        refined, fit = self.plan.refinement.apply_all(seeds, self.plan.threshold, most)
        if fit < most:
            self.refined_together = fit
            self.notes.append(f"out of memory with {most} photos refined together; continuing with {fit}")
        return refined

    def _write(self, *args: Any, photo: Photo, **more: Any) -> None:
        """Write files and at once their manifest line, so that a kill loses only what is under way."""
        self.folder_run.own.check()
        with self.large if math.prod(photo.size) > WHOLE else nullcontext():
            try:
                entry = self._written(*args, photo=photo, **more)
            except ImageError as error:
                self._fail(photo.index, error.reason)
                return
            if math.prod(photo.size) > MANY:
                give_back()
        self.folder_run.note(entry)
        if "unrefined" in entry:
            self.notes.append(f"{entry['image']}: {entry['unrefined']}; the seed's mask is kept")

    def _written(
        self,
        outputs: Outputs,
        relative: str,
        made: Made,
        *args: Any,
        photo: Photo,
        refined: Callable[[ScoreMap], Applied] | None,
        **more: Any,
    ) -> dict[str, Any]:
        """The manifest line. `refined`: of a photo that is not refined here."""
        whole = self.photos.whole(photo)
        if refined is None and self.plan.refinement is not None and whole is not None:
            refined = partial(self._refined_alone, outputs.key, whole, made.found)
        return write_outputs(outputs, relative, made.scores, *args, photo=whole, refine=refined, **more)

    def _refined_alone(self, key: str, whole: np.ndarray, found: Tensor | None, scores: ScoreMap) -> Applied:
        assert self.plan.refinement is not None
        return self.plan.refinement.apply(Seed(key, whole, scores, found), self.plan.threshold)

    def _collect(self, most: int) -> None:
        """Raise errors of the writing threads; wait while more than `most` images are unfinished."""
        while self.waiting and (len(self.waiting) > most or self.waiting[0].done()):
            self.waiting.popleft().result()
        while self.notes:
            self.reporter.warn(self.notes.popleft())
