"""Photos decoded, sized and gathered into batches."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from ctypes import c_bool
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from pseudomask.config import ExtractConfig
from pseudomask.errors import PseudomaskError, UsageError
from pseudomask.extracting import flow
from pseudomask.extracting.engine import Engine, Made, pack
from pseudomask.extracting.loading import load
from pseudomask.extracting.ordering import batches, by_shape, windowed
from pseudomask.extracting.photos import Photo, Photos, header_size, reduction, working_size
from pseudomask.extracting.setup import Setup
from pseudomask.maps.cam import LinearMaps
from pseudomask.maps.passes import parse_scales
from pseudomask.scores import MAX_SIDE


def photo(index: int, shape: tuple[int, int] = (4, 6), problem: str = "") -> Photo:
    views = () if problem else (torch.zeros(*shape, 3, dtype=torch.uint8),)
    return Photo(index, shape, views, problem=problem)


def indices(found: list[list[Photo]]) -> list[list[int]]:
    return [[p.index for p in batch] for batch in found]


def test_batches_hold_equal_shapes_only() -> None:
    shapes = [(4, 6), (6, 4), (4, 6), (6, 4), (6, 4), (4, 6), (5, 5)]
    found = list(batches([photo(i, s) for i, s in enumerate(shapes)], 2))
    assert indices(found) == [[0, 2], [1, 3], [4], [5], [6]]
    assert all(len({p.shape for p in batch}) == 1 for batch in found)


def test_unreadable_photos_come_at_once_and_alone() -> None:
    found = list(batches([photo(0), photo(1, problem="cut off"), photo(2, problem="empty"), photo(3)], 2))
    assert indices(found) == [[1], [2], [0, 3]]


def test_few_photos_wait_for_company() -> None:
    """A hundred shapes must not fill the memory: the fullest group goes when too many wait."""
    mixed = [(i, 3) if i % 2 else (1, 1) for i in range(1, 13)]
    taken: list[int] = []

    def counted() -> object:
        for i, shape in enumerate(mixed):
            taken.append(i)
            yield photo(i, shape)

    held = 0
    sizes = []
    for batch in batches(counted(), 8, most_waiting=5):  # type: ignore[arg-type]
        held += len(batch)
        sizes.append(len(batch))
        assert len(taken) - held <= 5
    assert held == 12
    assert sizes[0] > 1, "the largest group goes first"
    assert all(len(b) <= 8 for b in batches([photo(i) for i in range(20)], 8))


def test_photos_seen_at_one_size_are_neighbours_within_a_window(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = [(4, 6), (6, 4), (0, 0), (4, 6), (80, 120), (40, 60), (6, 4)]
    assert by_shape([10, 11, 12, 13, 14, 15, 16], sizes, 60) == [10, 13, 11, 16, 12, 14, 15]
    size_of = [header_size(path) for path in files].__getitem__
    a, b, c = range(3)  # of two sizes, b unreadable
    assert list(windowed([a, c, b, a, c], size_of, 90)) == [a, a, c, c, b]
    monkeypatch.setattr("pseudomask.extracting.ordering.WINDOW", 3)
    assert list(windowed([a, c, a, c, b, c], size_of, 90)) == [a, a, c, c, c, b]


def test_reduction_and_working_size() -> None:
    assert [reduction((30, n), 64) for n in (1, 64, 65, 128, 129, 640)] == [1, 1, 2, 2, 3, 10]
    assert working_size((48, 64), 64) == (48, 64)
    assert working_size((100, 200), 64) == (32, 64)
    assert working_size((2000, 3), 64) == (64, 1)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (21, 30, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    Image.fromarray(rng.integers(0, 255, (1, 90, 3), dtype=np.uint8)).save(tmp_path / "c.png")
    return sorted(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Python 3.12 and a fork
@pytest.mark.parametrize("workers", [0, 1])
def test_photos_that_the_device_resizes_are_sent_once(files: list[Path], workers: int) -> None:
    """But not those that are larger than `max_side`, of which less than all is sent."""
    data = Photos(
        files, [2, 1, 0], scales=(0.5, 2.0), max_side=30, max_pixels=10**6, allow_truncated=False, keep_whole=True,
        to_scale=True,
    )  # fmt: skip
    thin, broken, plain = load(data, workers=workers, device=torch.device("cpu"))
    assert plain.to_scale
    assert [tuple(view.shape) for view in plain.views] == [(21, 30, 3)]
    assert plain.whole is not None
    assert np.shares_memory(plain.whole, plain.views[0].numpy())
    assert broken.problem
    assert not thin.to_scale
    assert [tuple(view.shape) for view in thin.views] == [(1, 15, 3), (2, 60, 3)]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Python 3.12 and a fork
def test_photos_have_a_view_each_scale(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    data = Photos(
        files,
        [2, 1, 0],
        scales=(1.0, 0.5, 2.0),
        max_side=30,
        max_pixels=10**6,
        allow_truncated=False,
        keep_whole=True,
    )
    asked: list[int] = []
    room = True
    monkeypatch.setattr("pseudomask.extracting.loading.has_room", lambda needed: asked.append(needed) or room)
    for workers, room in ((0, True), (1, True), (1, False)):  # without room in /dev/shm they come through a pipe
        thin, broken, plain = load(data, workers=workers, device=torch.device("cpu"))
        assert [view.is_shared() for view in plain.views] == [bool(workers and room)] * 3
        assert [tuple(v.shape) for v in plain.views] == [(21, 30, 3), (10, 15, 3), (42, 60, 3)]
        assert plain.whole is not None
        assert np.array_equal(plain.views[0].numpy(), plain.whole)
        assert (broken.index, broken.views, broken.whole) == (1, (), None)
        assert broken.problem
        assert (thin.size, thin.shape) == ((1, 90), (1, 30, 1, 15, 2, 60))
    most = 3 * (30**2 + 15**2 + 60**2)
    assert asked == [101 * most] * 2, "what one worker is ahead, and what waits for its batch"


DEATHS = (ConnectionResetError(), EOFError(), FileNotFoundError(), RuntimeError("DataLoader worker (pid 7) is killed"))


def dying(monkeypatch: pytest.MonkeyPatch, error: Exception, *, once: bool) -> list[tuple[list[int], bool, bool]]:
    """Decoders die while they hand over photo 3, each time or the first time; what they are started with."""
    started: list[tuple[list[int], bool, bool]] = []

    def start(
        photos: Photos, order: Iterable[int], workers: int, ready: c_bool, *, anew: bool = False, alone: bool = False
    ) -> Iterator[Photo]:
        ready.value = True
        taken: list[int] = []
        started.append((taken, anew, alone))
        source = iter(order)
        while ahead := list(islice(source, 4)):
            taken += ahead
            for i in ahead:
                if i == 3 and not (once and alone):
                    raise error
                yield photos[i]

    monkeypatch.setattr("pseudomask.extracting.loading._start", start)
    return started


@pytest.mark.parametrize("error", DEATHS, ids=lambda error: type(error).__name__)
def test_a_decoder_that_dies_loses_the_photo_at_hand(
    files: list[Path], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch tells of a death; where the photo is on its way, the connection breaks first."""
    options = {"scales": (1.0,), "max_side": 64, "max_pixels": 10**6, "allow_truncated": False, "keep_whole": False}
    photos = Photos(files[:1] * 9, range(9), **options)  # type: ignore[arg-type]
    order = [0, 8, 3, 7, 6, 2, 1, 5, 4]
    for once, lost in ((True, []), (False, [3])):
        started = dying(monkeypatch, error, once=once)
        found = list(load(photos, workers=1, device=torch.device("cpu"), order=order))
        assert [one.index for one in found] == order
        assert [one.index for one in found if one.problem] == lost
        again = [([7], False, True)] if lost else []
        assert started == [(order[:4], False, False), ([3, 7], False, True), *again, (order[4:], True, False)]
    with pytest.raises(type(error)):  # this process itself is no decoder that can be replaced
        list(load(photos, workers=0, device=torch.device("cpu")))


