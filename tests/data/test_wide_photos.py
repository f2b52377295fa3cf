"""Values of more than 8 bits, and bands that are not red, green and blue: which colours come of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from wide import DEFLATE, LZW, PACKBITS, ZSTD, png16, tiff

from pseudomask.data.decoding import decode, read_header
from pseudomask.data.reading import Reading
from pseudomask.errors import ImageError


def ramp(n: int, height: int = 20, width: int = 37, seed: int = 0) -> np.ndarray:
    """(H, W, n) in [0, 1], with both ends."""
    values = np.random.default_rng(seed).random((height, width, n))
    values[0, 0], values[-1, -1] = 0, 1
    return values


def typed(values: np.ndarray, dtype: str, most: float) -> np.ndarray:
    return (values * most).astype(dtype) if dtype.startswith("f") else np.rint(values * most).astype(dtype)


def written(folder: Path, content: bytes, name: str = "x.tif") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def near(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found.astype(float), expected * 255, atol=1.01)


@pytest.mark.parametrize("most", [255, 1023, 4095, 16383, 65535])
@pytest.mark.parametrize("kind", ["pillow.png", "pillow.tif", "rgb.png", "rgb.tif", "rgba.png", "la.png"])
def test_a_file_alone_is_read_by_the_bits_that_it_uses(tmp_path: Path, most: int, kind: str) -> None:
    name, suffix = kind.split(".")
    n = {"pillow": 1, "la": 1}.get(name, 3)
    values = ramp(n)
    stored = typed(values, "u2", most)
    path = tmp_path / f"x.{suffix}"
    if name == "pillow":
        Image.fromarray(stored[:, :, 0]).save(path)
    else:
        opaque = np.full((*values.shape[:2], 1), 65535, np.uint16)
        stored = np.dstack([stored, opaque]) if name in ("la", "rgba") else stored
        path.write_bytes(png16(stored) if suffix == "png" else tiff(stored))
    near(decode(path), np.broadcast_to(values, (*values.shape[:2], 3)))


def test_given_bits_decide_whatever_a_file_holds(tmp_path: Path) -> None:
    grey = np.array([[0, 1000, 4095, 60000]], np.uint16)
    colour = np.repeat(grey[:, :, None], 3, axis=2)
    Image.fromarray(grey).save(tmp_path / "x.png")
    for path in (tmp_path / "x.png", written(tmp_path, png16(colour), "c.png"), written(tmp_path, tiff(colour))):
        assert decode(path, reading=Reading(bits=12))[0, :, 1].tolist() == [0, 62, 255, 255]
        assert decode(path, reading=Reading(bits=16))[0, 3, 1] in (233, 234)


@pytest.mark.parametrize(
    ("dtype", "most"), [("u1", 255), ("u2", 4095), ("u4", 4095), ("i2", 1023), ("f4", 1), ("f8", 1)]
)
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize(("compression", "predictor"), [(1, 1), (DEFLATE, 2), (LZW, 1), (PACKBITS, 1), (ZSTD, 2)])
def test_any_three_of_thirteen_bands(
    tmp_path: Path, dtype: str, most: int, planar: bool, compression: int, predictor: int
) -> None:
    values = ramp(13)
    path = written(
        tmp_path,
        tiff(
            typed(values, dtype, most),
            extras=(0,) * 12,
            planar=planar,
            compression=compression,
            predictor=predictor,
            rows=7,
        ),
    )
    near(decode(path, reading=Reading(bands=(13, 1, 6))), values[:, :, [12, 0, 5]])
    near(decode(path, reading=Reading(bands=(4,)))[:, :, 2], values[:, :, 3])
    assert read_header(path).size == (20, 37)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("tile", [0, 16])
@pytest.mark.parametrize("predictor", [1, 2, 3])
def test_layouts_of_float_rgb(tmp_path: Path, order: str, big: bool, tile: int, predictor: int) -> None:
    values = ramp(3)
    content = tiff(
        values.astype("f4"), order=order, big=big, tile=tile, predictor=predictor, compression=DEFLATE, rows=6
    )
    near(decode(written(tmp_path, content)), values)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_wide_tiff_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    values = ramp(3)
    turned = written(tmp_path, tiff(typed(values, "u2", 4095), more={274: (3, (orientation,))}))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.rint(values * 255).astype(np.uint8)).save(tmp_path / "same.png", exif=exif)
    expected = decode(tmp_path / "same.png")
    np.testing.assert_allclose(decode(turned).astype(int), expected, atol=1)
    assert read_header(turned).size == expected.shape[:2]


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_white_is_zero(tmp_path: Path, dtype: str) -> None:
    values = ramp(1)
    stored = typed(values, dtype, {"u1": 255, "u2": 65535, "f4": 1}[dtype])
    near(decode(written(tmp_path, tiff(stored, photometric=0)))[:, :, :1], 1 - values)


def test_what_was_not_measured_is_black_and_stretches_nothing(tmp_path: Path) -> None:
    for no_data, tags in ((np.nan, {}), (-9999, {}), (-3.4e38, {}), (7, {42113: (2, b"7\0")})):
        values = np.array([[0, 0.5, 1, no_data]], np.float32)
        found = decode(written(tmp_path, tiff(values, more=tags)))
        np.testing.assert_allclose(found[0, :, 0], [0, 127.5, 255, 0], atol=1, err_msg=str(no_data))


def test_bands_that_nothing_explains_are_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, tiff(ramp(13).astype("f4"), extras=(0,) * 12))
    with pytest.raises(ImageError, match=r"13 bands of float32.*--bands R,G,B"):
        decode(path)
    with pytest.raises(ImageError, match=r"13 bands.*asks for band 14"):
        decode(path, reading=Reading(bands=(14, 1, 2)))


def test_a_photo_far_beyond_an_inferred_range_is_refused_not_cut(tmp_path: Path) -> None:
    values = np.full((40, 50), 3000, np.uint16)
    path = tmp_path / "x.png"
    values[0] = 9000
    Image.fromarray(values).save(path)
    assert decode(path, reading=Reading(bits=12)).max() == 255
    with pytest.raises(ImageError, match=r"9000.*4095.*--bits"):
        decode(path, reading=Reading(bits=12, guessed=True))
    values[0, 1:] = 3000
    Image.fromarray(values).save(path)
    assert decode(path, reading=Reading(bits=12, guessed=True)).max() == 255  # one hot pixel


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("planar", [False, True])
def test_alpha_is_white_or_ignored_or_a_band(tmp_path: Path, dtype: str, planar: bool) -> None:
    values = ramp(4)
    values[..., 3] = 0
    values[0, 0, 3] = 1
    path = written(tmp_path, tiff(typed(values, dtype, 255 if dtype == "u1" else 65535), extras=(2,), planar=planar))
    white = decode(path)
    assert (white[1:] == 255).all()
    assert (white[0, 0] == 0).all()
    near(decode(path, reading=Reading(alpha="ignore")), values[:, :, :3])
    near(decode(path, reading=Reading(bands=(4, 1, 2))), values[:, :, [3, 0, 1]])


def test_bands_of_ordinary_photos(tmp_path: Path) -> None:
    pixels = (ramp(4) * 255).astype(np.uint8)
    for n, name in ((3, "x.png"), (4, "a.png")):
        Image.fromarray(pixels[:, :, :n]).save(tmp_path / name)
        found = decode(tmp_path / name, reading=Reading(bands=(3, 2, 1), alpha="ignore"))
        np.testing.assert_array_equal(found, pixels[:, :, [2, 1, 0]])
        np.testing.assert_array_equal(
            decode(tmp_path / name, reading=Reading(bands=(2,), alpha="ignore"))[:, :, 0], pixels[:, :, 1]
        )
    np.testing.assert_array_equal(decode(tmp_path / "a.png", reading=Reading(bands=(4, 1, 1))), pixels[:, :, [3, 0, 0]])
    Image.fromarray(pixels[:, :, 0]).save(tmp_path / "grey.png")
    assert decode(tmp_path / "grey.png", reading=Reading(bands=(4, 3, 2))).shape == (20, 37, 3)
    with pytest.raises(ImageError, match="asks for band 4"):
        decode(tmp_path / "x.png", reading=Reading(bands=(4, 3, 2)))


@pytest.mark.parametrize("colours", [1, 3])
def test_a_pnm_header_tells_the_range(tmp_path: Path, colours: int) -> None:
    """A dark photo of 4095 levels stays dark: nothing is guessed where the file says it."""
    values = typed(ramp(colours), "u2", 1000)
    head = f"P{5 if colours == 1 else 6}\n# comment\n37 20\n4095\n".encode()
    path = written(tmp_path, head + values.astype(">u2").tobytes(), "x.pnm")
    expected = np.broadcast_to(values / 4095, (20, 37, 3))
    near(decode(path), expected)
    near(decode(path, reading=Reading(bits=10)), expected)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ImageError, match="truncated"):
        decode(path)


def test_significant_bits_of_a_png_change_nothing(tmp_path: Path) -> None:
    """sBIT tells the camera's precision; the values are spread over all 16 bits all the same."""
    content = png16(typed(ramp(3), "u2", 65535))
    import struct
    import zlib

    chunk = b"sBIT" + bytes((12, 12, 12))
    chunk = struct.pack(">I", 3) + chunk + struct.pack(">I", zlib.crc32(chunk))
    plain, marked = written(tmp_path, content, "a.png"), written(tmp_path, content[:33] + chunk + content[33:], "b.png")
    np.testing.assert_array_equal(decode(plain), decode(marked))


