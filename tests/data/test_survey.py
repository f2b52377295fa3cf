"""What a folder's photos are taken for, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from wide import png16, tiff

from pseudomask.config import ExtractConfig
from pseudomask.data.decoding import decode
from pseudomask.data.images import find_images
from pseudomask.data.reading import Reading
from pseudomask.data.survey import inherit, settle
from pseudomask.errors import ImageError, UsageError
from pseudomask.running.reporter import SilentReporter


class Listening(SilentReporter):
    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []

    def info(self, message: str) -> None:
        self.infos.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def grey(folder: Path, name: str, brightest: int, dtype: str = "u2") -> None:
    values = np.linspace(0, brightest, 600).reshape(20, 30).astype(dtype)
    if dtype == "u2":
        Image.fromarray(values).save(folder / f"{name}.png")
    else:
        (folder / f"{name}.tif").write_bytes(tiff(values))


def seen(folder: Path, **options: object) -> tuple[ExtractConfig, Reading, Listening]:
    heard = Listening()
    config = ExtractConfig(images=folder, out=folder / "out", **options)
    return *settle(config, find_images(folder), heard), heard


def test_twelve_bits_of_a_folder_are_told_and_keep_relative_brightness(tmp_path: Path) -> None:
    grey(tmp_path, "bright", 4095)
    grey(tmp_path, "dark", 1000)
    config, reading, heard = seen(tmp_path)
    assert (config.bits, reading.bits, reading.guessed) == (12, 12, True)
    (line,) = heard.infos
    for word in ("2 photos", "16-bit", "4095", "12 bits", "--bits 16"):
        assert word in line
    assert heard.warnings == []
    assert decode(tmp_path / "bright.png", reading=reading).max() == 255
    assert decode(tmp_path / "dark.png", reading=reading).max() == 62


def test_full_range_photos_keep_their_levels(tmp_path: Path) -> None:
    grey(tmp_path, "a", 65535)
    config, reading, heard = seen(tmp_path)
    assert config.bits == 16
    assert heard.warnings == []
    values = np.asarray(Image.open(tmp_path / "a.png")).astype(int)
    np.testing.assert_array_equal(decode(tmp_path / "a.png", reading=reading)[:, :, 0], (values + 128) // 257)


def test_what_is_given_is_not_guessed(tmp_path: Path) -> None:
    grey(tmp_path, "a", 4095)
    config, reading, heard = seen(tmp_path, bits=16)
    assert (config.bits, reading.guessed) == (16, False)
    assert heard.infos == []


def test_mixed_ranges_are_warned_of(tmp_path: Path) -> None:
    for name, brightest in (("full", 65535), ("ten", 1020)):
        grey(tmp_path, name, brightest)
    config, _, heard = seen(tmp_path)
    assert config.bits == 16
    assert "nearly black" in heard.warnings[0]
    assert "1 of 2" in heard.warnings[0]


@pytest.mark.parametrize(
    ("dtype", "span", "expected"),
    [
        ("f4", (0, 0.8), (0, 1)),
        ("f4", (0, 200), (0, 255)),
        ("f4", (0, 3000), (0, 4095)),
        ("i2", (-1000, 3000), (-1000, 3000)),
    ],
)
def test_float_and_signed_photos_share_a_range(
    tmp_path: Path, dtype: str, span: tuple[float, float], expected: tuple[float, float]
) -> None:
    low, high = span
    for name, share in (("a", 1.0), ("b", 0.5)):
        values = np.linspace(low, low + share * (high - low), 600).reshape(20, 30)
        (tmp_path / f"{name}.tif").write_bytes(tiff(values.astype(dtype)))
    config, reading, heard = seen(tmp_path)
    assert config.value_range == pytest.approx(expected)
    assert "--value-range" in heard.infos[0]
    bright, dark = (int(decode(tmp_path / f"{name}.tif", reading=reading).max()) for name in "ab")
    assert bright / 2 == pytest.approx(dark, abs=1.5)


def test_deep_and_float_photos_of_a_folder_have_each_their_range(tmp_path: Path) -> None:
    grey(tmp_path, "deep", 4095)
    grey(tmp_path, "unit", 1, "f4")
    config, reading, heard = seen(tmp_path)
    assert (config.bits, config.value_range, heard.warnings) == (12, (0, 1), [])
    for name in ("deep.png", "unit.tif"):
        assert decode(tmp_path / name, reading=reading).max() == 255


@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_a_wide_photo_that_nobody_looked_at_is_refused(tmp_path: Path, dtype: str) -> None:
    """Its own range would make a dark photo bright."""
    (tmp_path / "a.jpg").write_bytes(tiff(np.linspace(0, 1000, 600).reshape(20, 30).astype(dtype)))
    _, reading, _ = seen(tmp_path)
    with pytest.raises(ImageError, match=r"16|32.*--bits or --value-range.*\.tif"):
        decode(tmp_path / "a.jpg", reading=reading)
    _, reading, _ = seen(tmp_path, bits=12)
    assert decode(tmp_path / "a.jpg", reading=reading).max() == 62


def test_ordinary_photos_say_nothing_and_change_nothing(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for suffix in ("jpg", "png", "tif", "bmp", "webp", "gif", "ppm"):
        Image.fromarray(pixels).save(tmp_path / f"{suffix}.{suffix}")
    Image.fromarray(pixels[:, :, 0]).save(tmp_path / "grey.tif", compression="tiff_lzw")
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "cmyk.tif")
    Image.fromarray(pixels).quantize(16).save(tmp_path / "palette.tif")
    config, reading, heard = seen(tmp_path)
    assert (heard.infos, heard.warnings) == ([], [])
    assert config == ExtractConfig(images=tmp_path, out=tmp_path / "out")
    assert reading == Reading(guessed=True)


def test_many_bands_need_bands(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((20, 30, 13)).astype("f4")
    (tmp_path / "a.tif").write_bytes(tiff(values, extras=(0,) * 12))
    with pytest.raises(UsageError, match=r"13 bands of float32.*--bands R,G,B"):
        seen(tmp_path)
    _, reading, _ = seen(tmp_path, bands=(4, 3, 2))
    np.testing.assert_allclose(
        decode(tmp_path / "a.tif", reading=reading).astype(int), values[:, :, [3, 2, 1]] * 255, atol=1.01
    )


def test_a_fourth_band_is_told(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    (tmp_path / "a.tif").write_bytes(tiff(values, photometric=2, extras=(0,)))
    _, _, heard = seen(tmp_path)
    assert any("4 bands" in line and "--bands" in line for line in heard.infos)


def test_alpha_that_hides_or_is_no_alpha_is_warned_of(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 200, (20, 30, 4), dtype=np.uint8)
    (tmp_path / "near_infrared.tif").write_bytes(tiff(values, photometric=2, extras=(2,)))
    values[..., 3] = 0
    Image.fromarray(values).save(tmp_path / "blank.png")
    _, _, heard = seen(tmp_path)
    assert any(
        "fully transparent" in line and "blank.png" in line and "--alpha ignore" in line for line in heard.warnings
    )
    assert any("near_infrared.tif" in line and "--alpha ignore" in line for line in heard.warnings)
    _, reading, heard = seen(tmp_path, alpha="ignore")
    assert heard.warnings == []
    np.testing.assert_array_equal(decode(tmp_path / "blank.png", reading=reading), values[:, :, :3])


def test_frames_and_pages_are_told(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for name in ("a.gif", "a.tif", "a.png", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    _, _, heard = seen(tmp_path)
    assert any("4 photos have several frames" in line for line in heard.infos)


def test_a_resumed_run_reads_as_the_first_did(tmp_path: Path) -> None:
    grey(tmp_path, "a", 4095)
    config = ExtractConfig(images=tmp_path, out=tmp_path / "out")
    again, reading = settle(config, find_images(tmp_path), Listening(), recorded={"bits": 14, "value_range": None})
    assert (again.bits, reading.bits) == (14, 14)


def test_a_later_verb_inherits_all_choices() -> None:
    record = {"bits": 12, "value_range": [0, 5], "bands": [3, 2, 1], "alpha": "ignore"}
    found = Reading.of(inherit(ExtractConfig(images=Path("a"), out=Path("b")), record))
    assert found == Reading(12, (0.0, 5.0), (3, 2, 1), "ignore") == Reading.recorded(record)
    for damaged in (None, {}, {"bits": "x", "bands": ["a"], "value_range": [5, 0], "alpha": 3}, {"bits": True}):
        assert Reading.recorded(damaged) == Reading()


def test_senseless_choices_are_refused() -> None:
    for options, word in (({"bands": (1, 2)}, "--bands"), ({"value_range": (5.0, 1.0)}, "--value-range")):
        with pytest.raises(UsageError, match=word):
            ExtractConfig(images=Path("a"), out=Path("b"), **options)


def test_colour_pngs_of_twelve_bits(tmp_path: Path) -> None:
    values = (np.random.default_rng(0).random((20, 30, 3)) * 4095).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(png16(values))
    config, reading, _ = seen(tmp_path)
    assert config.bits == 12
    np.testing.assert_allclose(decode(tmp_path / "a.png", reading=reading).astype(int), values / 4095 * 255, atol=1)


def test_sixteen_bit_and_float_photos_in_one_folder(tmp_path: Path) -> None:
    """What was found for the one says nothing of the other: the float photo was read as black."""
    grey(tmp_path, "whole", 4095)
    grey(tmp_path, "part", 1, "f4")
    config, reading, heard = seen(tmp_path)
    assert (config.bits, config.value_range) == (12, (0.0, 1.0))
    assert heard.warnings == []
    assert [line[:7] for line in heard.infos] == ["1 photo", "1 photo"]
    assert decode(tmp_path / "whole.png", reading=reading).max() == 255
    assert decode(tmp_path / "part.tif", reading=reading).max() == 255


@pytest.mark.parametrize("value", [np.nan, -9999.0, np.inf])
def test_a_photo_of_which_nothing_was_measured(tmp_path: Path, value: float) -> None:
    values = np.full((20, 30), value, "f4")
    (tmp_path / "a.tif").write_bytes(tiff(values))
    for reading in (Reading(), Reading(span=(0.0, 1.0), guessed=True)):
        with pytest.raises(ImageError, match="NaN"):
            decode(tmp_path / "a.tif", reading=reading)
    values[0, 0] = 1
    (tmp_path / "a.tif").write_bytes(tiff(values))
    assert decode(tmp_path / "a.tif", reading=Reading(span=(0.0, 1.0))).max() == 255
