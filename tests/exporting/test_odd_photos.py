"""Photos that OpenCV, Pillow or both would open otherwise than extract did: each exported file is read by both."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_masks import Made, drawn
from PIL import Image, ImageOps

from pseudomask.data.decoding import decode
from pseudomask.exporting import FORMATS
from pseudomask.masks import load_mask

SIZE = (24, 32)
Y, X = np.mgrid[: SIZE[0], : SIZE[1]]
GREY = ((X * 5 + Y * 3) % 256).astype(np.uint8)
RGB = np.stack([X * 8, Y * 10, 255 - X * 4], 2).astype(np.uint8)


def stored(format: str, pixels: Any = RGB, mode: str | None = None, **more: Any) -> bytes:
    image = Image.fromarray(pixels)
    stream = io.BytesIO()
    (image if mode is None else image.convert(mode)).save(stream, format, **more)
    return stream.getvalue()


def by_opencv(suffix: str, pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(suffix, pixels)[1].tobytes())


def turned(format: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return stored(format, np.ascontiguousarray(RGB.transpose(1, 0, 2)), exif=exif.tobytes())


LONG = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x04\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
ALPHA = np.dstack([RGB, GREY])
FRAMES = [Image.fromarray(255 - RGB)]
ODD: dict[str, Callable[[], bytes]] = {
    "float.tif": lambda: stored("TIFF", GREY.astype(np.float32) / 255),
    "int32.tif": lambda: stored("TIFF", GREY.astype(np.int32)),
    "deep.tif": lambda: stored("TIFF", GREY.astype(np.uint16) * 257),
    "rgb16.tiff": lambda: by_opencv(".tiff", RGB.astype(np.uint16) * 257),
    "cmyk.tif": lambda: stored("TIFF", mode="CMYK"),
    "ycc.tif": lambda: stored("TIFF", mode="YCbCr"),
    "in jpeg.tif": lambda: stored("TIFF", compression="jpeg"),
    "pages.tif": lambda: stored("TIFF", save_all=True, append_images=FRAMES),
    "white is zero.tif": lambda: stored("TIFF", (GREY > 99).astype(np.uint8) * 255, "1", tiffinfo={262: 0}),
    "cmyk.jpg": lambda: stored("JPEG", mode="CMYK", quality=95),
    "turned.jpg": lambda: turned("JPEG"),
    "turned by a long number.jpg": lambda: stored("JPEG", np.ascontiguousarray(RGB.transpose(1, 0, 2)), exif=LONG),
    "turned.png": lambda: turned("PNG"),
    "turned.webp": lambda: turned("WEBP"),
    "turned by xmp.jpg": lambda: stored("JPEG", quality=95, xmp=b'<x tiff:Orientation="6"/>'),
    "deep.png": lambda: stored("PNG", GREY.astype(np.uint16) * 257),
    "rgb16.png": lambda: by_opencv(".png", RGB.astype(np.uint16) * 257),
    "alpha.png": lambda: stored("PNG", ALPHA),
    "grey alpha.png": lambda: stored("PNG", ALPHA, "LA"),
    "one colour clear.png": lambda: stored("PNG", transparency=tuple(RGB[0, 0].tolist())),
    "palette.png": lambda: stored("PNG", mode="P"),
    "bits.png": lambda: stored("PNG", GREY, "1"),
    "moving.png": lambda: stored("PNG", save_all=True, append_images=FRAMES),
    "still.gif": lambda: stored("GIF"),
    "moving.webp": lambda: stored("WEBP", save_all=True, append_images=FRAMES, lossless=True),
    "alpha.webp": lambda: stored("WEBP", ALPHA, lossless=True),
    "alpha.bmp": lambda: stored("BMP", ALPHA),
    "palette.bmp": lambda: stored("BMP", mode="P"),
    "wide.pgm": lambda: b"P5 32 24 65535\n" + (GREY.astype(">u2") * 257).tobytes(),
    "is a png.jpg": lambda: stored("PNG"),
    "is a tiff.png": lambda: stored("TIFF"),
}
SOUND: dict[str, Callable[[], bytes]] = {
    "a.JPG": lambda: stored("JPEG"),
    "b.jpeg": lambda: stored("JPEG", GREY),
    "c.jfif": lambda: stored("JPEG", progressive=True),
    "d.png": lambda: stored("PNG"),
    "e.png": lambda: stored("PNG", GREY),
    "f.webp": lambda: stored("WEBP", lossless=True),
    "g.bmp": lambda: stored("BMP"),
}


def put(made: Made, photos: dict[str, Callable[[], bytes]]) -> None:
    for number, (name, content) in enumerate(photos.items()):
        relative = f"{number:02}/{name}"
        made.add(relative, drawn(number, SIZE))
        (made.place / "photos" / relative).write_bytes(content())
    made.record()


def exported(made: Made, key: str, format: str) -> Path:
    name = key.replace("/", "_") if FORMATS[format].flat else key
    (found,) = (
        path
        for path in made.dest.rglob("*")
        if path.with_suffix("").as_posix().endswith("/" + name)
        and path.suffix.lower() not in (".txt",)
        and not {"masks", "ann_dir", "SegmentationClass", "SegmentationClassAug"} & set(path.parts)
    )
    return found


@pytest.mark.parametrize("format", [name for name, kind in FORMATS.items() if kind.with_photos and name != "cvatxml"])
def test_both_readers_see_what_extract_saw(tmp_path: Path, format: str) -> None:
    made = Made(tmp_path)
    put(made, ODD)
    assert made.export(format).failures == {}
    for key, relative in made.photos.items():
        path, wanted = exported(made, key, format), decode(tmp_path / "photos" / relative)
        opened = cv2.imread(str(path))
        assert opened is not None, relative
        with Image.open(path) as image:
            assert getattr(image, "n_frames", 1) == 1, relative
            assert image.mode in ("RGB", "L"), relative
            assert Image.MIME[image.format or ""] == Image.MIME[Image.registered_extensions()[path.suffix.lower()]]
            seen = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        for pixels in (opened[..., ::-1], seen):
            assert pixels.shape == wanted.shape, relative
            difference = np.abs(pixels.astype(int) - wanted).mean()
            assert difference < (6 if path.suffix == ".jpg" else 0.01), relative


def test_sound_photos_are_copied_under_the_suffix_of_their_kind(tmp_path: Path) -> None:
    made = Made(tmp_path)
    put(made, SOUND | {"h.jpg": SOUND["d.png"]})
    result = made.export("coco")
    assert (result.photos, result.rewritten) == ({"copied": 8}, {})
    names = sorted(path.name for path in (made.dest / "images").rglob("*") if path.is_file())
    assert names == ["a.JPG", "b.jpeg", "c.jpg", "d.png", "e.png", "f.webp", "g.bmp", "h.png"]
    for key, relative in made.photos.items():
        assert exported(made, key, "coco").read_bytes() == (tmp_path / "photos" / relative).read_bytes()


def test_what_is_rewritten_is_counted_with_its_reason(tmp_path: Path) -> None:
    made = Made(tmp_path)
    put(made, {name: ODD[name] for name in ("float.tif", "turned.jpg", "alpha.png")} | {"a.jpg": SOUND["a.JPG"]})
    result = made.export("yolo")
    assert result.photos == {"rewritten": 3, "copied": 1}
    told = dict(result.summary())["rewritten"]
    for word in ("1 TIFF that not all programs read alike", "1 rotated by EXIF", "1 PNG that"):
        assert word in told
    assert result.to_json()["rewritten"] == result.rewritten


def test_mmseg_has_one_suffix_without_loss_where_no_photo_is_a_jpeg(tmp_path: Path) -> None:
    made = Made(tmp_path)
    put(made, {"a.tif": ODD["float.tif"], "b.bmp": SOUND["g.bmp"]})
    assert "img_suffix='.png'" in made.export("mmseg").paste


def test_photos_that_were_cut_off_are_whole_in_the_export(tmp_path: Path) -> None:
    """With --allow-truncated extract takes what is there; Pillow in a trainer would stop at such a file."""
    made = Made(tmp_path)
    put(made, {"a.jpg": SOUND["a.JPG"], "cut.jpg": lambda: stored("JPEG")[:-60]})
    made.record(config={"images": str(tmp_path / "photos"), "allow_truncated": True})
    result = made.export("coco")
    assert (result.photos, result.rewritten) == ({"copied": 1, "rewritten": 1}, {"truncated": 1})
    with Image.open(exported(made, "01/cut", "coco")) as image:
        image.load()


def test_bands_of_the_runs_choice_are_what_the_export_shows(tmp_path: Path) -> None:
    made = Made(tmp_path)
    put(made, {"d.png": SOUND["d.png"]})
    made.record(config={"images": str(tmp_path / "photos"), "bands": [3, 2, 1]})
    assert made.export("coco").photos == {"rewritten": 1}


@pytest.mark.parametrize("format", ["voc", "mmseg", "imagefolder"])
def test_masks_of_fewer_than_8_bits_are_written_anew(tmp_path: Path, format: str) -> None:
    """A mask that a person or an optimiser stored as 1 bit: 1 would be 255 to OpenCV."""
    made = Made(tmp_path)
    made.add("a.jpg", (GREY > 99).astype(np.uint8))
    made.record()
    Image.fromarray(GREY > 99).save(made.out / "a.png", bits=1)
    made.export(format)
    folder = {"voc": "SegmentationClass", "mmseg": "ann_dir", "imagefolder": "masks"}[format]
    (path,) = (one for one in made.dest.rglob("a.png") if folder in one.parts)
    with Image.open(path) as image:
        assert image.mode == "P"
        assert np.array_equal(np.asarray(image), made.masks["a"])
    assert np.array_equal(load_mask(path), made.masks["a"])
