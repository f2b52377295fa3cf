"""One photo through refinement: photo, seed, random walk, CRF on top of it.

    pseudomask extract --method cpmc --refine none examples/photos seeds --labels examples/photos.csv
    python examples/refinement.py seeds examples/photos docs/refinement.jpg --affinity runs/affinity/weights.safetensors

The affinity weights are those of `train-affinity`; without them the walk's column is left out.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from picture import jpeg, strip, tile
from PIL import Image

from pseudomask.config import RefineConfig
from pseudomask.data.decoding import decode
from pseudomask.masks import overlay
from pseudomask.refining import REFINERS
from pseudomask.refining.refiner import Refined
from pseudomask.refining.seeds import match_photos, read_seeds
from pseudomask.scores import load_scores

KEYS = ("dog_retriever",)


def row(path: Path, seed: Refined, config: RefineConfig) -> list[Image.Image]:
    """The tiles of one photo."""
    photo = decode(path)
    found = {"seed": seed}
    if config.affinity is not None:
        found["random walk"] = REFINERS["walk"](config).refine(photo, *seed)
    last = found.get("random walk", seed)
    found["walk and CRF" if config.affinity is not None else "CRF"] = REFINERS["crf"](config).refine(photo, *last)
    masks = [tile(overlay(photo, one.scores.mask(one.threshold)), name) for name, one in found.items()]
    return [tile(photo, "photo"), *masks]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("seeds", type=Path, help="folder that extract wrote")
    parser.add_argument("photos", type=Path)
    parser.add_argument("picture", type=Path, help="JPEG to write")
    parser.add_argument("--affinity", type=Path, help="weights of train-affinity")
    parser.add_argument("--walk-threshold", type=float, default=RefineConfig.walk_threshold)
    parser.add_argument("--keys", nargs="+", default=KEYS, help="photos to show, a row each")
    options = parser.parse_args()
    config = RefineConfig(images=options.photos, seeds=options.seeds, out=Path("none"))
    config = replace(config, affinity=options.affinity, walk_threshold=options.walk_threshold)
    seeds = read_seeds(options.seeds, None)
    items = {item.key: item for item in match_photos(config, seeds).items}
    if missing := [key for key in options.keys if key not in items]:
        raise SystemExit(f"error: {missing[0]} is no photo with scores in {options.seeds}")
    rows = [
        row(items[key].path, Refined(load_scores(seeds.scores(key)), seeds.threshold or 0.5), config)
        for key in options.keys
    ]
    options.picture.write_bytes(jpeg(strip(rows)))


if __name__ == "__main__":
    main()
