"""Whole verbs on a simulated GPU, and mistakes planted in pseudomask; each case prints one line of JSON."""

from __future__ import annotations

import inspect
import json
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import simulated  # before pseudomask

# isort: split
import numpy as np
import tiny
from safetensors.torch import load_file

from pseudomask import api, config
from pseudomask.extracting import engine, transfers
from pseudomask.maps.cpmc import prototypes as class_prototypes
from pseudomask.masks import load_mask
from pseudomask.networks.card import SEGMENTER, Card
from pseudomask.networks.checkpoint import save_network
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.segmenter import make_segmenter
from pseudomask.scores import load_scores
from pseudomask.training import calibrate as calibrating
from pseudomask.training import losses, team
from pseudomask.training.teaching import SEEDS
from pseudomask.training.train_affinity import LABELS

PHOTOS = 4
METHODS = ("cam", "recam", "cpmc")
Told = dict[str, Any]


def counted(log: simulated.Log) -> Told:
    return {
        "launches": log.launches,
        "syncs": dict(log.syncs),
        "waits": dict(log.waits),
        "copies": dict(log.copies),
        "pageable": dict(log.pageable),
        "overflows": dict(log.overflows),
        "fused": sum(log.fused.values()),
        "no_kernel": sorted(log.no_kernel),
    }


def compared(here: Path, there: Path) -> Told:
    """Share of equal pixels, and the largest difference of the scores."""
    masks = [one.relative_to(here) for one in sorted(here.rglob("*.png"))]
    assert masks
    agree = [float(np.mean(load_mask(here / one) == load_mask(there / one))) for one in masks]
    pairs = [(load_scores(one), load_scores(there / one.relative_to(here))) for one in sorted(here.rglob("*.npz"))]
    apart = [float(abs(a.values - b.values).max(initial=0)) for a, b in pairs]
    lines = [json.loads(line) for line in (there / "manifest.jsonl").read_text().splitlines()]
    return {
        "agree": min(agree),
        "apart": max(apart),
        "classes": all(a.classes == b.classes for a, b in pairs),
        "unrefined": [one["unrefined"] for one in lines if "unrefined" in one],
    }


