"""A tiny network of each of timm's families, registered as timm's own are; and the table of docs/networks.md."""

from __future__ import annotations

from collections import deque
from typing import Any

import timm
from timm.models import DefaultCfg, model_entrypoint, register_model

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet": ("resnet50", {"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16)}),
    "ConvNeXt": ("convnext_tiny", {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}),
    "Swin": (
        "swin_tiny_patch4_window7_224",
        {"embed_dim": 8, "depths": (1, 1, 2, 1), "num_heads": (1, 1, 2, 2), "img_size": 56, "window_size": 2},
    ),
    "ViT": ("vit_tiny_patch16_224", {"embed_dim": 24, "depth": 4, "num_heads": 2, "img_size": 64}),
    "DeiT": ("deit_tiny_distilled_patch16_224", {"embed_dim": 24, "depth": 4, "num_heads": 2, "img_size": 64}),
    "EVA": ("eva02_tiny_patch14_224", {"embed_dim": 24, "depth": 4, "num_heads": 2, "img_size": 56}),
    "DINOv2": ("vit_small_patch14_dinov2", {"embed_dim": 24, "depth": 4, "num_heads": 2, "img_size": 70}),
    "DINOv3": ("vit_small_patch16_dinov3", {"embed_dim": 32, "depth": 4, "num_heads": 2}),
    "DINOv3 ConvNeXt": ("convnext_tiny.dinov3_lvd1689m", {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}),
}
"""Family, as in the table → a network of it, and what makes it tiny."""

default_cfgs: dict[str, DefaultCfg] = {}
NAMES: dict[str, str] = {}
"""Family → the `--backbone` of its tiny network."""


def _register(real: str, small: dict[str, Any]) -> str:
    architecture, _, tag = real.partition(".")
    told = timm.get_pretrained_cfg(real)
    name = f"tiny_{architecture}" + (f"_{tag}" if tag else "")

    def entry(pretrained: bool = False, **more: Any) -> Any:
        made: Any = model_entrypoint(architecture)
        return made(pretrained=pretrained, **small | more)

    entry.__name__ = name
    default_cfgs[name] = DefaultCfg(tags=deque([told.tag]), cfgs={told.tag: told})
    register_model(entry)
    return f"timm:{name}"


for _family, (_real, _small) in FAMILIES.items():
    NAMES[_family] = _register(_real, _small)
