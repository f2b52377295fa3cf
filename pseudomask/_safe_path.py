"""Never import from the current folder: it may be an untrusted data set with a `pickle.py` in it."""

import os
import sys


def leave_current_folder() -> None:
    """Remove the current folder, which `python -m pseudomask` puts first, from `sys.path`.

    If pseudomask itself is in that folder, it moves to the end, where it can shadow nothing.
    """
    if sys.flags.safe_path:
        return
    here = sys.path.pop(0)
    if os.path.dirname(os.path.dirname(os.path.abspath(__file__))) == here:  # noqa: PTH100,PTH120
        sys.path.append(here)
