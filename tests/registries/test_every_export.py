"""What every export format must do; a new one is covered by its name in `ExportFormat`.

What is written is read back by each format's own reader in tests/exporting/test_round_trips.py.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from made_masks import Made, six
from PIL import Image

from pseudomask.errors import UsageError
from pseudomask.exporting import FORMATS
from pseudomask.exporting.writer import Writer

ODD = ["line\nbreak.jpg", "  spaces .jpg", "-dash.jpg", "#sharp.jpg", "[x].jpg", "x.y.jpg", "🦊.jpg", "a'b\"c.jpg"]


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def kind(format: str) -> type[Writer]:
    return FORMATS[format]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return six(tmp_path)


def contents(folder: Path) -> dict[str, bytes]:
    """All files by name, but for the record, which holds a time."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "export.json"
    }


def one_mask(place: Path, mask: np.ndarray, classes: tuple[str, ...] = ("bar", "disc", "square")) -> Made:
    made = Made(place, classes)
    made.add("one.jpg", mask)
    made.record()
    return made


def read(path: Path) -> Iterator[str]:
    """Opens a file as its suffix says; the names of an archive's members."""
    if path.suffix in (".png", ".jpg"):
        with Image.open(path) as image:
            image.load()
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            yield from archive.namelist()
    elif path.suffix == ".xml":
        yield from (image.get("name") or "" for image in ElementTree.parse(path).iter("image"))
    else:
        text = path.read_text("utf-8")
        for part in {".json": [text], ".jsonl": text.splitlines()}.get(path.suffix, []):
            json.loads(part)
        assert "\r" not in text


def test_the_same_masks_give_the_same_bytes(made: Made, format: str) -> None:
    before = contents(made.out) | contents(made.place / "photos")
    made.export(format)
    made.export(format, dest=made.place / "second")
    assert contents(made.dest) == contents(made.place / "second")
    assert contents(made.out) | contents(made.place / "photos") == before, "what it reads stays as it was"


def test_every_file_opens_as_what_its_name_says(made: Made, format: str, kind: type[Writer]) -> None:
    result = made.export(format, val_fraction=0.34)
    names = [path.name for path in made.dest.rglob("*") if path.is_file()]
    members = [name for path in made.dest.rglob("*") if path.is_file() for name in read(path)]
    assert {"README.md", "classes.txt", "export.json"} <= set(names)
    assert result.splits == {"train": 4, "val": 2}
    stems = {Path(name).stem for name in (*names, *members)}
    wanted = {key.replace("/", "_") if kind.flat else key.rpartition("/")[2] for key in made.masks}
    assert wanted <= stems, "each photo has a file of its own"
    assert "broken" not in stems


def test_its_record_and_its_page_tell_the_names(made: Made, format: str, kind: type[Writer]) -> None:
    result = made.export(format)
    record = json.loads((made.dest / "export.json").read_text("utf-8"))
    assert record["format"] == format
    renamed = {key.replace("/", "_"): photo for key, photo in made.photos.items() if kind.flat and "/" in key}
    assert record["names"] == renamed
    assert f"```{kind.language}" in (made.dest / "README.md").read_text("utf-8")
    assert result.paste.strip()
    if kind.language == "python":
        compile(result.paste, "paste", "exec")


@pytest.mark.parametrize("value", [0, 2, 255])
def test_a_photo_of_one_value(tmp_path: Path, format: str, value: int) -> None:
    """Nothing, one class, or nothing known, in every pixel."""
    made = one_mask(tmp_path, np.full((13, 9), value, np.uint8))
    result = made.export(format)
    assert (result.exit_code, result.splits, result.failures) == (0, {"train": 1}, {})
    for path in made.dest.rglob("*.*"):
        list(read(path))


def test_one_pixel(tmp_path: Path, format: str) -> None:
    assert one_mask(tmp_path, np.ones((1, 1), np.uint8)).export(format).splits == {"train": 1}


def test_one_class(tmp_path: Path, format: str) -> None:
    made = one_mask(tmp_path, np.eye(12, dtype=np.uint8), ("only",))
    assert made.export(format).splits == {"train": 1}
    assert (made.dest / "classes.txt").read_text("utf-8").split() == ["background", "only"]


def test_three_hundred_classes(tmp_path: Path, format: str, kind: type[Writer]) -> None:
    mask = np.zeros((20, 20), np.uint16)
    mask[:8, :8], mask[8:, 8:], mask[0, 12:] = 299, 300, 65_535
    made = one_mask(tmp_path, mask, tuple(f"class {number}" for number in range(300)))
    if kind.wide:
        assert made.export(format).splits == {"train": 1}
        return
    with pytest.raises(UsageError, match="254 classes, not 300; choose") as refused:
        made.export(format)
    assert all((name in str(refused.value).partition("choose")[2]) == other.wide for name, other in FORMATS.items())
    assert not made.dest.exists()


def test_odd_names(tmp_path: Path, format: str, kind: type[Writer]) -> None:
    """All that a format can hold is there; what it cannot is refused by name."""
    for number, name in enumerate(ODD):
        made = Made(tmp_path / str(number))
        made.add(name)
        made.record()
        if kind.fault(name.removesuffix(".jpg")):
            with pytest.raises(UsageError, match="rename it, or leave it out with --list"):
                made.export(format)
            assert not made.dest.exists()
        else:
            assert made.export(format).splits == {"train": 1}


def test_class_names_it_cannot_hold_are_refused(tmp_path: Path, format: str, kind: type[Writer]) -> None:
    for number, name in enumerate(("a:b", "it's", 'a "b"', "☃", "- x", "#1", "null")):
        made = one_mask(tmp_path / str(number), np.ones((5, 5), np.uint8), (name,))
        if kind.class_fault(name):
            with pytest.raises(UsageError, match="class "):
                made.export(format)
        else:
            assert made.export(format).splits == {"train": 1}
            assert (made.dest / "classes.txt").read_text("utf-8") == f"background\n{name}\n"


def test_the_first_photo_may_be_held_out(made: Made, format: str) -> None:
    """The list `val` comes last all the same."""
    (made.place / "val").write_text("a\n")
    result = made.export(format, val_list=made.place / "val")
    assert list(result.splits.items()) == [("train", 5), ("val", 1)]
    (made.place / "val").write_text("".join(f"{key}\n" for key in made.masks))
    with pytest.raises(UsageError, match="names every photo"):
        made.export(format, val_list=made.place / "val", dest=made.place / "second")


def test_what_it_cannot_represent_is_reported(made: Made, format: str) -> None:
    """Pixels to ignore are in the export, or the result counts them."""
    ignored = sum(int((mask == 255).sum()) for mask in made.masks.values())
    result = made.export(format)
    reported = any(line.startswith(f"{ignored} ignored pixels") for line in result.lost)
    kept = {hashlib.sha256(data).digest() for name, data in contents(made.dest).items() if name.endswith(".png")}
    masks = {hashlib.sha256((made.out / f"{key}.png").read_bytes()).digest() for key in made.masks}
    assert reported != (masks <= kept)
