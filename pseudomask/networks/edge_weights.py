"""The boundary head's weights file, and the search, by hash, for the backbone it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pseudomask.config import RefineConfig
from pseudomask.errors import UsageError, WeightsError
from pseudomask.networks.backbones import make_backbone
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.card import AFFINITY, Card
from pseudomask.networks.checkpoint import load_network, load_tensors, read_card, read_tensors
from pseudomask.networks.edges import EdgeHead, EdgeNetwork, with_heads_names
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.store import bundled_heads, find_weights
from pseudomask.running.made import MadeFolder

HOW_TO_TRAIN = (
    "train one with `pseudomask train-affinity IMAGES SEEDS RUN --labels LABELS --weights WEIGHTS` and give --affinity "
    "RUN/weights.safetensors"
)


def backbone_hash(backbone: Backbone) -> str:
    """SHA-256 over names, shapes and values: equal for all weights files with the same backbone."""
    digest = hashlib.sha256()
    for name, value in sorted(backbone.state_dict().items()):
        if not name.endswith("num_batches_tracked"):
            digest.update(f"{name} {tuple(value.shape)} {value.dtype} ".encode())
            digest.update(value.detach().cpu().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_edges(path: Path, weights: Path | None = None) -> tuple[EdgeNetwork, Card]:
    """The boundary network in float32 on the CPU, in evaluation mode, and its card.

    Args:
        path: the head. Files of 0.1.0 contain a copy of the backbone and need no `weights`.
        weights: a file with its backbone (see `find_backbone`).

    Raises `WeightsError` if a file is missing, damaged or foreign, or has a different backbone.
    """
    tensors, card = _read(path)
    if _holds_backbone(tensors):
        whole = with_heads_names(tensors)
        return load_tensors(card, str(path), lambda: EdgeNetwork(make_backbone(**card.network)), whole), card
    if weights is None:
        raise WeightsError(f"{path}: contains only the head; the weights with its backbone are needed too")
    network, theirs = load_network(weights)
    if theirs.network != card.network or backbone_hash(network.backbone) != card.backbone_sha256:
        raise WeightsError(f"{weights}: not the backbone that {path} was trained on, which is {_source(card)}")
    with torch.device("meta"):  # its head is replaced at once
        found = EdgeNetwork(network.backbone)
    found.head = load_head(path)
    return found.eval(), card


def load_head(path: Path) -> EdgeHead:
    """The head alone, in float32 on the CPU, for features of its backbone. Raises `WeightsError` as `load_edges`."""
    tensors, card = _read(path)
    classes = len(card.classes) if "classes.weight" in tensors else 0
    return load_tensors(card, str(path), lambda: EdgeHead(make_backbone(**card.network), classes), tensors).eval()


def find_backbone(path: Path, named: Path | None, seeds: Path | None = None) -> Path | None:
    """The weights with the backbone of the head in `path`; None if the file contains it itself.

    If `named` is given, it must have that backbone. Otherwise the search covers, in order, the weights in the record
    of the seeds, those in the record of the head's training, and $PSEUDOMASK_WEIGHTS or the bundled weights.

    Raises `WeightsError` if none of them has it, or `path` is not a boundary head.
    """
    tensors, card = _read(path)
    if _holds_backbone(tensors):
        return None
    if named is not None:
        if not named.is_file() or not _matches(named, card):
            load_edges(path, named)  # says what is wrong
        return named
    tried = list(_likely(path, seeds))
    for weights in tried:
        if _matches(weights, card):
            return weights
    places = ", ".join(str(one) for one in tried) or "no weights found"
    raise WeightsError(
        f"{path}: its backbone, from {_source(card)}, was not found (searched: {places}); give that file with "
        "--walk-weights FILE"
    )


def knows_classes(path: Path, names: Sequence[str]) -> bool:
    """Whether the head in `path` predicts these classes, in this order. `WeightsError` if `path` is not a head."""
    tensors, card = _read(path)
    return "classes.weight" in tensors and card.classes == tuple(names)


def bundled_head(weights: Path) -> Path | None:
    """The boundary head bundled with pseudomask for the backbone of these weights, or None."""
    return next((head for head in bundled_heads() if stands_on(head, weights)), None)


def with_head(options: RefineConfig, weights: Path | None) -> RefineConfig:
    """`options`, completed with the boundary head bundled for these weights if they name none.

    If the head was trained on the backbone of these weights, the weights are filled in too.
    """
    weights = options.walk_weights or weights
    if weights is None or not weights.is_file():
        return options
    head = options.affinity or bundled_head(weights)
    if head is None or not stands_on(head, weights):
        return options
    return replace(options, affinity=head, walk_weights=weights)


def weights_of(seeds: Path) -> Path | None:
    """The weights in the record of the seeds, else the default weights; None if they no longer exist."""
    recorded = _recorded(seeds) or _default()
    return recorded if recorded is not None and recorded.is_file() else None


def stands_on(path: Path, weights: Path) -> bool:
    """Whether the head in `path` was trained on the backbone of `weights`. `WeightsError` if `path` is not a head."""
    return _matches(weights, _read(path)[1])


def _read(path: Path) -> tuple[dict[str, Tensor], Card]:
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; make it with `pseudomask train-affinity`")
    tensors, metadata = read_tensors(path)
    card = Card.from_metadata(metadata, str(path))
    if card.method != AFFINITY:
        raise WeightsError(f"{path}: not the weights of a boundary head; make them with `pseudomask train-affinity`")
    return tensors, card


def _holds_backbone(tensors: dict[str, Tensor]) -> bool:
    return any(name.startswith("backbone.") for name in tensors)


def _source(card: Card) -> str:
    """The weights that the head was trained on, as text for messages."""
    start = card.training.get("starts_from")
    file = start.get("file") if isinstance(start, dict) else None
    return f"{file or 'unknown weights'} ({card.backbone}, hash {card.backbone_sha256[:12]})"


def _likely(path: Path, seeds: Path | None) -> Iterator[Path]:
    """Existing weights files that may have the backbone, without repetition."""
    seen = set()
    for found in (_recorded(seeds), _recorded(path.parent), _default()):
        if found is not None and found.is_file() and found.resolve() not in seen:
            seen.add(found.resolve())
            yield found


def _recorded(folder: Path | None) -> Path | None:
    """The weights named in the record of the run that made `folder`."""
    try:
        record = None if folder is None else MadeFolder(folder).record
    except UsageError:
        return None
    value = None if record is None else record.config.get("weights")
    return Path(value) if isinstance(value, str) else None


def _default() -> Path | None:
    try:
        return find_weights(None)
    except WeightsError:
        return None


def remember(weights: Path, network: CamNetwork, card: Card) -> None:
    """Note the backbone of a file that is loaded already, so that it need not be read again to compare backbones.

    Args:
        network: as loaded, not folded.
    """
    _FACTS[_version(weights)] = card.network, backbone_hash(network.backbone)


def _matches(weights: Path, card: Card) -> bool:
    version = _version(weights)
    if version not in _FACTS:
        _FACTS[version] = _facts(weights)
    return _FACTS[version] == (card.network, card.backbone_sha256)


_FACTS: dict[tuple[Path, int, int], tuple[dict[str, object], str] | None] = {}
"""Kind and hash of the backbones of files, by path, time and size; None for a file without one."""


def _version(weights: Path) -> tuple[Path, int, int]:
    state = weights.stat()
    return weights, state.st_mtime_ns, state.st_size


def _facts(weights: Path) -> tuple[dict[str, object], str] | None:
    try:
        if read_card(weights).method == AFFINITY:
            return None
        network, card = load_network(weights)
    except WeightsError:
        return None
    return card.network, backbone_hash(network.backbone)
