"""Masks in memory: `Predictor` makes, from arrays, tensors and files, the masks that `extract` makes from a folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Self, overload

import torch

from pseudomask import vocabulary
from pseudomask.config import ExtractConfig
from pseudomask.config.common import PhotoReadingOptions
from pseudomask.config.extract import MapOptions
from pseudomask.config.quality import settle_quality
from pseudomask.config.refiners import RefinerOptions
from pseudomask.data.arrays import Picture, as_photo
from pseudomask.data.reading import Reading
from pseudomask.errors import LabelError, UsageError
from pseudomask.extracting.engine import Engine, Made
from pseudomask.extracting.photos import Photo, prepare
from pseudomask.extracting.refinement import Seed
from pseudomask.extracting.setup import check_names, make_setup
from pseudomask.extraction import make_refinement
from pseudomask.networks.card import Card
from pseudomask.networks.network import CamNetwork
from pseudomask.prediction import Prediction
from pseudomask.quoting import count, quoted
from pseudomask.running.helpers import compute_alone
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.scores import quantise
from pseudomask.suggest import did_you_mean

Tags = Sequence[str] | str | None
"""Names of the classes in a picture, or one string of them with commas between; None lets the classifier decide."""

_SETTINGS = {one.name for kind in (MapOptions, RefinerOptions, PhotoReadingOptions) for one in fields(kind)}
_SETTINGS |= {"amp", "batch_size", "max_pixels", "allow_truncated"}


class Warnings(SilentReporter):
    """Passes warnings on to Python's `warnings`."""

    def warn(self, text: str) -> None:
        warnings.warn(text, stacklevel=2)


