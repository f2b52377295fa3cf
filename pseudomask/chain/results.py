"""Summarise a step's result: a few values for chain.json, and a few words for the table."""

from __future__ import annotations

from typing import Any

from pseudomask.quoting import count
from pseudomask.running.jsonable import json_object

_FACTS = (
    "photos",
    "held_out",
    "classes",
    "steps",
    "steps_planned",
    "held_out_loss",
    "held_out_precision",
    "held_out_miou",
)


def keep(result: Any) -> dict[str, Any]:
    """Plain values of any verb's result; after a dry run, those that are known."""
    if hasattr(result, "facts"):
        kept = {name: result.facts[name] for name in _FACTS if name in result.facts}
        problems = [finding.to_json() for finding in result.findings]
        return json_object(kept | {"tag_problems": problems, "doubts": list(result.doubts)})
    if hasattr(result, "threshold_from"):
        made = {"masks": result.skipped if result.understood else result.done, "failed": result.failed}
        made |= {"threshold": result.threshold, "threshold_from": result.threshold_from}
        return made | ({"threshold_afterwards": result.scores_threshold} if hasattr(result, "scores_threshold") else {})
    if hasattr(result, "report"):
        report = result.report
        found = {"mean_iou": report.mean_iou, "images": report.protocol.images, "threshold": report.protocol.threshold}
        return json_object(found | {"threshold_source": report.protocol.threshold_source})
    if hasattr(result, "page"):
        return {"images": result.page.images, "failed": result.failed, "doubtful": result.doubtful}
    if hasattr(result, "counts"):
        return {"prototypes": {name: list(pair) for name, pair in result.counts.items()}}
    if hasattr(result, "splits"):
        return {"exported": sum(result.splits.values()), "failed": len(result.failures), "format": result.format}
    return {}


def short(results: dict[str, Any]) -> str:
    """A result in a few words."""
    if results.get("mean_iou") is not None:
        return f"mIoU {100 * results['mean_iou']:.1f}"
    if isinstance(results.get("held_out_precision", "held_out_miou"), float):
        return f"AP {results['held_out_precision']:.3f}"
    if isinstance(results.get("held_out_miou"), float):
        return f"mIoU {100 * results['held_out_miou']:.1f} with pseudo masks"
    for name, shown in (("masks", "mask"), ("exported", None), ("images", "image")):
        if name in results:
            failed = f", {results['failed']} failed" if results.get("failed") else ""
            number = f"{results[name]:,} exported" if shown is None else count(results[name], shown)
            return f"{number}{failed}"
    return ""
