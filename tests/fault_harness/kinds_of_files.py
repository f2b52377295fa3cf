"""The kinds of files that fuzz.py damages: sound bytes of each, and who reads it."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch
import wide
from labels import read_labels
from PIL import Image

from fault_harness import torture
from pseudomask.config import ExtractConfig, RefineConfig, sources
from pseudomask.config.settings import settings
from pseudomask.data.decoding import decode, image_size
from pseudomask.data.images import ImageItem, read_list
from pseudomask.data.labels import read_classes
from pseudomask.data.survey import settle
from pseudomask.errors import PseudomaskError
from pseudomask.masks import load_mask
from pseudomask.measuring.evaluate import evaluate
from pseudomask.networks.checkpoint import load_network, read_card
from pseudomask.refining.seeds import read_seeds
from pseudomask.running.folder_run import FolderRun
from pseudomask.running.layout import Outputs
from pseudomask.running.manifest import Manifest
from pseudomask.running.record import RunRecord
from pseudomask.running.reporter import SilentReporter
from pseudomask.scores import ScoreMap, load_scores, save_scores
from pseudomask.training.state import CHECKPOINT, Log, load_state, save_state


@dataclass(frozen=True)
class Target:
    """A kind of file: its name, sound bytes of it, and who reads it."""

    name: str
    sound: Callable[[Path], bytes]
    read: Callable[[Path], object]


def _saved(write: Callable[[Path], object], name: str) -> Callable[[Path], bytes]:
    def sound(folder: Path) -> bytes:
        write(folder / name)
        return (folder / name).read_bytes()

    return sound


def _image(kind: str, **more: Any) -> Callable[[Path], bytes]:
    return lambda folder: torture.encoded(torture.photo(1, (24, 32)), kind, **more)


def _decode(path: Path) -> None:
    for patient in (False, True):
        with suppress(PseudomaskError):
            decode(path, max_pixels=1_000_000, allow_truncated=patient)
    image_size(path)


def _wide(content: Callable[[np.ndarray], bytes]) -> Callable[[Path], bytes]:
    """`content` makes a file of (24, 32, 5) values up to 4095."""
    return lambda folder: content(np.random.default_rng(1).integers(0, 4096, (24, 32, 5)))


def _decode_wide(path: Path) -> None:
    """Also by what a look at the folder finds."""
    _decode(path)
    items = [ImageItem(path.stem, path.name, path.parent)]
    for bands in ((), (5, 1, 2), (1,)):
        with suppress(PseudomaskError):
            config = ExtractConfig(images=path.parent, out=path.parent, bands=bands, max_pixels=1_000_000)
            reading = settle(config, items, SilentReporter())[1]
            decode(path, max_pixels=1_000_000, reading=reading)


def _labels(kind: str) -> Callable[[Path], object]:
    return lambda path: read_labels(path, format=kind)


def _any_labels(path: Path) -> None:
    """As a user's command reads them: whatever the file is, with and without the options that settle what is odd."""
    for more in (
        {},
        {"merge_names": True, "separator": ",", "no_class": ["NA"], "skip_tag": ["?"]},
        {"classes": _PETS},
    ):
        with suppress(PseudomaskError):
            read_labels(path, images=Path("/data/images"), **more)


def _class_folders(path: Path) -> None:
    """A folder of class folders, as the lines of the file name them."""
    tree = path.with_name("tree")
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir()
    for line in path.read_bytes().splitlines()[:40]:
        name = os.fsdecode(line).strip("/")
        if name and len(name) < 100 and "\0" not in name and ".." not in name.split("/"):
            with suppress(OSError):  # a file where a folder should be
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                (tree / name).touch()
    for more in ({}, {"merge_names": True, "skip_tag": ["__MACOSX", "train"]}, {"classes": _PETS}):
        with suppress(PseudomaskError):
            read_labels(tree, format="folders", **more)


def _per_image(path: Path) -> object:
    """A folder of XML or labelme files: `path` is one of them, alone in its folder."""
    return read_labels(path.parent, format="voc" if path.suffix == ".xml" else "per-image")


_RECORD = RunRecord(
    command="extract",
    config={"method": "recam", "threshold": 0.3, "images": "photos"},
    classes=("bar", "disc"),
    weights={"file": "w", "sha256": "0", "licence": "x"},
    images_hash="1",
    protocol={"threshold": 0.3, "threshold_chosen": "given"},
    timings={"extract": 1.0},
)


