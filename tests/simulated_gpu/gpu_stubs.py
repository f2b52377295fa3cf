"""Two C stubs, without which torch's backward pass asks a driver that is not there; and a process that loads them."""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

FOLDER = "SIMULATED_GPU_STUBS"
"""The environment variable that tells a process where its stubs are."""

# Autograd's engine counts devices when it starts its threads, and once more in every call; 0 at all other times, so
# that no other part of torch looks for a device.
_COUNTER = """
#include <stdbool.h>
static int devices = 0;
void set_devices(int count) { devices = count; }
bool _ZN3c104cuda17hasPrimaryContextEa(signed char index) { return false; }
signed char _ZN3c104cuda12device_countEv(void) { return devices; }
"""
_DRIVER = "int cuDevicePrimaryCtxGetState(int d, unsigned *flags, int *active) { *flags = 0; *active = 0; return 0; }\n"


ABSENT = 3
"""The exit code of a script that finds no real GPU."""

_SPEC = importlib.util.find_spec("pseudomask")
assert _SPEC is not None
assert _SPEC.origin is not None
_PACKAGE = _SPEC.origin.removesuffix("__init__.py")  # a clone of the repository may be called pseudomask, too


def where() -> str:
    """The line of pseudomask that is at work, `file:line`."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_PACKAGE):
            return f"{name.removeprefix(_PACKAGE)}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


def missing() -> str:
    """Why no GPU can be simulated here; empty where one can."""
    if not sys.platform.startswith("linux"):
        return "the stubs are for Linux"
    if torch.version.cuda is None:
        return "this torch was built without CUDA"
    return "" if shutil.which("gcc") else "there is no gcc"


def environment(folder: Path) -> dict[str, str]:
    """Build the stubs in `folder`; the environment of a process that has them."""
    for name, code, more in (
        ("counter.so", _COUNTER, []),
        ("libcuda.so.1", _DRIVER, ["-Wl,-soname,libcuda.so.1"]),
    ):
        source = folder / f"{name}.c"
        source.write_text(code)
        subprocess.run(["gcc", "-shared", "-fPIC", *more, "-o", folder / name, source], check=True)
    return os.environ | {"LD_PRELOAD": str(folder / "counter.so"), FOLDER: str(folder)}


def run(script: str, folder: Path) -> dict[str, dict[str, Any]]:
    """What each case of a script beside this one tells on a simulated GPU: name → its line. `folder` is empty."""
    (folder / "stubs").mkdir()
    return told(script, folder, environment(folder / "stubs"))


def told(script: str, folder: Path, env: dict[str, str], absent: int = 0) -> dict[str, dict[str, Any]]:
    """As `run`, with a process of `env`; nothing where it ends with the code `absent`."""
    here = Path(__file__).parent
    (folder / "place").mkdir()
    paths = os.pathsep.join(map(str, (here, here.parent, here.parents[1], *filter(None, [env.get("PYTHONPATH")]))))
    done = subprocess.run(
        [sys.executable, here / script, folder / "place"],
        env=env | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    if absent and done.returncode == absent:
        return {}
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {one.pop("case"): one for one in lines}


def load() -> Callable[[int], None]:
    """Load the driver's stub; what sets the number of devices that autograd counts."""
    folder = Path(os.environ[FOLDER])
    ctypes.CDLL(str(folder / "libcuda.so.1"), mode=ctypes.RTLD_GLOBAL)
    counter = ctypes.CDLL(str(folder / "counter.so"))
    return lambda count: counter.set_devices(count)
