"""The result of examples/closes_the_loop.sh: tables for people, and recipe.json in its folder.

python benchmarks/recipe.py OUT [SEED ...]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any


def read(out: Path, seeds: list[int]) -> dict[str, Any]:
    """What OUT's reports and logs hold: the masks, and both networks of each seed, mIoU and IoU in per cent."""
    networks = {which: [_measured(out / f"{which}{seed}" / "val.json") for seed in seeds] for which in ("tags", "true")}
    means = {which: mean(one["miou"] for one in found) for which, found in networks.items()}
    return {
        "masks": {**_measured(out / "masks.json"), **_refined(out / "masks" / "run.json")},
        "seeds": seeds,
        "networks": networks,
        "miou": {which: round(value, 2) for which, value in means.items()},
        "ratio": round(means["tags"] / means["true"], 3) if means["true"] else None,
        "logs": {f"{which}{seed}": _log(out / f"{which}{seed}") for which in networks for seed in seeds},
    }


def _measured(report: Path) -> dict[str, Any]:
    found = json.loads(report.read_text("utf-8"))
    return {
        "miou": round(100 * found["mean_iou"], 2),
        "images": found["protocol"]["images"],
        "iou": {row["name"]: _per_cent(row["iou"]) for row in found["classes"] if row["in_mean"]},
    }


def _per_cent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 1)


def _refined(record: Path) -> dict[str, Any]:
    protocol = json.loads(record.read_text("utf-8"))["protocol"]
    return {name: protocol[name] for name in ("threshold", "threshold_chosen") if name in protocol}


def _log(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]


def tables(result: dict[str, Any]) -> str:
    """The same as Markdown: mIoU and the ratio, then the mean over seeds of each class."""
    networks = result["networks"]
    lines = ["| trained on | val mIoU | share of true masks' |", "| --- | --- | --- |"]
    for which, name in (("tags", "masks from tags"), ("true", "true masks")):
        each = ", ".join(f"{one['miou']:.1f}" for one in networks[which])
        detail = f" ({each})" if len(networks[which]) > 1 else ""
        ratio = 1.0 if which == "true" else result["ratio"]
        lines.append(f"| {name} | {result['miou'][which]:.1f}{detail} | {'-' if ratio is None else f'{ratio:.3f}'} |")
    lines += ["", "| class | masks from tags, on train | network of tags | network of true masks |"]
    lines += ["| --- | --- | --- | --- |"]
    for name, iou in result["masks"]["iou"].items():
        of = [[iou], *([one["iou"][name] for one in networks[which]] for which in ("tags", "true"))]
        lines.append(f"| {name} | " + " | ".join("-" if None in each else f"{mean(each):.1f}" for each in of) + " |")
    means = [result["masks"]["miou"], result["miou"]["tags"], result["miou"]["true"]]
    lines.append("| mean | " + " | ".join(f"{miou:.1f}" for miou in means) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="the folder that closes_the_loop.sh filled")
    parser.add_argument("seeds", type=int, nargs="*", default=[0])
    options = parser.parse_args()
    result = read(options.out, options.seeds)
    (options.out / "recipe.json").write_text(json.dumps(result, indent=1) + "\n")
    print(tables(result))


if __name__ == "__main__":
    main()
