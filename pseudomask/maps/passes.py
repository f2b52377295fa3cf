"""Test-time augmentation: the sizes at which the network sees a photo, and whether mirrored as well."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pseudomask.config import MapOptions, Tta
from pseudomask.config.quality import QUALITIES, USUAL
from pseudomask.errors import UsageError

Mirrored = bool | Literal["alternately"]
"""Each size both unmirrored and mirrored (True), only unmirrored (False), or every second size only mirrored."""


class Passes(NamedTuple):
    """Sizes relative to the working size, and which of them are mirrored."""

    scales: tuple[float, ...]
    mirrored: Mirrored

    def __str__(self) -> str:
        told = {True: ", mirrored too", False: "", "alternately": ", every second one mirrored"}[self.mirrored]
        return f"scales {self.text}{told}"

    @property
    def text(self) -> str:
        """The scales in the format of `--scales`."""
        return ",".join(f"{scale:.16g}" for scale in self.scales)


PRESETS: dict[Tta, Passes] = {
    "full": Passes((1.0, 0.5, 1.5, 2.0), mirrored=True),  # as in ReCAM's and IRN's public code
    "balanced": Passes((1.0, 0.5, 1.5, 2.0), mirrored="alternately"),
    "six": Passes((1.0, 0.5, 1.5), mirrored=True),
    "three": Passes((1.0, 0.5, 1.5), mirrored=False),
    "fast": Passes((1.0, 1.5), mirrored=False),
}
"""`benchmarks.tta` measures the cost and benefit of each (docs/speed.md)."""


def passes(options: MapOptions) -> Passes:
    """The preset, overridden by `--scales` and `--flip`. Raises `UsageError` for scales that make no sense."""
    preset = PRESETS[options.tta or QUALITIES[USUAL].tta]
    scales = preset.scales if options.scales is None else parse_scales(options.scales)
    return Passes(scales, preset.mirrored if options.flip is None else options.flip)


def parse_scales(text: str) -> tuple[float, ...]:
    """ "1.0,0.5" → (1.0, 0.5); `UsageError` unless all are numbers in (0, 4]."""
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(0 < s <= 4 for s in scales):
        raise UsageError(f"--scales {text!r}: numbers above 0 and up to 4, comma-separated, such as 1.0,0.5,1.5,2.0")
    return scales
