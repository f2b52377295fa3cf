"""The verb `extract`: everything is checked first, then photos flow through, each done image on disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from pseudomask.config import ExtractConfig
from pseudomask.config.roles import deciding, defaults
from pseudomask.data.images import ImagePaths
from pseudomask.data.survey import not_decided, recorded_config
from pseudomask.devices import pick_workers
from pseudomask.extracting.flow import Flow
from pseudomask.extracting.inputs import PhotosAndTags
from pseudomask.extracting.loading import load
from pseudomask.extracting.photos import Photo, batches, header_size, windowed
from pseudomask.extracting.plan import Plan, make_plan
from pseudomask.extracting.refinement import MakeRefinement, no_refinement
from pseudomask.extracting.result import ExtractResult
from pseudomask.extracting.shards import as_planned, own_batches
from pseudomask.running.folder_run import FolderRun
from pseudomask.running.ranks import Ranks, ranks
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.running.signals import graceful

_COMPARED = ("command", "classes", "weights.sha256", "tagged")  # photos and tags are compared one by one


def extract(
    config: ExtractConfig, reporter: Reporter | None = None, refining: MakeRefinement = no_refinement
) -> ExtractResult:
    """See `pseudomask.extract`; `refining` makes the refiners that `config.refine` names."""
    team = ranks()
    reporter = reporter or SilentReporter()
    lead = team.once(reporter)
    plan = make_plan(config, lead)
    config = plan.config
    plan = replace(plan, refinement=refining(plan))
    result = plan.result()
    run = _open(plan)
    pending = result.begin(run, lead, with_scores=config.scores, with_overlays=config.overlay)
    if config.dry_run:
        result.understood = [*plan.understood(), result.left_to_make()]
        return result
    with closing(run):
        run.start()
        engine = plan.engine(reporter)
        share = Share(plan, team.broadcast(pending), team)
        with graceful() as stop:
            started = time.monotonic()
            if share.pending:
                flow = Flow(plan, run, engine, reporter, stop)
                flow.run(share.batches(), len(share.pending), team.label("extracting"))
            team.wait(stop)
        result.seconds = time.monotonic() - started
        run.finish({"extract": result.seconds})
        result.finish(run, stop, lead, max_failures=config.max_failures)
        return result


def _open(plan: Plan) -> FolderRun:
    """Open a new or earlier run in its folder; nothing is written yet."""
    config, chain = plan.config, plan.refinement
    deciders = deciding(ExtractConfig, (config.method or "", config.cam or "", *(chain.names if chain else ())))
    files = [*(["boundary_sha256"] if chain else []), *plan.method.facts()]
    compared = (*_COMPARED, *(f"protocol.{name}" for name in files))
    return FolderRun(
        config.out,
        plan.record(),
        plan.outputs,
        fields=[*compared, *(f"config.{name}" for name in deciders)],
        overwrite=config.overwrite,
        inputs=PhotosAndTags(plan.collection, config.images, hashed=config.hash_photos),
        prune=config.prune,
        defaults=defaults(ExtractConfig),
        earlier=not_decided(None if config.overwrite else recorded_config(config.out)),
    )


class Share:
    """The photos that this process of `team` extracts; `pending`: their indices in the collection."""

    def __init__(self, plan: Plan, pending: Sequence[int], team: Ranks) -> None:
        self.plan, self.pending = plan, pending
        self.planned: list[list[int]] | None = None
        if not team.alone:
            config, paths = plan.config, ImagePaths(plan.collection.items)
            self.planned = own_batches(
                paths, pending, plan.batch_size, scales=plan.passes.scales, max_side=config.max_side, team=team
            )
            self.pending = [index for batch in self.planned for index in batch]

    def batches(self) -> Iterator[list[Photo]]:
        """The photos decoded, in batches of one shape."""
        config, pending = self.plan.config, self.pending
        photos = self.plan.photos(pending)
        order = None
        if self.planned is None:
            order = windowed(range(len(pending)), lambda i: header_size(photos.paths[pending[i]]), config.max_side)
        decoded = load(photos, workers=pick_workers(config.workers), device=self.plan.device, order=order)
        return batches(decoded, self.plan.batch_size) if self.planned is None else as_planned(decoded, self.planned)
