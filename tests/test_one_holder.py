"""Every verb that fills a folder: refused, and told who, while another process fills it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from pseudomask.api import train_affinity, train_cls
from pseudomask.config import EvaluateConfig, ExportConfig, ExtractConfig, RefineConfig, RunConfig
from pseudomask.errors import FolderInUse, PseudomaskError
from pseudomask.evaluation import evaluate
from pseudomask.exporting.export import _dest_locked, export
from pseudomask.extracting.extract import extract
from pseudomask.pipeline import run
from pseudomask.refining.refine import refine
from pseudomask.running.holder import LOCK

HOLDS = """
import sys
from pathlib import Path
from pseudomask.running.holder import hold
holder = hold(Path(sys.argv[1]), name=sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
holder.release()
"""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no flock")


@contextmanager
def held(folder: Path, name: str = LOCK) -> Iterator[int]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(folder), name],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child.pid
        child.communicate("\n")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("holder")
    tiny.write_photos(folder / "photos", 3, seed=3)
    tiny.write_weights(folder / "weights.safetensors", thresholds={"product": 0.3})
    tiny.write_backbone(folder / "backbone.safetensors")
    extract(extraction(folder, folder / "masks"))
    return folder


def extraction(place: Path, out: Path) -> ExtractConfig:
    return ExtractConfig(
        images=place / "photos",
        out=out,
        labels=place / "photos.csv",
        weights=place / "weights.safetensors",
        device="cpu",
        amp="off",
        workers=0,
        scales="1.0",
        method="recam",
        refine=("none",),
    )


def _extract(place: Path, out: Path) -> object:
    return extract(replace(extraction(place, out), overwrite=True))


def _refine(place: Path, out: Path) -> object:
    return refine(
        RefineConfig(
            images=place / "photos", seeds=place / "masks", out=out, method=("pamr",), workers=0, overwrite=True
        )
    )


def _train_cls(place: Path, out: Path) -> object:
    return train_cls(tiny.training(place, out, crop=48, batch_size=2, epochs=1))


def _train_affinity(place: Path, out: Path) -> object:
    weights = place / "weights.safetensors"
    seeds = place / "masks"
    return train_affinity(tiny.affinity_training(place, out, seeds=seeds, weights=weights, batch_size=2, epochs=1))


def _run(place: Path, out: Path) -> object:
    file = place / "chain.toml"
    file.write_text(
        f'images = "{place}/photos"\nlabels = "{place}/photos.csv"\nout = "{out}"\nworkers = 0\ndevice = "cpu"\n'
        f'[extract]\nweights = "{place}/weights.safetensors"\nscales = "1.0"\n'
    )
    return run(RunConfig(config=file))


@pytest.mark.parametrize("verb", [_extract, _refine, _train_cls, _train_affinity, _run])
def test_a_folder_that_another_process_fills(place: Path, tmp_path: Path, verb: Callable[..., object]) -> None:
    with held(tmp_path / "out") as pid:
        with pytest.raises(FolderInUse, match=f"process {pid}"):
            verb(place, tmp_path / "out")
        assert [path.name for path in (tmp_path / "out").iterdir()] == [LOCK]
    verb(place, tmp_path / "out")
    assert not list((tmp_path / "out").rglob(LOCK))


def test_an_export_that_another_process_makes(place: Path, tmp_path: Path) -> None:
    config = ExportConfig(out=place / "masks", dest=tmp_path / "set", format="voc")
    with _dest_locked(config.dest):
        name = next(path.name for path in tmp_path.iterdir())
    with held(tmp_path, name) as pid, pytest.raises(FolderInUse, match=f"process {pid}"):
        export(config)
    export(config)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_a_dry_run_takes_no_lock(place: Path, tmp_path: Path) -> None:
    with held(tmp_path / "out"):
        assert extract(replace(extraction(place, tmp_path / "out"), dry_run=True)).pending == 3
    extract(replace(extraction(place, tmp_path / "new"), dry_run=True))
    assert not (tmp_path / "new").exists()


def test_what_goes_on_from_a_folder_that_is_still_filled_says_so(place: Path, tmp_path: Path) -> None:
    ear = tiny.Ear()
    with held(place / "masks") as pid:
        refine(
            RefineConfig(
                images=place / "photos", seeds=place / "masks", out=tmp_path / "out", method=("pamr",), workers=0
            ),
            ear,
        )
    assert any(f"process {pid}" in line for line in ear.warnings)


def test_a_number_of_masks_that_are_still_being_made_says_so(place: Path, tmp_path: Path) -> None:
    ear = tiny.Ear()
    shutil.copytree(place / "masks", tmp_path / "truth")
    with held(place / "masks") as pid:
        evaluate(EvaluateConfig(pred=place / "masks", gt=tmp_path / "truth", workers=0), ear)
    assert any(f"process {pid}" in line for line in ear.warnings)


@pytest.mark.parametrize("verb", ["extract", "refine"])
def test_a_run_whose_folder_was_taken_stops(
    place: Path, tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of another run stands there before the first photo is written: no mask follows it."""
    out = tmp_path / "out"

    class Taken(tiny.Ear):
        def progress(self, total: int | None, label: str, unit: str = "images") -> object:
            if (out / "run.json").exists():
                text = (out / "run.json").read_text()
                (out / "run.json").write_text(text.replace('"mask_mode": "palette"', '"mask_mode": "index"'))
            return super().progress(total, label, unit)

    config = RefineConfig(images=place / "photos", seeds=place / "masks", out=out, method=("pamr",), workers=0)
    with pytest.raises(PseudomaskError, match="another run") as caught:
        extract(extraction(place, out), Taken()) if verb == "extract" else refine(config, Taken())
    assert caught.value.exit_code == 1
    assert not list(out.rglob("*.png"))
    assert not (out / LOCK).exists()
