"""The table of `benchmarks.stages`: photos a second by stage and number of processes, and which stage is slowest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

DECODE, VIEWS, STACK, NETWORK, MAPS, WRITE = "decode", "views", "stack + copy", "network", "maps", "encode + write"
BOTH, PROCESSORS = "decode, then views", "N processors"

Rate = tuple[float, bool]
"""Photos a second, and whether that is arithmetic."""


def scaled(measured: dict[int, float], n: int) -> Rate:
    """The rate of n processes or threads, or n times that of one."""
    return (measured[n], False) if n in measured else (measured[1] * n, True)


def chained(*rates: Rate) -> Rate:
    """Of stages that follow each other in one place."""
    return 1 / sum(1 / rate for rate, _ in rates), True


def analyse(found: dict[str, Any], columns: Sequence[int]) -> dict[str, dict[int, Rate]]:
    """The rows of the table, each by number of processes; `found` gets each method's slowest stage."""
    workers = found["workers"]
    rows = {stage: {n: scaled(workers[stage], n) for n in columns} for stage in (DECODE, VIEWS)}
    rows[BOTH] = {n: chained(rows[DECODE][n], rows[VIEWS][n]) for n in columns}
    for method, one in found["methods"].items():
        own, device = _of_device(found, one["seconds"])
        threads = {1: 1} | one["threads"]
        write = {n: scaled(one[WRITE], threads[n]) for n in columns}
        # on a CPU the thread that stacks computes too
        chain = [*([STACK] if found["target"] == "cpu" else []), *device]
        table = {stage: dict.fromkeys(columns, own[stage]) for stage in (STACK, NETWORK, MAPS)} | {WRITE: write}
        table[" + ".join(chain)] = dict.fromkeys(columns, chained(*(own[stage] for stage in chain)))
        if found["target"] != "cpu":
            work = chained(rows[BOTH][1], own[STACK], write[1])[0]
            table[PROCESSORS] = {n: (work * n, True) for n in columns}
        limits = {BOTH: rows[BOTH]} | {name: row for name, row in table.items() if name not in (NETWORK, MAPS)}
        if chain == [NETWORK]:
            limits[NETWORK] = table[NETWORK]
        one["slowest"] = {n: min((row[n][0], name) for name, row in limits.items())[1] for n in columns}
        table["slowest"] = {n: (limits[name][n][0], True) for n, name in one["slowest"].items()}
        rows |= {f"{method}: {name}": row for name, row in table.items()}
    return rows


def _of_device(found: dict[str, Any], seconds: dict[str, float]) -> tuple[dict[str, Rate], list[str]]:
    """Rates of one method's stages that no process multiplies, and those of them that the device does."""
    rates = {stage: (1 / one, False) for stage, one in seconds.items()}
    if found["gpu_ms"] is None:
        return rates, [NETWORK, MAPS]
    stated = {NETWORK: found["gpu_ms"], MAPS: found["gpu_maps_ms"]}
    given = {stage: (1000 / ms, True) for stage, ms in stated.items() if ms is not None}
    return rates | given, list(given)


def table(found: dict[str, Any], rows: dict[str, dict[int, Rate]]) -> list[str]:
    """Lines of Markdown."""
    columns = list(rows[DECODE])
    lines = [
        f"{found['photos']} photos, --tta {found['tta']}, {found['device']}, {found['cores']} cores, "
        f"torch {found['torch']}",
        "",
        "| photos a second of | ms a photo, N = 1 | " + " | ".join(f"N = {n}" for n in columns) + " |",
        "|---|" + "---:|" * (len(columns) + 1),
    ]
    for name, rates in rows.items():
        cells = (f"{shown(rate)}{' *' if derived else ''}" for rate, derived in rates.values())
        lines.append(f"| {name} | {1000 / rates[1][0]:.2f} | " + " | ".join(cells) + " |")
    lines.append("")
    for method, one in found["methods"].items():
        lines.append(f"- {method}, slowest: " + "; ".join(f"N = {n}: {name}" for n, name in one["slowest"].items()))
    lines += [
        "",
        f"\\* derived or stated, not measured. This machine has {found['cores']} cores; for more processes or threads "
        "than that, the rate of one times N. Threads share Python's lock, so theirs is then an upper bound.",
    ]
    if found["target"] != "cpu":
        lines.append(f"{PROCESSORS}: each decodes, resizes, stacks and writes one photo after the other.")
    if found["gpu_ms"] is not None:
        maps = found["gpu_maps_ms"]
        rest = f"measured on {found['device']}, and does not count" if maps is None else f"stated, {maps:g} ms"
        lines.append(f"The network's time is stated, {found['gpu_ms']:g} ms a photo; the maps' is {rest}.")
    return lines


START, END = "<!-- benchmarks.stages -->", "<!-- end -->"


def on_page(page: str, lines: Sequence[str]) -> str:
    """The page with these lines between `START` and `END`."""
    before, rest = page.split(START)
    return "\n".join([before + START, "", *lines, "", END + rest.split(END, 1)[1]])


def from_json(found: dict[str, Any]) -> list[str]:
    """The table of what `benchmarks.stages --json` wrote."""

    def numbered(rates: dict[str, float]) -> dict[int, float]:
        return {int(n): rate for n, rate in rates.items()}

    methods = {
        name: one | {WRITE: numbered(one[WRITE]), "threads": {int(n): k for n, k in one["threads"].items()}}
        for name, one in found["methods"].items()
    }
    workers = {stage: numbered(rates) for stage, rates in found["workers"].items()}
    again = found | {"methods": methods, "workers": workers}
    columns = sorted(int(n) for n in found["photos_a_second"][DECODE])
    return table(again, analyse(again, columns))


def shown(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
