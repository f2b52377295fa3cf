"""Which JPEG files a GPU may decode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pseudomask.data.jpeg import plain_jpeg
from pseudomask.data.reading import Reading
from pseudomask.errors import ImageError

PIXELS = np.random.default_rng(0).integers(0, 255, (33, 47, 3), dtype=np.uint8)


def written(path: Path, mode: str = "RGB", **how: Any) -> Path:
    Image.fromarray(PIXELS).convert(mode).save(path, "JPEG", **how)
    return path


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize(
    ("mode", "how"),
    [
        *(("RGB", {"subsampling": sampling}) for sampling in (0, 1, 2)),
        ("L", {}),
        ("RGB", {"exif": turned(1)}),
        ("RGB", {"restart_marker_rows": 1}),
    ],
)
def test_baseline_files_are_taken_as_they_are(tmp_path: Path, mode: str, how: dict[str, Any]) -> None:
    path = written(tmp_path / "a.jpg", mode, **how)
    found = plain_jpeg(path, max_pixels=33 * 47)
    assert found is not None
    assert (found.data, found.size) == (path.read_bytes(), (33, 47))


@pytest.mark.parametrize(
    ("mode", "how"),
    [
        ("RGB", {"progressive": True}),
        ("CMYK", {}),
        ("RGB", {"keep_rgb": True}),
        *(("RGB", {"exif": turned(orientation)}) for orientation in range(2, 9)),
    ],
)
def test_others_are_left(tmp_path: Path, mode: str, how: dict[str, Any]) -> None:
    assert plain_jpeg(written(tmp_path / "a.jpg", mode, **how), max_pixels=10**6) is None


def test_other_files_and_bands_are_left(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    assert plain_jpeg(tmp_path / "a.png", max_pixels=10**6) is None
    jpeg = written(tmp_path / "a.jpg")
    assert plain_jpeg(jpeg, max_pixels=10**6, reading=Reading(bands=(1,))) is None


@pytest.mark.parametrize("missing", [1, 2, 60, 400])
def test_truncated_files_are_left(tmp_path: Path, missing: int) -> None:
    path = written(tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-missing])
    assert plain_jpeg(path, max_pixels=10**6) is None


def test_unusual_samplings_are_left(tmp_path: Path) -> None:
    """4:1:1, of which there is no sample: colours at a quarter of the width."""
    path = written(tmp_path / "a.jpg", subsampling=1)
    data = path.read_bytes()
    at = data.index(b"\xff\xc0") + 11  # the first band's sampling in the frame's header
    assert data[at] == 0x21
    path.write_bytes(data[:at] + b"\x41" + data[at + 1 :])
    assert plain_jpeg(path, max_pixels=10**6) is None


def test_what_is_wrong_in_a_header_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="too large"):
        plain_jpeg(path, max_pixels=33 * 47 - 1)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ImageError):
        plain_jpeg(path, max_pixels=10**6)
