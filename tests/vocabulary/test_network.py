"""A network whose classes are the photos' tags, made from one that knows ImageNet."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from pseudomask.config import ExtractConfig
from pseudomask.errors import LabelError, UsageError
from pseudomask.extracting import naming
from pseudomask.extraction import extract
from pseudomask.networks import store
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import save_network
from pseudomask.networks.network import CamNetwork
from pseudomask.vocabulary import GroupLogits, meaning, network_for
from pseudomask.vocabulary.sets import class_set

NAMES = tuple(f"class {i}" for i in range(1000))
CARD = Card(classes=NAMES, method="cam", backbone=tiny.NARROW, weight_rule="first", vocabulary="imagenet")


def network() -> CamNetwork:
    torch.manual_seed(0)
    return CamNetwork(1000, tiny.NARROW).eval()


def test_a_tags_weights_are_the_positive_part_of_its_classes_mean() -> None:
    whole = network()
    rows = whole.classifier.weight.detach().clone()
    made, card = network_for(whole, CARD, ["zebra", "cat"])
    assert card.classes == ("zebra", "cat")
    cats = meaning("cat")
    assert cats is not None
    assert torch.equal(made.classifier.weight[0], rows[340].clamp(min=0))
    assert torch.allclose(made.classifier.weight[1], rows[list(cats.classes)].mean(0).clamp(min=0))


def test_a_groups_probability_is_the_sum_of_its_classes() -> None:
    rows, pooled = torch.randn(5, 3, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    logits = GroupLogits(rows.float(), [(0, 2), (4,)])(pooled.float())
    wanted = torch.exp(pooled @ rows.T) / torch.exp(pooled @ rows.T).sum(1, keepdim=True)
    assert torch.allclose(logits.sigmoid()[:, 0].double(), wanted[:, 0] + wanted[:, 2], atol=1e-5)
    assert torch.allclose(logits.sigmoid()[:, 1].double(), wanted[:, 4], atol=1e-5)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/, tags.csv, and a box with random weights for `--weights imagenet`."""
    tiny.write_photos(tmp_path / "photos", 4)
    names = sorted(p.relative_to(tmp_path / "photos").as_posix() for p in (tmp_path / "photos").rglob("*.png"))
    rows = "".join(f"{name},{tags}\n" for name, tags in zip(names, ("dog", "zebra;dog", "violin", ""), strict=True))
    (tmp_path / "tags.csv").write_text("filename,labels\n" + rows)
    (tmp_path / "box").mkdir()
    save_network(tmp_path / "box" / store.NAMED["imagenet"], network(), CARD)
    monkeypatch.setattr(store, "bundled_folders", lambda: (tmp_path / "box",))
    return tmp_path


