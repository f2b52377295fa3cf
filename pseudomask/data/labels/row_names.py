"""Photo names of label files, made relative to the image folder or refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

from pseudomask.errors import LabelError

_ABSOLUTE = re.compile(r"[\\/]|[A-Za-z]:[\\/]")


def is_plain(name: str) -> bool:
    """Whether a name needs no check: neither empty nor absolute, without `..` and NUL."""
    return not (not name or ".." in name or name[0] in "/\\~ " or name[1:2] == ":" or "\0" in name)


class RowNames:
    """Makes names relative to `images`, as given by a label file in the folder `beside`."""

    def __init__(self, images: Path | None, beside: Path) -> None:
        self.changed = 0
        self._folder = "" if images is None else images.name or images.resolve().name
        self._beside = os.path.abspath(beside)  # noqa: PTH100 - no link is followed: names are compared as text
        roots = [] if images is None else [os.path.abspath(images), os.path.realpath(images)]  # noqa: PTH100
        self._roots = tuple(root.rstrip("/") + "/" for root in dict.fromkeys(roots))

    def relative(self, name: str, line: int | None, where: Path) -> str:
        """The name within the image folder. Raises LabelError for one that is empty or outside."""
        if not name.strip():
            raise LabelError("a file name is empty", where, line)
        if "\0" in name:
            raise LabelError(f"the file name {name!r} contains a NUL byte", where, line)
        absolute = _ABSOLUTE.match(name) is not None
        if not absolute and ".." not in re.split(r"[\\/]", name):
            return name
        found = self._within(name, absolute)
        if found is not None:
            self.changed += 1
            return found
        if absolute:
            raise LabelError(f"{name} is absolute; write it relative to the image folder", where, line)
        raise LabelError(f"{name!r} is outside the image folder; write it relative to the image folder", where, line)

    def _within(self, name: str, absolute: bool) -> str | None:
        slashed = name.replace("\\", "/")
        whole = os.path.normpath(os.path.join(self._beside, slashed))  # noqa: PTH118
        for root in self._roots:
            if whole.startswith(root):
                return whole[len(root) :]
        # From another machine: what follows the folder of the same name.
        _, folder, rest = slashed.rpartition(f"/{self._folder}/") if absolute and self._folder else ("", "", "")
        return rest if folder and rest and ".." not in rest.split("/") else None
