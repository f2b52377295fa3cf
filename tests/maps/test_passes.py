"""Presets of --tta, and what --scales and --flip change in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pseudomask.config import ExtractConfig
from pseudomask.errors import UsageError
from pseudomask.maps.passes import PRESETS, Passes, passes


def asked(**settings: Any) -> Passes:
    return passes(ExtractConfig(images=Path("in"), out=Path("out"), **settings))


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_preset_is_what_its_name_says(preset: Any) -> None:
    assert asked(tta=preset) == PRESETS[preset]


def test_each_costs_less_than_the_one_before() -> None:
    """By pixels seen; `balanced` is to take at most half of `full`."""
    cost = [sum(s * s for s in one.scales) * (2 if one.mirrored is True else 1) for one in PRESETS.values()]
    assert list(PRESETS) == ["full", "balanced", "six", "three", "fast"]
    assert cost == sorted(cost, reverse=True)
    assert cost[1] <= cost[0] / 2


def test_flags_stand_above_the_preset() -> None:
    assert asked(tta="full", scales="0.5") == ((0.5,), True)
    assert asked(tta="full", flip=False) == (PRESETS["full"].scales, False)
    assert asked(tta="balanced", flip=True) == PRESETS["full"]
    assert asked(tta="balanced", scales="1, 2") == ((1.0, 2.0), "alternately")
    with pytest.raises(UsageError, match="--scales"):
        asked(scales="0")


def test_the_record_reads_as_the_flags() -> None:
    for one in PRESETS.values():
        assert asked(scales=one.text).scales == one.scales
    assert str(Passes((1.0, 0.5), "alternately")) == "scales 1,0.5, every second one mirrored"
    assert str(Passes((1.0,), False)) == "scales 1"
