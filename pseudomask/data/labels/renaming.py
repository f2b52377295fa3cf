"""Tags that are called otherwise than the classes: `--map`, and what to do about names that are no class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pseudomask.data.labels.suspects import clean, fold, shown
from pseudomask.data.labels.table import BACKGROUND_NAMES, read_text
from pseudomask.errors import LabelError, UsageError
from pseudomask.quoting import shell_word
from pseudomask.suggest import did_you_mean, did_you_mean_path, nearest

_SAME = (
    ("aeroplane", "airplane", "aircraft", "plane"),
    ("motorbike", "motorcycle"),
    ("sofa", "couch"),
    ("tv", "tvmonitor", "television", "tv/monitor"),
    ("bicycle", "bike"),
    ("pottedplant", "houseplant"),
    ("cow", "cattle"),
    ("diningtable", "kitchen & dining room table"),
    ("person", "people", "man", "men", "woman", "women", "child", "children", "boy", "girl", "pedestrian"),
    ("cat", "kitten", "kitty"),
    ("dog", "puppy"),
)
"""What VOC, COCO, Open Images and people call one thing."""
_SURE = 0.8  # by spelling alone: `hrose` is like horse, but `carrot` (0.67) is no car
_SHOWN = 3


def read_map(text: str | None) -> dict[str, str]:
    """`--map`: tag → class, by the tag's name in lower case. Text "a=b,c=d", or the name of a file of such lines.

    Raises `UsageError`, or `LabelError` with the line, for what is no pair, and for two classes of one tag.
    """
    if not text:
        return {}
    path = Path(text)
    if "=" in text and not path.is_file():
        pairs: list[tuple[int | None, str]] = [(None, part) for part in text.split(",")]
    elif path.is_file():
        lines = enumerate(read_text(path).splitlines(), start=1)
        pairs = [(line, part) for line, part in lines if not part.lstrip().startswith("#")]
    else:
        missing = did_you_mean_path(path)
        raise UsageError(f"--map {shell_word(text)}: no such file, and no pair such as airplane=aeroplane{missing}")
    found: dict[str, str] = {}
    for line, part in pairs:
        if not part.strip():
            continue
        tag, _, name = (clean(side) for side in part.partition("="))
        if not tag or not name:
            advice = "write TAG=CLASS, in a file if a name contains a comma (to leave a tag out: --no-class)"
            raise LabelError(f"--map: {shown(part.strip())} is no pair; {advice}", path if line else None, line)
        if found.setdefault(tag.casefold(), name) != name:
            raise LabelError(f"--map: two classes for {shown(tag)}", path if line else None, line)
    return found


def suggestions(unknown: Iterable[str], classes: Sequence[str]) -> dict[str, str]:
    """Unknown name → the class that it surely means: another spelling, or a common synonym."""
    by_fold = {fold(name): name for name in classes}
    for group in _SAME:
        known = next((by_fold[name] for name in group if name in by_fold), None)
        if known is not None:
            by_fold = {fold(name): known for name in group} | by_fold
    found = {name: by_fold.get(fold(name)) or nearest(name, classes, cutoff=_SURE) for name in unknown}
    return {name: one for name, one in found.items() if one}


def advice(unknown: Sequence[str], classes: Sequence[str]) -> str:
    """The flags to add, complete, for tags that are none of `classes`."""
    near = {name: one for name, one in suggestions(unknown, classes).items() if not {",", "="} & {*name, *one}}
    rest = [name for name in unknown if name not in near]
    given = shell_word(",".join(f"{name}={one}" for name, one in near.items()))
    if not near:
        return f"add --unknown-tags drop to leave such tags out, or --map {shell_word(f'{unknown[0]}=CLASS')}"
    if not rest:
        return f"add --map {given}, or --unknown-tags drop to leave such tags out"
    return f"add --map {given}, and --unknown-tags drop to leave out {names_of(rest)}"


def names_of(names: Sequence[str]) -> str:
    """`'a', 'b', 'c' and 5 more`."""
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(map(shown, names[:_SHOWN])) + more


def check_targets(names: Iterable[str], targets: Iterable[str], classes: Sequence[str]) -> None:
    """Raise `UsageError` if --map turns a tag into a name that is no class: a slip, whatever --unknown-tags says."""
    known = {*classes, *BACKGROUND_NAMES}
    for name in sorted({*names} & {*targets}):
        if name not in known:
            near = did_you_mean(name, classes)
            raise UsageError(f"--map: {shown(name)} is no class{near or f'; the classes are {names_of(classes)}'}")


def dropped(names: Sequence[str]) -> str:
    """The note about tags that --unknown-tags drop left out."""
    return f"tags that are no class were left out (--unknown-tags drop): {names_of(names)}"
