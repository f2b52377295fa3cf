"""The affinity random walk (PSA and IRN, Ahn et al., CVPR 2018 and 2019, §3).

IRN multiplies scores x by T²⁵⁶, where T holds all pixel affinities to the power β, with columns normalised to sum to 1.
It squares the dense T eight times. Here T stays sparse (a pixel has 68 neighbours at radius 5) and is applied to the
few score planes, which is equivalent by associativity. Nor does this take 256 products: the power is a sum of Chebyshev
polynomials with binomial weights, so about √(2·256·log(2/ε)) products approximate it with error ε (Sachdeva & Vishnoi,
"Faster algorithms via approximation theory", 2014, §3). Everything is computed in float64, which is just as fast here;
in float32, rounding the affinities would alone cause 30 times the remaining error.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pseudomask.config import Amp, RefineConfig, WalkOptions
from pseudomask.data.pixels import resize
from pseudomask.devices import pick_amp
from pseudomask.errors import WeightsError
from pseudomask.extracting.photos import working_size
from pseudomask.networks.checkpoint import read_card
from pseudomask.networks.edge_weights import HOW_TO_TRAIN, find_backbone, knows_classes, load_edges
from pseudomask.networks.edges import EDGE_STRIDE, EdgeNetwork
from pseudomask.refining.evidence import LEVEL, POWER, joined
from pseudomask.refining.grid import on_grid, scaled, scores_on_grid
from pseudomask.refining.paths import affinities, steps
from pseudomask.refining.refiner import Refined
from pseudomask.scores import ScoreMap

STEP = 0.12
"""How far the background threshold moves towards 1, unless the head's card has its own `walk_step`."""
REST = 1e-9
"""Total weight of the omitted polynomials: the norm of the error relative to that of the scores."""


def transition(edges: Tensor, *, radius: int = 5, beta: float = 10.0) -> Tensor:
    """Tᵀ, with which one step of the row vector x·T is Tᵀ·x: each pixel takes a weighted mean over its neighbours.

    A neighbour's weight is the pair's affinity to the power `beta`; the pixel itself has weight 1.

    Args:
        edges: (h, w) float64 in [0, 1].

    Returns:
        (hw, hw) sparse CSR, ≥ 0, with rows that sum to 1; memory grows with hw times the number of neighbours.
    """
    h, w = edges.shape
    reach = radius - 1
    after = affinities(edges, radius).pow_(beta)  # (K, h, w)
    before = F.pad(after, (reach, reach, reach, 0))
    ahead = steps(radius)
    back = [before[k, reach - y : reach - y + h, reach - x : reach - x + w] for k, (y, x) in enumerate(ahead)]
    # In ascending order, as a CSR row needs its columns.
    offsets = torch.tensor([(-y, -x) for y, x in reversed(ahead)] + [(0, 0)] + ahead, device=edges.device)
    weights = torch.stack([*reversed(back), torch.ones_like(edges), *after], -1)  # (h, w, 2K + 1)
    weights /= weights.sum(-1, keepdim=True)
    rows = torch.arange(h, device=edges.device)[:, None] + offsets[:, 0]  # (h, 2K + 1)
    columns = torch.arange(w, device=edges.device)[:, None] + offsets[:, 1]
    inside = ((rows >= 0) & (rows < h))[:, None] & ((columns >= 0) & (columns < w))  # (h, w, 2K + 1)
    # int32, as MKL uses; with int64, each product would first convert the indices.
    targets = (rows * w).int()[:, None] + columns.int()
    starts = F.pad(inside.sum(-1).flatten().cumsum(0), (1, 0)).int()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # CSR is in beta, invariants are not checked
        return torch.sparse_csr_tensor(starts, targets[inside], weights[inside], (h * w, h * w), check_invariants=False)


