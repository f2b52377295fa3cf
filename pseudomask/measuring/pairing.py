"""Match predictions with truth masks.

A file's key is its path within its folder, without the suffix. Files match if their keys are equal, or if one key
ends with the other (`VOC/a` and `a`) and no other file matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pseudomask.data.names import NameIndex
from pseudomask.errors import UsageError
from pseudomask.quoting import count, listed
from pseudomask.running.listing import File

Missing = Literal["error", "skip"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One image to measure; `key` is the prediction's."""

    key: str
    prediction: Path
    truth: Path


@dataclass(frozen=True)
class Pairing:
    """The pairs in order, and the keys (or names in the list) without a partner."""

    pairs: tuple[Pair, ...]
    without_truth: tuple[str, ...]
    without_prediction: tuple[str, ...]


def pair_all(predictions: Sequence[File], truths: Sequence[File]) -> Pairing:
    """Every prediction that has a truth mask.

    Raises UsageError if two predictions match one truth mask, or one prediction matches several.
    """
    by_key = {file.key: file for file in truths}
    exact = {file.key for file in predictions if file.key in by_key}
    index = NameIndex([file for file in truths if file.key not in exact])
    pairs: dict[str, Pair] = {}  # by the truth's key
    lost = []
    for file in predictions:
        truth = by_key[file.key] if file.key in exact else _one(index, file.key, "truth masks")
        if truth is None:
            lost.append(file.key)
        elif truth.key in pairs:
            first = pairs[truth.key].prediction
            raise UsageError(f"{first} and {file.path} both match the truth {truth.path}")
        else:
            pairs[truth.key] = Pair(file.key, file.path, truth.path)
    unused = tuple(file.key for file in truths if file.key not in pairs)
    return Pairing(tuple(pairs.values()), tuple(lost), unused)


def pair_listed(
    names: Sequence[str],
    predictions: Sequence[File],
    truths: Sequence[File],
    *,
    source: str,
    missing: Missing = "error",
) -> Pairing:
    """The pairs of the listed names (keys, relative paths, or ends of them), each once and in their order.

    Raises UsageError, naming the missing files, unless `missing` is "skip".
    """
    ours, theirs = NameIndex(predictions), NameIndex(truths)
    pairs: dict[str, Pair] = {}
    lost: dict[str, list[str]] = {"prediction": [], "truth": []}
    for name in dict.fromkeys(names):
        file, truth = _one(ours, name, "predictions"), _one(theirs, name, "truth masks")
        if file is None:
            lost["prediction"].append(name)
        if truth is None:
            lost["truth"].append(name)
        if file is not None and truth is not None:
            pairs[file.key] = Pair(file.key, file.path, truth.path)
    for what, absent in lost.items():
        if absent and missing == "error":
            total = count(len(names), "listed image")
            raise UsageError(f"{source}: no {what} for {len(absent)} of {total}: {listed(absent)}")
    return Pairing(tuple(pairs.values()), tuple(lost["truth"]), tuple(lost["prediction"]))


def _one(index: NameIndex[File], name: str, what: str) -> File | None:
    found = index.find(name)
    if len(found) > 1:
        raise UsageError(f"{name} is ambiguous: {len(found)} {what}, such as {found[0].path} and {found[1].path}")
    return found[0] if found else None
