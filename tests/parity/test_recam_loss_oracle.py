"""ReCAM's loss against the paper's formula written out: every class, the five-dimensional product, float64."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import Tensor

from pseudomask.maps.normalise import normalise_maps
from pseudomask.training.losses import class_features, softmax_loss

assert tiny.CLASSES  # imported for its one-thread setting


def pooled_by_definition(f: Tensor, w: Tensor) -> Tensor:
    """f_k of every class: (B, D, h, w), (C, D) → (B, C, D)."""
    activation = torch.stack([torch.stack([torch.tensordot(wk, one, 1) for wk in w]) for one in f]).relu()
    peak = activation.flatten(2).max(2).values[:, :, None, None]
    normalised = activation / (peak + 1e-5)
    product = normalised[:, :, None] * f[:, None]  # (B, C, D, h, w)
    return product.mean((3, 4))


def loss_by_definition(f: Tensor, w: Tensor, w2: Tensor, tags: Tensor) -> tuple[Tensor, float]:
    pooled = pooled_by_definition(f, w)
    total, right = f.new_zeros(()), 0
    for i, row in enumerate(tags):
        present = [k for k, t in enumerate(row.tolist()) if t]
        for k in present:
            scores = w2 @ pooled[i, k]  # (C,)
            total = total + (scores.exp().sum().log() - scores[k]) / len(present)
            right += int(scores.argmax() == k)
    return total / len(tags), right / max(1, int(tags.sum()))


@pytest.mark.parametrize("seed", range(12))
def test_value_and_gradients_equal_the_definition(seed: int) -> None:
    torch.manual_seed(seed)
    b, c, d, h, w = [(4, 5, 8, 3, 4), (2, 20, 16, 4, 4), (3, 3, 32, 5, 2), (1, 1, 4, 1, 1)][seed % 4]
    tags = (torch.rand(b, c) < 0.4).float()
    if seed % 4 != 3:
        tags[-1] = 0  # an image without tags
        tags[0] = 1  # and one with all
    else:
        tags[:] = 1
    values = [torch.randn(b, d, h, w), torch.randn(c, d, 1, 1), torch.randn(c, d, 1, 1)]
    ours = [v.clone().requires_grad_() for v in values]
    theirs = [v.double().requires_grad_() for v in values]

    found, accuracy = softmax_loss(*ours, tags)
    expected, right = loss_by_definition(theirs[0], theirs[1].flatten(1), theirs[2].flatten(1), tags)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5, abs=1e-6)
    assert accuracy.item() == pytest.approx(right)

    found.backward()
    expected.backward()
    for name, mine, true in zip(("features", "w", "w''"), ours, theirs, strict=True):
        assert mine.grad is not None, name
        assert true.grad is not None, name
        assert torch.allclose(mine.grad.double(), true.grad, rtol=1e-4, atol=1e-5 * float(true.grad.abs().max())), name


def test_the_gradient_passes_through_the_maps_and_their_maximum() -> None:
    """A version that detached the maps, or their maximum, would differ by far more than the tolerance above."""
    torch.manual_seed(0)
    f, w, w2 = torch.randn(2, 8, 3, 3).double(), torch.randn(4, 8).double(), torch.randn(4, 8).double()
    tags = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0]])
    w.requires_grad_()
    loss_by_definition(f, w, w2, tags)[0].backward()
    assert w.grad is not None
    assert float(w.grad[[0, 1, 2]].abs().max()) > 1e-2
    assert not w.grad[3].any()  # an absent class's map has no part in it


def test_class_features_equal_the_five_dimensional_product() -> None:
    torch.manual_seed(3)
    f, w = torch.randn(3, 16, 4, 5, dtype=torch.float64), torch.randn(6, 16, dtype=torch.float64)
    maps = normalise_maps(torch.einsum("cd,bdhw->bchw", w, f).relu())
    assert torch.allclose(class_features(f, maps), pooled_by_definition(f, w), rtol=1e-12, atol=1e-14)
