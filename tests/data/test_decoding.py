"""One file to one upright RGB array, or a reason."""

from __future__ import annotations

import os
import struct
import threading
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from pseudomask.data.decoding import decode, image_size
from pseudomask.errors import ImageError


def picture(height: int = 24, width: int = 40, seed: int = 0) -> np.ndarray:
    """Blocks of random colours: no symmetry, and JPEG keeps them closely."""
    blocks = np.random.default_rng(seed).integers(20, 236, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((8, 8, 1), np.uint8))


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def lying_png(path: Path, width: int, height: int) -> Path:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", head) + png_chunk(b"IDAT", zlib.compress(b"\0" * 100)) + png_chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_lossless_kinds_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    pixels = picture()
    path = saved(tmp_path / f"x.{suffix}", Image.fromarray(pixels))
    found = decode(path)
    assert found.dtype == np.uint8
    assert found.flags.writeable
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, pixels)
    assert image_size(path) == (24, 40)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_kinds_come_back_nearly(tmp_path: Path, suffix: str) -> None:
    pixels = picture()
    path = saved(tmp_path / f"x.{suffix}", Image.fromarray(pixels), quality=95)
    for channel in range(3):
        assert np.corrcoef(decode(path)[..., channel].ravel(), pixels[..., channel].ravel())[0, 1] > 0.9


def test_content_rules_not_the_name(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.jpg", Image.fromarray(picture()), format="PNG")
    np.testing.assert_array_equal(decode(path), picture())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_orientation_agrees_with_pillow(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / f"x.{suffix}", Image.fromarray(picture()), exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    found = decode(path)
    np.testing.assert_array_equal(found, expected)
    assert found.flags.c_contiguous
    assert image_size(path) == expected.shape[:2]


@pytest.mark.parametrize(
    "block", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_counts_as_upright_and_warns_nobody(tmp_path: Path, block: bytes) -> None:
    path = tmp_path / "x.jpg"
    Image.fromarray(picture()).save(path, exif=block)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(path).shape == (24, 40, 3)


@pytest.mark.parametrize("value", [0, 9, 77])
def test_senseless_orientation_counts_as_upright(tmp_path: Path, value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    path = saved(tmp_path / "x.png", Image.fromarray(picture()), exif=exif)
    np.testing.assert_array_equal(decode(path), picture())


def test_grey_one_bit_and_palette(tmp_path: Path) -> None:
    grey = picture()[:, :, 0]
    np.testing.assert_array_equal(
        decode(saved(tmp_path / "l.png", Image.fromarray(grey))), np.repeat(grey[:, :, None], 3, axis=2)
    )
    bit = Image.fromarray(grey).point(lambda v: 255 if v > 128 else 0).convert("1")
    np.testing.assert_array_equal(decode(saved(tmp_path / "1.png", bit))[:, :, 1], (grey > 128) * 255)
    palette = Image.fromarray(picture()).quantize(256)
    np.testing.assert_array_equal(decode(saved(tmp_path / "p.png", palette)), np.asarray(palette.convert("RGB")))


def test_cmyk(tmp_path: Path) -> None:
    image = Image.fromarray(picture()).convert("CMYK")
    found = decode(saved(tmp_path / "x.jpg", image, quality=95))
    assert np.abs(found.astype(int) - picture()).mean() < 6


def test_transparent_pixels_are_laid_over_white(tmp_path: Path) -> None:
    pixels = np.zeros((2, 3, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[0, :, 3] = [0, 255, 128]
    pixels[1, :, 3] = 255
    found = decode(saved(tmp_path / "rgba.png", Image.fromarray(pixels)))
    np.testing.assert_array_equal(found[0, 0], [255, 255, 255])
    np.testing.assert_array_equal(found[0, 1], [200, 0, 0])
    np.testing.assert_allclose(found[0, 2], [227, 127, 127], atol=1)
    np.testing.assert_array_equal(found[1], np.tile([200, 0, 0], (3, 1)))
    la = Image.fromarray(pixels[:, :, [0, 3]])
    assert la.mode == "LA"
    np.testing.assert_array_equal(decode(saved(tmp_path / "la.png", la))[0, :2, 0], [255, 200])


def test_transparent_palette_entries(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    for name, transparency in [("int.png", 0), ("bytes.png", b"\x00\xff"), ("x.gif", 0)]:
        found = decode(saved(tmp_path / name, image, transparency=transparency))
        np.testing.assert_array_equal(found[0], [[255, 255, 255], [40, 50, 60]], err_msg=name)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    path = tmp_path / "x.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert (decode(path) == [255, 0, 0]).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_follows_the_eight_bit_version(tmp_path: Path, suffix: str) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (32, 32)).astype(np.uint16)
    found = decode(saved(tmp_path / f"x.{suffix}", Image.fromarray(grey * 257)))
    np.testing.assert_array_equal(found, np.repeat(grey[:, :, None], 3, axis=2))


def test_big_endian_sixteen_bit(tmp_path: Path) -> None:
    path = tmp_path / "x.pgm"
    path.write_bytes(b"P5 2 1 65535\n" + struct.pack(">HH", 257 * 7, 257 * 250))
    np.testing.assert_array_equal(decode(path)[0, :, 0], [7, 250])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 255.0]], np.float32), [0, 100, 255]),
        (np.array([[0, 257 * 100, 65535]], np.int32), [0, 100, 255]),
        (np.array([[-1000, 0, 1000]], np.int32), [0, 128, 255]),
        (np.array([[np.nan, 0.0, 1.0]], np.float32), [0, 0, 255]),
        (np.array([[7, 7, 255]], np.int32), [7, 7, 255]),
    ],
)
def test_wide_grey_is_scaled_by_its_range(tmp_path: Path, values: np.ndarray, expected: list[int]) -> None:
    found = decode(saved(tmp_path / "x.tif", Image.fromarray(values)))
    np.testing.assert_allclose(found[0, :, 0], expected, atol=1)


def test_sixteen_bit_rgb_png(tmp_path: Path) -> None:
    rows = b"\0" + struct.pack(">HHHHHH", 257 * 9, 0, 65535, 0, 257 * 80, 0)
    head = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    path = tmp_path / "x.png"
    for extra in (b"", png_chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))):
        body = png_chunk(b"IHDR", head) + extra + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
        np.testing.assert_array_equal(decode(path)[0], [[9, 0, 255], [0, 80, 0]])


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1)])
def test_extreme_shapes(tmp_path: Path, size: tuple[int, int]) -> None:
    path = saved(tmp_path / "x.jpg", Image.new("RGB", size))
    assert decode(path).shape == (size[1], size[0], 3)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("zero.jpg", b"", "empty file"),
        ("text.jpg", b"these are words", "not a known image format"),
        ("noise.png", bytes(range(256)), "not a known image format"),
        ("head.jpg", b"\xff\xd8\xff\xe0", None),
        ("head.png", b"\x89PNG\r\n\x1a\n\0\0", None),
        ("head.gif", b"GIF89a", None),
        ("head.webp", b"RIFF\0\0\0\0WEBPVP8 ", None),
        ("head.tif", b"II*\0\x08\0\0\0", None),
        ("phone.heic", b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC is not supported; convert it to JPEG or PNG"),
    ],
)
def test_bad_files_have_a_reason(tmp_path: Path, name: str, content: bytes, reason: str | None) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    for read in (decode, image_size):
        with pytest.raises(ImageError) as caught:
            read(path)
        assert str(caught.value) == f"{path}: {caught.value.reason}"
        assert 0 < len(caught.value.reason) < 200
        assert "\n" not in caught.value.reason
        assert reason is None or caught.value.reason == reason


