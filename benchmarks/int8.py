"""Float32 against 8 bits on CPUs without bf16: time of the backbone by engine, and the masks that `extract` makes.

    python -m benchmarks.int8 time IMAGES [--engines torch onnxruntime openvino] [--isa AVX2] [--json FILE]
    python -m benchmarks.int8 masks DATA [--every 24] [--methods cam default] [--json FILE]

`time`: the bundled ResNet-50 sees the two views that `extract` makes by default (sizes 1 and 1.5) of a photo. A process
for each instruction set limits torch and its oneDNN to it (ATEN_CPU_CAPABILITY, ONEDNN_MAX_CPU_ISA); in it, the engines
take turns. onnxruntime has no such limit and OpenVINO need not obey it: compare their rows with their own float32 row;
they tell what the processor at hand has. Ratios are of the least seconds over the repeats: of processor
time, which other users of the machine change little, and of the clock. `error` is the distance of the last stage's
features from float32's, relative to their norm.

`masks`: `extract --amp off` and `extract --amp int8`, tags given: pixels that agree, mIoU, and processor time of the
whole command, that of a photo and of the start apart. DATA is laid out like PASCAL VOC (see `benchmarks.seeds`). Limit
the instructions by the variables above: without VNNI, sums of 16 bits may overflow.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.quality import measured, photos
from benchmarks.recam_step import publish
from pseudomask.data.pixels import IMAGENET, resize
from pseudomask.masks import load_mask
from pseudomask.networks.backbones.resnet import STAGES, ResNetBackbone
from pseudomask.networks.checkpoint import load_network, read_card
from pseudomask.networks.int8 import observing, quantise_resnet, settled
from pseudomask.networks.store import find_weights

ENGINES = ("torch", "onnxruntime", "openvino")
Run = Callable[[Tensor], Tensor]


def views(files: Sequence[Path]) -> list[Tensor]:
    """Both views of each photo: (1, 3, h, w)."""
    found = []
    for path in files:
        photo = np.array(Image.open(path).convert("RGB"))
        for scale in (1.0, 1.5):
            view = resize(photo, (round(photo.shape[0] * scale), round(photo.shape[1] * scale)))
            found.append(IMAGENET.to_input(torch.from_numpy(view)[None]))
    return found


def spread(files: Sequence[Path], count: int) -> Sequence[Path]:
    return files[:: max(1, len(files) // count)][:count]


def in_int8(network: nn.Module, inputs: Sequence[Tensor], kept: Sequence[str]) -> None:
    """Calibrate a folded network on these views, and let its stages but those `kept` compute in 8 bits."""
    stages = [name for name in STAGES if name not in kept]
    with torch.inference_mode(), observing(network, stages) as found:
        for x in inputs:
            network(x)
    quantise_resnet(network, stages, settled(found))


def backbone(*, folded: bool = True) -> ResNetBackbone:
    network, _ = load_network(find_weights(None))
    network = network.for_maps(torch.device("cpu")) if folded else network.eval()
    assert isinstance(network.backbone, ResNetBackbone)
    return network.backbone


def of_torch(inputs: Sequence[Tensor]) -> dict[str, Run]:
    networks = {"torch float32": backbone(), "torch int8": backbone(), "torch int8, layer1 in float32": backbone()}
    _, small, mixed = networks.values()
    in_int8(small, inputs, ())
    in_int8(mixed, inputs, ("layer1",))
    return {name: partial(_last, network) for name, network in networks.items()}


def _last(network: ResNetBackbone, x: Tensor) -> Tensor:
    return network(x).last


class _Stages(nn.Module):
    """All outputs as a tuple, which exporters want."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = backbone(folded=False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.backbone(x).outputs


def exported(file: Path) -> Path:
    axes = {0: "n", 2: "h", 3: "w"}
    torch.onnx.export(
        _Stages().eval(), (torch.zeros(1, 3, 192, 256),), file, input_names=["x"], dynamo=False, opset_version=17,
        output_names=[f"stage{i}" for i in range(5)], dynamic_axes={"x": axes},
    )  # fmt: skip
    return file