class Place:
    """Photos, weights and boundary head that all cases share; outputs of each case below its own folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tiny.write_photos(folder / "photos", PHOTOS)
        self.affinity = tiny.write_affinity(folder / "net")
        self.weights = folder / "net/cam.safetensors"
        self.backbone = tiny.write_backbone(folder / "backbone.safetensors")

    def extract(self, out: str, device: str, amp: str, **more: Any) -> Path:
        settings: dict[str, Any] = {
            "images": self.folder / "photos",
            "labels": self.folder / "photos.csv",
            "weights": self.weights,
            "workers": 0,
            "batch_size": 2,
            "refine": ("none",),
        }
        run = self.folder / out
        api.extract(config.ExtractConfig(out=run, device=device, amp=amp, **settings | more))  # type: ignore[arg-type]
        return run

    def segmenter(self) -> Path:
        file = self.folder / "segmenter.safetensors"
        if not file.exists():
            network = make_segmenter(f"lraspp_{tiny.NARROW}", len(tiny.CLASSES), backbone=tiny.NARROW).eval()
            facts = {"network": f"lraspp_{tiny.NARROW}", "side": 84, "palette": [[0, 0, 0]] * 4}
            card = Card(classes=tiny.CLASSES, method=SEGMENTER, backbone=tiny.NARROW, segmenter=facts)
            save_network(file, network, card, simulated.torch.float32)
        return file

    def seeds(self) -> Path:
        run = self.folder / "seeds"
        return run if run.exists() else self.extract("seeds", "cpu", "off", method="cam")


def extract(place: Place, name: str, amp: str = "off", **more: Any) -> Told:
    if "walk" in more.get("refine", ()):
        more["affinity"] = place.affinity
    here = place.extract(f"{name}/cpu", "cpu", "off" if amp == "fp16" else amp, **more)
    with simulated.simulated_gpu(bf16=amp != "fp16") as log:
        there = place.extract(f"{name}/gpu", "cuda", amp, **more)
        told = counted(log)
    return told | compared(here, there)


def per_photo(place: Place, name: str, method: str) -> Told:
    """Synchronisations and copies of one more batch, of `PHOTOS` / 2 photos, each."""
    logs = []
    for photos in (PHOTOS // 2, PHOTOS):
        with simulated.simulated_gpu() as log:
            place.extract(f"{name}/{photos}", "cuda", "bf16", method=method, limit=photos)
            logs.append(counted(log))
    return each(logs)


def mixed(place: Place, name: str) -> Told:
    """Photos that the device resizes and larger ones that come resized, in one batch."""
    folder = place.folder / "mixed"
    labels = tiny.write_photos(folder, 8, sizes=((48, 64), (300, 200), (20, 130), (90, 100)))
    return extract(place, name, method="recam", images=folder, labels=labels, max_side=100, batch_size=8)


def segment(place: Place, name: str, tags: bool = False) -> Told:
    """As `per_photo`, of predict."""
    labels = {"labels": place.folder / "photos.csv"} if tags else {}
    settings: Told = {"images": place.folder / "photos", "weights": place.segmenter(), "workers": 0, "batch_size": 2}

    def run(photos: int, device: str = "cuda") -> Path:
        out = place.folder / name / f"{photos}-{device}"
        more = settings | labels | {"limit": photos, "scores": True}
        api.predict(config.PredictConfig(out=out, device=device, amp="off", **more))
        return out

    here, logs = run(PHOTOS, "cpu"), []
    for photos in (PHOTOS // 2, PHOTOS):
        with simulated.simulated_gpu() as log:
            there = run(photos)
            logs.append(counted(log))
    return logs[1] | {"each": each(logs)} | compared(here, there)


def each(logs: list[Told]) -> Told:
    """What one more photo cost, of `PHOTOS` / 2 more."""
    sums = [{kind: sum(log[kind].values()) for kind in ("syncs", "waits", "copies", "pageable")} for log in logs]
    return {kind: (sums[1][kind] - sums[0][kind]) / (PHOTOS // 2) for kind in sums[0]}


def refine_more(place: Place, name: str, method: str) -> Told:
    """As `per_photo`, of refine with a batch of two more."""
    logs = [refine(place, f"{name}/{photos}", method, limit=photos, batch_size=2) for photos in (PHOTOS // 2, PHOTOS)]
    return logs[1] | {"each": each(logs)}


def refine(place: Place, name: str, method: str, float64: bool = True, around: int = 0, **more: Any) -> Told:
    """`around`: so many threads read and write beside the GPU."""
    settings: Told = {"images": place.folder / "photos", "seeds": place.seeds(), "scores": True, "workers": 0}
    if "walk" in method:
        more |= {"affinity": place.affinity, "walk_weights": place.weights}

    def run(device: str) -> Path:
        out = place.folder / name / device
        names, settings["workers"] = tuple(method.split(",")), around if device == "cuda" else 0
        api.refine(config.RefineConfig(out=out, device=device, method=names, **settings | more))  # type: ignore[arg-type]
        return out

    here = run("cpu")
    with simulated.simulated_gpu(float64=float64) as log:
        there = run("cuda")
        told = counted(log)
    return told | compared(here, there)


def train(place: Place, name: str, amp: str = "off", float64: bool = True) -> Told:
    """train-cls, reactivate and calibrate; the last once more, taken up again from its checkpoint.

    `heads`: how far calibrate's heads end from where those of a training on the CPU do, as a share of their way.
    """
    # float16 leaves out steps until it has found its scale
    common: dict[str, Any] = {
        "epochs": 4 if amp == "fp16" else 1,
        "batch_size": 2,
        "crop": 48,
        "device": "cuda",
        "amp": amp,
        "lr": 1e-3,
    }
    following = {"images": place.folder / "photos", "labels": place.folder / "photos.csv", "workers": 0}
    following |= {key: value for key, value in common.items() if key != "lr"} | {"weights_dtype": "fp32"}
    runs = [place.folder / name / step for step in ("cls", "re", "cal")]
    files = [run / "weights.safetensors" for run in runs]
    with same_heads(), as_on_mps(float64), simulated.simulated_gpu(bf16=amp != "fp16", float64=float64) as log:
        api.train_cls(tiny.training(place.folder, runs[0], **common))
        api.reactivate(config.ReactivateConfig(run=runs[1], weights=files[0], lr_head=1e-2, **following))
        last = config.CalibrateConfig(run=runs[2], weights=files[1], lr_head=1e-2, **following)
        api.calibrate(last)
        files[2].unlink()
        api.calibrate(last)
        told = counted(log)
    start, *made = [load_file(file) for file in (place.backbone, *files)]
    moved = [
        max(float((a[key].float() - b[key].float()).abs().max()) for key in a.keys() & b.keys())
        for a, b in ((made[0], made[1]),)
    ]
    finite = all(bool(one.isfinite().all()) for state in made for one in state.values())
    told["heads"] = strayed(last, place.folder / name)
    return told | {"moved": moved, "finite": finite, "tensors": [len(start), *map(len, made)]}


def strayed(there: config.CalibrateConfig, folder: Path) -> float:
    """How far apart calibrate's heads end on the device (`there`) and on the CPU, as a share of their way.

    Both learn from the device's labels: seeds that differ by rounding may have other ones.
    """
    here = replace(there, run=folder / "cpu", device="cpu", amp="off", seeds=there.run / SEEDS)
    shutil.copytree(there.run / LABELS, here.run / LABELS)
    with same_heads() as begun:
        api.calibrate(here)
    on_device, on_cpu = (heads(load_file(one.run / "weights.safetensors")) for one in (there, here))
    return float((on_device - on_cpu).norm() / (on_cpu - begun[0]).norm())


@contextmanager
def same_heads() -> Iterator[list[simulated.torch.Tensor]]:
    """Within the block all heads begin alike; the simulation draws other random numbers before them."""
    add, begun = CamNetwork.add_side_heads, list[Any]()

    def adding(network: CamNetwork) -> None:
        simulated.torch.manual_seed(0)
        add(network)
        begun.append(heads(dict(network.named_parameters())))

    with patch.object(CamNetwork, "add_side_heads", adding):
        yield begun


def heads(state: dict[str, simulated.torch.Tensor]) -> simulated.torch.Tensor:
    """All numbers of calibrate's heads, in one row."""
    names = sorted(name for name in state if name.startswith("side_heads"))
    return simulated.torch.cat([state[name].detach().float().flatten() for name in names])


