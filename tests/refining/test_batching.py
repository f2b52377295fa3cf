"""Photos refined together: to each the same happens as if it were alone."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from mortal import Crowd, MortalCrowd, with_the_mark
from PIL import Image
from planted import KEYS, Settings, blurred, files

from pseudomask.config import CrfOptions, RefineConfig
from pseudomask.refining import REFINERS, batching
from pseudomask.refining.batching import pick_batch, plan_batches
from pseudomask.refining.crf import PRESETS, Crf, energies
from pseudomask.refining.crf_engines import batch_marginals, torch_marginals
from pseudomask.refining.lattice import Shared, build_lattice
from pseudomask.refining.pamr import Pamr
from pseudomask.refining.refine import refine
from pseudomask.refining.refiner import BatchRefiner, alike
from pseudomask.refining.work import Job
from pseudomask.running.halving import halving
from pseudomask.running.layout import Outputs
from pseudomask.scores import ScoreMap

SHAPES = (["disc"], ["square", "bar"], ["disc", "square", "bar"], ["bar"])


def photos(size: tuple[int, int] = (40, 56)) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [tiny.draw(names, size, rng) for names in SHAPES]


def unary(photo: np.ndarray, labels: int) -> np.ndarray:
    """Energies of stripes that know nothing of the photo, so that the kernels decide."""
    stripes = (np.arange(photo.shape[1]) // 7 + np.arange(photo.shape[0])[:, None] // 9) % labels
    return energies((stripes == np.arange(labels)[:, None, None]).astype(np.float32), 0.7)


@pytest.mark.parametrize("d", [2, 5])
def test_photos_of_one_lattice_do_not_meet(d: int) -> None:
    """The second photo is the first again, the third lies among both: each is filtered as if it were alone."""
    generator = torch.Generator().manual_seed(d)
    first = 4 * torch.rand(d, 150, generator=generator)
    parts = [first, first, 4 * torch.rand(d, 150, generator=generator)]
    values = torch.rand(450, 3, generator=generator)
    together = build_lattice(torch.cat(parts, 1), photos=3).filter(values)
    alone = torch.cat([build_lattice(f).filter(v) for f, v in zip(parts, values.split(150), strict=True)])
    assert torch.allclose(together, alone, atol=1e-6, rtol=1e-6)
    assert (build_lattice(torch.cat(parts, 1)).filter(values) - alone).abs().max() > 0.1, "else they would meet"


def test_many_photos_need_64_bits() -> None:
    f, v = 30 * torch.rand(5, 30, generator=torch.Generator().manual_seed(0)), torch.rand(30, 1)
    few, many = build_lattice(f), build_lattice(f.repeat(1, 300), photos=300)
    assert torch.allclose(many.filter(v.repeat(300, 1)), few.filter(v).repeat(300, 1), atol=1e-6)


def test_a_shared_lattice_filters_each_photo() -> None:
    generator = torch.Generator().manual_seed(1)
    lattice = build_lattice(3 * torch.rand(2, 80, generator=generator))
    values = torch.rand(240, 2, generator=generator)
    expected = torch.cat([lattice.filter(part) for part in values.split(80)])
    assert torch.allclose(Shared(lattice, 3).filter(values), expected, atol=1e-6)


@pytest.mark.parametrize("left_out", [None, "gauss_weight", "bilateral_weight"])
def test_marginals_are_those_of_each_photo_alone(left_out: str | None) -> None:
    """Whatever the number of its labels, and whoever is beside it."""
    kernels = PRESETS["irn"]._replace(**{left_out: 0} if left_out else {})
    some = photos()
    energies_ = [unary(photo, labels) for photo, labels in zip(some, (2, 3, 4, 2), strict=True)]
    found = batch_marginals(some, energies_, kernels, 5)
    for photo, given, marginals in zip(some, energies_, found, strict=True):
        alone = torch_marginals(photo, given, kernels, 5)
        assert marginals.shape == given.shape
        assert np.abs(marginals - alone).max() < 1e-6
        assert np.abs(alone - np.exp(-given)).max() > 0.1, "the kernels decided something"
    backwards = batch_marginals(some[2::-1], energies_[2::-1], kernels, 5)[::-1]
    assert all(np.abs(a - b).max() < 1e-6 for a, b in zip(found, backwards, strict=False))


def mixed() -> tuple[list[np.ndarray], list[ScoreMap]]:
    """Two sizes, one to three classes, a photo without any, and one whose mask has one label only."""
    some = [*photos(), *photos((56, 40))[:2]]
    scores = [blurred(photo) for photo in some]
    empty = ScoreMap((), np.zeros((0, 10, 14), np.float32), (40, 56), 4)
    full = ScoreMap((2,), np.ones((1, 10, 14), np.float32), (40, 56), 4)
    return [*some, some[0], some[1]], [*scores, empty, full]


@pytest.mark.parametrize(
    "refiner",
    [
        Crf.of(CrfOptions()),
        Crf.of(CrfOptions(crf_unary="soft")),
        Crf.of(CrfOptions(crf_side=30)),
        Pamr(side=30),
        Pamr(iterations=0),
    ],
    ids=["crf", "crf soft", "crf reduced", "pamr", "pamr of no steps"],
)
def test_refiners_do_to_many_what_they_do_to_one(refiner: BatchRefiner) -> None:
    some, scores = mixed()
    found = refiner.refine_batch(some, scores, 0.3)
    assert len(found) == len(some)
    for photo, given, one in zip(some, scores, found, strict=True):
        alone = refiner.refine(photo, given, 0.3)
        assert (one.threshold, one.scores.classes) == (alone.threshold, given.classes)
        assert (one.scores.size, one.scores.stride) == (alone.scores.size, alone.scores.stride)
        assert np.abs(one.scores.values - alone.scores.values).max(initial=0) < 1e-5
        assert np.array_equal(one.scores.mask(one.threshold), alone.scores.mask(alone.threshold))


def jobs(count: int) -> list[Job]:
    names = [f"p{i}" for i in range(count)]
    return [Job(Outputs(name, Path("out")), f"{name}.png", Path(), Path(), "") for name in names]


def test_a_batch_is_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    some = jobs(9)
    facts = [((30, 40), 3), ((30, 40), 1), ((40, 30), 1), ((30, 40), 2), (None, 1), ((30, 40), 1), ((40, 30), 1)]
    seeds = {f"p{i}": {"size": size and list(size), "classes": ["x"] * n} for i, (size, n) in enumerate(facts)}
    seeds["p7"] = {"size": "no size"}
    found = [[int(job.relative[1]) for job in batch] for batch in plan_batches(some, seeds, 3)]
    assert found == [[4], [7], [8], [1, 5, 3], [0], [2, 6]]
    assert plan_batches(some, seeds, 1) == [(job,) for job in some]
    monkeypatch.setattr(batching, "_PIXELS", 2 * 30 * 40 + 1)
    assert max(map(len, plan_batches(some, seeds, 3))) == 2, "large photos: fewer at once in memory"


def test_how_many_go_together() -> None:
    plain = RefineConfig(images=Path(), seeds=Path(), out=Path())
    given = RefineConfig(images=Path(), seeds=Path(), out=Path(), batch_size=3)
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert (pick_batch(plain, cpu), pick_batch(plain, cuda)) == (1, 16)
    assert (pick_batch(given, cpu), pick_batch(given, cuda)) == (3, 3)


def test_alike_keeps_order() -> None:
    assert alike(["a", None, "b", "a", None]) == [("a", [0, 3]), ("b", [2])]


@dataclass
class Memory:
    """Takes `room` items at once; remembers what it was given."""

    room: int
    asked: list[int]

    def __call__(self, items: object) -> list[int]:
        some = list(items)  # type: ignore[call-overload]
        self.asked.append(len(some))
        if len(some) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [2 * one for one in some]


def test_a_batch_is_halved_where_memory_runs_out() -> None:
    memory, told = Memory(3, []), list[tuple[int, int]]()
    assert halving(range(11), 8, memory, lambda *one: told.append(one)) == ([2 * i for i in range(11)], 2)
    assert told == [(8, 4), (4, 2)]
    assert memory.asked == [8, 4, 2, 2, 2, 2, 2, 1]
    assert halving([], 8, memory) == ([], 8)
    with pytest.raises(torch.OutOfMemoryError):
        halving([1, 2], 2, Memory(0, []))


@pytest.mark.parametrize(
    "said",
    [
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "MPS backend out of memory (MPS allocated: 8.00 GB, other allocations: 1.00 GB, max allowed: 9.07 GB)",
        "CUDA error: out of memory",
        "[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9",
    ],
)
def test_memory_that_runs_out_by_another_name(said: str) -> None:
    def work(items: object) -> list[int]:
        some = list(items)  # type: ignore[call-overload]
        if len(some) > 2:
            raise RuntimeError(said)
        return some

    assert halving(range(8), 8, work) == (list(range(8)), 2)


def test_other_errors_of_a_device_are_not_taken_for_a_lack_of_memory() -> None:
    def work(items: object) -> list[int]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal"):
        halving(range(8), 8, work)


@pytest.mark.parametrize("method", ["crf", "pamr"])
def test_the_verb_makes_the_same_files(method: str, settings: Settings, tmp_path: Path) -> None:
    for name, batch in (("one", None), ("four", 4)):
        assert refine(settings(tmp_path / name, method=(method,), batch_size=batch)).done == 6
    assert files(tmp_path / "one") == files(tmp_path / "four")
    assert refine(settings(tmp_path / "one", method=(method,), batch_size=6)).skipped == 6, "it decides no mask"


def test_the_verb_goes_on_with_smaller_batches(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setitem(REFINERS, "crowd", lambda config: Crowd(2, seen))
    ear = tiny.Ear()
    result = refine(settings(tmp_path / "out", method=("crowd",), batch_size=6), ear)
    assert (result.exit_code, result.done, result.failed) == (0, 6, 0)
    assert [line for line in ear.warnings if "memory" in line] == ["out of memory; continuing with batches of 1"]
    assert max(seen) > 2
    assert all(count <= 2 for count in itertools.dropwhile(lambda count: count > 2, seen))


def test_a_killed_worker_still_loses_one_photo_alone(
    settings: Settings, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = with_the_mark(source / "photos", tmp_path / "photos")
    monkeypatch.setitem(REFINERS, "mortal", lambda config: MortalCrowd())
    result = refine(settings(tmp_path / "out", images=copy, method=("mortal",), workers=1, batch_size=6))
    assert (result.exit_code, result.done, result.failed) == (1, 5, 1)
    assert list(result.failures) == ["p01.png"]


def test_one_bad_photo_of_a_batch(settings: Settings, source: Path, tmp_path: Path) -> None:
    copy = tmp_path / "photos"
    shutil.copytree(source / "photos", copy)
    Image.new("RGB", (50, 40)).save(copy / "p03.png")
    result = refine(settings(tmp_path / "out", images=copy, batch_size=6))
    assert (result.done, list(result.failures)) == (5, ["p03.png"])
    assert {key for key in KEYS if not (tmp_path / f"out/{key}.png").exists()} == {"p03"}
