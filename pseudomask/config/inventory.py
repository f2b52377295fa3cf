"""The settings of weights."""

from __future__ import annotations

from dataclasses import dataclass

from pseudomask.config.common import argument, option


@dataclass(frozen=True, kw_only=True)
class WeightsConfig:
    """List the weights that are here, or the classes that they know."""

    name: str | None = argument(
        "Show the card of these weights alone: a name from the list, or a weights file.", default=None, metavar="[NAME]"
    )
    classes: str | None = option(None, "Search the names of classes for this word.", metavar="WORD", role="free")
