"""`train-affinity`: the boundary head, from seeds' confident labels (IRN, Ahn et al., CVPR 2019, §3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from pseudomask.config import CrfOptions, TrainAffinityConfig
from pseudomask.data.collection import Collection
from pseudomask.data.images import ImageItem
from pseudomask.data.review import left_out
from pseudomask.data.survey import inherit, settle
from pseudomask.devices import pick_device
from pseudomask.errors import UsageError
from pseudomask.maps.normalise import EPSILON
from pseudomask.networks.backbones import make_backbone
from pseudomask.networks.card import AFFINITY
from pseudomask.networks.checkpoint import load_network, read_card
from pseudomask.networks.edge_weights import backbone_hash
from pseudomask.networks.edges import EdgeNetwork
from pseudomask.networks.store import find_weights
from pseudomask.quoting import count
from pseudomask.refining.crf import Crf
from pseudomask.refining.paths import highest_points, pad, shifted
from pseudomask.refining.seeds import Seeds, match_photos, problems, read_seeds
from pseudomask.refining.work import Job
from pseudomask.running.holder import report_filling
from pseudomask.running.identity import older
from pseudomask.running.layout import Outputs, check_folders
from pseudomask.running.machine import cores
from pseudomask.running.ranks import ALONE, Ranks, ranks
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.running.signals import Stop
from pseudomask.running.workers import Lost, run_jobs
from pseudomask.training.base import BaseTrainer
from pseudomask.training.confident import LabelledCrops, LabelWork, confident_thresholds
from pseudomask.training.learner import Group, Learner, LossFunction
from pseudomask.training.losses import class_loss
from pseudomask.training.recipe import Recipe
from pseudomask.training.result import TrainingResult
from pseudomask.training.seeds import how_long, make_seeds
from pseudomask.training.session import file_facts, run_training
from pseudomask.training.split import Split, paths
from pseudomask.training.team import mean

LABELS = "confident"
"""The folder in RUN of the labels that are trained on, a PNG for each photo."""
CLASS_RATE = 5.0
"""Learning rate of the head's class scores, relative to the rest of it."""


