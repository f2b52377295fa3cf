"""Mask files, VOC's palette, and the overlay picture."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pseudomask.errors import ImageError, UsageError
from pseudomask.masks import ignore_index, load_mask, overlay, palette, save_mask, save_picture

# As printed in the VOC development kit's documentation.
VOC = {
    0: (0, 0, 0),
    1: (128, 0, 0),
    2: (0, 128, 0),
    3: (128, 128, 0),
    4: (0, 0, 128),
    8: (64, 0, 0),
    15: (192, 128, 128),
    20: (0, 64, 128),
    255: (224, 224, 192),
}


def test_palette_is_that_of_voc() -> None:
    table = palette()
    assert table.shape == (256, 3)
    for index, colour in VOC.items():
        assert tuple(table[index].tolist()) == colour
    assert len(np.unique(table, axis=0)) == 256


def test_a_long_palette_has_no_double_and_starts_the_same() -> None:
    table = palette(4096)
    assert len(np.unique(table, axis=0)) == 4096
    np.testing.assert_array_equal(table[:256], palette())


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).choice([0, 1, 15, 20, 255], (37, 53)).astype(np.uint8)


@pytest.mark.parametrize("mode", ["palette", "index"])
def test_masks_come_back(tmp_path: Path, labels: np.ndarray, mode) -> None:
    path = tmp_path / "deep" / "x.png"
    save_mask(path, labels, mode=mode)
    loaded = load_mask(path)
    np.testing.assert_array_equal(loaded, labels)
    assert loaded.dtype == np.uint8
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.mode == ("P" if mode == "palette" else "L")


def test_a_palette_mask_shows_voc_colours_and_an_index_mask_reads_in_opencv(tmp_path, labels) -> None:
    save_mask(tmp_path / "p.png", labels)
    save_mask(tmp_path / "i.png", labels, mode="index")
    with Image.open(tmp_path / "p.png") as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), palette()[labels])
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "i.png"), cv2.IMREAD_UNCHANGED), labels)


@pytest.mark.parametrize("mode", ["palette", "index"])
def test_16_bit_masks_come_back(tmp_path: Path, mode) -> None:
    mask = np.array([[0, 255, 256], [300, 65_534, 65_535]], np.uint16)
    save_mask(tmp_path / "x.png", mask, mode=mode)
    loaded = load_mask(tmp_path / "x.png")
    np.testing.assert_array_equal(loaded, mask)
    assert loaded.dtype == np.uint16
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "x.png"), cv2.IMREAD_UNCHANGED), mask)


def test_int64_masks_take_the_width_that_they_need(tmp_path: Path) -> None:
    for high, dtype in ((255, np.uint8), (256, np.uint16)):
        save_mask(tmp_path / "x.png", np.array([[0, high]], np.int64))
        assert load_mask(tmp_path / "x.png").dtype == dtype


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((2, 2, 3), np.uint8),
        np.zeros((2, 2), np.float32),
        np.zeros((2, 2), bool),
        np.zeros((0, 2), np.uint8),
        np.array([[-1]]),
        np.array([[65_536]]),
    ],
)
def test_what_is_no_mask_is_refused(tmp_path: Path, mask: np.ndarray) -> None:
    with pytest.raises(UsageError, match="mask"):
        save_mask(tmp_path / "x.png", mask)
    assert not [*tmp_path.iterdir()]


def test_unknown_mode(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="palette or index"):
        save_mask(tmp_path / "x.png", np.zeros((2, 2), np.uint8), mode="rgb")  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_colour_picture_is_no_mask(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "x.png")
    with pytest.raises(UsageError, match=r"x\.png.*colours"):
        load_mask(tmp_path / "x.png")


def test_one_bit_and_small_palettes_give_indices(tmp_path: Path) -> None:
    mask = np.array([[0, 1], [1, 0]], np.uint8)
    Image.fromarray(mask * 255).convert("1").save(tmp_path / "one.png")
    np.testing.assert_array_equal(load_mask(tmp_path / "one.png"), mask)
    small = Image.fromarray(mask).convert("L")
    small.putpalette([0, 0, 0, 255, 0, 0])
    small.save(tmp_path / "p.png", bits=1)
    np.testing.assert_array_equal(load_mask(tmp_path / "p.png"), mask)


def test_broken_mask_files_name_themselves(tmp_path: Path, labels: np.ndarray) -> None:
    path = tmp_path / "x.png"
    save_mask(path, labels)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[-30] ^= 255
    jpeg = tmp_path / "j.jpg"
    Image.fromarray(labels).save(jpeg)
    for data in (b"", b"text", whole[:20], whole[: len(whole) // 2], bytes(flipped), jpeg.read_bytes()):
        path.write_bytes(data)
        with pytest.raises(ImageError, match=r"x\.png: (not a|damaged) PNG"):
            load_mask(path)
    with pytest.raises(ImageError, match="no such file"):
        load_mask(tmp_path / "absent.png")


def test_a_huge_mask_is_refused_from_its_header(tmp_path: Path) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))
    with pytest.raises(ImageError, match="limit"):
        load_mask(tmp_path / "x.png")


def test_a_large_mask_gives_no_warning(tmp_path: Path) -> None:
    mask = np.zeros((9_600, 9_600), np.uint8)  # beyond Pillow's own limit, below ours
    mask[5, 7] = 3
    save_mask(tmp_path / "x.png", mask)
    assert load_mask(tmp_path / "x.png")[5, 7] == 3


def test_ignore_index_moves_out_of_the_way_of_classes() -> None:
    assert ignore_index(254) == 255
    assert ignore_index(255) == 65_535


# ------------------------------------------------------------------------------------------------- overlay


def scene() -> tuple[np.ndarray, np.ndarray]:
    image = np.full((200, 300, 3), 100, np.uint8)
    mask = np.zeros((200, 300), np.uint8)
    mask[100:180, 200:280] = 1
    return image, mask


def test_overlay_blends_the_region_and_leaves_the_rest() -> None:
    image, mask = scene()
    out = overlay(image, mask, alpha=0.5)
    assert out.shape == image.shape
    assert out.dtype == np.uint8
    assert (out[:, :190] == 100).all()
    assert (out[:95] == 100).all()
    np.testing.assert_array_equal(out[140, 240], [114, 50, 50])
    assert (out[100, 200:280] == 255).all()  # contour inside the region
    assert (image == 100).all()


def test_the_contour_of_a_large_photo_is_thicker() -> None:
    mask = np.zeros((1300, 1300), np.uint8)
    mask[600:] = 1
    out = overlay(np.zeros((1300, 1300, 3), np.uint8), mask)
    assert 2 <= (out[:, 5] == 255).all(1).sum() <= 5


def test_alpha_zero_shows_the_photo_and_one_the_colour() -> None:
    image, mask = scene()
    assert (overlay(image, mask, alpha=0)[110:170, 210:270] == 100).all()
    assert (overlay(image, mask, alpha=1)[110:170, 210:270] == palette()[1]).all()


def test_the_legend_names_the_classes_present() -> None:
    image, mask = scene()
    plain = overlay(image, mask)
    named = overlay(image, mask, names=("cat", "dog"))
    changed = (plain != named).any(2)
    assert changed[:15, :30].mean() > 0.9
    assert not changed[30:].any()
    assert not changed[:, 80:].any()
    assert (named[:30, :30].reshape(-1, 3) == palette()[1]).all(1).any()  # its swatch
    assert not (named[:30, :30].reshape(-1, 3) == palette()[2]).all(1).any()
    np.testing.assert_array_equal(overlay(image, mask * 0, names=("cat",)), image)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (14, 300), (3000, 40)])
def test_pictures_of_any_shape(size: tuple[int, int]) -> None:
    image = np.zeros((*size, 3), np.uint8)
    mask = np.ones(size, np.uint8)
    mask[::2] = 255
    assert overlay(image, mask, names=("日本\u0000", "b")).shape == image.shape


def test_many_classes_and_strange_names_fit() -> None:
    image = np.zeros((120, 160, 3), np.uint8)
    mask = (np.arange(120 * 160) % 300).reshape(120, 160).astype(np.uint16)
    out = overlay(image, mask, names=[f"[bold]class {i} with a very long name" for i in range(300)])
    assert out.shape == image.shape


def test_a_picture_too_long_for_jpeg_is_squeezed(tmp_path: Path) -> None:
    save_picture(tmp_path / "long.jpg", np.full((1, 70_000, 3), 200, np.uint8))
    with Image.open(tmp_path / "long.jpg") as found:
        assert found.size == (65_500, 1)


def test_sizes_that_differ_are_refused() -> None:
    image, mask = scene()
    with pytest.raises(UsageError, match="size"):
        overlay(image, mask[:-1])
    with pytest.raises(UsageError, match="uint8"):
        overlay(image.astype(np.float32), mask)
