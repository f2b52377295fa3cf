"""Starting a real torchrun with two processes, on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE = 300.0  # seconds of wall time: a busy machine must not decide a test


def environment(**more: str) -> dict[str, str]:
    """This one without what another launcher left, and with the tests' folders to import from."""
    paths = [str(HERE), str(HERE.parent), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PSEUDOMASK_", "TORCHELASTIC_"))}
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} | more


def torchrun(
    *arguments: object, module: str = "pseudomask", processes: int = 2, restarts: int = 0, **more: str
) -> subprocess.CompletedProcess[str]:
    """`torchrun -m MODULE ARGUMENTS`, ended; `more` are environment variables."""
    launcher = ["--standalone", "--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *launcher, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
