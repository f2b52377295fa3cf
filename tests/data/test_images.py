"""Finding images, reading lists of names, choosing by name."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from pseudomask.data.images import ImageItem, find_images, read_list, select
from pseudomask.errors import UsageError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")


def relatives(folder: Path, **options: Path) -> list[str]:
    return [item.relative for item in find_images(folder, **options)]


def make_items(*names: str) -> list[ImageItem]:
    return [ImageItem(name.rpartition(".")[0], name, Path()) for name in names]


def test_finds_recursively_sorted_any_case_and_skips_hidden(tmp_path: Path) -> None:
    touch(tmp_path, "b.JPG", "a/z.png", "a/y.TiF", ".hidden.jpg", ".git/x.jpg", "notes.txt", "a.xml")
    items = find_images(tmp_path)
    assert [(i.key, i.relative) for i in items] == [("a/y", "a/y.TiF"), ("a/z", "a/z.png"), ("b", "b.JPG")]
    assert [i.path for i in items] == [tmp_path / i.relative for i in items]


def test_finds_by_content_where_the_extension_says_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "photo", "JPEG")
    Image.new("RGB", (2, 2)).save(tmp_path / "scan.dat", "BMP")
    (tmp_path / "letter.dat").write_text("BM is how this letter begins, and P5 is in it")
    (tmp_path / "other").write_text("P5 words, not numbers")
    assert relatives(tmp_path) == ["photo", "scan.dat"]


def test_walks_loops_once_and_lists_dead_links(tmp_path: Path) -> None:
    touch(tmp_path, "a/x.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "a")
    (tmp_path / "dead.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "self.jpg").symlink_to(tmp_path / "self.jpg")
    assert relatives(tmp_path) == ["a/x.jpg", "dead.jpg", "self.jpg"]


def test_follows_a_link_to_another_folder(tmp_path: Path) -> None:
    touch(tmp_path / "far", "x.jpg")
    touch(tmp_path / "near", "y.jpg")
    (tmp_path / "near" / "link").symlink_to(tmp_path / "far")
    assert relatives(tmp_path / "near") == ["link/x.jpg", "y.jpg"]


def test_exclude_is_not_walked(tmp_path: Path) -> None:
    touch(tmp_path, "x.jpg", "out/x.png", "out/deep/y.png")
    assert relatives(tmp_path, exclude=tmp_path / "out") == ["x.jpg"]
    assert relatives(tmp_path, exclude=tmp_path / "absent") == ["out/deep/y.png", "out/x.png", "x.jpg"]


def test_pipes_are_not_images(tmp_path: Path) -> None:
    touch(tmp_path, "x.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert relatives(tmp_path) == ["x.jpg"]


@pytest.mark.skipif(sys.platform != "linux", reason="the file system must take any bytes")
def test_odd_names_survive(tmp_path: Path) -> None:
    names = [b"caf\xe9.jpg", "e\u0301.jpg".encode(), "é.jpg".encode(), b"-x [b].jpg", b"new\nline.jpg", b"a" * 246]
    names[-1] += b".jpg"
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    assert sorted(os.fsencode(name) for name in relatives(tmp_path)) == sorted(names)


def test_folder_mistakes_are_usage_errors(tmp_path: Path) -> None:
    touch(tmp_path, "file.txt")
    for folder, message in [
        (tmp_path / "none", "no such folder"),
        (tmp_path / "file.txt", "not a folder"),
        (tmp_path, "no image found"),
    ]:
        with pytest.raises(UsageError, match=message):
            find_images(folder)


def test_list_survives_bom_crlf_blanks_and_comments(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(b"\xef\xbb\xbf# mine\r\na/x.jpg\r\n\r\n  b \r\n#1.jpg\r\n\xff.jpg")
    assert read_list(file) == ["a/x.jpg", "b", "#1.jpg", "\udcff.jpg"]


def test_list_keeps_the_first_column_of_voc_files_only(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("2008_000008  1\n2008_000015 -1\n2008_000019  0\n")
    assert read_list(file) == ["2008_000008", "2008_000015", "2008_000019"]
    file.write_text("photo 1\nphoto two\n")
    assert read_list(file) == ["photo 1", "photo two"]
    file.write_text("/JPEGImages/a.jpg /SegmentationClassAug/a.png\n")
    assert read_list(file) == ["/JPEGImages/a.jpg"]


def test_list_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x\ny\n")))
    assert read_list("-") == ["x", "y"]


def test_list_mistakes_are_usage_errors(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("# nothing\n\n")
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"a\0b\n")
    for file, message in [(tmp_path / "none", "cannot read"), (empty, "list is empty"), (binary, "not a text")]:
        with pytest.raises(UsageError, match=message):
            read_list(file)


def test_select_by_path_key_and_tail_in_the_lists_order() -> None:
    items = make_items("a/1.jpg", "a/2.png", "b/3.jpg", "4.jpg", "v1.2.jpg")
    names = ["b/3.jpg", "a/2", "1", "JPEGImages/4.jpg", "2.png", "v1.2"]
    chosen = select(items, names, source="list")
    assert [item.relative for item in chosen] == ["b/3.jpg", "a/2.png", "a/1.jpg", "4.jpg", "v1.2.jpg"]


def test_select_never_crosses_folders_or_cuts_a_name() -> None:
    items = make_items("a/1.jpg", "v1.jpg", "10.jpg")
    for name in ("b/1.jpg", "v1.2", "0.jpg", "x/v1.2"):
        with pytest.raises(UsageError, match="none of its names"):
            select(items, [name], source="list")


def test_select_reports_unknown_and_ambiguous_names() -> None:
    items = make_items("a/1.jpg", "b/1.jpg", "2.jpg")
    with pytest.raises(UsageError, match=r"list: no image for 4 of 5 names: p, q, r, …"):
        select(items, ["2", "p", "q", "r", "s"], source="list")
    with pytest.raises(UsageError, match=r"list: 1 is ambiguous: a/1\.jpg, b/1\.jpg"):
        select(items, ["1"], source="list")


def test_select_meets_unicode_forms_and_windows_separators() -> None:
    items = make_items("cafe\u0301.jpg", "x/y.jpg")
    chosen = select(items, ["caf\u00e9.jpg", "x\\y.jpg"], source="list")
    assert [item.relative for item in chosen] == ["cafe\u0301.jpg", "x/y.jpg"]


def test_select_keeps_composed_and_decomposed_apart_where_both_exist() -> None:
    items = make_items("caf\u00e9.jpg", "cafe\u0301.jpg")
    assert select(items, ["cafe\u0301"], source="list")[0].relative == "cafe\u0301.jpg"


@pytest.mark.shared
def test_real_split_files(shared: Path) -> None:
    voc = shared / "data" / "voc"
    items = find_images(voc / "JPEGImages")
    assert len(items) == 2318
    assert len(select(items, read_list(voc / "ImageSets" / "val.txt"), source="val")) == 231
