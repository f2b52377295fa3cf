"""All benchmarks that need no data but the photos in examples/, one after the other, as one page.

    python -m benchmarks.everything [--device cuda] [--out bench-out]

`make bench` calls it. OUT gets a page with the machine, the versions, each command, how long it took and its table, and
each benchmark's JSON beside it.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
from pathlib import Path

from pseudomask.running.machine import cores
from pseudomask.running.record import package_versions

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ("examples/photos", "--labels", "examples/photos.csv")
DEVICE = "{device}"
Commands = tuple[tuple[str, ...], ...]
ON_CUDA: Commands = (
    ("pytest", "-q", "-rs", "-p", "no:cacheprovider", "-n", "2", "-m", "cuda", "tests/faults/test_precision.py",
     "tests/simulated_gpu/test_real_gpu.py"),
    ("stages", *PHOTOS, "--photos", "8", "--copies", "16", "--processes", "8", "--repeats", "1", "--device", DEVICE),
    ("crf_engines", "--labels", "3", "--repeats", "1", "--device", DEVICE),
    *(
        ("extract_speed", *PHOTOS, "--photos", "8", "--copies", "60", "--reference", "4", "--repeats", "1",
         "--method", method, "--device", DEVICE)
        for method in ("recam", "cpmc", "cam")
    ),
    ("train_speed", *PHOTOS, "--photos", "960", "--repeats", "1", "--device", DEVICE),
)  # fmt: skip
"""The tests of CUDA first, with R15's half, for a lease that ends early. All take five to seven minutes."""
COMMANDS: Commands = (
    ("small_costs",),
    ("extract_speed", *PHOTOS, "--photos", "8", "--reference", "2", "--repeats", "2", "--device", DEVICE),
    ("extract_profile", *PHOTOS, "--photos", "4"),
    ("stages", *PHOTOS, "--photos", "4", "--repeats", "1", "--device", DEVICE),
    ("train_speed", *PHOTOS, "--photos", "64", "--repeats", "1", "--device", DEVICE),
    ("recam_step", "--classes", "20", "--repeats", "1"),
    ("recam_step", "--classes", "80", "--repeats", "1"),
    ("crf_engines", "--labels", "2,4,21", "--repeats", "1", "--device", DEVICE),
    ("walk", "--repeats", "1"),
)


def commands(device: str) -> Commands:
    return ON_CUDA if device.startswith("cuda") else COMMANDS


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def accelerator(device: str) -> str:
    if not device.startswith("cuda"):
        return "none used"
    import torch

    return torch.cuda.get_device_name(device)


def head(device: str) -> list[str]:
    """The machine and the versions."""
    versions = package_versions()
    return [
        "# All benchmarks, one run",
        "",
        f"- {processor()}, {cores()} cores; accelerator: {accelerator(device)}",
        "- " + ", ".join(f"{name} {version}" for name, version in versions.items() if version != "absent"),
        "- Ratios are of things measured side by side; seconds depend on the machine and on who else used it.",
    ]


def run(command: tuple[str, ...], device: str, out: Path, number: int) -> tuple[list[str], int]:
    """One benchmark's part of the page, and its exit code."""
    name, *more = (device if word == DEVICE else word for word in command)
    module = name if name == "pytest" else f"benchmarks.{name}"
    shown = " ".join([f"python -m {module}", *more])
    print(shown, file=sys.stderr, flush=True)
    started = time.perf_counter()
    json_file = out / f"{number}-{name}.json"
    done = subprocess.run(
        [sys.executable, "-m", module, *more, *([] if name == "pytest" else ["--json", str(json_file)])],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    ending = [] if done.returncode == 0 else [f"It failed with code {done.returncode}."]
    return [f"## {name}", "", f"`{shown}`, {seconds:.0f} s", "", done.stdout.strip(), *ending], done.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("bench-out"))
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    page, started, failed = head(options.device), time.perf_counter(), 0
    for number, command in enumerate(commands(options.device), 1):
        part, code = run(command, options.device, out, number)
        page += ["", *part]
        failed += code != 0
        file = out / f"bench-{options.device.split(':')[0]}.md"
        file.write_text("\n".join(page) + "\n", encoding="utf-8")  # after each, so that a stopped run leaves its half
    page += ["", f"All together: {time.perf_counter() - started:.0f} s."]
    file.write_text("\n".join(page) + "\n", encoding="utf-8")
    print("\n".join(page))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
