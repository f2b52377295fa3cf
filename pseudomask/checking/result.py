"""The result of `check`, readable by people and by programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pseudomask.data.teachable import HOPELESS, LIMITS, VERDICTS, Finding, verdict
from pseudomask.quoting import command, count, some
from pseudomask.running.jsonable import jsonable
from pseudomask.running.shown import Shown

_SHOWN = 3
_REST = "--json lists all"


@dataclass(frozen=True)
class ClassCheck:
    """One class: its numbers of photos (with it, without it, with it but held out), its verdict and its problems."""

    name: str
    photos: int
    without: int
    held_out: int
    verdict: str
    findings: tuple[Finding, ...] = ()

    @property
    def why(self) -> str:
        return "; ".join(one.why(self.name) for one in self.findings)

    def to_json(self) -> dict[str, Any]:
        reasons = [
            {
                "kind": one.kind,
                "why": one.why(self.name),
                "with": list(one.others(self.name)),
                "advice": one.rule.advice,
            }
            for one in self.findings
        ]
        facts = {name: getattr(self, name) for name in ("name", "photos", "without", "held_out", "verdict")}
        return facts | {"reasons": reasons}


@dataclass(frozen=True)
class Twins:
    """A group of duplicate photos.

    Attributes:
        photos: their paths relative to IMAGES.
        identical: whether their files are equal byte for byte.
        across_split: whether some are held out and others trained on.
        tags_differ: whether their tags differ.
    """

    photos: tuple[str, ...]
    identical: bool
    across_split: bool
    tags_differ: bool

    def __str__(self) -> str:
        return " = ".join(self.photos[:2]) + (f" and {len(self.photos) - 2} more" if len(self.photos) > 2 else "")


@dataclass(frozen=True, kw_only=True)
class CheckResult(Shown):
    """The result of `check`.

    Attributes:
        classes: ordered from the worst verdict to the best.
        findings: problems with the tags, one per kind, worst first.
        unreadable: reason by photo; `tiny`: photos too small to localise anything.
        twins: groups of duplicate photos; None if only headers were read.
        copied: held-out photos that duplicate a training photo.
    """

    images: Path
    labels: Path | None
    photos: int
    held_out: int
    classes: Sequence[ClassCheck]
    findings: Sequence[Finding]
    unreadable: Mapping[str, str]
    tiny: Sequence[str]
    twins: Sequence[Twins] | None
    copied: Sequence[str]
    max_hopeless: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Number of classes per verdict."""
        found = Counter(one.verdict for one in self.classes)
        return {name: found[name] for name in VERDICTS}

    @property
    def exit_code(self) -> int:
        return int(self.counts[HOPELESS] > self.max_hopeless)

    @property
    def few(self) -> bool:
        """Whether the typical class has so few photos that the closed form is advised (docs/how-many-photos.md)."""
        return median([one.photos for one in self.classes if one.photos] or [0]) < LIMITS.fine_tune

    def headline(self) -> str:
        told = ", ".join(f"{n} {name}" for name, n in reversed(self.counts.items()) if n)
        return f"{count(self.photos, 'photo')}, {self.held_out} held out; {count(len(self.classes), 'class')}: {told}"

    def table(self) -> tuple[list[str], list[list[object]]]:
        header = ["class", "photos", "without it", "held out", "verdict", "why"]
        return header, [[one.name, one.photos, one.without, one.held_out, one.verdict, one.why] for one in self.classes]

    def summary(self) -> list[tuple[str, object]]:
        return [(one.name, f"{one.verdict}{f' ({one.why})' if one.why else ''}") for one in self.classes]

    def notes(self) -> list[str]:
        """Advice, problems with the photos themselves, and the next step."""
        lines = [*(one.remedy for one in self.findings), *self._of_photos(), *self._of_twins()]
        if not self.exit_code and self.labels is not None:
            fit = ["--fit", "lda"] if self.few else []
            lines.append(f"next: {command('train-cls', self.images, 'RUN', '--labels', self.labels, *fit)}")
        return lines

    def _of_photos(self) -> list[str]:
        lines = []
        if self.unreadable:
            named = [f"{photo} ({why})" for photo, why in self.unreadable.items()]
            lines.append(f"{count(len(named), 'photo')} cannot be read: {some(named, _SHOWN, _REST)}")
        if self.tiny:
            few = f"{count(len(self.tiny), 'photo')} with a side below {LIMITS.tiny} pixels"
            lines.append(f"{few}, which maps cannot resolve: {some(self.tiny, _SHOWN, _REST)}")
        return lines

    def _of_twins(self) -> list[str]:
        if self.twins is None:
            return ["damaged and duplicate photos were not looked for (--decode does)"]
        lines = []
        for identical, what in ((True, "identical"), (False, "nearly identical")):
            odd = [one for one in self.twins if one.tags_differ and one.identical == identical]
            if odd:
                named = some([str(one) for one in odd], _SHOWN, _REST)
                lines.append(f"{count(len(odd), 'group')} of {what} photos with different tags: {named}")
        if self.copied:
            lines.append(
                f"{len(self.copied)} of {count(self.held_out, 'held-out photo')} are (nearly) the same as one that is "
                f"trained on, so the held-out measures flatter: {some(self.copied, _SHOWN, _REST)}; remove the copies, "
                "or choose others with --val-list"
            )
        more = [one for one in self.twins if not one.tags_differ and not one.across_split]
        if more:
            named = some([str(one) for one in more], _SHOWN, _REST)
            lines.append(f"{count(len(more), 'group')} of (nearly) identical photos with the same tags: {named}")
        return lines

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = jsonable(
            {
                "schema": 1,
                "photos": self.photos,
                "held_out": self.held_out,
                "verdicts": self.counts,
                "limits": asdict(LIMITS),
                "unreadable": dict(self.unreadable),
                "tiny": list(self.tiny),
                "duplicates": None if self.twins is None else [asdict(one) for one in self.twins],
                "held_out_copies": list(self.copied),
            }
        )
        plain["classes"] = [one.to_json() for one in self.classes]
        plain["tag_problems"] = [one.to_json() for one in self.findings]
        return plain


def by_verdict(
    findings: Sequence[Finding], names: Sequence[str], numbers: Sequence[tuple[int, int, int]]
) -> list[ClassCheck]:
    """One entry per class, worst first, then rarest; `numbers`: its photos, those without it, and those held out."""
    lines = [
        ClassCheck(name, *n, verdict(findings, name), tuple(one for one in findings if one.concerns(name)))
        for name, n in zip(names, numbers, strict=True)
    ]
    return sorted(lines, key=lambda one: (VERDICTS.index(one.verdict), one.photos, one.name))
