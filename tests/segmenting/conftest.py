"""Photos of coloured shapes with their exact masks, a narrow random ResNet, and networks on it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from pseudomask.config import TrainSegConfig
from pseudomask.masks import save_mask
from pseudomask.networks.card import SEGMENTER, Card
from pseudomask.networks.checkpoint import save_network
from pseudomask.networks.segmenter import make_segmenter

Settings = Callable[..., TrainSegConfig]


def true_mask(photo: Path) -> np.ndarray:
    """Which shape each pixel shows, by its colour."""
    pixels = np.asarray(Image.open(photo).convert("RGB"))
    mask = np.zeros(pixels.shape[:2], np.uint8)
    for i, name in enumerate(tiny.CLASSES, start=1):
        mask[(pixels == tiny.COLOURS[name]).all(-1)] = i
    return mask


@pytest.fixture(scope="session")
def place() -> Iterator[Path]:
    """photos/ and photos.csv, truth/ with classes.txt, backbone.safetensors; removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="pseudomask-tests-") as folder:
        room = Path(folder)
        tiny.write_photos(room / "photos", 16, seed=4)
        for photo in (room / "photos").rglob("*.png"):
            save_mask(room / "truth" / photo.relative_to(room / "photos"), true_mask(photo))
        (room / "classes.txt").write_text("\n".join(["background", *tiny.CLASSES]))
        tiny.write_backbone(room / "backbone.safetensors")
        write_segmenter(room / "segmenter.safetensors")
        yield room


@pytest.fixture(scope="session")
def settings(place: Path) -> Settings:
    """A training of eight steps on the CPU; `run` is still to be said."""

    def make(run: Path, **changes: Any) -> TrainSegConfig:
        usual: dict[str, Any] = {
            "masks": place / "truth",
            "images": place / "photos",
            "class_file": place / "classes.txt",
            "network": f"deeplabv3_{tiny.NARROW}",
            "backbone_weights": place / "backbone.safetensors",
            "crop": 48,
            "batch_size": 6,
            "epochs": 4,
            "lr": 0.01,
            "val_fraction": 0.2,
            "amp": "off",
            "device": "cpu",
            "workers": 0,
            "weights_dtype": "fp32",
        }
        return TrainSegConfig(run=run, **usual | changes)

    return make


def write_segmenter(path: Path, head: str = "lraspp", seed: int = 0) -> Path:
    """A segmentation network for `tiny.CLASSES` with random weights."""
    torch.manual_seed(seed)
    network = make_segmenter(f"{head}_{tiny.NARROW}", len(tiny.CLASSES), backbone=tiny.NARROW).eval()
    with torch.no_grad():
        for name, tensor in network.named_buffers():
            if name.endswith("running_var"):
                tensor.uniform_(1.0, 3.0)
    facts = {"network": f"{head}_{tiny.NARROW}", "side": 84, "palette": [[0, 0, 0]] * 4}
    card = Card(classes=tiny.CLASSES, method=SEGMENTER, backbone=tiny.NARROW, segmenter=facts)
    save_network(path, network, card, torch.float32)
    return path
