"""Advice about mask values that are not class indices."""

from __future__ import annotations

import numpy as np


def advice(values: np.ndarray, what: str, limit: int) -> str:
    """What to do about the values of one mask, integers (N,), of which at least one is not in 0..limit-1.

    what: "truth" or "prediction" decides which option is named; anything else gives only a question.
    """
    if what not in ("truth", "prediction") or values.min() < 0:
        return "is this the right class list?"
    option = "--truth-map" if what == "truth" else "--pred-map"
    found, pixels = np.unique(values, return_counts=True)
    odd = [int(value) for value in found if value >= limit]
    if odd[-1] == 65_535:
        return "if 65535 marks pixels that do not count, give --ignore 65535"
    if odd in ([254], [250]):
        return f"if it marks pixels that do not count, give {option} {odd[0]}=ignore"
    extreme = pixels[(found <= 32) | ((found >= 223) & (found <= 255))].sum() / pixels.sum()
    if found.max() <= 255 and len(found) > 2 and extreme > 0.8 and (found >= 223).any():
        kind = "it looks like a black and white mask that was resized or saved as JPEG"
        return f"{kind}: {option} 0-127=background,128-255=CLASS"
    if len(found) > max(64, limit):
        return f"it has {len(found)} different values, as a photo or a resized mask does, and class indices do not"
    rest = "" if what == "prediction" else " (the ignored value stays ignored unless it is listed too)"
    gaps = " (COCO's category ids have gaps)" if limit == 81 and odd[-1] <= 90 else ""
    some = ",".join(f"{value}=CLASS" for value in odd[:4]) + (",..." if len(odd) > 4 else "")
    return f"is this the right class list? If so, give the meaning of its values{gaps}: {option} {some}{rest}"
