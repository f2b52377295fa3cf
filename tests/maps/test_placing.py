"""Maps lie where the photo shows what they are of, at any size, mirrored or not."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import Tensor

from pseudomask.maps.placing import cells, placed
from pseudomask.networks.features import Features, grown
from pseudomask.networks.segmenter import make_segmenter


def view(size: tuple[int, int], stride: int, *, fitted: bool = False) -> Features:
    return Features((torch.zeros(1, 1, *cells(size, stride)),), (stride,), size, fitted=fitted)


def ramp(size: tuple[int, int], block: float, *, mirrored: bool = False) -> Tensor:
    """Each position has the x of its centre in the photo, in pixels of the view: (1, 1, h, w)."""
    h, w = cells(size, int(block))
    x = (torch.arange(w) + 0.5) * block
    return (size[1] - x if mirrored else x).expand(1, 1, h, w)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("width", [64, 65, 79, 80, 123])
@pytest.mark.parametrize("scale", [1.0, 1.5, 0.5])
def test_every_position_gets_what_lies_there(width: int, scale: float, mirrored: bool) -> None:
    seen = view((round(48 * scale), round(width * scale)), 16)
    found = placed(ramp(seen.size, 16, mirrored=mirrored), seen, (48, width), 4, mirrored=mirrored)[0, 0]
    assert found.shape == cells((48, width), 4)
    wanted = (torch.arange(found.shape[1]) + 0.5) * 4 * (seen.size[1] / width)
    inner = slice(2 + round(8 / scale / 4), -(4 + round(16 / scale / 4)))  # beyond the outer centres a ramp stays flat
    assert torch.allclose(found[:, inner], wanted[inner].expand_as(found[:, inner]), atol=1e-3)


def test_a_photo_resized_to_whole_blocks_is_covered_by_them() -> None:
    seen = Features((torch.zeros(1, 1, 3, 4),), (14,), (45, 61), fitted=True)
    found = placed(torch.arange(4.0).expand(1, 1, 3, 4), seen, (45, 61), 1)[0, 0, 0]
    assert torch.allclose(found[8:53], (torch.arange(61)[8:53] + 0.5) * 4 / 61 - 0.5, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 3), (6, 9), (12, 18)])
def test_finer_and_coarser_maps_have_smaller_and_larger_blocks(shape: tuple[int, int]) -> None:
    seen, block = view((90, 140), 16), {2: 64, 6: 16, 12: 8}[shape[0]]
    found = placed(ramp((90, 140), block)[..., : shape[0], : shape[1]], seen, (90, 140), 4)[0, 0, 0]
    assert float(found[16]) == pytest.approx(66, abs=1e-3)


def test_one_block_is_the_same_everywhere() -> None:
    assert torch.equal(
        placed(torch.full((1, 2, 1, 1), 0.3), view((5, 3), 16), (5, 3), 4), torch.full((1, 2, 2, 1), 0.3)
    )


@pytest.mark.parametrize("width", [64, 65, 79])
def test_grown_maps_stay_in_their_places(width: int) -> None:
    found = grown(ramp((48, width), 16), 16, 4, cells((48, width), 4), fitted=False)[0, 0]
    inner = (torch.arange(found.shape[1]) + 0.5)[2:-3] * 4
    assert found.shape == cells((48, width), 4)
    assert torch.allclose(found[:, 2:-3], inner.expand_as(found[:, 2:-3]))
    assert grown(ramp((48, width), 16), 16, 4, (12, 20), fitted=True).shape == (1, 1, 12, 20)


@pytest.mark.parametrize(("network", "stride"), [("deeplabv3_narrow", 16), ("lraspp_narrow", 8)])
def test_a_segmenters_logits_stay_in_their_places(network: str, stride: int, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = make_segmenter(network, 1, backbone=tiny.NARROW).eval()
    monkeypatch.setattr(segmenter.head, "forward", lambda _features: ramp((40, 73), stride))
    found = segmenter(torch.zeros(1, 3, 40, 73))[0, 0]
    assert found.shape == (40, 73)
    assert torch.allclose(found[0, 8:64], torch.arange(8, 64) + 0.5)
