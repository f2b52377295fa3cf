"""Processes are forked while this one has a single thread, so that they inherit no lock and nobody waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")

# A reporter whose display has a thread, as Rich's has, and a list of the threads alive at each fork.
_HEAD = """
import multiprocessing, sys, threading, time
from contextlib import contextmanager
from pathlib import Path
import torch, tiny
from pseudomask.running.reporter import SilentReporter
multiprocessing.set_start_method("fork")
at_forks = []

def hook(event, _):
    if event == "os.fork":
        at_forks.append(sorted(one.name for one in threading.enumerate()))

class Display(SilentReporter):
    @contextmanager
    def progress(self, total, label, unit="images"):
        ended = threading.Event()
        thread = threading.Thread(target=ended.wait, name="display")
        thread.start()
        with super().progress(total, label, unit) as bars:
            yield bars
        ended.set()
        thread.join()

sys.addaudithook(hook)
place = Path(sys.argv[1])
"""
_EXTRACT = """
from pseudomask.config import ExtractConfig
from pseudomask.extracting import ordering
from pseudomask.extracting.extract import extract
from pseudomask.running import manifest
ordering.WINDOW = 8
real = manifest._append

def slowly(*given):
    time.sleep(0.005)
    return real(*given)

manifest._append = slowly
config = ExtractConfig(
    images=place / "photos", out=place / "out", labels=place / "photos.csv", weights=place / "weights.safetensors",
    device="cpu", amp="off", workers=2, scales="1", flip=False, batch_size=2, method="recam", refine=("none",),
)
extract(config, Display())
print(len(list((place / "out").rglob("*.png"))), at_forks)
"""
_TRAIN = """
from pseudomask.training import trainer
from pseudomask.training.train_cls import train_cls
real = trainer.load_batches

def as_for_a_gpu(*given, device, **more):
    return real(*given, device=torch.device("mps"), **more)

trainer.load_batches = as_for_a_gpu
config = tiny.training(place, place / "run", crop=64, batch_size=8, epochs=2, lr=0.002, val_fraction=0.25, workers=2)
train_cls(config, Display())
print((place / "run/weights.safetensors").is_file(), at_forks)
"""


def run(code: str, place: Path) -> str:
    """What a process prints that has a minute."""
    script = place / "script.py"
    script.write_text(_HEAD + code)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))}
    done = subprocess.run(
        [sys.executable, str(script), str(place)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """40 photos with tags, weights and a backbone."""
    tiny.write_photos(tmp_path / "photos", 40)
    tiny.write_weights(tmp_path / "weights.safetensors")
    tiny.write_backbone(tmp_path / "backbone.safetensors")
    return tmp_path


def test_extract_passes_its_windows_borders_with_a_slow_manifest(place: Path) -> None:
    """Once it waited there for ever: decoders forked while a writer held the manifest's lock kept that lock."""
    assert run(_EXTRACT, place) == "40 [['MainThread'], ['MainThread']]"


def test_a_training_forks_its_loaders_alone_and_none_to_validate(place: Path) -> None:
    assert run(_TRAIN, place) == "True [['MainThread'], ['MainThread']]"
