"""The card in a weights file."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pseudomask.errors import WeightsError
from pseudomask.networks.card import FORMAT, Card

CARD = Card(
    classes=("naïve cat", "dog"),
    method="recam",
    backbone="resnet18",
    thresholds={"product": 0.25, "first": 0.3},
    tag_thresholds=(0.4, 0.6),
    training={"data": "made up", "history": [{"epochs": 5}]},
    measured=[{"what": "mIoU", "value": 0.5, "protocol": "none"}],
    license="CC0-1.0",
    versions={"torch": "2"},
    notes="dogs were hardly seen",
)


def altered(**changes: object) -> dict[str, str]:
    values = json.loads(CARD.to_metadata()["pseudomask"]) | changes
    return {"pseudomask": json.dumps({k: v for k, v in values.items() if v != "absent"})}


def test_round_trip() -> None:
    assert Card.from_metadata(CARD.to_metadata(), "x") == CARD
    plain = Card(classes=("a",), method="cam", backbone="resnet50")
    assert Card.from_metadata(plain.to_metadata(), "x") == plain


def test_metadata_is_one_ascii_json_document() -> None:
    metadata = CARD.to_metadata()
    assert list(metadata) == ["pseudomask"]
    assert metadata["pseudomask"].isascii()
    assert json.loads(metadata["pseudomask"])["format"] == FORMAT


def test_fields_of_the_same_format_that_are_unknown_here_are_passed_over() -> None:
    assert Card.from_metadata(altered(colour="green"), "x") == CARD
    assert Card.from_metadata(altered(notes="absent"), "x") == replace(CARD, notes="")


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(WeightsError, match="made by a newer version of pseudomask"):
        Card.from_metadata(altered(format=FORMAT + 1), "w.safetensors")


@pytest.mark.parametrize("metadata", [None, {}, {"format": "pt"}])
def test_no_card(metadata: dict[str, str] | None) -> None:
    with pytest.raises(WeightsError, match=r"^w\.safetensors: not pseudomask weights"):
        Card.from_metadata(metadata, "w.safetensors")


DAMAGED: list[dict[str, object]] = [
    {"format": "absent"},
    {"format": "one"},
    {"format": None},
    {"format": float("inf")},
    {"classes": "absent"},
    {"classes": []},
    {"classes": ["a", "a"]},
    {"classes": ["a", ""]},
    {"classes": ["a", 3]},
    {"classes": ["a", "\ud800"]},
    {"classes": None},
    {"classes": "ab"},
    {"method": "absent"},
    {"backbone": "absent"},
    {"backbone": ["resnet18"]},
    {"style": 3},
    {"tag_thresholds": [0.5]},
    {"tag_thresholds": 0.5},
    {"tag_thresholds": [0.5, "high"]},
    {"tag_thresholds": [0.5, float("nan")]},
    {"thresholds": {"product": "low"}},
    {"thresholds": {"product": 1.5}},
    {"thresholds": {"product": float("nan")}},
    {"thresholds": [0.2]},
    {"training": "a lot"},
    {"measured": 0.5},
]


@pytest.mark.parametrize("changes", DAMAGED, ids=repr)
def test_a_damaged_card_is_one_line(changes: dict[str, object]) -> None:
    with pytest.raises(WeightsError, match=r"^w: its card is damaged \(") as caught:
        Card.from_metadata(altered(**changes), "w")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"format": 1', "[" * 100_000])
def test_text_that_is_no_card_is_one_line(text: str) -> None:
    with pytest.raises(WeightsError, match=r"^w: its card is damaged \(") as caught:
        Card.from_metadata({"pseudomask": text}, "w")
    assert "\n" not in str(caught.value)


def test_classes_at_chance_are_those_that_enough_held_out_photos_show() -> None:
    found = {"precision": 0.2, "chance": 0.2, "photos": 5}
    measured = [
        {"what": "something else"},
        {
            "what": "mean average precision of the tags",
            "classes": {
                "a": found,
                "b": found | {"photos": 4},
                "c": found | {"precision": 0.21},
                "d": {"photos": 9},
                "e": "no table",
                "of other weights": found,
            },
        },
    ]
    card = Card(classes=tuple("abcdef"), method="cam", backbone="resnet18", measured=measured)
    assert card.at_chance() == ("a",)
    assert Card(classes=("a",), method="cam", backbone="resnet18").at_chance() == ()
