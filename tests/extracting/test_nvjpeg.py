"""Where photos are decoded, on a machine without a GPU; `tests/simulated_gpu` has the rest."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pseudomask.config import ExtractConfig
from pseudomask.data.decoding import decode
from pseudomask.errors import UsageError
from pseudomask.extracting import nvjpeg
from pseudomask.extracting.extract import extract
from pseudomask.extracting.photos import Photo, Photos
from pseudomask.running.reporter import SilentReporter

CPU = torch.device("cpu")


def test_a_cpu_decodes_unless_a_gpu_is_asked_for() -> None:
    assert nvjpeg.pick_decoding("cpu", torch.device("cuda"), SilentReporter()) == "cpu"
    assert nvjpeg.pick_decoding("auto", CPU, SilentReporter()) == "cpu"
    with pytest.raises(UsageError, match=r"--decode gpu needs an NVIDIA GPU, and --device is cpu; use --decode cpu"):
        nvjpeg.pick_decoding("gpu", CPU, SilentReporter())


def pixels(sampling: int | None) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(nvjpeg.sample(sampling))).convert("RGB"))


SHARP = pixels(0)


@pytest.mark.parametrize(
    ("found", "fits"),
    [
        (SHARP, True),
        (SHARP + (SHARP < 255), True),
        (pixels(2), True),
        (np.minimum(SHARP, 252) + 3, False),
        (SHARP[..., ::-1], False),
        (np.roll(SHARP, 1, 0), False),
        (np.roll(SHARP, 1, 1), False),
        (pixels(None), False),
        (SHARP[:-1], False),
    ],
    ids=["same", "a level", "4:2:0", "three levels", "BGR", "a row", "a column", "grey", "smaller"],
)
def test_which_pixels_are_near_enough(found: np.ndarray, fits: bool) -> None:
    assert (nvjpeg.difference(found, SHARP) == "") is fits


def test_photos_for_the_device_come_as_they_are(tmp_path: Path) -> None:
    """Those within the largest side; one that is damaged is left to the usual decoder, which says why."""
    names = ("fits", "large", "cut")
    paths = [tmp_path / f"{name}.jpg" for name in names]
    for path, side in zip(paths, (40, 80, 40), strict=True):
        Image.fromarray(np.full((30, side, 3), 99, np.uint8)).save(path)
    paths[2].write_bytes(paths[2].read_bytes()[:-9])
    photos = Photos(
        paths, range(3), scales=(1.0, 0.5), max_side=64, max_pixels=10**6, allow_truncated=False, keep_whole=True,
        to_scale=True, encoded=True,
    )  # fmt: skip
    fits, large, cut = (photos[i] for i in range(3))
    assert (fits.jpeg, fits.views, fits.shape, fits.to_scale) == (paths[0].read_bytes(), (), (30, 40), True)
    assert (large.jpeg, len(large.views)) == (b"", 2)
    assert (cut.jpeg, cut.problem) == (b"", "truncated")
    assert np.array_equal(photos.read(0).views[0].numpy(), decode(paths[0]))
    assert Photo(0, (1, 1), ()).shape == ()


def test_a_run_is_refused_before_any_photo_and_auto_is_recorded_as_what_it_is(
    settings: Callable[..., ExtractConfig], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--decode gpu needs an NVIDIA GPU"):
        extract(settings(tmp_path / "gpu", decode="gpu"))
    assert not (tmp_path / "gpu").exists()
    assert extract(settings(tmp_path / "auto", decode="auto", limit=1)).done == 1
    assert json.loads((tmp_path / "auto/run.json").read_text())["config"]["decode"] == "cpu"
