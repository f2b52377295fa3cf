"""R1 to R8: photos that are odd, damaged, hostile or oddly named, through real processes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fault_harness import torture
from fault_harness.machinery import Watch, manifest, pngs, tree
from PIL import Image

from pseudomask.masks import load_mask


@pytest.fixture(scope="module")
def tortured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/ with good and bad files, sound/ with the good ones alone."""
    place = tmp_path_factory.mktemp("torture")
    torture.make(place / "photos")
    torture.make(place / "sound", with_bad=False)
    assert len(torture.good()) + len(torture.bad()) == 40
    return place


def extracted(watch: Watch, photos: Path, out: Path) -> dict[str, dict[str, Any]]:
    """The manifest of a run over the photos, which has to end well."""
    done = watch.server.run(*watch.extract(out, photos=photos, labels=False))
    assert done.errors() == []
    assert done.code == int(photos.name == "photos"), done.err
    return manifest(out)


def test_r1_every_good_file_has_its_mask(watch: Watch, tortured: Path, tmp_path: Path) -> None:
    entries = extracted(watch, tortured / "photos", tmp_path / "out")
    for name, (_, size) in torture.good().items():
        key = os.path.splitext(name)[0]  # noqa: PTH122
        assert entries[key]["status"] == "done"
        assert load_mask(tmp_path / "out" / f"{key}.png").shape == size, name
    assert len(pngs(tmp_path / "out")) == len(torture.good())


def test_r1_every_bad_file_has_its_reason(watch: Watch, tortured: Path, tmp_path: Path) -> None:
    entries = extracted(watch, tortured / "photos", tmp_path / "out")
    reasons = {entry["image"]: entry["reason"] for entry in entries.values() if entry["status"] == "failed"}
    assert reasons.keys() == torture.bad().keys()
    assert all(reason and "\n" not in reason for reason in reasons.values())
    assert reasons["00_bad_empty.jpg"] == "empty file"
    assert reasons["12_bad_lies.png"].startswith("too large")


def test_r1_bad_files_change_nothing_in_the_good_ones(watch: Watch, tortured: Path, tmp_path: Path) -> None:
    """With bad files between them, scores and masks of the good ones are the same to the byte."""
    for name in ("photos", "sound"):
        extracted(watch, tortured / name, tmp_path / name)
    mixed, clean = tree(tmp_path / "photos"), tree(tmp_path / "sound")
    del mixed["manifest.jsonl"], clean["manifest.jsonl"]
    assert mixed == clean


