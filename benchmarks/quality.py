r"""Methods × refiners × test-time augmentation: mIoU on train and val, time and memory of the whole command.

    python -m benchmarks.quality DATA [--rows recam:none:balanced cpmc:walk,crf:fast …] [--every 3] [--json FILE]

DATA is laid out like PASCAL VOC (see `benchmarks.seeds`). Each row METHOD:CHAIN:TTA is `pseudomask extract --method
METHOD --refine CHAIN --tta TTA`, and a row such as `best` is `--quality best`, as a process of its own, tags given, on
every N-th photo of train and of val; what walk needs is the bundled boundary head, or --affinity. Thresholds are those
of the weights' card, so that no mask of these photos chooses anything. `seeds` is the mIoU of the stored scores, before
the refiners. Time is processor time of the process and its workers, so that other load on the machine changes it
little, relative to the first row's; memory is the largest process's peak. Rows that are in FILE already, made from as
many photos of the same splits with the same weights, are kept.

    python -m benchmarks.quality DATA --weights imagenet --classes background,cat,cow,dog,horse,sheep --every 6 \
        --rows cpmc:none:fast cpmc:crf:fast cpmc:walk,crf:fast
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.seeds import CLASSES
from pseudomask.masks import load_mask
from pseudomask.measuring.confusion import Confusion
from pseudomask.networks.checkpoint import read_card
from pseudomask.networks.store import find_weights
from pseudomask.scores import load_scores

ROWS = (
    "recam:none:balanced",
    "recam:crf:fast",
    "recam:walk,crf:fast",
    "recam:walk,crf:balanced",
    "cpmc:none:fast",
    "cpmc:walk:fast",
    "cpmc:walk,crf:fast",
    "cpmc:walk,crf:balanced",
    "cpmc:walk,crf:full",
)


def photos(data: Path, split: str, every: int) -> list[str]:
    return (data / "ImageSets" / f"{split}.txt").read_text("utf-8").split()[::every]


def run(keys: list[str], row: str, out: Path, options: argparse.Namespace) -> dict[str, float]:
    """The command on these photos; its processor time in seconds and peak memory in MiB."""
    data = options.data
    out.mkdir(parents=True)
    listed = out.with_suffix(".txt")
    listed.write_text("\n".join(keys) + "\n", "utf-8")
    words = ["extract", str(data / "JPEGImages"), str(out), "--labels", str(data / "labels.csv"), "--list", str(listed)]
    words += ["--class-file", str(data / "classes.txt"), "-q"]
    flags = ("--method", "--refine", "--tta") if ":" in row else ("--quality",)
    words += [word for pair in zip(flags, row.split(":"), strict=True) for word in pair]
    words += ["--weights", options.weights] if options.weights else []
    words += ["--affinity", str(options.affinity)] if options.affinity and "none" not in row else []
    return spent(*words)


def spent(*words: object) -> dict[str, float]:
    """Run a verb; the processor time of it and its workers in seconds, and its peak memory in MiB."""
    process = subprocess.Popen([sys.executable, "-m", "pseudomask", *map(str, words)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{words[0]} failed with status {os.waitstatus_to_exitcode(status)}: {' '.join(map(str, words))}")
    return {"seconds": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss / 1024}


def measured(
    data: Path, keys: list[str], out: Path, names: tuple[str, ...], classes: str = CLASSES, *, seeds: bool = False
) -> dict[str, float]:
    """Percent: the mean over `classes`, and person; of the stored scores at the run's threshold if `seeds`."""
    table = Confusion(len(names))
    threshold = json.loads((out / "run.json").read_text("utf-8"))["protocol"]["threshold"] if seeds else 0.0
    for key in keys:
        mask = load_scores(out / "scores" / f"{key}.npz").mask(threshold) if seeds else load_mask(out / f"{key}.png")
        table.update(mask, load_mask(data / "SegmentationClass" / f"{key}.png"))
    found = table.measures()
    chosen = np.isin(names, classes.split(","))
    person = names.index("person")
    return {"miou": round(100 * float(found.mean_iou(chosen)), 2), "person": round(100 * float(found.iou[person]), 2)}


def measure(row: str, options: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    data = options.data
    found: dict[str, Any] = {"row": row, "every": options.every, "weights": options.weights}
    seconds, count, memory = 0.0, 0, 0.0
    with tempfile.TemporaryDirectory() as place:
        for split in options.splits:
            keys = photos(data, split, options.every)
            cost = run(keys, row, Path(place) / split, options)
            seconds, count, memory = seconds + cost["seconds"], count + len(keys), max(memory, cost["memory"])
            found[split] = measured(data, keys, Path(place) / split, names, options.classes)
            found[split]["seeds"] = measured(data, keys, Path(place) / split, names, options.classes, seeds=True)
            found[split]["photos"] = len(keys)
    return found | {"seconds_a_photo": round(seconds / count, 3), "memory": round(memory)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="METHOD:CHAIN:TTA")
    parser.add_argument("--every", type=int, default=1, help="only every n-th photo of both splits")
    parser.add_argument("--splits", nargs="+", default=["train", "val"])
    parser.add_argument("--classes", default=CLASSES, help="whose IoU the mean is of")
    parser.add_argument("--weights", help="as of `pseudomask extract`; default: the bundled VOC weights")
    parser.add_argument("--affinity", type=Path, help="weights of train-affinity; default: the bundled boundary head")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = ("background", *read_card(find_weights(None)).classes)
    done: list[dict[str, Any]] = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    heads = ["method:chain:tta", "every", *(f"{split} mIoU" for split in options.splits), "person", "seeds"]
    heads += ["time", "memory"]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in options.rows:
        found = next((one for one in done if _is(one, row, options)), None)
        if found is None:
            found = measure(row, options, names)
            done.append(found)
            if options.json:
                options.json.write_text(json.dumps(done, indent=1) + "\n", "utf-8")
        splits = [found[split] for split in options.splits]
        cells = [row, options.every, *(f"{split['miou']:.1f}" for split in splits)]
        cells += [", ".join(f"{split['person']:.1f}" for split in splits)]
        cells += [", ".join(f"{split['seeds']['miou']:.1f}" if "seeds" in split else "" for split in splits)]
        cells += [f"{found['seconds_a_photo'] / done[0]['seconds_a_photo']:.2f}", found["memory"]]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


def _is(one: dict[str, Any], row: str, options: argparse.Namespace) -> bool:
    """Whether a row of an earlier run is this one."""
    wanted = (row, options.every, options.weights, True)
    return wanted == (one["row"], one["every"], one.get("weights"), all(split in one for split in options.splits))


if __name__ == "__main__":
    main()
