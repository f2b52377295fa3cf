"""The settings of refine; those of each refiner are in `refiners`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudomask.config.common import FolderOptions, SeedOptions, argument, option
from pseudomask.config.refiners import NAMES, RefinerOptions


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """Which refiners run, and what they start from."""

    method: tuple[str, ...] = option(
        (),
        f"Refiners to apply in order: {', '.join(NAMES)}, or a list such as walk,crf; by default walk with --affinity, "
        "else crf. pamr is coarser and much faster.",
        "Method",
        first=True,
    )
    threshold: float | Literal["auto"] | None = option(
        None,
        "Background threshold for the scores of SEEDS; by default that of SEEDS' masks; auto: chosen from photos and "
        "scores, without true masks.",
        "Method",
        first=True,
        min=0.0,
        max=1.0,
    )
    auto_sample: int = option(
        512, "Number of photos, evenly spread, that --threshold auto examines.", "Method", min=1, role="free"
    )


@dataclass(frozen=True, kw_only=True)
class RefineConfig(FolderOptions, SeedOptions, RefinerOptions, MethodOptions):
    """Make masks follow the photos' edges."""

    seeds: Path = argument("Output folder of extract or of refine --scores; must contain scores/.")
    out: Path = argument("Folder for masks, manifest.jsonl and run.json.", role="free")
    scores: bool = option(
        False, "Also write OUT/scores/….npz, for evaluate or a further refine.", "Output", role="free", first=True
    )
    score_bits: Literal["8", "16"] = option("8", "Bits per stored score.", "Output")
    device: str = option(
        "auto", "Device: auto, cpu, cuda, cuda:1 or mps; a missing one is an error.", "Machine", role="free", first=True
    )
    workers: int = option(
        -1,
        "Worker processes, on a GPU threads that read and write; -1: one per core, 0: none, all in turn.",
        "Machine",
        min=-1,
        role="free",
    )
    batch_size: int | None = option(
        None,
        "Photos of equal size per batch of crf, pamr and walk; by default 1 on a CPU, 16 elsewhere.",
        "Machine",
        min=1,
        role="free",
    )
    max_failures: int = option(0, "Exit 0 if at most N photos get no mask.", "Run", min=0, role="free")
