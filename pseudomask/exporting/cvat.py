"""CVAT's `Segmentation mask 1.1`: a zip to upload into a task that holds the photos."""

from __future__ import annotations

import io
import zipfile

import numpy as np
from PIL import Image

from pseudomask.exporting.names import no_line, no_member
from pseudomask.exporting.source import Piece
from pseudomask.exporting.writer import Writer, colours
from pseudomask.masks import palette

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same masks give the same bytes


class Cvat(Writer):
    """annotations.zip: coloured masks, their labelmap.txt, and lists. Names are those of the photos in the task."""

    with_photos = False
    language = "text"

    @staticmethod
    def fault(name: str) -> str | None:
        return no_member(name)

    @staticmethod
    def class_fault(name: str) -> str | None:
        return "labelmap.txt cannot contain ':'" if ":" in name else no_line(name)

    def __post_init__(self) -> None:
        self.archive = zipfile.ZipFile(self.folder / "annotations.zip", "w")
        self.table = np.array(colours(len(self.classes)), np.uint8)

    def photo(self, piece: Piece) -> None:
        return None

    def add(self, piece: Piece, mask: np.ndarray) -> None:
        present = self.present(mask)
        known = np.where(mask == self.ignore, 0, mask)
        # Without object masks, CVAT's reader treats background as one more object.
        objects = np.zeros(len(self.all_classes), np.uint8)
        objects[present] = 1 + np.arange(len(present)) % 255
        name = self.names[piece.key]
        self._put(f"SegmentationClass/{name}.png", self.table[known])
        self._put(f"SegmentationObject/{name}.png", palette()[objects[known]])

    def finish(self) -> None:
        lines = ["# label:color_rgb:parts:actions"]
        for name, colour in zip(self.all_classes, self.table.tolist(), strict=True):
            lines.append(f"{name}:{','.join(map(str, colour))}::")
        self._write("labelmap.txt", "\n".join([*lines, ""]).encode())
        for split in self.splits:
            names = [self.names[piece.key] for piece in self.written[split]]
            self._write(f"ImageSets/Segmentation/{split}.txt", "\n".join([*names, ""]).encode())

    def close(self) -> None:
        self.archive.close()

    def _put(self, name: str, picture: np.ndarray) -> None:
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "PNG")
        self._write(name, stream.getvalue())

    def _write(self, name: str, content: bytes) -> None:
        info = zipfile.ZipInfo(name, _EPOCH)
        info.external_attr = 0o644 << 16
        info.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
        self.archive.writestr(info, content)

    def paste(self, folder: str) -> str:
        return (
            "In CVAT: a task with the same photos, and a label for each line of labelmap.txt except background;\n"
            f"then Actions > Upload annotations > Segmentation mask 1.1 > {folder}/annotations.zip"
        )

    def losses(self) -> list[str]:
        return self.ignored_pixels("became background, because CVAT has no label for them")
