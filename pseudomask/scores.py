"""Score maps and their compact file format.

A score file is a `.npz` that anyone can read: `numpy.load("x.npz")["values"] / 255`. It holds plain arrays:

    version  ()         uint8   1
    classes  (n,)       uint16  mask index of each plane, ascending; 0 is background and has no plane
    values   (n, h, w)  uint8 or uint16, score * 255 or * 65535, rounded
    size     (2,)       uint32  (H, W) of the oriented image
    stride   ()         uint16  h = ceil(H / stride), w = ceil(W / stride)

The members are compressed with bzip2, which NumPy reads just like deflate: on such smooth maps it is 5 to
20 % smaller than deflate or PNG on the same plain bytes, and its bytes do not depend on the machine's zlib.
A 500 x 375 image with 3 classes takes about 22 KB if no map is zero anywhere, and 6 KB if the maps are mostly
zero (16 bits: 63 and 12 KB).
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import cv2
import numpy as np

from pseudomask.errors import UsageError
from pseudomask.files import open_file
from pseudomask.npz import read_array
from pseudomask.running.atomic import atomic_write

Bits = Literal[8, 16]

_VERSION = 1
_MAX_CLASS = 65_534  # 65,535 is the ignore index of 16-bit masks
MAX_SIDE = 1 << 20  # pixels along a photo's side
_MAX_VALUES = 1 << 28  # elements of `values`; 1 GiB as float32
_MEMBERS = ("version", "classes", "values", "size", "stride")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed date, so that the same scores give the same bytes


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """Class scores of one image at reduced resolution.

    classes: mask indices (>= 1), ascending, one per plane; may be empty (an image without tags).
    values:  float32 (n, h, w) in [0, 1].
    size:    (H, W) of the image.
    stride:  image pixels per score pixel; h = ceil(H / stride), w = ceil(W / stride).

    Raises ValueError if these do not fit together.
    """

    classes: tuple[int, ...]
    values: np.ndarray
    size: tuple[int, int]
    stride: int

    def __post_init__(self) -> None:
        _check_geometry(self.classes, self.values.shape, self.size, self.stride)
        if self.values.dtype != np.float32:
            raise ValueError(f"score values must be float32, not {self.values.dtype}")
        if self.values.size and not (self.values.min() >= 0 and self.values.max() <= 1):  # NaN fails too
            raise ValueError("score values must be numbers in [0, 1]")

    def planes(self) -> Iterator[np.ndarray]:
        """Yield each class's plane at full size, float32 (H, W) in [0, 1], with one in memory at a time."""
        height, width = self.size
        for plane in self.values:
            full_size = (plane.shape[1] * self.stride, plane.shape[0] * self.stride)
            full = cv2.resize(np.ascontiguousarray(plane), full_size, interpolation=cv2.INTER_LINEAR)
            # Interpolation weights are rounded, so a plateau of ones may end up one ulp above 1.
            yield np.minimum(full[:height, :width], np.float32(1))

    def upsample(self) -> np.ndarray:
        """Scores at full size, float32 (n, H, W) in [0, 1].

        Bilinear with half-pixel centres (torch: `align_corners=False`) to (h * stride, w * stride), then
        cropped to (H, W).
        """
        out = np.empty((len(self.classes), *self.size), np.float32)
        for index, plane in enumerate(self.planes()):
            out[index] = plane
        return out

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """The highest score of each pixel, float32 (H, W), and its class, uint8 or uint16 (H, W).

        Ties go to the lower class index. Without classes, all scores and classes are 0. Needs memory for three
        planes, however many classes there are.
        """
        dtype = self._mask_dtype()
        if not self.classes:
            return np.zeros(self.size, np.float32), np.zeros(self.size, dtype)
        planes = self.planes()
        score = next(planes)
        label = np.full(self.size, self.classes[0], dtype)
        for index, plane in zip(self.classes[1:], planes, strict=True):
            label[plane > score] = index
            np.maximum(score, plane, out=score)
        return score, label

    def mask(self, threshold: float) -> np.ndarray:
        """Label map (H, W): the best class where its score is above `threshold` (in [0, 1]), otherwise 0.

        The background acts as a constant plane of height `threshold` that wins ties. The type is uint8, or uint16
        if any class index is above 254.
        """
        limit = check_threshold(threshold)
        score, label = self.best()
        label[score <= limit] = 0
        return label

    def _mask_dtype(self) -> type[np.unsignedinteger]:
        return np.uint8 if not self.classes or self.classes[-1] <= 254 else np.uint16


