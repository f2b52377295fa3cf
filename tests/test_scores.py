"""Score maps and their file: geometry, size, exactness, and files that lie."""

from __future__ import annotations

import bz2
import io
import os
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from pseudomask.errors import UsageError
from pseudomask.scores import ScoreMap, load_scores, quantise, save_scores


def smooth(n: int, size: tuple[int, int], stride: int = 4, seed: int = 0) -> ScoreMap:
    """Maps as a network at output stride 16 gives them: bilinear from a 16 times smaller random grid."""
    rng = np.random.default_rng(seed)
    h, w = -(-size[0] // stride), -(-size[1] // stride)
    coarse = np.maximum(rng.normal(size=(n, -(-size[0] // 16), -(-size[1] // 16))), 0).astype(np.float32)
    planes = [cv2.resize(plane, (w, h), interpolation=cv2.INTER_LINEAR) for plane in coarse]
    values = np.stack([p / (p.max() + 1e-5) for p in planes]) if n else np.zeros((0, h, w), np.float32)
    return ScoreMap(tuple(range(1, n + 1)), values.astype(np.float32), size, stride)


def bilinear(plane: np.ndarray, stride: int, size: tuple[int, int]) -> np.ndarray:
    """Half-pixel-centre bilinear in float64, from the definition."""

    def axis(length: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.clip((np.arange(count) + 0.5) / stride - 0.5, 0, length - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, length - 1), at - low

    plane = plane.astype(np.float64)
    top, bottom, dy = axis(plane.shape[0], size[0])
    left, right, dx = axis(plane.shape[1], size[1])
    rows = plane[top] * (1 - dy)[:, None] + plane[bottom] * dy[:, None]
    return rows[:, left] * (1 - dx) + rows[:, right] * dx


@pytest.mark.parametrize("size", [(375, 500), (1, 1), (5, 3), (1, 5000), (5000, 1), (37, 64)])
def test_upsample_is_bilinear_with_half_pixel_centres(size: tuple[int, int]) -> None:
    scores = smooth(2, size)
    full = scores.upsample()
    assert full.shape == (2, *size)
    assert full.dtype == np.float32
    for plane, expected in zip(full, scores.values, strict=True):
        np.testing.assert_allclose(plane, bilinear(expected, 4, size), atol=2e-6)


def test_upsample_equals_torch() -> None:
    torch = pytest.importorskip("torch")
    scores = smooth(3, (90, 121))
    given = torch.from_numpy(scores.values)[None]
    h, w = scores.values.shape[1:]
    expected = torch.nn.functional.interpolate(given, (4 * h, 4 * w), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(scores.upsample(), expected[0, :, :90, :121].numpy(), atol=1e-6)


def test_mask_is_the_argmax_over_a_constant_background() -> None:
    scores = smooth(3, (60, 70))
    scores = ScoreMap((2, 7, 20), scores.values, scores.size, 4)
    for threshold in (0.0, 0.2, 0.5, 1.0):
        planes = np.concatenate([np.full((1, 60, 70), threshold, np.float32), scores.upsample()])
        expected = np.array([0, 2, 7, 20])[planes.argmax(0)]
        np.testing.assert_array_equal(scores.mask(threshold), expected)
        assert scores.mask(threshold).dtype == np.uint8
    assert not scores.mask(1.0).any()


def test_ties_go_to_background_then_to_the_lower_class() -> None:
    values = np.stack([np.full((2, 2), 0.5, np.float32)] * 2)
    scores = ScoreMap((3, 4), values, (8, 8), 4)
    assert not scores.mask(0.5).any()
    assert (scores.mask(0.25) == 3).all()


def test_a_plateau_of_ones_stays_within_range() -> None:
    scores = ScoreMap((1,), np.ones((1, 7, 9), np.float32), (25, 33), 4)
    assert scores.upsample().max() == 1
    assert not scores.mask(1.0).any()
    assert scores.mask(0.99).all()


def test_an_image_without_classes_is_background() -> None:
    scores = smooth(0, (20, 30))
    assert scores.upsample().shape == (0, 20, 30)
    assert not scores.mask(0.0).any()
    assert scores.mask(0.0).shape == (20, 30)


def test_high_class_indices_make_a_16_bit_mask() -> None:
    scores = ScoreMap((1, 300), smooth(2, (20, 20)).values, (20, 20), 4)
    assert scores.mask(0.1).dtype == np.uint16
    assert scores.mask(0.1).max() == 300


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_thresholds_outside_the_range_are_refused(threshold: float) -> None:
    with pytest.raises(UsageError, match="threshold"):
        smooth(1, (8, 8)).mask(threshold)


@pytest.mark.parametrize(
    ("classes", "shape", "size", "stride"),
    [
        ((0,), (1, 2, 2), (8, 8), 4),
        ((2, 1), (2, 2, 2), (8, 8), 4),
        ((1, 1), (2, 2, 2), (8, 8), 4),
        ((65_535,), (1, 2, 2), (8, 8), 4),
        ((1,), (1, 2, 3), (8, 8), 4),
        ((1,), (2, 2, 2), (8, 8), 4),
        ((1,), (1, 2, 2), (8, 8), 0),
        ((1,), (1, 0, 2), (0, 8), 4),
    ],
)
def test_parts_that_do_not_fit_are_refused(classes, shape, size, stride) -> None:
    with pytest.raises(ValueError, match=r"classes|values|stride"):
        ScoreMap(classes, np.zeros(shape, np.float32), size, stride)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.01, 1.01])
def test_values_outside_the_unit_interval_are_refused(value: float) -> None:
    values = np.zeros((1, 2, 2), np.float32)
    values[0, 1, 1] = value
    with pytest.raises(ValueError, match="numbers in"):
        ScoreMap((1,), values, (8, 8), 4)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_file_gives_back_the_quantised_scores(tmp_path: Path, n: int, bits) -> None:
    scores = smooth(n, (61, 83), stride=3)
    path = tmp_path / "x.npz"
    save_scores(path, scores, bits=bits)
    loaded, quantised = load_scores(path), quantise(scores, bits)
    assert (loaded.classes, loaded.size, loaded.stride) == (scores.classes, (61, 83), 3)
    np.testing.assert_array_equal(loaded.values, quantised.values)
    np.testing.assert_array_equal(loaded.mask(0.31), quantised.mask(0.31))
    np.testing.assert_allclose(loaded.values, scores.values, atol=0.5001 / (2**bits - 1))
    again = tmp_path / "again.npz"
    save_scores(again, loaded, bits=bits)
    assert again.read_bytes() == path.read_bytes()  # reproducible, and quantising twice changes nothing


def test_every_stored_level_survives(tmp_path: Path) -> None:
    for bits, side in ((8, 16), (16, 256)):
        levels = np.arange(side * side, dtype=np.float32).reshape(1, side, side) / np.float32(side * side - 1)
        scores = ScoreMap((1,), levels, (side, side), 1)
        np.testing.assert_array_equal(quantise(scores, bits).values, levels)


@pytest.mark.parametrize("seed", range(5))
def test_a_voc_image_with_three_classes_takes_at_most_25_kb(tmp_path: Path, seed: int) -> None:
    save_scores(tmp_path / "x.npz", smooth(3, (375, 500), seed=seed))
    assert (tmp_path / "x.npz").stat().st_size <= 25_000


def test_numpy_reads_the_file(tmp_path: Path) -> None:
    scores = smooth(2, (30, 41))
    save_scores(tmp_path / "x.npz", scores)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["values"], np.rint(scores.values * 255))
        assert arrays["classes"].tolist() == [1, 2]
        assert arrays["size"].tolist() == [30, 41]
        assert arrays["stride"] == 4


# ---------------------------------------------------------------------------------- files that are not ours


def members(**changes: object) -> dict[str, object]:
    whole: dict[str, object] = {
        "version": np.array(1, np.uint8),
        "classes": np.array([1, 4], np.uint16),
        "values": np.zeros((2, 3, 3), np.uint8),
        "size": np.array([10, 11], np.uint32),
        "stride": np.array(4, np.uint16),
    }
    whole.update(changes)
    return {name: value for name, value in whole.items() if value is not None}


def write(path: Path, arrays: dict[str, object], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, value in arrays.items():
            data = value if isinstance(value, bytes) else npy(value)
            archive.writestr(f"{name}.npy", data)
    return path


def npy(array: object) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_files_written_by_other_tools_are_read(tmp_path: Path, method: int) -> None:
    loaded = load_scores(write(tmp_path / "x.npz", members(), method))
    assert loaded.classes == (1, 4)
    assert loaded.size == (10, 11)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": None},
        {"version": np.array(2, np.uint8)},
        {"version": np.array([1], np.uint8)},
        {"classes": np.array([4, 1], np.uint16)},
        {"classes": np.array([0, 1], np.uint16)},
        {"classes": np.array([1, 2, 3], np.uint16)},
        {"classes": np.array([1, 4], np.int64)},
        {"values": np.zeros((2, 3, 4), np.uint8)},
        {"values": np.zeros((2, 3, 3), np.float32)},
        {"values": np.array([{"a": 1}], object)},
        {"values": np.zeros((2, 3, 3), ">u2")},
        {"values": np.asfortranarray(np.zeros((2, 3, 3), np.uint8))},
        {"values": npy(np.zeros((2, 3, 3), np.uint8))[:-1]},
        {"values": npy(np.zeros((2, 3, 3), np.uint8)) + b"x"},
        {"values": b""},
        {"values": b"\x93NUMPY\x01\x00\x10\x00{'descr': '|u1'"},
        {"values": pickle.dumps([1, 2])},
        {"size": np.array([0, 11], np.uint32)},
        {"size": np.array([2**31, 2**31], np.uint32)},
        {"size": np.array([1 << 20, 1 << 20], np.uint32)},
        {"size": np.array([1 << 19, 1 << 19], np.uint32)},
        {"stride": np.array(0, np.uint16)},
        {"stride": np.array(1, np.uint16)},
    ],
)
def test_wrong_members_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="not a pseudomask score file") as caught:
        load_scores(write(tmp_path / "x.npz", members(**changes)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "header",
    ["", "(", "{[]: 1}", "{1: 2, 'a': 3}", "  x\n y\n", "-" * 900 + "1", "(" * 200, "{'descr': ('|u1',), 'shape': ()}"],
)
def test_odd_headers_are_refused(tmp_path: Path, header: str) -> None:
    """What Python's parser has many exceptions for."""
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(18)
    with pytest.raises(UsageError, match="not a pseudomask score file"):
        load_scores(write(tmp_path / "x.npz", members(values=member)))


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    evil = np.empty(18, object)
    evil[:] = [Trap(tmp_path / "sprung")] * 18
    for name in ("values", "classes", "version"):
        with pytest.raises(UsageError, match="not a pseudomask score file"):
            load_scores(write(tmp_path / "x.npz", members(**{name: evil.reshape(2, 3, 3)})))
    assert not (tmp_path / "sprung").exists()


def test_a_flipped_score_is_found_by_the_checksum(tmp_path: Path) -> None:
    values = np.full((2, 3, 3), 77, np.uint8)
    path = write(tmp_path / "x.npz", members(values=values), zipfile.ZIP_STORED)
    whole = path.read_bytes()
    assert load_scores(path).values[0, 0, 0] == np.float32(77 / 255)
    path.write_bytes(whole.replace(bytes([77] * 18), bytes([77] * 17 + [78])))
    with pytest.raises(UsageError, match="damaged"):
        load_scores(path)


def test_values_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="float32"):
        ScoreMap((1,), np.zeros((1, 2, 2)), (8, 8), 4)


def test_damage_anywhere_is_a_usage_error_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    save_scores(path, smooth(2, (40, 50)))
    whole = path.read_bytes()
    before = load_scores(path)
    rng = np.random.default_rng(1)
    refused = 0
    for length in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UsageError, match="not a pseudomask score file"):
            load_scores(path)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            after = load_scores(path)
        except UsageError:
            refused += 1
        else:  # a byte that no reader looks at: time stamps, permissions
            np.testing.assert_array_equal(after.values, before.values)
    assert refused > 200


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.npz", tmp_path):
        with pytest.raises(UsageError, match="cannot read"):
            load_scores(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_a_zip_bomb_takes_no_memory(tmp_path: Path, method: int) -> None:
    path = tmp_path / "bomb.npz"
    header = npy(np.zeros((2, 3, 3), np.uint8))[:128]
    write(path, members(values=header + bytes(200 << 20)), method)
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match="not a pseudomask score file"):
            load_scores(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_sizes_beyond_the_limit_are_refused_both_ways(tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path / "x.npz", members(size=np.array([1 << 19, 1 << 19], np.uint32)))
    with pytest.raises(UsageError, match="the limit"):
        load_scores(path)
    monkeypatch.setattr("pseudomask.scores._MAX_VALUES", 100)
    with pytest.raises(UsageError, match="larger stride"):
        save_scores(tmp_path / "y.npz", smooth(2, (40, 40)))
    assert not (tmp_path / "y.npz").exists()


def test_a_member_whose_sizes_lie_is_refused(tmp_path: Path) -> None:
    """Local header, central directory and stream each say something else."""
    path = write(tmp_path / "x.npz", members(values=npy(np.zeros((2, 3, 3), np.uint8))), zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("values.npy")
    central = data.rindex(b"PK\x01\x02", 0, data.index(b"values.npy", info.header_offset + 60))
    struct.pack_into("<I", data, central + 24, 3_000_000_000)
    path.write_bytes(data)
    with pytest.raises(UsageError):
        load_scores(path)


def test_compression_used_is_what_the_documentation_says(tmp_path: Path) -> None:
    save_scores(tmp_path / "x.npz", smooth(3, (375, 500)))
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        plain = archive.read("values.npy")
    assert len(bz2.compress(plain)) < len(zlib.compress(plain, 9))


def test_unknown_bit_depth_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="8 or 16"):
        save_scores(tmp_path / "x.npz", smooth(1, (8, 8)), bits=12)  # type: ignore[arg-type]
    assert not [*tmp_path.iterdir()]