def of_onnxruntime(inputs: Sequence[Tensor]) -> dict[str, Run]:
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(inputs)

        def get_next(self) -> dict[str, np.ndarray] | None:
            x = next(self.rest, None)
            return None if x is None else {"x": np.ascontiguousarray(x.numpy())}

    def session(file: Path) -> Run:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
        opened = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        return lambda x: torch.from_numpy(opened.run(None, {"x": np.ascontiguousarray(x.numpy())})[-1])

    with tempfile.TemporaryDirectory() as room:
        plain, ready, small = (Path(room) / f"{name}.onnx" for name in ("plain", "ready", "small"))
        exported(plain)
        quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
        quantize_static(str(ready), str(small), Reader(), quant_format=QuantFormat.QDQ, per_channel=True)
        return {"onnxruntime float32": session(plain), "onnxruntime int8": session(small)}


def of_openvino(inputs: Sequence[Tensor]) -> dict[str, Run]:
    import nncf
    import openvino

    core = openvino.Core()
    hints = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1}

    def compiled(model: Any) -> Run:
        ready = core.compile_model(model, "CPU", hints)
        last = ready.outputs[-1]
        return lambda x: torch.from_numpy(ready([np.ascontiguousarray(x.numpy())])[last])

    with tempfile.TemporaryDirectory() as room:
        model = core.read_model(exported(Path(room) / "plain.onnx"))
        seen = nncf.Dataset([np.ascontiguousarray(x.numpy()) for x in inputs])
        small = nncf.quantize(model, seen, subset_size=len(inputs))
        return {"openvino float32": compiled(model), "openvino int8": compiled(small)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds a photo (both views) of each engine, in this process."""
    files = sorted(path for path in options.images.iterdir() if path.suffix.lower() in (".jpg", ".png"))
    inputs = views(spread(files, options.photos))
    shown = inputs[:2]
    makers = {"torch": of_torch, "onnxruntime": of_onnxruntime, "openvino": of_openvino}
    runs: dict[str, Run] = {}
    for engine in options.engines:
        runs |= makers[engine](inputs)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    last = {}
    with torch.inference_mode():
        for _ in range(options.repeats + 1):  # in the first, libraries choose their algorithms
            for name, run in runs.items():
                started = _processor(), time.perf_counter()
                found = [run(x) for x in shown]
                seconds[name].append((_processor() - started[0], time.perf_counter() - started[1]))
                last[name] = found[-1]
    true = last["torch float32"].float()
    return {
        name: {
            "processor": min(one[0] for one in seconds[name][1:]),
            "clock": min(one[1] for one in seconds[name][1:]),
            "error": float((last[name].float() - true).norm() / true.norm()),
        }
        for name in runs
    }


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def apart(isa: str, threads: int) -> dict[str, Any]:
    """The same command in a process that has only these instructions."""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": isa, "OMP_NUM_THREADS": str(threads)}
    environment["ATEN_CPU_CAPABILITY"] = "avx2" if isa == "AVX2" else "avx512"
    command = [sys.executable, "-m", "benchmarks.int8", *sys.argv[1:], "--here"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = ["| instructions | threads | engine | processor | clock | error |", "|---|---:|---|---:|---:|---:|"]
    for row in rows:
        base = row["engines"]["torch float32"]
        for name, one in row["engines"].items():
            gain = " | ".join(f"{base[what] / one[what]:.2f}" for what in ("processor", "clock"))
            lines.append(f"| {row['isa']} | {row['threads']} | {name} | {gain} | {100 * one['error']:.1f}% |")
    return lines


def extracted(options: argparse.Namespace, listed: Path, out: Path, *more: str) -> float:
    """Processor seconds of the command and its workers."""
    data = options.images
    words = ["extract", str(data / "JPEGImages"), str(out), "--list", str(listed), "--labels", str(data / "labels.csv")]
    words += ["--class-file", str(data / "classes.txt"), "--device", "cpu", "-q", *more]
    process = subprocess.Popen([sys.executable, "-m", "pseudomask", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"extract failed with status {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def compare(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Agreement, mIoU and time of each split, for `--method cam` cut at its threshold and for the usual call."""
    data, rows = options.images, []
    names = ("background", *read_card(find_weights(None)).classes)
    with tempfile.TemporaryDirectory() as place:
        for split in ("train", "val"):
            keys = photos(data, split, options.every)
            listed = Path(place) / f"{split}.txt"
            listed.write_text("\n".join(keys) + "\n", "utf-8")
            for method in options.methods:
                exact, small = (Path(place) / f"{split}-{method}-{kind}" for kind in ("float32", "int8"))
                more = ("--method", "cam", "--refine", "none") if method == "cam" else ()
                seconds = [extracted(options, listed, exact, "--amp", "off", *more)]
                seconds.append(extracted(options, listed, small, "--amp", "int8", *more))
                equal = [load_mask(exact / f"{key}.png") == load_mask(small / f"{key}.png") for key in keys]
                rows.append(
                    {
                        "method": method,
                        "split": split,
                        "photos": len(keys),
                        "agreement": round(
                            100 * sum(int(one.sum()) for one in equal) / sum(one.size for one in equal), 2
                        ),
                        "worst": round(100 * min(float(one.mean()) for one in equal), 1),
                        "float32": measured(data, keys, exact, names)["miou"],
                        "int8": measured(data, keys, small, names)["miou"],
                        "seconds": [round(one, 1) for one in seconds],
                    }
                )
                print(rows[-1], file=sys.stderr, flush=True)
    return rows


def agreement_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    heads = ("method", "split", "photos", "agreement", "worst", "float32", "int8")
    return [
        f"| {' | '.join(heads)} |",
        "|---|---|---:|---:|---:|---:|---:|",
        *(f"| {' | '.join(str(row[head]) for head in heads)} |" for row in rows),
    ]


def costs(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Processor seconds of each method by precision: a photo, and the start with its calibration.

    From both splits, whose photos are alike and not equally many.
    """
    found = []
    for method in dict.fromkeys(row["method"] for row in rows):
        many, few = (row for row in rows if row["method"] == method)
        more = many["photos"] - few["photos"]
        each = [(many["seconds"][i] - few["seconds"][i]) / more for i in (0, 1)]
        start = [few["seconds"][i] - few["photos"] * each[i] for i in (0, 1)]
        told = {"photo": [round(one, 2) for one in each], "start": [round(one, 1) for one in start]}
        found.append({"method": method, **told, "speed": round(each[0] / each[1], 2)})
    return found


def cost_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "| method | s a photo, float32 | int8 | speed | s at the start, float32 | int8 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = (row["method"], *row["photo"], row["speed"], *row["start"])
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("time", "masks"))
    parser.add_argument("images", type=Path, help="a folder of photos; for masks, one laid out like PASCAL VOC")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--isa", nargs="+", default=["AVX2", "AVX512_CORE_VNNI"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--photos", type=int, default=4, help="to calibrate on; the first one is timed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=["cam", "default"], choices=("cam", "default"))
    parser.add_argument("--every", type=int, default=24, help="only every n-th photo of both splits")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if options.what == "masks":
        found = compare(options)
        facts = {"torch": torch.__version__, "isa": os.environ.get("ONEDNN_MAX_CPU_ISA")}
        spent = costs(found)
        publish(
            [*agreement_table(found), "", *cost_table(spent)], facts | {"rows": found, "costs": spent}, options.json
        )
        return
    if options.here:
        print(json.dumps(measure(options)))
        return
    rows = [
        {"isa": isa, "threads": threads, "engines": apart(isa, threads)}
        for isa in options.isa
        for threads in options.threads
    ]
    publish(table(rows), {"torch": torch.__version__, "photos": options.photos, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
