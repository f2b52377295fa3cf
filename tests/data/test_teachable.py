"""Tags that cannot teach, planted in small matrices."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from pseudomask.data.teachable import Finding, examine

NAMES = ("cat", "dog", "hat", "cow")


def found(*columns: tuple[int, ...] | np.ndarray, held_out: np.ndarray | None = None) -> dict[str, Finding]:
    tags = np.stack([np.asarray(column) for column in columns], 1)
    return {one.kind: one for one in examine(tags, NAMES[: tags.shape[1]], held_out)}


def first(n: int, of: int, start: int = 0) -> np.ndarray:
    column = np.zeros(of, int)
    column[start : start + n] = 1
    return column


def test_sound_tags_have_no_finding() -> None:
    """Each class alone in many photos, some together, some photos without any: nothing to say."""
    assert found(first(40, 120), first(40, 120, 30), first(30, 120, 75)) == {}
    exclusive = found(first(60, 120), first(60, 120, 60))  # one or the other
    assert exclusive == {}


def test_a_class_that_is_never_absent() -> None:
    told = found(first(50, 50), first(20, 50))
    assert told.keys() == {"everywhere"}, "nor is the other one told as implying it"
    assert told["everywhere"].classes == (("cat",),)
    assert told["everywhere"].photos == (50,)
    assert "every photo: cat (50)" in told["everywhere"].text
    assert "add photos without it" in told["everywhere"].text
    both = found(first(50, 50), first(50, 50))
    assert both.keys() == {"everywhere"}
    assert both["everywhere"].text.startswith("2 classes are in every photo: cat, dog")


def test_a_class_that_is_hardly_ever_absent() -> None:
    told = found(first(101, 120), first(30, 120, 85))
    assert told.keys() == {"nearly_everywhere"}
    assert told["nearly_everywhere"].photos == (19,)
    assert found(first(100, 120), first(30, 120, 85)) == {}


def test_classes_that_always_come_together() -> None:
    column, other = first(30, 100), first(40, 100, 50)
    told = found(column, other, column, column)
    assert told.keys() == {"together"}
    assert told["together"].classes == (("cat", "hat", "cow"),)
    assert "cat = hat = cow (30)" in told["together"].text
    assert "merge them" in told["together"].text


def test_a_class_that_always_comes_with_another() -> None:
    told = found(first(60, 100), first(25, 100, 10), first(30, 100, 70))
    assert told.keys() == {"implied"}
    assert told["implied"].classes == (("dog", "cat"),)
    assert "dog (25, always with cat)" in told["implied"].text


def test_a_class_that_is_never_alone() -> None:
    told = found(first(50, 120), first(50, 120, 50), first(40, 120, 30))
    assert told.keys() == {"never_alone"}
    assert told["never_alone"].classes == (("hat",),)


def test_few_photos_none_and_all_held_out() -> None:
    held = np.array([[0, 0, 1, 0]] * 3)
    told = found(first(40, 80), first(19, 80, 40), first(0, 80), first(0, 80), held_out=held)
    assert told["few"].text == "1 class has fewer than 20 photos: dog (19)"
    assert (told["held_out"].classes, told["held_out"].photos) == ((("hat",),), (3,))
    assert "--val-list" in told["held_out"].text
    assert told["absent"].classes == (("cow",),)
    assert len(told) == 3
    assert found(first(1, 80), first(40, 80)).keys() == {"few"}, "a single photo is no company"


def test_nothing_is_cut_off_without_a_word() -> None:
    names = [f"c{i}" for i in range(11)]
    (told,) = examine(np.vstack([np.eye(11), np.eye(11)]), names)
    assert "c7" in told.text
    assert "c8" not in told.text
    assert "and 3 more (--json lists all)" in told.text
    plain = json.loads(json.dumps(told.to_json()))
    assert [group[0] for group in plain["classes"]] == names
    assert plain["photos"] == [2] * 11


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (5, 0)])
def test_hardly_any_tags_are_no_error(shape: tuple[int, int]) -> None:
    examine(np.zeros(shape), NAMES[: shape[1]])
    examine(np.ones(shape), NAMES[: shape[1]])


def test_a_large_set_takes_no_time() -> None:
    tags = np.random.default_rng(0).random((100_000, 80)) < 0.04
    started = time.process_time()
    assert examine(tags, [str(i) for i in range(80)]) == []
    assert time.process_time() - started < 2
