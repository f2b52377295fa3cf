"""The refiners: what makes one is `pseudomask.refining.NAME`, its settings are a file here.

A new one is those two files and a line in the bases of `RefinerOptions`: the flags of refine, their group in the help,
the names that --method takes and which settings decide a run all follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pseudomask.config.refiners.crf import CrfOptions
from pseudomask.config.refiners.pamr import PamrOptions
from pseudomask.config.refiners.proposals import ProposalsOptions
from pseudomask.config.refiners.sam import SamOptions
from pseudomask.config.refiners.superpixels import SuperpixelsOptions
from pseudomask.config.refiners.walk import WalkOptions


@dataclass(frozen=True, kw_only=True)
class RefinerOptions(
    CrfOptions,
    PamrOptions,
    WalkOptions,
    SuperpixelsOptions,
    ProposalsOptions,
    SamOptions,
):
    """The settings of all refiners; the last base's stand first."""


NAMES = tuple(base.__module__.rpartition(".")[2] for base in RefinerOptions.__bases__)
