"""Carry settings over from the command that was run to the usual next one."""

from __future__ import annotations

import dataclasses
from typing import Any

from pseudomask.config.common import TagOptions
from pseudomask.config.settings import settings

_NAMES = ("crop", "list", *(one.name for one in dataclasses.fields(TagOptions)))
"""Settings for how photos and tags are chosen and read, plus the crop, which must fit the machine."""


def carried(config: Any, following: type) -> list[object]:
    """Flags and values for a command with the settings `following`: everything that `config` changed from its default.

    The flag for the tags themselves, --labels, is left out.
    """
    usual = {one.name: one.default for one in settings(type(config))} if dataclasses.is_dataclass(config) else {}
    words: list[object] = []
    for setting in settings(following):
        value = getattr(config, setting.name, None)
        if setting.name not in _NAMES or setting.name == "labels" or setting.name not in usual:
            continue
        if value in (None, usual[setting.name]) or value == setting.default:
            continue
        words += [setting.flag] if value is True else [setting.flag, value]
    return words
