"""A refine run to be killed: `refine_child.py PHOTOS SEEDS OUT PIDS`, its workers slow enough to be met alive."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    from mortal import Slow

    from pseudomask.config import RefineConfig
    from pseudomask.refining import REFINERS
    from pseudomask.refining.refine import refine

    photos, seeds, out, pids = (Path(argument) for argument in sys.argv[1:])
    REFINERS["slow"] = lambda config: Slow(pids, 0.3)
    config = RefineConfig(images=photos, seeds=seeds, out=out, method=("slow",), device="cpu", workers=2, scores=True)
    sys.exit(refine(config).exit_code)
