"""Float32 against 8 bits on CPUs without bf16: time of the backbone, by engine and instruction set.

    python -m benchmarks.int8 IMAGES [--engines torch onnxruntime openvino] [--isa AVX2 AVX512_CORE_VNNI] [--json FILE]

The bundled ResNet-50 sees the views that `extract` makes by default (sizes 1 and 1.5) of a few photos, 375 x 500 where
photos have that size. A process for each instruction set limits torch and oneDNN to it (ATEN_CPU_CAPABILITY,
ONEDNN_MAX_CPU_ISA); in it, the engines take turns. onnxruntime has no such limit: its rows are marked with what the
processor has. OpenVINO's copy of oneDNN is asked with the same variable, and its rows say whether its time changed.
All are calibrated on the same photos. Seconds are the least over the repeats: of processor time, which other users of
the machine change little, and of the clock. `error` is the distance of the last stage's features from float32's,
relative to their norm.
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
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.recam_step import publish
from pseudomask.data.pixels import IMAGENET, resize
from pseudomask.networks.backbones.resnet import STAGES, ResNetBackbone
from pseudomask.networks.backbones.resnet_int8 import observing, quantise_resnet, settled
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.store import find_weights

ENGINES = ("torch", "onnxruntime", "openvino")
Run = Callable[[Tensor], Tensor]


def views(images: Path, count: int) -> list[Tensor]:
    """Both views of every k-th photo: (1, 3, h, w)."""
    files = sorted(path for path in images.iterdir() if path.suffix.lower() in (".jpg", ".png"))
    found = []
    for path in files[:: max(1, len(files) // count)][:count]:
        photo = np.asarray(Image.open(path).convert("RGB"))
        for scale in (1.0, 1.5):
            view = resize(photo, (round(photo.shape[0] * scale), round(photo.shape[1] * scale)))
            found.append(IMAGENET.to_input(torch.from_numpy(np.ascontiguousarray(view))[None]))
    return found


def backbone(*, folded: bool = True) -> ResNetBackbone:
    network, _ = load_network(find_weights(None))
    network = network.for_maps(torch.device("cpu")) if folded else network.eval()
    assert isinstance(network.backbone, ResNetBackbone)
    return network.backbone


def of_torch(inputs: Sequence[Tensor]) -> dict[str, Run]:
    plain, small = backbone(), backbone()
    with torch.inference_mode(), observing(small, STAGES) as found:
        for x in inputs:
            small(x, pyramid=False)
    quantise_resnet(small, STAGES, settled(found))
    return {
        "torch float32": lambda x: plain(x).last,
        "torch int8": lambda x: small(x).last,
    }


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
        small = nncf.quantize(
            model, nncf.Dataset([np.ascontiguousarray(x.numpy()) for x in inputs]), subset_size=len(inputs)
        )
        return {"openvino float32": compiled(model), "openvino int8": compiled(small)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds a photo (both views) of each engine, in this process."""
    inputs = views(options.images, options.photos)
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
            gain = [f"{base[what] / one[what]:.2f}" for what in ("processor", "clock")]
            lines.append(
                f"| {row['isa']} | {row['threads']} | {name} | {' | '.join(gain)} | {100 * one['error']:.1f}% |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--isa", nargs="+", default=["AVX2", "AVX512_CORE_VNNI"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--photos", type=int, default=4, help="to calibrate on; the first one is timed")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
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
