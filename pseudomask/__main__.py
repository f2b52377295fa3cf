"""`python -m pseudomask` and the console script `pseudomask`."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> None:
    """Run the command line and exit with its exit code."""
    os.environ["PYTHONSAFEPATH"] = "1"  # inherited by every process that this one starts
    try:
        from pseudomask.cli.app import run
        from pseudomask.running.memory import keep_pages

        keep_pages()

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # pressed while modules were still loading
        code = 130
    if "torch" in sys.modules:
        _leave_quickly(code)
    sys.exit(code)


def _leave_quickly(code: int) -> NoReturn:
    """Exit without Python's last garbage collection.

    With torch loaded it walks millions of objects that the system frees anyway: seconds on a busy
    machine, in which a stopped run would still seem to hang.
    """
    import atexit

    atexit._run_exitfuncs()  # worker processes end here
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
