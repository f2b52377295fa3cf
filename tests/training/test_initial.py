"""What train-cls starts from: named files, the ImageNet weights of pseudomask, torchvision's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from pseudomask.config import TrainClsConfig
from pseudomask.errors import UsageError, WeightsError
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.store import find_weights
from pseudomask.training.initial import choose_start

Settings = Callable[..., TrainClsConfig]


@pytest.fixture
def config(tmp_path: Path) -> TrainClsConfig:
    return TrainClsConfig(images=tmp_path, run=tmp_path / "run")


def test_a_resnet50_starts_from_the_bundled_imagenet_weights(config: TrainClsConfig) -> None:
    start = choose_start(config)
    assert (start.file, start.sketch.style) == (find_weights(Path("imagenet")), "caffe")
    same = choose_start(replace(config, backbone_weights=Path("imagenet"), backbone_style="caffe"))
    assert (same.file, same.shape) == (start.file, start.shape)
    assert start.facts()["file"] == "imagenet_resnet50.safetensors"
    built, known = start.build().state_dict(), load_network(find_weights(Path("imagenet")))[0].backbone.state_dict()
    assert built.keys() == known.keys()
    assert all(torch.equal(built[name], known[name]) for name in known)


@pytest.mark.parametrize(
    ("more", "style"),
    [
        ({"backbone": "resnet18"}, "pytorch"),
        ({"backbone_weights": Path("torchvision")}, "pytorch"),
        ({"backbone_weights": Path("torchvision"), "backbone_style": "caffe"}, "caffe"),
        ({"backbone_style": "pytorch"}, "pytorch"),
    ],
)
def test_others_start_from_torchvision(config: TrainClsConfig, more: dict[str, Any], style: str) -> None:
    start = choose_start(replace(config, **more))
    assert (start.file, start.sketch.style) == (None, style)
    assert start.facts()["file"].startswith("torchvision ")


def test_a_run_begun_with_torchvision_goes_on_with_it(config: TrainClsConfig) -> None:
    config.run.mkdir()
    before = {"backbone": "resnet50", "backbone_weights": None, "backbone_style": "pytorch"}
    record = {"schema": 1, "version": "0.1.0", "command": "train-cls", "config": before}
    (config.run / "run.json").write_text(json.dumps(record))
    assert choose_start(config).file is None
    assert choose_start(replace(config, overwrite=True)).file is not None


def test_weights_of_pseudomask_bring_their_style(config: TrainClsConfig, tmp_path: Path) -> None:
    weights = tiny.write_weights(tmp_path / "own.safetensors")
    start = choose_start(replace(config, backbone=tiny.NARROW, backbone_weights=weights))
    built, known = start.build().state_dict(), load_network(weights)[0].backbone.state_dict()
    assert all(torch.equal(built[name], known[name]) for name in known)
    with pytest.raises(UsageError, match="has the style pytorch"):
        choose_start(replace(config, backbone=tiny.NARROW, backbone_weights=weights, backbone_style="caffe"))
    with pytest.raises(WeightsError, match=f"its backbone is a {tiny.NARROW}; give --backbone {tiny.NARROW}"):
        choose_start(replace(config, backbone="resnet18", backbone_weights=weights))


def test_a_file_that_is_not_there(config: TrainClsConfig, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weights file"):
        choose_start(replace(config, backbone_weights=tmp_path / "imagenet.safetensors"))
