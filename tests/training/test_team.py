"""How a step is split over processes; that they make the same weights together is for tests/distributed."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

from pseudomask.errors import UsageError
from pseudomask.running.ranks import ALONE, Ranks
from pseudomask.running.signals import Stop
from pseudomask.training import team

CPU = torch.device("cpu")


def others_add(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    """`total` as if another process had given these."""
    monkeypatch.setattr(team, "total", lambda own, job: own + torch.tensor(values, dtype=own.dtype).view_as(own))


def test_every_photo_of_a_step_is_in_one_share() -> None:
    plan = [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]
    assert team.split(plan, ALONE) == plan
    assert [team.split(plan, Ranks(rank, 2)) for rank in range(2)] == [[[1, 3, 5], [6, 8, 10]], [[2, 4], [7, 9]]]


def test_a_step_with_less_photos_than_processes() -> None:
    with pytest.raises(UsageError, match="a step of 2 photos cannot be split over 3 processes; raise --batch-size"):
        team.split([[1, 2, 3], [4, 5]], Ranks(0, 3))


def test_a_loss_weighs_by_its_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    others_add(monkeypatch, 1, 0)
    weight, stopping = team.agree(3, Stop(), Ranks(0, 2), CPU)
    assert (weight, stopping) == (1.5, False)
    losses, other = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([7.0])
    assert (weight * losses.mean() + 0.5 * other.mean()) / 2 == torch.cat([losses, other]).mean()
    others_add(monkeypatch, 0, 0)
    assert team.agree(0, Stop(), Ranks(0, 2), CPU)[0] == 1.0, "no photo anywhere: the empty crops count"


def test_all_stop_when_one_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    others_add(monkeypatch, 1, 1)
    stop = Stop()
    assert team.agree(1, stop, Ranks(0, 2), CPU)[1]
    assert stop.exit_code == 128 + signal.SIGTERM


def test_a_mean_over_the_values_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.tensor([1.0, 2.0], requires_grad=True)
    assert team.mean(values, ALONE) == 1.5
    assert team.mean(torch.zeros(0), ALONE) == 0
    others_add(monkeypatch, 1)
    part: Tensor = team.mean(values, Ranks(0, 2))
    part.backward()
    assert (part + 2 * 9.0 / 3) / 2 == torch.tensor([1.0, 2.0, 9.0]).mean()
    assert values.grad is not None
    assert torch.allclose(values.grad / 2, torch.tensor(1 / 3))


def test_alone_nothing_is_averaged() -> None:
    parts = {"loss": torch.tensor(1.0)}
    assert team.averaged(parts, 1.0, ALONE) is parts
    assert team.total(parts["loss"], ALONE) is parts["loss"]


def on_gpus(monkeypatch: pytest.MonkeyPatch, uuids: list[str]) -> list[dict[str, Any]]:
    """Process 1 of as many, each with the GPU of that name; how its group is made."""
    made: list[dict[str, Any]] = []
    own = SimpleNamespace(uuid=uuids[1])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: own)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: made.append({"current": device}))
    monkeypatch.setattr(Ranks, "gather", lambda self, data, stop=None: [one.encode() for one in uuids])
    monkeypatch.setattr(Ranks, "store", distributed.HashStore())
    monkeypatch.setattr(
        distributed, "init_process_group", lambda backend, **how: made.append({"backend": backend} | how)
    )
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: None)
    return made


def test_nccl_knows_its_gpu_and_gives_up_within_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    made = on_gpus(monkeypatch, ["a", "b"])
    with team.group(Ranks(1, 2, 1, 2), torch.device("cuda:1")):
        pass
    assert made.pop(0) == {"current": torch.device("cuda:1")}
    assert (made[0]["backend"], made[0]["device_id"]) == ("nccl", torch.device("cuda:1"))
    assert 60 <= made[0]["timeout"].total_seconds() <= 1800
    with team.group(Ranks(1, 2, 1, 2), CPU):
        pass
    assert (made[1]["backend"], made[1]["device_id"]) == ("gloo", None)


def test_one_process_alone_makes_its_gpu_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else pinned memory would open GPU 0 as well."""
    made = on_gpus(monkeypatch, ["a", "b"])
    for name in ("cuda:1", "cuda", "cpu"):
        with team.group(ALONE, torch.device(name)):
            pass
    assert made == [{"current": torch.device("cuda:1")}]


def test_two_processes_on_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """`cuda:0` in both, which NCCL would refuse late; where each sees only its own GPU, it is the right name."""
    on_gpus(monkeypatch, ["a", "a", "b"])
    with (
        pytest.raises(UsageError, match=r"--device cuda:0: 2 processes .* use --device cuda"),
        team.group(Ranks(1, 3, 1, 3), torch.device("cuda:0")),
    ):
        pass
    made = on_gpus(monkeypatch, ["a", "b"])
    with team.group(Ranks(1, 2, 1, 2), torch.device("cuda:0")):
        assert made


def test_sums_in_the_precision_that_the_device_has() -> None:
    assert team.precise(torch.ones(1)).dtype is torch.float64

    class OnApple:
        device = torch.device("mps")

        def float(self) -> str:
            return "float32"

    assert team.precise(OnApple()) == "float32"  # type: ignore[arg-type, comparison-overlap]
