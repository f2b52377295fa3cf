"""Photos of several sizes in one batch, as on a GPU, here on the CPU: the scores that each would have alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from pseudomask import api, config
from pseudomask.extracting.ordering import by_shape, framed_batches
from pseudomask.extracting.photos import Photo
from pseudomask.extracting.setup import Setup
from pseudomask.masks import load_mask
from pseudomask.networks.backbones.resnet import ResNetBackbone
from pseudomask.scores import load_scores

SIZES = ((48, 64), (64, 48), (65, 130), (20, 64))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("framed")
    tiny.write_photos(folder / "photos", 8, sizes=SIZES)
    tiny.write_weights(folder / "cam.safetensors")
    return folder


def extract(place: Path, out: str, **more: object) -> Path:
    settings = {
        "images": place / "photos", "labels": place / "photos.csv", "weights": place / "cam.safetensors",
        "out": place / out, "workers": 0, "refine": ("none",), "amp": "off",
    }  # fmt: skip
    api.extract(config.ExtractConfig(**settings | more))  # type: ignore[arg-type]
    return place / out


@pytest.mark.parametrize(
    "how",
    [
        {"method": "recam"},
        {"method": "cpmc"},
        {"method": "cam", "tta": "full", "max_side": 100},
        {"method": "recam", "labels": None},
    ],
)
def test_scores_are_those_of_a_photo_alone(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: dict[str, object]
) -> None:
    here = extract(place, f"{tmp_path.name}-alone", batch_size=1, **how)
    seen = list[int]()
    see_each = ResNetBackbone.see_each
    monkeypatch.setattr(
        ResNetBackbone, "see_each", lambda self, groups, **k: (seen.append(len(groups)), see_each(self, groups, **k))[1]
    )
    monkeypatch.setattr(Setup, "framed", True)
    there = extract(place, f"{tmp_path.name}-framed", batch_size=8, **how)
    assert max(seen) > 1, "sizes were not mixed"
    files = sorted(one.relative_to(here) for one in here.rglob("*.npz"))
    assert len(files) == 8
    for one in files:
        wanted, found = load_scores(here / one), load_scores(there / one)
        assert (found.classes, found.size, found.stride) == (wanted.classes, wanted.size, wanted.stride)
        assert abs(found.values - wanted.values).max(initial=0) <= 1 / 255 + 1e-6
        mask = Path(one.name).with_suffix(".png")
        masks = [load_mask(next(folder.rglob(str(mask)))) for folder in (here, there)]
        assert np.mean(masks[0] == masks[1]) > 0.99


def photo(index: int, size: tuple[int, int], problem: str = "") -> Photo:
    return Photo(index, size, () if problem else (torch.zeros(1, 1, 3),), problem=problem)


def test_batches_are_full_and_their_frames_are_not_empty() -> None:
    rng = np.random.default_rng(0)
    sizes = [(int(h), int(w)) for h, w in rng.integers(200, 500, (200, 2))]
    order = by_shape(range(200), sizes, 512, framed=True)
    assert sorted(order) == list(range(200))
    found = list(framed_batches((photo(i, sizes[i]) for i in order), 16, 512))
    assert [len(one) for one in found] == [16] * 12 + [8]
    some = [
        photo(0, (64, 64)),
        photo(1, (64, 64)),
        photo(2, (0, 0), "cut off"),
        photo(3, (512, 512)),
        photo(4, (500, 9)),
    ]
    assert [[one.index for one in batch] for batch in framed_batches(some, 16, 512)] == [[2], [0, 1], [3, 4]]
