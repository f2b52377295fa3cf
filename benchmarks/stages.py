"""Photos a second of each stage of `extract`, measured apart, so that any machine's bottleneck is read off one table.

    python -m benchmarks.stages IMAGES --labels FILE [--photos 16] [--copies 1] [--method recam] [--tta fast]
        [--device cuda] [--gpu-ms MS [--gpu-maps-ms MS]] [--processes 2,8,16] [--repeats 3] [--json FILE]
        [--page FILE]

decode, views      in N processes at once, one thread each, as `extract`'s workers do both
stack + copy       views of a batch stacked and sent to the device, in the one thread that feeds it
                   On a GPU, photos go there as they are, and resizing them there counts with the network
network, maps      on the device, a batch at a time. --gpu-ms states the milliseconds a photo of a device that is not
                   here, --gpu-maps-ms those of its maps; maps measured here then do not count
encode + write     scores, mask and manifest line, in as many threads of one process as `extract` has for N processors

Each takes every k-th photo of IMAGES, in batches as `extract` makes them, without refinement; the quickest of the
repeats counts, after one that does not. A star marks arithmetic: where this machine has fewer processors than N, the
rate of one process or thread times N. What waits for what, and start-up, are not in it: see benchmarks.extract_speed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.recam_step import publish
from benchmarks.stage_table import DECODE, MAPS, NETWORK, STACK, VIEWS, WRITE, analyse, on_page, table
from pseudomask.config import ExtractConfig
from pseudomask.data.decoding import decode
from pseudomask.extracting.engine import Alike, Engine, Made, pack
from pseudomask.extracting.flow import writers
from pseudomask.extracting.ordering import batches, framed_batches, windowed
from pseudomask.extracting.outputs import write_outputs
from pseudomask.extracting.photos import Photo, Photos, header_size, prepare
from pseudomask.extracting.plan import Plan, make_plan
from pseudomask.extracting.transfers import Fetched, send_together
from pseudomask.maps.multiscale import multiscale_maps, see, ways
from pseudomask.maps.passes import PRESETS
from pseudomask.running.helpers import compute_alone, starting
from pseudomask.running.layout import MANIFEST
from pseudomask.running.machine import cores
from pseudomask.running.manifest import Manifest
from pseudomask.running.memory import keep_pages
from pseudomask.running.reporter import SilentReporter

METHODS = ("cam", "recam", "cpmc")
_barrier: Any = None  # of a worker process: all begin a round together


def rounds(work: Callable[[], object], repeats: int, device: torch.device | None = None) -> list[float]:
    """Seconds of each repeat of `work`, after one that does not count."""
    found = []
    for turn in range(repeats + 1):
        if _barrier is not None:
            _barrier.wait()
        started = time.perf_counter()
        work()
        if device is not None and device.type == "cuda":
            torch.cuda.synchronize(device)
        if turn:
            found.append(time.perf_counter() - started)
    return found


def one_worker(photos: Photos, repeats: int) -> dict[str, list[float]]:
    """Seconds of each round of decode and of views of all `photos`, in this thread, without torch's other threads."""
    compute_alone()

    def image(index: int) -> np.ndarray:
        return decode(
            photos.paths[index],
            max_pixels=photos.max_pixels,
            allow_truncated=photos.allow_truncated,
            reading=photos.reading,
        )

    def views() -> list[Photo]:
        return [
            prepare(one, photos.scales, photos.max_side, keep_whole=False, to_scale=photos.to_scale) for one in images
        ]

    images = [image(index) for index in photos.indices]
    return {
        DECODE: rounds(lambda: [image(index) for index in photos.indices], repeats),
        VIEWS: rounds(views, repeats),
    }


