"""How many of the classifier's own tags are right, on photos unlike those of its training.

    python -m benchmarks.predicted_tags IMAGES LABELS [--weights FILE] [--map TAG=CLASS,…] [--seen 100]

Every photo is seen once, whole, as `extract` sees it where no tags are given (float32). Tags that are none of the
weights' classes are left out. The table counts the tags predicted, those that are right, and those that the labels
have, for the classes with at least `--seen` photos in training and for the others: at the thresholds of the weights'
card, and with no threshold below 0.6 to 0.9.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from pseudomask.config import LabelOptions
from pseudomask.data.collection import align_tags, collect, need_tags
from pseudomask.networks.checkpoint import load_network
from pseudomask.networks.store import find_weights
from pseudomask.training.split import paths, tag_matrix
from pseudomask.training.validation import whole_photo

FLOORS = (0.0, 0.6, 0.7, 0.8, 0.9)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--map")
    parser.add_argument("--seen", type=int, default=100)
    options = parser.parse_args()
    network, card = load_network(find_weights(options.weights))
    network.eval()
    settings = LabelOptions(labels=options.labels, map=options.map, unknown_tags="drop")
    collection = need_tags(align_tags(collect(options.images, settings), card.classes))
    truth = tag_matrix(collection) > 0
    rows = []
    for path in paths(collection):
        photo = whole_photo(path)
        assert photo is not None, path
        rows.append(network(network.backbone.normalisation.to_input(photo[None], None)).sigmoid()[0])
    probability = torch.stack(rows).double().numpy()
    thresholds = np.array(card.tag_thresholds or (0.5,) * len(card.classes))
    seen = np.array([card.training.get("photos_per_class", {}).get(name, 0) for name in card.classes])
    print(f"{len(rows)} photos\n\n| lowest threshold | classes | predicted | right | in the labels |")
    print("| --- | --- | --- | --- | --- |")
    for floor in FLOORS:
        found = probability > np.maximum(thresholds, floor)
        for which, name in ((seen >= options.seen, "often seen"), (seen < options.seen, "others")):
            counts = found[:, which].sum(), (found & truth)[:, which].sum(), truth[:, which].sum()
            print(f"| {floor or 'the card’s'} | {which.sum()} {name} | {' | '.join(str(int(n)) for n in counts)} |")


if __name__ == "__main__":
    main()
