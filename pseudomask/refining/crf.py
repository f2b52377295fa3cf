"""The dense CRF as a refiner: its settings, its unary energies, and the conversion of marginals to scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pseudomask.config import CrfEngine, CrfOptions, CrfUnary, RefineConfig
from pseudomask.config.refiners.crf import with_confidence
from pseudomask.errors import UsageError
from pseudomask.refining.crf_engines import Kernels, batch_marginals, pick_engine, pydensecrf_marginals
from pseudomask.refining.grid import scores_on_grid, shrink
from pseudomask.refining.refiner import Refined, alike
from pseudomask.scores import ScoreMap

PRESETS = {
    "irn": Kernels(gauss_xy=3, gauss_weight=3, bilateral_xy=50, bilateral_rgb=5, bilateral_weight=10),
    "deeplab": Kernels(gauss_xy=1, gauss_weight=3, bilateral_xy=67, bilateral_rgb=3, bilateral_weight=4),
}
"""Published kernels: IRN's, also used by AdvCAM and ReCAM, and DeepLab's, also used by CLIP-ES."""

MANY = 26
"""Labels, background included, above which a photo is seen coarser, so that more of them cost no more."""

_TINY = np.finfo(np.float32).tiny


@dataclass(frozen=True, kw_only=True)
class CrfSettings:
    """Settings of the CRF; `of` builds them from the options. Raises `UsageError` for values out of range."""

    kernels: Kernels = PRESETS["irn"]
    unary: CrfUnary = "hard"
    gt_prob: float = 0.9
    iterations: int = 10
    side: int = 1024

    def __post_init__(self) -> None:
        if not 0.5 < self.gt_prob < 1:
            raise UsageError(f"--crf-gt-prob must be between 0.5 and 1, not {self.gt_prob:g}")
        for name in ("gauss_xy", "bilateral_xy", "bilateral_rgb"):
            if not 0 < getattr(self.kernels, name) < float("inf"):
                flag = f"--crf-{name.replace('_', '-')}"
                raise UsageError(f"{flag} must be a number above 0, not {getattr(self.kernels, name):g}")
        for name in ("gauss_weight", "bilateral_weight"):
            if not 0 <= getattr(self.kernels, name) < float("inf"):
                flag = f"--crf-{name.replace('_', '-')}"
                raise UsageError(f"{flag} must be a number of at least 0, not {getattr(self.kernels, name):g}")

    @classmethod
    def of(cls, options: CrfOptions) -> CrfSettings:
        """The preset's values, overridden by those given explicitly."""
        preset, gt_prob = PRESETS[options.crf_preset], with_confidence(options).crf_gt_prob
        assert gt_prob is not None
        given = {name: getattr(options, f"crf_{name}") for name in Kernels._fields}
        return cls(
            kernels=preset._replace(**{name: value for name, value in given.items() if value is not None}),
            unary=options.crf_unary,
            gt_prob=gt_prob,
            iterations=options.crf_iterations,
            side=options.crf_side,
        )


