"""The kind of class map (`--cam`) where the quality leaves it to the weights, and the prototypes bundled for them."""

from __future__ import annotations

from dataclasses import replace

from pseudomask.config import ExtractConfig
from pseudomask.maps.cams.lpcam import LpCam, bundled_for
from pseudomask.maps.cams.plain import Plain
from pseudomask.networks.card import Card
from pseudomask.networks.network import CamNetwork


def with_cam(config: ExtractConfig, network: CamNetwork, card: Card) -> ExtractConfig:
    """`config` with the kind of map filled in, and for lpcam the prototypes that come with these weights, if any.

    Args:
        config: with the quality's settings filled in (`settle_quality`).
        network: not folded.
    """
    prototypes = config.lpcam_prototypes
    if prototypes is None and config.cam in (None, LpCam.name):
        prototypes = bundled_for(network, card)
    usual = Plain.name if prototypes is None else LpCam.name
    return replace(config, cam=config.cam or usual, lpcam_prototypes=prototypes)
