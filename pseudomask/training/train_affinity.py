"""`train-affinity`: the boundary head, from seeds' confident labels (IRN, Ahn et al., CVPR 2019, §3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pseudomask.config import CrfOptions, RefineConfig, TrainAffinityConfig
from pseudomask.data.collection import Collection
from pseudomask.data.images import ImageItem
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
from pseudomask.refining.crf import Crf
from pseudomask.refining.paths import highest_points, pad, shifted
from pseudomask.refining.seeds import Seeds, match_photos, problems, read_seeds
from pseudomask.refining.work import Job
from pseudomask.running.holder import tell_filling
from pseudomask.running.layout import Outputs, check_folders
from pseudomask.running.machine import cores
from pseudomask.running.ranks import ALONE, Ranks, ranks
from pseudomask.running.record import hash_file
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.running.signals import Stop
from pseudomask.running.workers import Lost, run_jobs
from pseudomask.training.confident import LabelledCrops, LabelWork, confident_thresholds
from pseudomask.training.session import Split, TrainingResult, run_training
from pseudomask.training.team import mean
from pseudomask.training.trainer import Group, LossFunction, training_sides

LABELS = "confident"
"""The folder in RUN of the labels that are trained on, a PNG for each photo."""


def affinity_loss(edges: Tensor, labels: Tensor, radius: int, job: Ranks = ALONE) -> tuple[Tensor, dict[str, Tensor]]:
    """Pairs of one label should have no boundary between them, pairs of two labels one.

    ½ · (½ · mean −log a over pairs of background + ½ · mean −log a over pairs of one class + mean −log(1 − a) over the
    others), a being the pair's affinity. A kind of pairs that is not there adds nothing.

    Args:
        edges: (B, h, w) in [0, 1].
        labels: (B, h, w) integer, 0 ignore, 1 background, above it classes.
        job: the means are over the pairs of all its processes.

    Returns:
        the loss, and the mean affinity of pairs of one label and of two (0 where there are none).
    """
    flat = pad(edges, radius, 1.0).flatten()
    around = pad(labels, radius, 0)
    photo = torch.arange(len(labels), device=labels.device)[:, None, None] * (flat.numel() // len(labels))
    picked: tuple[list[Tensor], ...] = ([], [], [])
    for step, places in highest_points(edges.detach(), radius):
        other = shifted(around, step, radius)
        valid = (labels > 0) & (other > 0)
        places, one, other = (places + photo)[valid], labels[valid], other[valid]
        kinds = (one == other) & (one == 1), (one == other) & (one > 1), one != other
        for found, kind in zip(picked, kinds, strict=True):
            found.append(places[kind])
    background, same, differ = (1 - flat[torch.cat(found)] for found in picked)  # affinities
    together = mean(-(background + EPSILON).log(), job) + mean(-(same + EPSILON).log(), job)
    loss = together / 4 + mean(-(1 - differ + EPSILON).log(), job) / 2
    return loss, {"within": mean(torch.cat([background, same]), job), "across": mean(differ, job)}


def affinity_step(radius: int, job: Ranks = ALONE) -> LossFunction:
    """The affinity loss, in float32; no gradient reaches the backbone."""

    def step(network: EdgeNetwork, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        logits = network(images)
        with torch.autocast(images.device.type, enabled=False):
            return affinity_loss(torch.sigmoid(logits.float()), labels, radius, job)

    return step


def train_affinity(config: TrainAffinityConfig, reporter: Reporter | None = None) -> TrainingResult:
    """Train the boundary head that `refine --method walk` needs; writes RUN/weights.safetensors.

    Raises `UsageError`, `WeightsError` and `TrainingDiverged` as `train_cls` does.
    """
    job = ranks()
    reporter = reporter or SilentReporter()
    told = job.once(reporter)
    check_folders(config.seeds, config.run, what="seeds'")
    seeds = read_seeds(config.seeds, config.class_file)
    foreground, background = _thresholds(config, seeds)
    refining = RefineConfig(
        images=config.images, seeds=config.seeds, out=config.run, list=config.list, limit=config.limit
    )
    matched = match_photos(refining, seeds)
    tell_filling(seeds.folder, told)
    for line in problems(refining, seeds, matched):
        told.warn(line)
    split = _split(seeds, [item for item in matched.items if item.key not in matched.orphans])
    config, reading = settle(inherit(config, seeds.config), split.training.items, told)
    items = split.training.items
    weights = find_weights(config.weights)
    card = read_card(weights)
    told.info(
        f"labels: classes above {foreground:g}, background below {background:g}"
        f"{', after the CRF' if config.confident_crf else ''}"
    )
    jobs = [
        Job(Outputs(item.key, config.run / LABELS), item.relative, config.images, seeds.folder, "", reading)
        for item in items
    ]
    device = pick_device(config.device)
    crf = Crf.of(CrfOptions(), str(device)) if config.confident_crf else None
    work = LabelWork(len(seeds.classes), foreground, background, crf)
    workers = (cores() if device.type == "cpu" else 1) if config.workers < 0 else config.workers

    def build() -> tuple[EdgeNetwork, list[Group], LossFunction, dict[str, Any]]:
        network = EdgeNetwork(
            make_backbone(**card.network)
        )  # initialised first, so that a seed always gives the same head
        network.backbone.load_state_dict(load_network(weights)[0].backbone.state_dict())
        facts = card.network | {"backbone_sha256": backbone_hash(network.backbone)}
        groups = [Group(list(network.head.parameters()), config.lr)]
        return network, groups, affinity_step(config.radius, job), facts

    return run_training(
        config,
        split,
        command="train-affinity",
        method=AFFINITY,
        source={
            "file": weights.name,
            "sha256": hash_file(weights),
            "seeds": seeds.folder.name,
            "seeds_hash": seeds.hash,
            "foreground": foreground,
            "background": background,
        },
        build=build,
        base_card=card,
        reporter=reporter,
        prepare=partial(_label, work, jobs, workers, job.anew(config.overwrite), reporter),
        crops=partial(
            LabelledCrops,
            [item.path for item in items],
            [job.outputs.mask for job in jobs],
            crop=config.crop,
            sides=training_sides(config),
            seed=config.seed,
            reading=reading,
        ),
        mean_of_photos=False,
        reading=reading,
        earlier={"weights.seeds_hash": seeds.hash_before},
    )


def _thresholds(config: TrainAffinityConfig, seeds: Seeds) -> tuple[float, float]:
    """The confident foreground and background thresholds. Raises `UsageError` if they contradict each other."""
    foreground, background = config.confident_foreground, config.confident_background
    if foreground is None or background is None:
        if seeds.threshold is None:
            raise UsageError(
                f"{seeds.folder}: no run.json with a threshold; give --confident-foreground and --confident-background"
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
    """The photos as they are trained on; their tags are those of the seeds' manifest, for people to read."""
    position = {name: i for i, name in enumerate(seeds.classes)}
    tags = {
        item.key: tuple(position[name] for name in seeds.entries.get(item.key, {}).get("classes", ())) for item in items
    }
    whole = Collection(tuple(items), seeds.classes, tags, labels=str(seeds.folder))
    return Split(whole, whole.subset([]))


def _label(work: LabelWork, jobs: Sequence[Job], workers: int, overwrite: bool, reporter: Reporter, stop: Stop) -> None:
    """Make the labels that are not there yet, this process's share. Raises `UsageError` where no photo gets any."""
    team = ranks()
    own = team.share(jobs)
    if overwrite:
        for job in own:
            job.outputs.mask.unlink(missing_ok=True)
    pending = [job for job in own if not job.outputs.mask.exists()]
    with reporter.progress(len(pending), team.label("labelling")) as progress:
        for place, problem in run_jobs(work, pending, workers, stop):
            if isinstance(problem, Lost):
                problem = problem.reason
            if problem:
                reporter.warn(f"{pending[place].relative}: {problem}")
            progress.advance()
    team.wait(stop)
    if not stop.requested and not any(job.outputs.mask.exists() for job in jobs):
        raise UsageError(f"none of {len(jobs)} photos could be labelled")
