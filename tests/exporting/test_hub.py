"""`export --format hub`: cards that Hugging Face's classes read, a file that mlcroissant accepts."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from made_masks import CLASSES, Call, Made
from PIL import Image


def report(path: Path, miou: float, ious: tuple[float | None, ...]) -> Path:
    """As `evaluate --json-file` writes it, in short."""
    rows = [{"name": name, "iou": iou} for name, iou in zip(("background", *CLASSES), ious, strict=True)]
    protocol = {"images": 5, "listed": "val.txt", "threshold": 0.3, "threshold_source": "from the masks"}
    protocol |= {"absent": ["square"], "without_truth": ["x"], "ignore": "255"}
    path.write_text(json.dumps({"schema": 1, "mean_iou": miou, "classes": rows, "protocol": protocol}))
    return path


@pytest.fixture
def published(made: Made) -> Path:
    one = report(made.place / "0.json", 0.5, (0.9, 0.4, 0.2, None))
    two = report(made.place / "1.json", 0.6, (0.9, 0.6, 0.3, None))
    weights = tiny.write_weights(made.place / "w.safetensors", thresholds={"product": 0.3})
    made.export("hub", license="CC-BY-4.0", measured=f"{one},{two}", publish_weights=weights, val_fraction=0.2)
    return made.dest


def test_masks_and_no_photos(made: Made, published: Path) -> None:
    masks = {path.relative_to(published / "masks").as_posix() for path in published.rglob("masks/**/*.png")}
    assert {name.partition("/")[2] for name in masks} == {f"{key}.png" for key in made.masks}
    assert not [path for path in published.rglob("*") if path.suffix in (".jpg", ".gif")]
    name = next(name for name in masks if name.endswith("full.png"))
    np.testing.assert_array_equal(np.asarray(Image.open(published / "masks" / name)), made.masks["full"])


def test_the_dataset_card(published: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra [cards]")
    card = hub.DatasetCard.load(published / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.task_categories == ["image-segmentation"]
    for words in ("- tags: ", "- threshold: 0.3", "not included", "| mean | 55.0 | 7.1 |", "| bar | 50.0 | 14.1 |"):
        assert words in card.text, words
    assert "- not compared: classes in no mask (1), photos without a true mask (1)" in card.text


def test_the_model_card(published: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="needs the extra [cards]")
    assert (published / "model/w.safetensors").is_file()
    card = hub.ModelCard.load(published / "model/README.md")
    results = {one.metric_name: one.metric_value for one in card.data.eval_results}
    assert results == {"mean IoU": 55.0, "IoU, background": 90.0, "IoU, bar": 50.0, "IoU, disc": 25.0}
    assert {one.dataset_name for one in card.data.eval_results} == {"5 images, val.txt"}
    assert card.data.license == "cc-by-4.0"


def test_croissant(published: Path) -> None:
    mlc = pytest.importorskip("mlcroissant", reason="needs the extra [cards]")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = mlc.Dataset(jsonld=published / "croissant.json")
        classes = [(row["classes/index"], row["classes/name"]) for row in data.records("classes")]
        masks = list(data.records("masks"))
    assert not data.metadata.ctx.issues.errors
    assert classes == [*enumerate(("background", *CLASSES))]
    assert len(masks) == 6


def test_without_measures_the_card_says_so(made: Made) -> None:
    made.export("hub")
    text = (made.dest / "README.md").read_text()
    assert "Not measured" in text
    assert 'license: "unknown"' in text
    assert not (made.dest / "model").exists()


def test_mistakes(made: Made, call: Call) -> None:
    wrong = made.place / "wrong.json"
    wrong.write_text("[]")
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("voc", {"license": "mit"}, "--license is for --format hub"),
        ("hub", {"measured": str(wrong)}, "no report of evaluate"),
        ("hub", {"measured": "nowhere.json"}, "No such file"),
        ("hub", {"publish-weights": "nowhere.safetensors"}, "no such weights file"),
    ]
    for format, settings, words in cases:
        code, _, errors = call(
            *(part for name, value in settings.items() for part in (f"--{name}", value)), format=format
        )
        assert code in (2, 3)
        assert words in errors[0]
        assert not made.dest.exists()
