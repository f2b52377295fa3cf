"""`--amp int8`: the ranges of a run's 8-bit network, shared by all of its processes and by the runs that resume it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pseudomask.config import ExtractConfig
from pseudomask.config.roles import defaults
from pseudomask.data.ranges import spread
from pseudomask.data.survey import not_decided
from pseudomask.extracting.engine import Engine
from pseudomask.extracting.photos import Photos
from pseudomask.networks.int8 import SMALL, observing, quantise_resnet, recorded_ranges, settled
from pseudomask.quoting import count
from pseudomask.running.ranks import Ranks
from pseudomask.running.record import RunRecord, compare_records
from pseudomask.running.reporter import Reporter

RANGES = "int8"
"""Where a record's `protocol` has the ranges; None before they are known."""
NOT_CALIBRATED: dict[str, Any] = {f"protocol.{RANGES}": None}
"""In the record of a run none of whose photos could be read; any ranges are compatible with it."""
_PHOTOS = 4


def looked_at(photos: int) -> list[int]:
    """Positions of a run's photos in the order in which they serve to calibrate, as many as can be read: evenly spread
    ones first, as neighbours in a folder are often alike."""
    first = list(spread(range(photos), _PHOTOS))
    return [*first, *(i for i in range(photos) if i not in first)]


def earlier_ranges(earlier: RunRecord | None) -> dict[str, Any]:
    """What a record says of the ranges until they are settled."""
    return {RANGES: None if earlier is None else earlier.protocol.get(RANGES)}


def to_int8(engine: Engine, photos: Photos, record: RunRecord, team: Ranks, reporter: Reporter, *, anew: bool) -> None:
    """Let the engine's network compute in 8 bits, with the ranges in `record` or, where it has none, new ones.

    Args:
        photos: to calibrate on, best first. If none can be read, the network stays as it is: it will see none.
        anew: the ranges in `record` are those of other settings.
    """
    backbone = engine.network.backbone

    def settle() -> dict[str, float]:
        # A run that is resumed keeps its ranges: by now, its photos may be others.
        known = None if anew else recorded_ranges(record.protocol[RANGES], backbone)
        return known or _measured(engine, photos, reporter)

    ranges = team.by_first(settle)
    if ranges:
        record.protocol[RANGES] = ranges
        quantise_resnet(backbone, SMALL, ranges)


def resumes(record: RunRecord, earlier: RunRecord | None, fields: Sequence[str]) -> bool:
    """Whether a run continues an earlier one (`fields` as in `FolderRun`)."""
    if earlier is None:
        return False
    rules: dict[str, Any] = {"defaults": defaults(ExtractConfig), "earlier": not_decided(earlier.config)}
    return not compare_records(earlier, record, fields, **rules)


def _measured(engine: Engine, photos: Photos, reporter: Reporter) -> dict[str, float]:
    seen = 0
    with observing(engine.network.backbone, SMALL) as found:
        for i in range(len(photos)):
            photo = photos[i]
            if not photo.problem:
                engine.show(photo)
                seen += 1
            if seen == _PHOTOS:
                break
    if seen:
        reporter.info(f"calibrated the 8-bit network on {count(seen, 'photo')}")
    return settled(found)
