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
        "Leave out the masks that this table (photo, verdict, note) calls bad; a verdict is good, bad or unsure.",
        "Review",
        role="place",
    )
    unsure: Choice = option("keep", "Keep or drop the masks that --review calls unsure.", "Review", role="place")
    unreviewed: Choice = option(
        "keep", "Keep or drop the masks that --review says nothing about.", "Review", role="place"
    )


@dataclass(frozen=True, kw_only=True)
class ReviewConfig:
    """Serve the page of masks to this machine's browsers and keep verdicts and tags in OUT."""

    out: Path = argument("Folder of masks, which gets review.csv.")
    images: Path | None = argument(
        "Folder of the photos; by default the one that the masks were made from.", default=None
    )
    port: int = option(
        0, "Port on 127.0.0.1; 0 takes a free one.", "Machine", min=0, max=65_535, role="free", first=True
    )
    open: bool = option(False, "Also open the page in your browser.", "Machine", role="free", first=True)
