"""Thumbnails: small, of the right shape and colours, and none where a file cannot be read."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from pages import drawn_files
from PIL import Image

from pseudomask.masks import palette
from pseudomask.reporting import thumbs
from pseudomask.reporting.panels import Panel
from pseudomask.scores import ScoreMap, save_scores


def read(uri: str | thumbs.Picture) -> Image.Image:
    uri = uri if isinstance(uri, str) else uri.uri
    head, _, data = uri.partition(",")
    assert head.startswith("data:image/")
    assert head.endswith(";base64")
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def test_a_mask_keeps_its_classes_and_its_background_is_clear() -> None:
    mask = np.zeros((600, 300), np.uint8)
    mask[:300] = 5
    mask[300:330] = 255
    image = read(thumbs.mask_picture(mask))
    assert image.size == (128, 256)
    assert set(np.unique(np.asarray(image))) == {0, 5, 255}
    rgba = np.asarray(image.convert("RGBA"))
    assert tuple(rgba[10, 10]) == (*palette()[5].tolist(), 255)
    assert rgba[-1, -1, 3] == 0


def test_a_mask_of_many_classes() -> None:
    rgba = np.asarray(read(thumbs.mask_picture(np.array([[0, 300]], np.uint16))))
    assert rgba[0, 0, 3] == 0
    assert tuple(rgba[0, 1]) == (*palette(65_536)[300].tolist(), 255)


def test_a_photo_is_reduced_and_a_small_one_is_not_enlarged() -> None:
    photo = np.full((400, 1024, 3), (200, 40, 90), np.uint8)
    image = read(thumbs.photo_picture(photo))
    assert image.size == (256, 100)
    assert np.abs(np.asarray(image.convert("RGB")).astype(int) - (200, 40, 90)).max() < 12
    assert read(thumbs.photo_picture(photo[:1, :5])).size == (5, 1)
    assert read(thumbs.photo_picture(np.zeros((1, 5000, 3), np.uint8))).size == (256, 1)


def test_scores_are_brighter_where_any_class_is_higher() -> None:
    values = np.zeros((2, 8, 8), np.float32)
    values[0, :, :4] = 0.5
    values[1, :4, :4] = 1.0
    grey = np.asarray(read(thumbs.scores_picture(ScoreMap((1, 4), values, (32, 32), 4))).convert("L")).astype(int)
    assert grey[4, 4] > grey[28, 4] + 40
    assert grey[28, 4] > grey[4, 28] + 40
    assert read(thumbs.scores_picture(ScoreMap((), np.zeros((0, 8, 8), np.float32), (32, 32), 4))).size == (32, 32)


def test_the_maker_takes_what_is_there(tmp_path: Path) -> None:
    places = drawn_files(tmp_path, ["a"])
    whole = Panel("a", photo="a.jpg", mask="a.png", truth="a.png")
    assert [*thumbs.Maker(places)(whole)] == ["photo", "mask", "truth"]
    (tmp_path / "photos" / "a.jpg").write_bytes(b"\xff\xd8broken")
    (tmp_path / "truth" / "a.png").unlink()
    assert [*thumbs.Maker(places)(whole)] == ["mask"]
    assert thumbs.Maker(places)(Panel("a")) == {}


def test_the_maker_cuts_scores(tmp_path: Path) -> None:
    values = np.full((1, 8, 8), 0.25, np.float32)
    save_scores(tmp_path / "a.npz", ScoreMap((3,), values, (32, 32), 4))
    from pseudomask.reporting.panels import Folders
    from pseudomask.scores import load_scores

    def cut(path: Path) -> np.ndarray:
        return load_scores(path).mask(0.2)

    maker = thumbs.Maker(Folders(scores=tmp_path), read_mask=cut, from_scores=True)
    found = maker(Panel("a", scores="a.npz"))
    assert [*found] == ["scores", "mask"]
    assert set(np.unique(np.asarray(read(found["mask"])))) == {3}
