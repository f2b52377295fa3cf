"""What the page of a chain shows: what was measured beside what was published, spread, data and steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pseudomask.chain.overrides import told
from pseudomask.chain.record import Entry
from pseudomask.chain.spread import IOU, Spread, measured
from pseudomask.chain.steps import Chain
from pseudomask.quoting import count, duration
from pseudomask.running.record import package_versions
from pseudomask.running.shown import Section, Tables


def tables(chain: Chain, entries: Sequence[Entry], found: Sequence[Spread]) -> Tables:
    """The tables of what is there so far; `found`: the numbers of `entries`."""
    repeats = 1 + max((step.repeat for step in chain.steps), default=0)
    notes = doubts(chain)
    if repeats > 1:
        notes.append(f"Numbers are means over {repeats} seeds, ± their standard deviation, and their range.")
    sections = [_beside(chain, entries, found), _by_class(found), _others(found)]
    sections += [_data(chain), _steps(entries), _made_with(entries)]
    return Tables(f"{chain.file}, in {chain.out}", [section for section in sections if section.rows], notes)


def doubts(chain: Chain) -> list[str]:
    """Why numbers may not be compared with published ones."""
    partial = "The data was not complete, so that no number here can be compared with a published one."
    return [*([partial] if chain.partial else []), *told(chain.steps)]


def comparisons(chain: Chain, found: Sequence[Spread]) -> Iterator[str]:
    """A line per evaluation that has a published number or several values: for the terminal."""
    steps = {step.label: step for step in chain.steps}
    for one in found:
        step = steps[one.step]
        if one.number == "mean_iou" and (step.published is not None or len(one.values) > 1):
            spread = f" ({count(len(one.values), 'seed')}: {one.span})" if one.span else ""
            other = f"; published {step.published}: {step.protocol}" if step.published is not None else ""
            yield f"{one.step}: mIoU {one}{spread}{other}"


def _beside(chain: Chain, entries: Sequence[Entry], found: Sequence[Spread]) -> Section:
    by_step = {one.step: one for one in found if one.number == "mean_iou"}
    reports = {entry["step"]: measured(entry) for entry in entries if entry["step"] in by_step}
    rows = []
    for step in chain.steps:
        one = by_step.get(step.label)
        if step.verb.name != "evaluate" or step.repeat:
            continue
        protocol = reports.get(step.label, {}).get("protocol", {})
        published = "" if step.published is None else str(step.published)
        rows.append([step.label, str(one or ""), one.span if one else "", _told(protocol), published, step.protocol])
    header = ["", "mean IoU, %", "range", "measured on", "published, %", "how that was measured"]
    return Section("Measured and published", header, rows)


def _told(protocol: dict[str, object]) -> str:
    if not protocol:
        return ""
    threshold = protocol.get("threshold")
    classes = protocol.get("classes_in_mean")
    parts = [
        f"{protocol.get('images')} photos ({protocol.get('listed') or 'all pairs found'})",
        f"{len(classes)} classes in the mean" if isinstance(classes, list) else "",
        f"{protocol.get('kind')}" + ("" if threshold is None else f", threshold {threshold:g}"),
        f"{protocol.get('threshold_source')}",
    ]
    return "; ".join(part for part in parts if part)


def _by_class(found: Sequence[Spread]) -> Section:
    some = [one for one in found if one.number.startswith(IOU)]
    steps = list(dict.fromkeys(one.step for one in some))
    cells = {(one.number, one.step): str(one) for one in some}
    names = dict.fromkeys(one.number for one in some)
    rows = [[name.removeprefix(IOU), *(cells.get((name, step), "") for step in steps)] for name in names]
    return Section("IoU by class, in percent", ["class", *(step.removeprefix("evaluate ") for step in steps)], rows)


def _others(found: Sequence[Spread]) -> Section:
    rows = [
        [one.step, one.number.replace("_", " ") + (", %" if one.share else ""), str(one), one.span]
        for one in found
        if one.number != "mean_iou" and not one.number.startswith(IOU)
    ]
    return Section("Other numbers", ["step", "number", "value", "range"], rows)


def _data(chain: Chain) -> Section:
    rows = []
    for part in chain.found:
        expected = "" if part["expected"] is None else f"{part['expected']:,}"
        there = (
            "missing" if part["found"] is None and part["problem"] else f"{part['found']:,}" if part["found"] else "yes"
        )
        rows.append([str(part["path"]), expected, there, str(part["from"])])
    return Section("Data", ["", "expected", "there", "from"], rows)


def _steps(entries: Sequence[Entry]) -> Section:
    rows = [
        [entry["step"], entry["status"], duration(entry["seconds"]) if entry["seconds"] else "", entry["place"]]
        for entry in entries
    ]
    return Section("Steps", ["step", "status", "time", "place"], rows)


def _made_with(entries: Sequence[Entry]) -> Section:
    devices = dict.fromkeys(str(entry["config"]["device"]) for entry in entries if "device" in entry["config"])
    rows = [["device", ", ".join(devices)], *([name, version] for name, version in package_versions().items())]
    return Section("Made with", ["", ""], [row for row in rows if row[1] not in ("", "absent")])
