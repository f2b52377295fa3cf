"""Photos with tags, weights of a narrow random network, and settings for extract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from pseudomask.config import ExtractConfig


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/ (8 of two shapes, half of them in photos/deep), photos.csv, weights.safetensors."""
    folder = tmp_path_factory.mktemp("extract")
    tiny.write_photos(folder / "photos", 8, seed=2)
    (folder / "photos/p01.png").rename(folder / "photos/sömething else.v2.png")
    labels = folder / "photos.csv"
    labels.write_text(labels.read_text().replace("p01.png", "sömething else.v2.png"), encoding="utf-8")
    thresholds = {"product": 0.3, "first": 0.4}
    tiny.write_weights(folder / "weights.safetensors", thresholds=thresholds, tag_thresholds=(0.0, 1.0, 0.0))
    return folder


@pytest.fixture(scope="session")
def settings(source: Path) -> Callable[..., ExtractConfig]:
    base = ExtractConfig(
        images=source / "photos",
        out=source / "unset",
        labels=source / "photos.csv",
        weights=source / "weights.safetensors",
        method="recam",
        tta="balanced",
        refine=("none",),
        device="cpu",
        amp="off",
        workers=0,
    )

    def make(out: Path, **changes: Any) -> ExtractConfig:
        return replace(base, out=out, **changes)

    return make
