"""Each verb on photos of twelve bits: their 8-bit twins, whose levels are the same, must give the same results."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from wide import png16, tiff

from pseudomask.api import train_affinity, train_cls
from pseudomask.config import ExportConfig, ExtractConfig, RefineConfig
from pseudomask.data.decoding import decode
from pseudomask.errors import UsageError
from pseudomask.exporting.export import export
from pseudomask.extracting.extract import extract
from pseudomask.masks import load_mask
from pseudomask.networks.checkpoint import read_tensors
from pseudomask.refining.refine import refine


def deep(path: Path) -> bytes:
    """The photo as a PNG of twelve bits, each value that which becomes the 8-bit level."""
    levels = np.asarray(Image.open(path).convert("RGB"))
    return png16(np.rint(levels * (4095 / 255)).astype(np.uint16))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """shallow/photos and deep/photos, each with photos.csv, weights and a backbone beside."""
    place = tmp_path_factory.mktemp("twelve")
    shallow, twelve = place / "shallow", place / "deep"
    tiny.write_photos(shallow / "photos", 8, seed=2)
    tiny.write_backbone(shallow / "backbone.safetensors")
    tiny.write_weights(shallow / "weights.safetensors", thresholds={"product": 0.3})
    shutil.copytree(shallow, twelve)
    for photo in (twelve / "photos").rglob("*.png"):
        photo.write_bytes(deep(photo))
    return place


def extracting(place: Path, out: Path, **more: Any) -> ExtractConfig:
    usual: dict[str, Any] = {"device": "cpu", "amp": "off", "workers": 0, "scales": "1.0", "flip": False}
    usual |= {"method": "recam", "refine": ("none",)}
    usual |= {"labels": place / "photos.csv", "weights": place / "weights.safetensors"}
    return ExtractConfig(images=place / "photos", out=out, **usual | more)


def refining(config: ExtractConfig, out: Path, **more: Any) -> RefineConfig:
    return RefineConfig(
        images=config.images, seeds=config.out, out=out, method=("pamr",), device="cpu", workers=0, **more
    )


@pytest.fixture(scope="module")
def made(place: Path) -> dict[str, tuple[ExtractConfig, RefineConfig]]:
    """What extract and refine were told, in whose folders their masks are."""
    found = {}
    for name in ("shallow", "deep"):
        config = extracting(place / name, place / name / "seeds")
        assert extract(config).done == 8
        finer = refining(config, place / name / "refined", pamr_iterations=2)
        assert refine(finer).done == 8
        found[name] = config, finer
    return found


def masks(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): load_mask(path).tobytes() for path in sorted(folder.rglob("*.png"))}


def test_masks_are_those_of_eight_bits(made: dict[str, tuple[ExtractConfig, RefineConfig]]) -> None:
    for one, other in zip(*made.values(), strict=True):
        assert len(masks(one.out)) == 8
        assert masks(one.out) == masks(other.out)
    for config in made["deep"]:
        assert json.loads((config.out / "run.json").read_text())["config"]["bits"] == 12


@pytest.mark.parametrize("verb", [0, 1], ids=["extract", "refine"])
def test_an_exported_photo_is_what_the_run_saw(
    made: dict[str, tuple[ExtractConfig, RefineConfig]], tmp_path: Path, verb: int
) -> None:
    result = export(ExportConfig(out=made["deep"][verb].out, dest=tmp_path / "dest", format="coco"))
    assert result.photos == {"rewritten": 8}
    for photo in made["shallow"][0].images.rglob("*.png"):
        (written,) = (tmp_path / "dest" / "images").rglob(photo.name)
        with Image.open(written) as image:
            assert image.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(image), decode(photo))


def test_training_sees_the_right_brightness_and_resumes(place: Path, tmp_path: Path) -> None:
    ends = {}
    for name, stops in (("shallow", None), ("deep", None), ("deep", 2)):
        config = tiny.training(
            place / name, tmp_path / f"{name}{stops}", crop=48, batch_size=3, epochs=2, lr=0.01, val_fraction=0.25
        )
        if stops:
            assert train_cls(config, tiny.StopsAt(stops)).weights is None
        ear = tiny.Ear()
        result = train_cls(config, ear)
        assert result.weights is not None
        assert any("12 bits" in line for line in ear.infos) is (name == "deep" and not stops)
        ends[name, stops] = read_tensors(result.weights)[0]
    first = ends.pop(("shallow", None))
    for end in ends.values():
        assert all(torch.equal(first[key], end[key]) for key in first)


def test_boundaries_are_learned_from_the_same_brightness(
    place: Path, made: dict[str, tuple[ExtractConfig, RefineConfig]], tmp_path: Path
) -> None:
    ends = []
    for name in ("shallow", "deep"):
        start = {"seeds": made[name][0].out, "weights": place / name / "weights.safetensors"}
        result = train_affinity(
            tiny.affinity_training(place / name, tmp_path / name, batch_size=4, epochs=1, radius=5, **start)
        )
        assert result.weights is not None
        ends.append(read_tensors(result.weights)[0])
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_a_flag_that_contradicts_the_seeds_is_refused(
    made: dict[str, tuple[ExtractConfig, RefineConfig]], tmp_path: Path
) -> None:
    config = made["deep"][0]
    for flag, value in (("bits", 16), ("bands", (3, 2, 1)), ("alpha", "ignore"), ("value_range", (0.0, 5.0))):
        with pytest.raises(UsageError, match=rf"--{flag.replace('_', '-')} .*seeds were made with.*leave"):
            refine(refining(config, tmp_path / "out", **{flag: value}))
    assert refine(refining(config, tmp_path / "out", bits=12, dry_run=True)).pending == 8


@pytest.fixture
def own(place: Path, tmp_path: Path) -> Path:
    """A folder of 8-bit photos, the test's own."""
    shutil.copytree(place / "shallow", tmp_path / "own", ignore=shutil.ignore_patterns("seeds", "refined"))
    return tmp_path / "own"


