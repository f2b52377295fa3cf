"""Every verb that processes share, on tiny photos: the same calls alone and in each process of a torchrun.

As a program, `verbs.py PLACE OUT` is one of those processes. Where DIES names its rank, it is killed at its third
photo or step, unless torchrun has started the job anew; NOTED names a file that tells who noted which photo.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import tiny
import torch

from pseudomask import api
from pseudomask.config import (
    CalibrateConfig,
    ExtractConfig,
    ReactivateConfig,
    RefineConfig,
    TrainClsConfig,
    TrainingOptions,
    TrainSegConfig,
)
from pseudomask.networks.segmenter import Segmenter
from pseudomask.running.manifest import Manifest
from pseudomask.training.trainer import Trainer

COUNT = 11


def write_source(place: Path) -> None:
    """COUNT photos of three shapes, of which one is cut off; their tags; a backbone, and weights."""
    tiny.write_photos(place / "photos", COUNT, seed=2, sizes=((48, 64), (64, 48), (40, 40)))
    cut = place / "photos/p05.png"
    cut.write_bytes(cut.read_bytes()[:2000])
    tiny.write_backbone(place / "backbone.safetensors")
    tiny.write_weights(place / "weights.safetensors", thresholds={"product": 0.3, "first": 0.4})


def extraction(place: Path, out: Path) -> ExtractConfig:
    return ExtractConfig(
        images=place / "photos",
        out=out,
        labels=place / "photos.csv",
        weights=place / "weights.safetensors",
        batch_size=2,
        scales="1.0,0.5",
        method="recam",
        refine=("none",),
        max_failures=1,
        device="cpu",
        amp="off",
        workers=0,
    )


def training(place: Path, run: Path) -> TrainClsConfig:
    """Steps of 5 photos, which two processes cannot halve; one photo cannot be read."""
    return tiny.training(place, run, crop=48, batch_size=5, epochs=2, lr=0.005, val_fraction=0.1, start="lda")


def of(config: type[Any], base: TrainingOptions, **changes: Any) -> Any:
    """Settings of another training verb, as `base` has them."""
    names = {field.name for field in fields(TrainingOptions)} & {field.name for field in fields(config)}
    return config(**{name: getattr(base, name) for name in names} | changes)


def segmenter(place: Path, run: Path, seeds: Path) -> TrainSegConfig:
    """Ignored pixels, so that the processes' photos have different numbers of them in the common mean."""
    return TrainSegConfig(
        masks=seeds,
        run=run,
        network=f"lraspp_{tiny.NARROW}",
        backbone_weights=place / "backbone.safetensors",
        crop=48,
        batch_size=5,
        epochs=2,
        val_fraction=0.0,
        ignore_margin=0.1,
        **tiny.EXACT,
    )


@contextmanager
def fixed_norms() -> Iterator[None]:
    """Batch norm of the segmentation head with its stored statistics: those of a step differ between processes."""
    train = Segmenter.train

    def training(network: Segmenter, mode: bool = True) -> Segmenter:
        train(network, mode)
        for module in network.head.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        return network

    Segmenter.train = training  # type: ignore[method-assign]
    yield
    Segmenter.train = train  # type: ignore[method-assign]


def calls(place: Path, out: Path) -> Mapping[str, Callable[[], Any]]:
    base = training(place, out / "cls")
    seeds, weights = out / "masks", place / "weights.safetensors"
    return {
        "masks": lambda: api.extract(extraction(place, seeds)),
        "int8": lambda: api.extract(replace(extraction(place, out / "int8"), amp="int8")),
        "refined": lambda: api.refine(
            RefineConfig(
                images=base.images, seeds=seeds, out=out / "refined", method=("pamr",), device="cpu", workers=0
            )
        ),
        "cls": lambda: api.train_cls(base),
        "recam": lambda: api.reactivate(of(ReactivateConfig, base, run=out / "recam", weights=weights)),
        "cpmc": lambda: api.calibrate(
            of(CalibrateConfig, base, run=out / "cpmc", seeds=seeds, weights=weights, batch_size=4)
        ),
        "affinity": lambda: api.train_affinity(
            tiny.affinity_training(place, out / "affinity", seeds=seeds, weights=weights, batch_size=5, radius=4)
        ),
        "seg": lambda: api.train_seg(segmenter(place, out / "seg", seeds)),
    }


def run(place: Path, out: Path, *names: str) -> None:
    with fixed_norms():
        for name, call in calls(place, out).items():
            if not names or name in names:
                result = call()
                assert result.exit_code == 0, (name, result)


def mortal() -> None:
    """Count photos and steps; see above."""
    append, step, count = Manifest.append, Trainer._step, [0]

    def die() -> None:
        count[0] += 1
        again = os.environ["TORCHELASTIC_RESTART_COUNT"] != "0"
        if os.environ.get("DIES") == os.environ["RANK"] and not again and count[0] == 3:
            print("dies", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def noting(manifest: Manifest, entry: Mapping[str, Any]) -> None:
        die()
        append(manifest, entry)
        if "NOTED" in os.environ:
            with Path(os.environ["NOTED"]).open("a") as file:
                file.write(f"{os.environ['RANK']} {entry['key']}\n")

    def stepping(trainer: Trainer, *args: Any) -> Any:
        die()
        return step(trainer, *args)

    Manifest.append, Trainer._step = noting, stepping  # type: ignore[method-assign]


if __name__ == "__main__":
    mortal()
    run(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
