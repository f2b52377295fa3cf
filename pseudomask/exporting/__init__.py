"""Exports: masks in, a data set that a trainer opens out.

A format is one file and one line in `FORMATS`, and its name in `config.ExportFormat`.
"""

from __future__ import annotations

from pseudomask.exporting.coco import Coco
from pseudomask.exporting.cvat import Cvat
from pseudomask.exporting.imagefolder import Imagefolder
from pseudomask.exporting.mmseg import Mmseg
from pseudomask.exporting.voc import Voc
from pseudomask.exporting.writer import Writer
from pseudomask.exporting.yolo import Yolo

FORMATS: dict[str, type[Writer]] = {
    "voc": Voc,
    "mmseg": Mmseg,
    "coco": Coco,
    "cvat": Cvat,
    "imagefolder": Imagefolder,
    "yolo": Yolo,
}
"""Name → the writer of that format."""