def _begin(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def rates_of_workers(photos: Photos, repeats: int, processes: int) -> dict[str, float]:
    """Photos a second by stage, of so many processes at once; one is a thread of this process."""
    if processes == 1:
        with ThreadPoolExecutor(1) as threads:
            found = [threads.submit(one_worker, photos, repeats).result()]
    else:
        context = multiprocessing.get_context("spawn")
        begin = (context.Barrier(processes, timeout=300),)
        with starting(), ProcessPoolExecutor(processes, context, _begin, begin) as pool:
            futures = [pool.submit(one_worker, photos, repeats) for _ in range(processes)]
            found = [future.result() for future in futures]
    turns = {stage: zip(*(one[stage] for one in found), strict=True) for stage in (DECODE, VIEWS)}
    return {stage: max(sum(len(photos) / one for one in turn) for turn in each) for stage, each in turns.items()}


def rate_of_writers(plan: Plan, photos: Sequence[Photo], made: Sequence[Made], repeats: int, threads: int) -> float:
    """Photos a second of so many threads that encode and write, as `Flow` has them; every photo once a thread."""
    manifest = Manifest(plan.config.out / MANIFEST)
    count = threads * len(photos)
    # No two threads write the same file.
    outputs = [
        replace(plan.outputs[photos[i % len(photos)].index], out=plan.config.out / f"copy {i // len(photos)}")
        for i in range(count)
    ]
    for one in outputs:
        one.mask.parent.mkdir(parents=True, exist_ok=True)
        one.scores.parent.mkdir(parents=True, exist_ok=True)

    def write(i: int) -> None:
        photo = photos[i % len(photos)]
        item = plan.collection.items[photo.index]
        entry = write_outputs(
            outputs[i],
            item.relative,
            made[i % len(photos)].scores,
            plan.config,
            threshold=plan.threshold,
            names=plan.collection.classes,
            tags_from="labels",
            inputs={"photo": photo.file.to_json()} if photo.file else {},
            photo=None,
        )
        manifest.append(entry)

    with ThreadPoolExecutor(threads, initializer=compute_alone) as pool:
        seconds = rounds(lambda: list(pool.map(write, range(count))), repeats)
    return count / min(seconds)


def on_device(
    engine: Engine, groups: Sequence[list[Photo]], tags: Sequence[list[tuple[int, ...]]], repeats: int, stated: bool
) -> tuple[dict[str, float], list[Made]]:
    """Seconds a photo of the device's stages, and the maps of all photos; the network once if its time is `stated`."""
    device, count = engine.device, sum(map(len, groups))
    made = [engine.make(group, known) for group, known in zip(groups, tags, strict=True)]

    def stack(group: Sequence[Photo]) -> list[Tensor]:
        """On a GPU it includes the start of what resizes the views there, on a stated one it does not."""
        if not stated:
            return engine.views(group)
        return [send_together(views, device) for views in zip(*(photo.views for photo in group), strict=True)]

    def look(batch: Sequence[Alike]) -> None:
        """All sizes of a batch, which have seen nothing yet."""
        if engine.framed:
            engine.see_all(batch, range(len(batch[0].views)))
            return
        for one in batch:
            for i, view in enumerate(one.views):
                sides = ways(engine.mirrored, i)
                one.seen[i] = see(engine.network, engine.method, view, sides, amp=engine.amp)

    every = [engine.by_size(group, known) for group, known in zip(groups, tags, strict=True)]
    for batch in every:
        look(batch)
    # The photos of each size, with what their maps are made of.
    parts = [
        (one, [group[i] for i in one.places], pack([known or () for known in one.tags], device), of[one.places[0]])
        for group, batch, of in zip(groups, every, made, strict=True)
        for one in batch
    ]

    def maps() -> None:
        for one, _, places, like in parts:
            Fetched(
                multiscale_maps(
                    engine.network, engine.method, one.views, *places, size=like.size, stride=like.stride,
                    mirrored=engine.mirrored, amp=engine.amp, seen=dict(one.seen),
                )
            ).get()  # fmt: skip

    works: dict[str, Callable[[], object]] = {STACK: lambda: [stack(some) for _, some, _, _ in parts], MAPS: maps}
    if not stated:
        works[NETWORK] = lambda: [look([replace(one, seen={}) for one in batch]) for batch in every]
    found = {name: min(rounds(work, repeats, device)) / count for name, work in works.items()}
    return found, [one for group in made for one in group]


def grouped(plan: Plan, photos: Photos, copies: int) -> list[list[Photo]]:
    """Batches as the network sees them, of `copies` of each photo."""
    found = []
    every = [photo for i in range(len(photos)) for photo in [photos[i]] * copies]
    if plan.framed:
        groups = framed_batches(every, plan.batch_size, plan.max_side)
    else:
        groups = batches(every, plan.batch_size, most_waiting=len(every) + 1)
    for group in groups:
        if group[0].problem:
            sys.exit(f"{plan.collection.items[group[0].index].relative}: {group[0].problem}")
        found.append(group)
    return found


def some_photos(plan: Plan, count: int) -> Photos:
    """Every k-th photo that has a tag, in the order in which `extract` takes them."""
    items, known = plan.collection.items, plan.collection.tags or {}
    tagged = [i for i, item in enumerate(items) if known.get(item.key)]
    if not tagged:
        sys.exit(f"{plan.config.labels}: no photo has a tag that these weights know")
    chosen = tagged[:: max(1, len(tagged) // count)][:count]
    return plan.photos(list(windowed(chosen, lambda i: header_size(items[i].path), plan.max_side)))


def measure(options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """Seconds a photo by method and stage, and photos a second by stage and number of processes."""
    stated, repeats = options.gpu_ms is not None, options.repeats
    workers: dict[int, dict[str, float]] = {}
    found: dict[str, Any] = {"cores": cores(), "torch": torch.__version__, "tta": options.tta, "methods": {}}
    for method in options.method or METHODS:
        config = ExtractConfig(
            images=options.images, out=out / method, labels=options.labels, weights=options.weights, method=method,
            tta=options.tta, device=options.device, refine=("none",),
        )  # fmt: skip
        plan = make_plan(config, SilentReporter())
        photos = some_photos(plan, options.photos)
        photos.to_scale |= stated  # as on a GPU, to which photos go as they are
        if not workers:  # they do the same for every method
            here = [n for n in sorted({1, *options.processes}) if n <= cores()]
            workers = {n: rates_of_workers(photos, repeats, n) for n in here}
        groups = grouped(plan, photos, options.copies)
        known = plan.collection.tags or {}
        tags = [[known[plan.collection.items[photo.index].key] for photo in group] for group in groups]
        seconds, made = on_device(plan.engine(SilentReporter()), groups, tags, repeats, stated)
        for output in plan.outputs:
            for path in (output.mask, output.scores):
                path.parent.mkdir(parents=True, exist_ok=True)
        flat = [photo for group in groups for photo in group]
        target = torch.device("cuda") if stated else plan.device
        threads = {n: writers(target, n) for n in options.processes}
        sizes = sorted({1, *(n for n in threads.values() if n <= cores())})
        write = {n: rate_of_writers(plan, flat, made, repeats, n) for n in sizes}
        found["methods"][method] = {"seconds": seconds, WRITE: write, "threads": threads}
        found |= {"device": str(plan.device), "photos": len(flat), "target": target.type}
    by_stage = {stage: {n: rates[stage] for n, rates in workers.items()} for stage in (DECODE, VIEWS)}
    return found | {"workers": by_stage, "gpu_ms": options.gpu_ms, "gpu_maps_ms": options.gpu_maps_ms}


def positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be above 0")
    return number


def numbers(text: str) -> list[int]:
    found = sorted({int(part) for part in text.split(",")})
    if found[0] < 1:
        raise argparse.ArgumentTypeError(f"{text} must be numbers from 1 on, such as 2,8,16")
    return found


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--photos", type=int, default=16)
    parser.add_argument("--copies", type=int, default=1, help="of each photo, so that a GPU has full batches")
    parser.add_argument("--method", action="append", choices=METHODS, help="may be repeated; by default all")
    parser.add_argument("--tta", choices=PRESETS, default="fast")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--gpu-ms", type=positive, metavar="MS", help="state the network's milliseconds a photo")
    parser.add_argument("--gpu-maps-ms", type=positive, metavar="MS", help="state the maps' too, with --gpu-ms")
    parser.add_argument("--processes", type=numbers, default=[2, 8, 16], help="2,8,16 by default")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path, help="a page whose table, between two comments, is replaced")
    options = parser.parse_args(arguments)
    if options.photos < 1 or options.repeats < 1:
        parser.error("--photos and --repeats must be at least 1")
    if options.gpu_maps_ms is not None and options.gpu_ms is None:
        parser.error("--gpu-maps-ms needs --gpu-ms")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    keep_pages()
    with tempfile.TemporaryDirectory(prefix="pseudomask-stages-") as out:
        found = measure(options, Path(out))
    rows = analyse(found, sorted({1, *options.processes}))
    rates = {name: {n: rate for n, (rate, _) in row.items()} for name, row in rows.items()}
    publish(table(found, rows), found | {"photos_a_second": rates}, options.json)
    if options.page is not None:
        options.page.write_text(on_page(options.page.read_text(encoding="utf-8"), table(found, rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
