"""Batches of crops: the same whoever decodes them, threads between the steps or processes ahead of them."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import tiny
import torch

from pseudomask.training import loading
from pseudomask.training.loading import load_batches
from pseudomask.training.samples import TrainingCrops, batch_plan

CPU, ELSEWHERE = torch.device("cpu"), torch.device("meta")
PLAN = batch_plan(3, 2, 5, 2)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> TrainingCrops:
    folder = tmp_path_factory.mktemp("loading") / "photos"
    tiny.write_photos(folder, 3)
    (folder / "broken.png").write_bytes(b"no photo")
    paths = [*sorted(folder.rglob("p*.png"))[:3], folder / "broken.png", folder / "none.png"]
    return TrainingCrops(
        paths, np.eye(5, 3, dtype=np.float32), crop=32, sides=(20, 40), seed=0, around=np.zeros(3, np.uint8)
    )


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Python 3.12 and a fork
@pytest.mark.parametrize(("device", "workers"), [(CPU, 1), (CPU, 3), (CPU, -1), (ELSEWHERE, 0), (ELSEWHERE, 2)])
def test_who_decodes_changes_nothing(crops: TrainingCrops, device: torch.device, workers: int) -> None:
    plain = list(load_batches(crops, PLAN, workers=0, device=CPU))
    found = list(load_batches(crops, PLAN, workers=workers, device=device))
    assert len(plain) == len(found) == len(PLAN)
    for (pixels, tags, problems), (others, other_tags, other_problems), places in zip(plain, found, PLAN, strict=True):
        assert (pixels.shape, pixels.dtype) == ((2, 32, 32, 3), torch.uint8)
        assert pixels.equal(others)
        assert tags.equal(other_tags)
        assert list(problems) == list(other_problems)
        assert [bool(problem) for problem in problems] == [photo >= 3 for _, photo in places]
        assert all(torch.equal(row, crops[place][0]) for row, place in zip(pixels, places, strict=True))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # Python 3.12 and a fork
def test_without_shared_memory_batches_come_through_a_pipe(
    crops: TrainingCrops, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a Docker container: a worker that fills /dev/shm dies."""
    asked: list[int] = []
    monkeypatch.setattr(loading, "has_room", lambda needed: bool(asked.append(needed)))
    found = list(load_batches(crops, PLAN, workers=1, device=ELSEWHERE))
    assert asked == [2 * 2 * 2 * 32 * 32 * 4], "two batches of two ahead of one worker, and as many out of it"
    for (pixels, tags, problems), (others, other_tags, other_problems) in zip(
        found, load_batches(crops, PLAN, workers=0, device=CPU), strict=True
    ):
        assert pixels.equal(others)
        assert tags.equal(other_tags)
        assert list(problems) == list(other_problems)
        assert not pixels.is_shared()


def test_nothing_is_decoded_beside_a_step_on_a_cpu(crops: TrainingCrops, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[int, int]] = []
    decode = TrainingCrops.__getitem__

    def watched(self: TrainingCrops, place: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor, str]:
        begun.append(place)
        return decode(self, place)

    monkeypatch.setattr(TrainingCrops, "__getitem__", watched)
    for i, _ in enumerate(load_batches(crops, PLAN, workers=2, device=CPU)):
        assert sorted(begun) == sorted(place for places in PLAN[: i + 1] for place in places)


def test_threads_end_with_the_training_and_leave_its_own_alone(crops: TrainingCrops) -> None:
    before, threads = torch.get_num_threads(), threading.active_count()
    batches = load_batches(crops, PLAN, workers=2, device=CPU)
    next(batches)
    assert threading.active_count() > threads
    assert torch.get_num_threads() == before
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == threads


def test_what_goes_wrong_is_told(crops: TrainingCrops) -> None:
    with pytest.raises(IndexError):
        list(load_batches(crops, [[(0, 99)]], workers=2, device=CPU))