@contextmanager
def as_on_mps(float64: bool) -> Iterator[None]:
    """Without float64 the losses take the way of an Apple GPU, which this one is not by its name."""
    with ExitStack() as stack:
        for module in () if float64 else (team, losses):
            stack.enter_context(patch.object(module, "precise", lambda values: values.float()))
        yield


def train_affinity(place: Place, name: str, amp: str = "off", float64: bool = True) -> Told:
    run = place.folder / name
    settings = {"epochs": 1, "batch_size": 2, "device": "cuda", "amp": amp, "weights": place.weights}
    with as_on_mps(float64), simulated.simulated_gpu(bf16=amp != "fp16", float64=float64) as log:
        api.train_affinity(tiny.affinity_training(place.folder, run, seeds=place.seeds(), **settings))
        told = counted(log)
    made = load_file(run / "weights.safetensors")
    return told | {"finite": all(bool(one.isfinite().all()) for one in made.values())}


def train_seg(place: Place, name: str, amp: str = "off") -> Told:
    run, masks = place.folder / name, place.seeds()
    settings: Told = {
        "network": f"lraspp_{tiny.NARROW}",
        "crop": 48,
        "epochs": 4 if amp == "fp16" else 1,
        "batch_size": 2,
    }
    settings |= {
        "backbone_weights": place.backbone,
        "device": "cuda",
        "amp": amp,
        "workers": 0,
        "val_fraction": 0.5,
    }
    with simulated.simulated_gpu(bf16=amp != "fp16") as log:
        api.train_seg(config.TrainSegConfig(masks=masks, run=run, **settings))
        told = counted(log)
    made = load_file(run / "weights.safetensors")
    return told | {"finite": all(bool(one.isfinite().all()) for one in made.values())}