def test_r2_cut_photos_on_request_only(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    data = torture.encoded(torture.photo(), "JPEG")
    (tmp_path / "photos/cut.jpg").write_bytes(data[: len(data) * 9 // 10])
    words = watch.extract(tmp_path / "out", photos=tmp_path / "photos", labels=False)
    assert watch.server.run(*words).code == 1
    assert manifest(tmp_path / "out")["cut"]["reason"] == "truncated"
    assert pngs(tmp_path / "out") == []
    words[-1] = tmp_path / "more"
    assert watch.server.run(*words, "--allow-truncated").code == 0
    assert len(pngs(tmp_path / "more")) == 1


def test_r3_orientations(watch: Watch, tmp_path: Path) -> None:
    """Eight photos that look the same, stored in eight ways: one mask."""
    upright = np.asarray(torture.photo(4, (48, 64)))
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    (tmp_path / "photos").mkdir()
    for number, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = number
        Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / f"photos/o{number}.png", exif=exif)
    done = watch.server.run(*watch.extract(tmp_path / "out", photos=tmp_path / "photos", labels=False))
    assert done.code == 0, done.err
    masks = [load_mask(path) for path in pngs(tmp_path / "out")]
    assert len(masks) == 8
    assert len(np.unique(masks[0])) > 1
    for mask in masks:
        assert mask.shape == (48, 64)
        assert (mask == masks[0]).mean() >= 0.999


def test_r4_sixteen_bit_grey(watch: Watch, tmp_path: Path) -> None:
    """The same picture in 8 and 16 bits gets the same mask; in white, as a careless reader sees it, another."""
    grey = np.asarray(torture.photo(5, (48, 64)).convert("L"))
    (tmp_path / "photos").mkdir()
    Image.fromarray(grey).save(tmp_path / "photos/a8.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "photos/b16.png")
    Image.fromarray(np.full_like(grey, 255)).save(tmp_path / "photos/white.png")
    done = watch.server.run(*watch.extract(tmp_path / "out", photos=tmp_path / "photos", labels=False))
    assert done.code == 0, done.err
    eight, sixteen, white = (load_mask(path) for path in pngs(tmp_path / "out"))
    assert np.array_equal(eight, sixteen)
    assert not np.array_equal(eight, white)


def test_r6_bombs_cost_neither_time_nor_memory(watch: Watch, tmp_path: Path) -> None:
    """Against a run over one tiny photo: less than 0.5 s of processor time and 200 MB more."""
    for name in ("tiny", "bombs"):
        (tmp_path / name).mkdir()
        torture.photo(0).save(tmp_path / name / "photo.png")
    (tmp_path / "bombs/bomb.png").write_bytes(torture.bomb())
    (tmp_path / "bombs/lies.png").write_bytes(torture.png(2**31 - 1, 2**31 - 1, 8, 2, b"\0" * 100))
    runs = [
        watch.server.run(*watch.extract(tmp_path / f"out_{name}", "--overwrite", photos=tmp_path / name, labels=False))
        for name in ("tiny", "bombs", "tiny", "bombs")
    ]
    assert [run.code for run in runs] == [0, 1, 0, 1]
    entries = manifest(tmp_path / "out_bombs")
    assert entries["photo"]["status"] == "done"
    assert all(entries[key]["reason"].startswith("too large") for key in ("bomb", "lies"))
    assert min(run.seconds for run in runs[1::2]) - min(run.seconds for run in runs[::2]) < 0.5
    assert runs[1].peak - runs[0].peak < 200 * 2**20


def test_r6_the_limit_is_a_flag(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    torture.photo(0).save(tmp_path / "photos/photo.png")
    words = watch.extract(tmp_path / "out", photos=tmp_path / "photos", labels=False)
    assert watch.server.run(*words, "--max-pixels", 40 * 56 - 1).code == 1
    assert watch.server.run(*words, "--max-pixels", 40 * 56, "--overwrite").code == 0


@pytest.mark.long
def test_r6_a_photo_of_60_megapixels(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (9000, 6667), (90, 120, 60)).save(tmp_path / "photos/large.jpg")
    done = watch.server.run(*watch.extract(tmp_path / "out", photos=tmp_path / "photos", labels=False))
    assert done.code == 0, done.err
    print(f"{done.peak / 2**30:.2f} GiB")  # -s shows it
    assert done.peak < 4 * 2**30
    assert load_mask(tmp_path / "out/large.png").shape == (6667, 9000)


NAMES = (
    "caf\u00e9.png",
    "cafe\u0301 decomposed.png",
    "two  spaces .png",
    "[x]*?{a,b}.png",
    "-leading --dashes.png",
    "line\nbreak\ttab.png",
    "[bold red]markup[bold].png",
    "\U0001f408\u200d\u2b1b cat.png",
    "$(touch pwned);`id`.png",
    "100%s %d {0}.png",
    "'\"quotes\"'.png",
    "a" * 246 + ".png",
    os.fsdecode(b"not \xff utf8 \xe9.png"),
)


@pytest.mark.skipif(sys.platform != "linux", reason="the file system must take any bytes")
def test_r7_names_round_trip(watch: Watch, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in NAMES:
        torture.photo(0).save(io := _Bytes())
        (folder / name).write_bytes(io.getvalue())
    (folder / "[red]bad[red].png").write_bytes(b"")
    done = watch.server.run(*watch.extract(tmp_path / "out", "--json", photos=folder, labels=False))
    assert done.code == 1
    assert done.errors() == []
    assert json.loads(done.out)["done"] == len(NAMES)
    assert "\x1b" not in done.err
    assert "[red]bad[red].png: empty file" in done.err
    keys = {name.removesuffix(".png") for name in NAMES}
    assert {key for key, entry in manifest(tmp_path / "out").items() if entry["status"] == "done"} == keys
    assert all((tmp_path / "out" / name).is_file() for name in NAMES)
    seeds = tmp_path / "out"
    refined = watch.server.run("refine", "--method", "pamr", "--workers", "0", folder, seeds, tmp_path / "refined")
    assert refined.code == 0, refined.err
    assert all((tmp_path / "refined" / name).is_file() for name in NAMES)
    assert not list(tmp_path.rglob("pwned"))


class _Bytes(io.BytesIO):
    name = "x.png"  # Pillow asks for the kind


def hashes(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


def test_r8_collisions_are_found_before_any_work(watch: Watch, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "photos"
    folder.mkdir(parents=True)
    for name in ("a.jpg", "b.png"):
        torture.photo(0).save(folder / name)
    before = hashes(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    for out in (folder, folder / "masks", tmp_path / "in", tmp_path / "link", tmp_path / "link" / "masks"):
        done = watch.server.run(*watch.extract(out, "--overwrite", photos=folder, labels=False))
        assert (done.code, done.out, len(done.errors())) == (2, "", 1), out
        assert str(out) in done.errors()[0]
    torture.photo(1).save(folder / "a.png")
    done = watch.server.run(*watch.extract(tmp_path / "out", photos=folder, labels=False))
    assert (done.code, len(done.errors())) == (2, 1)
    assert "a.jpg and a.png would both write a.png" in done.errors()[0]
    (folder / "a.png").unlink()
    assert hashes(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_r8_refine_and_evaluate_keep_their_inputs(watch: Watch, whole: tuple[Path, object], tmp_path: Path) -> None:
    mine = replace(watch, place=tmp_path / "source")  # copies: whoever fails here destroys them
    photos, seeds = mine.photos, tmp_path / "seeds"
    shutil.copytree(watch.place, mine.place)
    shutil.copytree(whole[0], seeds)
    before = tree(mine.place) | tree(seeds)
    for out in (seeds, seeds / "in", photos, photos / "in"):
        done = watch.server.run(*mine.refine(seeds, out, "--overwrite"))
        assert (done.code, len(done.errors())) == (2, 1), out
    report = tmp_path / "report.json"
    done = watch.server.run("evaluate", seeds, seeds, "--json-file", report)
    assert done.code == 0, done.err
    assert json.loads(report.read_text())
    assert tree(mine.place) | tree(seeds) == before
