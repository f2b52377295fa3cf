"""The affinity random walk (PSA and IRN, Ahn et al., CVPR 2018 and 2019, §3).

IRN multiplies scores x by T²⁵⁶, where T holds all pixel affinities to the power β, with columns normalised to sum to 1.
It squares the dense T eight times. Here T stays sparse (a pixel has 68 neighbours at radius 5) and is applied to the
few score planes, which is equivalent by associativity. Nor does this take 256 products: the power is a sum of Chebyshev
polynomials with binomial weights, so about √(2·256·log(2/ε)) products approximate it with error ε (Sachdeva & Vishnoi,
"Faster algorithms via approximation theory", 2014, §3). Everything is computed in float64, which is just as fast here;
in float32, rounding the affinities would alone cause 30 times the remaining error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from pseudomask.config import Amp, RefineConfig, WalkOptions
from pseudomask.data.pixels import resize
from pseudomask.devices import pick_amp
from pseudomask.errors import WeightsError
from pseudomask.extracting.photos import working_size
from pseudomask.extracting.transfers import send, send_together
from pseudomask.networks.checkpoint import read_card
from pseudomask.networks.edge_weights import HOW_TO_TRAIN, find_backbone, knows_classes, load_edges
from pseudomask.networks.edges import EDGE_STRIDE, EdgeNetwork
from pseudomask.refining.evidence import LEVEL, POWER, joined
from pseudomask.refining.grid import on_grid, scaled, scores_on_grid
from pseudomask.refining.refiner import Refined, alike
from pseudomask.refining.transitions import random_walk
from pseudomask.scores import ScoreMap

Options = TypeVar("Options", bound=WalkOptions)
STEP = 0.12
"""How far the background threshold moves towards 1, unless the head's card has its own `walk_step`."""


def settled(options: Options, share: float, names: Sequence[str]) -> Options:
    """`options` with the share of these seeds' scores, `MapMethod.walk_seeds`, unless they name one.

    It pays only beside a head that knows the classes (docs/quality.md); otherwise it is 0.
    """
    if options.walk_seeds is not None:
        return options
    knows = options.walk_classes > 0 and options.affinity is not None and knows_classes(options.affinity, names)
    return replace(options, walk_seeds=share if knows else 0.0)


@dataclass(frozen=True)
class Walk:
    """The refiner. It downscales the photo by an integer factor so that its long side is at most `side`.

    It holds the paths of its weights, not the network; each process loads the network on its first photo.

    Attributes:
        known: the head's output for each of the next photos, if already computed, as `see` would return it; None for
            a photo without classes.
        affinity: file of the boundary head; `weights`: file of its backbone, None if `affinity` contains a copy.
        class_weight: weight of the head's class evidence; `by_class`: whether it is used (see `for_classes`).
        kept: weight of the scores before the walk in the geometric mean with those after it.
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
    kept: float = 0.0
    by_class: bool = False
    known: Sequence[Tensor | None] | None = None

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
            kept=options.walk_seeds or 0.0,
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
        return self.refine_batch([photo], [scores], threshold)[0]

    def refine_batch(self, photos: Sequence[np.ndarray], scores: Sequence[ScoreMap], threshold: float) -> list[Refined]:
        """`refine` each photo; photos of equal size are batched, even if their numbers of classes differ."""
        found = [Refined(one, threshold) for one in scores]
        for _, group in alike([one.size if one.classes else None for one in scores]):
            if self.known is None:
                seen = self.see_together([photos[i] for i in group])
            else:
                seen = _together([self.known[i] for i in group])
            refined = self._walked(seen, [scores[i] for i in group], threshold)
            for i, one in zip(group, refined, strict=True):
                found[i] = one
        return found

    def _walked(self, seen: Tensor, scores: Sequence[ScoreMap], threshold: float) -> list[Refined]:
        """Walk over photos of one size, all with classes, of which the head has `seen` (B, 1 or 2 + C, h, w)."""
        size, most = scores[0].size, max(len(one.classes) for one in scores)
        stride = EDGE_STRIDE * -(-max(size) // self.side)
        with torch.inference_mode():
            edges = on_grid(seen[:, 0].sigmoid(), size, stride)
            given = torch.zeros(len(scores), most, *edges.shape[1:])
            for slot, one in zip(given, scores, strict=True):
                slot[: len(one.classes)] = torch.from_numpy(scores_on_grid(one, stride))
            given, levels, powers = send(given, edges.device), list[float](), list[float]()
            for slot, one, logits in zip(given, scores, seen[:, 1:], strict=True):
                power, level = power_of(threshold), threshold_of(threshold, self.step)
                if self.by_class and one.classes[-1] < len(logits):
                    told = on_grid(torch.stack([logits[c] for c in (0, *one.classes)]), size, stride)
                    planes = slot[: len(one.classes)]
                    planes.copy_(joined(planes, told, threshold, self.class_weight))
                    power, level = POWER, LEVEL
                powers.append(power if self.power is None else self.power)
                levels.append(level if self.threshold is None else self.threshold)
                slot.pow_(powers[-1])
            walked = random_walk(given, edges, radius=self.radius, beta=self.beta, exponent=self.exponent)
            for slot, power in zip(walked, powers, strict=True):
                slot.pow_(1 / power)
        refined = []
        for values, one, level in zip(walked.cpu().numpy(), scores, levels, strict=True):
            mine = values[: len(one.classes)]
            found = Refined(scaled(one, mine, stride), level) if mine.any() else Refined(one, threshold)
            refined.append(self._with_seeds(found, one, threshold, stride) if mine.any() and self.kept else found)
        return refined

    def _with_seeds(self, walked: Refined, seeds: ScoreMap, threshold: float, stride: int) -> Refined:
        """The geometric mean of scores after and before the walk, and of their thresholds: the mean of their log odds.

        Ours: the walk completes objects, and now and then floods what the seeds had right.
        """
        values = scores_on_grid(seeds, stride) ** self.kept * walked.scores.values ** (1 - self.kept)
        level = threshold**self.kept * walked.threshold ** (1 - self.kept)
        return Refined(replace(walked.scores, values=values.astype(np.float32)), level)

    def see(self, photo: np.ndarray) -> Tensor:
        """The head's logits for the photo at its `working_size`: (H, W, 3) uint8 → (1 or 2 + C, ⌈h/4⌉, ⌈w/4⌉) float32.

        Extract uses the same view at scale 1, so one backbone pass can serve both.
        """
        return self.see_together([photo])[0]

    def see_together(self, photos: Sequence[np.ndarray]) -> Tensor:
        """`see` for photos of one size: (B, 1 or 2 + C, ⌈h/4⌉, ⌈w/4⌉) float32."""
        device = torch.device(self.device)
        amp = pick_amp(self.amp, device)
        size = working_size((photos[0].shape[0], photos[0].shape[1]), self.side)
        views = send_together([torch.from_numpy(np.array(resize(photo, size))) for photo in photos], device)
        with torch.inference_mode(), torch.autocast(device.type, amp, enabled=amp is not None):
            found = self._network.see(self._network.backbone.normalisation.to_input(views, amp)).float()
        return sparse_at(found)


def _together(seen: Sequence[Tensor | None]) -> Tensor:
    found = [one for one in seen if one is not None]
    assert len(found) == len(seen), "a photo with classes lacks what the head made of it"
    return found[0][None] if len(found) == 1 else torch.stack(found)  # a stack is laid out anew, and rounds otherwise


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
