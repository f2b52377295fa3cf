"""The example of tags that nobody trained: the bundled ImageNet weights make their masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pseudomask.config import ExtractConfig
from pseudomask.extraction import extract
from pseudomask.masks import load_mask

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_tabby_and_golden_retriever(tmp_path: Path) -> None:
    """Small and unrefined, so coarse: each animal is found where it is."""
    (tmp_path / "two.txt").write_text("cat_chelsea.jpg\ndog_retriever.jpg\n")
    result = extract(
        ExtractConfig(
            images=EXAMPLES / "photos", out=tmp_path / "out", labels=EXAMPLES / "imagenet.csv",
            list=tmp_path / "two.txt", weights=Path("imagenet"), scales="0.5", flip=False, refine=("none",),
            device="cpu", workers=0,
        )
    )  # fmt: skip
    assert result.classes == ("cat", "golden retriever", "tabby")
    cat, dog = (load_mask(tmp_path / f"out/{name}.png") for name in ("cat_chelsea", "dog_retriever"))
    assert {*np.unique(cat)} <= {0, 3}
    assert {*np.unique(dog)} <= {0, 2}
    h, w = cat.shape
    assert (cat[h // 4 : h // 2, w // 4 : w // 2] == 3).mean() > 0.9  # the face
    assert (cat[:, -w // 16 :] == 3).mean() < 0.2  # right of it
    h, w = dog.shape
    assert (dog[h // 3 : h // 2, w // 3 : w // 2] == 2).mean() > 0.9
    assert (dog[: h // 12] == 2).mean() < 0.2
