"""Two processes of a real torchrun make what one makes; one of them may be killed."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import tiny
import torch
import verbs
from torchrun import torchrun

from pseudomask.api import extract
from pseudomask.networks.checkpoint import read_tensors
from pseudomask.running.layout import MANIFEST, RECORD
from pseudomask.running.manifest import DONE, Manifest


def tree(out: Path) -> dict[str, bytes]:
    """All files but the record, which holds times."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name != RECORD]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    verbs.write_source(folder)
    return folder


@pytest.fixture(scope="module")
def alone(place: Path) -> Path:
    """What one process makes."""
    verbs.run(place, place / "alone")
    return place / "alone"


def same_weights(run: Path, other: Path) -> None:
    """Up to the order of sums."""
    mine, theirs = (read_tensors(folder / "weights.safetensors")[0] for folder in (run, other))
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{run} {n}: {m}")


def test_r13_two_processes_do_what_one_does(place: Path, alone: Path, tmp_path: Path) -> None:
    """Masks, scores and manifests to the byte; weights and what was measured on them up to the order of sums."""
    done = torchrun(place, tmp_path / "out", module="verbs", NOTED=str(tmp_path / "noted"))
    assert done.returncode == 0, done.stderr
    for name in ("masks", "int8", "refined"):
        assert tree(tmp_path / "out" / name) == tree(alone / name), name
    noted = Counter(line.split()[1] for line in (tmp_path / "noted").read_text().splitlines())
    masks, int8, refined = (
        [json.loads(line) for line in (alone / name / MANIFEST).read_text().splitlines()]
        for name in ("masks", "int8", "refined")
    )
    once = Counter(entry["key"] for entry in (*masks, *int8, *refined))
    again = Counter(entry["key"] for entry in masks if entry["status"] == "failed")  # by calibrate, for its seeds
    assert noted == once + again, "each photo once by extract, once by refine"
    for name in ("cls", "recam", "cpmc", "affinity", "seg"):
        assert tree(tmp_path / "out" / name).keys() == tree(alone / name).keys(), name
        same_weights(tmp_path / "out" / name, alone / name)


def test_r13_a_killed_process_and_the_restart(place: Path, alone: Path, tmp_path: Path) -> None:
    """torchrun starts both anew: the training goes on from its checkpoint, the masks from their manifest."""
    done = torchrun(place, tmp_path / "out", "cls", module="verbs", restarts=1, DIES="1")
    assert done.returncode == 0, done.stderr
    same_weights(tmp_path / "out/cls", alone / "cls")
    shutil.copytree(alone / "masks", tmp_path / "seg" / "masks")
    done = torchrun(place, tmp_path / "seg", "seg", module="verbs", restarts=1, DIES="1")
    assert done.returncode == 0, done.stderr
    assert "dies" in done.stderr
    same_weights(tmp_path / "seg/seg", alone / "seg")
    done = torchrun(place, tmp_path / "out", "masks", module="verbs", DIES="1")
    assert done.returncode != 0
    config = verbs.extraction(place, tmp_path / "out/masks")
    entries = Manifest(config.out / MANIFEST).load().values()
    made = sum(entry["status"] == DONE for entry in entries)
    assert 0 < made < verbs.COUNT - 1
    assert extract(config).skipped == made
    assert tree(config.out) == tree(alone / "masks"), "taken up by one process"


def test_the_command_line_tells_once(tmp_path: Path) -> None:
    """`-m pseudomask` itself, so with a network that it knows; one document, one summary."""
    tiny.write_photos(tmp_path / "photos", 5)
    tiny.write_weights(tmp_path / "w.safetensors", "resnet18", thresholds={"product": 0.3})
    quick = ["--scales", "1.0", "--batch-size", "1", "--device", "cpu", "--amp", "off", "--workers", "0"]
    inputs = ["--weights", tmp_path / "w.safetensors", "--labels", tmp_path / "photos.csv"]
    done = torchrun("extract", tmp_path / "photos", tmp_path / "out", *inputs, *quick, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["done"] == 5
    assert done.stderr.count("5 photos, cpmc with w.safetensors on cpu") == 1
    assert re.findall(r"extracting, 2 processes: 5/5 images", done.stderr), "what all have done"
    assert "process 1" not in done.stderr
    assert len((tmp_path / "out" / MANIFEST).read_text().splitlines()) == 5
