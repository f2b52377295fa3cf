"""AdvCAM (Lee, Kim, Yoon, CVPR 2021): maps of a photo that is altered step by step to look more like its class.

Each step follows the gradient of y_c − Σ_{k≠c} y_k, minus a penalty for changes where the map is already high; y
are the ReLU'd logits. Follows the public code, but with the same number of iterations at all scales, and without its
factor for small ones: averaging over the iterations weights all scales equally.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor

from pseudomask.maps.cams.variant import Cam, pooled
from pseudomask.networks.card import Card
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork
from pseudomask.running.halving import halving


@dataclass
class AdvCam(Cam):
    """Mean of the plain maps over the iterations.

    Attributes:
        iterations: T maps; the photo changes T − 1 times.
        rate: largest change of a pixel per step, in the network's units.
        mask: share of a map's maximum above which changes are penalised.
        penalty: weight of that penalty.
        together: how many pairs of photo and class are changed at once; shrinks when memory runs out.
    """

    name = "advcam"

    iterations: int = 27
    rate: float = 0.08
    mask: float = 0.5
    penalty: float = 7.0
    together: int = 16

    @classmethod
    def of(cls, config: Any, card: Card) -> Self:
        return cls(config.advcam_iterations, config.advcam_rate, config.advcam_mask, config.advcam_penalty)

    @property
    def gradients(self) -> bool:
        return True

    @property
    def image(self) -> bool:
        return True

    def maps(self, network: CamNetwork, features: Features, weights: Tensor, index: Tensor, valid: Tensor) -> Tensor:
        assert features.image is not None
        image, table = features.image.float(), weights.detach().flatten(1).float()
        pairs = [(int(b), int(n)) for b, n in valid.nonzero()]

        def work(part: Sequence[tuple[int, int]]) -> Sequence[Tensor]:
            rows, places = torch.tensor(part, device=image.device).T
            return self.climb(network, image[rows], table, index[rows, places]).unbind()

        found, self.together = halving(pairs, self.together, work)
        maps = torch.zeros(*index.shape, *features.last.shape[-2:], device=image.device)
        if found:
            maps[valid] = torch.stack(found)
        return maps

    def climb(self, network: CamNetwork, image: Tensor, weights: Tensor, classes: Tensor) -> Tensor:
        """(P, 3, H, W), (C, D), one class each (P,) → the mean of the maps (P, h, w)."""
        low, high = image.amin((1, 2, 3), keepdim=True), image.amax((1, 2, 3), keepdim=True)
        chosen = weights[classes]  # (P, D)
        x, first, total = image.clone(), None, torch.zeros(())
        for step in range(self.iterations):
            last = step == self.iterations - 1
            with torch.set_grad_enabled(not last):
                x.requires_grad_(not last)
                f = network.backbone(x, pyramid=False).last
                with torch.autocast(f.device.type, enabled=False):
                    found = torch.einsum("pd,pdhw->phw", chosen, f.float()).relu()
                    now = found.detach()
                    total = total.to(now) + now
                    if last:
                        break
                    first = now if first is None else first
                    (slope,) = torch.autograd.grad(self.aim(f, weights, classes, found, first).sum(), x)
            slope = slope / slope.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
            x = torch.minimum(torch.maximum(x.detach() + self.rate * slope, low), high)
        return total / self.iterations

    def aim(self, features: Tensor, weights: Tensor, classes: Tensor, found: Tensor, first: Tensor) -> Tensor:
        """The objective of each pair, (P,): photos do not interact, so the gradient of the sum is that of each photo.

        Args:
            found: (P, h, w), the current maps; first: the maps of the unchanged photos.
        """
        y = (pooled(features) @ weights.T).relu()  # (P, C)
        above = found > self.mask * found.amax((1, 2), keepdim=True)
        risen = ((found - first).abs() * above).mean((1, 2))
        return 2 * y.gather(1, classes[:, None])[:, 0] - y.sum(1) - self.penalty * risen
