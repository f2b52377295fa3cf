"""Find duplicate photos, in time that grows little faster than their number.

Each photo is reduced to 16 × 16 colours and, from them, a 112-bit hash: which of two neighbouring cells of an 8 × 8
grid is lighter (dHash, N. Krawetz, 2013). Hashes of duplicates differ in few bits. Sorted by a random permutation of
the bits, such hashes often end up next to each other, so each is compared only with the next few in several such
orders (M. Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002); the colours then decide.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

SIDE = 16
ORDERS, NEXT = 16, 4
MOST_BITS = 16
"""Photos whose hashes differ in more bits are not duplicates."""
MOST_APART = 0.05
"""Squared difference of two photos' colours, each centred on its own mean, as a share of the photos' variance: among a
few thousand VOC photos, the closest two different ones had 0.08, and a copy at half the size typically 0.01.
"""
MOST_LIGHTER = 20.0
"""Difference of the mean colours, in levels of 0 to 255."""
_FLAT = 3.0
"""Standard deviation, in levels of 0 to 255, below which a photo has no content to compare."""
_CHUNK = 20_000

_BITS_SET = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def groups(small: np.ndarray) -> list[np.ndarray]:
    """Positions of duplicate photos, one ascending array per group; photos without a duplicate are left out.

    Args:
        small: uint8 (N, 16, 16, 3).
    """
    if len(small) < 2:
        return []
    pairs = np.concatenate([part[_alike(small, *part.T)] for part in _chunks(_candidates(_bits(small)))])
    labels = _joined(len(small), *pairs.T)
    order = np.argsort(labels, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return sorted((part for part in parts if len(part) > 1), key=lambda part: int(part[0]))


def _bits(small: np.ndarray) -> np.ndarray:
    """bool (N, 112): whether the right (or lower) of two neighbouring cells is lighter."""
    red, green, blue = (small[..., band].astype(np.uint16) for band in range(3))
    light = red + green + blue  # numpy sums short axes slowly
    rows = light[:, ::2] + light[:, 1::2]
    grey = rows[:, :, ::2] + rows[:, :, 1::2]  # (N, 8, 8)
    across, down = grey[:, :, 1:] > grey[:, :, :-1], grey[:, 1:] > grey[:, :-1]
    return np.concatenate([across.reshape(len(small), -1), down.reshape(len(small), -1)], axis=1)


def _candidates(bits: np.ndarray) -> np.ndarray:
    """int64 (P, 2): pairs with similar hashes, the lower position first."""
    rng = np.random.default_rng(0)
    packed, found = np.packbits(bits, axis=1), [np.zeros((0, 2), np.int64)]
    for _ in range(ORDERS):
        shuffled = np.ascontiguousarray(np.packbits(bits[:, rng.permutation(bits.shape[1])], axis=1))  # (N, 14)
        order = np.argsort(shuffled.view(f"S{shuffled.shape[1]}")[:, 0], kind="stable")
        for step in range(1, min(NEXT + 1, len(bits))):
            one, other = order[:-step], order[step:]
            near = _BITS_SET[packed[one] ^ packed[other]].sum(1, dtype=np.uint8) <= MOST_BITS
            found.append(np.sort(np.stack([one[near], other[near]], 1), axis=1))
    codes = np.unique(np.concatenate([pairs @ np.array([len(bits), 1]) for pairs in found]))
    return np.stack(np.divmod(codes, len(bits)), 1)


def _chunks(pairs: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, max(len(pairs), 1), _CHUNK):
        yield pairs[start : start + _CHUNK]


def _alike(small: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """bool (P,): whether the two photos' colours agree, relative to their contrast."""
    a, b = (small[which].reshape(-1, SIDE * SIDE, 3).astype(np.float32) for which in (one, other))
    means = [photo.mean(1, keepdims=True) for photo in (a, b)]
    a, b = a - means[0], b - means[1]
    contrast = np.minimum(np.square(a).mean((1, 2)), np.square(b).mean((1, 2)))
    apart: np.ndarray = np.square(a - b).mean((1, 2))
    lighter = np.abs(means[0] - means[1]).max((1, 2))
    alike: np.ndarray = (apart <= MOST_APART * np.maximum(contrast, _FLAT**2)) & (lighter <= MOST_LIGHTER)
    return alike


def _joined(count: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """int64 (count,): the lowest position reachable from each one through pairs (connected components)."""
    labels = np.arange(count)
    while True:
        low = np.minimum(labels[one], labels[other])
        joined = labels.copy()
        for end in (one, other, labels[one], labels[other]):
            np.minimum.at(joined, end, low)
        joined = joined[joined]
        if np.array_equal(joined, labels):
            return labels
        labels = joined
