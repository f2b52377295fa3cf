"""The verb `import`: a classifier trained elsewhere becomes weights that make maps."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pseudomask.config import ImportConfig
from pseudomask.data.labels.class_file import read_classes
from pseudomask.errors import UsageError, WeightsError
from pseudomask.networks.backbones import BACKBONES, make_backbone, spec_of
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.backbones.timm_backbone import TimmBackbone
from pseudomask.networks.backbones.timm_zoo import PREFIX, class_names
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import save_network
from pseudomask.networks.foreign import Classifier, classifier_of, read_checkpoint, split_network, without_prefix
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.store import PUBLISHED, find_weights
from pseudomask.quoting import command, count, listed
from pseudomask.running.jsonable import jsonable
from pseudomask.running.record import hash_file
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.running.shown import Shown
from pseudomask.suggest import did_you_mean_path
from pseudomask.vocabulary.sets import SETS, class_set


class _NoNames(UsageError):
    """The classes have no names."""


@dataclass(kw_only=True)
class ImportResult(Shown):
    """The result of `import`.

    Attributes:
        out: the file that was or would be written; `written`: whether it was.
        card: the card of the weights.
        left_out: what of the checkpoint is not in it, as sentences.
    """

    out: Path
    card: Card
    written: bool = False
    left_out: list[str] = field(default_factory=list)
    exit_code: int = 0

    def summary(self) -> list[tuple[str, object]]:
        card = self.card
        extract = command("extract", "IMAGES", "MASKS", "--labels", "TAGS", "--weights", self.out)
        return [
            ("network", f"{card.backbone}, {card.style} strides, output stride {card.output_stride}"),
            ("classes", f"{len(card.classes):,}: {listed(card.classes, 8)}"),
            ("classifiers", "w and w″ (ReCAM's)" if card.method == "recam" else "w"),
            *(("note", note) for note in self.left_out),
            ("file", self.out if self.written else "nothing was written"),
            *([("next", extract)] if self.written else []),
        ]

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = jsonable({"schema": 1, **self.__dict__})
        return plain


def import_(config: ImportConfig, reporter: Reporter | None = None) -> ImportResult:
    """Write weights made from a foreign checkpoint (see `ImportConfig`).

    Raises `UsageError`, and writes nothing, if the checkpoint cannot be read without running code, is no known
    network with a linear classifier, or does not have as many classes as there are names.
    """
    reporter = reporter or SilentReporter()
    if config.out.exists() and not config.overwrite:
        raise UsageError(f"{config.out} exists; add --overwrite or choose another name")
    if config.out.exists() and config.out.samefile(config.file):
        raise UsageError(f"{config.out} is the checkpoint itself; choose another name")
    reporter.info(f"reading {config.file.name}")
    backbone, first = _read(config)
    second = None if config.second is None else _second(config.second, first)
    classes = _classes(config, len(first.weight))
    if first.weight.shape[1] != backbone.dim:
        raise UsageError(
            f"{config.file}: its classifier reads {first.weight.shape[1]} features, but {backbone.name} has "
            f"{backbone.dim}; a map needs a classifier on the last features"
        )
    network = _network(backbone, first, second)
    card = _card(config, backbone, classes, second)
    result = ImportResult(out=config.out, card=card, left_out=_left_out(backbone, first, second))
    if not all(bool(torch.isfinite(value).all()) for value in network.state_dict().values()):
        raise UsageError(f"{config.file}: contains NaN or infinite values")
    if not config.dry_run:
        dtype = {"fp16": torch.float16, "fp32": torch.float32}[config.weights_dtype]
        save_network(config.out, network, card, dtype)
        result.written = True
    return result


def find_or_import(named: Path | None, reporter: Reporter) -> Path:
    """As `find_weights`, and `timm:NAME` and `torchvision:NAME` too: imported once, into the user's cache.

    Raises `WeightsError` if they cannot be had, or their classes have no names that are known here.
    """
    if named is None or named.is_file() or not str(named).startswith(PUBLISHED):
        return find_weights(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pseudomask"
    out = cache / f"{re.sub(r'[^A-Za-z0-9._-]', '-', str(named))}.safetensors"
    if not out.is_file():
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            import_(ImportConfig(file=named, out=out, weights_dtype="fp16"), reporter)
        except _NoNames as error:
            made = command("import", named, "WEIGHTS.safetensors", "--classes", "NAMES.txt")
            raise WeightsError(f"{error}; `{made}` makes weights of it") from None
        reporter.info(f"kept in {out}")
    return out


def _second(path: Path, first: Classifier) -> Classifier:
    """ReCAM's second classifier."""
    found = classifier_of(without_prefix(read_checkpoint(path)), str(path))
    if found.weight.shape != first.weight.shape:
        raise UsageError(
            f"--second {path}: has shape {tuple(found.weight.shape)} (classes, features), but the first classifier "
            f"{tuple(first.weight.shape)}"
        )
    return found


