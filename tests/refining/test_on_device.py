"""Every step of every refiner happens on the device that it is given; the GPU is acted."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from acted import ActedGpu, send
from planted import blurred

from pseudomask.config import CrfOptions
from pseudomask.networks.backbones import make_backbone
from pseudomask.networks.edges import EdgeNetwork
from pseudomask.refining import walk as walks
from pseudomask.refining.crf import Crf
from pseudomask.refining.mean_field import pairwise, position_features
from pseudomask.refining.pamr import Pamr
from pseudomask.refining.transitions import random_walk
from pseudomask.refining.walk import Walk
from pseudomask.scores import ScoreMap


def photos() -> tuple[list[np.ndarray], list[ScoreMap]]:
    rng = np.random.default_rng(2)
    some = [tiny.draw(names, (40, 48), rng) for names in (["disc"], ["square", "bar"])]
    return some, [blurred(one) for one in some]


def test_the_act_finds_what_a_gpu_would() -> None:
    with ActedGpu() as gpu:
        here, away = torch.ones(3), torch.ones(3, device="cuda")
        for mistake in (lambda: here + away, lambda: torch.cat([here, away]), lambda: away[here.long()]):
            with pytest.raises(RuntimeError, match="same device"):
                mistake()
        for mistake in (lambda: away.numpy(), lambda: (here.to("cuda") + 1).numpy(), lambda: next(iter(away)).numpy()):
            with pytest.raises(TypeError, match="numpy"):
                mistake()
        assert (away + torch.tensor(1.0)).cpu().numpy().tolist() == [2, 2, 2]
        assert [str(one.device) for one in (here, away, away.cpu(), here.to("cuda"))] == ["cpu", "cuda", "cpu", "cuda"]
        assert gpu.count > 0


@pytest.mark.parametrize("kind", ["crf", "pamr"])
@pytest.mark.parametrize("together", [1, 2])
def test_crf_and_pamr(kind: str, together: int) -> None:
    some, scores = photos()
    made = {
        "crf": lambda device: Crf.of(CrfOptions(crf_iterations=3), device),
        "pamr": lambda device: Pamr(iterations=2, dilations=(1, 2), device=device),
    }[kind]
    expected = made("cpu").refine_batch(some[:together], scores[:together], 0.3)
    with ActedGpu() as gpu:
        found = made("cuda").refine_batch(some[:together], scores[:together], 0.3)
    assert gpu.count > 50
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(a.scores.values, b.scores.values)


def test_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The boundary network too: its weights are there, and so must be what it is given."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **settings: nullcontext())
    monkeypatch.setattr(walks, "send", lambda tensor, device: tensor.to(device))  # pinned memory cannot be acted
    monkeypatch.setattr(walks, "send_together", lambda tensors, device: torch.stack(tensors).to(device))
    torch.manual_seed(0)
    network = EdgeNetwork(make_backbone(tiny.NARROW)).eval()
    [photo, _], [scores, _] = photos()

    def walk(device: str) -> Walk:
        one = Walk(Path("unused"), exponent=3, device=device)
        one.__dict__["_network"] = network
        return one

    expected = walk("cpu").refine(photo, scores, 0.3)
    for tensor in (*network.parameters(), *network.buffers()):
        send(tensor)
    with ActedGpu() as gpu:
        found = walk("cuda").refine(photo, scores, 0.3)
    assert gpu.count > 50
    assert np.allclose(found.scores.values, expected.scores.values, atol=1e-6)


def test_functions_follow_their_tensors() -> None:
    with ActedGpu():
        edges, scores = torch.rand(6, 8, device="cuda"), torch.rand(2, 6, 8, device="cuda")
        assert random_walk(scores, edges, exponent=2).device.type == "cuda"
        kernel = pairwise(position_features(6, 8, 2.0, "cuda"), 1.0)
        assert kernel.filter(torch.rand(48, 1, device="cuda")).device.type == "cuda"
