"""`python -m pseudomask` and the console script `pseudomask`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        from pseudomask.cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # pressed while modules were still loading
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
