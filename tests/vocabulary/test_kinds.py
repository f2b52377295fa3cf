"""What a photo without tags shows: the narrowest kinds that the classifier is sure of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pseudomask.vocabulary import meaning
from pseudomask.vocabulary.kinds import Kinds, kinds
from pseudomask.vocabulary.sets import class_set

TABBY, EGYPTIAN, RETRIEVER, ZEBRA, DESK = 281, 285, 207, 340, 526


@pytest.fixture(scope="module")
def known() -> Kinds:
    return kinds(class_set("imagenet"))


def photo(**share: float) -> Tensor:
    """(1000,) probabilities: `c281=0.4` is class 281; what is left belongs to all classes alike."""
    found = torch.full((1000,), (1 - sum(share.values())) / 1000)
    for name, value in share.items():
        found[int(name[1:])] += value
    return found


def shown(known: Kinds, *photos: Tensor, least: float = 0.5) -> list[list[str]]:
    seen = known.seen(torch.stack(photos), least)
    return [[name for name, there in zip(known.names, row.tolist(), strict=True) if there] for row in seen]


def test_every_name_is_a_tag_that_means_its_classes(known: Kinds) -> None:
    for name, row in zip(known.names, known.members, strict=True):
        found = meaning(name)
        assert found is not None
        assert row.nonzero().flatten().tolist() == list(found.classes), name
    assert known.members.sum(0).min() >= 1
    assert {"dog", "cat", "bird", "furniture", "zebra"} <= {*known.names}
    assert not {"device", "covering", "artifact", "entity"} & {*known.names}


def test_one_sure_class_is_itself(known: Kinds) -> None:
    assert shown(known, photo(c340=0.9)) == [["zebra"]]
    assert shown(known, photo(c281=0.9)) == [["tabby"]]


def test_sure_siblings_are_merged_upwards(known: Kinds) -> None:
    """Neither is sure enough alone; the narrowest kind of both is the domestic cat."""
    ((name,),) = shown(known, photo(c281=0.4, c285=0.4))
    found = meaning(name)
    assert found is not None
    assert {TABBY, EGYPTIAN} <= {*found.classes}
    assert name.endswith("cat")
    assert shown(known, photo(**{f"c{i}": 0.007 for i in range(151, 269)})) == [["dog"]]


def test_a_photo_may_show_two_kinds_or_none(known: Kinds) -> None:
    assert shown(known, photo(c340=0.45, c526=0.45), photo(), least=0.4) == [["zebra", "desk"], []]


def test_a_folder_has_no_class_inside_another(known: Kinds) -> None:
    breeds = photo(**{f"c{i}": 0.007 for i in range(151, 269)})
    seen = known.seen(torch.stack([breeds, photo(c207=0.9), photo(c340=0.9)]), 0.5)
    assert known.merged(seen) == ("dog", "zebra")
    assert known.merged(seen[1:]) == ("golden retriever", "zebra")
    assert known.merged(seen[:0]) == ()
