"""Network, method and settings, ready to make the maps of any photo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from pseudomask.config import ExtractConfig
from pseudomask.devices import make_current, pick_amp, pick_device
from pseudomask.errors import UsageError
from pseudomask.extracting.cam import with_cam
from pseudomask.extracting.engine import Engine
from pseudomask.extracting.refinement import Refinement
from pseudomask.importing import find_or_import
from pseudomask.maps import check_method, make_method
from pseudomask.maps.cams import check_cam
from pseudomask.maps.method import MapMethod
from pseudomask.maps.multiscale import frames, ways
from pseudomask.maps.passes import Passes, passes
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.int8 import check_int8
from pseudomask.networks.network import CamNetwork
from pseudomask.quoting import command
from pseudomask.running.reporter import Reporter

ChooseClasses = Callable[[CamNetwork, Card], tuple[CamNetwork, Card]]
"""Gives weights with a vocabulary (`pseudomask.vocabulary`) the classes of a run."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything but the photos.

    Attributes:
        config: the settings, with those of the quality and the kind of map filled in.
        passes: the scales at which each photo is processed, and whether mirrored.
        amp: precision of the network; None for float32, and for 8 bits where `config.amp` says so.
        threshold: the background threshold; `threshold_from`: who chose it.
        usual_refiners: run if `config.refine` names none.
        refinement: applied to each photo's scores before its mask is made.
    """

    config: ExtractConfig
    passes: Passes
    weights: Path
    network: CamNetwork
    card: Card
    method: MapMethod
    device: torch.device
    amp: torch.dtype | None
    threshold: float
    threshold_from: str
    usual_refiners: tuple[str, ...] = ()
    refinement: Refinement | None = None

    def keyed_paths(self) -> Sequence[tuple[str, Path]]:
        """Key and path of each photo that is known in advance."""
        return ()

    def engine(self, reporter: Reporter) -> Engine:
        make_current(self.device)
        scales = self.passes.scales
        gradients = self.method.gradients  # folded networks have none
        return Engine(
            network=self.network.on(self.device) if gradients else self.network.for_maps(self.device, self.amp),
            method=self.method,
            device=self.device,
            amp=self.amp,
            tag_thresholds=torch.tensor(self.card.tag_thresholds or (0.5,) * len(self.card.classes)),
            plain_scale=min(range(len(scales)), key=lambda i: abs(scales[i] - 1)),
            mirrored=self.passes.mirrored,
            max_side=self.config.max_side,
            stride=self.config.score_stride,
            largest=self.batch_size,
            reporter=reporter,
            look=self.refinement.look if self.refinement else None,
            look_at=self.whole_view or 0,
            scales=scales,
            framed=self.framed,
        )

    @property
    def batch_size(self) -> int:
        """Photos that may share a batch; a GPU is quicker the more there are, a CPU is not."""
        return self.config.batch_size or (4 if self.device.type == "cpu" else 16)

    @property
    def framed(self) -> bool:
        """Whether photos of several sizes share a batch: a GPU is quick where few shapes repeat, a CPU is not."""
        return self.device.type == "cuda" and frames(self.network, self.method)

    @property
    def whole_view(self) -> int | None:
        """The view that shows photos at their working size and not mirrored; None where there is none."""
        scales = self.passes.scales
        straight = (i for i, scale in enumerate(scales) if scale == 1 and not ways(self.passes.mirrored, i)[0])
        return next(straight, None)


def check_names(config: ExtractConfig) -> None:
    """Raise `UsageError` for an unknown method or kind of map, before anything is read."""
    assert config.method is not None
    check_method(config.method)
    if config.cam is not None:
        check_cam(config.cam)
    passes(config)


def make_setup(
    config: ExtractConfig, usual_refiners: tuple[str, ...], choose_classes: ChooseClasses, reporter: Reporter
) -> Setup:
    """Load the weights and choose device, precision and threshold.

    Args:
        config: with the quality's settings filled in (`settle_quality`).

    Raises `UsageError` and related errors, and `SetupError` if weights or device are missing.
    """
    weights = find_or_import(config.weights, reporter)
    device = pick_device(config.device)
    amp = pick_amp("off" if config.amp == "int8" else config.amp, device)
    network, card = load_network(weights)
    if card.vocabulary:
        network, card = choose_classes(network, card)
    config = with_cam(config, network, card)
    method = make_method(config, card)
    method.check(network)
    if config.amp == "int8":
        _check_int8(network, method, device)
    if config.method != "cam" and card.reactivated is not None and not card.second_taught:
        reporter.warn(
            f"{weights.name}: its second classifier is not used, because it was trained on one class alone and learned "
            "nothing; train it again with `pseudomask reactivate`"
        )
    threshold, threshold_from = _threshold(config, card, method)
    return Setup(
        config=config,
        passes=passes(config),
        weights=weights,
        network=network,
        card=card,
        method=method,
        device=device,
        amp=None if method.gradients and config.amp == "auto" else amp,
        threshold=threshold,
        threshold_from=threshold_from,
        usual_refiners=usual_refiners,
    )


def _check_int8(network: CamNetwork, method: MapMethod, device: torch.device) -> None:
    check_int8(network.backbone, device)
    if method.gradients:
        raise UsageError("--amp int8 has no gradients, which these maps need; use --amp off")


def refuse_auto(config: ExtractConfig) -> None:
    """Raise `UsageError` for a threshold that only refine can choose."""
    if config.threshold == "auto":
        first = command("extract", config.images, "SEEDS", "--refine", "none")
        then = command("refine", config.images, "SEEDS", config.out, "--threshold", "auto")
        raise UsageError(
            f"--threshold auto needs all photos' scores first: run `{first}` with your other settings, then `{then}`"
        )


def _threshold(config: ExtractConfig, card: Card, method: MapMethod) -> tuple[float, str]:
    """The background threshold, and who chose it."""
    refuse_auto(config)
    if config.threshold is not None and config.threshold != "auto":
        return config.threshold, "given"
    if method.threshold_key in card.thresholds:
        return card.thresholds[method.threshold_key], "from the weights' card"
    return method.default_threshold, "the method's default"
