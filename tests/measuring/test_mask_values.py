"""Masks whose values are no class indices: told, refused, or read as a map or a colour table says."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pseudomask.cli import app
from pseudomask.errors import LabelError, UsageError
from pseudomask.masks import load_mask, palette, save_mask
from pseudomask.measuring.coding_options import make_coding
from pseudomask.measuring.evaluate import evaluate
from pseudomask.measuring.reports import Report

CAT = np.zeros((12, 16), np.uint8)
CAT[2:8, 4:12] = 1
TWO = CAT.copy()
TWO[8:11, 1:9] = 2
ONE_CLASS, TWO_CLASSES = ("cat",), ("cat", "dog")


def put(folder: Path, pixels: np.ndarray, mode: str | None = None, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(folder / "a.png", **more)
    return folder


@pytest.fixture
def pred(tmp_path: Path) -> Path:
    save_mask(tmp_path / "pred/a.png", CAT)
    return tmp_path / "pred"


def codes(report: Report) -> list[str]:
    return [doubt.code for doubt in report.doubts]


def test_black_and_white_truth_is_refused_with_the_option_that_settles_it(pred: Path, tmp_path: Path) -> None:
    truth, inverse = put(tmp_path / "gt", CAT * 255), put(tmp_path / "inverse", (1 - CAT) * 255)
    for names, example in ((ONE_CLASS, "cat"), (None, "1")):
        for masks in (pred, inverse):
            with pytest.raises(UsageError, match=f"only 0 and 255.*--truth-map 255={example}"):
                evaluate(masks, truth, class_names=names)
    assert evaluate(pred, truth, class_names=ONE_CLASS, truth_map="255=cat").mean_iou == 1
    assert evaluate(pred, truth, truth_map="255=1").mean_iou == 1
    assert evaluate(inverse, truth, class_names=ONE_CLASS, truth_map="255=cat", pred_map="255=cat").mean_iou == 0
    assert evaluate(pred, inverse, class_names=ONE_CLASS, truth_map="0=cat,255=background").mean_iou == 1
    assert evaluate(pred, truth, class_names=ONE_CLASS, truth_map="255=ignore").confusion.tolist() == [[144, 0], [0, 0]]


def test_black_and_white_predictions_are_refused_but_our_own_are_not(pred: Path, tmp_path: Path) -> None:
    truth, white = put(tmp_path / "gt", CAT), put(tmp_path / "white", CAT * 255)
    with pytest.raises(UsageError, match=r"predictions .*only 0 and 255.*--pred-map 255=cat"):
        evaluate(white, truth, class_names=ONE_CLASS)
    assert evaluate(white, truth, class_names=ONE_CLASS, pred_map="255=cat").mean_iou == 1
    (white / "run.json").write_text(json.dumps({"classes": ["cat"]}))
    assert codes(evaluate(white, truth)) == ["pred-background"]


def test_a_truth_that_is_ignored_throughout_measures_nothing(pred: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no pixel counts"):
        evaluate(pred, put(tmp_path / "gt", np.full_like(CAT, 255)), class_names=ONE_CLASS)
    with pytest.raises(UsageError, match=r"no class of the mean.*dog"):
        evaluate(pred, put(tmp_path / "sound", CAT), class_names=TWO_CLASSES, classes=["dog"])


def blurred(mask: np.ndarray) -> np.ndarray:
    """A black and white mask as resizing leaves it."""
    return np.asarray(Image.fromarray(mask * 255).resize((48, 36)).resize((16, 12), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("pixels", "names", "way_out"),
    [
        (TWO * 50, TWO_CLASSES, "--truth-map 50=CLASS,100=CLASS"),
        (np.where(CAT, 255, TWO * 64).astype(np.uint8), TWO_CLASSES, "--truth-map 128=CLASS .*ignored"),
        (np.where(TWO == 2, 254, CAT).astype(np.uint8), TWO_CLASSES, "--truth-map 254=ignore"),
        (TWO.astype(np.uint16) * 257, TWO_CLASSES, "--truth-map 257=CLASS,514=CLASS"),
        (np.where(TWO == 2, np.uint16(65_535), CAT), TWO_CLASSES, "--ignore 65535"),
        (blurred(CAT), ONE_CLASS, "resized or saved as JPEG: --truth-map 0-127=background,128-255=CLASS"),
        (np.arange(192, dtype=np.uint8).reshape(12, 16), TWO_CLASSES, "192 different values, as a photo"),
        (CAT * 90, tuple(f"c{i}" for i in range(80)), "COCO's category ids have gaps"),
        (TWO, ONE_CLASS, "right class list"),
    ],
)
def test_values_outside_the_class_list_name_their_way_out(
    pred: Path, tmp_path: Path, pixels: np.ndarray, names: tuple[str, ...], way_out: str
) -> None:
    with pytest.raises(UsageError, match=way_out):
        evaluate(pred, put(tmp_path / "gt", pixels), class_names=names)
    if len(names) < 3 and pixels.dtype == np.uint8:
        swapped = way_out.replace("truth", "pred").removesuffix(" .*ignored")
        with pytest.raises(UsageError, match=swapped):
            evaluate(put(tmp_path / "other", pixels), pred, class_names=names)


@pytest.mark.parametrize(
    ("pixels", "said", "names"),
    [
        (TWO * 50, "0=background, 50=cat, 100=dog", TWO_CLASSES),
        (TWO.astype(np.uint16) * 257, "257=cat,514=dog", TWO_CLASSES),
        (np.where(TWO > 0, 255 - TWO, 0).astype(np.uint8), "254=1,253=2", None),
        (TWO + 200, "200=background,201-201=cat,202=dog", TWO_CLASSES),
    ],
)
def test_a_map_reads_the_values(tmp_path: Path, pixels: np.ndarray, said: str, names: tuple[str, ...] | None) -> None:
    pred, truth = put(tmp_path / "pred", TWO), put(tmp_path / "gt", pixels)
    (tmp_path / "map.txt").write_text("# values\n" + "\n".join(said.split(",")) + "\n")
    for one in (said, str(tmp_path / "map.txt")):
        report = evaluate(pred, truth, class_names=names, truth_map=one)
        assert (report.mean_iou, codes(report)) == (1, [])
        assert evaluate(truth, pred, class_names=names, pred_map=one).mean_iou == 1


def test_a_map_of_many_values_on_the_command_line(tmp_path: Path) -> None:
    """Longer than the name of a file may be."""
    said = ",".join(f"{100 + value}=ignore" for value in range(150)) + ",50=cat,0=background"
    pred, truth = put(tmp_path / "pred", CAT), put(tmp_path / "gt", CAT * 50)
    assert evaluate(pred, truth, class_names=ONE_CLASS, truth_map=said).mean_iou == 1
    put(tmp_path / "gt", palette()[TWO])
    with pytest.raises(UsageError, match="--truth-palette"):
        evaluate(pred, truth, class_names=ONE_CLASS, truth_map=said)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1"])
def test_black_and_white_of_every_mode(pred: Path, tmp_path: Path, mode: str) -> None:
    truth = put(tmp_path / "gt", CAT * 255, mode)
    said = "1=cat" if mode == "1" else "255=cat"
    assert evaluate(pred, truth, class_names=ONE_CLASS, truth_map=said).mean_iou == 1
    if mode != "1":
        with pytest.raises(UsageError, match=r"contains colours.*all of them grey.*--truth-map"):
            evaluate(pred, truth, class_names=ONE_CLASS)


@pytest.mark.parametrize("said", [None, "255=cat"])
def test_a_shape_that_lies_in_the_transparency_alone(pred: Path, tmp_path: Path, said: str | None) -> None:
    """Its colours are one everywhere: read by them, all would be background."""
    truth = put(tmp_path / "gt", np.dstack([np.zeros((*CAT.shape, 3), np.uint8), CAT * 255]))
    with pytest.raises(UsageError, match="only in transparency"):
        evaluate(pred, truth, class_names=ONE_CLASS, truth_map=said)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_levels_below_8_bits_are_the_stored_numbers(tmp_path: Path, bits: int) -> None:
    """Pillow stretches 2 and 4 bits to 0..255: class 1 would be read as 85 or 17."""
    import struct
    import zlib

    values = np.arange(2**bits, dtype=np.uint8).repeat(8)[None, :]
    row = np.packbits(np.unpackbits(values[..., None], axis=2)[..., -bits:].reshape(1, -1), axis=1).tobytes()
    parts = [(b"IHDR", struct.pack(">IIBBBBB", values.size, 1, bits, 0, 0, 0, 0))]
    parts += [(b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    np.testing.assert_array_equal(load_mask(tmp_path / "a.png"), values)


def coloured(mask: np.ndarray, colours: list[tuple[int, int, int]]) -> np.ndarray:
    return np.array(colours, np.uint8)[mask]


def test_colours_by_voc_and_by_a_table(tmp_path: Path) -> None:
    pred = put(tmp_path / "pred", TWO)
    framed = TWO.copy()
    framed[0] = 255
    voc = put(tmp_path / "voc", palette()[framed], "RGBA")
    with pytest.raises(UsageError, match=r"4 different ones.*--truth-palette voc"):
        evaluate(pred, voc, class_names=TWO_CLASSES)
    for names in (TWO_CLASSES, None):
        report = evaluate(pred, voc, class_names=names, truth_palette="voc")
        assert (report.mean_iou, int(report.confusion.sum())) == (1, framed.size - 16)
    with pytest.raises(UsageError, match=r"#008000 .* is number 2 of VOC's"):
        evaluate(pred, voc, class_names=ONE_CLASS, truth_palette="voc")
    own = put(tmp_path / "own", coloured(TWO, [(10, 20, 30), (1, 2, 3), (200, 100, 0)]))
    for number, lines in enumerate(
        (
            "10 20 30 background\n1 2 3 cat\n200 100 0 dog\n9 9 9 cow",
            "# colours\n#0a141e background\n#010203 cat\n#C86400 dog",
            "name,r,g,b\nbackground,10,20,30\ncat,1,2,3\ndog, 200, 100, 0\n",
        )
    ):
        table = tmp_path / f"{number}.txt"
        table.write_text(lines)
        assert evaluate(pred, own, class_names=TWO_CLASSES, truth_palette=str(table)).mean_iou == 1
        assert evaluate(own, pred, class_names=TWO_CLASSES, pred_palette=str(table)).mean_iou == 1
    with pytest.raises(UsageError, match="'dog', which is not in the class list"):
        evaluate(pred, own, class_names=ONE_CLASS, truth_palette=str(tmp_path / "0.txt"))


def test_palettes_that_an_optimiser_renumbered(tmp_path: Path) -> None:
    """Indices 0, 1, 2 with the colours of background, dog, cat: right for eyes, wrong for numbers."""
    pred = put(tmp_path / "pred", TWO)
    image = Image.fromarray(np.array([0, 2, 1], np.uint8)[TWO])
    image.putpalette(palette()[[0, 2, 1]].tobytes())
    (tmp_path / "gt").mkdir()
    image.save(tmp_path / "gt/a.png")
    report = evaluate(pred, tmp_path / "gt", class_names=TWO_CLASSES)
    assert "truth-palette" in codes(report)
    settled = evaluate(pred, tmp_path / "gt", class_names=TWO_CLASSES, truth_palette="voc")
    assert (settled.mean_iou, codes(settled)) == (1, [])
    white_first = Image.fromarray(1 - CAT)
    white_first.putpalette(bytes([255, 255, 255, 0, 0, 0]))
    white_first.save(tmp_path / "gt/a.png")
    assert "truth-palette" in codes(evaluate(pred, tmp_path / "gt", class_names=TWO_CLASSES))


def test_sound_masks_raise_no_doubt(tmp_path: Path) -> None:
    truth, grey = TWO.copy(), np.where(TWO == 2, 15, CAT).astype(np.uint8)
    truth[:2] = 255
    for mode in ("palette", "index"):
        save_mask(tmp_path / f"p-{mode}/a.png", TWO, mode=mode)
        save_mask(tmp_path / f"t-{mode}/a.png", truth, mode=mode)
        save_mask(tmp_path / f"g-{mode}/a.png", grey, mode=mode)
        report = evaluate(tmp_path / f"p-{mode}", tmp_path / f"t-{mode}", class_names=TWO_CLASSES)
        assert (report.mean_iou, codes(report)) == (1, [])
        assert codes(evaluate(tmp_path / f"g-{mode}", tmp_path / f"g-{mode}")) == ["same-folder"]
        cow = evaluate(tmp_path / f"p-{mode}", tmp_path / f"g-{mode}")
        assert codes(cow) == []


def test_what_is_doubtful_is_told(pred: Path, tmp_path: Path) -> None:
    truth = put(tmp_path / "gt", TWO)
    swapped = put(tmp_path / "swapped", np.array([0, 2, 1], np.uint8)[TWO])
    assert codes(evaluate(swapped, truth, class_names=TWO_CLASSES)) == ["swapped"]
    assert codes(evaluate(put(tmp_path / "inv", 1 - CAT), pred, class_names=ONE_CLASS)) == ["swapped"]
    shifted = put(tmp_path / "from zero", np.where(TWO > 0, TWO - 1, 255).astype(np.uint8))
    assert "swapped" in codes(evaluate(truth, shifted, class_names=TWO_CLASSES))
    assert codes(evaluate(pred, put(tmp_path / "none", 0 * CAT), class_names=ONE_CLASS)) == ["truth-background"]
    assert codes(evaluate(put(tmp_path / "zero", 0 * CAT), truth, class_names=TWO_CLASSES)) == ["pred-background"]
    grey = put(tmp_path / "grey", TWO * 100)
    assert {"truth-values", "pred-values"} <= set(codes(evaluate(grey, put(tmp_path / "grey2", TWO * 100))))
    hidden = put(tmp_path / "hidden", np.where(np.arange(16) < 10, 255, TWO).astype(np.uint8))
    report = evaluate(pred, hidden, class_names=TWO_CLASSES)
    assert codes(report) == ["ignored"]
    assert report.protocol.ignored_share == 10 / 16
    white = put(tmp_path / "white", np.where(np.arange(16) < 5, 255, TWO).astype(np.uint8))
    report = evaluate(white, truth, class_names=TWO_CLASSES)
    assert codes(report) == ["pred-ignored"]
    assert report.protocol.predicted_ignored_share == 5 / 16
    (truth / "run.json").write_text(json.dumps({"classes": TWO_CLASSES}))
    assert codes(evaluate(pred, truth, class_names=TWO_CLASSES)) == ["order"]


def test_an_image_in_which_nothing_counts(pred: Path, tmp_path: Path) -> None:
    truth = put(tmp_path / "gt", CAT)
    save_mask(pred / "b.png", CAT[:4])
    save_mask(truth / "b.png", np.full_like(CAT[:4], 255))
    report = evaluate(pred, truth, class_names=ONE_CLASS)
    assert (codes(report), report.protocol.images_without_counted_pixels) == (["empty-truth"], 1)


def test_folders_that_hold_no_masks(pred: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (16, 12), (200, 10, 30)).save(tmp_path / "photos/a.jpg")
    for one, other in ((pred, tmp_path / "photos"), (tmp_path / "photos", pred)):
        with pytest.raises(UsageError, match=r"1 \.jpg file"):
            evaluate(one, other)
    rng = np.random.default_rng(0)
    photo = put(tmp_path / "photo", rng.integers(0, 255, (12, 16, 3), np.uint8).repeat(3, 0).repeat(2, 1))
    with pytest.raises(UsageError, match=r"contains colours.*different ones"):
        evaluate(pred, photo)
    with pytest.raises(UsageError, match="EXIF"):
        evaluate(pred, put(tmp_path / "turned", np.ascontiguousarray(CAT.T)), class_names=ONE_CLASS)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("255", "nor a file"),
        ("", "nor a file"),
        ("255=", "not VALUE=CLASS"),
        ("white=cat", "not VALUE=CLASS"),
        ("9-3=cat", "not VALUE=CLASS"),
        ("70000=cat", "not VALUE=CLASS"),
        ("255=cta", "did you mean 'cat'"),
        ("255=2", "not in the class list"),
        ("1-9=cat,5=background", "twice"),
    ],
)
def test_maps_that_cannot_be_understood(said: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_coding("truth", said, None, ("background", "cat"), 255)


def test_tables_that_cannot_be_understood(tmp_path: Path) -> None:
    names = ("background", "cat")
    for lines, message in (
        ("1 2 3 cat\n1 2 3 background", "twice"),
        ("1 2 300 cat", "is not `R G B NAME`"),
        ("1 2 3 cat\nwhat is this", "is not `R G B NAME`"),
        ("1 2 3 cow", "none of its names"),
    ):
        (tmp_path / "table").write_text(lines)
        with pytest.raises((UsageError, LabelError), match=message):
            make_coding("pred", None, str(tmp_path / "table"), names, 255)
    with pytest.raises(UsageError, match="neither voc nor a file"):
        make_coding("pred", None, "cityscapes", names, 255)
    with pytest.raises(UsageError, match="cannot be combined"):
        make_coding("truth", "255=cat", "voc", names, 255)
    (tmp_path / "table").write_text("1 2 3 cat")
    with pytest.raises(UsageError, match="--class-file"):
        make_coding("truth", None, str(tmp_path / "table"), None, 255)


@pytest.mark.parametrize("name", ["big cat", "$(touch code)", "it's `x`"])
def test_the_option_can_be_pasted_whatever_the_class_is_called(pred: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as found:
        evaluate(pred, put(tmp_path / "gt", CAT * 255), class_names=(name,))
    pasted = str(found.value).split("--truth-map ")[1].split(" (or")[0]
    assert shlex.split(pasted) == [f"255={name}"]
    assert pasted == shlex.quote(f"255={name}")


def test_people_programs_and_pages_hear_of_it_first(
    pred: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = put(tmp_path / "gt", (1 - CAT) * 255)
    (tmp_path / "classes.txt").write_text("background\ncat\ndog\n")
    words = ["evaluate", str(pred), str(truth), "--class-file", str(tmp_path / "classes.txt")]
    assert app.run(words) == 2
    assert "--truth-map 255=cat" in capsys.readouterr().err
    page = tmp_path / "page.html"
    assert app.run([*words, "--truth-map", "255=cat", "--json", "--html", str(page)]) == 0
    streams = capsys.readouterr()
    document = json.loads(streams.out)
    assert [one["code"] for one in document["warnings"]] == ["swapped"]
    assert document["protocol"]["absent"] == ["dog"]
    assert document["protocol"]["truth_read_as"] == "255=cat"
    lines = [line for line in streams.err.splitlines() if "mean IoU" in line or line.startswith("warning")]
    assert "mostly predicted as others" in lines[0]
    assert lines[1].startswith("mean IoU 0.0 over 2 of 3 classes; in neither truth nor prediction: dog")
    text = page.read_text("utf-8")
    assert text.index("mostly predicted as others") < text.index('class="number"')


def test_classes_that_truth_and_predictions_do_not_share(pred: Path, tmp_path: Path) -> None:
    """As with Cityscapes' labelIds and a class list of as many names."""
    report = evaluate(pred, put(tmp_path / "gt", CAT * 2), class_names=TWO_CLASSES)
    assert codes(report) == ["disjoint"]
    assert "cat in the predictions" in report.doubts[0].text
    assert "--truth-map" in report.doubts[0].text
    assert codes(evaluate(pred, tmp_path / "gt", class_names=TWO_CLASSES, truth_map="2=cat")) == []


