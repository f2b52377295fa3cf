"""Photos of several sizes in one batch: the features that each would have alone."""

from __future__ import annotations

import pytest
import torch
from test_folding import NETWORKS, backbone, difference

from pseudomask.networks.backbones.frames import STEP, frame_of


@pytest.mark.parametrize(("name", "style", "stride"), NETWORKS)
@pytest.mark.parametrize("pyramid", [True, False])
def test_each_photo_has_the_features_that_it_has_alone(name: str, style: str, stride: int, pyramid: bool) -> None:
    folded = backbone(name, style, stride)
    folded.fold()
    inputs = [torch.randn(n, 3, h, w) for n, h, w in ((2, 65, 98), (1, 100, 33), (2, 17, 128), (1, 64, 64))]
    with torch.inference_mode():
        found = folded.see_each(inputs, pyramid=pyramid)
        for one, x in zip(found, inputs, strict=True):
            wanted = folded(x, pyramid=pyramid)
            assert (one.size, one.strides, one.fitted) == (wanted.size, wanted.strides, wanted.fitted)
            assert [part.shape for part in one.outputs] == [part.shape for part in wanted.outputs]
            assert all(difference(a, b) < 1e-5 for a, b in zip(one.outputs, wanted.outputs, strict=True))
            edge = [
                difference(a[..., -1:, :], b[..., -1:, :]) for a, b in zip(one.outputs, wanted.outputs, strict=True)
            ]
            assert max(edge) < 1e-5, "what lies beyond the photo has an effect"
        assert folded.frame.inside is None


def test_a_frame_that_does_not_clip_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above is for."""
    folded = backbone("resnet18")
    folded.fold()
    x = torch.randn(1, 3, 65, 98)
    monkeypatch.setattr(type(folded.frame), "clip", lambda self, y: y)
    with torch.inference_mode():
        assert difference(folded.see_each([x])[0].last, folded(x).last) > 1e-3


def test_what_overflows_beyond_a_photo_stays_there() -> None:
    """As in float16, where zero times infinity is not a number."""
    folded = backbone("resnet18")
    folded.fold()
    x = torch.full((1, 4, 2, 2), float("inf"))
    with folded.frame.within(torch.tensor([[True, False], [False, False]])[None, None]):
        clipped = folded.frame.clip(x)
    assert bool(torch.isfinite(clipped[..., 1, :]).all())
    assert bool(torch.isinf(clipped[..., 0, 0]).all())


def test_few_shapes_reach_the_network() -> None:
    """Of hundreds of sizes and numbers of photos."""
    folded = backbone("resnet18")
    folded.fold()
    shapes = set()
    folded.stem.register_forward_pre_hook(lambda _, given: shapes.add(tuple(given[0].shape)))
    with torch.inference_mode():
        for h in range(60, 130, 7):
            for count in (3, 4):
                folded.see_each([torch.randn(count - 1, 3, h, 90), torch.randn(1, 3, 64, h)], pyramid=False)
    assert shapes == {(4, 3, 64, 128), (4, 3, 128, 128)}
    assert frame_of((STEP, STEP + 1)) == (STEP, 2 * STEP)
