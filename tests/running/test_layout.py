"""Nothing that exists is harmed, and no two images write one mask."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import pytest

from pseudomask.errors import CollisionError
from pseudomask.running import layout
from pseudomask.running.layout import check_foreign, plan_outputs


@dataclass(frozen=True)
class Item:
    relative: str

    @property
    def key(self) -> str:
        return self.relative.rpartition(".")[0]


def items(*names: str) -> list[Item]:
    return [Item(name) for name in names]


def test_paths(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (first, second) = plan_outputs(items("x/y.v1.jpg", "z.png"), tmp_path / "images", out)
    assert first.mask == out / "x" / "y.v1.png"
    assert first.scores == out / "scores" / "x" / "y.v1.npz"
    assert first.overlay == out / "overlays" / "x" / "y.v1.jpg"
    assert second.mask == out / "z.png"


def test_two_images_with_one_mask_are_both_named(tmp_path: Path) -> None:
    with pytest.raises(CollisionError, match=re.escape("x/a.jpg and x/a.png would both write x/a.png")):
        plan_outputs(items("b.jpg", "x/a.jpg", "x/a.png"), tmp_path / "images", tmp_path / "out")


def test_case_and_folders_keep_images_apart(tmp_path: Path) -> None:
    planned = plan_outputs(items("a.jpg", "A.jpg", "x/a.jpg"), tmp_path / "images", tmp_path / "out")
    assert len({one.mask for one in planned}) == 3


@pytest.mark.parametrize("names", [("a.jpg", "a.png/b.jpg"), ("run.json/b.jpg",), ("manifest.jsonl/x/b.jpg",)])
def test_a_folder_that_needs_a_files_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(CollisionError, match="the name of an output file"):
        plan_outputs(items(*names), tmp_path / "images", tmp_path / "out")


@pytest.mark.parametrize(
    ("images", "out", "why"),
    [
        ("a", "a", "is the image folder"),
        ("a", "a/../a", "is the image folder"),
        ("a", "a/b/c", "lies inside the image folder"),
        ("a/b", "a", "lies inside the output folder"),
        ("link", "a", "is the image folder"),
        ("a", "link/out", "lies inside the image folder"),
    ],
)
def test_folders_that_overlap(tmp_path: Path, images: str, out: str, why: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(CollisionError, match=why) as caught:
        plan_outputs([], tmp_path / images, tmp_path / out)
    assert str(tmp_path / out) in str(caught.value)


def test_neighbours_with_one_beginning_are_apart(tmp_path: Path) -> None:
    plan_outputs([], tmp_path / "photos", tmp_path / "photos-out")


@pytest.mark.parametrize("existing", ["a.png", "scores/a.npz", "overlays/a.jpg"])
def test_foreign_files_are_not_overwritten(tmp_path: Path, existing: str) -> None:
    planned = plan_outputs(items("a.jpg", "b.jpg"), tmp_path / "images", tmp_path / "out")
    check_foreign(planned)
    (tmp_path / "out" / existing).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "out" / existing).write_text("mine")
    with pytest.raises(CollisionError, match=re.escape(existing)):
        check_foreign(planned)


def test_foreign_files_are_counted(tmp_path: Path) -> None:
    planned = plan_outputs(items("a.jpg", "b.jpg", "c.jpg"), tmp_path / "images", tmp_path / "out")
    (tmp_path / "out").mkdir()
    for name in "abc":
        (tmp_path / "out" / f"{name}.png").symlink_to("nowhere")
    with pytest.raises(CollisionError, match="and 2 more would be overwritten"):
        check_foreign(planned)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "", "a\0b", None, 3])
def test_paths_that_leave_their_folder(name: object) -> None:
    assert not layout.is_below(name)


@pytest.mark.parametrize("name", ["..\\x", "C:x", "C:\\x", "\\\\host\\share\\x", "/x", "a\\..\\..\\x"])
def test_paths_that_leave_their_folder_on_windows_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert layout.is_below(name) == (not name.startswith("/"))
    monkeypatch.setattr(layout, "PurePath", PureWindowsPath)
    assert not layout.is_below(name)
    assert layout.is_below("a/b c.d")
