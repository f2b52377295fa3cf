"""Activation-map methods behind one registry: a new one is a file here and a line below."""

from __future__ import annotations

from collections.abc import Callable

from pseudomask.config import ExtractConfig
from pseudomask.errors import UsageError
from pseudomask.maps.cam import LinearMaps
from pseudomask.maps.method import MapMethod

METHODS: dict[str, Callable[[ExtractConfig], MapMethod]] = {
    "cam": lambda config: LinearMaps("cam", "first"),
    "recam": lambda config: LinearMaps("recam", config.recam_weights),
}


def make_method(config: ExtractConfig) -> MapMethod:
    """The method that `config.method` names; `UsageError` lists the valid names."""
    try:
        return METHODS[config.method](config)
    except KeyError:
        raise UsageError(f"unknown method {config.method!r}; there are {', '.join(METHODS)}") from None
