"""How often, at which sizes and whether mirrored a photo is seen: test-time augmentation."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pseudomask.config import MapOptions, Tta
from pseudomask.config.quality import QUALITIES, USUAL
from pseudomask.errors import UsageError

Mirrored = bool | Literal["alternately"]
"""Each size as it is and mirrored (True), only as it is (False), or every second size only mirrored."""


class Passes(NamedTuple):
    """Sizes relative to the working size, and which are seen mirrored."""

    scales: tuple[float, ...]
    mirrored: Mirrored

    def __str__(self) -> str:
        told = {True: ", mirrored too", False: "", "alternately": ", every second one mirrored"}[self.mirrored]
        return f"scales {self.text}{told}"

    @property
    def text(self) -> str:
        """The scales as `--scales` takes them."""
        return ",".join(f"{scale:.16g}" for scale in self.scales)


PRESETS: dict[Tta, Passes] = {
    "full": Passes((1.0, 0.5, 1.5, 2.0), mirrored=True),  # as in ReCAM's and IRN's public code
    "balanced": Passes((1.0, 0.5, 1.5, 2.0), mirrored="alternately"),
    "fast": Passes((1.0, 1.5), mirrored=False),
}
"""What each costs and what it is worth is measured by `benchmarks.tta` (docs/speed.md)."""


def passes(options: MapOptions) -> Passes:
    """The preset, changed by what `--scales` and `--flip` say. `UsageError` for scales that make no sense."""
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
