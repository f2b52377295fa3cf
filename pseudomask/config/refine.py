"""The settings of refinement: one class a refiner, and the verb's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudomask.config.common import Amp, FolderOptions, SeedOptions, argument, option

CrfEngine = Literal["auto", "torch", "pydensecrf"]
CrfPreset = Literal["irn", "deeplab"]
"""Published kernel settings; `refining.crf.PRESETS` has the values."""
CrfUnary = Literal["hard", "soft"]
"""What the CRF starts from: the mask at the threshold, or the scores themselves."""


@dataclass(frozen=True, kw_only=True)
class CrfOptions:
    """Settings of the dense CRF; None takes the preset's value."""

    engine: CrfEngine = option(
        "auto",
        "What computes the CRF: our torch code, pydensecrf (extra [crf], Python below 3.13), or the faster of them.",
        "CRF",
        of=("crf",),
    )
    crf_preset: CrfPreset = option(
        "irn",
        "Kernels as IRN and ReCAM have them (3/3, 50/5/10), or as DeepLab has them (1/3, 67/3/4).",
        "CRF",
        of=("crf",),
    )
    crf_unary: CrfUnary = option(
        "hard", "Start from the mask at the threshold, or softly from the scores.", "CRF", of=("crf",)
    )
    crf_gt_prob: float | None = option(
        None,
        "Trust in what it starts from, between 0.5 and 1; by default 0.7 (hard) or 0.9 (soft).",
        "CRF",
        of=("crf",),
    )
    crf_iterations: int = option(10, "Mean-field steps; 0 leaves what it starts from.", "CRF", min=0, of=("crf",))
    crf_side: int = option(
        1024,
        "Larger photos are reduced by a whole number, so that their long side is at most this.",
        "CRF",
        min=16,
        of=("crf",),
    )
    crf_gauss_xy: float | None = option(
        None, "Reach of the smoothness kernel, in pixels of the photo.", "CRF", of=("crf",)
    )
    crf_gauss_weight: float | None = option(None, "Its weight; 0 leaves it out.", "CRF", min=0.0, of=("crf",))
    crf_bilateral_xy: float | None = option(
        None, "Reach of the appearance kernel, in pixels of the photo.", "CRF", of=("crf",)
    )
    crf_bilateral_rgb: float | None = option(None, "Its reach in colour, of 255.", "CRF", of=("crf",))
    crf_bilateral_weight: float | None = option(None, "Its weight; 0 leaves it out.", "CRF", min=0.0, of=("crf",))


@dataclass(frozen=True, kw_only=True)
class PamrOptions:
    """Pixel-adaptive refinement (Araslanov & Roth, CVPR 2020, §3.3)."""

    pamr_iterations: int = option(
        10, "How often each pixel takes its neighbours' mean; 0 is not at all.", "PAMR", min=0, of=("pamr",)
    )
    pamr_dilations: tuple[int, ...] = option(
        (1, 2, 4, 8, 12, 24),
        "How far away the 8 neighbours lie, in working pixels.",
        "PAMR",
        min=1,
        max=64,
        of=("pamr",),
    )
    pamr_softness: float = option(
        0.1, "Smaller: only neighbours of nearly the same colour count.", "PAMR", min=0.001, max=100.0, of=("pamr",)
    )
    pamr_side: int = option(
        160, "Photos are reduced so that their long side is at most this.", "PAMR", min=16, of=("pamr",)
    )


@dataclass(frozen=True, kw_only=True)
class WalkOptions:
    """The affinity random walk (docs/refinement-walk.md)."""

    affinity: Path | None = option(
        None, "Weights that train-affinity wrote; walk needs them.", "Walk", role="place", of=("walk",)
    )
    walk_weights: Path | None = option(
        None,
        "Weights with the backbone that --affinity stands on; by default looked for: what SEEDS were made with, what "
        "train-affinity took, $PSEUDOMASK_WEIGHTS, those that come with pseudomask.",
        "Walk",
        role="place",
        of=("walk",),
    )
    walk_power: float | None = option(
        None,
        "Each pixel takes its neighbours' power mean of this exponent: above 1 the high scores win; by default 1.6 / "
        "(1 - threshold).",
        "Walk",
        min=0.1,
        max=100.0,
        of=("walk",),
    )
    walk_radius: int = option(
        5, "How far one step reaches, in working pixels of 4 photo pixels.", "Walk", min=2, max=32, of=("walk",)
    )
    walk_beta: float = option(
        10.0, "Exponent of the affinity: higher lets less pass an edge.", "Walk", min=0.01, max=1000.0, of=("walk",)
    )
    walk_steps: int = option(
        8, "The walk takes 2 to the power of this many steps.", "Walk", min=0, max=16, of=("walk",)
    )
    walk_threshold: float | None = option(
        None,
        "Background's height after the walk, where a photo's highest score is 1; by default 0.12 of the way from the "
        "threshold to 1.",
        "Walk",
        min=0.0,
        max=1.0,
        of=("walk",),
    )
    walk_side: int = option(
        640,
        "Larger photos are reduced by a whole number, so that their long side is at most this.",
        "Walk",
        min=64,
        of=("walk",),
    )
    amp: Amp = option(
        "auto",
        "Mixed precision of walk's network: auto is bf16 on GPUs and CPUs that have it, else off.",
        "Machine",
        of=("walk",),
    )


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """What refines, and what it starts from."""

    method: tuple[str, ...] = option(
        (),
        "crf, pamr or walk, or several in turn, such as walk,crf. By default walk where --affinity is given, else crf; "
        "pamr is coarser and much faster.",
        "Method",
    )
    threshold: float | Literal["auto"] | None = option(
        None,
        "Background's height in the scores of SEEDS; by default that of SEEDS' masks. auto: chosen from photos and "
        "scores alone, without true masks.",
        "Method",
        min=0.0,
        max=1.0,
    )
    auto_sample: int = option(
        512, "Photos that --threshold auto looks at, evenly spread.", "Method", min=1, role="free"
    )


@dataclass(frozen=True, kw_only=True)
class RefineConfig(FolderOptions, SeedOptions, CrfOptions, PamrOptions, WalkOptions, MethodOptions):
    """Make masks follow the photos' edges."""

    seeds: Path = argument("What extract wrote, or refine --scores: it must hold scores/.")
    out: Path = argument("Folder for masks, manifest.jsonl and run.json.", role="free")
    scores: bool = option(
        False, "Also write OUT/scores/….npz: for a further refine, or for evaluate.", "Output", role="free"
    )
    score_bits: Literal["8", "16"] = option("8", "Bits a stored score.", "Output")
    device: str = option(
        "auto", "auto, cpu, cuda, cuda:1 or mps; one asked for and absent is an error.", "Machine", role="free"
    )
    workers: int = option(
        -1, "Processes; -1 is one a core (one in all on a GPU), 0 none but this one.", "Machine", min=-1, role="free"
    )
    batch_size: int | None = option(
        None,
        "Photos of equal size that crf and pamr compute together; by default 1 on a CPU, 16 elsewhere.",
        "Machine",
        min=1,
        role="free",
    )
    max_failures: int = option(0, "So many photos without a mask still count as success.", "Run", min=0, role="free")