@pytest.mark.skipif(not features.check("jpg_2000"), reason="Pillow without OpenJPEG")
def test_jpeg_2000(tmp_path: Path) -> None:
    pixels = (ramp(3) * 255).astype(np.uint8)
    path = tmp_path / "x.jp2"
    Image.fromarray(pixels).save(path, irreversible=False)
    np.testing.assert_array_equal(decode(path), pixels)
    values = typed(ramp(1), "u2", 4095)[:, :, 0]
    Image.fromarray(values).save(path)
    near(decode(path)[:, :, 0], ramp(1)[:, :, 0])
    data = bytearray(path.read_bytes())
    at = data.index(b"ihdr") + 4
    data[at : at + 8] = (40_000).to_bytes(4, "big") * 2
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"damaged|too large"):
        decode(path)


@pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")
def test_avif(tmp_path: Path) -> None:
    pixels = np.kron((ramp(3, 4, 5) * 255).astype(np.uint8), np.ones((16, 16, 1), np.uint8))
    Image.fromarray(pixels).save(tmp_path / "x.avif", quality=95)
    assert np.abs(decode(tmp_path / "x.avif").astype(int) - pixels).mean() < 8


@pytest.mark.parametrize("cut", [0.3, 0.9])
@pytest.mark.parametrize("compression", [1, DEFLATE, LZW])
def test_a_cut_wide_tiff_is_truncated(tmp_path: Path, cut: float, compression: int) -> None:
    """The directory at the front, the pixels behind it."""
    content = tiff(typed(ramp(3), "u2", 4095), compression=compression)
    broken = bytearray(content)
    broken[8 : int(8 + 2000 * cut)] = b""
    with pytest.raises(ImageError, match=r"truncated|damaged"):
        decode(written(tmp_path, bytes(broken)))


