"""`evaluate` on small folders with planted answers."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pseudomask.errors import ImageError, UsageError
from pseudomask.masks import save_mask
from pseudomask.measuring.confusion import Confusion
from pseudomask.measuring.evaluate import evaluate
from pseudomask.scores import ScoreMap, load_scores, save_scores

NAMES = ("cat", "dog", "cow")
TRUTH = {
    "a": [[0, 0, 1, 1], [0, 255, 1, 1]],
    "sub/b": [[2, 2, 2, 2], [0, 0, 0, 0]],
    "sub/c": [[0, 0, 0, 0], [0, 0, 0, 255]],
}
PRED = {
    "a": [[0, 1, 1, 1], [0, 1, 1, 0]],
    "sub/b": [[2, 2, 0, 0], [0, 0, 0, 0]],
    "sub/c": [[0, 0, 0, 0], [0, 0, 0, 2]],
}


def write(folder: Path, masks: dict[str, list[list[int]]]) -> Path:
    for key, mask in masks.items():
        save_mask(folder / f"{key}.png", np.array(mask, np.uint8))
    return folder


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return write(tmp_path / "gt", TRUTH)


@pytest.fixture
def pred(tmp_path: Path) -> Path:
    return write(tmp_path / "out", PRED)


def test_planted_masks(pred: Path, truth: Path) -> None:
    report = evaluate(pred, truth, class_names=NAMES)
    assert report.confusion.tolist() == [[13, 1, 0, 0], [1, 3, 0, 0], [2, 0, 2, 0], [0, 0, 0, 0]]
    by_name = {row.name: row for row in report.classes}
    assert by_name["background"].iou == pytest.approx(13 / 17)
    assert by_name["cat"].iou == pytest.approx(3 / 5)
    assert by_name["dog"].iou == pytest.approx(2 / 4)
    assert by_name["dog"].false_negative == pytest.approx(2 / 4)
    assert np.isnan(by_name["cow"].iou)
    assert report.mean_iou == pytest.approx((13 / 17 + 3 / 5 + 1 / 2) / 3)
    assert report.pixel_accuracy == pytest.approx(18 / 22)
    images = {row.key: row for row in report.images}
    assert images["a"].iou == pytest.approx((2 / 4 + 3 / 5) / 2, abs=1e-6)
    assert images["sub/b"].iou == pytest.approx((4 / 6 + 2 / 4) / 2, abs=1e-6)
    assert images["sub/c"].iou == 1
    assert [row.pixels for row in report.images] == [7, 8, 7]
    protocol = report.protocol
    assert (protocol.images, protocol.kind, protocol.listed) == (3, "masks", None)
    assert protocol.absent == ("cow",)
    assert protocol.classes_in_mean == ("background", "cat", "dog")
    assert (protocol.threshold, protocol.threshold_source) == (None, "from the masks")
    swap = report.swaps()[0]
    assert (swap.truth, swap.predicted, swap.pixels, swap.share) == ("dog", "background", 2, 0.5)


def test_the_classes_of_each_image_are_kept_on_request(pred: Path, truth: Path) -> None:
    """A page wants them; over 100,000 images they are most of the memory."""
    assert evaluate(pred, truth, class_names=NAMES).parts == ()
    parts = evaluate(pred, truth, class_names=NAMES, by_class=True).parts
    assert [part.classes for part in parts] == [(0, 1), (0, 2), (0,)]
    assert parts[0].ious == pytest.approx((2 / 4, 3 / 5), abs=1e-3)


def test_classes_restrict_the_mean_only(pred: Path, truth: Path) -> None:
    report = evaluate(pred, truth, class_names=NAMES, classes=["cat", "cow"])
    assert report.mean_iou == pytest.approx(3 / 5)
    assert report.confusion.sum() == 22
    assert report.protocol.not_in_mean == ("background", "dog")
    assert report.protocol.absent == ("cow",)
    images = {row.key: row.iou for row in report.images}
    assert images["a"] == pytest.approx(3 / 5, abs=1e-6)
    assert np.isnan(images["sub/c"])


def test_without_names_classes_are_numbers(pred: Path, truth: Path) -> None:
    report = evaluate(pred, truth)
    assert [row.name for row in report.classes] == ["background", "1", "2"]
    assert evaluate(pred, truth, classes=["background", "2"]).mean_iou == pytest.approx((13 / 17 + 1 / 2) / 2)
    with pytest.raises(UsageError, match="class 9 is in no mask"):
        evaluate(pred, truth, classes=["9"])
    with pytest.raises(UsageError, match="no class list"):
        evaluate(pred, truth, classes=["cat"])


def test_names_and_threshold_come_from_the_run_record(pred: Path, truth: Path) -> None:
    (pred / "run.json").write_text(json.dumps({"classes": NAMES, "config": {"threshold": 0.25}}))
    report = evaluate(pred, truth)
    assert [row.name for row in report.classes] == ["background", *NAMES]
    assert report.protocol.threshold == 0.25
    assert report.protocol.threshold_source == "from the masks"


def test_predictions_made_with_another_class_list_are_matched_by_name(pred: Path, truth: Path) -> None:
    expected = evaluate(pred, truth, class_names=NAMES)
    swapped = {key: np.array([0, 2, 1])[mask].tolist() for key, mask in PRED.items()}
    write(pred, swapped)
    (pred / "run.json").write_text(json.dumps({"classes": ["dog", "cat"]}))
    report = evaluate(pred, truth, class_names=NAMES)
    np.testing.assert_array_equal(report.confusion, expected.confusion)
    save_mask(pred / "a.png", np.full((2, 4), 3, np.uint8))
    with pytest.raises(UsageError, match=r"value 3.*run\.json has 2 classes"):
        evaluate(pred, truth, class_names=NAMES)
    (pred / "run.json").write_text(json.dumps({"classes": ["dogg", "cat"]}))
    with pytest.raises(UsageError, match=r"'dogg' is not in the class list; did you mean 'dog'"):
        evaluate(pred, truth, class_names=NAMES)


def test_ignore_survives_renumbering(pred: Path, truth: Path) -> None:
    write(pred, {"a": [[255, 255, 1, 1], [255, 255, 1, 1]]})
    (pred / "run.json").write_text(json.dumps({"classes": ["dog", "cat"]}))
    report = evaluate(pred, truth, class_names=NAMES, list=["a"])
    assert report.confusion[0, 0] == 3
    assert report.confusion[1, 2] == 4


def test_unknown_class_names_the_nearest(pred: Path, truth: Path) -> None:
    with pytest.raises(UsageError, match="unknown class 'dgo'; did you mean 'dog'"):
        evaluate(pred, truth, class_names=NAMES, classes=["dgo"])
    with pytest.raises(UsageError, match="background, cat"):
        evaluate(pred, truth, class_names=NAMES, classes=["zzz"])
    with pytest.raises(UsageError, match="--classes names no class"):
        evaluate(pred, truth, class_names=NAMES, classes=[])


def test_a_class_outside_the_list_names_both_files(pred: Path, truth: Path) -> None:
    with pytest.raises(UsageError, match=r"b\.png against .*b\.png: the prediction contains the value 2"):
        evaluate(pred, truth, class_names=NAMES[:1])


def test_sizes_that_differ_name_both_files(pred: Path, truth: Path) -> None:
    save_mask(pred / "a.png", np.zeros((2, 5), np.uint8))
    with pytest.raises(UsageError, match=r"a\.png against .*a\.png: .*\(2, 5\).*\(2, 4\)"):
        evaluate(pred, truth)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_colour_truth_and_a_damaged_one(pred: Path, truth: Path, workers: int) -> None:
    Image.new("RGB", (4, 2)).save(truth / "a.png")
    with pytest.raises(UsageError, match=r"a\.png: contains colours"):
        evaluate(pred, truth, workers=workers)
    (truth / "a.png").write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"a\.png: not a PNG"):
        evaluate(pred, truth, workers=workers)
    assert not [t for t in threading.enumerate() if "ThreadPool" in t.name]


def test_ignore_that_is_a_class(pred: Path, truth: Path) -> None:
    many = tuple(f"c{i}" for i in range(255))
    with pytest.raises(UsageError, match="65535"):
        evaluate(pred, truth, class_names=many)
    assert evaluate(pred, truth, class_names=many[:254]).mean_iou > 0


def test_16_bit_masks(tmp_path: Path) -> None:
    save_mask(tmp_path / "p" / "a.png", np.array([[0, 255, 300]], np.uint16))
    save_mask(tmp_path / "t" / "a.png", np.array([[65_535, 255, 300]], np.uint16))
    names = tuple(f"c{i}" for i in range(300))
    report = evaluate(tmp_path / "p", tmp_path / "t", class_names=names, ignore=65_535)
    assert report.mean_iou == 1
    assert report.protocol.classes_in_mean == ("c254", "c299")


# -------------------------------------------------------------------------------------------------- pairing


def test_what_has_no_partner_is_told(pred: Path, truth: Path) -> None:
    write(pred, {"extra": [[0]]})
    write(truth, {"lonely": [[0]]})
    protocol = evaluate(pred, truth).protocol
    assert protocol.images == 3
    assert protocol.without_truth == ("extra",)
    assert protocol.without_prediction == ("lonely",)


def test_flat_truth_is_found_for_nested_predictions(pred: Path, tmp_path: Path) -> None:
    flat = write(tmp_path / "flat", {key.rpartition("/")[2]: mask for key, mask in TRUTH.items()})
    assert evaluate(pred, flat).protocol.images == 3


def test_the_same_name_in_another_folder_is_no_match(tmp_path: Path) -> None:
    pred = write(tmp_path / "p", {"x/a": [[1]], "y/b": [[1]]})
    truth = write(tmp_path / "t", {"x/a": [[1]], "z/b": [[1]]})
    protocol = evaluate(pred, truth).protocol
    assert (protocol.images, protocol.without_truth) == (1, ("y/b",))


def test_a_truth_that_has_its_own_prediction_is_not_given_to_another(tmp_path: Path) -> None:
    pred = write(tmp_path / "p", {"a": [[1]], "x/a": [[1]]})
    truth = write(tmp_path / "t", {"x/a": [[1]]})
    report = evaluate(pred, truth)
    assert [row.key for row in report.images] == ["x/a"]
    assert report.protocol.without_truth == ("a",)


def test_two_predictions_for_one_truth_are_refused(tmp_path: Path) -> None:
    pred = write(tmp_path / "p", {"x/a": [[1]], "y/a": [[1]]})
    truth = write(tmp_path / "t", {"a": [[1]]})
    with pytest.raises(UsageError, match="both match the truth"):
        evaluate(pred, truth)
    with pytest.raises(UsageError, match="ambiguous: 2 predictions"):
        evaluate(pred, truth, list=["a"])


def test_nothing_matches(pred: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", {"q": [[0]]})
    with pytest.raises(UsageError, match=r"no prediction in .* matches"):
        evaluate(pred, other)


def test_empty_and_missing_folders(pred: Path, truth: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="neither masks"):
        evaluate(tmp_path / "empty", truth)
    with pytest.raises(UsageError, match="no truth mask"):
        evaluate(pred, tmp_path / "empty")
    with pytest.raises(UsageError, match="no such folder"):
        evaluate(tmp_path / "absent", truth)
    with pytest.raises(UsageError, match="is a file"):
        evaluate(pred, truth / "a.png")


def test_hidden_files_and_link_loops(pred: Path, truth: Path) -> None:
    (pred / ".pseudomask-1.png").write_bytes(b"x")
    (pred / "sub" / "loop").symlink_to(pred, target_is_directory=True)
    assert evaluate(pred, truth).protocol.without_truth == ()


@pytest.mark.parametrize("listed", [["sub/b", "a"], ["b.png", "./a.jpg", "a"], ["sub/b.jpg", "a"]])
def test_a_list_chooses_and_orders(pred: Path, truth: Path, listed: list[str]) -> None:
    report = evaluate(pred, truth, list=listed)
    assert [row.key for row in report.images] == ["sub/b", "a"]


def test_a_list_file(pred: Path, truth: Path, tmp_path: Path) -> None:
    path = tmp_path / "val.txt"
    path.write_text("a\r\nsub/c\r\n")
    report = evaluate(pred, truth, list=path)
    assert report.protocol.images == 2
    assert report.protocol.listed == str(path)


def test_listed_images_must_be_there(pred: Path, truth: Path) -> None:
    write(truth, {"x": [[0]]})
    write(pred, {"y": [[0]]})
    with pytest.raises(UsageError, match=r"no prediction for 1 of 2 .*: x"):
        evaluate(pred, truth, list=["a", "x"])
    with pytest.raises(UsageError, match=r"no truth for 1 of 2 .*: y"):
        evaluate(pred, truth, list=["a", "y"])
    protocol = evaluate(pred, truth, list=["a", "x", "y", "z"], missing="skip").protocol
    assert protocol.images == 1
    assert protocol.without_prediction == ("x", "z")
    assert protocol.without_truth == ("y", "z")


# --------------------------------------------------------------------------------------------------- scores


@pytest.fixture
def out(tmp_path: Path) -> tuple[Path, Path]:
    """An extract output folder (masks at 0.3 and scores) and truth that 0.62 fits best."""
    rng = np.random.default_rng(0)
    folder, truth = tmp_path / "run", tmp_path / "truth"
    for index in range(6):
        size = (20 + index, 31)
        values = rng.random((2, -(-size[0] // 4), 8)).astype(np.float32)
        save_scores(folder / "scores" / "d" / f"{index}.npz", ScoreMap((1, 3), values, size, 4))
        scores = load_scores(folder / "scores" / "d" / f"{index}.npz")
        save_mask(folder / "d" / f"{index}.png", scores.mask(0.3))
        true = scores.mask(0.62)
        true[:2] = 255
        save_mask(truth / "d" / f"{index}.png", true)
    (folder / "run.json").write_text(json.dumps({"classes": NAMES, "config": {"threshold": 0.3}}))
    return folder, truth


def test_scores_find_the_planted_threshold(out: tuple[Path, Path]) -> None:
    report = evaluate(*out, scores=True)
    assert report.protocol.threshold == 0.62
    assert report.protocol.threshold_source == "chosen on this truth"
    assert report.protocol.thresholds_tried == 100
    assert report.mean_iou == 1
    assert all(row.iou == 1 for row in report.images)
    assert len(report.curve) == 100
    assert [row.name for row in report.classes] == ["background", *NAMES]


def test_scores_at_one_threshold_equal_masks_made_at_it(out: tuple[Path, Path]) -> None:
    masks = evaluate(*out)
    for folder in (out[0], out[0] / "scores"):
        scores = evaluate(folder, out[1], thresholds=[0.3])
        assert scores.protocol.threshold_source == "given"
        np.testing.assert_array_equal(scores.confusion, masks.confusion)
        assert scores.mean_iou == masks.mean_iou
        assert scores.images == masks.images
        assert scores.protocol.classes_in_mean == ("background", "cat", "cow")
    assert masks.protocol.threshold == 0.3


def test_the_curve_is_the_mean_over_the_chosen_classes(out: tuple[Path, Path]) -> None:
    report = evaluate(*out, thresholds=[0.2, 0.5], classes=["cow"])
    for threshold, mean in report.curve:
        confusion = Confusion(4)
        for path in sorted((out[0] / "scores" / "d").iterdir()):
            true = np.asarray(Image.open(out[1] / "d" / f"{path.stem}.png"))
            confusion.update(load_scores(path).mask(threshold), true)
        assert mean == pytest.approx(confusion.measures().iou[3], abs=1e-12)
    assert report.protocol.threshold == 0.5


def test_scores_with_another_class_list(out: tuple[Path, Path]) -> None:
    expected = evaluate(*out, scores=True)
    reordered = ("cow", "dog", "cat")
    for path in (out[1] / "d").iterdir():
        true = np.asarray(Image.open(path))
        save_mask(path, np.where(true == 1, 3, np.where(true == 3, 1, true)))
    report = evaluate(*out, scores=True, class_names=reordered)
    assert report.mean_iou == expected.mean_iou == 1
    assert report.confusion[1, 1] == expected.confusion[3, 3]


def test_scores_and_masks_cannot_be_mixed_up(out: tuple[Path, Path], pred: Path, truth: Path) -> None:
    with pytest.raises(UsageError, match="apply only to scores"):
        evaluate(*out, scores=False, thresholds=[0.1])
    with pytest.raises(UsageError, match="no score file"):
        evaluate(pred, truth, scores=True)
    with pytest.raises(UsageError, match="no mask"):
        evaluate(out[0] / "scores", out[1], scores=False)
    assert evaluate(out[0] / "scores", out[1]).protocol.kind == "scores"


def test_a_damaged_score_file_is_named(out: tuple[Path, Path]) -> None:
    (out[0] / "scores" / "d" / "2.npz").write_bytes(b"PK")
    with pytest.raises(UsageError, match=r"not a pseudomask score file: .*2\.npz"):
        evaluate(*out, scores=True)


def test_a_damaged_run_record(out: tuple[Path, Path]) -> None:
    (out[0] / "run.json").write_text("{")
    with pytest.raises(UsageError, match=r"cannot read .*run\.json"):
        evaluate(*out)
    for foreign in ("[]", '{"classes": 3, "config": {"threshold": true}}'):
        (out[0] / "run.json").write_text(foreign)
        report = evaluate(*out)
        assert report.classes[1].name == "1"
        assert report.protocol.threshold is None


@pytest.mark.parametrize("scores", [False, True])
def test_workers_change_nothing(out: tuple[Path, Path], scores: bool) -> None:
    seen: list[tuple[int, int]] = []
    one = evaluate(*out, scores=scores)
    many = evaluate(*out, scores=scores, workers=3, progress=lambda done, total: seen.append((done, total)))
    assert one.to_json() == many.to_json()
    assert seen == [(i, 6) for i in range(1, 7)]
