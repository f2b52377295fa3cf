"""The settings of --review, shared by the verbs that use masks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudomask.config.common import option

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
