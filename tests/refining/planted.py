"""Seeds with a planted answer: blurred shapes, as `extract` would leave them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import tiny
from PIL import Image

from pseudomask.config import RefineConfig
from pseudomask.running.layout import MANIFEST, RECORD, Outputs
from pseudomask.running.manifest import Manifest
from pseudomask.running.record import RunRecord
from pseudomask.scores import ScoreMap, save_scores

Settings = Callable[..., RefineConfig]
THRESHOLD = 0.3
KEYS = ["deep/p00", "deep/p02", "deep/p04", "p01", "p03", "p05"]


def truth_of(photo: np.ndarray) -> np.ndarray:
    """The shapes of a tiny photo: they have plain colours."""
    mask = np.zeros(photo.shape[:2], np.uint8)
    for index, name in enumerate(tiny.CLASSES, 1):
        mask[(photo == tiny.COLOURS[name]).all(2)] = index
    return mask


def blurred(photo: np.ndarray, stride: int = 4, sigma: float = 5.0) -> ScoreMap:
    """Each shape as a soft blob on the score grid, its maximum 1."""
    mask = truth_of(photo)
    classes = tuple(int(c) for c in np.unique(mask) if c)
    h, w = (-(-side // stride) for side in mask.shape)
    planes = []
    for index in classes:
        soft = cv2.GaussianBlur((mask == index).astype(np.float32), (0, 0), sigma)
        soft = cv2.resize(soft, (w, h), interpolation=cv2.INTER_AREA)
        planes.append(soft / soft.max())
    values = np.stack(planes) if planes else np.zeros((0, h, w), np.float32)
    return ScoreMap(classes, np.clip(values, 0, 1), mask.shape, stride)  # type: ignore[arg-type]


def write_seeds(photos: Path, seeds: Path, threshold: float = THRESHOLD) -> None:
    """Scores, manifest and record, but no masks: nobody needs them."""
    manifest = Manifest(seeds / MANIFEST)
    for path in sorted(photos.rglob("*.png")):
        key = path.relative_to(photos).as_posix().removesuffix(".png")
        scores = blurred(np.asarray(Image.open(path)))
        save_scores(Outputs(key, seeds).scores, scores)
        facts = {"size": list(scores.size), "classes": [tiny.CLASSES[c - 1] for c in scores.classes]}
        manifest.append({"key": key, "image": f"{key}.png", "status": "done", "tags": "labels", **facts})
    record = RunRecord(
        command="extract",
        config={"method": "recam", "threshold": threshold},
        classes=tiny.CLASSES,
        weights={"file": "w.safetensors", "sha256": "00", "licence": "CC0-1.0"},
        images_hash="1",
        protocol={"method": "recam", "threshold": threshold, "threshold_chosen": "from the weights' card"},
    )
    record.write(seeds / RECORD)


def files(out: Path) -> dict[str, bytes]:
    """All that decides something, by name: the record holds times, the manifest does not."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != RECORD
    }
