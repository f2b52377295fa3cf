"""timm's networks by name: making them, loading their weights, and what timm says of them. Imported only where used."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from pseudomask.errors import MissingExtra, UsageError, WeightsError
from pseudomask.suggest import did_you_mean

PREFIX = "timm:"
FROM_FILE = "give --backbone-weights FILE"
INSTALL = "pip install 'pseudomask[timm]'"
FREE = ("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0")
"""Licences that ask for attribution at most."""

_ANY_SIZE: dict[str, Any] = {"dynamic_img_size": True, "strict_img_size": False}
"""Arguments with which the transformers among timm's networks take photos of any size."""


def timm_model(name: str, tensors: Mapping[str, Tensor] | None = None, *, classes: int = 0, **wanted: Any) -> nn.Module:
    """timm's network of this name for photos of any size, in evaluation mode. Downloads nothing (`published` does).

    It serves as a backbone, without a classifier, and with `classes` as a whole classifier, whose `get_classifier()`
    then is its last layer.

    Args:
        name: timm's name, with or without its tag, and without `timm:`.
        tensors: weights in timm's naming, or in the published one that timm converts; None leaves them random.
        classes: outputs of the classifier; 0 for none.
        wanted: further arguments, such as `output_stride`; those that the network does not have are left out.

    Raises `MissingExtra` without timm, `UsageError` for an unknown name, `WeightsError` for weights that do not fit.
    """
    timm = the_package()
    check_name(name)
    known = _arguments(name)
    given = {key: value for key, value in (_ANY_SIZE | wanted).items() if key in known}
    made: nn.Module = timm.create_model(name, num_classes=classes, **given).eval()
    if tensors is not None:
        load(made, name, tensors)
    return made


@cache
def _arguments(name: str) -> frozenset[str]:
    """What the class of a network can be told; some pass on what only the class that they extend names."""
    with torch.device("meta"):
        kind = type(the_package().create_model(name, num_classes=0))
    return frozenset(key for one in kind.__mro__ for key in inspect.signature(one).parameters)


def the_package() -> Any:
    """The module timm. Raises `MissingExtra` if it is missing or too old."""
    if find_spec("timm") is None:
        raise MissingExtra(f"{PREFIX}NAME needs timm; {INSTALL}")
    try:
        found = version("timm")
    except PackageNotFoundError:  # a checkout on the path
        found = "1.0.28"
    numbers = [int("".join(c for c in part if c.isdigit()) or 0) for part in found.split(".")[:3]]
    if not [1, 0, 28] <= numbers < [2]:
        raise MissingExtra(f"{PREFIX}NAME needs timm 1.0.28 or newer, below 2, not {found}; {INSTALL}")
    import timm

    return timm


def check_name(name: str) -> None:
    """Raise `UsageError`, with the nearest name, if timm has no network of this name or no weights of its tag."""
    timm = the_package()
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise UsageError(
            f"timm has no network {architecture!r}{did_you_mean(architecture, timm.list_models())}; "
            "`timm.list_models()` lists all"
        )
    tags = [one.partition(".")[2] for one in timm.list_pretrained(architecture)] if tag else []
    if tag and tag not in tags:
        raise UsageError(
            f"timm has no weights {tag!r} of {architecture}{did_you_mean(tag, tags)}; there are "
            f"{', '.join(tags) or 'none'}"
        )


def facts_of(name: str) -> dict[str, Any]:
    """What timm says of the weights of this name: mean, std, licence, origin, and its own version."""
    timm = the_package()
    told = timm.get_pretrained_cfg(name)
    return {
        "timm": version("timm") if find_spec("timm") else "",
        "weights": f"{name.partition('.')[0]}.{told.tag}" if told and told.tag else name,
        "mean": list(told.mean) if told else [0.485, 0.456, 0.406],
        "std": list(told.std) if told else [0.229, 0.224, 0.225],
        "license": (told.license if told else None) or "unknown",
        "origin": (told.origin_url or told.hf_hub_id or told.url if told else None) or "unknown",
    }


def published(name: str, *, classes: int | None = 0) -> dict[str, Tensor]:
    """The weights that timm publishes under this name, downloaded once; `classes=None` keeps their classifier.

    Raises `WeightsError` if there are none, or they cannot be had.
    """
    timm = the_package()
    told = timm.get_pretrained_cfg(name)
    if told is None or not told.has_weights:
        raise WeightsError(f"timm has no published weights of {name}", advice=FROM_FILE)
    hub = logging.getLogger("huggingface_hub")
    before = hub.level
    hub.setLevel(logging.ERROR)  # it tells every one of its attempts
    try:
        return dict(timm.create_model(name, pretrained=True, num_classes=classes).state_dict())
    except Exception as error:  # the hub's client raises errors of several packages
        kind, reason = type(error).__name__, str(error).strip().partition("\n")[0][:200]
        if kind == "LocalEntryNotFoundError":
            reason = "its hub cannot be reached, and no copy is in the hub's cache"
        elif kind == "GatedRepoError" or "401" in reason or "403" in reason:
            reason = "access to it is restricted; accept its licence on its page and run `hf auth login`"
        raise WeightsError(f"timm's weights {name} could not be had ({reason})", advice=FROM_FILE) from None
    finally:
        hub.setLevel(before)


def load(model: nn.Module, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Load weights in timm's naming, or in the published one that timm converts; those of a classifier that `model`
    lacks are left out.

    Raises `WeightsError`, before anything changes, if names or shapes differ.
    """
    found, problems = dict(tensors), _problems(model, tensors)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if any(problems) and convert is not None:
        try:
            found = dict(convert(dict(tensors), model))
        except Exception:  # it takes the files of this network alone
            found = dict(tensors)
        problems = _problems(model, found)
    missing, foreign, wrong = problems
    if any(problems):
        first = (missing + foreign + wrong)[0]
        raise WeightsError(
            f"these weights are not a {PREFIX}{name}: {len(missing)} tensors missing, {len(foreign)} unknown, "
            f"{len(wrong)} of another shape (first: {first})"
        )
    own = model.state_dict()
    kept = {key: value.float() if value.is_floating_point() else value for key, value in found.items() if key in own}
    model.load_state_dict(kept, strict=False)


def _problems(model: nn.Module, found: Mapping[str, Tensor]) -> tuple[list[str], list[str], list[str]]:
    """The names that are missing, unknown, and of another shape."""
    own = model.state_dict()
    heads = tuple(f"{head}." for head in classifiers(model))
    return (
        [key for key in own if key not in found and not key.endswith("num_batches_tracked")],
        [key for key in found if key not in own and not key.startswith(heads)],
        [key for key in own if key in found and own[key].shape != found[key].shape],
    )


def classifiers(model: nn.Module) -> tuple[str, ...]:
    told = getattr(model, "pretrained_cfg", None) or {}
    names = told.get("classifier") or ()
    return ("fc", "head", "classifier", *((names,) if isinstance(names, str) else names))


def class_names(classes: int) -> tuple[str, ...]:
    """timm's names of the classes of ImageNet's classifiers with so many (12k, 21k, …); empty for any other number.

    The first of a synset's words that no earlier class has, or else that word with the synset's number.
    """
    the_package()
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": classes})
    if subset is None:
        return ()
    info: Any = ImageNetInfo(subset)
    names: dict[str, None] = {}
    for synset in info.label_names():
        words = info.label_name_to_description(synset, detailed=False)
        own = [word.strip() for word in words.split(",")]
        names[next((word for word in own if word not in names), f"{own[0]} {synset}")] = None
    return tuple(names)