def _classes(config: ImportConfig, n: int) -> tuple[str, ...]:
    """The names of the classifier's `n` classes. Raises `UsageError` where there is another number of them."""
    fits = " or ".join(f"--classes {name}" for name, length in SETS.items() if length == n)
    if config.classes is None and str(config.file).startswith(PUBLISHED) and n == SETS["imagenet"]:
        return class_set("imagenet")
    if config.classes is None and str(config.file).startswith(PREFIX) and (named := class_names(n)):
        return named
    if config.classes is None:
        raise _NoNames(
            f"{config.file}: has {count(n, 'class')}, but holds no names; give --classes FILE with one name a line, in "
            f"the classifier's order{f', or {fits}' if fits else ''}"
        )
    path = Path(config.classes)
    if config.classes in SETS and not path.exists():
        names = class_set(config.classes)
    elif path.is_file():
        names = read_classes(path)
    else:
        raise UsageError(
            f"--classes {config.classes}: no such file, and none of {', '.join(SETS)}{did_you_mean_path(path)}"
        )
    if len(names) != n:
        raise UsageError(
            f"--classes {config.classes}: {count(len(names), 'name')} (without background), but the classifier of "
            f"{config.file} has {count(n, 'class')}"
        )
    return names


def _read(config: ImportConfig) -> tuple[Backbone, Classifier]:
    """The backbone with the checkpoint's tensors, and its classifier."""
    source, name = str(config.file), config.backbone
    published = source.startswith(PUBLISHED) and not config.file.exists()
    if published:
        name = source if source.startswith(PREFIX) else source.partition(":")[2]
    tensors = {} if published else read_checkpoint(config.file)
    first = None
    if name is None:
        tensors, first = split_network(tensors, source)
    made = make_backbone(name or _fitting(tensors), style=config.backbone_style, output_stride=config.output_stride)
    try:
        if published:
            tensors = dict(made.published())
    except WeightsError as error:
        raise WeightsError(error.reason, advice="give a file of them, and --backbone") from None
    if isinstance(made, TimmBackbone):
        first = classifier_of(made.head_tensors(tensors), source)
    elif first is None:
        tensors, first = split_network(tensors, source)
    try:
        made.load_pretrained(tensors)
    except WeightsError as error:
        raise UsageError(f"{source}: {error}") from None
    return made, first


def _fitting(tensors: Mapping[str, Tensor]) -> str:
    """The registered backbone from which the tensors differ least."""

    def differences(name: str) -> int:
        with torch.device("meta"):
            made = spec_of(name).make(name, style="pytorch", output_stride=16)
        return sum(map(len, made.misfits(made.own_names(tensors)).values()))

    return min(BACKBONES, key=differences)


def _network(backbone: Backbone, first: Classifier, second: Classifier | None) -> CamNetwork:
    with torch.device("meta"):
        network = CamNetwork(len(first.weight), **backbone.card_facts, reactivated=second is not None)  # type: ignore[arg-type]
    network.backbone = backbone
    network.classifier.weight = nn.Parameter(first.weight.float()[..., None, None])
    if second is not None and network.reclassifier is not None:
        network.reclassifier.weight = nn.Parameter(second.weight.float()[..., None, None])
    return network.eval()


def _card(config: ImportConfig, backbone: Backbone, classes: tuple[str, ...], second: Classifier | None) -> Card:
    licence = config.license
    if licence == "unknown" and str(config.file).startswith(PREFIX):
        licence = str(backbone.facts.get("license", licence))
    return Card(
        classes=classes,
        method="cam" if second is None else "recam",
        **backbone.card_facts,  # type: ignore[arg-type]
        weight_rule="first" if second is None else "product",
        backbone_facts=backbone.facts,
        vocabulary="imagenet" if second is None and _is_imagenet(classes) else "",
        license=licence,
        training={"source": config.file.name} | ({"sha256": hash_file(config.file)} if config.file.is_file() else {}),
        notes="Trained elsewhere, turned into pseudomask weights by `pseudomask import`.",
    )


def _is_imagenet(classes: tuple[str, ...]) -> bool:
    return len(classes) == SETS["imagenet"] and classes == class_set("imagenet")


def _left_out(backbone: Backbone, first: Classifier, second: Classifier | None) -> list[str]:
    found = []
    if any(one is not None and one.bias is not None for one in (first, second)):
        found.append(
            "the classifier's bias was left out: it changes no map, but the tags that are predicted without --labels"
        )
    if isinstance(backbone, TimmBackbone) and getattr(backbone.net, "global_pool", "") == "token":
        found.append("the classifier was trained on the class token; maps apply it to patches, which may work badly")
    return found
