"""The settings of refinement: one class per refiner, and the verb's own."""

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
        "CRF implementation: torch (built in), pydensecrf (extra [crf], Python below 3.13), or auto: the faster one.",
        "CRF",
        of=("crf",),
    )
    crf_preset: CrfPreset = option(
        "irn",
        "Kernel settings of IRN and ReCAM (3/3, 50/5/10), or of DeepLab (1/3, 67/3/4).",
        "CRF",
        of=("crf",),
    )
    crf_unary: CrfUnary = option(
        "hard", "Start the CRF from the thresholded mask (hard) or from the scores (soft).", "CRF", of=("crf",)
    )
    crf_gt_prob: float | None = option(
        None,
        "Confidence in the CRF's input, between 0.5 and 1; by default 0.7 (hard) or 0.9 (soft).",
        "CRF",
        of=("crf",),
    )
    crf_iterations: int = option(10, "Mean-field iterations of the CRF; 0 disables it.", "CRF", min=0, of=("crf",))
    crf_side: int = option(
        1024,
        "Downscale larger photos for the CRF, by a whole factor, so that the long side is at most this.",
        "CRF",
        min=16,
        of=("crf",),
    )
    crf_gauss_xy: float | None = option(
        None, "Standard deviation of the smoothness kernel, in photo pixels.", "CRF", of=("crf",)
    )
    crf_gauss_weight: float | None = option(
        None, "Weight of the smoothness kernel; 0 disables it.", "CRF", min=0.0, of=("crf",)
    )
    crf_bilateral_xy: float | None = option(
        None, "Standard deviation of the appearance kernel in space, in photo pixels.", "CRF", of=("crf",)
    )
    crf_bilateral_rgb: float | None = option(
        None, "Standard deviation of the appearance kernel in colour, on a scale of 0 to 255.", "CRF", of=("crf",)
    )
    crf_bilateral_weight: float | None = option(
        None, "Weight of the appearance kernel; 0 disables it.", "CRF", min=0.0, of=("crf",)
    )


@dataclass(frozen=True, kw_only=True)
class PamrOptions:
    """Pixel-adaptive refinement (Araslanov & Roth, CVPR 2020, §3.3)."""

    pamr_iterations: int = option(10, "PAMR iterations; 0 disables it.", "PAMR", min=0, of=("pamr",))
    pamr_dilations: tuple[int, ...] = option(
        (1, 2, 4, 8, 12, 24),
        "Distances of the 8 neighbours, in pixels of the downscaled photo.",
        "PAMR",
        min=1,
        max=64,
        of=("pamr",),
    )
    pamr_softness: float = option(
        0.1,
        "Colour tolerance of PAMR; smaller values count only neighbours of similar colour.",
        "PAMR",
        min=0.001,
        max=100.0,
        of=("pamr",),
    )
    pamr_side: int = option(
        160, "Downscale photos for PAMR so that the long side is at most this.", "PAMR", min=16, of=("pamr",)
    )


@dataclass(frozen=True, kw_only=True)
class WalkOptions:
    """The affinity random walk (docs/refinement-walk.md)."""

    affinity: Path | None = option(
        None, "Weights from train-affinity; required by walk.", "Walk", role="place", of=("walk",)
    )
    walk_weights: Path | None = option(
        None,
        "Weights with the backbone that --affinity was trained on; by default searched for in the weights of SEEDS, "
        "those given to train-affinity, $PSEUDOMASK_WEIGHTS and the bundled weights.",
        "Walk",
        role="place",
        of=("walk",),
    )
    walk_power: float | None = option(
        None,
        "Exponent of the power mean over a pixel's neighbours; above 1 favours high scores; by default 1.6 / (1 - "
        "threshold).",
        "Walk",
        min=0.1,
        max=100.0,
        of=("walk",),
    )
    walk_radius: int = option(5, "Reach of one step, in cells of 4 × 4 pixels.", "Walk", min=2, max=32, of=("walk",))
    walk_beta: float = option(
        10.0,
        "Exponent of the affinity; higher values let less score cross an edge.",
        "Walk",
        min=0.01,
        max=1000.0,
        of=("walk",),
    )
    walk_steps: int = option(
        8, "Number of steps as a power of two: the walk takes 2^N steps.", "Walk", min=0, max=16, of=("walk",)
    )
    walk_threshold: float | None = option(
        None,
        "Background threshold after the walk, with each photo's highest score scaled to 1; by default threshold + 0.12 "
        "× (1 - threshold).",
        "Walk",
        min=0.0,
        max=1.0,
        of=("walk",),
    )
    walk_side: int = option(
        640,
        "Downscale larger photos for the walk, by a whole factor, so that the long side is at most this.",
        "Walk",
        min=64,
        of=("walk",),
    )
    amp: Amp = option(
        "auto",
        "Mixed precision of the walk's network; auto uses bf16 on GPUs and CPUs that support it, else off.",
        "Machine",
        of=("walk",),
    )


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """Which refiners run, and what they start from."""

    method: tuple[str, ...] = option(
        (),
        "Refiners to apply in order: crf, pamr, walk, or a list such as walk,crf; by default walk with --affinity, "
        "else crf. pamr is coarser and much faster.",
        "Method",
    )
    threshold: float | Literal["auto"] | None = option(
        None,
        "Background threshold for the scores of SEEDS; by default that of SEEDS' masks; auto: chosen from photos and "
        "scores, without true masks.",
        "Method",
        min=0.0,
        max=1.0,
    )
    auto_sample: int = option(
        512, "Number of photos, evenly spread, that --threshold auto examines.", "Method", min=1, role="free"
    )


@dataclass(frozen=True, kw_only=True)
class RefineConfig(FolderOptions, SeedOptions, CrfOptions, PamrOptions, WalkOptions, MethodOptions):
    """Make masks follow the photos' edges."""

    seeds: Path = argument("Output folder of extract or of refine --scores; must contain scores/.")
    out: Path = argument("Folder for masks, manifest.jsonl and run.json.", role="free")
    scores: bool = option(
        False, "Also write OUT/scores/….npz, for evaluate or a further refine.", "Output", role="free"
    )
    score_bits: Literal["8", "16"] = option("8", "Bits per stored score.", "Output")
    device: str = option(
        "auto", "Device: auto, cpu, cuda, cuda:1 or mps; a missing one is an error.", "Machine", role="free"
    )
    workers: int = option(
        -1,
        "Worker processes; -1 is one per core (a single one on a GPU), 0 works in the main process.",
        "Machine",
        min=-1,
        role="free",
    )
    batch_size: int | None = option(
        None,
        "Photos of equal size per batch of crf and pamr; by default 1 on a CPU, 16 elsewhere.",
        "Machine",
        min=1,
        role="free",
    )
    max_failures: int = option(0, "Exit 0 if at most N photos get no mask.", "Run", min=0, role="free")
