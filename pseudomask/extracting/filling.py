"""Fill a folder with masks: photos flow through a network, each done image on disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TypeVar

from pseudomask.config.roles import defaults
from pseudomask.data.survey import not_decided, recorded_config
from pseudomask.devices import pick_workers
from pseudomask.errors import UsageError
from pseudomask.extracting.decoded import decoded
from pseudomask.extracting.eight_bits import NOT_CALIBRATED
from pseudomask.extracting.flow import Flow
from pseudomask.extracting.inputs import PhotosAndTags
from pseudomask.extracting.loading import load
from pseudomask.extracting.ordering import batching, windowed
from pseudomask.extracting.photos import Photo, header_size
from pseudomask.extracting.planned import Planned
from pseudomask.extracting.shards import MOST_BATCHES, as_planned, plan_batches
from pseudomask.running.claims import claims
from pseudomask.running.folder_result import FolderResult
from pseudomask.running.folder_run import FolderRun
from pseudomask.running.ranks import Ranks, ranks
from pseudomask.running.reporter import Reporter
from pseudomask.running.signals import graceful

Result = TypeVar("Result", bound=FolderResult)


def fill(plan: Planned, result: Result, reporter: Reporter, label: str) -> Result:
    """Make, or complete, the masks of a plan; `result` is completed and returned.

    Of several processes each makes its share, and all return when all are done.
    """
    team, config = ranks(), plan.config
    if config.update and config.overwrite:
        raise UsageError("--update keeps what --overwrite would remove; give one of them")
    lead = team.once(reporter)
    run = _open(plan)
    pending = result.begin(run, lead, with_scores=config.scores, with_overlays=config.overlay)
    if config.dry_run:
        result.understood = [*plan.understood(), result.left_to_make()]
        return result
    with closing(run):
        engine = plan.engine(reporter, run.record)
        run.start()
        with graceful() as stop:
            started = time.monotonic()
            if pending:
                flow = Flow(plan, run, engine, reporter, stop)
                flow.run(batches_of(plan, pending, team), len(pending), team.common_label(label))
        result.seconds = time.monotonic() - started
        run.finish({run.record.command: result.seconds}, stop)
        result.finish(run, stop, lead, max_failures=config.max_failures)
        return result


def _open(plan: Planned) -> FolderRun:
    """The run in its folder, begun or taken up again; nothing is written yet."""
    config = plan.config
    return FolderRun(
        config.out,
        plan.record(),
        plan.outputs,
        fields=plan.compared(),
        overwrite=config.overwrite,
        inputs=PhotosAndTags(plan.collection, config.images, hashed=config.hash_photos),
        prune=config.prune,
        update=config.update,
        defaults=defaults(type(config)),
        earlier=not_decided(None if config.overwrite else recorded_config(config.out)) | NOT_CALIBRATED,
    )


def batches_of(plan: Planned, pending: Sequence[int], team: Ranks) -> Iterator[list[Photo]]:
    """The photos at the indices `pending` of the collection that this process of `team` does, decoded, in batches."""
    photos, workers = plan.photos(pending), pick_workers(plan.config.workers)
    side, framed = plan.max_side, plan.framed
    if team.alone:
        order = windowed(range(len(pending)), lambda i: header_size(photos.paths[pending[i]]), side, framed=framed)
        loaded = load(photos, workers=workers, device=plan.device, order=order)
        return _decoded(batching(side, framed=framed)(loaded, plan.batch_size), plan)
    planned = plan_batches(
        photos.paths, pending, plan.batch_size, scales=plan.scales, max_side=side, framed=framed, team=team
    )
    place = {index: i for i, index in enumerate(pending)}
    own = (place[index] for i in claims(team, len(planned), MOST_BATCHES) for index in planned[i])
    return _decoded(as_planned(load(photos, workers=workers, device=plan.device, order=own), planned), plan)


def _decoded(loaded: Iterator[list[Photo]], plan: Planned) -> Iterator[list[Photo]]:
    """Photos that come as they are, for the device to decode, with their pixels."""
    if plan.config.decode == "cpu":
        return loaded
    return decoded(loaded, plan.photos(()), plan.device, plan.batch_size)
