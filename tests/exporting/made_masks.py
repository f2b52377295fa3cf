"""A folder of masks as extract would leave it, with all that an export may stumble over, and its photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pseudomask.config import ExportConfig
from pseudomask.exporting.export import export
from pseudomask.exporting.result import ExportResult
from pseudomask.masks import save_mask
from pseudomask.running.layout import MANIFEST, RECORD, Outputs
from pseudomask.running.manifest import Manifest
from pseudomask.running.record import RunRecord

Call = Callable[..., tuple[int, str, list[str]]]
CLASSES = ("bar", "disc", "square")


def drawn(seed: int, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """A mask of blobs with holes, several parts, thin parts, and a strip to ignore."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, np.uint8)
    for index in (1, 2, 3):
        top, left = rng.integers(0, size[0] // 2), rng.integers(0, size[1] // 2)
        mask[top : top + 9, left : left + 11] = index
        mask[top + 3 : top + 5, left + 2 : left + 6] = rng.integers(0, 4)  # a hole, or another class in it
    mask[-1, -3:] = 1
    mask[:2, -4:] = 255
    return mask


@dataclass
class Made:
    """photos/ and masks/ below `place`; `masks` holds each key's label map, `photos` its photo's path below photos/."""

    place: Path
    classes: Sequence[str] = CLASSES
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    photos: dict[str, str] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return self.place / "masks"

    @property
    def dest(self) -> Path:
        return self.place / "dest"

    def add(self, relative: str, mask: np.ndarray | None = None, **entry: Any) -> None:
        """One photo with its mask, or without where its entry says that it failed."""
        key = relative.rpartition(".")[0]
        mask = drawn(len(self.masks)) if mask is None else mask
        photo = self.place / "photos" / relative
        photo.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(self.masks)).integers(0, 256, (*mask.shape, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photo, {"gif": "GIF", "png": "PNG"}.get(relative.rpartition(".")[2], "JPEG"))
        line = {"key": key, "image": relative, "status": "done", "mask": f"{key}.png"} | entry
        if line["status"] == "done":
            save_mask(Outputs(key, self.out).mask, mask)
            self.masks[key], self.photos[key] = mask, relative
        Manifest(self.out / MANIFEST).append(line)

    def record(self, **changes: Any) -> None:
        facts: dict[str, Any] = {
            "command": "extract",
            "config": {"images": str(self.place / "photos")},
            "classes": list(self.classes),
            "protocol": {"method": "recam", "threshold": 0.3},
        }
        RunRecord(**facts | changes).write(self.out / RECORD)

    def export(self, format: Any, **settings: Any) -> ExportResult:
        return export(ExportConfig(out=self.out, dest=settings.pop("dest", self.dest), format=format, **settings))


def six(place: Path) -> Made:
    """Six photos in two folders; an empty and a full mask among them; one photo failed."""
    made = Made(place)
    made.add("a.jpg")
    made.add("deep/b c.jpg")
    made.add("deep/é☃.jpg")
    made.add("empty.jpg", np.zeros((10, 14), np.uint8))
    made.add("full.jpg", np.full((13, 9), 2, np.uint8))
    made.add("deep/er/last.jpg")
    made.add("broken.jpg", status="failed", reason="truncated")
    made.record()
    return made
