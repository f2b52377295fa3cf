"""`Predictor`: the masks of `extract`, from files, PIL images, arrays and tensors in memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

import pseudomask
from pseudomask.data.decoding import decode
from pseudomask.errors import ImageError, LabelError, UsageError
from pseudomask.masks import load_mask
from pseudomask.prediction import Prediction
from pseudomask.predictor import Predictor
from pseudomask.scores import load_scores

PLAIN: dict[str, Any] = {"refine": "none", "device": "cpu"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predictor")
    tiny.write_photos(folder / "photos", 5)
    tiny.write_weights(folder / "weights.safetensors", thresholds={"product": 0.3})
    return folder


@pytest.fixture(scope="module")
def affinity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_affinity(tmp_path_factory.mktemp("affinity"))


@pytest.fixture(scope="module")
def predictor(place: Path) -> Iterator[Predictor]:
    with Predictor(place / "weights.safetensors", **PLAIN) as found:
        yield found


def tags_of(place: Path) -> dict[str, list[str]]:
    """Key → names, from the table that the photos came with."""
    rows = (place / "photos.csv").read_text().splitlines()[1:]
    found = {}
    for row in rows:
        name, _, tags = row.partition(",")
        found[Path(name).with_suffix("").as_posix()] = [tag for tag in tags.strip('"').split(";") if tag]
    return found


@pytest.mark.parametrize(
    ("settings", "walks"),
    [
        ({"method": "cam", "refine": "none"}, False),
        ({"method": "recam", "tta": "balanced", "refine": "crf"}, False),
        ({"method": "cpmc", "refine": "walk,pamr", "pamr_iterations": 2}, True),
    ],
)
def test_the_pixels_are_those_of_extract(
    place: Path, affinity: Path, tmp_path: Path, settings: dict[str, Any], walks: bool
) -> None:
    more: dict[str, Any] = {"affinity": affinity} if walks else {}
    chain = tuple(settings["refine"].split(","))
    pseudomask.extract(
        pseudomask.ExtractConfig(
            images=place / "photos", out=tmp_path, labels=place / "photos.csv", device="cpu", workers=0,
            weights=place / "weights.safetensors", **settings | more | {"refine": chain},
        )
    )  # fmt: skip
    tags = tags_of(place)
    paths = sorted(path for path in (place / "photos").rglob("*") if path.is_file())
    keys = [path.relative_to(place / "photos").with_suffix("").as_posix() for path in paths]
    with Predictor(place / "weights.safetensors", device="cpu", **settings, **more) as predictor:
        made = list(predictor.stream((path, tags[key]) for path, key in zip(paths, keys, strict=True)))
    assert len(made) == 5
    assert any(one.mask.any() for one in made)
    for key, one in zip(keys, made, strict=True):
        np.testing.assert_array_equal(one.mask, load_mask(tmp_path / f"{key}.png"))
        np.testing.assert_array_equal(one.seeds.values, load_scores(tmp_path / f"scores/{key}.npz").values)
        one.save(tmp_path / "again.png")
        assert (tmp_path / "again.png").read_bytes() == (tmp_path / f"{key}.png").read_bytes()


def test_every_kind_of_picture_gives_the_same_mask(place: Path, predictor: Predictor) -> None:
    path = next((place / "photos").rglob("*.png"))
    pixels = decode(path)
    wanted = predictor(path, tiny.CLASSES)
    assert wanted.mask.any()
    deep = pixels.astype(np.uint16) * 257
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    kinds = [str(path), Image.open(path), pixels, deep, pixels / 255, (pixels / 255).astype(np.float32), tensor]
    kinds += [tensor.double() / 255, pixels[:, ::-1][:, ::-1]]
    for kind in kinds:
        found = predictor(kind, tiny.CLASSES)
        np.testing.assert_array_equal(found.photo, pixels)
        np.testing.assert_array_equal(found.mask, wanted.mask)
    grey = predictor(pixels[:, :, 0], tiny.CLASSES)
    np.testing.assert_array_equal(grey.photo, np.repeat(pixels[:, :, :1], 3, 2))
    np.testing.assert_array_equal(
        grey.mask, predictor(torch.from_numpy(pixels[None, :, :, 0].copy()), tiny.CLASSES).mask
    )


def test_pil_images_are_turned_and_laid_on_white(tmp_path: Path, place: Path, predictor: Predictor) -> None:
    pixels = decode(next((place / "photos").rglob("*.png")))
    layer = np.dstack([pixels, np.full(pixels.shape[:2], 100, np.uint8)])
    image = Image.fromarray(layer)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as opened:
        np.testing.assert_array_equal(predictor(opened, []).photo, decode(tmp_path / "turned.png"))
    assert predictor(image, []).photo.min() > 100


def test_a_range_can_be_given(place: Path, predictor: Predictor) -> None:
    pixels = decode(next((place / "photos").rglob("*.png")))
    with Predictor(place / "weights.safetensors", value_range=(-1.0, 1.0), **PLAIN) as centred:
        np.testing.assert_array_equal(centred(pixels / 127.5 - 1, []).photo, pixels)
    with Predictor(place / "weights.safetensors", bits=12, **PLAIN) as sensor:
        found = sensor((pixels / 255 * 4095).astype(np.uint16), []).photo
    assert np.abs(found.astype(int) - pixels).max() <= 1


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((4, 5, 4), np.uint8), r"array \(H, W, 3\) .* not of shape \(4, 5, 4\)"),
        (np.zeros((0, 5, 3), np.uint8), r"not of shape \(0, 5, 3\)"),
        (torch.zeros(4, 5, 3), r"tensor \(3, H, W\) .* not of shape \(4, 5, 3\)"),
        (torch.zeros(2, 3, 4, 5), r"not of shape \(2, 3, 4, 5\)"),
        (np.zeros((4, 5, 3), np.int64), "must be uint8, uint16 or float, not int64; for 0 to 255, use uint8"),
        (np.full((4, 5, 3), 255.0), r"from 0 to 1, but these are 255 to 255; .*value_range="),
        (np.full((4, 5, 3), np.nan), "NaN"),
        (b"abc", "must be a path, a PIL image, .*, not bytes"),
    ],
)
def test_what_is_no_picture_is_refused(predictor: Predictor, picture: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        predictor(picture, [])


def test_other_mistakes(place: Path, predictor: Predictor, tmp_path: Path) -> None:
    photo = next((place / "photos").rglob("*.png"))
    with pytest.raises(LabelError, match=f"no class 'squar'.*the classes are {tiny.CLASSES[0]}"):
        predictor(photo, ["squar"])
    with pytest.raises(ImageError, match=r"none\.jpg"):
        predictor(tmp_path / "none.jpg")
    with pytest.raises(UsageError, match="2 pictures in a list"):
        predictor([photo, photo], tiny.CLASSES[0])
    with pytest.raises(UsageError, match=r"no setting 'tresh'|no setting 'treshold'; did you mean 'threshold'"):
        Predictor(place / "weights.safetensors", treshold=0.2)
    with pytest.raises(UsageError, match="no setting 'overwrite'"):
        Predictor(place / "weights.safetensors", overwrite=True)
    with pytest.raises(UsageError, match="use `extract` for them"):
        Predictor(place / "weights.safetensors", refine="proposals")
    closed = Predictor(place / "weights.safetensors", **PLAIN)
    closed.close()
    with pytest.raises(UsageError, match="closed"):
        closed(photo, [])


def test_tags(place: Path, predictor: Predictor) -> None:
    photo = next((place / "photos").rglob("*.png"))
    first, second = tiny.CLASSES[:2]
    assert predictor(photo, f"{second}, {first}").classes == (first, second)
    assert predictor(photo, [second]).classes == (second,)
    nothing = predictor(photo, [])
    assert (nothing.classes, nothing.mask.any()) == ((), False)
    assert repr(nothing).endswith(": no class)")
    with Predictor(place / "weights.safetensors", classes=[second], **PLAIN) as one:
        one._engine.tag_thresholds[1] = 0.0  # type: ignore[union-attr]
        assert one(photo).classes == (second,)


def test_a_prediction(place: Path, predictor: Predictor, tmp_path: Path) -> None:
    photo = next((place / "photos").rglob("*.png"))
    found: Prediction = predictor(photo, tiny.CLASSES)
    assert set(found.scores) == set(tiny.CLASSES)
    scores = found.scores[tiny.CLASSES[0]]
    assert scores.shape == found.mask.shape
    best = np.argmax(np.stack([np.full(scores.shape, found.threshold), *found.scores.values()]), 0)
    assert (best == found.mask).mean() > 0.99
    assert sum(found.areas.values()) == pytest.approx(float((found.mask > 0).mean()))
    assert found._repr_png_().startswith(b"\x89PNG")
    found.save(tmp_path / "mask.png", overlay=tmp_path / "over.jpg")
    assert decode(tmp_path / "over.jpg").shape[:2] == found.mask.shape


def test_a_failed_refinement_keeps_the_seed_and_warns(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pseudomask.refining import crf

    def fail(*_: Any) -> Any:
        raise ValueError("planted")

    photo = next((place / "photos").rglob("*.png"))
    with Predictor(place / "weights.safetensors", refine="crf", device="cpu") as predictor:
        monkeypatch.setattr(crf.Crf, "refine_batch", fail)
        with pytest.warns(UserWarning, match="planted; the mask is not refined"):
            found = predictor(photo, tiny.CLASSES)
    assert found.unrefined == "planted"
    assert found.score_map.values is not None
    np.testing.assert_array_equal(found.mask, found.seeds.mask(predictor.threshold))


def test_threads_share_a_predictor(place: Path, predictor: Predictor) -> None:
    photos = sorted(path for path in (place / "photos").rglob("*") if path.is_file())
    wanted = [predictor(path, tiny.CLASSES).mask for path in photos]
    found: dict[int, np.ndarray] = {}

    def work(i: int) -> None:
        found[i] = predictor(photos[i % len(photos)], tiny.CLASSES).mask

    threads = [threading.Thread(target=work, args=(i,)) for i in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, mask in found.items():
        np.testing.assert_array_equal(mask, wanted[i % len(photos)])
    assert len(found) == 10


def test_a_stream_may_be_endless(place: Path, predictor: Predictor) -> None:
    pixels = decode(next((place / "photos").rglob("*.png")))

    def endless() -> Iterator[Any]:
        while True:
            yield pixels, tiny.CLASSES

    stream = predictor.stream(endless())
    assert len([next(stream) for _ in range(6)]) == 6
