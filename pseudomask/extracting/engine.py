"""Batches of photos through the network: maps of the present classes, as score maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pseudomask.data.pixels import resize_together
from pseudomask.extracting.photos import Photo, reduction, view_sizes
from pseudomask.extracting.transfers import Fetched, send, send_together
from pseudomask.maps.method import MapMethod
from pseudomask.maps.multiscale import multiscale_maps, see, see_each, tag_probabilities, ways
from pseudomask.maps.passes import Mirrored
from pseudomask.maps.placing import cells
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork
from pseudomask.running.halving import halving_on
from pseudomask.running.reporter import Reporter
from pseudomask.scores import ScoreMap


@dataclass
class Made:
    """A photo's maps, perhaps still on their way from the device.

    Attributes:
        classes: as in `ScoreMap`, like `size` and `stride`.
        maps: of the photo's batch, (B, N, h, w); None where the photo has no class.
        place: in the batch.
        found: what `Engine.look` found in the photo's features.
    """

    classes: tuple[int, ...]
    grid: tuple[int, int]
    size: tuple[int, int]
    stride: int
    maps: Fetched | None = None
    place: int = 0
    found: Tensor | None = None

    @cached_property
    def scores(self) -> ScoreMap:
        """Waits until the device has made them."""
        if self.maps is None:
            return ScoreMap((), torch.zeros(0, *self.grid).numpy(), self.size, self.stride)
        values = self.maps.get()[self.place, : len(self.classes)]
        return ScoreMap(self.classes, values.numpy(), self.size, self.stride)


@dataclass
class Alike:
    """Photos of one size, (H, W), on their way through the network.

    Attributes:
        places: their positions in their batch.
        views: uint8 (B, h_s, w_s, 3) at each scale.
        tags: as `Engine.make` is given them; present: the classes of which there will be maps.
        seen: the features of some views, by position.
    """

    size: tuple[int, int]
    places: Sequence[int]
    views: Sequence[Tensor]
    tags: Sequence[tuple[int, ...] | None]
    present: Sequence[tuple[int, ...]] = ()
    seen: dict[int, Features] = field(default_factory=dict)


@dataclass
class Engine:
    """Network, method and machine; `largest` shrinks when the device's memory runs out.

    Attributes:
        tag_thresholds: (C,) probability above which a class counts as present where no tags are given.
        look: from the features of photos, all stages of the backbone, something of each photo that has a class; it is
            shown the view `look_at`, which is not mirrored or mirrored too.
        scales: of the views of photos that are resized here (`Photo.to_scale`).
        framed: photos of several sizes are seen at once (`see_each`).
        plain_scale: which view the classifier judges tags by (the one nearest to the photo's own size).
    """

    network: CamNetwork
    method: MapMethod
    device: torch.device
    amp: torch.dtype | None
    tag_thresholds: Tensor
    plain_scale: int
    mirrored: Mirrored
    max_side: int
    stride: int
    largest: int
    reporter: Reporter
    look: Callable[[Features], Tensor] | None = None
    look_at: int = 0
    scales: Sequence[float] = ()
    framed: bool = False

    def make(self, photos: Sequence[Photo], tags: Sequence[tuple[int, ...] | None]) -> list[Made]:
        """Score maps of photos of equal shape, or if `framed` of any.

        Args:
            tags: positions of the present classes, or None where the classifier shall say.
        """
        pairs = list(zip(photos, tags, strict=True))
        lower = "--max-side or --scales and add --overwrite"
        done, self.largest = halving_on(self.device, pairs, self.largest, self._work, self.reporter, lower=lower)
        return done

    def _work(self, pairs: Sequence[tuple[Photo, tuple[int, ...] | None]]) -> list[Made]:
        return self._make(*zip(*pairs, strict=True))

    def _make(self, photos: Sequence[Photo], tags: Sequence[tuple[int, ...] | None]) -> list[Made]:
        alike = self.by_size(photos, tags)
        if self.framed:
            self.see_all([one for one in alike if None in one.tags], [self.plain_scale])
        for one in alike:
            self._decide(one)
        if self.framed:
            self.see_all([one for one in alike if any(one.present)], range(len(alike[0].views)))
        found = {i: made for one in alike for i, made in zip(one.places, self._make_alike(one), strict=True)}
        return [found[i] for i in range(len(photos))]

    def by_size(self, photos: Sequence[Photo], tags: Sequence[tuple[int, ...] | None]) -> list[Alike]:
        """A batch by full size, as each has a score grid of its own; photos of equal working shape may differ in it."""
        groups: dict[tuple[int, int], list[int]] = {}
        for i, photo in enumerate(photos):
            groups.setdefault(photo.size, []).append(i)
        return [
            Alike(size, places, self.views([photos[i] for i in places]), [tags[i] for i in places])
            for size, places in groups.items()
        ]

    def _make_alike(self, photos: Alike) -> list[Made]:
        size, views, present, seen = photos.size, photos.views, photos.present, photos.seen
        stride = self.stride * reduction(size, self.max_side)
        grid = cells(size, stride)
        if not any(present):
            return [Made((), grid, size, stride) for _ in present]
        index, valid = pack(present, self.device)
        looked = self._look(views, seen)
        maps = multiscale_maps(
            self.network, self.method, views, index, valid, size=size, stride=stride, mirrored=self.mirrored,
            amp=self.amp, seen=seen,
        )  # fmt: skip
        fetched = Fetched(maps)
        return [
            Made(tuple(c + 1 for c in one), grid, size, stride, fetched, i, found)
            for i, (one, found) in enumerate(zip(present, looked, strict=True))
        ]

    def views(self, photos: Sequence[Photo]) -> list[Tensor]:
        """Photos of equal size at each scale, uint8 (B, h_s, w_s, 3) on the device."""
        sent = [send_together(views, self.device) for views in zip(*(photo.views for photo in photos), strict=True)]
        if not photos[0].to_scale:
            return sent
        return [resize_together(sent[0], one) for one in view_sizes(photos[0].size, self.scales, self.max_side)]

    def show(self, photo: Photo) -> None:
        """The network sees all views of a photo, of which nothing is made."""
        views = self.views([photo])
        for place in range(len(views)):
            self._see(views, place)

    def _look(self, views: Sequence[Tensor], seen: dict[int, Features]) -> Sequence[Tensor | None]:
        """What `look` finds in each photo. The view that it is shown is seen now, and not again for the maps."""
        count, place = len(views[0]), self.look_at
        if self.look is None:
            return [None] * count
        if place not in seen:
            seen[place] = self._see(views, place)
        return list(self.look(seen[place].first(count)))

    def _see(self, views: Sequence[Tensor], place: int) -> Features:
        return see(self.network, self.method, views[place], **self._how(place))

    def see_all(self, photos: Sequence[Alike], places: Iterable[int]) -> None:
        """The features of the views at `places` that have not been seen yet, of photos of several sizes in one go."""
        for place in places:
            if unseen := [one for one in photos if place not in one.seen]:
                views = [one.views[place] for one in unseen]
                found = see_each(self.network, self.method, views, **self._how(place))
                for one, features in zip(unseen, found, strict=True):
                    one.seen[place] = features

    def _how(self, place: int) -> dict[str, Any]:
        wanted = self.look is not None and place == self.look_at
        return {"ways": ways(self.mirrored, place), "amp": self.amp, "pyramid": wanted}

    def _decide(self, photos: Alike) -> None:
        """Which classes there are: those of the tags, or without any those of which the classifier is sure."""
        tags, scale = photos.tags, self.plain_scale
        if None not in tags:
            photos.present = [one or () for one in tags]
            return
        if scale not in photos.seen:
            photos.seen[scale] = self._see(photos.views, scale)
        confident = tag_probabilities(self.network, photos.seen[scale].first(len(tags))).cpu() > self.tag_thresholds
        found = [tuple(row.nonzero().flatten().tolist()) for row in confident]
        photos.present = [own if one is None else one for one, own in zip(tags, found, strict=True)]


def pack(present: Sequence[tuple[int, ...]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Lists of positions → index (B, N) int64 and valid (B, N) bool; unused slots hold 0."""
    n = max(len(one) for one in present)
    index = torch.full((len(present), n), -1, dtype=torch.int64)
    for i, one in enumerate(present):
        index[i, : len(one)] = torch.tensor(one, dtype=torch.int64)
    index = send(index, device)
    return index.clamp(min=0), index >= 0
