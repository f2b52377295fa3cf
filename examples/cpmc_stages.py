"""CPMC step by step: photo, classifier, refined map, prototype map, where they disagree, result, mask.

    python examples/cpmc_stages.py examples/photos examples/photos.csv docs/cpmc-stages.jpg

Each photo is seen once, at its own size, unmirrored, with both kinds of local prototypes at work.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from picture import heat, jpeg, strip, tile
from PIL import Image
from torch import Tensor

from pseudomask.config import ExtractConfig
from pseudomask.data.collection import align_tags, collect
from pseudomask.data.decoding import decode
from pseudomask.data.pixels import IMAGENET, resize
from pseudomask.extracting.photos import working_size
from pseudomask.maps import card_rule
from pseudomask.maps.cpmc import Cpmc, CpmcSettings
from pseudomask.masks import overlay
from pseudomask.networks.card import Card
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.network import CamNetwork
from pseudomask.networks.store import find_weights

KEYS = ("cat_chelsea", "dog_retriever", "person_hopper", "person_astronaut")
SETTINGS = CpmcSettings(features="hierarchical", complete=1.0, suppress=0.3, target="argmax")
MISSING, NOISE = (40, 200, 60), (230, 40, 40)
WIDTH = 1400  # pixels


def whole(plane: Tensor, size: tuple[int, int]) -> np.ndarray:
    """A plane (h, w) in [0, 1] at full size, float32 (H, W)."""
    return np.asarray(cv2.resize(plane.float().numpy(), size[::-1], interpolation=cv2.INTER_LINEAR)).clip(0, 1)


def regions(photo: np.ndarray, missing: Tensor, noise: Tensor) -> np.ndarray:
    """The photo in grey with false negatives in green and false positives in red."""
    picture = cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    for plane, colour in ((missing, MISSING), (noise, NOISE)):
        where = cv2.resize(plane.numpy().astype(np.uint8), photo.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
        picture[where] = (0.4 * picture[where] + 0.6 * np.array(colour)).astype(np.uint8)
    return picture


def row(photo: np.ndarray, network: CamNetwork, card: Card, place: int, threshold: float) -> list[Image.Image]:
    """The tiles of one photo and one class."""
    size = (photo.shape[0], photo.shape[1])
    small = torch.from_numpy(resize(photo, working_size(size, ExtractConfig.max_side)))
    index, valid = torch.tensor([[place]]), torch.ones(1, 1, dtype=torch.bool)
    with torch.inference_mode():
        seen = network.backbone(IMAGENET.to_input(small[None]))
        found = Cpmc(SETTINGS, card_rule(card)).stages(network, seen, index, valid)
    result = whole(found.output[0, 0], size)
    return [
        tile(photo, "photo"),
        tile(heat(photo, whole(found.classifier[0, 0], size)), f"classifier: {card.classes[place]}"),
        tile(heat(photo, whole(found.refined[0, 0], size)), "refined by context"),
        tile(heat(photo, whole(found.prototype[0, 0], size)), "prototype"),
        tile(regions(photo, found.regions.negative[0, 0], found.regions.positive[0, 0]), "missing, noise"),
        tile(heat(photo, result), "calibrated"),
        tile(overlay(photo, ((result > threshold) * (place + 1)).astype(np.uint8)), "mask"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("picture", type=Path, help="JPEG to write")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--keys", nargs="+", default=KEYS, help="photos to show, a row each")
    options = parser.parse_args()
    network, card = load_network(find_weights(options.weights))
    config = ExtractConfig(images=options.photos, out=Path(), labels=options.labels)
    collection = align_tags(collect(config.images, config), card.classes)
    items = {item.key: item for item in collection.items}
    threshold = card.thresholds.get("cpmc", 0.5)
    rows = []
    for key in options.keys:
        tags = (collection.tags or {}).get(key)
        if not tags:
            raise SystemExit(f"error: {key} is no photo with tags in {options.photos}")
        rows.append(row(decode(items[key].path), network, card, tags[0], threshold))
    picture = strip(rows)
    picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    options.picture.write_bytes(jpeg(picture))


if __name__ == "__main__":
    main()