def chebyshev_weights(power: int, rest: float = REST) -> list[float]:
    """Coefficients c with x^power = Σ c_k·T_k(x) on [−1, 1], truncated once the rest sums to at most `rest`.

    c_k is the probability that `power` fair ±1 steps end at k or −k.
    """
    start = power % 2
    chance = math.comb(power, power // 2) / 2**power  # probability of ending at `start`
    weights = [0.0] * start + [chance * (2 if start else 1)]
    for k in range(start, power, 2):
        if 1 - sum(weights) <= rest:
            break
        chance *= (power - k) / (power + k + 2)
        weights += [0.0, 2 * chance]
    return weights


def random_walk(scores: Tensor, edges: Tensor, *, radius: int = 5, beta: float = 10.0, exponent: int = 8) -> Tensor:
    """x·T^(2^exponent) for x = scores·(1 − edges), without a dense pixel-by-pixel matrix.

    Args:
        scores: (n, h, w), ≥ 0.
        edges: (h, w), boundary probability in [0, 1].

    Returns:
        (n, h, w) float64, ≥ 0, at most the highest score. It is within 1e-5 of the dense float64 product, relative
        to the highest value.
    """
    edges = edges.double()
    step = transition(edges, radius=radius, beta=beta)
    last = (scores * (1 - edges)).flatten(1).T.contiguous()  # (hw, n): T_0 x
    first, *others = chebyshev_weights(2**exponent)
    total = first * last
    now = step @ last  # T_1 x
    for k, weight in enumerate(others):
        if k:  # T_k = 2 T·T_{k−1} − T_{k−2}
            last, now = now, torch.addmm(last, step, now, beta=-1, alpha=2)
        if weight:
            total.add_(now, alpha=weight)
    found: Tensor = total.clamp_(min=0).T.unflatten(1, edges.shape)  # truncation can leave small negative values
    return found


@dataclass(frozen=True)
class Walk:
    """The refiner. It downscales the photo by an integer factor so that its long side is at most `side`.

    It holds the paths of its weights, not the network; each process loads the network on its first photo.

    Attributes:
        known: the head's output for the next photo, if already computed, as `see` would return it.
        affinity: file of the boundary head; `weights`: file of its backbone, None if `affinity` contains a copy.
        class_weight: weight of the head's class evidence; `by_class`: whether it is used (see `for_classes`).
    """

    affinity: Path
    weights: Path | None = None
    power: float | None = None
    radius: int = 5
    beta: float = 10.0
    exponent: int = 8
    threshold: float | None = None
    step: float = STEP
    side: int = 640
    device: str = "cpu"
    amp: Amp = "off"
    class_weight: float = 1.0
    by_class: bool = False
    known: Tensor | None = None

    @classmethod
    def of(cls, options: WalkOptions, device: str = "cpu", seeds: Path | None = None) -> Walk:
        """Raises `WeightsError` if the weights of the boundary head or its backbone are missing or of another kind.

        `seeds`: folder of the seeds, whose record may name the backbone's file.
        """
        pick_amp(options.amp, torch.device(device))
        path = options.affinity
        if path is None:
            raise WeightsError(
                f"walk needs --affinity FILE: no boundary head comes with pseudomask for these weights; {HOW_TO_TRAIN}"
            )
        return cls(
            affinity=path,
            weights=find_backbone(path, options.walk_weights, seeds),
            power=options.walk_power,
            radius=options.walk_radius,
            beta=options.walk_beta,
            exponent=options.walk_steps,
            threshold=options.walk_threshold,
            step=read_card(path).thresholds.get("walk_step", STEP),
            side=options.walk_side,
            device=device,
            amp=options.amp,
            class_weight=options.walk_classes,
        )

    def for_classes(self, names: Sequence[str]) -> Walk:
        """The refiner for scores of these classes; if the head knows them, its evidence is combined with the scores."""
        return replace(self, by_class=self.class_weight > 0 and knows_classes(self.affinity, names))

    @cached_property
    def _network(self) -> EdgeNetwork:
        device = torch.device(self.device)
        return load_edges(self.affinity, self.weights)[0].for_maps(device, pick_amp(self.amp, device))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_network"}

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        """Power means of the scores on the walk's grid, scaled so that their maximum at the photo's size is 1.

        Unless given, power and threshold follow from `threshold` (`power_of`, `threshold_of`), or are those for joined
        scores (`evidence`). A photo without classes, or with no score off its boundaries, is returned unchanged.
        """
        if not scores.classes:
            return Refined(scores, threshold)
        reduced = -(-max(scores.size) // self.side)
        with torch.inference_mode():
            seen = self.see(photo) if self.known is None else self.known
            edges, logits = on_grid(seen[:1].sigmoid(), scores.size, EDGE_STRIDE * reduced)[0], seen[1:]
            grid = torch.from_numpy(scores_on_grid(scores, EDGE_STRIDE * reduced)).to(edges.device)
            power, level = power_of(threshold), threshold_of(threshold, self.step)
            if self.by_class and scores.classes[-1] < len(logits):
                told = on_grid(logits[[0, *scores.classes]], scores.size, EDGE_STRIDE * reduced)
                grid = joined(grid, told, threshold, self.class_weight)
                power, level = POWER, LEVEL
            power = power if self.power is None else self.power
            walked = random_walk(
                grid.pow(power), edges, radius=self.radius, beta=self.beta, exponent=self.exponent
            ).pow(1 / power)
        values = walked.cpu().numpy()
        if not values.any():
            return Refined(scores, threshold)
        level = level if self.threshold is None else self.threshold
        return Refined(scaled(scores, values, EDGE_STRIDE * reduced), level)

    def see(self, photo: np.ndarray) -> Tensor:
        """The head's logits for the photo at its `working_size`: (H, W, 3) uint8 → (1 or 2 + C, ⌈h/4⌉, ⌈w/4⌉) float32.

        Extract uses the same view at scale 1, so one backbone pass can serve both.
        """
        device = torch.device(self.device)
        amp = pick_amp(self.amp, device)
        view = torch.from_numpy(np.array(resize(photo, working_size(photo.shape[:2], self.side))))
        with torch.inference_mode(), torch.autocast(device.type, amp, enabled=amp is not None):
            x = self._network.backbone.normalisation.to_input(view[None].to(device), amp)
            found = self._network.see(x)[0].float()
        return sparse_at(found)


def sparse_at(seen: Tensor) -> Tensor:
    """Move to the device the walk runs on: sparse float64 exists only on CPU and CUDA."""
    return seen if seen.device.type == "cuda" else seen.cpu()


def power_of(threshold: float) -> float:
    """The power for seeds with this background threshold: 1.6 divided by its distance from 1, at most 16.

    When background leaks into an object, their mean stays close to the object's scores only if the two differ widely.
    The higher the threshold, the larger the power this takes. Our own rule, measured in docs/refinement-walk.md.
    """
    return 1.6 / max(1 - threshold, 0.1)


def threshold_of(threshold: float, step: float = STEP) -> float:
    """The background threshold after the walk: `step` of the way from the seeds' threshold to 1 (our own rule)."""
    return round(threshold + step * (1 - threshold), 6)


def make(config: RefineConfig, device: str) -> Walk:
    return Walk.of(config, device, config.seeds)
