"""Plan the output files of each image, and check up front that they may be written."""

from __future__ import annotations

import os
from collections.abc import Iterable, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Protocol

from pseudomask.errors import CollisionError
from pseudomask.running.walking import identity_of

MANIFEST = "manifest.jsonl"
RECORD = "run.json"


class Keyed(Protocol):
    """What the layout needs to know about an image: `key` is the POSIX path `relative` without its suffix."""

    @property
    def key(self) -> str: ...

    @property
    def relative(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Outputs:
    """The output files of one image."""

    key: str
    out: Path

    @property
    def mask(self) -> Path:
        return self.out / f"{self.key}.png"  # not with_suffix: a key may contain dots

    @property
    def scores(self) -> Path:
        return self.out / "scores" / f"{self.key}.npz"

    @property
    def overlay(self) -> Path:
        return self.out / "overlays" / f"{self.key}.jpg"


def is_below(name: object) -> bool:
    """Whether a path from a manifest stays inside its folder; on Windows `C:x` and `..\\x` do not."""
    if not isinstance(name, str) or not name or "\0" in name:
        return False
    path = PurePath(name)
    return not path.anchor and ".." not in path.parts


def plan_outputs(items: Iterable[Keyed], images_dir: Path, out_dir: Path) -> list[Outputs]:
    """The outputs of each item, in order.

    Raises `CollisionError`, naming both sides, if two images share a key, if a mask needs a name that a
    folder has, or if the output folder is, contains or lies inside the image folder.
    """
    check_folders(images_dir, out_dir)
    owners: dict[str, str] = {}
    for item in items:
        other = owners.setdefault(item.key, item.relative)
        if other != item.relative:
            raise CollisionError(
                f"{images_dir}: {other} and {item.relative} would both write {item.key}.png; "
                "rename one, or leave one out with --list"
            )
    _check_parents(owners, images_dir)
    return [Outputs(key, out_dir) for key in owners]


def check_folders(images_dir: Path, out_dir: Path, *, what: str = "image") -> None:
    """Raise `CollisionError` if one folder contains the other (links are followed) or if the output is a file.

    `what` names the kind of input in the message.
    """
    if out_dir.exists() and not out_dir.is_dir():
        raise CollisionError(f"{out_dir} is a file; choose another output folder")
    images, out = Path(os.path.realpath(images_dir)), Path(os.path.realpath(out_dir))
    if images == out:
        raise CollisionError(f"the output folder {out_dir} is the {what} folder; choose another one")
    if images in out.parents:
        raise CollisionError(
            f"the output folder {out_dir} lies inside the {what} folder {images_dir}; choose one outside it"
        )
    if out in images.parents:
        raise CollisionError(
            f"the {what} folder {images_dir} lies inside the output folder {out_dir}; choose another output folder"
        )


def files_below(folder: Path, *, broken: bool = False) -> Set[str]:
    """Paths of all files below `folder`, from one listing of each folder; `broken`: also of links that lead nowhere."""
    found, left, seen = set[str](), [str(folder)], set[tuple[int, int]]()
    while left:
        current = left.pop()
        with suppress(OSError), os.scandir(current) as entries:
            if (identity := identity_of(current)) in seen:  # a link leads back to it
                continue
            seen.add(identity)
            for entry in entries:
                if entry.is_dir():
                    left.append(entry.path)
                elif broken or not entry.is_symlink() or os.path.exists(entry.path):  # noqa: PTH110 - may be many
                    found.add(entry.path)
    return found


def check_foreign(outputs: Iterable[Outputs]) -> None:
    """Raise `CollisionError` if a file that this run would write already exists.

    Only for new runs: once the folder has the run's record, a mask without a manifest line comes from the same run
    (which was killed before it could write the line) and may be overwritten.
    """
    outputs = list(outputs)
    there = files_below(outputs[0].out, broken=True) if outputs else frozenset[str]()
    paths = (path for one in outputs for path in (one.mask, one.scores, one.overlay)) if there else ()
    foreign = [path for path in paths if str(path) in there]
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise CollisionError(
            f"{foreign[0]}{more} would be overwritten, but no recorded run wrote it; choose another output folder, or "
            "add --overwrite"
        )


def _check_parents(owners: dict[str, str], images_dir: Path) -> None:
    """Check for name clashes: a mask `a.png` cannot exist beside a folder called `a.png`."""
    files = {f"{key}.png" for key in owners} | {MANIFEST, RECORD}
    folders = {parent for key in owners if "/" in key for parent in PurePosixPath(key).parents}
    for folder in sorted(str(folder) for folder in folders):
        if folder in files:
            raise CollisionError(f"{images_dir}: the folder {folder} has the name of an output file; rename it")
