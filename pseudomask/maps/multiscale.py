"""Maps at several sizes, also mirrored, added up (as in ReCAM's public code; Chen et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from pseudomask.maps.method import MapMethod
from pseudomask.maps.normalise import normalise_maps
from pseudomask.maps.passes import Mirrored
from pseudomask.maps.placing import cells, placed
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork


def ways(mirrored: Mirrored, view: int) -> tuple[bool, ...]:
    """The passes over one view of a photo: True for a mirrored one."""
    return (False, True) if mirrored is True else (mirrored == "alternately" and view % 2 == 1,)


@contextmanager
def recording(method: MapMethod) -> Iterator[None]:
    """Record gradients if the method needs them, else use inference mode."""
    with torch.inference_mode(not method.gradients), torch.set_grad_enabled(method.gradients):
        yield


def see(
    network: CamNetwork,
    method: MapMethod,
    pixels: Tensor,
    ways: Sequence[bool],
    *,
    amp: torch.dtype | None,
    pyramid: bool = False,
) -> Features:
    """The backbone's features of photos, uint8 (B, h, w, 3), for all of `ways`, concatenated in one batch.

    `pyramid`: keep the features of every stage, even if the method reads only the last.
    """
    with recording(method), torch.autocast(pixels.device.type, amp, enabled=amp is not None):
        x = network.backbone.normalisation.to_input(pixels, amp, ways)
        with torch.set_grad_enabled(method.gradients and not method.image):
            features: Features = network.backbone(x, pyramid=pyramid or method.pyramid, attention=method.attention)
        return replace(features, image=x) if method.image else features


def see_each(
    network: CamNetwork,
    method: MapMethod,
    groups: Sequence[Tensor],
    ways: Sequence[bool],
    *,
    amp: torch.dtype | None,
    pyramid: bool = False,
) -> list[Features]:
    """As `see`, of photos of several sizes at once, uint8 (B_i, h_i, w_i, 3), where `frames` says that it can be."""
    with recording(method), torch.autocast(groups[0].device.type, amp, enabled=amp is not None):
        inputs = [network.backbone.normalisation.to_input(pixels, amp, ways) for pixels in groups]
        return network.backbone.see_each(inputs, pyramid=pyramid or method.pyramid)


def frames(network: CamNetwork, method: MapMethod) -> bool:
    """Whether `see_each` is possible, once the backbone is folded."""
    return network.backbone.frames and not (method.gradients or method.image or method.attention)


def tag_probabilities(network: CamNetwork, features: Features) -> Tensor:
    """The classifier's probabilities for whole photos: (B, C) in [0, 1]."""
    with torch.no_grad():
        return network.logits(features).float().sigmoid()


def multiscale_maps(
    network: CamNetwork,
    method: MapMethod,
    views: Sequence[Tensor],
    index: Tensor,
    valid: Tensor,
    *,
    size: tuple[int, int],
    stride: int = 4,
    mirrored: Mirrored = True,
    amp: torch.dtype | None = None,
    seen: dict[int, Features] | None = None,
) -> Tensor:
    """Sum over sizes (each map plus its mirror's, or one of the two), divided by each class's maximum + 1e-5.

    Args:
        views: the same photos at each scale, uint8 (B, h_s, w_s, 3).
        index, valid: (B, N), the present classes (see `MapMethod.activate`).
        size: (H, W) of the photos at full size.
        stride: pixels of the photo per position of the result; each map is resampled to these positions (`placed`).
        mirrored: whether views are mirrored: all in addition (True), none (False), every second one ("alternately").
        amp: autocast type for the backbone; the maps themselves are float32.
        seen: results of `see` for some of the views, by position, so that they are not recomputed; it is emptied.

    Returns:
        (B, N, ⌈H/stride⌉, ⌈W/stride⌉) float32 in [0, 1).
    """
    total = torch.zeros((*index.shape, *cells(size, stride)), device=index.device)
    for i, pixels in enumerate(views):
        sides = ways(mirrored, i)
        features = (seen or {}).pop(i, None) or see(network, method, pixels, sides, amp=amp)
        with recording(method), torch.autocast(pixels.device.type, amp, enabled=amp is not None):
            places, used = index.repeat(len(sides), 1), valid.repeat(len(sides), 1)
            maps = method.activate(network, features, places, used).detach()
        with torch.inference_mode():
            for part, turned in zip(maps.chunk(len(sides)), sides, strict=True):
                total += placed(part, features, size, stride, mirrored=turned)
    with torch.inference_mode():
        return normalise_maps(total)
