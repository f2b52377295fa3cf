"""torchvision's ResNets at output stride 16 or 8.

The layout is that of the CAM literature (ReCAM, Chen et al., CVPR 2022; IRN, Ahn et al., CVPR 2019):
at stride 16 the last stage runs at stride 1 *without* dilation; at stride 8 the last two stages run
at stride 1 with dilation 2 in every 3×3 convolution after the removed stride, so that every second
feature equals the one at stride 16.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from http.client import HTTPException

import torch
import torchvision.models as models
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from pseudomask.config import Style
from pseudomask.errors import UsageError, WeightsError
from pseudomask.networks.backbones.backbone import Backbone
from pseudomask.networks.backbones.frames import Frame, framed, unframed
from pseudomask.networks.backbones.resnet_folding import fold_resnet
from pseudomask.networks.features import Features

STAGES = ("layer1", "layer2", "layer3", "layer4")
WEIGHTS = "IMAGENET1K_V1"


class ResNetBackbone(Backbone):
    """A ResNet without its pooling and classifier, at strides (4, 4, 8, 16, 16) or (4, 4, 8, 8, 8).

    Batch norm always uses its stored statistics and never updates them, because batches are small here; its scale and
    shift are trained, except in frozen parts.
    """

    frames = True

    def __init__(self, name: str, net: ResNet, *, style: Style = "pytorch", output_stride: int = 16) -> None:
        if output_stride not in (8, 16):
            raise UsageError(f"output stride must be 16 or 8, not {output_stride}")
        dim = net.fc.in_features
        super().__init__(
            name,
            parts=("stem", *STAGES),
            channels=(net.conv1.out_channels, dim // 8, dim // 4, dim // 2, dim),
            strides=(4, 4, 8, output_stride, output_stride),
            style=style,
        )
        self.frame: Frame | None = None  # of a folded one
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        _set_stride(self.layer2, 2, style)
        _set_stride(self.layer3, 2 if output_stride == 16 else 1, style)
        _set_stride(self.layer4, 1, style)
        if output_stride == 8:
            _dilate(_after_stride(self.layer3, style), 2)
            _dilate(self.layer4, 2)

    def train(self, mode: bool = True) -> ResNetBackbone:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def fold(self, dtype: torch.dtype | None = None) -> None:
        """Fold batch norm; run convolution, shortcut and ReLU as one call where torch can."""
        self.frame = fold_resnet(self, STAGES, dtype)

    def see_each(self, inputs: Sequence[Tensor], *, pyramid: bool = True) -> list[Features]:
        assert self.frame is not None, "fold first"
        x, inside = framed(inputs)
        with self.frame.within(inside):
            seen = self(x, pyramid=pyramid)
        parts = unframed(seen.outputs, seen.strides, inputs)
        sizes = [(one.shape[2], one.shape[3]) for one in inputs]
        return [Features(tuple(part), seen.strides, size) for part, size in zip(parts, sizes, strict=True)]

    def load_pretrained(self, tensors: Mapping[str, Tensor] | None) -> None:
        """Load tensors in torchvision's naming (`conv1.weight`, `layer1.0.…`; `fc.*` is ignored).

        None downloads torchvision's weights to torch's cache, checks torchvision's hash, and loads them without
        unpickling code.
        """
        self.load_renamed(self.own_names(self.published() if tensors is None else tensors))

    def own_names(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        names = {"conv1": "stem.0", "bn1": "stem.1"}  # our stem numbers its parts by position
        split = ((key.partition("."), value) for key, value in tensors.items())
        return {f"{names.get(part, part)}.{rest}": value for (part, _, rest), value in split if part != "fc"}

    def published(self) -> Mapping[str, Tensor]:
        """torchvision's weights of this network, with their classifier. Raises `WeightsError` if they cannot be had."""
        return fetch_torchvision(self.name, WEIGHTS)


def fetch_torchvision(name: str, weights: str) -> Mapping[str, Tensor]:
    """torchvision's weights, from torch's cache or downloaded. Raises `WeightsError` if that fails."""
    try:
        # torch reports downloads on stdout, which is for data; a parent may have started us without streams
        with redirect_stdout(sys.stderr or io.StringIO()):
            entry = models.get_model_weights(name)[weights]
            state: Mapping[str, Tensor] = entry.get_state_dict(progress=False, check_hash=True, weights_only=True)
            return state
    except (OSError, RuntimeError, EOFError, HTTPException) as error:
        raise WeightsError(
            f"torchvision's weights for {name} could not be downloaded ({error})",
            advice="give --backbone-weights FILE",
        ) from None


def torchvision_resnet(name: str, *, style: Style, output_stride: int) -> ResNetBackbone:
    """torchvision's ResNet of this name, with random weights."""
    return ResNetBackbone(name, models.get_model(name, weights=None), style=style, output_stride=output_stride)


def _set_stride(layer: nn.Sequential, stride: int, style: Style) -> None:
    """Set the stride of a stage, in the convolution that `style` names and in the shortcut."""
    block = layer[0]
    assert isinstance(block, BasicBlock | Bottleneck)
    if isinstance(block, Bottleneck):
        block.conv1.stride = (stride, stride) if style == "caffe" else (1, 1)
        block.conv2.stride = (stride, stride) if style == "pytorch" else (1, 1)
    elif style == "caffe":
        raise UsageError("the caffe stride style needs a bottleneck network (resnet50 and up)")
    else:
        block.conv1.stride = (stride, stride)
    if block.downsample is not None:
        shortcut = block.downsample[0]
        assert isinstance(shortcut, nn.Conv2d)
        shortcut.stride = (stride, stride)
    block.stride = stride


def _after_stride(layer: nn.Sequential, style: Style) -> list[nn.Module]:
    """The parts of a stage after the convolution with the stride."""
    first, *rest = layer
    assert isinstance(first, BasicBlock | Bottleneck)
    # in a bottleneck of the pytorch style the stride is in the 3×3 convolution itself, the only one
    return rest if isinstance(first, Bottleneck) and style == "pytorch" else [first.conv2, *rest]


def _dilate(parts: Iterable[nn.Module], dilation: int) -> None:
    for block in parts:
        for conv in block.modules():
            if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                conv.dilation = conv.padding = (dilation, dilation)