def test_black_and_white_truth_among_class_indices(pred: Path, tmp_path: Path) -> None:
    save_mask(pred / "b.png", CAT)
    put(tmp_path / "gt", CAT)
    save_mask(tmp_path / "gt/b.png", CAT * 255)
    report = evaluate(pred, tmp_path / "gt", class_names=ONE_CLASS)
    assert codes(report) == ["hollow-truth"]
    assert "1 of 2 images" in report.doubts[0].text
    for way, right in (("255=cat", 1.0), ("255=ignore", report.mean_iou)):
        settled = evaluate(pred, tmp_path / "gt", class_names=ONE_CLASS, truth_map=way)
        assert codes(settled) == []
        assert settled.mean_iou == right


def test_truth_in_arrays_is_named(pred: Path, tmp_path: Path) -> None:
    (tmp_path / "gt").mkdir()
    np.save(tmp_path / "gt/a.npy", CAT)
    with pytest.raises(UsageError, match=r"1 \.npy file.*PNG"):
        evaluate(pred, tmp_path / "gt", class_names=ONE_CLASS)


def test_a_colour_of_voc_beyond_a_short_class_list(pred: Path, tmp_path: Path) -> None:
    """VOC's cat is its 8th class; in a list of two it has no number, and a file of colours names it."""
    truth = put(tmp_path / "gt", np.where(CAT[..., None] > 0, np.array([64, 0, 0]), 0).astype(np.uint8))
    with pytest.raises(UsageError, match=r"number 8 of VOC's.*--truth-palette FILE with the line `64 0 0 NAME`"):
        evaluate(pred, truth, class_names=ONE_CLASS, truth_palette="voc")
    (tmp_path / "colours.txt").write_text("0 0 0 background\n64 0 0 cat\n")
    assert evaluate(pred, truth, class_names=ONE_CLASS, truth_palette=str(tmp_path / "colours.txt")).mean_iou == 1