@dataclass(frozen=True)
class Crf:
    """The refiner.

    It downscales the photo by an integer factor so that its long side is at most `side`, and further where there are
    more than `MANY` labels: time and memory grow with labels × pixels.
    """

    settings: CrfSettings
    engine: Literal["torch", "pydensecrf"] = "torch"
    device: str = "cpu"

    @classmethod
    def of(cls, options: CrfOptions, device: str = "cpu") -> Crf:
        """Raises `MissingExtra` if pydensecrf is requested but not installed, and `UsageError` like `CrfSettings`."""
        engine: CrfEngine = options.engine
        return cls(CrfSettings.of(options), pick_engine(engine), device)

    def refine(self, photo: np.ndarray, scores: ScoreMap, threshold: float) -> Refined:
        """Scores at the working stride with threshold ½, at which the mask is the argmax of the marginals.

        A photo without classes, or (if `unary` is hard) with a single label in its mask, is returned unchanged.
        """
        return self.refine_batch([photo], [scores], threshold)[0]

    def refine_batch(self, photos: Sequence[np.ndarray], scores: Sequence[ScoreMap], threshold: float) -> list[Refined]:
        """`refine` each photo; photos of equal size are batched, even if their numbers of labels differ."""
        found = [Refined(one, threshold) for one in scores]
        starts = [self._start(one, threshold) for one in scores]
        shapes = [
            None if start is None else (*scores[i].size, self._stride(scores[i])) for i, start in enumerate(starts)
        ]
        for (_, _, stride), group in alike(shapes):
            unaries = [unary for i in group if (unary := starts[i]) is not None]
            for i, marginals in zip(group, self._marginals([photos[i] for i in group], unaries, stride), strict=True):
                found[i] = Refined(ScoreMap(scores[i].classes, as_scores(marginals), scores[i].size, stride), 0.5)
        return found

    def _stride(self, scores: ScoreMap) -> int:
        labels = len(scores.classes) + 1
        return -(-max(scores.size) // self.settings.side) * max(1, math.ceil(math.sqrt(labels / MANY)))

    def _start(self, scores: ScoreMap, threshold: float) -> np.ndarray | None:
        """Unary energies at the working stride, (L, h, w) float32; None if there is nothing to decide."""
        if not scores.classes:
            return None
        planes = scores_on_grid(scores, self._stride(scores))
        stacked = np.concatenate([np.full_like(planes[:1], threshold), planes])
        if self.settings.unary == "soft":
            return energies(shares(stacked), self.settings.gt_prob)
        labels = one_hot(stacked)
        return None if labels.any((1, 2)).sum() == 1 else energies(labels, self.settings.gt_prob)

    def _marginals(
        self, photos: Sequence[np.ndarray], unaries: Sequence[np.ndarray], stride: int
    ) -> Sequence[np.ndarray]:
        """Marginals of each photo, (L, h, w) float32; all photos must have the same size."""
        if stride > 1:
            photos = [np.rint(shrink(photo, stride)).astype(np.uint8) for photo in photos]
        kernels, iterations = self.settings.kernels.at(stride), self.settings.iterations
        if self.engine == "pydensecrf":
            pairs = zip(photos, unaries, strict=True)
            return [pydensecrf_marginals(photo, unary, kernels, iterations) for photo, unary in pairs]
        return batch_marginals(photos, unaries, kernels, iterations, self.device)


def one_hot(stacked: np.ndarray) -> np.ndarray:
    """One-hot argmax of (L, h, w); the lower index wins ties. With the threshold as plane 0: the mask."""
    highest: np.ndarray = stacked.argmax(0) == np.arange(len(stacked))[:, None, None]
    return highest.astype(np.float32)


def shares(stacked: np.ndarray) -> np.ndarray:
    """Normalise (L, h, w), ≥ 0, to sum to 1 at each pixel; where all values are 0, the first becomes 1."""
    total = stacked.sum(0)
    found = stacked / np.where(total == 0, 1, total)
    found[0, total == 0] = 1
    return found


def energies(labels: np.ndarray, gt_prob: float) -> np.ndarray:
    """Unary energies for labels that are correct with probability `gt_prob`, the rest spread over the others evenly.

    (L, h, w) probabilities → (L, h, w) float32. One-hot probabilities give pydensecrf's `unary_from_labels`.
    """
    other = (1 - gt_prob) / (len(labels) - 1)
    return -np.log(other + (gt_prob - other) * labels).astype(np.float32)


def as_scores(marginals: np.ndarray) -> np.ndarray:
    """(L, h, w) marginals, background first → (L - 1, h, w) scores whose mask at threshold ½ is the marginals' argmax.

    The strongest class scores p / (p + p_background). A weaker class's score is also multiplied by its ratio to the
    strongest: where the background probability vanishes, all these shares would be 1 and tie.
    """
    background, classes = marginals[:1], marginals[1:]
    share = classes / np.maximum(classes + background, _TINY)
    scores: np.ndarray = share * (classes / np.maximum(classes.max(0), _TINY))
    return scores.clip(0, 1, dtype=np.float32)


def make(config: RefineConfig, device: str) -> Crf:
    return Crf.of(config, device)
