"""The settings of single methods of extract: a file each, and a line in the bases of `SingleMethodOptions`."""

from __future__ import annotations

from dataclasses import dataclass

from pseudomask.config.methods.cpmc import CpmcMapOptions


@dataclass(frozen=True, kw_only=True)
class SingleMethodOptions(CpmcMapOptions):
    """The settings of all methods."""