def settings(place: Path, **more: object) -> ExtractConfig:
    base = {"weights": Path("imagenet"), "labels": place / "tags.csv", "refine": ("none",), "device": "cpu"}
    return ExtractConfig(images=place / "photos", out=place / "out", workers=0, **{**base, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["cam", "cpmc"])
def test_extract_names_its_classes_after_the_tags(place: Path, method: str) -> None:
    result = extract(settings(place, method=method))
    assert result.exit_code == 0
    assert result.classes == ("dog", "violin", "zebra")
    lines = [json.loads(line) for line in (place / "out/manifest.jsonl").read_text().splitlines()]
    assert sorted(len(line["classes"]) for line in lines if "classes" in line) == [0, 1, 1, 2]
    assert json.loads((place / "out/run.json").read_text())["classes"] == ["dog", "violin", "zebra"]


@pytest.fixture
def sure(place: Path) -> Path:
    """Weights that see a zebra in every photo, and nothing else."""
    whole = network()
    names = class_set("imagenet")
    with torch.no_grad():
        whole.classifier.weight.zero_()
        whole.classifier.weight[340] = 40.0  # features are positive
    save_network(place / "box" / store.NAMED["imagenet"], whole, replace(CARD, classes=names))
    return place


def test_without_tags_the_classes_are_those_that_photos_show(sure: Path) -> None:
    result = extract(settings(sure, labels=None))
    assert result.classes == ("zebra",)
    lines = [json.loads(line) for line in (sure / "out/manifest.jsonl").read_text().splitlines()]
    assert [line["classes"] for line in lines if "classes" in line] == [["zebra"]] * 4


def test_a_resumed_run_keeps_its_classes_and_looks_no_more(sure: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extract(settings(sure, labels=None))
    monkeypatch.setattr(naming, "load", None)
    (sure / "out/deep").mkdir(exist_ok=True)
    again = extract(settings(sure, labels=None))
    assert (again.classes, again.exit_code) == (("zebra",), 0)
    with pytest.raises(TypeError):  # it would look
        extract(settings(sure, labels=None, overwrite=True))


def test_without_tags_and_without_a_sure_class_it_says_what_to_give(place: Path) -> None:
    whole = network()
    with torch.no_grad():
        whole.classifier.weight.zero_()
    save_network(
        place / "box" / store.NAMED["imagenet"], whole, replace(CARD, classes=class_set("imagenet")), torch.float32
    )
    with pytest.raises(UsageError, match=r"no photo shows.*--labels FILE, or --class-file"):
        extract(settings(place, labels=None))
    assert not (place / "out").exists()


def test_without_tags_a_class_file_says_what_to_look_for(place: Path) -> None:
    (place / "names.txt").write_text("background\ncat\nfurniture\n")
    result = extract(settings(place, labels=None, class_file=place / "names.txt"))
    assert result.classes == ("cat", "furniture")


def test_tags_that_it_does_not_know_are_refused_or_dropped(place: Path) -> None:
    text = (place / "tags.csv").read_text().replace("violin", "grzl")
    (place / "tags.csv").write_text(text)
    with pytest.raises(LabelError, match="grzl"):
        extract(settings(place))
    assert not (place / "out").exists()
    assert extract(settings(place, unknown_tags="drop")).classes == ("dog", "zebra")


def test_only_what_photos_show_is_explained(place: Path) -> None:
    (place / "classes.txt").write_text("dog\nviolin\nzebra\npizza\n")
    ear = tiny.Ear()
    made = extract(settings(place, class_file=place / "classes.txt", method="cam"), ear)
    assert made.classes == ("dog", "violin", "zebra", "pizza")
    assert [info.partition(":")[0] for info in ear.infos if "of ImageNet" in info] == ["dog", "violin", "zebra"]


def test_a_category_that_no_photo_shows_may_be_unknown(place: Path) -> None:
    images = sorted(path.relative_to(place / "photos").as_posix() for path in (place / "photos").rglob("*.png"))
    document = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(images)],
        "categories": [{"id": 1, "name": "zebra"}, {"id": 2, "name": "grzl"}, {"id": 3, "name": "dog"}],
        "annotations": [{"id": i, "image_id": i, "category_id": 1 + 2 * (i % 2)} for i in range(len(images))],
    }
    (place / "coco.json").write_text(json.dumps(document))
    assert extract(settings(place, labels=place / "coco.json")).classes == ("zebra", "dog")


@pytest.mark.parametrize(
    ("tags", "advice"),
    [
        (("dog", "zebra", "violin"), r"no class 'dog', 'violin', 'zebra'; add --weights imagenet, which knows all"),
        (("dog", "zebra", "person"), r"; add --weights imagenet, .*all.*\(but person only badly\)"),
        (("dog", "sky", "zebra"), r"; add --weights imagenet --unknown-tags drop, which knows 2 of 3 tags"),
        (("discs", "bars", "bar"), r"they have bar, .*add --map bars=bar,discs=disc"),
        (("grzl", "brzl", "bar"), r"they have bar.*--unknown-tags drop"),
    ],
)
def test_weights_of_other_classes_name_it_where_it_knows_more_tags(
    place: Path, tags: tuple[str, ...], advice: str
) -> None:
    tiny.write_weights(place / "own.safetensors")
    rows = (place / "tags.csv").read_text().splitlines()
    lines = [rows[0], *(f"{row.split(',')[0]},{tag}" for row, tag in zip(rows[1:], (*tags, ""), strict=True))]
    (place / "tags.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(LabelError, match=advice) as caught:
        extract(settings(place, weights=place / "own.safetensors"))
    assert ("imagenet" in str(caught.value)) == ("imagenet" in advice)


def test_a_file_of_that_name_comes_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert store.find_weights(Path("imagenet")) == place / "box" / store.NAMED["imagenet"]
    (place / "imagenet").write_bytes(np.zeros(1).tobytes())
    assert store.find_weights(Path("imagenet")) == Path("imagenet")