def test_bombs_are_refused_from_the_directory(tmp_path: Path) -> None:
    small = np.zeros((4, 4, 5), np.float32)
    huge = {256: (4, (60_000,)), 257: (4, (60_000,))}
    path = written(tmp_path, tiff(small, extras=(0,) * 4, compression=DEFLATE, more=huge))
    with pytest.raises(ImageError, match="too large: 60000x60000"):
        decode(path, reading=Reading(bands=(1, 2, 3)))
    long = {256: (4, (14_000,)), 257: (4, (14_000,)), 278: (4, (14_000,))}
    path = written(tmp_path, tiff(small, extras=(0,) * 4, compression=DEFLATE, more=long))
    with pytest.raises(ImageError, match=r"too large|truncated"):
        decode(path, reading=Reading(bands=(1, 2, 3)))


@pytest.mark.parametrize(
    "tags",
    [{50706: (1, (1, 4, 0, 0))}, {262: (3, (32803,))}, {254: (4, (1,)), 330: (4, (8,))}],
    ids=["dng", "sensor", "preview"],
)
def test_camera_raw_is_not_taken_for_its_preview(tmp_path: Path, tags: dict) -> None:
    path = written(tmp_path, tiff((ramp(3) * 255).astype(np.uint8), more=tags))
    with pytest.raises(ImageError, match="camera RAW"):
        decode(path)
