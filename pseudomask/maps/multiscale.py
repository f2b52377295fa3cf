"""Maps seen at several sizes and mirrored, added up (METHODS: ReCAM's `make_recam`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pseudomask.data.pixels import to_input
from pseudomask.maps.method import MapMethod
from pseudomask.maps.passes import Mirrored
from pseudomask.networks.network import CamNetwork
from pseudomask.training.losses import normalise_maps


@torch.inference_mode()
def tag_probabilities(network: CamNetwork, pixels: Tensor, *, amp: torch.dtype | None) -> Tensor:
    """What the classifier sees in whole photos: uint8 (B, h, w, 3) → (B, C) in [0, 1]."""
    with torch.autocast(pixels.device.type, amp, enabled=amp is not None):
        return network(to_input(pixels, amp)).float().sigmoid()


@torch.inference_mode()
def multiscale_maps(
    network: CamNetwork,
    method: MapMethod,
    views: Sequence[Tensor],
    index: Tensor,
    valid: Tensor,
    *,
    grid: tuple[int, int],
    mirrored: Mirrored = True,
    amp: torch.dtype | None = None,
) -> Tensor:
    """Sum over sizes (each map plus its mirror's, or one of them), divided by each class's maximum + 1e-5.

    Args:
        views: the same photos at each scale, uint8 (B, h_s, w_s, 3).
        index, valid: (B, N), the present classes (see `MapMethod.activate`).
        grid: (h, w) of the result; each map is resampled to it bilinearly (half-pixel centres).
        mirrored: whether views are seen mirrored: each as well (True), none (False), every second one ("alternately").
        amp: autocast type for the backbone; the maps themselves are float32.

    Returns:
        (B, N, h, w) float32 in [0, 1).
    """
    total = torch.zeros((*index.shape, *grid), device=index.device)
    for i, pixels in enumerate(views):
        both, turned = mirrored is True, mirrored == "alternately" and i % 2 == 1
        x = to_input(pixels, amp, (False, True) if both else (turned,))  # (B or 2B, 3, h_s, w_s)
        places, used = (torch.cat([index, index]), torch.cat([valid, valid])) if both else (index, valid)
        with torch.autocast(x.device.type, amp, enabled=amp is not None):
            maps = method.activate(network, x, places, used)
        if both:
            straight, back = maps.chunk(2)
            maps = straight + back.flip(-1)
        elif turned:
            maps = maps.flip(-1)
        total += F.interpolate(maps, size=grid, mode="bilinear", align_corners=False)
    return normalise_maps(total)
