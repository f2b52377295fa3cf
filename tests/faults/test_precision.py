"""R15: the same masks in float32 and bf16, on a CPU and on a GPU, with the repository's own weights and photos."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from fault_harness.machinery import ROOT, Server, pngs

from pseudomask.masks import load_mask

PHOTOS = ("cat_chelsea", "person_astronaut")


def extracted(server: Server, out: Path, device: str, amp: str, *more: str) -> list[np.ndarray]:
    """The masks of the photos; skips where the device is absent, or what it is asked to do."""
    (names := out.with_suffix(".txt")).write_text("\n".join(PHOTOS))
    words = ["--method", "recam", "--tta", "balanced", "--refine", "none"]  # a refiner would level the differences
    words += ["--workers", "0", "--labels", ROOT / "examples/photos.csv"]
    words += ["--list", names, "--device", device, "--amp", amp, *more]
    seen = {"CUDA_VISIBLE_DEVICES": os.environ["TESTS_GPU"]} if device == "cuda" else {}
    done = server.run("extract", *words, ROOT / "examples/photos", out, env=seen)
    if device == "cuda" and done.code == 3 and "--device cuda" in done.errors()[0]:
        pytest.skip(done.errors()[0])
    if done.code == 2 and "nvJPEG cannot be used" in done.errors()[0]:
        pytest.skip(done.errors()[0])
    assert done.code == 0, done.err
    masks = [load_mask(path) for path in pngs(out)]
    assert len(masks) == len(PHOTOS)
    assert all(len(np.unique(mask)) > 1 for mask in masks), "a mask of one label agrees with anything"
    return masks


def agreement(some: list[np.ndarray], others: list[np.ndarray]) -> float:
    """The share of pixels that are the same."""
    same = sum(int((a == b).sum()) for a, b in zip(some, others, strict=True))
    return same / sum(mask.size for mask in some)


@pytest.fixture(scope="module")
def exact(server: Server, tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    return extracted(server, tmp_path_factory.mktemp("exact") / "out", "cpu", "off")


@pytest.mark.parametrize(
    ("device", "amp", "least"),
    [
        pytest.param("cpu", "bf16", 0.995, id="cpu-bf16"),
        pytest.param("cuda", "off", 0.999, id="cuda-fp32", marks=pytest.mark.cuda),
        pytest.param("cuda", "bf16", 0.995, id="cuda-bf16", marks=pytest.mark.cuda),
    ],
)
def test_r15_masks_agree(
    server: Server, exact: list[np.ndarray], tmp_path: Path, device: str, amp: str, least: float
) -> None:
    share = agreement(extracted(server, tmp_path / "out", device, amp), exact)
    print(f"{device}, {amp}: {share:.3%} of the pixels")  # -s shows it
    assert share >= least


@pytest.mark.cuda
def test_photos_that_nvjpeg_decodes(server: Server, exact: list[np.ndarray], tmp_path: Path) -> None:
    """Its pixels pass the check; the masks change by less than twice what libjpeg's short cuts do (docs/gpu.md)."""
    out = tmp_path / "out"
    share = agreement(extracted(server, out, "cuda", "off", "--decode", "gpu"), exact)
    print(f"cuda, decoded by nvJPEG: {share:.3%} of the pixels")  # -s shows it
    assert (out / "manifest.jsonl").read_text().count('"decoded": "gpu"') == len(PHOTOS)
    assert share >= 0.98
