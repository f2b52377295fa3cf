"""Photos of shapes, and blurred seeds of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from planted import Settings, write_seeds

from pseudomask.config import RefineConfig


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/ (6 of two shapes, half of them in photos/deep) and seeds/."""
    folder = tmp_path_factory.mktemp("refine")
    tiny.write_photos(folder / "photos", 6, seed=5)
    write_seeds(folder / "photos", folder / "seeds")
    return folder


@pytest.fixture(scope="session")
def settings(source: Path) -> Settings:
    base = RefineConfig(
        images=source / "photos",
        seeds=source / "seeds",
        out=source / "unset",
        method=("pamr",),
        device="cpu",
        workers=0,
    )

    def make(out: Path, **changes: Any) -> RefineConfig:
        return replace(base, out=out, **changes)

    return make
