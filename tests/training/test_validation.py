"""Measuring a classifier on held-out photos."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from torch import Tensor, nn

from pseudomask.data.decoding import decode
from pseudomask.data.pixels import IMAGENET
from pseudomask.measuring.average_precision import average_precision, chance_precision, lucky_precision
from pseudomask.training import validation
from pseudomask.training.validation import Validation, validate

CPU = torch.device("cpu")


class Colours(nn.Module):
    """A classifier that knows the shapes' colours: the share of red, green and blue pixels decides."""

    backbone = SimpleNamespace(normalisation=IMAGENET)

    def forward(self, x: Tensor) -> Tensor:
        top = (x.amax((2, 3)) - 1.2) * 4  # (B, 3): red, green, blue
        return top[:, [2, 0, 1]]  # bar is blue, disc red, square green


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], np.ndarray]:
    folder = tmp_path_factory.mktemp("validation")
    rng, names = np.random.default_rng(4), [("bar",), ("disc", "bar"), ("disc",), ("bar",)]
    paths = []
    for i, shown in enumerate(names):
        Image.fromarray(tiny.draw(shown, (40, 48), rng)).save(folder / f"{i}.png")
        paths.append(folder / f"{i}.png")
    tags = np.array([[name in shown for name in tiny.CLASSES] for shown in names], np.float32)
    return paths, tags


def test_a_good_classifier_measures_well(photos: tuple[list[Path], np.ndarray]) -> None:
    network = Colours().train()
    result = validate(network, *photos, tiny.CLASSES, device=CPU, amp=None)  # type: ignore[arg-type]
    assert result is not None
    assert result.precision == {"bar": 1.0, "disc": 1.0}  # no photo shows a square
    assert result.mean_precision == 1
    assert network.training, "training goes on after it"
    logits = torch.cat([network(torch.from_numpy(IMAGENET.normalise(decode(p)).copy())[None]) for p in photos[0]])
    expected = nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(photos[1]))
    assert result.loss == pytest.approx(expected.item(), rel=1e-5)
    probability = logits.sigmoid().numpy()
    for c in (0, 1):  # seen twice at least: the threshold parts those with from those without
        assert (probability[:, c] > result.tag_thresholds[c] - 1e-3).tolist() == photos[1][:, c].astype(bool).tolist()
    assert result.tag_thresholds[2] == 0.5


def test_unreadable_photos_are_passed_over(photos: tuple[list[Path], np.ndarray], tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"")
    paths, tags = photos
    with_broken = [paths[0], tmp_path / "x.png", *paths[1:]]
    more = np.insert(tags, 1, 1, axis=0)
    options = {"device": CPU, "amp": None}
    network = Colours()
    assert validate(network, with_broken, more, tiny.CLASSES, **options) == validate(  # type: ignore[arg-type]
        network,  # type: ignore[arg-type]
        paths,
        tags,
        tiny.CLASSES,
        **options,  # type: ignore[arg-type]
    )
    assert validate(network, [tmp_path / "x.png"], tags[:1], tiny.CLASSES, **options) is None  # type: ignore[arg-type]


def test_a_ruined_network_gives_nan_and_no_precision(photos: tuple[list[Path], np.ndarray]) -> None:
    class Ruined(nn.Module):
        backbone = SimpleNamespace(normalisation=IMAGENET)

        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), 3), math.nan)

    result = validate(Ruined(), *photos, tiny.CLASSES, device=CPU, amp=None)  # type: ignore[arg-type]
    assert result is not None
    assert math.isnan(result.loss)
    assert math.isnan(result.mean_precision)
    assert result.tag_thresholds == (0.5, 0.5, 0.5)


def test_large_photos_are_reduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "MAX_SIDE", 30)
    for name, size in {"wide": (20, 60), "small": (20, 30)}.items():
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / f"{name}.png")
    found = [validation.whole_photo(tmp_path / name) for name in ("wide.png", "small.png")]
    assert [tuple(one.shape) for one in found] == [(10, 30, 3), (20, 30, 3)]  # type: ignore[union-attr]
    assert Validation(0.1, {"a": 0.25, "b": 0.75}, ()).mean_precision == 0.5


def measured(precision: float, photos: int, positive: int) -> Validation:
    chance = {"a": chance_precision(photos, positive)} if positive < photos else {}
    return Validation(0.1, {"a": precision}, (0.5,), photos=photos, chance=chance, positive={"a": positive})


@pytest.mark.parametrize(
    ("precision", "photos", "positive", "few"),
    [
        (1.0, 4, 1, True),  # one order in four puts it first
        (1.0, 5, 2, True),  # one in ten is perfect
        (1.0, 20, 10, False),
        (0.6, 20, 10, False),  # no better than chance, and enough photos to say so
        (0.55, 400, 200, False),
        (1.0, 5, 5, True),  # nothing else to be told from
    ],
)
def test_few_photos_tell_nothing(precision: float, photos: int, positive: int, few: bool) -> None:
    found = measured(precision, photos, positive)
    assert found.too_few == (("a",) if few else ())
    assert ("too few to tell" in found.told()) == few
    assert f"{found.mean_chance:.3f}) on {photos} photos" in found.told()


def test_only_some_classes_have_too_few() -> None:
    both = Validation(0.1, {"a": 1.0, "b": 1.0}, (), photos=40, chance={"a": 0.5, "b": 0.1}, positive={"a": 20, "b": 1})
    assert both.too_few == ("b",)
    assert both.told().endswith("too few to tell for b")
    assert both.facts()["val_photos"] == {"all": 40, "a": 20, "b": 1}


def test_luck_is_what_one_random_order_in_twenty_reaches() -> None:
    orders = [np.array(one) for one in itertools.permutations((1, 1, 0, 0, 0))]
    reached = [float(average_precision(np.arange(5, 0, -1)[:, None], one[:, None])[0]) for one in orders]
    assert lucky_precision(5, 2) == pytest.approx(np.quantile(reached, 0.95, method="higher"))
