"""The kinds of class map beside `grad-cam` and `torchcam`, and what equals plain CAM here beside their versions of it.

Both come with the extra [oracles], which is large; without it these tests are skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn

from pseudomask.data.pixels import IMAGENET
from pseudomask.maps.cams.ablation import AblationCam
from pseudomask.maps.cams.finer import FinerCam
from pseudomask.maps.cams.layercam import LayerCam
from pseudomask.maps.cams.plain import Plain
from pseudomask.maps.cams.softmax import SoftmaxCam
from pseudomask.maps.cams.variant import Cam

gradcam: Any = pytest.importorskip("pytorch_grad_cam", reason="needs the extra [oracles]", exc_type=ImportError)
torchcam: Any = pytest.importorskip("torchcam.methods", reason="needs the extra [oracles]", exc_type=ImportError)
targets: Any = pytest.importorskip("pytorch_grad_cam.utils.model_targets", reason="needs [oracles]")

CLASSES = 3


class Whole(nn.Module):
    """A network as those packages want it: (B, 3, H, W) → logits, with a last convolution to hook."""

    def __init__(self) -> None:
        super().__init__()
        self.network = tiny.make_network()
        self.layer3 = nn.Identity()
        self.layer4 = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        backbone = self.network.backbone
        for name in backbone.parts[:-1]:
            x = getattr(backbone, name)(x)
        f = self.layer4(getattr(backbone, backbone.parts[-1])(self.layer3(x)))
        return f.mean((2, 3)) @ self.network.classifier.weight.flatten(1).T


@pytest.fixture(scope="module")
def whole() -> Whole:
    return Whole().eval()


@pytest.fixture(scope="module")
def photo() -> Tensor:
    drawn = tiny.draw(tiny.CLASSES, (96, 128), np.random.default_rng(0))
    return IMAGENET.to_input(torch.from_numpy(drawn)[None])


def scaled(maps: Tensor) -> Tensor:
    return maps / maps.amax((-2, -1), keepdim=True)


def ours(cam: Cam, whole: Whole, photo: Tensor) -> Tensor:
    """(C, h, w), each divided by its maximum."""
    features = whole.network.backbone(photo)
    index = torch.arange(CLASSES)[None]
    maps = cam.maps(whole.network, features, whole.network.classifier.weight, index, index > -1)
    return scaled(maps[0].detach())


def by_grad_cam(kind: Any, whole: Whole, photo: Tensor, target: Callable[[int], Any], **more: Any) -> Tensor:
    """Raw maps of the last stage, before that package's stretching to [0, 1]."""
    found = []
    for c in range(CLASSES):
        with kind(model=whole, target_layers=[whole.layer4], **more) as oracle:
            one = [target(c)]
            oracle.forward(photo, one)
            raw = oracle.activations_and_grads
            activations, slopes = raw.activations[0].detach().numpy(), None
            if raw.gradients:
                slopes = raw.gradients[0].detach().numpy()
            if not oracle.detach:  # it differentiates these once more
                activations, slopes = raw.activations[0], raw.gradients[0]
            image = oracle.get_cam_image(photo, whole.layer4, one, activations, slopes, False)
        found.append(torch.from_numpy(np.maximum(image[0], 0)).float())
    return scaled(torch.stack(found))


def by_torchcam(kind: Any, whole: Whole, photo: Tensor, layer: str = "layer4", **more: Any) -> Tensor:
    found = []
    for c in range(CLASSES):
        with kind(whole, layer, **more) as oracle:
            scores = whole(photo.clone().requires_grad_())
            found.append(oracle(c, scores, normalized=False)[0][0].detach())
    return scaled(torch.stack(found))


def logit(c: int) -> Any:
    return targets.ClassifierOutputTarget(c)


@pytest.mark.parametrize("name", ["GradCAM", "HiResCAM", "XGradCAM", "ShapleyCAM"])
def test_what_equals_plain_cam_according_to_grad_cam(whole: Whole, photo: Tensor, name: str) -> None:
    found = by_grad_cam(getattr(gradcam, name), whole, photo, logit)
    assert torch.allclose(found, ours(Plain(), whole, photo), atol=1e-4)


@pytest.mark.parametrize("name", ["GradCAM", "XGradCAM"])
def test_what_equals_plain_cam_according_to_torchcam(whole: Whole, photo: Tensor, name: str) -> None:
    found = by_torchcam(getattr(torchcam, name), whole, photo)
    assert torch.allclose(found, ours(Plain(), whole, photo), atol=1e-4)


def test_recipro_cam_equals_plain_cam(whole: Whole, photo: Tensor) -> None:
    """Neither package has it. Its definition (Byun & Lee, 2022): the score with one position of the features kept."""
    f = whole.network.backbone(photo).last[0].detach()
    weights = whole.network.classifier.weight.detach().flatten(1)
    scores = torch.zeros(CLASSES, *f.shape[1:])
    for i in range(f.shape[1]):
        for j in range(f.shape[2]):
            alone = torch.zeros_like(f)
            alone[:, i, j] = f[:, i, j]
            scores[:, i, j] = weights @ alone.mean((1, 2))
    assert torch.allclose(scaled(scores.relu()), ours(Plain(), whole, photo), atol=1e-4)


def test_layercam(whole: Whole, photo: Tensor) -> None:
    found = ours(LayerCam(), whole, photo)
    assert torch.allclose(by_grad_cam(gradcam.LayerCAM, whole, photo, logit), found, atol=1e-4)
    assert torch.allclose(by_torchcam(torchcam.LayerCAM, whole, photo), found, atol=1e-4)


def test_layercam_of_two_stages(whole: Whole, photo: Tensor) -> None:
    """Stage by stage torchcam's; joined by the maximum, as there, but without its further scaling."""
    each = [by_torchcam(torchcam.LayerCAM, whole, photo, layer) for layer in ("layer3", "layer4")]
    assert torch.allclose(ours(LayerCam(2), whole, photo), torch.maximum(*each), atol=1e-4)


def test_softmax(whole: Whole, photo: Tensor) -> None:
    found = by_grad_cam(gradcam.GradCAM, whole, photo, targets.ClassifierOutputSoftmaxTarget)
    shown = found.isfinite().all(2).all(1)
    assert shown.any()
    assert torch.allclose(found[shown], ours(SoftmaxCam(), whole, photo)[shown], atol=1e-4)


def test_finer(whole: Whole, photo: Tensor) -> None:
    """torchcam's mean over look-alikes that it is told; with two others they are the same for any way to find them."""
    wanted = []
    for c in range(CLASSES):
        with torchcam.FinerCAM(whole, "layer4", gamma=0.6) as oracle:
            scores = whole(photo.clone().requires_grad_())
            others = [[k for k in range(CLASSES) if k != c]]
            wanted.append(oracle(c, scores, normalized=False, comparison_idx=others)[0][0].detach())
    found, told = ours(FinerCam(0.6, 2), whole, photo), torch.stack(wanted)
    shown = told.amax((1, 2)) > 1e-9
    assert shown.any()
    assert torch.allclose(scaled(told)[shown], found[shown], atol=1e-4)


def test_ablation(whole: Whole, photo: Tensor) -> None:
    assert (whole(photo) > 0).all(), "grad-cam divides by the logit"
    layers: Any = pytest.importorskip("pytorch_grad_cam.ablation_layer")
    with torch.no_grad():
        found = by_grad_cam(gradcam.AblationCAM, whole, photo, logit, ablation_layer=layers.AblationLayer())
    assert torch.allclose(found, ours(AblationCam(), whole, photo), atol=1e-4)