def _record(path: Path) -> None:
    """As a resumed run, refine and evaluate read it."""
    fields = ["command", "classes", "weights.sha256", "images_hash", "config.threshold", "config"]
    folder = path.parent
    (folder / "scores").mkdir(exist_ok=True)
    (folder / "a.png").write_bytes(_mask(folder))
    for use in (
        lambda: FolderRun(folder, _RECORD, [Outputs("a", folder)], fields=fields, overwrite=False),
        lambda: read_seeds(folder, None),
        lambda: evaluate(folder, folder),
    ):
        with suppress(PseudomaskError):
            use()


def _run(path: Path) -> None:
    """A manifest, as a resumed run, refine and a run that overwrites read it."""
    _RECORD.write(path.parent / "run.json")
    for overwrite in (False, True):
        run = FolderRun(
            path.parent, _RECORD, [Outputs("a", path.parent)], fields=["command", "classes"], overwrite=overwrite
        )
        run.pending(with_scores=True)
        run.count("done")
        read_seeds_of(path.parent)
    Manifest(path).compact(["a"])


def read_seeds_of(folder: Path) -> None:
    (folder / "scores").mkdir(exist_ok=True)
    seeds = read_seeds(folder, None)
    for entry in seeds.entries.values():
        str(entry.get("reason"))


def _config(path: Path) -> None:
    for config, verb in ((ExtractConfig, "extract"), (RefineConfig, "refine")):
        found = settings(config)
        file = sources.read_config(path, verb, found, ("extract", "refine"))
        sources.resolve(verb, found, {"images": "a", "out": "b", "seeds": "c"}, {}, file)


def _trainer() -> tuple[Any, torch.optim.Optimizer]:
    network = torch.nn.Linear(2, 2)
    return network, torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)


def _checkpoint(folder: Path) -> bytes:
    network, optimizer = _trainer()
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    save_state(folder, network, optimizer, 7)
    return (folder / CHECKPOINT).read_bytes()


def _resumed(path: Path) -> None:
    load_state(path.parent, *_trainer())


_CSV = b"filename,labels\np01.png,bar;disc\ndeep/p02.png,square\np03.png,\n"
_PETS = ("cat", "dog")
_TABLES = {
    "excel.csv": b'sep=;\r\nfilename;labels;\r\na.jpg;"cat,dog";\r\nb.jpg;dog;\r\n',
    "lists.csv": b"""filename,labels\na.jpg,"['cat', 'dog']"\nb.jpg,[]\nc.jpg,"[""dog""]"\nd.jpg,cat;dog;\n""",
    "odd.csv": b"filename,labels\na.jpg,cat|dog\nb.jpg,NA\nc.jpg,Cat\nd.jpg,cat (2)\ne.jpg,cat:0.93\nf.jpg,12\n",
    "pandas.csv": b',filename,cat,dog,width\n0,a.jpg,TRUE,FALSE,640\n1,b.jpg,x,,480\n2,c.jpg,1.0,"0,0",1\n',
    "rows.csv": b"ImageID,Source,LabelName,Confidence\na,v,cat,1\na,v,dog,1\nb,v,dog,0\nb,v,cat,1\n",
    "paths.csv": b"image_path|class\n/data/images/a.jpg|cat\nC:\\data\\images\\b.jpg|dog\n../images/c.jpg|cat\n",
    "hot.txt": b"a.jpg 1 0\nb.jpg 0 1\nc.jpg\t1\t1\n",
    "ids.json": b'{"images": [{"id": "1", "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "category_id": "3"}],'
    b' "categories": [{"id": 3.0, "name": "cat"}]}',
    "studio.json": b'[{"id": 1, "data": {"image": "/data/a.jpg"}, "annotations": [{"result": [{"type": "choice"}]}]}]',
    "cvat.xml": b'<annotations><image id="0" name="a.jpg"><tag label="cat"/></image></annotations>',
}
_FOLDERS = (
    b"Training/cat/a.jpg\npets/dog/b.jpg\n__MACOSX/c.jpg\nCat/d.jpg\ncat/e.jpg\nimages/f.jpg\nNA/g.jpg\nval/h.jpg\n"
)
_ONE_HOT = b"filename,bar,disc,split\np01.png,1,0,train\np03.png,0,1,val\n"
_XML = b"<annotation><object><name>cat</name><difficult>1</difficult><part><name>h</name></part></object></annotation>"
_COCO = {
    "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
    "annotations": [{"image_id": 7, "category_id": 3, "iscrowd": 0}, {"image_id": 9, "category_id": 90, "iscrowd": 1}],
    "categories": [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}],
}
_LABELME = {"flags": {"cat": True, "dog": False}, "shapes": [{"label": "cow", "points": []}]}
_LINES = [{"key": "a", "image": "a.jpg", "status": "done", "classes": ["bar"]}, {"key": "b", "status": "failed"}]
_TOML = b'threshold = 0.4\nscales = "1.0"\n[extract]\nbatch-size = 2\n[refine]\nmethod = ["crf"]\n'


