"""The kind of class map (`--cam`) where none is named, and the prototypes that come with pseudomask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pseudomask.config import ExtractConfig
from pseudomask.config.quality import QUALITIES, USUAL
from pseudomask.maps.cams.lpcam import LpCam, bundled_for
from pseudomask.maps.cams.plain import Plain
from pseudomask.networks.card import Card
from pseudomask.networks.network import CamNetwork


def with_cam(
    config: ExtractConfig, given: ExtractConfig, earlier: Mapping[str, Any] | None, network: CamNetwork, card: Card
) -> ExtractConfig:
    """`config` with the kind of map, and for lpcam the prototypes that come with these weights, filled in.

    Args:
        given: the settings before those of the quality were filled in.
        earlier: settings of the run already in the output folder.
        network: not folded.
    """
    cam, prototypes = given.cam or _usual(given, earlier), config.lpcam_prototypes
    if cam == LpCam.name and prototypes is None:
        prototypes = bundled_for(network, card)
        if prototypes is None and given.cam is None:
            cam = Plain.name
    return replace(config, cam=cam, lpcam_prototypes=prototypes)


def _usual(given: ExtractConfig, earlier: Mapping[str, Any] | None) -> str:
    """As the folder was begun, else the quality's where it chooses the method, else plain.

    With weights that `given` names the map is plain too: the quality's may have been made for others.
    """
    if earlier is not None:
        return str(earlier.get("cam") or Plain.name)
    own = given.method or given.recam_weights or given.cpmc_weights != ExtractConfig.cpmc_weights
    return Plain.name if own else QUALITIES[given.quality or USUAL].cam
