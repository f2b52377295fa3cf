"""The protocol of a measurement, which must accompany every result."""

from __future__ import annotations

from dataclasses import dataclass

from pseudomask.quoting import listed


@dataclass(frozen=True)
class Protocol:
    """How the result was measured; printed beside it.

    Attributes:
        images: number of pairs measured; `listed`: name of the list file, or None for all pairs found.
        threshold: the background threshold, if known; `threshold_source`: "given", "chosen on this truth" (the best
            of several, so optimistic for these images) or "from the masks".
        reviewed: what --review left out, in words, or "".
        absent: classes of the mean that are in neither truth nor prediction, and therefore not counted.
        not_in_mean: classes that the caller excluded. `without_truth`, `without_prediction`: keys not measured.
        threshold_chosen: how the masks' threshold was chosen, from their record.
        classes_named: whether there is a class list.
        truth_read_as, predictions_read_as: how the numbers or colours in the files were interpreted.
        ignored_share, predicted_ignored_share: share of ignored pixels in truth and masks, in [0, 1].
        images_without_counted_pixels: number of images in which every pixel is ignored.
    """

    images: int
    kind: str
    listed: str | None
    threshold: float | None
    threshold_source: str
    thresholds_tried: int
    ignore: str
    resolution: str
    classes_in_mean: tuple[str, ...]
    absent: tuple[str, ...]
    not_in_mean: tuple[str, ...]
    without_truth: tuple[str, ...]
    without_prediction: tuple[str, ...]
    threshold_chosen: str = ""
    classes_named: bool = True
    truth_read_as: str = "class indices"
    predictions_read_as: str = "class indices"
    ignored_share: float = 0.0
    predicted_ignored_share: float = 0.0
    images_without_counted_pixels: int = 0
    reviewed: str = ""

    def lines(self) -> list[tuple[str, str]]:
        """(label, value) for people; long lists are counted, not printed."""
        threshold = "" if self.threshold is None else f"{self.threshold:g}, "
        tried = f" among {self.thresholds_tried}" if self.thresholds_tried > 1 else ""
        by = f" ({self.threshold_chosen})" if self.threshold_chosen else ""
        ignored = f" ({100 * self.ignored_share:.1f} % of the pixels)" if self.ignored_share else ""
        out = [
            ("images", f"{self.images} ({'all pairs found' if self.listed is None else self.listed})"),
            *([("review", self.reviewed)] if self.reviewed else []),
            ("measured", self.kind),
            ("threshold", f"{threshold}{self.threshold_source}{by}{tried}"),
            ("ignore", f"{self.ignore}{ignored}"),
            ("resolution", self.resolution),
            ("classes in mean", f"{len(self.classes_in_mean)}: {listed(self.classes_in_mean, 8)}"),
        ]
        for label, read_as in (("truth", self.truth_read_as), ("predictions", self.predictions_read_as)):
            if read_as != "class indices":
                out.append((f"{label} read as", read_as))
        absent = self.absent if self.classes_named else ()
        for label, names, most in (
            ("absent, left out", absent, 8),
            ("without truth", self.without_truth, 3),
            ("without prediction", self.without_prediction, 3),
        ):
            if names:
                out.append((label, f"{len(names)}: {listed(names, most)}"))
        return out