class Predictor:
    """Makes masks of single pictures, with the weights loaded once.

        with pseudomask.Predictor() as predictor:
            predictor("photo.jpg", ["dog", "person"]).save("photo.png")

    The pixels are those of `pseudomask extract` with the same settings. Threads may share a predictor; the network
    serves one at a time.

    Args:
        weights: a weights file or "imagenet"; None for the bundled weights.
        method, refine, quality, device: as the flags of `extract`; `refine` may be "walk,crf" or a sequence.
        classes: for weights with a vocabulary, such as "imagenet": the classes that pictures may show. For others:
            the classes among which the classifier chooses where a picture has no tags.
        reporter: receives messages; by default, warnings become Python warnings.
        settings: other settings of `ExtractConfig`, such as `tta`, `threshold` and `value_range`.

    Raises `UsageError` and related errors for invalid settings, and `SetupError` if weights or device are missing.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        *,
        method: str | None = None,
        refine: str | Sequence[str] = (),
        quality: str | None = None,
        device: str = "auto",
        classes: Sequence[str] | None = None,
        reporter: Reporter | None = None,
        **settings: Any,
    ) -> None:
        for name in settings:
            if name not in _SETTINGS:
                raise UsageError(f"Predictor has no setting {quoted(name)}{did_you_mean(name, _SETTINGS)}")
        chain = tuple(refine.split(",")) if isinstance(refine, str) else tuple(refine)
        given: dict[str, Any] = settings | {"method": method, "quality": quality, "device": device, "refine": chain}
        if weights is not None:
            given["weights"] = Path(weights)
        reporter = reporter or Warnings()
        config, usual = settle_quality(ExtractConfig(images=Path("IMAGES"), out=Path("MASKS"), **given), None)
        check_names(config)
        if config.amp == "int8":
            raise UsageError("amp: int8 is calibrated on the photos of a folder; use `extract` for it")
        if {"proposals", "sam"}.intersection(chain):
            raise UsageError("refine: proposals and sam keep a file per photo of a folder; use `extract` for them")

        def choose(network: CamNetwork, card: Card) -> tuple[CamNetwork, Card]:
            if not classes:
                raise UsageError(f"these weights know {len(card.classes):,} classes; name yours with classes=[…]")
            return vocabulary.network_for(network, card, tuple(classes))

        setup = make_setup(config, usual, choose, reporter)
        setup = replace(setup, refinement=make_refinement(setup, reporter))
        self.config, self.classes, self.threshold = setup.config, setup.card.classes, setup.threshold
        self._setup, self._reading, self._reporter = setup, Reading.of(config), reporter
        self._most = setup.batch_size
        self._engine: Engine | None = setup.engine(reporter)
        if classes:
            wanted = self._positions(classes)
            others = [i for i in range(len(self.classes)) if i not in wanted]
            self._engine.tag_thresholds[others] = 2.0  # no probability exceeds it
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(2, "refine", compute_alone)

    @overload
    def __call__(self, picture: Picture, tags: Tags = None) -> Prediction: ...

    @overload
    def __call__(
        self, picture: list[Picture] | tuple[Picture, ...], tags: Sequence[Tags] | None = None
    ) -> list[Prediction]: ...

    def __call__(self, picture: Any, tags: Any = None) -> Prediction | list[Prediction]:
        """The `Prediction` of a picture, or a list of them for a list of pictures.

        Args:
            picture: a path; a PIL image; an array (H, W, 3), (H, W, 1) or (H, W), RGB or grey, uint8, uint16 or float;
                or a tensor (3, H, W), (1, H, W) or (H, W) of these types. uint16 values range over 0 to 65,535, float
                values over 0 to 1, unless `value_range` or `bits` was given.
            tags: names of the classes in the picture; for a list of pictures, a list with one entry each. None lets
                the classifier decide; an empty sequence means that there is none.

        Raises `ImageError` for a file that cannot be read, `UsageError` for an array of another shape, type or range,
        and `LabelError` for unknown tags.
        """
        if not isinstance(picture, list | tuple):
            return next(self.stream([(picture, tags)]))
        given = [None] * len(picture) if tags is None else list(tags)
        if isinstance(tags, str) or len(given) != len(picture):
            raise UsageError(f"{count(len(picture), 'picture')} in a list: give a list of as many entries for tags")
        return list(self.stream(zip(picture, given, strict=True)))

    def stream(self, pictures: Iterable[Picture | tuple[Picture, Tags]]) -> Iterator[Prediction]:
        """The predictions of pictures, or of pairs of a picture and its tags, in order, as they are made.

        Takes `batch_size` pictures at a time from `pictures`, which may be endless. Raises what `__call__` raises; the
        predictions before the invalid picture's batch have been returned by then.
        """
        rest = iter(pictures)
        while batch := list(islice(rest, self._most)):
            yield from self._batch([one if isinstance(one, tuple) else (one, None) for one in batch])

    def close(self) -> None:
        """Free the network's memory, also on a GPU. Calling the predictor afterwards raises `UsageError`."""
        with self._lock:
            self._engine = None
            del self._setup
            self._pool.shutdown()
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._engine is not None:
            self.close()

    def _batch(self, pairs: Sequence[tuple[Picture, Tags]]) -> list[Prediction]:
        if self._engine is None:
            raise UsageError("this Predictor is closed")
        tags = [self._tags(one) for _, one in pairs]
        photos = [self._photo(picture) for picture, _ in pairs]
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, photo in enumerate(photos):
            groups.setdefault(photo.shape, []).append(i)
        made: dict[int, Made] = {}
        for places in groups.values():
            with self._lock:
                found = self._engine.make([photos[i] for i in places], [tags[i] for i in places])
            made |= zip(places, found, strict=True)
        done = list(self._pool.map(self._finish, photos, [made[i] for i in range(len(photos))]))
        for one in done:
            if one.unrefined:
                self._reporter.warn(f"{one.unrefined}; the mask is not refined")
        return done

    def _photo(self, picture: Picture) -> Photo:
        config = self.config
        reading = self._reading
        pixels = as_photo(picture, reading, max_pixels=config.max_pixels, allow_truncated=config.allow_truncated)
        photo = prepare(pixels, self._setup.passes.scales, config.max_side, keep_whole=True)
        if photo.problem:
            raise UsageError(photo.problem)
        return photo

    def _finish(self, photo: Photo, made: Made) -> Prediction:
        assert photo.whole is not None
        bits: Any = int(self.config.score_bits)
        seeds = quantise(made.scores, bits)
        scores, threshold, done = seeds, self.threshold, dict[str, Any]()
        if self._setup.refinement is not None:
            seed = Seed("", photo.whole, seeds, made.found)
            scores, threshold, done = self._setup.refinement.apply(seed, self.threshold)
            scores = quantise(scores, bits)
        unrefined = done.get("unrefined", "")
        return Prediction(photo.whole, scores.mask(threshold), self.classes, scores, threshold, seeds, unrefined)

    def _tags(self, tags: Tags) -> tuple[int, ...] | None:
        if tags is None:
            return None
        names = tags.split(",") if isinstance(tags, str) else list(tags)
        return self._positions([name.strip() for name in names if name.strip()])

    def _positions(self, names: Sequence[str]) -> tuple[int, ...]:
        places = {name: i for i, name in enumerate(self.classes)}
        for name in names:
            if name not in places:
                known = ", ".join(self.classes[:8]) + (", …" if len(self.classes) > 8 else "")
                raise LabelError(f"no class {quoted(name)}{did_you_mean(name, places)}; the classes are {known}")
        return tuple(sorted({places[name] for name in names}))