def prototypes(place: Place, name: str) -> Told:
    made = {}
    for device in ("cpu", "cuda"):
        file = place.folder / name / device / "prototypes.safetensors"
        file.parent.mkdir(parents=True)
        settings = config.PrototypesConfig(
            images=place.folder / "photos", file=file, labels=place.folder / "photos.csv", weights=place.weights,
            device=device, amp="off",
        )  # fmt: skip
        if device == "cpu":
            api.prototypes(settings)
        else:
            with simulated.simulated_gpu() as log:
                api.prototypes(settings)
                told = counted(log)
        made[device] = load_file(file)
    a, b = made["cpu"], made["cuda"]
    apart = max(float((a[key].float() - b[key].float()).abs().max()) for key in a if a[key].numel())
    maps = extract(place, f"{name}/maps", method="recam", cam="lpcam", lpcam_prototypes=file)
    return maps | told | {"apart": apart}


CASES: dict[str, Callable[[Place, str], Told]] = {
    **{
        f"extract {method} {amp}": lambda p, n, m=method, a=amp: extract(p, n, a, method=m)  # type: ignore[misc]
        for method in METHODS
        for amp in ("off", "bf16", "fp16")
    },
    "extract recam, no tags": lambda p, n: extract(p, n, "bf16", method="recam", labels=None, tta="full"),
    "extract recam, mixed sizes": mixed,
    "extract cpmc, calibrated": lambda p, n: extract(
        p, n, method="cpmc", cpmc_output="calibrated", cpmc_kappa=1.0, cpmc_lambda=1.0
    ),
    "extract cam and walk,crf": lambda p, n: extract(p, n, method="cam", refine=("walk", "crf")),
    "extract recam and pamr fp16": lambda p, n: extract(p, n, "fp16", method="recam", refine=("pamr",)),
    "extract cpmc and walk,crf bf16": lambda p, n: extract(p, n, "bf16", method="cpmc", refine=("walk", "crf")),
    **{f"a photo more, {method}": lambda p, n, m=method: per_photo(p, n, m) for method in METHODS},  # type: ignore[misc]
    "refine crf": lambda p, n: refine(p, n, "crf"),
    "refine pamr": lambda p, n: refine(p, n, "pamr"),
    "refine walk,crf": lambda p, n: refine(p, n, "walk,crf", amp="off"),
    **{f"refine {m}, a photo more": lambda p, n, m=m: refine_more(p, n, m) for m in ("crf", "pamr", "walk")},  # type: ignore[misc]
    "refine walk,crf, threads": lambda p, n: refine(p, n, "walk,crf", around=2, batch_size=2, amp="off"),
    "predict": segment,
    "predict, tags": lambda p, n: segment(p, n, tags=True),
    "refine walk bf16": lambda p, n: refine(p, n, "walk", amp="bf16"),
    **{f"train {amp}": lambda p, n, a=amp: train(p, n, a) for amp in ("off", "bf16", "fp16")},  # type: ignore[misc]
    "train-affinity": train_affinity,
    "refine crf without float64": lambda p, n: refine(p, n, "crf", float64=False),
    "refine pamr without float64": lambda p, n: refine(p, n, "pamr", float64=False),
    "train-affinity without float64": lambda p, n: train_affinity(p, n, float64=False),
    "train without float64": lambda p, n: train(p, n, float64=False),
    "train-affinity fp16": lambda p, n: train_affinity(p, n, "fp16"),
    **{f"train-seg {amp}": lambda p, n, a=amp: train_seg(p, n, a) for amp in ("off", "bf16", "fp16")},  # type: ignore[misc]
    "prototypes and lpcam": prototypes,
}


def waiting(place: Place, name: str) -> Told:
    """A wait that somebody added to each batch."""
    with instead(engine.Engine._make_alike, "fetched = Fetched(maps)", "fetched = Fetched(maps); maps.sum().item()"):
        return per_photo(place, name, "cam")