def check_threshold(threshold: float) -> np.float32:
    """`threshold` as the float32 that scores are compared with. Raises UsageError unless it is in [0, 1]."""
    if not 0 <= threshold <= 1:
        raise UsageError(f"the background threshold must be in [0, 1], not {threshold}")
    return np.float32(threshold)


def quantise(scores: ScoreMap, bits: Bits = 8) -> ScoreMap:
    """What `load_scores` would return after `save_scores`, so that masks made in memory equal those made from disk."""
    return ScoreMap(scores.classes, _decode(_encode(scores.values, bits)), scores.size, scores.stride)


def save_scores(path: Path, scores: ScoreMap, *, bits: Bits = 8) -> None:
    """Write a score file (layout above) atomically; the same scores give the same bytes.

    Raises UsageError if there are more values than `load_scores` would read (1 GiB as float32).
    """
    if scores.values.size > _MAX_VALUES:
        reason = f"{scores.values.size} scores exceed the limit of {_MAX_VALUES} per file"
        raise UsageError(f"{path}: {reason}; use a larger stride or fewer classes")
    arrays: dict[str, np.ndarray] = {
        "version": np.array(_VERSION, np.uint8),
        "classes": np.array(scores.classes, np.uint16),
        "values": _encode(scores.values, bits),
        "size": np.array(scores.size, np.uint32),
        "stride": np.array(scores.stride, np.uint16),
    }
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array, allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            info.compress_type = zipfile.ZIP_BZIP2
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, member.getvalue(), compresslevel=9)


def load_scores(path: Path) -> ScoreMap:
    """Read a score file.

    Nothing is unpickled, and no more is decompressed than the checked shapes need. Raises UsageError if
    the file is missing, damaged or not a score file.
    """
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            return _read(file, archive)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError, OverflowError, MemoryError) as error:
        raise _foreign(path, error) from error  # zipfile also fails on newer versions and offsets past 63 bits


def _foreign(path: Path, error: Exception) -> UsageError:
    reason = " ".join(str(error.args[0] if error.args else error).split()) or type(error).__name__
    return UsageError(f"not a pseudomask score file: {path} ({reason[:120]})")


def _check_geometry(classes: tuple[int, ...], shape: tuple[int, ...], size: tuple[int, int], stride: int) -> None:
    """Raise ValueError unless classes, the shape of the values, size and stride fit together."""
    if list(classes) != sorted(set(classes)) or any(not 1 <= index <= _MAX_CLASS for index in classes):
        raise ValueError(f"classes must be ascending mask indices in 1..{_MAX_CLASS}, not {classes[:8]}")
    if not 1 <= stride <= 65_535 or not all(1 <= side <= MAX_SIDE for side in size):
        raise ValueError(f"size {size} or stride {stride} out of range")
    expected = (len(classes), -(-size[0] // stride), -(-size[1] // stride))
    if shape != expected:
        raise ValueError(f"values have shape {shape}, expected {expected} for size {size}, stride {stride}")


def _encode(values: np.ndarray, bits: int) -> np.ndarray:
    if bits not in (8, 16):
        raise UsageError(f"scores are stored with 8 or 16 bits, not {bits}")
    dtype: type[np.unsignedinteger] = np.uint8 if bits == 8 else np.uint16
    return np.rint(values * np.float32(np.iinfo(dtype).max)).astype(dtype)


def _decode(stored: np.ndarray) -> np.ndarray:
    return stored.astype(np.float32) / np.float32(np.iinfo(stored.dtype).max)


def _read(file: BinaryIO, archive: zipfile.ZipFile) -> ScoreMap:
    members = {info.filename: info for info in archive.infolist()}
    missing = [name for name in _MEMBERS if f"{name}.npy" not in members]
    if missing:
        raise ValueError(f"no array {missing[0]!r}")

    def array(name: str, dtypes: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
        if shape is not None and math.prod(shape) > _MAX_VALUES:
            raise ValueError(f"{name}: {math.prod(shape)} values exceed the limit of {_MAX_VALUES}")
        return read_array(file, members[f"{name}.npy"], dtypes, shape, most=_MAX_CLASS)

    version = int(array("version", "B", ()))
    if version != _VERSION:
        raise ValueError(f"format version {version}, but this version reads {_VERSION}")
    classes = tuple(array("classes", "H").tolist())
    height, width = array("size", "I", (2,)).tolist()
    stride = int(array("stride", "H", ()))
    if stride < 1:
        raise ValueError("stride 0")
    shape = (len(classes), -(-height // stride), -(-width // stride))
    _check_geometry(classes, shape, (height, width), stride)
    return ScoreMap(classes, _decode(array("values", "BH", shape)), (height, width), stride)