def affinity_loss(edges: Tensor, labels: Tensor, radius: int, team: Ranks = ALONE) -> tuple[Tensor, dict[str, Tensor]]:
    """Pairs of one label should have no boundary between them, pairs of two labels one.

    ½ · (½ · mean −log a over pairs of background + ½ · mean −log a over pairs of one class + mean −log(1 − a) over the
    others), a being the pair's affinity. A kind of pairs that is not there adds nothing.

    Args:
        edges: (B, h, w) in [0, 1].
        labels: (B, h, w) integer, 0 ignore, 1 background, above it classes.
        team: the means are over the pairs of all its processes.

    Returns:
        the loss, and the mean affinity of pairs of one label and of two (0 where there are none).
    """
    flat = pad(edges, radius, 1.0).flatten()
    around = pad(labels, radius, 0)
    photo = torch.arange(len(labels), device=labels.device)[:, None, None] * (flat.numel() // len(labels))
    picked: tuple[list[Tensor], ...] = ([], [], [])
    for step, highest in highest_points(edges.detach(), radius):
        other = shifted(around, step, radius)
        valid = (labels > 0) & (other > 0)
        points, one, other = (highest + photo)[valid], labels[valid], other[valid]
        kinds = (one == other) & (one == 1), (one == other) & (one > 1), one != other
        for found, kind in zip(picked, kinds, strict=True):
            found.append(points[kind])
    background, same, differ = (1 - flat[torch.cat(found)] for found in picked)  # affinities
    together = mean(-(background + EPSILON).log(), team) + mean(-(same + EPSILON).log(), team)
    loss = together / 4 + mean(-(1 - differ + EPSILON).log(), team) / 2
    return loss, {"within": mean(torch.cat([background, same]), team), "across": mean(differ, team)}


def affinity_step(radius: int, team: Ranks = ALONE, class_weight: float = 0.0) -> LossFunction:
    """The affinity loss and, if it has a weight, that of the classes, in float32; no gradient reaches the backbone."""

    def step(network: EdgeNetwork, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        seen = network.see(images)
        with torch.autocast(images.device.type, enabled=False):
            loss, parts = affinity_loss(torch.sigmoid(seen[:, 0].float()), labels, radius, team)
            if not class_weight:
                return loss, parts
            classes = class_loss(seen[:, 1:].float(), labels, team)
            return loss + class_weight * classes, parts | {"classes": classes}

    return step


def train_affinity(config: TrainAffinityConfig, reporter: Reporter | None = None) -> TrainingResult:
    """Train the boundary head that `refine --method walk` needs; writes RUN/weights.safetensors.

    Raises `UsageError`, `WeightsError` and `TrainingDiverged` as `train_cls` does.
    """
    team = ranks()
    reporter = reporter or SilentReporter()
    lead = team.once(reporter)
    check_folders(config.seeds, config.run, what="seeds'")
    if config.labels is not None:
        made = make_seeds(config, config.seeds, reporter)
        if made.exit_code >= 128:
            return TrainingResult(None, {}, exit_code=made.exit_code)
        if config.dry_run and made.pending:
            return TrainingResult(None, {}, understood=[*made.understood, ("then", "a head is trained on these seeds")])
    seeds = read_seeds(config.seeds, config.class_file)
    foreground, background = _thresholds(config, seeds)
    seeded = match_photos(config, seeds, exclude=config.run)
    report_filling(seeds.path, lead)
    for line in problems(config, seeds, seeded):
        lead.warn(line)
    review = left_out(config, seeded.photos.values(), lead)
    split = _split(seeds, review.kept([item for item in seeded.items if item.key not in seeded.orphans]))
    items = split.training.items
    config, reading = settle(inherit(config, seeds.config), items, lead)
    weights = find_weights(config.weights)
    card = read_card(weights)
    lead.info(
        f"labels: classes above {foreground:g}, background below {background:g}"
        f"{', after the CRF' if config.confident_crf else ''}"
    )
    tests = seeds.tests(config.images)
    jobs = [
        Job(
            Outputs(item.key, config.run / LABELS),
            item.relative,
            config.images,
            seeds.path,
            "",
            reading,
            tests.get(item.key),
        )
        for item in items
    ]
    device = pick_device(config.device)
    crf = Crf.of(CrfOptions(), str(device)) if config.confident_crf else None
    work = LabelWork(len(seeds.classes), foreground, background, crf)
    workers = (cores() if device.type == "cpu" else 1) if config.workers < 0 else config.workers

    if not config.dry_run:
        lead.info(how_long(config, weights, device, len(items)))

    def build() -> Learner:
        # Initialised first, so that a seed always gives the same head.
        network = EdgeNetwork(make_backbone(**card.network), len(seeds.classes) if config.class_weight else 0)
        network.backbone.load_state_dict(load_network(weights)[0].backbone.state_dict())
        facts = card.network | {"backbone_sha256": backbone_hash(network.backbone)}
        of_class: list[Tensor] = [] if network.head.classes is None else list(network.head.classes.parameters())
        ours = {id(one) for one in of_class}
        rest: list[Tensor] = [one for one in network.head.parameters() if id(one) not in ours]
        groups = [Group(rest, config.lr), *([Group(of_class, CLASS_RATE * config.lr)] if of_class else [])]
        loss = affinity_step(config.radius, team, config.class_weight)
        return Learner(network, groups, loss, facts, mean_of_photos=False)

    source = file_facts(weights) | {
        "seeds": seeds.path.name,
        "seeds_hash": seeds.hash,
        "foreground": foreground,
        "background": background,
        **({"review": review.told} if review.told else {}),
    }
    recipe = Recipe(
        command="train-affinity",
        method=AFFINITY,
        source=source,
        build=build,
        base_card=card,
        prepare=partial(label, work, jobs, workers, team.anew(config.overwrite), reporter),
        crops=partial(LabelledCrops, paths(split.training), [job.outputs.mask for job in jobs]),
        earlier={"weights.seeds_hash": seeds.hash_before},
    )
    return run_training(config, replace(split, reading=reading), recipe, reporter)


def _thresholds(config: TrainAffinityConfig, seeds: Seeds) -> tuple[float, float]:
    """The confident foreground and background thresholds. Raises `UsageError` if they contradict each other."""
    foreground, background = config.confident_foreground, config.confident_background
    if foreground is None or background is None:
        if seeds.threshold is None:
            raise UsageError(
                f"{seeds.path}: no run.json with a threshold; give --confident-foreground and --confident-background"
            )
        above, below = confident_thresholds(seeds.threshold)
        foreground = above if foreground is None else foreground
        background = below if background is None else background
    if not 0 <= background <= foreground <= 1:
        raise UsageError(
            f"--confident-background {background:g} is above --confident-foreground {foreground:g}, or one of them is "
            "not in 0 to 1"
        )
    return foreground, background


def _split(seeds: Seeds, items: Sequence[ImageItem]) -> Split:
    """The photos to train on, with the tags of the seeds' manifest (which are only shown)."""
    position = {name: i for i, name in enumerate(seeds.classes)}
    tags = {
        item.key: tuple(position[name] for name in seeds.entries.get(item.key, {}).get("classes", ())) for item in items
    }
    whole = Collection(tuple(items), seeds.classes, tags, labels=str(seeds.path))
    return Split(whole, whole.subset([]))


def _current(job: Job) -> bool:
    """Whether existing labels were made from the present scores and photo."""
    assert job.photo is not None
    return older(job.scores, job.outputs.mask) and (job.unchanged is None or job.unchanged(job.photo))


def label(
    work: LabelWork,
    jobs: Sequence[Job],
    workers: int,
    overwrite: bool,
    reporter: Reporter,
    _trainer: BaseTrainer,
    stop: Stop,
) -> None:
    """Make this process's share of the missing labels. Raises `UsageError` if no photo gets any."""
    team = ranks()
    own = team.share(jobs)
    if overwrite:
        for job in own:
            job.outputs.mask.unlink(missing_ok=True)
    for job in own:
        if not _current(job):  # the photo or its scores have changed
            job.outputs.mask.unlink(missing_ok=True)
    pending = [job for job in own if not job.outputs.mask.exists()]
    with reporter.progress(len(pending), team.label("labelling")) as progress:
        for i, problem in run_jobs(work, pending, workers, stop):
            if isinstance(problem, Lost):
                problem = problem.reason
            if problem:
                reporter.warn(f"{pending[i].relative}: {problem}")
            progress.advance()
    team.wait(stop)
    if not stop.requested and not any(job.outputs.mask.exists() for job in jobs):
        raise UsageError(f"none of {count(len(jobs), 'photo')} could be labelled")
