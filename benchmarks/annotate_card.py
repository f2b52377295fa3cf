"""Write measured thresholds and figures into the card of trained weights.

    python -m benchmarks.annotate_card WEIGHTS --results benchmarks/results/seeds.json --seed 0 --notes "…"

Thresholds are those that `benchmarks.seeds` chose on its train photos; the weight rule is the one with the
best mIoU on them. Nothing measured on val decides anything here.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pseudomask.networks.checkpoint import read_card, update_card
from pseudomask.training.validation import LEAST_CONFIDENCE

RULES = {"(first)": "first", "(product)": "product", "(second)": "second", "(sum)": "sum"}
PROTOCOL = "7 classes, tags given, threshold chosen on train, 4 scales and flip, benchmarks/seeds.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--notes", default="")
    options = parser.parse_args()
    rows = [row for row in json.loads(options.results.read_text("utf-8")) if row["seed"] == options.seed]
    by_rule = {rule: row for row in rows for mark, rule in RULES.items() if row["map"].endswith(mark)}
    best = max(by_rule, key=lambda rule: by_rule[rule]["train"])
    card = read_card(options.weights)
    quality = [
        {
            "what": f"seed mIoU, {row['map']}",
            "value": {"train": row["train"], "val": row["val"]},
            "protocol": f"VOC 2012 animal subset, train 457 and val 231 photos, {PROTOCOL}",
        }
        for row in by_rule.values()
    ]
    kept = [one for one in card.measured if not str(one.get("what", "")).startswith("seed mIoU")]
    update_card(
        options.weights,
        weight_rule=best,
        thresholds={rule: row["threshold"] for rule, row in by_rule.items()},
        tag_thresholds=tuple(max(LEAST_CONFIDENCE, t) for t in card.tag_thresholds),
        measured=[*kept, *quality],
        notes=options.notes or card.notes,
    )
    print(f"{options.weights}: rule {best}, threshold {by_rule[best]['threshold']}")


if __name__ == "__main__":
    main()
