"""Images and rows finding each other, and what is left over on either side."""

from __future__ import annotations

from pathlib import Path

import pytest

from pseudomask.data.images import ImageItem
from pseudomask.data.labels import LabelTable, match
from pseudomask.errors import LabelError


def items(*names: str) -> list[ImageItem]:
    return [ImageItem(name.rpartition(".")[0], name, Path()) for name in names]


def rows(tags: dict[str, tuple[int, ...]]) -> LabelTable:
    return LabelTable(("cat", "dog"), tags, "csv", "labels.csv")


def test_leftovers_are_reported_both_ways() -> None:
    found = match(items("a.jpg", "d/b.jpg", "c.jpg"), rows({"a.jpg": (0,), "d/b.jpg": (), "x.jpg": (1,)}))
    assert found.tags == {"a": (0,), "d/b": ()}
    assert found.untagged == ["c"]
    assert found.orphans == ["x.jpg"]


@pytest.mark.parametrize("name", ["d/b.jpg", "d/b", "d/b.png", "b.jpg", "b", "./d/b.jpg", "up/d/b.jpg", "d\\b.jpg"])
def test_a_row_finds_its_image(name: str) -> None:
    assert match(items("a.jpg", "d/b.jpg"), rows({name: (1,)})).tags == {"d/b": (1,)}


@pytest.mark.parametrize("name", ["e/b.jpg", "b2.jpg", "b.v1", "xd/b.jpg", "B.jpg"])
def test_a_row_never_finds_anothers_image(name: str) -> None:
    found = match(items("a.jpg", "d/b.jpg"), rows({"a.jpg": (0,), name: (1,)}))
    assert found.tags == {"a": (0,)}
    assert found.orphans == [name]


def test_a_name_that_may_mean_two_images() -> None:
    with pytest.raises(LabelError, match=r"labels\.csv: b\.jpg is ambiguous: d/b\.jpg, e/b\.jpg"):
        match(items("d/b.jpg", "e/b.jpg"), rows({"b.jpg": (0,)}))


def test_an_exact_name_wins_whatever_the_order() -> None:
    for names in (["b.jpg", "d/b.jpg"], ["d/b.jpg", "b.jpg"]):
        found = match(items("b.jpg", "d/b.jpg"), rows({name: (len(name) % 2,) for name in names}))
        assert found.tags == {"b": (1,), "d/b": (1,)}
        assert found.orphans == []


def test_the_tail_of_another_image_is_left_alone() -> None:
    found = match(items("d/b.jpg"), rows({"b.jpg": (0,), "d/b.jpg": (1,)}))
    assert found.tags == {"d/b": (1,)}
    assert found.orphans == ["b.jpg"]


def test_two_rows_for_one_image() -> None:
    found = match(items("d/b.jpg"), rows({"b.jpg": (0,), "b.png": (0,)}))
    assert found.tags == {"d/b": (0,)}
    with pytest.raises(LabelError, match=r"b\.jpg and b\.png are the same image with different tags"):
        match(items("d/b.jpg"), rows({"b.jpg": (0,), "b.png": (1,)}))


def test_nothing_matches_shows_both_sides() -> None:
    with pytest.raises(LabelError, match=r"labels\.csv: matches no image: it names 'x\.jpg', .* 'a\.jpg'"):
        match(items("a.jpg"), rows({"x.jpg": (0,)}))


def test_composed_and_decomposed_names_meet() -> None:
    assert match(items("cafe\u0301.jpg"), rows({"caf\u00e9.jpg": (1,)})).tags == {"cafe\u0301": (1,)}
