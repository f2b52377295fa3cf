"""A room with tiny photos, their true masks and a backbone, and chains over them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from pseudomask.masks import save_mask

TOP = """
images = "photos"
labels = "photos.csv"
out = "OUT"
device = "cpu"
amp = "off"
workers = 0
"""
TRAINING = """
crop = 48
batch-size = 6
epochs = 1
lr = 0.01
val-fraction = 0.25
checkpoint-every = 1
"""
TABLES = {
    "train-cls": f'[train-cls]\nbackbone = "{tiny.NARROW}"\nbackbone-weights = "backbone.safetensors"{TRAINING}',
    "reactivate": f"[reactivate]{TRAINING}",
    "calibrate": f"[calibrate]{TRAINING}",
    "prototypes": "[prototypes]\nclusters = 3\n",
    "extract": '[extract]\nscales = "1.0"\nflip = false\n',
    "train-affinity": (
        "[train-affinity]\nconfident-crf = false\ncrop = 48\nmin-side = 40\nmax-side = 80\nbatch-size = 6\n"
        "radius = 5\nepochs = 1\n"
    ),
    "refine": '[refine]\nmethod = "pamr"\npamr-iterations = 2\n',
    "evaluate": "[evaluate]\n",
    "report": "[report]\n",
    "export": '[export]\nformat = "voc"\n',
}
"""Every step, made small."""

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def room() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pseudomask-tests-") as folder:
        path = Path(folder)
        tiny.write_photos(path / "photos", 12)
        tiny.write_backbone(path / "backbone.safetensors")
        tiny.write_weights(path / "weights.safetensors", thresholds={"product": 0.3})
        for photo in (path / "photos").rglob("*.png"):
            pixels = np.asarray(Image.open(photo))
            truth = np.zeros(pixels.shape[:2], np.uint8)
            for i, name in enumerate(tiny.CLASSES, 1):
                truth[(pixels == tiny.COLOURS[name]).all(2)] = i
            target = path / "truth" / photo.relative_to(path / "photos")
            target.parent.mkdir(parents=True, exist_ok=True)
            save_mask(target, truth)
        yield path


@pytest.fixture
def chain(room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a chain's file: the shared top with `top`, and the tables as they are given; its paths are the room's."""
    monkeypatch.chdir(room)
    for name in ("PSEUDOMASK_WEIGHTS", "PSEUDOMASK_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    def write(*tables: str, top: str = TOP, more: str = "") -> Path:
        file = tmp_path / "chain.toml"
        body = "\n".join(TABLES.get(table, table) for table in tables)
        if top is TOP and "[evaluate]" in body:
            more += '\ntruth = "truth"\n'
        file.write_text(top.replace("OUT", str(tmp_path / "out")) + "\n" + more + "\n" + body)
        return file

    return write
