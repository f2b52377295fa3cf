"""The losses as tensor functions; parity with the paper's formula is in parity/test_recam_loss_oracle.py."""

from __future__ import annotations

import math

import tiny
import torch

from pseudomask.maps.normalise import normalise_maps
from pseudomask.training.losses import (
    class_features,
    classification_loss,
    positive_index,
    softmax_loss,
)

assert tiny.CLASSES  # imported for its one-thread setting


def test_classification_loss_by_hand() -> None:
    logits, tags = torch.tensor([[2.0, -1.0], [0.0, 3.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    terms = [math.log1p(math.exp(-2)), math.log1p(math.exp(-1)), math.log(2), math.log1p(math.exp(3))]
    assert math.isclose(classification_loss(logits, tags).item(), sum(terms) / 4, rel_tol=1e-6)


def test_normalise_maps_by_each_maps_own_maximum() -> None:
    maps = torch.tensor([[[[0.0, 2.0], [1.0, 0.5]], [[0.0, 0.0], [0.0, 0.0]], [[1e-5, 0.0], [0.0, 0.0]]]])
    found = normalise_maps(maps)
    assert torch.allclose(found[0, 0], maps[0, 0] / 2.00001)
    assert torch.equal(found[0, 1], torch.zeros(2, 2))
    assert math.isclose(found[0, 2, 0, 0].item(), 0.5, rel_tol=1e-5)
    assert found.max() < 1


def test_positive_index_packs_left_in_class_order() -> None:
    tags = torch.tensor([[0, 1, 0, 1, 1.0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 1, 0]])
    index, valid = positive_index(tags)
    assert index.tolist() == [[1, 3, 4], [0, 0, 0], [0, 0, 0], [3, 0, 0]]
    assert valid.tolist() == [[True] * 3, [False] * 3, [True, False, False], [True, False, False]]
    assert index.dtype is torch.int64


def test_positive_index_without_any_tag_keeps_one_unused_place() -> None:
    index, valid = positive_index(torch.zeros(2, 4))
    assert index.tolist() == [[0], [0]]
    assert not valid.any()


def test_positive_index_with_more_classes_than_int8_holds() -> None:
    tags = torch.zeros(1, 300)
    tags[0, [7, 130, 299]] = 1
    assert positive_index(tags)[0].tolist() == [[7, 130, 299]]


def test_class_features_are_means_over_all_positions() -> None:
    features = torch.arange(12.0).view(1, 3, 2, 2)
    maps = torch.tensor([[[[1.0, 0.0], [0.0, 0.5]], [[0.0, 0.0], [0.0, 0.0]]]])
    expected = torch.tensor([[0 + 1.5, 4 + 3.5, 8 + 5.5], [0, 0, 0]]) / 4
    assert torch.allclose(class_features(features, maps)[0], expected)


def random_case(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    tags = (torch.rand(4, 5) < 0.5).float()
    tags[1] = 0
    return torch.randn(4, 6, 3, 2), torch.randn(5, 6, 1, 1), torch.randn(5, 6, 1, 1), tags


def test_each_image_adds_its_own_loss_whatever_its_company() -> None:
    features, first, second, tags = random_case(0)
    whole, accuracy = softmax_loss(features, first, second, tags)
    alone = [softmax_loss(features[i : i + 1], first, second, tags[i : i + 1]) for i in range(4)]
    assert math.isclose(whole.item(), sum(loss.item() for loss, _ in alone) / 4, rel_tol=1e-5)
    right = sum(a.item() * t.sum().item() for (_, a), t in zip(alone, tags, strict=True))
    assert math.isclose(accuracy.item(), right / tags.sum().item(), rel_tol=1e-5)
    order = torch.tensor([2, 0, 3, 1])
    moved, _ = softmax_loss(features[order], first, second, tags[order])
    assert math.isclose(whole.item(), moved.item(), rel_tol=1e-5)


def test_images_without_tags_add_nothing_and_still_count() -> None:
    features, first, second, tags = random_case(1)
    tags[1:] = 0
    tags[0, 2] = 1
    four, _ = softmax_loss(features, first, second, tags)
    one, _ = softmax_loss(features[:1], first, second, tags[:1])
    assert math.isclose(four.item(), one.item() / 4, rel_tol=1e-5)
    features.requires_grad_(True)
    nothing, accuracy = softmax_loss(features, first, second, torch.zeros(4, 5))
    nothing.backward()
    assert nothing.item() == accuracy.item() == 0
    assert features.grad is not None
    assert not features.grad.any()


def test_a_map_that_is_zero_everywhere_gives_finite_gradients() -> None:
    features = torch.rand(1, 4, 3, 3, requires_grad=True)
    first = torch.full((2, 4, 1, 1), -1.0, requires_grad=True)
    loss, _ = softmax_loss(features, first, torch.randn(2, 4, 1, 1), torch.tensor([[1.0, 1.0]]))
    loss.backward()
    assert math.isclose(loss.item(), math.log(2), rel_tol=1e-5)
    assert features.grad is not None
    assert bool(torch.isfinite(features.grad).all())


def test_accuracy_counts_right_pooled_features() -> None:
    features = torch.eye(2).view(1, 2, 1, 2)  # two positions, each its own feature
    weights = torch.eye(2).view(2, 2, 1, 1)
    swapped = weights.flip(0)
    tags = torch.ones(1, 2)
    assert softmax_loss(features, weights, weights, tags)[1].item() == 1
    assert softmax_loss(features, weights, swapped, tags)[1].item() == 0


def test_mixed_precision_stays_close() -> None:
    features, first, second, tags = random_case(2)
    exact, _ = softmax_loss(features, first, second, tags)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, _ = softmax_loss(features.bfloat16(), first, second, tags)
    assert mixed.dtype is torch.float32
    assert math.isclose(exact.item(), mixed.item(), rel_tol=0.03)


def test_the_background_as_a_further_class_by_hand() -> None:
    """Two photos of four positions, one class: the second shows it nowhere."""
    features = torch.tensor([[[4.0, 0, 0, 0], [0, 2, 2, 2]], [[0.0, 0, 0, 0], [3, 3, 3, 3]]]).unflatten(2, (2, 2))
    first, second = torch.tensor([1.0, 0]).view(1, 2, 1, 1), torch.tensor([2.0, -1.0]).view(1, 2, 1, 1)
    tags = torch.tensor([[1.0], [0.0]])
    found, accuracy = softmax_loss(features, first, second, tags, contrast=True)
    # Under the map: f = (1, 0), logit 2; beside it (0, 1.5), logit -1.5; the whole second photo (0, 3), logit -3.
    terms = [math.log1p(math.exp(-2)), math.log1p(math.exp(-1.5)), math.log1p(math.exp(-3))]
    assert math.isclose(found.item(), ((terms[0] + terms[1]) / 2 + terms[2]) / 2, rel_tol=1e-4)
    assert accuracy == 1
    alone, _ = softmax_loss(features, first, second, tags)
    assert alone == 0  # what one class had to learn from without


def test_the_background_leaves_unused_places_alone() -> None:
    features, first, second, tags = random_case(3)
    whole, _ = softmax_loss(features, first, second, tags, contrast=True)
    alone = [softmax_loss(features[i : i + 1], first, second, tags[i : i + 1], contrast=True)[0] for i in range(4)]
    assert math.isclose(whole.item(), sum(one.item() for one in alone) / 4, rel_tol=1e-5)
