"""A training of several processes: one step's photos are split among them, and their gradients averaged.

`--batch-size` is that of the whole job, so that schedule and result do not depend on the number of processes, up to
the order of sums.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from pseudomask.devices import make_current
from pseudomask.errors import PseudomaskError, UsageError
from pseudomask.running.ranks import Ranks
from pseudomask.running.signals import Stop

Item = TypeVar("Item")
Parts = dict[str, Tensor]

# They wait for each other in the store while one validates, labels or writes; here only for the slowest step.
_PATIENCE = timedelta(minutes=10)


@contextmanager
def group(team: Ranks, device: torch.device) -> Iterator[None]:
    """Within the block the processes can sum tensors: NCCL on GPUs, Gloo elsewhere. No effect for one process.

    Raises `UsageError` where two processes have the same GPU.
    """
    from torch import distributed

    make_current(device)
    if team.alone or distributed.is_initialized():  # a calling script may have its own
        yield
        return
    on_gpu = device.type == "cuda"
    if on_gpu:
        _check_gpus(team, device)
    # A unique name: otherwise a second training in these processes would find the addresses of the first.
    store = distributed.PrefixStore(f"group {team.fresh()}", team.store)
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo",
        store=store,
        rank=team.rank,
        world_size=team.world,
        timeout=_PATIENCE,
        device_id=device if on_gpu else None,
    )
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error).lower():
            raise
        raise PseudomaskError(
            f"another process of this job died ({str(error).partition(chr(10))[0]}); run the same command again to "
            "resume from the last checkpoint"
        ) from error
    distributed.destroy_process_group()  # not after an error: it could wait for dead processes


def _check_gpus(team: Ranks, device: torch.device) -> None:
    own = f"{torch.cuda.get_device_properties(device).uuid}"  # the index alone says little where each sees its own GPU
    taken = [one.decode() for one in team.gather(own.encode())]
    if taken.count(own) > 1:
        raise UsageError(
            f"--device {device}: {taken.count(own)} processes would train on the same GPU; use --device cuda, which "
            "gives each process its own"
        )


def split(plan: Sequence[Sequence[Item]], team: Ranks) -> list[Sequence[Item]]:
    """This process's share of each step.

    Raises `UsageError` where a step has fewer photos than there are processes: one of them would have none.
    """
    least = min((len(step) for step in plan), default=team.world)
    if least < team.world:
        raise UsageError(
            f"a step of {least} photos cannot be split over {team.world} processes; raise --batch-size, or start fewer "
            "processes"
        )
    return [team.share(step) for step in plan]


def precise(values: Tensor) -> Tensor:
    """The values in float64, or in float32 on an Apple GPU, which has no float64."""
    return values.float() if values.device.type == "mps" else values.double()


def total(values: Tensor, team: Ranks) -> Tensor:
    """The sum over the processes, without gradient."""
    if team.alone:
        return values
    from torch import distributed

    # Gloo, the back end wherever NCCL is not, takes the CPU's tensors.
    summed = values.detach().clone() if values.device.type == "cuda" else values.detach().cpu().clone()
    distributed.all_reduce(summed)
    return summed.to(values.device)


def agree(sound: int, stop: Stop, team: Ranks, device: torch.device) -> tuple[float, bool]:
    """What this process's loss counts for, and whether any process is to stop after this step.

    Gradients are averaged over the processes, so a mean over `sound` photos must weigh by how many there are in each.
    """
    if team.alone:
        return 1.0, stop.requested
    own = torch.tensor([sound, stop.requested], dtype=torch.float32, device=device)
    everywhere, asked = total(own, team).tolist()
    if asked and not stop.requested:
        stop.signal = signal.SIGTERM
    return (sound * team.world / everywhere if everywhere else 1.0), asked > 0


def averaged(values: Parts, weight: float, team: Ranks) -> Parts:
    """Scalars of the whole step, for the log."""
    if team.alone:
        return values
    found = total(torch.stack([precise(value) for value in values.values()]) * weight, team) / team.world
    return dict(zip(values, found, strict=True))


def mean(values: Tensor, team: Ranks) -> Tensor:
    """This process's part of the mean over the values (n,) of all: the mean of the parts is that mean; 0 of nothing."""
    count = values.numel()
    if not team.alone:
        count = int(total(torch.tensor(count, device=values.device), team))
    return values.sum() * team.world / max(count, 1)


class WithLoss(nn.Module):
    """A network with its loss, so that DistributedDataParallel sees all gradients."""

    def __init__(self, network: nn.Module, loss: Any) -> None:
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, images: Tensor, tags: Tensor) -> tuple[Tensor, Parts]:
        loss, parts = self.loss(self.network, images, tags)
        return loss, {name: value.detach() for name, value in parts.items()}


def joined(step: WithLoss, team: Ranks, device: torch.device) -> nn.Module:
    """The step with gradients averaged over the processes, starting from rank 0's weights."""
    if team.alone:
        return step
    from torch.nn.parallel import DistributedDataParallel

    # Some weights may be unused by the loss (a second classifier that the rule does not read), always the same ones.
    return DistributedDataParallel(
        step, device_ids=[device] if device.type == "cuda" else None, broadcast_buffers=False, static_graph=True
    )
