"""JPEG photos decoded on a simulated GPU (`--decode`), and mistakes planted; each case prints one line of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import simulated  # before pseudomask

# isort: split
import numpy as np
import tiny
from gpu_cases import Place, Told, compared, counted, instead, main
from PIL import Image
from simulated_nvjpeg import Decode, by_libjpeg, simulated_nvjpeg

from pseudomask import api, config
from pseudomask.errors import PseudomaskError
from pseudomask.extracting import nvjpeg
from pseudomask.running.reporter import SilentReporter

PHOTOS = 10
PNG, PROGRESSIVE, TURNED, CUT, REFUSED = "p02", "p03", "p04", "p05", "p06"
"""Photos that stay a PNG, are progressive, rotated by EXIF, truncated, and refused by the decoder of one case."""
HERE = [f"p{i:02d}" for i in range(PHOTOS) if f"p{i:02d}" not in (PNG, PROGRESSIVE, TURNED, CUT)]
"""Those that nvJPEG decodes: 4:4:4 and 4:2:0."""


def photos(place: Place) -> Path:
    """Photos as JPEG files, with tags beside."""
    folder, drawn = place.folder / "jpegs", place.folder / "drawn"
    if folder.exists():
        return folder
    lines = tiny.write_photos(drawn, PHOTOS).read_text()
    for i, path in enumerate(sorted(drawn.rglob("*.png"), key=lambda one: one.name)):
        name, stem = path.relative_to(drawn), path.stem
        made = folder / name if stem == PNG else (folder / name).with_suffix(".jpg")
        made.parent.mkdir(parents=True, exist_ok=True)
        how: Told = {
            "quality": 90,
            "subsampling": 2 * (i // 2 % 2),
            "progressive": stem == PROGRESSIVE,
            "comment": stem,
        }
        exif = Image.Exif()
        exif[0x0112] = 6 if stem == TURNED else 1
        Image.open(path).save(made, **({} if stem == PNG else how | {"exif": exif, "comment": stem}))
        if stem == CUT:
            made.write_bytes(made.read_bytes()[:-60])
        lines = lines.replace(name.as_posix(), made.relative_to(folder).as_posix())
    folder.with_suffix(".csv").write_text(lines)
    return folder


class Heard(SilentReporter):
    def __init__(self) -> None:
        self.lines = list[str]()

    def info(self, text: str) -> None:
        self.lines.append(text)


def settings(place: Place, out: str, device: str, **more: Any) -> Told:
    folder = photos(place)
    known: Told = {
        "images": folder, "labels": folder.with_suffix(".csv"), "out": place.folder / out, "device": device,
        "amp": "off", "workers": 0, "batch_size": 4, "max_failures": 1,
    }  # fmt: skip
    return known | more


def extracted(place: Place, out: str, device: str, reporter: Any = None, **more: Any) -> Path:
    known = settings(place, out, device, weights=place.weights, method="cam", **({"refine": ("none",)} | more))
    api.extract(config.ExtractConfig(**known), reporter)
    return place.folder / out


def predicted(place: Place, out: str, device: str, reporter: Any = None, **more: Any) -> Path:
    known = settings(place, out, device, weights=place.segmenter(), scores=True, **more)
    api.predict(config.PredictConfig(**known), reporter)
    return place.folder / out


def case(
    decode: Decode = by_libjpeg,
    wanted: str = "gpu",
    run: Callable[..., Path] = extracted,
    plant: tuple[str, str] | None = None,
    **more: Any,
) -> Callable[[Place, str], Told]:
    """A run on the device compared with one on the CPU; `plant`: text of `Decoder`, and what stands there instead."""

    def made(place: Place, name: str) -> Told:
        here, reporter = place.folder / f"cpu-{run.__name__}-{'-'.join(map(str, more))}", Heard()
        if not here.exists():
            run(place, here.name, "cpu", **more)
        with ExitStack() as stack:
            if plant:
                stack.enter_context(instead(nvjpeg.Decoder.__call__, *plant))
            log = stack.enter_context(simulated.simulated_gpu())
            decodings = stack.enter_context(simulated_nvjpeg(decode))
            try:
                there = run(place, f"{name}/gpu", "cuda", reporter, decode=wanted, **more)
            except PseudomaskError as error:
                return {"refused": f"{type(error).__name__}: {error}", "out": (place.folder / name / "gpu").exists()}
            told = counted(log)
        lines = [json.loads(line) for line in (there / "manifest.jsonl").read_text().splitlines()]
        return told | compared(here, there) | {
            "calls": decodings.calls[1:],  # the first is that of the samples
            "feeding": decodings.in_feeding_thread,
            "not_recorded": decodings.not_recorded,
            "decoded": sorted(one["key"][-3:] for one in lines if one.get("decoded") == "gpu"),
            "status": sorted(one["status"] for one in lines),
            "recorded": json.loads((there / "run.json").read_text())["config"]["decode"],
            "lines": [line for line in reporter.lines if "decoded" in line],
        }  # fmt: skip

    return made


def off_by(levels: int) -> Decode:
    def decode(files: Sequence[bytes]) -> list[np.ndarray]:
        return [(one.astype(int) + levels).clip(0, 255).astype(np.uint8) for one in by_libjpeg(files)]

    return decode


def missing(files: Sequence[bytes]) -> list[np.ndarray]:
    raise RuntimeError("decode_jpegs_cuda: torchvision not compiled with nvJPEG support\nframe #0")


def refusing(files: Sequence[bytes]) -> list[np.ndarray]:
    """One photo that nvJPEG cannot decode."""
    if any(REFUSED.encode() in one for one in files):
        raise RuntimeError("Error while decoding JPEG images: Failed to decode jpeg stream: 5")
    return by_libjpeg(files)


def without_memory(most: int) -> Decode:
    """No memory for more than `most` photos."""

    def decode(files: Sequence[bytes]) -> list[np.ndarray]:
        if len(files) > most and b"p0" in files[0]:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 MiB.")
        return by_libjpeg(files)

    return decode


def turned(files: Sequence[bytes]) -> list[np.ndarray]:
    """Photos that come out in another size than their headers say."""
    found = by_libjpeg(files)
    return [one.swapaxes(0, 1).copy() for one in found] if b"p0" in files[0] else found


def resumed(place: Place, name: str) -> Told:
    """A run begun with one decoder and taken up with the other."""
    extracted(place, name, "cpu")
    with simulated.simulated_gpu(), simulated_nvjpeg():
        try:
            extracted(place, name, "cuda", decode="gpu")
        except PseudomaskError as error:
            return {"refused": str(error)}
    return {"refused": ""}


CASES: dict[str, Callable[[Place, str], Told]] = {
    "extract": case(),
    "extract, two decoders": case(workers=2),
    "extract and pamr": case(refine=("pamr",)),
    "predict": case(run=predicted),
    "auto": case(wanted="auto"),
    "a level lighter": case(off_by(1)),
    "three levels lighter, auto": case(off_by(3), "auto"),
    "three levels lighter": case(off_by(3)),
    "predict, three levels lighter": case(off_by(3), run=predicted),
    "missing, auto": case(missing, "auto"),
    "missing": case(missing),
    "one photo refused": case(refusing),
    "memory for one photo": case(without_memory(1)),
    "memory for none": case(without_memory(0)),
    "another size": case(turned),
    "resumed": resumed,
    "in the network's stream": case(plant=("with torch.cuda.stream(self.stream):", "if True:"), wanted="auto"),
    "without a wait": case(plant=("network.wait_stream(self.stream)", "pass"), wanted="auto"),
    "memory given back": case(plant=("one.record_stream(network)", "pass")),
}


if __name__ == "__main__":
    main(CASES, Path(sys.argv[1]), sys.argv[2:])
