"""What every entry of a registry is tried on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import tiny

for folder in ("refining", "exporting"):  # for `planted` and `made_masks`
    sys.path.append(str(Path(__file__).parents[1] / folder))


@pytest.fixture(scope="session")
def affinity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A boundary head that was never trained."""
    return tiny.write_affinity(tmp_path_factory.mktemp("affinity"))


@pytest.fixture(scope="session")
def sam_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny Segment Anything model that was never trained."""
    return tiny.write_sam(tmp_path_factory.mktemp("sam"))
