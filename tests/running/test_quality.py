"""What speaks against masks without truth: each doubt, its numbers, and their order."""

from __future__ import annotations

from typing import Any

import pytest

from pseudomask.running.quality import Coverage


def line(classes: list[str], area: dict[str, float], **more: Any) -> dict[str, Any]:
    empty = [name for name in classes if name not in area]
    return {"key": "k", "status": "done", "classes": classes, "area": area, "empty": empty} | more


def kinds(*lines: dict[str, Any], at_chance: tuple[str, ...] = ()) -> dict[str, str]:
    return {one.kind: one.text for one in Coverage.of(lines).doubts(at_chance)}


GOOD = line(["cat"], {"cat": 0.3})


def test_sound_masks_raise_no_doubt() -> None:
    assert kinds(*[GOOD] * 10) == {}
    assert kinds() == {}
    assert kinds(*[GOOD] * 10, *[line(["cat"], {"cat": 0.99})] * 2) == {}, "close-ups are photos, too"


def test_classes_that_fill_the_photo() -> None:
    full = line(["skin", "cat"], {"skin": 0.96, "cat": 0.01})
    told = kinds(*[full] * 4, *[line(["skin"], {"skin": 0.94})] * 2, *[GOOD] * 10)
    assert told == {"fills": "skin (4 of 6): fills the whole photo"}


def test_masks_without_background_that_no_class_fills_alone() -> None:
    told = kinds(*[line(["skin", "hair"], {"skin": 0.5, "hair": 0.46})] * 3, *[GOOD] * 5)
    assert told == {"no_background": "no background in 3 of 8 masks"}


def test_tags_without_pixels_are_told_however_few() -> None:
    told = kinds(*[GOOD] * 9, line(["cat", "hat"], {"cat": 0.2}), line(["hat"], {"hat": 0.1}))
    assert told == {"misses": "tags without pixels in 1 of 11 masks: hat (1 of 2)"}


def test_photos_in_which_the_classifier_found_nothing_are_counted() -> None:
    nothing = line([], {}, tags="classifier")
    assert kinds(*[GOOD] * 3, *[nothing] * 2) == {"no_class": "no class found in 2 of 5 masks"}
    assert kinds(*[GOOD] * 3, line([], {}, tags="labels")) == {}, "the labels say that it shows none"


def test_classes_at_chance_and_none_that_no_photo_shows() -> None:
    told = kinds(*[GOOD] * 3, at_chance=("cat", "cow"))
    assert told == {"at_chance": "cat (3): no better than chance on held-out photos"}


def test_the_most_harmful_doubt_comes_first() -> None:
    missed = line(["hat"], {})
    full = line(["skin"], {"skin": 1.0})
    assert list(kinds(*[missed] * 3, *[full] * 4, *[GOOD] * 5, at_chance=("cat",))) == ["at_chance", "fills", "misses"]
    assert list(kinds(*[missed] * 5, *[full] * 4)) == ["misses", "fills"]


def test_the_worst_class_comes_first_and_the_rest_is_counted() -> None:
    lines = [line([name], {}) for number, name in enumerate("abcde", 1) for _ in range(number)]
    (doubt,) = Coverage.of(lines).doubts(rest="the page lists all")
    assert doubt.text.endswith("e (5 of 5), d (4 of 4), c (3 of 3) and 2 more (the page lists all)")
    assert doubt.classes == {"e": 5, "d": 4, "c": 3, "b": 2, "a": 1}
    assert doubt.masks == 15


@pytest.mark.parametrize(
    "odd",
    [
        {"area": None},
        {"area": {"cat": "much"}},
        {"area": {"cat": 7}},
        {"area": {"cat": True}},
        {"classes": "cat"},
        {"classes": [["cat"]]},
        {"empty": 3},
        {"status": "failed"},
    ],
)
def test_lines_that_somebody_changed_do_no_harm(odd: dict[str, Any]) -> None:
    assert kinds(*[GOOD] * 3, GOOD | odd) == {}
