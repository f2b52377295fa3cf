"""What a JPEG decoder that takes libjpeg's short cuts, as nvJPEG does, changes in masks.

    python -m benchmarks.decoders IMAGES --labels FILE [--photos N]

Needs simplejpeg (`pip install simplejpeg`). `extract` runs in this process, on the CPU in float32, with Pillow and with
each other decoder in its place, and once more with Pillow in bf16, for comparison.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from pseudomask import api
from pseudomask.config import ExtractConfig
from pseudomask.data.decoding import decode
from pseudomask.extracting import photos
from pseudomask.masks import load_mask

VARIANTS = {
    "bf16": {},
    "colours not smoothed": {"fastupsample": True},
    "and a coarser transform": {"fastupsample": True, "fastdct": True},
}


def other_decode(how: dict[str, bool], jpeg: Callable[..., np.ndarray], path: Path, **more: Any) -> np.ndarray:
    """`decode` of a file that is not to be rotated, as all of VOC."""
    made = decode(path, **more)
    return jpeg(path.read_bytes(), strict=False, **how) if path.suffix.lower() in (".jpg", ".jpeg") and how else made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=40)
    options = parser.parse_args()
    from simplejpeg import decode_jpeg

    with tempfile.TemporaryDirectory() as folder:

        def run(name: str, how: dict[str, bool]) -> Path:
            config = ExtractConfig(
                images=options.images, labels=options.labels, limit=options.photos, out=Path(folder, name),
                quality="fast", refine=("none",), device="cpu", amp="bf16" if name == "bf16" else "off", workers=0,
            )  # fmt: skip
            with patch.object(photos, "decode", partial(other_decode, how, decode_jpeg)):
                api.extract(config)
            return config.out

        usual = run("pillow", {})
        print("| decoder | the same mask pixels, mean | worst photo |\n| --- | --- | --- |")
        for name, how in VARIANTS.items():
            there = run(name, how)
            masks = [one.relative_to(usual) for one in sorted(usual.rglob("*.png"))]
            agree = [float(np.mean(load_mask(usual / one) == load_mask(there / one))) for one in masks]
            print(f"| {name} | {np.mean(agree):.1%} | {min(agree):.1%} |", flush=True)


if __name__ == "__main__":
    main()
