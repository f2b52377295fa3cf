"""No module is taken from the current folder: it may be a stranger's data set, with a `pickle.py` in it."""

import os
import sys


def leave_current_folder() -> None:
    """For `python -m pseudomask`, which puts the current folder before all others of `sys.path`.

    Where pseudomask itself lies there it goes to the end, where it can hide nothing.
    """
    if sys.flags.safe_path:
        return
    here = sys.path.pop(0)
    if os.path.dirname(os.path.dirname(os.path.abspath(__file__))) == here:  # noqa: PTH100,PTH120
        sys.path.append(here)
