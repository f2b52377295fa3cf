"""What the refiners that assign regions to classes have in common."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pseudomask.config.common import option

_regions = partial(option, panel="Regions")


@dataclass(frozen=True, kw_only=True)
class RegionOptions:
    """Regions of any source (docs/refinement-regions.md)."""

    region_side: int = _regions(
        1024,
        "Assign regions on the photo downscaled by a whole factor, so that the long side is at most this.",
        of=("superpixels", "proposals", "sam"),
        min=16,
    )


@dataclass(frozen=True, kw_only=True)
class ProposalFolderOptions(RegionOptions):
    """Regions in files."""

    proposals: Path | None = _regions(
        None,
        "Folder with one JSON file of COCO run-length codes per photo: read by proposals; sam keeps its regions there, "
        "by default in OUT/proposals.",
        of=("proposals", "sam"),
    )