def _scores(path: Path) -> None:
    values = np.linspace(0, 1, 2 * 6 * 8, dtype=np.float32).reshape(2, 6, 8)
    save_scores(path, ScoreMap((1, 3), values, (24, 32), 4))


def _mask(folder: Path) -> bytes:
    stream = io.BytesIO()
    image = Image.fromarray(np.arange(12 * 12, dtype=np.uint8).reshape(12, 12) % 3)
    image.putpalette(bytes(range(256)) * 3)
    image.save(stream, "PNG")
    return stream.getvalue()


def _weights(path: Path) -> None:
    read_card(path)
    load_network(path)


TARGETS = (
    *(
        Target(f"photo.{suffix}", _image(kind), _decode)
        for suffix, kind in (("jpg", "JPEG"), ("png", "PNG"), ("gif", "GIF"), ("bmp", "BMP"), ("tif", "TIFF"))
    ),
    Target("photo.webp", _image("WEBP"), _decode),
    Target("photo.ppm", _image("PPM"), _decode),
    Target("photo.jp2", _image("JPEG2000"), _decode_wide),
    Target("photo.avif", _image("AVIF"), _decode_wide),
    Target("deep.png", _wide(lambda v: wide.png16(v[..., :3].astype("u2"))), _decode_wide),
    Target("deep.ppm", _wide(lambda v: b"P6 32 24 65535\n" + v[..., :3].astype(">u2").tobytes()), _decode_wide),
    Target("deep.tif", _wide(lambda v: wide.tiff(v.astype("u2"), compression=wide.LZW, predictor=2)), _decode_wide),
    Target("float.tif", _wide(lambda v: wide.tiff(v.astype("f4"), compression=wide.DEFLATE, tile=16)), _decode_wide),
    Target("planar.tif", _wide(lambda v: wide.tiff(v.astype("i2"), planar=True, big=True)), _decode_wide),
    Target("table.csv", lambda folder: _CSV, _labels("csv")),
    Target("onehot.csv", lambda folder: _ONE_HOT, _labels("csv")),
    *(Target(name, lambda folder, sound=sound: sound, _any_labels) for name, sound in _TABLES.items()),
    Target("folders.tree", lambda folder: _FOLDERS, _class_folders),
    Target("metadata.jsonl", lambda folder: b'{"file_name": "a.jpg", "labels": ["x"]}\n', _labels("imagefolder")),
    Target("lines.txt", lambda folder: b"a.jpg cat dog\nb.jpg\tblue cat\n", _labels("text")),
    Target("classes.txt", lambda folder: b"background\ncat\ndog\n", read_classes),
    Target("names.txt", lambda folder: b"a\nb.jpg\n# c\n", read_list),
    Target("a.xml", lambda folder: _XML, _per_image),
    Target("coco.json", lambda folder: json.dumps(_COCO).encode(), _labels("coco")),
    Target("a.json", lambda folder: json.dumps(_LABELME).encode(), _per_image),
    Target("manifest.jsonl", lambda folder: "".join(json.dumps(e) + "\n" for e in _LINES).encode(), _run),
    Target("run.json", lambda folder: json.dumps(_RECORD.to_json()).encode(), _record),
    Target("scores.npz", _saved(_scores, "scores.npz"), load_scores),
    Target("mask.png", _mask, load_mask),
    Target("settings.toml", lambda folder: _TOML, _config),
    Target(CHECKPOINT, _checkpoint, _resumed),
    Target("log.jsonl", lambda folder: b'{"step": 1, "loss": 0.5}\n{"step": 2}\n', lambda p: Log(p, from_step=1)),
    Target("weights.safetensors", _saved(lambda p: tiny.write_weights(p), "weights.safetensors"), _weights),
)