def test_deep_photos_may_join_eight_bit_ones(own: Path, place: Path) -> None:
    config = extracting(own, own / "seeds")
    finer = refining(config, own / "refined")
    extract(config)
    refine(finer)
    shutil.copy(place / "deep/photos/p03.png", own / "photos/joined.png")
    ear = tiny.Ear()
    result = extract(config, ear)
    assert (result.skipped, result.done) == (8, 9)
    assert any("12 bits" in line for line in ear.infos)
    assert masks(config.out)["joined.png"]
    finer_result = refine(finer)
    assert (finer_result.skipped, finer_result.done) == (8, 9)
    assert json.loads((config.out / "run.json").read_text())["config"]["bits"] == 12


def test_what_was_decided_stays_decided(own: Path, place: Path) -> None:
    """Only where no photo needed a range may a later run choose one."""
    shutil.copy(place / "deep/photos/p03.png", own / "photos/joined.png")
    config = extracting(own, own / "seeds", value_range=(0.0, 4095.0))
    extract(config)
    with pytest.raises(UsageError, match=r"value_range|bits"):
        extract(replace(config, value_range=None, bits=14))


def test_a_name_that_hides_the_bits_is_refused(own: Path, place: Path) -> None:
    (own / "photos/p01.png").unlink()
    shutil.copy(place / "deep/photos/p01.png", own / "photos/p01.jpg")
    (own / "photos.csv").write_text((own / "photos.csv").read_text().replace("p01.png", "p01.jpg"))
    config, ear = extracting(own, own / "seeds"), tiny.Ear()
    result = extract(config, ear)
    assert (result.done, result.exit_code) == (7, 1)
    assert any("p01.jpg" in line and "uint16" in line and "--bits" in line for line in ear.warnings)
    assert extract(replace(config, bits=12)).done == 8
    assert masks(config.out)["p01.png"] == masks(place / "shallow/seeds")["p01.png"]


def test_a_photo_that_is_all_white_is_told_of(own: Path) -> None:
    """Beyond the eight that are looked at beforehand, too."""
    levels = np.random.default_rng(0).integers(0, 200, (40, 40, 4), dtype=np.uint8)
    for name, alpha in (*((f"a{i:02}", 255) for i in range(40)), ("clear", 0)):
        levels[..., 3] = alpha
        Image.fromarray(levels).save(own / f"photos/{name}.png")
    ear = tiny.Ear()
    (own / "list").write_text("clear\np01\n")
    extract(extracting(own, own / "seeds", labels=None, list=own / "list"), ear)
    (line,) = (line for line in ear.warnings if "white" in line and "first" not in line)
    assert "clear.png" in line
    assert "--alpha ignore" in line


@pytest.mark.parametrize("kind", ["png", "tif", "jp2", "avif", "pgm"])
def test_wide_and_rare_kinds_are_never_copied(own: Path, tmp_path: Path, kind: str) -> None:
    levels = np.asarray(Image.open(own / "photos/p01.png").convert("RGB"))
    stream = io.BytesIO()
    if kind in ("jp2", "avif"):
        format = {"jp2": "JPEG2000", "avif": "AVIF"}[kind]
        if format not in Image.SAVE:
            Image.init()
        if format not in Image.SAVE:
            pytest.skip(f"Pillow without {format}")
        Image.fromarray(levels).save(stream, format)
    wide = levels.astype(np.uint16) * 257
    grey = f"P5 {wide.shape[1]} {wide.shape[0]} 65535\n".encode() + wide[:, :, 0].astype(">u2").tobytes()
    contents = {"png": png16(wide), "tif": tiff(wide), "pgm": grey}
    (own / "photos/p01.png").unlink()
    (own / f"photos/p01.{kind}").write_bytes(contents.get(kind) or stream.getvalue())
    (own / "photos.csv").write_text((own / "photos.csv").read_text().replace("p01.png", f"p01.{kind}"))
    config = extracting(own, own / "seeds")
    assert extract(config).exit_code == 0
    for format in ("coco", "yolo"):
        dest = tmp_path / format
        result = export(ExportConfig(out=config.out, dest=dest, format=format))
        assert result.photos == {"copied": 7, "rewritten": 1}
        (written,) = (
            path for path in dest.rglob("p01.*") if path.suffix in (".png", ".jpg") and "masks" not in str(path)
        )
        with Image.open(written) as image:
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), decode(own / f"photos/p01.{kind}"))
