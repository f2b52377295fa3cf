"""The card in a weights file's metadata: origin, accuracy, limits and licence of the weights."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from pseudomask.errors import WeightsError
from pseudomask.running.jsonable import is_text

AFFINITY = "affinity"
"""Method in the card of a boundary head, which makes no maps; pass it to `refine --affinity`."""

SEGMENTER = "segmenter"
"""Method in the card of a segmentation network, which `predict` uses."""

ENOUGH = 5
"""Number of held-out photos of a class from which its average precision is meaningful."""

CLOSED = "lda"
"""The `fit` of weights whose two classifiers are both computed in closed form."""

FORMAT = 1
"""Version of the card's layout; files with a higher version are rejected."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """What users need to know before trusting weights, and what is needed to rebuild the network.

    Attributes:
        classes: foreground class names; mask index of classes[i] is i + 1.
        method: `cam` (one classifier), `recam` (two), `cpmc` (one or two, and heads), `affinity` (none),
            or `segmenter` (none).
        backbone, style, output_stride: the network.
        backbone_facts: what is known of the backbone's first weights: for timm's, mean, std, licence and origin.
        backbone_sha256: for a boundary head, `edge_weights.backbone_hash` of the backbone it was trained on.
        weight_rule: the rule with the best measured maps, or None (then `product`).
        thresholds: background threshold by the method's `threshold_key` (`first`, `product`, …).
        vocabulary: name of the table that tags are looked up in (`pseudomask.vocabulary`); empty if they name classes.
        segmenter: for a segmentation network: `network`, its name; `side`, the long side at which photos are segmented;
            `palette`, the colours of background and classes in masks.
        tag_thresholds: probability above which a class counts as present, one per class.
        training: data, images, epochs, hyper-parameters.
        measured: list of {what, value, protocol}.
        notes: free text, e.g. which classes had few photos.
    """

    classes: tuple[str, ...]
    method: str
    backbone: str
    style: str = "pytorch"
    output_stride: int = 16
    backbone_facts: dict[str, Any] = field(default_factory=dict)
    backbone_sha256: str = ""
    weight_rule: str | None = None
    vocabulary: str = ""
    thresholds: dict[str, float] = field(default_factory=dict)
    tag_thresholds: tuple[float, ...] = ()
    segmenter: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    measured: list[dict[str, Any]] = field(default_factory=list)
    license: str = "unknown"
    versions: dict[str, str] = field(default_factory=dict)
    notes: str = ""

    @property
    def reactivated(self) -> dict[str, Any] | None:
        """The card's entry on the training of the second classifier; None if there was none."""
        history = self.training.get("history")
        steps = [self.training, *(reversed(history) if isinstance(history, list) else ())]
        for one in (step for step in steps if isinstance(step, dict)):
            source = one.get("starts_from")
            if one.get("fit") == CLOSED or (isinstance(source, dict) and "sce_weight" in source):
                return one
        return {} if self.method == "recam" else None

    @property
    def second_taught(self) -> bool:
        """Whether a second classifier had anything to distinguish: two classes, or one from the background.

        Version 0.1.0 could train one on photos of a single class; it then stayed random.
        """
        training = self.reactivated or {}
        counts = training.get("photos_per_class")
        shown = sum(1 for n in counts.values() if n) if isinstance(counts, dict) and counts else len(self.classes)
        with_background = training.get("contrast") or training.get("fit") == CLOSED
        return bool(with_background) or min(shown, len(self.classes)) > 1

    def to_metadata(self) -> dict[str, str]:
        """The safetensors metadata: one JSON document under the key `pseudomask`."""
        return {"pseudomask": json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=True)}

    @property
    def network(self) -> dict[str, Any]:
        """The fields that identify the backbone: arguments of `make_backbone`, values of `Backbone.card_facts`."""
        return {"backbone": self.backbone, "style": self.style, "output_stride": self.output_stride}

    def at_chance(self) -> tuple[str, ...]:
        """Classes whose average precision on held-out photos is no better than that of a random order.

        Classes with fewer than `ENOUGH` held-out photos are left out: their result is mostly luck.
        """
        told = [
            one["classes"] for one in self.measured if isinstance(one, dict) and isinstance(one.get("classes"), dict)
        ]
        return tuple(name for name in self.classes if told and _is_at_chance(told[0].get(name)))

    @classmethod
    def from_metadata(cls, metadata: dict[str, str] | None, source: str) -> Card:
        """Read and check a card. Raises `WeightsError` naming `source` and the problem."""
        if not metadata or "pseudomask" not in metadata:
            raise WeightsError(
                f"{source}: not pseudomask weights (no card); make them with `pseudomask train-cls`, or with "
                "`pseudomask import` from a classifier (a bare backbone goes to `train-cls --backbone-weights`)"
            )
        try:
            values = json.loads(metadata["pseudomask"])
            if not isinstance(values, dict):
                raise ValueError("not a JSON object")
            if int(values.pop("format")) > FORMAT:
                raise WeightsError(f"{source}: made by a newer version of pseudomask; update pseudomask")
            known = {f.name for f in fields(cls)}
            return _checked(cls(**{k: v for k, v in values.items() if k in known}))
        except WeightsError:
            raise
        except RecursionError:
            raise WeightsError(f"{source}: its card is damaged (nested too deep)") from None
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise WeightsError(f"{source}: its card is damaged ({error})") from None


def _is_at_chance(one: object) -> bool:
    """Whether the measurements of a class, {precision, chance, photos}, show that it was not learned."""
    names = ("precision", "chance", "photos")
    values: list[Any] = [one.get(name) for name in names] if isinstance(one, dict) else []
    if not values or not all(isinstance(value, int | float) for value in values):
        return False
    precision, chance, photos = values
    return bool(photos >= ENOUGH and precision <= chance)


def _checked(card: Card) -> Card:
    """Validate a card read from JSON and turn its lists into tuples. Raises `ValueError` naming the problem."""
    names = card.classes
    if not isinstance(names, list) or not all(is_text(n) and n for n in names) or not names:
        raise ValueError("class names missing or empty")
    if len(set(names)) != len(names):
        raise ValueError("class names repeated")
    for name, kind in _KINDS.items():
        if not isinstance(getattr(card, name), kind):
            raise ValueError(f"{name} is not a {kind.__name__}")
    tag_thresholds = tuple(float(t) for t in card.tag_thresholds)
    if tag_thresholds and len(tag_thresholds) != len(names):
        raise ValueError("the numbers of tag thresholds and classes differ")
    thresholds = {k: float(v) for k, v in card.thresholds.items()}
    if not all(0 <= t <= 1 for t in (*tag_thresholds, *thresholds.values())):
        raise ValueError("a threshold outside [0, 1]")
    return replace(card, classes=tuple(names), tag_thresholds=tag_thresholds, thresholds=thresholds)


_KINDS: dict[str, type] = {
    "method": str,
    "backbone": str,
    "style": str,
    "backbone_facts": dict,
    "backbone_sha256": str,
    "vocabulary": str,
    "thresholds": dict,
    "segmenter": dict,
    "training": dict,
    "measured": list,
}
