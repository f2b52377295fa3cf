"""The settings of --review, shared by the verbs that use masks, and those of the verb review."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudomask.config.common import argument, option

Choice = Literal["keep", "drop"]


@dataclass(frozen=True, kw_only=True)
class ReviewOptions:
    """Which masks a person's verdicts leave out; a resumed run compares the photos that are left."""

    review: Path | None = option(
        None,
        "Leave out the masks that this file calls bad: a review.csv (photo, verdict, note) from `pseudomask review` or "
        "from the page of report.",
        "Review",
        role="place",
    )
    unsure: Choice = option("keep", "Keep or drop the masks that --review calls unsure.", "Review", role="place")
    unreviewed: Choice = option(
        "keep", "Keep or drop the masks that --review says nothing about.", "Review", role="place"
    )


@dataclass(frozen=True, kw_only=True)
class ReviewConfig:
    """Serve the page of report on this machine, and write the verdicts to a file as they are made."""

    out: Path = argument("Output folder of extract, refine or predict.")
    images: Path | None = option(
        None,
        "Folder of the photos to show; by default the one that the masks were made from.",
        "Input",
        role="place",
    )
    file: Path | None = option(
        None, "File of the verdicts, read at the start; by default OUT/review.csv.", "Output", first=True
    )
    port: int = option(
        8765,
        "Port of the page on 127.0.0.1, which only programs on this machine can reach; 0: any free one.",
        "Run",
        min=0,
        max=65_535,
        role="free",
        first=True,
    )
    browser: bool = option(False, "Open the page in this machine's browser.", "Run", role="free", first=True)
