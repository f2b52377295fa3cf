"""The settings of regions that another program made."""

from __future__ import annotations

from dataclasses import dataclass

from pseudomask.config.refiners.regions import ProposalFolderOptions


@dataclass(frozen=True, kw_only=True)
class ProposalsOptions(ProposalFolderOptions):
    """Regions from --proposals."""
