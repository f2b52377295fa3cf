"""Weights on disk: safetensors with a card; only bare backbones may come from what torch saved, without code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from pseudomask.errors import TrainingDiverged, UsageError, WeightsError
from pseudomask.networks.backbones import spec_of
from pseudomask.networks.card import AFFINITY, SEGMENTER, Card
from pseudomask.networks.edges import EdgeNetwork
from pseudomask.networks.network import CamNetwork
from pseudomask.running.atomic import atomic_write

Network = TypeVar("Network", bound=nn.Module)


_CARD = "pseudomask"  # the key of the card in a file's metadata
OF_BACKBONE = "backbone."


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors and the metadata of a safetensors file. Raises `WeightsError` if it is not one."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: not a safetensors file, or truncated ({error}); a pickled .pth file is read only by "
            "`train-cls --backbone-weights` and `pseudomask import`"
        ) from None


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file atomically: a reader sees either the old file or the complete new one."""
    data = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata=metadata)
    with atomic_write(path) as file:
        file.write(data)


def save_network(path: Path, network: nn.Module, card: Card, dtype: torch.dtype = torch.float16) -> None:
    """Write a network (only the head of a boundary network) and its card; matrices in `dtype`, vectors in float32.

    Raises `TrainingDiverged`, and writes nothing, if a value is NaN or too large for `dtype`.
    """
    state = (network.head if isinstance(network, EdgeNetwork) else network).state_dict()
    tensors = {
        name: value.to(dtype) if value.ndim > 1 else value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
    }
    if not _finite(tensors):
        raise TrainingDiverged(
            f"the trained weights contain NaN or values too large for {dtype}; no weights were written; lower --lr or "
            "give --weights-dtype fp32, together with --overwrite"
        )
    vanished = [name for name, value in tensors.items() if bool(state[name].any()) and not value.any()]
    if vanished:
        raise TrainingDiverged(
            f"the trained weights are too small for {dtype} ({vanished[0]} would be all 0); no weights were written; "
            "lower --weight-decay or give --weights-dtype fp32, together with --overwrite"
        )
    write_tensors(path, tensors, card.to_metadata())


def _finite(tensors: dict[str, Tensor]) -> bool:
    return all(bool(torch.isfinite(v).all()) for v in tensors.values() if v.is_floating_point())


def read_card(path: Path) -> Card:
    """The card alone, without reading the tensors."""
    return Card.from_metadata(_metadata(path), str(path))


def _metadata(path: Path) -> dict[str, str]:
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: not a safetensors file, or truncated ({error})") from None


def load_network(path: Path) -> tuple[CamNetwork, Card]:
    """The network in float32 on the CPU, in evaluation mode, and its card. A second classifier that could not learn
    is dropped (`Card.second_taught`).

    Raises `WeightsError` if the file is missing, damaged, foreign, or does not fit its card.
    """
    tensors, metadata = read_tensors(path)
    card = Card.from_metadata(metadata, str(path))
    if card.method == AFFINITY:
        raise WeightsError(
            f"{path}: contains a boundary head, not a classifier; use it with `pseudomask refine --affinity`"
        )
    if card.method == SEGMENTER:
        raise WeightsError(
            f"{path}: a segmentation network, not a classifier; use it with `pseudomask predict --weights`"
        )
    if not card.second_taught:
        tensors.pop("reclassifier.weight", None)  # random
    heads: dict[str, Any] = {
        "reactivated": "reclassifier.weight" in tensors,
        "calibrated": "side_heads.0.weight" in tensors,
    }
    return load_tensors(card, str(path), lambda: CamNetwork(len(card.classes), **card.network, **heads), tensors), card


def sketch(card: Card, source: str, build: Callable[[], Network]) -> Network:
    """Build the network on the meta device. Raises `WeightsError` if the card does not describe a known network."""
    try:
        spec_of(card.backbone)
    except UsageError as error:
        raise WeightsError(f"{source}: {error}") from None
    try:
        with torch.device("meta"):  # drawing 25 million random numbers takes longer than reading them
            return build()
    except UsageError as error:
        raise WeightsError(f"{source}: its card is damaged ({error})") from None


def load_tensors(card: Card, source: str, build: Callable[[], Network], tensors: dict[str, Tensor]) -> Network:
    """Build the network with these tensors, in evaluation mode. Raises `WeightsError` if they do not fit."""
    network = sketch(card, source, build)
    if not network.state_dict().keys() >= {name for name, _ in network.named_buffers()}:
        network = build()  # it has buffers that no file contains
    _load_strict(network, tensors, source)
    network.eval()
    return network


def _load_strict(network: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    wanted = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    wrong = [k for k in wanted if k not in tensors or tensors[k].shape != wanted[k].shape]
    wrong += [k for k in tensors if k not in wanted]
    if wrong:
        raise WeightsError(f"{source}: {len(wrong)} tensors do not match its card (first: {wrong[0]})")
    if not _finite(tensors):
        raise WeightsError(f"{source}: contains NaN or infinite values")
    own = {k: v.to(torch.float32, copy=True) for k, v in tensors.items()}  # never views of the memory-mapped file
    counters = {k: torch.zeros((), dtype=torch.int64) for k in network.state_dict() if k not in wanted}
    network.load_state_dict(own | counters, assign=True)


def update_card(path: Path, **changes: Any) -> Card:
    """Rewrite a weights file with some fields of its card changed; the tensors stay the same."""
    tensors, metadata = read_tensors(path)
    card = replace(Card.from_metadata(metadata, str(path)), **changes)
    write_tensors(path, tensors, card.to_metadata())
    return card


def is_ours(path: Path) -> bool:
    """Whether a file has a card of pseudomask."""
    try:
        return _CARD in _metadata(path)
    except WeightsError:  # of another kind, or damaged
        return False
