"""The settings of refine; those of each refiner are in `refiners`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudomask.config.common import FolderOptions, SeedOptions, argument, option
from pseudomask.config.refiners import NAMES, RefinerOptions


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """What refines, and what it starts from."""

    method: tuple[str, ...] = option(
        (),
        f"{', '.join(NAMES[:-1])} or {NAMES[-1]}, or several in turn, such as walk,crf. By default walk where "
        "--affinity is given, else crf; pamr is coarser and much faster.",
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
class RefineConfig(FolderOptions, SeedOptions, RefinerOptions, MethodOptions):
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
