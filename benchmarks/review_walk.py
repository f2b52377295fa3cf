"""What `pseudomask review` costs a reviewer: a script goes through masks by keyboard in a headless Chromium.

    python -m benchmarks.review_walk [--masks 100,500] [--json FILE]

For each number of masks, a folder of drawn photos (500 x 375, JPEG) with masks, scores and record is made and served by
a process of its own. The script presses `j` and then `g`, `b` or `u`, as soon as the page is ready for it, until every
mask has a verdict. The page's own clock measures, from each key's event:

- *shown*: until photo, scores and mask of the next image are decoded and the frame after that has begun;
- *painted*: until the frame with the pressed button has begun;
- *on disk*: until the server has answered, which it does when review.csv is written and synced.

Nobody looks at the masks: this is the part of a review that is the program's, not the person's. `load` is that of the
machine, before and after.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.recam_step import publish
from pseudomask.data.review import read_review
from pseudomask.masks import save_mask
from pseudomask.running.machine import cores
from pseudomask.running.record import RunRecord
from pseudomask.scores import ScoreMap, save_scores

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
CLASSES = ("cat", "dog", "person")
SIZE = (375, 500)
KEYS = "gggggbgggu"  # every tenth mask is bad, every tenth unsure

_CLOCK = """
const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
const walk = window.walk = {};
addEventListener("keydown", (event) => {
  const start = performance.now();
  const passed = () => performance.now() - start;
  if (event.key === "j") {
    walk.shown = (async () => {
      await frame();
      await Promise.all([...document.activeElement.querySelectorAll("img")].map((one) => one.decode()));
      await frame();
      return passed();
    })();
  } else {
    walk.painted = frame().then(passed);
    walk.kept = new Promise((done) => { walk.answered = () => done(passed()); });
  }
}, true);
const ask = fetch;
window.fetch = async (...given) => {
  const answer = await ask(...given);
  walk.answered?.();
  return answer;
};
"""


_FIRST = "() => Promise.all([...document.querySelector('.panel').querySelectorAll('img')].map((one) => one.decode()))"


def draw(folder: Path, count: int) -> Path:
    """photos/ and masks/ below `folder`: an ellipse of one class on noise with large and small grains."""
    rng = np.random.default_rng(0)
    height, width = SIZE
    y, x = np.mgrid[:height, :width]
    (folder / "photos").mkdir()
    lines = []
    for i in range(count):
        key, label = f"{i:05d}", i % len(CLASSES)
        centre, radius = rng.uniform((0.3, 0.3), (0.7, 0.7)) * SIZE, rng.uniform(60, 150, 2)
        near = ((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2
        coarse = Image.fromarray(rng.integers(40, 200, (12, 16, 3), dtype=np.uint8)).resize((width, height))
        photo = np.asarray(coarse).astype(int) + rng.integers(-12, 12, (height, width, 3))
        photo[near < 1] = photo[near < 1] // 2 + np.eye(3, dtype=int)[label] * 120
        Image.fromarray(photo.clip(0, 255).astype(np.uint8)).save(folder / f"photos/{key}.jpg", quality=90)
        values = np.exp(-near[::4, ::4])[None].astype(np.float32)
        scores = ScoreMap((label + 1,), values, SIZE, 4)
        save_scores(folder / f"masks/scores/{key}.npz", scores)
        mask = scores.mask(0.4)
        save_mask(folder / f"masks/{key}.png", mask)
        line = {"key": key, "image": f"{key}.jpg", "status": "done", "classes": [CLASSES[label]], "tags": "labels"}
        shares = {"area": {CLASSES[label]: float((mask > 0).mean())}, "empty": [], "ignored": 0.0}
        lines.append(json.dumps({**line, **shares, "margin": float(rng.uniform(0.1, 0.5))}) + "\n")
    (folder / "masks/manifest.jsonl").write_text("".join(lines))
    config = {"images": str(folder / "photos"), "threshold": 0.4}
    RunRecord(command="extract", config=config, classes=CLASSES, protocol={"threshold": 0.4}).write(
        folder / "masks/run.json"
    )
    return folder / "masks"


def resident(process: int) -> int:
    """Bytes of memory in use by a process; Linux only, 0 elsewhere."""
    status = Path(f"/proc/{process}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def walk(browser: Any, masks: Path, count: int) -> dict[str, Any]:
    """One review of a folder."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "pseudomask", "review", str(masks)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        started = time.perf_counter() - begun
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.add_init_script(_CLOCK)
        begun = time.perf_counter()
        page.goto(url, wait_until="domcontentloaded")
        page.wait_for_selector(".panel")
        page.evaluate(_FIRST)
        loaded = time.perf_counter() - begun
        size = page.evaluate("() => performance.getEntriesByType('navigation')[0].decodedBodySize")
        times: dict[str, list[float]] = {"shown": [], "painted": [], "on_disk": []}
        begun = time.perf_counter()
        for i in range(count):
            page.keyboard.press("j")
            times["shown"].append(page.evaluate("() => walk.shown"))
            page.keyboard.press(KEYS[i % len(KEYS)])
            painted, kept = page.evaluate("() => Promise.all([walk.painted, walk.kept])")
            times["painted"].append(painted)
            times["on_disk"].append(kept)
        whole = time.perf_counter() - begun
        heap = page.evaluate("() => performance.memory?.usedJSHeapSize ?? 0")
        memory = resident(server.pid)
        context.close()
    finally:
        server.kill()
        server.communicate()
    rows = read_review(masks / "review.csv")  # after the kill
    assert len(rows) == count
    return {
        "masks": count,
        "started_s": started,
        "loaded_s": loaded,
        "page_bytes": size,
        "walk_s": whole,
        "seconds_a_mask": whole / count,
        "ms": {name: {"median": statistics.median(found), "p95": p95(found)} for name, found in times.items()},
        "verdicts": {name: sum(row.verdict == name for row in rows.values()) for name in ("good", "bad", "unsure")},
        "server_bytes": memory,
        "script_bytes": heap,
    }


def load() -> float:
    """How many processes wanted a core in the last minute; 0 where nobody counts."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(0.95 * len(values)))]


def table(runs: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| masks | server up, s | page loaded, s | `j` to pictures, ms | verdict painted, ms | verdict on disk, ms | "
        "s a mask | server, MB |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in runs:
        cells = [f"{one['masks']}", f"{one['started_s']:.1f}", f"{one['loaded_s']:.1f}"]
        for found in one["ms"].values():
            cells.append(f"{found['median']:.0f} ({found['p95']:.0f})")
        cells += [f"{one['seconds_a_mask']:.2f}", f"{one['server_bytes'] / 1e6:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--masks", default="100,500", help="numbers of masks, one review each")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    try:
        counts = [int(part) for part in options.masks.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        parser.error("--masks must be numbers from 1 on, separated by commas")
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        parser.error("no Chromium here; install your system's package")
    from playwright.sync_api import sync_playwright

    runs, busy = [], load()
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for count in counts:
            with tempfile.TemporaryDirectory(prefix="pseudomask-walk-") as folder:
                runs.append(walk(browser, draw(Path(folder), count), count))
                print(f"{count} masks: {runs[-1]['walk_s']:.1f} s", file=sys.stderr)
        version = browser.version
        browser.close()
    found = {
        "keys": "j, then g, b or u",
        "browser": f"Chromium {version}",
        "cores": cores(),
        "load": [busy, load()],
        "runs": runs,
    }
    publish(table(runs), found, options.json)


if __name__ == "__main__":
    main()
