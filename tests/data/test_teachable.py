"""Tags that cannot teach, planted in small matrices."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from pseudomask.data.teachable import LIMITS, RULES, VERDICTS, Finding, examine, verdict

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
    assert found(first(40, 120), first(40, 120, 30), first(40, 120, 75)) == {}
    exclusive = found(first(60, 120), first(60, 120, 60))  # one or the other
    assert exclusive == {}


def test_a_class_that_is_never_absent() -> None:
    told = found(first(50, 50), first(40, 50))
    assert told.keys() == {"everywhere"}, "nor is the other one told as implying it"
    assert told["everywhere"].classes == (("cat",),)
    assert told["everywhere"].photos == (50,)
    assert "hopeless: 1 class is in every photo: cat (50)" in told["everywhere"].text
    assert "add photos without it" in told["everywhere"].text
    both = found(first(50, 50), first(50, 50))
    assert both.keys() == {"everywhere"}
    assert "2 classes are in every photo: cat, dog" in both["everywhere"].text


def test_a_class_in_all_photos_that_are_trained_on_is_everywhere() -> None:
    held_out = np.array([[0, 0], [0, 1]])
    told = found(first(50, 50), first(45, 50), held_out=held_out)
    assert told["everywhere"].classes == (("cat",),)
    assert "nearly_everywhere" in told
    assert told["nearly_everywhere"].classes == (("dog",),)
    assert told["nearly_everywhere"].photos == (6,)


def test_a_class_that_is_hardly_ever_absent() -> None:
    told = found(first(111, 120), first(40, 120, 80))
    assert told.keys() == {"nearly_everywhere"}
    assert told["nearly_everywhere"].photos == (9,)
    assert told["nearly_everywhere"].text.startswith("doubtful: 1 class is in all but fewer than 10 photos: cat (9)")
    assert found(first(110, 120), first(40, 120, 80)) == {}


def test_classes_that_always_come_together() -> None:
    column, other = first(40, 100), first(40, 100, 50)
    told = found(column, other, column, column)
    assert told.keys() == {"together"}
    assert told["together"].classes == (("cat", "hat", "cow"),)
    assert "cat = hat = cow (40)" in told["together"].text
    assert "merge them" in told["together"].text
    assert told["together"].why("hat") == "(nearly) always together with cat and cow: they cannot be told apart"


def test_one_odd_photo_in_fifty_does_not_part_two_classes() -> None:
    """A slip of whoever tagged them; two in fifty are told apart."""
    other = first(40, 200, 120)
    one, slip = first(50, 200), first(50, 200, 1)
    assert found(one, slip, other)["together"].classes == (("cat", "dog"),)
    assert found(one, first(50, 200, 2), other) == {}
    chain = found(first(100, 300), first(100, 300, 2), first(100, 300, 4))
    assert chain["together"].classes == (("cat", "dog", "hat"),), "each like the next is one group"


def test_a_class_that_always_comes_with_another() -> None:
    told = found(first(60, 100), first(40, 100, 10), first(40, 100, 60))
    assert told.keys() == {"implied"}
    assert told["implied"].classes == (("dog", "cat"),)
    assert "dog (40, with cat)" in told["implied"].text
    assert verdict([told["implied"]], "dog") == "doubtful"
    assert verdict([told["implied"]], "cat") == "will work", "it has photos of its own"


def test_a_class_that_is_never_alone() -> None:
    told = found(first(50, 120), first(50, 120, 50), first(40, 120, 30))
    assert told.keys() == {"never_alone"}
    assert told["never_alone"].classes == (("hat",),)
    assert verdict(list(told.values()), "hat") == "will work"


def test_few_photos_none_and_all_held_out() -> None:
    held = np.array([[0, 0, 1, 0]] * 3)
    told = found(first(40, 80), first(39, 80, 40), first(0, 80), first(0, 80), held_out=held)
    assert told["few"].text.startswith("doubtful: 1 class has fewer than 40 photos: dog (39); ")
    assert (told["held_out"].classes, told["held_out"].photos) == ((("hat",),), (3,))
    assert "--val-list" in told["held_out"].text
    assert told["absent"].classes == (("cow",),)
    assert len(told) == 3
    assert found(first(4, 80), first(40, 80)).keys() == {"hardly_any"}, "four photos are no company"
    assert found(first(5, 80), first(40, 80, 40)).keys() == {"few"}


def test_held_out_photos_count() -> None:
    """People count all photos of a class, not those that the draw leaves."""
    assert found(first(38, 80), held_out=np.array([[1]] * 2 + [[0]] * 2)) == {}


def test_a_class_has_the_worst_of_its_verdicts() -> None:
    told = list(found(first(120, 120), first(39, 120), first(3, 120, 100), first(40, 120, 60)).values())
    assert [one.rule.verdict for one in told] == ["hopeless", "hopeless", "doubtful"]
    assert [verdict(told, name) for name in NAMES] == ["hopeless", "doubtful", "hopeless", "will work"]


@pytest.mark.parametrize("kind", RULES)
def test_every_rule_says_all_that_is_asked_of_it(kind: str) -> None:
    rule = RULES[kind]
    assert rule.verdict in VERDICTS
    one = Finding(kind, (("cat", "dog"),) if kind in ("together", "implied") else (("cat",),), (3,))
    many = Finding(kind, one.classes * 2, (3, 3))
    for text in (one.text, one.remedy, one.why("cat"), many.text, many.remedy):
        assert not set("{}") & set(text)
    assert one.text.startswith("" if rule.verdict == "will work" else f"{rule.verdict}: 1 ")
    assert "cat" in one.text
    assert "cat" not in one.remedy
    assert rule.advice in one.text
    assert rule.advice in one.remedy
    assert json.loads(json.dumps(one.to_json()))["kind"] == kind


def test_the_rules_stand_in_the_order_of_harm() -> None:
    ranks = [VERDICTS.index(rule.verdict) for rule in RULES.values()]
    assert ranks == sorted(ranks)
    assert 0 < LIMITS.hopeless < LIMITS.few
    assert LIMITS.without > 1


def test_nothing_is_cut_off_without_a_word() -> None:
    names = [f"c{i}" for i in range(11)]
    (told,) = examine(np.vstack([np.eye(11), np.eye(11)]), names)
    assert "c7" in told.text
    assert "c8" not in told.text
    assert "and 3 more (pseudomask check lists all)" in told.text
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