@contextmanager
def instead(function: Any, old: str, new: str) -> Iterator[None]:
    """Within the block `function` is as if `new` stood in its source in the place of `old`."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, (function, old)
    made: dict[str, Any] = {}
    exec(compile(source.replace(old, new), inspect.getfile(function), "exec"), function.__globals__, made)
    before = function.__code__
    function.__code__ = made[function.__name__].__code__
    try:
        yield
    finally:
        function.__code__ = before


def mirrored_labels(place: Place, name: str) -> Told:
    """Heads that learn, on the device alone, from labels that lie the wrong way round."""
    old = "wanted = to_places(labels,"
    new = "wanted = to_places(labels if labels.device.type == 'cpu' else labels.flip(2),"
    with instead(calibrating.calibration_step, old, new):
        return train(place, name)


def unpinned(place: Place, name: str) -> Told:
    with instead(transfers.send, "tensor.pin_memory()", "tensor"):
        return per_photo(place, name, "cam")


def overflowing(place: Place, name: str) -> Told:
    """float16 sums of squares, as a length without its float32."""
    old = "fetched = Fetched(maps)"
    with instead(engine.Engine._make_alike, old, old + "; (maps.half() * 1e4).square()"):
        return extract(place, name, "fp16", method="cam")


def planted(function: Any, old: str, new: str, **how: Any) -> Callable[[Place, str], Told]:
    def case(place: Place, name: str) -> Told:
        amp = how.get("amp", "off")
        with instead(function, old, new), simulated.simulated_gpu():
            try:
                place.extract(name, "cuda", amp, method=how.get("method", "cam"))
            except Exception as error:
                return {"caught": f"{type(error).__name__}: {error}"}
        return {"caught": ""}

    return case


def unfused(name_of_operator: str, made: Callable[..., Any]) -> Callable[[Place, str], Told]:
    """Extraction where cuDNN's fused operator does something else."""

    def case(place: Place, name: str) -> Told:
        with patch.dict(simulated._CUDNN, {f"aten::{name_of_operator}": made}):
            return extract(place, name, method="cam")

    return case


def _no_kernel(*_: Any) -> Any:
    raise RuntimeError("GET was unable to find an engine to execute this computation")


def _not_where_it_is_large(x: Any, *more: Any) -> Any:
    return _no_kernel() if x.shape[-1] > 16 else simulated._conv_relu(x, *more)


UNFUSED: dict[str, Callable[[Place, str], Told]] = {
    "cuDNN forgets the ReLU": unfused(
        "cudnn_convolution_relu", lambda x, w, b, *how: simulated.torch.conv2d(x, w, b, *how)
    ),
    "cuDNN forgets the shortcut": unfused(
        "cudnn_convolution_add_relu", lambda x, w, z, alpha, b, *how: simulated.torch.conv2d(x, w, b, *how).relu_()
    ),
    "cuDNN has no fused kernel": unfused("cudnn_convolution_add_relu", _no_kernel),
    "cuDNN has no fused kernel for large inputs": unfused("cudnn_convolution_relu", _not_where_it_is_large),
}

PLANTED: dict[str, Callable[[Place, str], Told]] = {
    "a wait for each batch": waiting,
    "memory that is not pinned": unpinned,
    "heads that learn from mirrored labels": mirrored_labels,
    "float16 that overflows": overflowing,
    "a tensor stays on the CPU": planted(engine.pack, "send(index, device)", "index"),
    "NumPy of a tensor on the device": planted(
        transfers.Fetched.get, "return self._tensor", "return self._tensor.cuda()"
    ),
    "two precisions in one product": planted(
        class_prototypes.cosine,
        "F.normalize(vectors, dim=2).to(features.dtype)",
        "F.normalize(vectors, dim=2)",
        method="cpmc",
        amp="bf16",
    ),
    "a device that is not there": planted(engine.pack, "send(index, device)", "index.cuda(1)"),
    "maps read before they have arrived": planted(transfers.Fetched.get, "self._arrival.synchronize()", "pass"),
    "pinned memory used again too early": planted(
        transfers.send_together,
        "return batch.to(device, non_blocking=True)",
        "sent = batch.to(device, non_blocking=True); batch.zero_(); return sent",
    ),
    "a tensor on the device is pinned": planted(
        transfers.send, "tensor.pin_memory().to(device, non_blocking=True)", "tensor.to(device).pin_memory()"
    ),
}


def main(cases: dict[str, Callable[[Place, str], Told]], folder: Path, wanted: list[str]) -> None:
    place = Place(folder)
    for name, case in cases.items():
        if wanted and name not in wanted:
            continue
        try:
            told = case(place, name.replace(" ", "-"))
        except Exception:
            told = {"error": traceback.format_exc()[-3000:]}
        print(json.dumps({"case": name} | told), flush=True)


if __name__ == "__main__":
    main(CASES | UNFUSED | PLANTED, Path(sys.argv[1]), sys.argv[2:])