def test_decoders_that_never_begin_are_told_and_no_photo_is_blamed(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a script without a guard for its main part is imported by each process that starts anew."""

    def start(photos: Photos, order: Iterable[int], workers: int, ready: c_bool, **more: bool) -> Iterator[Photo]:
        yield from (photos[i] for i in islice(order, 2))
        ready.value = False
        raise RuntimeError("DataLoader worker (pid 7) exited unexpectedly")

    monkeypatch.setattr("pseudomask.extracting.loading._start", start)
    options = {"scales": (1.0,), "max_side": 64, "max_pixels": 10**6, "allow_truncated": False, "keep_whole": False}
    decoded = load(Photos(files, [0] * 9, **options), workers=1, device=torch.device("cpu"))  # type: ignore[arg-type]
    with pytest.raises(PseudomaskError, match=r"could not start.*--workers 0"):
        assert not [photo for photo in decoded if photo.problem]


def test_an_error_of_another_kind_is_told(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    dying(monkeypatch, RuntimeError("a size does not fit"), once=False)
    options = {"scales": (1.0,), "max_side": 64, "max_pixels": 10**6, "allow_truncated": False, "keep_whole": False}
    with pytest.raises(RuntimeError, match="does not fit"):
        list(load(Photos(files, [0] * 5, **options), workers=1, device=torch.device("cpu")))  # type: ignore[arg-type]


def test_photos_above_the_limit_are_refused(files: list[Path]) -> None:
    options = {"scales": (1.0,), "max_side": 640, "allow_truncated": False, "keep_whole": False}
    assert "pixels" in Photos(files, [0], max_pixels=629, **options)[0].problem  # type: ignore[arg-type]
    assert not Photos(files, [0], max_pixels=630, **options)[0].problem  # type: ignore[arg-type]


def test_a_side_that_no_score_file_holds_fails_alone(tmp_path: Path) -> None:
    """One thread of pixels, far below the limit of pixels."""
    Image.new("RGB", (MAX_SIDE + 1, 1)).save(tmp_path / "long.png")
    options = {"scales": (1.0,), "max_side": 640, "allow_truncated": False, "keep_whole": False}
    photos = Photos([tmp_path / "long.png"], [0], max_pixels=10**8, **options)  # type: ignore[arg-type]
    assert "a side is at most 1,048,576" in photos[0].problem


@pytest.mark.parametrize("text", ["", "1,", "big", "0", "-1", "1,nan", "inf", "1;2", "4.1"])
def test_scales_that_cannot_be(text: str) -> None:
    with pytest.raises(UsageError, match="--scales"):
        parse_scales(text)


def test_scales() -> None:
    assert parse_scales("1.0, 0.5,4") == (1.0, 0.5, 4.0)


def engine(**changes: object) -> Engine:
    settings = {
        "network": tiny.make_network(),
        "method": LinearMaps("product"),
        "device": torch.device("cpu"),
        "amp": None,
        "tag_thresholds": torch.tensor([0.5, 0.5, 0.5]),
        "plain_scale": 0,
        "mirrored": True,
        "max_side": 64,
        "stride": 4,
        "largest": 8,
        "reporter": tiny.Ear(),
    }
    return Engine(**settings | changes)  # type: ignore[arg-type]


def drawn(count: int, size: tuple[int, int] = (48, 64)) -> list[Photo]:
    rng = np.random.default_rng(1)
    images = [torch.from_numpy(tiny.draw(["disc", "bar"], size, rng)) for _ in range(count)]
    return [Photo(i, size, (image,)) for i, image in enumerate(images)]


def test_pack() -> None:
    index, valid = pack([(2,), (), (0, 1)], torch.device("cpu"))
    assert index.tolist() == [[2, 0], [0, 0], [0, 1]]
    assert valid.tolist() == [[True, False], [False, False], [True, True]]


def test_scores_have_the_tags_classes_and_the_photos_grid() -> None:
    found = [made.scores for made in engine().make(drawn(3), [(0, 2), (), (1,)])]
    assert [one.classes for one in found] == [(1, 3), (), (2,)]
    assert [one.values.shape for one in found] == [(2, 12, 16), (0, 12, 16), (1, 12, 16)]
    assert all((one.size, one.stride) == ((48, 64), 4) for one in found)
    assert found[0].values.max() > 0.9  # normalised by its own maximum


def test_no_tag_at_all_needs_no_network() -> None:
    found = [made.scores for made in engine(method=None).make(drawn(2), [(), ()])]
    assert [one.classes for one in found] == [(), ()]


def test_photos_of_equal_working_shape_keep_their_own_size() -> None:
    """Reduced from different sizes to one: together in a batch, yet each with its own grid."""
    one, two = drawn(2)
    two = Photo(1, (96, 128), two.views)
    found = [made.scores for made in engine().make([one, two], [(0,), None])]
    assert [(s.size, s.stride, s.values.shape[1:]) for s in found] == [
        ((48, 64), 4, (12, 16)),
        ((96, 128), 8, (12, 16)),
    ]


def test_a_gpu_gets_larger_batches_and_more_writers() -> None:
    """On a CPU two threads write beside the network, whose own threads wait for each other."""
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert [flow.writers(device, 16) for device in (cpu, cuda)] == [2, 8]
    config = ExtractConfig(images=Path("photos"), out=Path("masks"))
    for device, given, expected in ((cpu, None, 4), (cuda, None, 16), (cpu, 7, 7), (cuda, 7, 7)):
        setup = Setup.__new__(Setup)
        setup.__dict__.update(config=replace(config, batch_size=given), device=device)
        assert setup.batch_size == expected


def test_r21_memory_that_runs_out_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    photos, tags = drawn(7), [(0,), (1,), (2,), (0, 1), (1, 2), (), (0,)]
    expected = [made.scores for made in engine().make(photos, tags)]
    small = engine()
    true_make = Engine._make

    def tight(self: Engine, some: list[Photo], their: list[tuple[int, ...]]) -> list[Made]:
        if len(some) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return true_make(self, some, their)

    monkeypatch.setattr(Engine, "_make", tight)
    found = [made.scores for made in small.make(photos, tags)]
    told = [f"out of memory with batches of {n}; continuing with {left}" for n, left in ((7, 3), (3, 1))]
    assert small.make(photos[:3], tags[:3])[0].scores.classes == (1,), "what was learnt holds for the next batch"
    assert (small.largest, small.reporter.warnings) == (1, told)  # type: ignore[attr-defined]
    assert [s.classes for s in found] == [s.classes for s in expected]
    assert all(np.allclose(a.values, b.values, atol=1e-4) for a, b in zip(found, expected, strict=True))

    def full(self: Engine, some: list[Photo], their: list[tuple[int, ...]]) -> list[Made]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Engine, "_make", full)
    with pytest.raises(PseudomaskError, match="single photo; lower --max-side"):
        engine().make(photos, tags)


def test_more_processes_than_cores_are_no_reason_for_a_warning(files: list[Path]) -> None:
    """torch gives one, at some length and twice; here it would be an error."""
    options = {"scales": (1.0,), "max_side": 64, "max_pixels": 10**6, "allow_truncated": False, "keep_whole": False}
    workers = (os.cpu_count() or 1) + 1
    photos = Photos(files, [0] * 5, **options)  # type: ignore[arg-type]
    assert len(list(load(photos, workers=workers, device=torch.device("cpu")))) == 5
