"""predict: a made folder like extract's, resumed and read like one."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from conftest import write_segmenter

import pseudomask
from pseudomask.api import predict, refine
from pseudomask.config import EvaluateConfig, ExportConfig, PredictConfig, RefineConfig, ReportConfig, RunConfig
from pseudomask.data.decoding import decode
from pseudomask.errors import RecordMismatch, UsageError, WeightsError
from pseudomask.evaluation import evaluate
from pseudomask.exporting.export import export
from pseudomask.extracting.photos import Photo
from pseudomask.masks import load_mask
from pseudomask.networks.segmenter import likeliest, load_segmenter
from pseudomask.reporting.report import report
from pseudomask.scores import load_scores
from pseudomask.segmenting.engine import SegmentEngine

Settings = Callable[..., PredictConfig]


@pytest.fixture(scope="module")
def run(place: Path) -> Settings:
    base = PredictConfig(
        images=place / "photos", out=place / "unset", weights=place / "segmenter.safetensors", device="cpu", amp="off",
        workers=0, score_stride=1, scores=True, score_bits="16",
    )  # fmt: skip
    return lambda out, **changes: replace(base, out=out, **changes)


@pytest.fixture(scope="module")
def made(place: Path, run: Settings) -> Path:
    assert predict(run(place / "predicted", overlay=True)).exit_code == 0
    return place / "predicted"


def files(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.suffix in (".png", ".npz")}


def test_masks_are_the_networks_choice(place: Path, made: Path) -> None:
    """Up to the bilinear steps between a photo's size and the network's, at which it is seen."""
    network = load_segmenter(place / "segmenter.safetensors")[0]
    photos = sorted((place / "photos").rglob("*.png"))
    same = []
    for photo in photos:
        pixels = torch.from_numpy(decode(photo))[None]
        size = pixels.shape[1:3]
        large = torch.nn.functional.interpolate(
            pixels.permute(0, 3, 1, 2), [round(84 * side / max(size)) for side in size], mode="bicubic", antialias=True
        ).permute(0, 2, 3, 1)
        expected = torch.nn.functional.interpolate(likeliest(network, large, None), size, mode="bilinear").argmax(1)
        mask = load_mask(made / photo.relative_to(place / "photos"))
        assert mask.shape == size
        same.append(float((mask == expected[0].numpy()).mean()))
    assert min(same) > 0.9
    assert len({int(v) for p in photos for v in np.unique(load_mask(made / p.relative_to(place / "photos")))}) > 1


def test_scores_cut_at_the_threshold_are_the_masks(made: Path) -> None:
    lines = [json.loads(line) for line in (made / "manifest.jsonl").read_text().splitlines()]
    assert len(lines) == 16
    for line in lines:
        mask = load_mask(made / line["mask"])
        assert (load_scores(made / "scores" / f"{line['key']}.npz").mask(0.5) == mask).all()
        assert line["tags"] == "network"
        assert not line["empty"], "only classes that the mask has"
        assert set(line["classes"]) == {tiny.CLASSES[v - 1] for v in np.unique(mask) if v}


def test_a_class_that_no_pixel_shows_is_not_named(place: Path) -> None:
    """It wins at one cell by so little that it loses every pixel around."""
    cells = torch.zeros(1, 4, 4, 4)
    cells[:, 0] = 1.0
    cells[0, :2, 1, 1] = torch.tensor([0.495, 0.505])
    engine = SegmentEngine(
        network=load_segmenter(place / "segmenter.safetensors")[0], device=torch.device("cpu"), amp=None, side=16,
        tile=64, overlap=0, max_side=16, stride=4, bits=8, largest=1, reporter=tiny.Ear(),
    )  # fmt: skip
    found = engine._scores(cells, (16, 16), Photo(0, (16, 16), ()), None).scores
    assert found.classes == ()
    assert engine._scores(cells, (16, 16), Photo(0, (16, 16), ()), (0, 2)).scores.classes == (1, 3), "tags stay"


def test_a_stopped_run_resumes_to_the_same_files(made: Path, run: Settings, tmp_path: Path) -> None:
    config = run(tmp_path / "out", batch_size=1)
    assert predict(config, tiny.StopsAt(5)).exit_code == 128 + signal.SIGTERM
    result = predict(config)
    assert result.exit_code == 0
    assert 0 < result.skipped < 16
    assert files(tmp_path / "out") == files(made)


def test_other_weights_cannot_resume(run: Settings, made: Path, tmp_path: Path) -> None:
    other = write_segmenter(tmp_path / "other.safetensors", seed=1)
    with pytest.raises(RecordMismatch, match="weights"):
        predict(run(made, weights=other))
    with pytest.raises(RecordMismatch, match="side"):
        predict(run(made, side=64))


def test_tags_restrict_the_classes(place: Path, made: Path, run: Settings, tmp_path: Path) -> None:
    only = tmp_path / "only.csv"
    names = [p.relative_to(place / "photos").as_posix() for p in sorted((place / "photos").rglob("*.png"))]
    only.write_text("filename,labels\n" + "".join(f"{name},disc\n" for name in names[1:]))
    class_file = place / "classes.txt"
    predict(run(tmp_path / "out", labels=only, class_file=class_file))
    for name in names[1:]:
        assert set(np.unique(load_mask(tmp_path / "out" / name))) <= {0, 2}
    assert (load_mask(tmp_path / "out" / names[0]) == load_mask(made / names[0])).all(), "a photo without a row"


def test_large_photos_are_seen_in_tiles(place: Path, run: Settings, tmp_path: Path) -> None:
    """At a side of their own choice; the masks are nearly those of the whole."""
    small = {"side": 256, "list": None, "limit": 2}
    predict(run(tmp_path / "whole", **small))
    predict(run(tmp_path / "tiles", tile=160, overlap=80, **small))
    whole, tiles = files(tmp_path / "whole"), files(tmp_path / "tiles")
    masks = [name for name in whole if name.endswith(".png")]
    shares = [
        float((load_mask(tmp_path / "whole" / name) == load_mask(tmp_path / "tiles" / name)).mean()) for name in masks
    ]
    assert min(shares) > 0.9
    assert any(whole[name] != tiles[name] for name in whole), "tiles were not used"


def test_the_other_verbs_read_it(place: Path, made: Path, tmp_path: Path) -> None:
    found = evaluate(EvaluateConfig(pred=made, gt=place / "truth", class_file=place / "classes.txt"))
    assert found.report.mean_iou is not None
    refined = refine(
        RefineConfig(
            images=place / "photos", seeds=made, out=tmp_path / "refined", method=("pamr",), device="cpu", workers=0
        )
    )
    assert refined.done == 16
    assert refined.threshold == 0.5
    report(ReportConfig(out=made, html=tmp_path / "page.html"))
    assert (tmp_path / "page.html").is_file()
    export(ExportConfig(out=made, dest=tmp_path / "data", format="voc"))
    assert (tmp_path / "data/classes.txt").read_text().splitlines()[1:] == list(tiny.CLASSES)


def test_what_is_no_segmenter_names_the_right_verb(place: Path, run: Settings, tmp_path: Path) -> None:
    classifier = tiny.write_weights(tmp_path / "cam.safetensors")
    for weights, words in (
        (classifier, "extract"),
        (tiny.write_affinity(tmp_path), "refine --affinity"),
        (place / "backbone.safetensors", "not pseudomask weights"),
        (tmp_path / "none.safetensors", "no such weights"),
    ):
        with pytest.raises(WeightsError, match=words):
            predict(run(tmp_path / "out", weights=weights))
    with pytest.raises(UsageError, match="train-seg"):
        predict(run(tmp_path / "out", weights=None))
    assert not (tmp_path / "out").exists()


def test_overlap_is_at_most_half_a_tile(run: Settings, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--overlap"):
        run(tmp_path / "out", tile=128, overlap=100)


def test_a_chain_trains_and_predicts(place: Path, tmp_path: Path) -> None:
    """The network of [train-seg] from the masks before it; photos and tags at the top are not predict's."""
    tiny.write_weights(tmp_path / "cam.safetensors")
    (tmp_path / "chain.toml").write_text(
        f"""
out = "{tmp_path}/out"
images = "{place}/photos"
labels = "{place}/photos.csv"
weights = "{tmp_path}/cam.safetensors"
device = "cpu"
amp = "off"
workers = 0
[extract]
refine = ["none"]
method = "cam"
tta = "fast"
[train-seg]
network = "lraspp_narrow"
backbone-weights = "{place}/backbone.safetensors"
epochs = 1
crop = 48
[predict]
images = "{place}/photos"
limit = 3
[[report]]
"""
    )
    first = pseudomask.run(RunConfig(config=tmp_path / "chain.toml"))
    assert [(step["step"], step["status"]) for step in first.steps] == [
        (name, "done") for name in ("extract", "train-seg", "predict", "report")
    ]
    lines = (tmp_path / "out/predicted/manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["tags"] for line in lines] == ["network"] * 3
    again = pseudomask.run(RunConfig(config=tmp_path / "chain.toml"))
    assert {step["status"] for step in again.steps} <= {"done", "skipped"}
