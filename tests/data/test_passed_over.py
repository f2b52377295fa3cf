"""Files that hold pictures and are not read: counted, named, and told how to convert."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from wide import tiff

from pseudomask.data.decoding import decode
from pseudomask.data.images import find_images, look_through, passed_over_line
from pseudomask.errors import ImageError, UsageError

_JPEG = io.BytesIO()
Image.new("RGB", (8, 8), "red").save(_JPEG, "JPEG")
JPEG = _JPEG.getvalue()
DICOM = b"\0" * 128 + b"DICM" + b"\0" * 300
CASES = [
    ("a.dcm", DICOM, "DICOM"),
    ("IM0001", DICOM, "DICOM"),
    ("a.nii", b"\0" * 344 + b"n+1\0", "NIfTI"),
    ("a.nii.gz", b"\x1f\x8b", "NIfTI"),
    ("a.tga", b"\0\0\2" + b"\0" * 40, "TGA"),
    ("a.psd", b"8BPS\0\1", "Photoshop"),
    ("a.exr", b"v/1\x01", "OpenEXR"),
    ("picture", b"#?RADIANCE\n", "Radiance HDR"),
    ("a.svg", b"<svg/>", "SVG"),
    ("a.pdf", b"%PDF-1.4", "PDF"),
    ("a.mp4", b"\0\0\0\x18ftypisom", "video"),
    ("clip", b"\0\0\0\x18ftypmp42", "video"),
    ("a.NEF", tiff(np.zeros((4, 4, 3), np.uint8)), "camera RAW"),
    ("a.CR2", b"II*\0\x10\0\0\0CR\2\0", "camera RAW"),
    ("a.jpg.part", JPEG, "unfinished download"),
    ("a.jxl", b"\xff\x0a", "JPEG XL"),
]


@pytest.mark.parametrize(("name", "content", "kind"), CASES)
def test_each_kind_is_named_beside_photos_and_alone(tmp_path: Path, name: str, content: bytes, kind: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=rf"no image found.*{kind}") as caught:
        find_images(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / "photo.jpg").write_bytes(JPEG)
    found = look_through(tmp_path)
    assert [item.relative for item in found.items] == ["photo.jpg"]
    assert [(one.kind, one.count, one.first) for one in found.passed_over] == [(kind, 1, name)]
    assert kind in passed_over_line(found.passed_over)


def test_kinds_are_counted_the_most_frequent_first(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(JPEG)
    for i in range(3):
        (tmp_path / f"{i}.dcm").write_bytes(DICOM)
    (tmp_path / "a.tga").write_bytes(b"\0" * 20)
    assert "ignored 3 .dcm (DICOM), 1 .tga (TGA)" in passed_over_line(look_through(tmp_path).passed_over)


def test_content_rules_where_it_is_a_known_kind(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(JPEG)
    (tmp_path / "x.ico").write_bytes(JPEG)
    found = look_through(tmp_path)
    assert [item.relative for item in found.items] == ["x.dcm", "x.ico"]
    assert found.passed_over == ()


def test_ordinary_companions_are_silent_and_stay_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = list[str]()
    monkeypatch.setattr("pseudomask.data.images._sniffed", opened.append)
    (tmp_path / "photo.jpg").write_bytes(JPEG)
    names = ("a.txt", "a.xml", "a.json", "a.csv", "Thumbs.db", "desktop.ini", "weights.pt", "all.zip", "x.log")
    for name in (*names, ".DS_Store", "._photo.jpg", ".hidden.dcm"):
        (tmp_path / name).write_bytes(DICOM)
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    found = look_through(tmp_path)
    assert len(found.items) == 1
    assert passed_over_line(found.passed_over) == ""
    assert opened == []


def test_an_archive_alone_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(b"PK\3\4")
    with pytest.raises(UsageError, match=r"1 \.zip.*unpack"):
        find_images(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"\n<html lang=en>", "HTML"),
        (b"<?xml version='1.0'?><Error/>", "did the download fail"),
        (b"<svg xmlns='x'/>", "SVG is not supported"),
        (b"\0" * 500, "zeros"),
        (DICOM, "DICOM is not supported"),
        (b"%PDF-1.7", "PDF is not supported"),
        (b"", "empty file"),
    ],
)
def test_what_a_false_jpg_is(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=reason):
        decode(tmp_path / "x.jpg")
    assert len(find_images(tmp_path)) == 1


def test_all_extensions_of_a_kind_are_named(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    for name in ("b.arw", "c.CR2", "d.nef", "e.nii.gz"):
        (tmp_path / name).write_bytes(b"x")
    told = passed_over_line(look_through(tmp_path).passed_over)
    assert "3 .arw, .cr2, .nef (camera RAW)" in told
    assert "1 .nii.gz (NIfTI)" in told
