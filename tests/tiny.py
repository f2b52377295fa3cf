"""Tiny photos of coloured shapes, their tags, and small networks: what several tests share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.models import get_model
from torchvision.models.resnet import BasicBlock, ResNet

from pseudomask.config import Style, TrainAffinityConfig, TrainClsConfig
from pseudomask.networks.backbones import BACKBONES, BackboneSpec
from pseudomask.networks.backbones.resnet import ResNetBackbone
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network, save_network
from pseudomask.networks.edge_weights import backbone_hash
from pseudomask.networks.edges import EdgeNetwork
from pseudomask.networks.network import CamNetwork
from pseudomask.running.layout import RECORD
from pseudomask.running.record import RunRecord
from pseudomask.running.reporter import SilentReporter

torch.set_num_threads(1)

CLASSES = ("bar", "disc", "square")
COLOURS = {"bar": (40, 60, 230), "disc": (230, 40, 40), "square": (40, 220, 60)}


class NarrowResNet(ResNet):
    """A torchvision ResNet of one block a stage and an eighth of the channels: 64 features."""

    def __init__(self) -> None:
        super().__init__(BasicBlock, [1, 1, 1, 1])
        self.fc = nn.Linear(64, 1)

    def _make_layer(self, block: Any, planes: int, *args: Any, **more: Any) -> nn.Sequential:
        return super()._make_layer(block, planes // 8, *args, **more)


def narrow(name: str, *, style: Style, output_stride: int) -> ResNetBackbone:
    return ResNetBackbone(name, NarrowResNet(), style=style, output_stride=output_stride)


NARROW = "narrow"
"""A backbone that trains in seconds; a registry line is all it takes."""
BACKBONES[NARROW] = BackboneSpec(narrow, "none")


def draw(names: Sequence[str], size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """uint8 (H, W, 3): each named shape in its colour on dim noise."""
    h, w = size
    image = rng.integers(90, 140, (h, w, 3), dtype=np.uint8)
    y, x = np.mgrid[:h, :w]
    for name in names:
        cy, cx = rng.integers(h // 4, 3 * h // 4), rng.integers(w // 4, 3 * w // 4)
        r = min(size) // 5
        where = {
            "bar": (abs(y - cy) < r // 2) & (abs(x - cx) < 2 * r),
            "disc": (y - cy) ** 2 + (x - cx) ** 2 < r * r,
            "square": (abs(y - cy) < r) & (abs(x - cx) < r),
        }[name]
        image[where] = COLOURS[name]
    return image


def write_photos(
    folder: Path, count: int, *, seed: int = 0, sizes: Sequence[tuple[int, int]] = ((48, 64), (64, 48))
) -> Path:
    """Write `count` PNGs below `folder`, and folder.csv beside it with their tags; returns the CSV."""
    rng = np.random.default_rng(seed)
    lines = ["filename,labels"]
    for i in range(count):
        names = [name for name in CLASSES if rng.random() < 0.4] or [CLASSES[i % 3]]
        path = folder / ("" if i % 2 else "deep") / f"p{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw(names, sizes[i % len(sizes)], rng)).save(path, compress_level=1)
        lines.append(f"{path.relative_to(folder).as_posix()},{';'.join(names)}")
    labels = folder.with_suffix(".csv")
    labels.write_text("\n".join(lines) + "\n")
    return labels


def write_backbone(path: Path, name: str = NARROW, seed: int = 0) -> Path:
    """A backbone's random weights in torchvision's naming."""
    torch.manual_seed(seed)
    state = (NarrowResNet() if name == NARROW else get_model(name, weights=None)).state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    return path


def make_network(backbone: str = NARROW, *, reactivated: bool = True, seed: int = 0) -> CamNetwork:
    """A network for CLASSES with random weights; its classifiers lean positive, so that maps are alive."""
    torch.manual_seed(seed)
    network = CamNetwork(len(CLASSES), backbone, reactivated=reactivated).eval()
    with torch.no_grad():
        for name, tensor in network.named_buffers():
            if name.endswith("running_var"):
                tensor.uniform_(1.0, 3.0)
            elif name.endswith("running_mean"):
                tensor.normal_(0, 0.1)
        for parameter in (network.classifier.weight, *(network.reclassifier.parameters() if reactivated else ())):
            parameter.normal_(0.01, 0.05)
    return network


def write_weights(path: Path, backbone: str = NARROW, *, reactivated: bool = True, seed: int = 0, **card: Any) -> Path:
    """`make_network`, saved in float32 with a card."""
    settings: dict[str, Any] = {
        "classes": CLASSES,
        "method": "recam" if reactivated else "cam",
        "backbone": backbone,
        "license": "CC0-1.0",
    }
    network = make_network(backbone, reactivated=reactivated, seed=seed)
    save_network(path, network, Card(**settings | card), torch.float32)
    return path


def write_affinity(place: Path, seed: int = 0, *, knows: bool = False) -> Path:
    """An untrained boundary head, beside the weights whose backbone it stands on and a record that names them.

    `knows`: it tells the classes apart too.
    """
    weights = write_weights(place / "cam.safetensors")
    backbone = load_network(weights)[0].backbone
    torch.manual_seed(seed)
    card = Card(classes=CLASSES, method="affinity", backbone=NARROW, backbone_sha256=backbone_hash(backbone))
    save_network(place / "edges.safetensors", EdgeNetwork(backbone, len(CLASSES) if knows else 0), card, torch.float32)
    RunRecord(command="train-affinity", config={"weights": str(weights)}, classes=CLASSES).write(place / RECORD)
    return place / "edges.safetensors"


def write_sam(folder: Path, seed: int = 0) -> str:
    """A Segment Anything model of 13,000 random weights; the test is skipped without the extra [foundation]."""
    pytest.importorskip("transformers", reason="needs the extra [foundation]")
    from transformers import SamConfig, SamImageProcessor, SamModel

    torch.manual_seed(seed)
    small = {"hidden_size": 8, "mlp_dim": 8, "num_attention_heads": 2}
    photo = {"image_size": 64, "patch_size": 16}
    network = SamConfig(
        vision_config=small | photo | {
            "output_channels": 8, "num_hidden_layers": 1, "window_size": 2, "global_attn_indexes": [0],
            "num_pos_feats": 4,
        },
        prompt_encoder_config=photo | {"hidden_size": 8, "mask_input_channels": 4},
        mask_decoder_config=small | {"num_hidden_layers": 1, "iou_head_hidden_dim": 8, "iou_head_depth": 2},
    )  # fmt: skip
    SamModel(network).save_pretrained(folder)
    side, mask = 64, 16
    SamImageProcessor(
        size={"longest_edge": side},
        pad_size={"height": side, "width": side},
        mask_size={"longest_edge": mask},
        mask_pad_size={"height": mask, "width": mask},
    ).save_pretrained(folder)
    return str(folder)


def training(place: Path, run: Path, **more: Any) -> TrainClsConfig:
    """A training of the photos, tags and backbone at `place`: on the CPU, exact, with a checkpoint each step, and
    without a look at the photos before the first one."""
    return TrainClsConfig(
        images=place / "photos",
        run=run,
        labels=place / "photos.csv",
        backbone=NARROW,
        backbone_weights=place / "backbone.safetensors",
        momentum=0.9,
        **EXACT | {"start": "random"} | more,
    )


def affinity_training(place: Path, run: Path, **more: Any) -> TrainAffinityConfig:
    """The same of a boundary network; `seeds` and `weights` are still to be said."""
    sizes = {"crop": 48, "min_side": 40, "max_side": 80}
    return TrainAffinityConfig(images=place / "photos", run=run, confident_crf=False, **sizes | EXACT | more)


EXACT: dict[str, Any] = {
    "amp": "off",
    "device": "cpu",
    "workers": 0,
    "checkpoint_every": 1,
    "weights_dtype": "fp32",
}


def program(*words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """`pseudomask WORDS` as a process in the folder `cwd`, with these environment variables."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), **variables}
    command = [sys.executable, "-m", "pseudomask", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False)


@dataclass
class Ear(SilentReporter):
    """A reporter that remembers what it was told."""

    infos: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def info(self, text: str) -> None:
        self.infos.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class StopsAt(Ear):
    """Sends this process a signal when so many steps are done, or photos went through."""

    def __init__(self, step: int, number: int = signal.SIGTERM, unit: str | None = None) -> None:
        """`unit`: count only what is counted in these, such as steps."""
        super().__init__()
        self.left, self.number, self.unit, self.now = step, number, unit, "images"

    @contextmanager
    def progress(self, total: int | None, label: str, unit: str = "images") -> Iterator[Any]:
        self.now = unit
        yield self

    def advance(self, n: int = 1, **shown: object) -> None:
        if self.unit not in (None, self.now):
            return
        if 0 < self.left <= n:
            os.kill(os.getpid(), self.number)
        self.left -= n
