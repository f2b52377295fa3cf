"""LPCAM (Chen & Sun, CVPR 2023): maps from local prototypes, clustered over all photos of a class.

A_c(p) = ReLU(mean_k cos(f(p), a_k) − mean_k cos(f(p), b_k)): a_k are the centres of the parts of class c, b_k those of
its context. As cosines are linear in unit vectors, this is one direction per class. `pseudomask prototypes` finds the
centres.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from pseudomask.config import WeightRule
from pseudomask.errors import UsageError, WeightsError
from pseudomask.maps.cams.variant import Cam, weighted_maps
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import read_tensors, write_tensors
from pseudomask.networks.edge_weights import backbone_hash
from pseudomask.networks.features import Features
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.store import bundled_prototypes
from pseudomask.running.record import hash_file

KEY = "pseudomask_prototypes"


@dataclass(frozen=True)
class Prototypes:
    """The centres of each class and their provenance.

    Attributes:
        parts, context: (K_c, D) for each class; empty for a class without photos.
        classes: names; `rule`: whose map separated parts from context; `backbone`: hash of the features' backbone.
        made: the settings used to make them.
    """

    parts: tuple[Tensor, ...]
    context: tuple[Tensor, ...]
    classes: tuple[str, ...]
    rule: str
    backbone: str
    made: Mapping[str, Any]

    @property
    def directions(self) -> Tensor:
        """(C, D): the mean unit vector of a class's parts, minus that of its context."""
        return torch.stack([_mean(a) - _mean(b) for a, b in zip(self.parts, self.context, strict=True)])

    def save(self, path: Path) -> None:
        """Write a safetensors file atomically."""
        named = {f"parts.{c}": one for c, one in enumerate(self.parts)}
        named |= {f"context.{c}": one for c, one in enumerate(self.context)}
        facts = {"classes": self.classes, "rule": self.rule, "backbone": self.backbone, "made": dict(self.made)}
        write_tensors(path, named, {KEY: json.dumps(facts)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load a file. Raises `WeightsError` if it contains no prototypes."""
        tensors, metadata = read_tensors(path)
        try:
            facts = json.loads(metadata[KEY])
            classes = tuple(str(name) for name in facts["classes"])
            parts, context = (
                tuple(tensors[f"{kind}.{c}"].float() for c in range(len(classes))) for kind in ("parts", "context")
            )
            found = cls(parts, context, classes, str(facts["rule"]), str(facts["backbone"]), dict(facts["made"]))
            if not classes or any(one.dim() != 2 or not one.isfinite().all() for one in (*parts, *context)):
                raise ValueError
            _ = found.directions
        except (KeyError, ValueError, TypeError, RuntimeError, RecursionError):
            raise WeightsError(
                f"{path}: not a prototypes file; make one with `pseudomask prototypes IMAGES {path.name} --labels FILE`"
            ) from None
        return found


@dataclass(frozen=True)
class LpCam(Cam):
    """ReLU(cos(f(p), parts) − cos(f(p), context)), means over the centres; the plain map for a class without any.

    Attributes:
        path: the prototypes file.
    """

    name = "lpcam"

    prototypes: Prototypes
    path: Path

    @classmethod
    def of(cls, config: Any, card: Card) -> Self:
        path = config.lpcam_prototypes
        if path is None:
            raise UsageError(
                "--cam lpcam needs prototypes; make them with `pseudomask prototypes IMAGES prototypes.safetensors "
                "--labels FILE` and give --lpcam-prototypes prototypes.safetensors"
            )
        if not path.is_file():
            raise WeightsError(f"{path}: no such file; make it with `pseudomask prototypes`")
        found = Prototypes.load(path)
        if found.classes != card.classes:
            raise WeightsError(
                f"{path}: prototypes of other classes than the weights have; make them with `pseudomask prototypes "
                "--weights FILE` and these weights"
            )
        return cls(found, path)

    @property
    def default_threshold(self) -> float:
        return 0.24  # between the best values on train for w and for w″ (docs/cam-variants.md)

    def check(self, network: CamNetwork, rule: WeightRule) -> None:
        if backbone_hash(network.backbone) != self.prototypes.backbone:
            raise WeightsError(
                f"{self.path}: prototypes of another backbone than these weights have; make them with `pseudomask "
                "prototypes --weights FILE` and these weights"
            )
        if rule != self.prototypes.rule:
            raise WeightsError(
                f"{self.path}: prototypes of the weight rule {self.prototypes.rule}, but this run uses {rule}; make "
                f"them with `pseudomask prototypes --recam-weights {rule}`"
            )

    @property
    def made_for(self) -> WeightRule:
        rule: WeightRule = self.prototypes.rule  # type: ignore[assignment]
        return rule

    def facts(self) -> dict[str, str]:
        return {"prototypes_sha256": hash_file(self.path)}

    def maps(self, network: CamNetwork, features: Features, weights: Tensor, index: Tensor, valid: Tensor) -> Tensor:
        chosen = self.prototypes.directions.to(index.device)[index]  # (B, N, D)
        length = torch.linalg.vector_norm(features.last, dim=1, keepdim=True).float().clamp(min=1e-12)
        maps: Tensor = weighted_maps(features.last, chosen) / length
        bare = torch.tensor([len(one) == 0 for one in self.prototypes.parts], device=index.device)[index]  # (B, N)
        if bool((bare & valid).any()):
            maps = torch.where(bare[..., None, None], weighted_maps(features.last, weights.flatten(1)[index]), maps)
        return maps


def bundled_for(network: CamNetwork, card: Card) -> Path | None:
    """The prototypes that come with pseudomask for these classes and this backbone (not folded), or None."""
    found = ((path, Prototypes.load(path)) for path in bundled_prototypes())
    fitting = [(path, one.backbone) for path, one in found if one.classes == card.classes]
    own = backbone_hash(network.backbone) if fitting else ""
    return next((path for path, backbone in fitting if backbone == own), None)


def _mean(centres: Tensor) -> Tensor:
    """(K, D) → (D,), the mean of the unit vectors, or 0 if there are none."""
    return F.normalize(centres, dim=1).sum(0) / max(1, len(centres))
