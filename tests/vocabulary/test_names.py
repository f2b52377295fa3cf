"""Tags looked up among ImageNet's classes and the kinds above them."""

from __future__ import annotations

import pytest

from pseudomask.errors import LabelError
from pseudomask.vocabulary import describe, fold, known, meaning, meanings


@pytest.mark.parametrize(
    ("tag", "classes", "one"),
    [
        ("dog", 118, 207),  # golden retriever
        ("Dogs", 118, 207),
        ("cat", 7, 281),  # tabby; with cougar
        ("zebra", 1, 340),
        ("violin", 1, 889),
        ("couch", 1, 831),  # studio couch, by its synonym
        ("traffic_light", 1, 920),
        ("TV-Monitor", 3, 664),  # VOC's and COCO's own names
        ("aeroplane", 1, 404),  # airliner
        ("buses", 3, 779),  # school bus
        ("n02084071", 118, 207),  # the synset of dog
        ("puppy", 118, 207),
        ("women", 3, 982),  # as person: the groom is one of them
        ("bike", 2, 671),  # WordNet's first bike is a motorcycle
        ("sports ball", 10, 852),  # COCO's; tennis ball
        ("handbag", 1, 748),
    ],
)
def test_a_tag_stands_for_the_classes_of_its_kind(tag: str, classes: int, one: int) -> None:
    found = meaning(tag)
    assert found is not None
    assert (len(found.classes), one in found.classes, found.near) == (classes, True, False)


def test_a_tag_without_a_class_takes_its_kind_and_says_so() -> None:
    found = meaning("cow")
    assert found is not None
    assert (found.near, found.classes, found.kind) == (True, (345,), "cattle")
    assert "cattle" in describe("cow", found, [f"name{i}" for i in range(1000)])


def test_every_class_is_found_by_the_id_of_its_synset() -> None:
    assert sum(len(one.classes) == 1 for tag in ("n01440764", "n15075141") if (one := meaning(tag))) == 2


def test_names_of_one_vocabulary_are_told_apart_from_words_it_has_not() -> None:
    assert known(["dog", "sky", "zebra", "hair", "Tabby"]) == ("dog", "zebra", "Tabby")


def test_unknown_tags_come_with_the_nearest_names_and_the_flags() -> None:
    with pytest.raises(LabelError, match=r"'zebbra', 'qqqq'.*zebra.*--map zebbra=NAME.*--unknown-tags drop"):
        meanings(["dog", "zebbra", "qqqq"])
    with pytest.raises(LabelError, match=r"'Katze'.*names are English") as caught:
        meanings(["Katze"])
    assert "drop" not in str(caught.value)  # nothing would be left


@pytest.mark.parametrize("tag", ["surfboard", "baseball bat", "scissors"])
def test_a_kind_that_holds_only_another_thing_is_no_meaning(tag: str) -> None:
    assert meaning(tag) is None


def test_names_are_compared_without_case_accents_and_spaces() -> None:
    assert fold("Té le-Vision_") == "television"
