"""What `pseudomask weights` lists, shows and finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import torch

from pseudomask.cli import app
from pseudomask.config import WeightsConfig
from pseudomask.errors import UsageError
from pseudomask.inventory import weights
from pseudomask.networks import store
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import save_network
from pseudomask.networks.network import CamNetwork
from pseudomask.vocabulary.sets import class_set


@pytest.fixture(scope="module")
def names() -> tuple[str, ...]:
    return class_set("imagenet")


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> Path:
    """A folder with bundled weights of random numbers, and empty caches."""
    folder = tmp_path / "box"
    folder.mkdir()
    tiny.write_affinity(folder)
    (folder / "edges.safetensors").rename(folder / "boundaries_tiny.safetensors")
    (folder / "cam.safetensors").rename(folder / store.BUNDLED)
    torch.manual_seed(1)
    card = Card(classes=names, method="cam", backbone=tiny.NARROW, vocabulary="imagenet", license="MIT; with remarks")
    save_network(folder / store.NAMED["imagenet"], CamNetwork(1000, tiny.NARROW), card)
    monkeypatch.setattr(store, "bundled_folders", lambda: (folder,))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in (store.VARIABLE, "TORCH_HOME", "HF_HOME", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return folder


def test_the_list(box: Path, tmp_path: Path) -> None:
    table = weights(WeightsConfig()).table()
    assert table is not None
    rows = {row[0]: row[1:5] for row in table[1]}
    assert rows == {
        "voc": ["recam", "3", "yes", "CC0-1.0"],
        "imagenet": ["cam", "1000", "no", "MIT"],
        "boundaries_tiny": ["boundary head", "3", "-", "unknown"],
    }


def test_sizes_caches_and_the_variable(box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = tmp_path / "cache/torch/hub/checkpoints"
    blobs = tmp_path / "cache/huggingface/hub/models--timm--convnext_tiny.in12k/blobs"
    for folder in (hub, blobs):
        folder.mkdir(parents=True)
    (hub / "resnet50-0676ba61.pth").write_bytes(bytes(2000))
    (blobs / "abc").write_bytes(bytes(3000))
    own = tiny.write_weights(tmp_path / "own.safetensors")
    monkeypatch.setenv(store.VARIABLE, str(own))
    stored = {one.name: one for one in weights(WeightsConfig()).stored}
    assert stored["torchvision:resnet50"].size == 2000
    assert (stored["timm:convnext_tiny.in12k"].size, stored["timm:convnext_tiny.in12k"].holds) == (3000, "backbone")
    assert stored[str(own)].size == own.stat().st_size
    assert stored["voc"].size == (box / store.BUNDLED).stat().st_size
    (shown,) = weights(WeightsConfig(name="torchvision:resnet50")).stored
    assert shown.path == hub / "resnet50-0676ba61.pth"


def test_a_card(box: Path, tmp_path: Path) -> None:
    own = tiny.write_weights(tmp_path / "own.safetensors", notes="Few photos.", thresholds={"first": 0.25})
    rows = dict(weights(WeightsConfig(name=str(own))).summary())
    assert rows["classes"] == "3: bar, disc, square"
    assert (rows["notes"], rows["threshold, first"], rows["licence"]) == ("Few photos.", "0.25", "CC0-1.0")
    assert dict(weights(WeightsConfig(name="voc")).summary())["boundary head"] == str(
        box / "boundaries_tiny.safetensors"
    )


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("guitar", [("guitar", 2), ("acoustic_guitar", 1), ("electric_guitar", 1)]),
        ("Zebra", [("Zebra", 1)]),
        ("furniture", [("furniture", 22)]),
        ("disc", [("disc", 1)]),
    ],
)
def test_a_search_finds_classes_and_kinds(box: Path, word: str, wanted: list[tuple[str, int]]) -> None:
    found = [(one.name, len(one.classes)) for one in weights(WeightsConfig(classes=word)).found]
    assert found[: len(wanted)] == wanted


def test_a_search_in_one_file(box: Path) -> None:
    assert [one.weights for one in weights(WeightsConfig(name="voc", classes="a")).found] == ["voc", "voc"]
    assert weights(WeightsConfig(name="voc", classes="zebra")).found == []
    assert weights(WeightsConfig(name="voc", classes="squar e")).found[0].name == "square"


def test_what_nothing_knows_gets_the_nearest_names(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights(WeightsConfig(classes="zebbra")).near[0] == "zebra"
    assert weights(WeightsConfig(name="voc", classes="squaare")).near == ["square"]
    assert app.run(["weights", "--classes", "zebbra"]) == 0
    assert "zebra" in capsys.readouterr().err


def test_the_page_is_narrow_and_the_json_whole(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--classes", "dog"], ["--classes", "a"]):
        assert app.run(["weights", *words]) == 0
        shown = capsys.readouterr()
        assert shown.out == ""
        assert max(map(len, shown.err.splitlines())) <= 80
    assert "more (--json has all)" in shown.err
    assert app.run(["weights", "--classes", "dog", "--json", "-q"]) == 0
    (first, *_) = json.loads(capsys.readouterr().out)["found"]
    assert (first["weights"], len(first["classes"])) == ("imagenet", 118)


@pytest.mark.parametrize(("name", "near"), [("imagenett", "imagenet"), ("boundaries_tin", "boundaries_tiny")])
def test_unknown_weights_are_one_line(box: Path, name: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"{name}.*{near}.*there are voc, imagenet"):
        weights(WeightsConfig(name=name))


def test_a_folder_is_no_weights_file(box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """People keep data sets in folders of these names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "voc").mkdir()
    assert store.find_weights(Path("voc")) == box / store.BUNDLED
    assert weights(WeightsConfig(name="voc")).stored[0].path == box / store.BUNDLED