def test_missing_folder_and_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, reason in [
        (tmp_path / "none.jpg", "no such file or directory"),
        (tmp_path, "is a directory"),
        (tmp_path / "pipe.jpg", "not a regular file"),
    ]:
        with pytest.raises(ImageError, match=reason):
            decode(path)


@pytest.mark.parametrize("percent", [10, 50, 90, 99])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_cut_files_are_refused_or_completed(tmp_path: Path, suffix: str, percent: int) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    path = saved(tmp_path / f"x.{suffix}", Image.fromarray(noise))
    whole, full = path.read_bytes(), decode(path)
    path.write_bytes(whole[: len(whole) * percent // 100])
    with pytest.raises(ImageError, match="truncated"):
        decode(path)
    if percent >= 50:
        patient = decode(path, allow_truncated=True)
        assert patient.shape == full.shape
        rows = 96 * percent // 100 - 26
        np.testing.assert_array_equal(patient[:rows], full[:rows])
        assert not np.array_equal(patient, full)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_cut_progressive_jpeg_keeps_its_coarse_scan(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.jpg", Image.fromarray(picture(256, 256)), progressive=True, quality=95)
    full, whole = decode(path), path.read_bytes()
    path.write_bytes(whole[: len(whole) * 7 // 10])
    patient = decode(path, allow_truncated=True)
    assert np.corrcoef(patient.ravel(), full.ravel())[0, 1] > 0.8


def test_damaged_checksum_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", Image.fromarray(picture()))
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") - 5] ^= 1  # the header chunk's checksum
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"damaged|truncated"):
        decode(path)


def test_bombs_are_refused_from_the_header(tmp_path: Path) -> None:
    path = lying_png(tmp_path / "x.png", 30_000, 30_000)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=r"too large: 30000x30000 is more than the limit of 200,000,000"):
            decode(path)
        assert image_size(path) == (30_000, 30_000)
    assert time.process_time() - start < 0.5


def test_the_limit_is_the_callers(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.png", Image.fromarray(picture()))
    assert decode(path, max_pixels=24 * 40).shape == (24, 40, 3)
    with pytest.raises(ImageError, match="too large"):
        decode(path, max_pixels=24 * 40 - 1)


def test_large_but_allowed_does_not_warn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow's own limit must play no part
    for suffix in ("png", "jpg", "bmp", "ppm"):
        assert decode(saved(tmp_path / f"x.{suffix}", Image.fromarray(picture()))).shape == (24, 40, 3)


def test_many_threads_at_once(tmp_path: Path) -> None:
    paths = [
        saved(tmp_path / f"{i}.{suffix}", Image.fromarray(picture(seed=i)))
        for i, suffix in enumerate(["png", "tif", "bmp", "png"] * 4)
    ]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(5):
            if not np.array_equal(decode(paths[i]), picture(seed=i)):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(paths))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "tif", "webp", "ppm"])
def test_mutated_headers_never_escape_as_anything_else(tmp_path: Path, suffix: str) -> None:
    whole = saved(tmp_path / f"good.{suffix}", Image.fromarray(picture())).read_bytes()
    rng = np.random.default_rng(3)
    path = tmp_path / f"x.{suffix}"
    for _ in range(150):
        data = bytearray(whole)
        for place in rng.integers(0, min(len(data), 200), 3):
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            pixels = decode(path, max_pixels=1_000_000)
        except ImageError:
            continue
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3


@pytest.mark.shared
def test_real_photos_agree_with_pillow(shared: Path) -> None:
    for path in sorted((shared / "data" / "coco" / "images").iterdir())[:10]:
        with Image.open(path) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        np.testing.assert_array_equal(decode(path), expected)
        assert image_size(path) == expected.shape[:2]
