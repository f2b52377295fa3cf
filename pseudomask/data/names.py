"""Find an image by the name that a list or a label file uses."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable
from typing import Generic, Protocol, TypeVar

from pseudomask.data.kinds import IMAGE_SUFFIXES


class Named(Protocol):
    """What the index needs from an image."""

    @property
    def key(self) -> str: ...
    @property
    def relative(self) -> str: ...


T = TypeVar("T", bound=Named)


def without_image_suffix(name: str) -> str:
    """`a/b.JPG` → `a/b`; other endings are kept (`2007.0001`)."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and stem and "." + suffix.lower() in IMAGE_SUFFIXES else name


def is_comment(line: str) -> bool:
    """Whether a line is a comment: `#`, alone or followed by white space, because names may begin with `#`."""
    return line == "#" or line.startswith(("# ", "#\t"))


class NameIndex(Generic[T]):
    """Looks up images by relative path, else by path without extension, else by a unique tail.

    Tail: one of the two paths ends with the other, whole folders at a time, so that `b.jpg` and
    `JPEGImages/b.jpg` find each other but `x/b.jpg` never finds `y/b.jpg`. Unicode composed and
    decomposed forms and Windows separators are tried last.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._relative: dict[str, T] = {}
        self._key: dict[str, list[T]] = {}
        self._stem: dict[str, list[T]] = {}
        for item in items:
            self._relative[item.relative] = item
            self._key.setdefault(item.key, []).append(item)
            self._stem.setdefault(item.key.rpartition("/")[2], []).append(item)
        self._plain: dict[str, list[T]] | None = None  # built only when a name needs it

    @property
    def items(self) -> Collection[T]:
        """All images."""
        return self._relative.values()

    def exact(self, name: str) -> T | None:
        """The image with the relative path `name`, or the only one with the key `name`."""
        item = self._relative.get(name)
        if item is None:
            found = self._key.get(name, ())
            item = found[0] if len(found) == 1 else None
        return item

    def find(self, name: str) -> list[T]:
        """All images that `name` may refer to; several if it is ambiguous."""
        found = self._find(name)
        if found or (name.isascii() and "\\" not in name and self._all_ascii()):
            return found
        return self._by_plain_name(name)

    def _find(self, name: str) -> list[T]:
        item = self._relative.get(name)
        if item is not None:
            return [item]
        tidy = name.removeprefix("./").lstrip("/")
        if tidy != name and tidy in self._relative:
            return [self._relative[tidy]]
        bare = without_image_suffix(tidy)
        for key in (tidy, bare):
            if key in self._key:
                return self._key[key]
        candidates = self._stem.get(bare.rpartition("/")[2], [])
        return [item for item in candidates if _same_tail(item.key, bare)]

    def _all_ascii(self) -> bool:
        if self._plain is None:
            self._plain = {}
            for key, items in self._key.items():
                if not key.isascii():
                    self._plain.setdefault(unicodedata.normalize("NFC", key), []).extend(items)
        return not self._plain

    def _by_plain_name(self, name: str) -> list[T]:
        self._all_ascii()
        assert self._plain is not None
        slashed = name.replace("\\", "/")
        found = self._find(slashed) if slashed != name else []
        if found:
            return found
        bare = unicodedata.normalize("NFC", without_image_suffix(slashed))
        exact = self._plain.get(bare)
        if exact:
            return exact
        if bare.isascii():
            return []
        return [item for key, items in self._plain.items() if _same_tail(key, bare) for item in items]


def _same_tail(one: str, other: str) -> bool:
    """Whether the longer path ends with the shorter one, at a folder boundary."""
    return one == other or one.endswith("/" + other) or other.endswith("/" + one)
