"""Photos, and what they are read into."""

from __future__ import annotations

import dataclasses
import itertools
import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fault_harness.without.patching import Patch


def guard_of_a_photo(patch: Patch) -> None:
    """an unreadable photo is its own affair"""
    from pseudomask.extracting import photos

    patch(photos, "ImageError", type("Never", (Exception,), {}))


def reason_of_a_photo(patch: Patch) -> None:
    """the decoder's exceptions become a reason"""
    from pseudomask.data import opening

    def through(error: Exception) -> str:
        raise error

    patch(opening, "_reason", through)


def place_of_a_photo(patch: Patch) -> None:
    """a result keeps its photo's place when others fail"""
    from pseudomask.extracting import filling

    real = filling.load

    def counted(*words: Any, **more: Any) -> Iterator[Any]:
        index = itertools.count()
        for photo in real(*words, **more):
            yield photo if photo.problem else dataclasses.replace(photo, index=next(index))

    patch(filling, "load", counted)


def _decoding(patch: Patch, **changes: Any) -> None:
    from pseudomask.extracting import photos

    real = photos.decode
    patch(photos, "decode", lambda path, **more: real(path, **(more | changes)))


def refusal_of_cut_photos(patch: Patch) -> None:
    """a cut photo is refused unless it is allowed"""
    _decoding(patch, allow_truncated=True)


def exif(patch: Patch) -> None:
    """EXIF orientations are applied"""
    from pseudomask.data import opening

    patch(opening, "exif_orientation", lambda block: 1)


def scaled_grey(patch: Patch) -> None:
    """16-bit grey is scaled, not cut off"""
    from pseudomask.data import decoding

    def cut_off(raw: Any, reading: Any) -> np.ndarray:
        return np.broadcast_to(np.clip(raw.values, 0, 255), (*raw.values.shape[:2], 3)).astype(np.uint8)

    patch(decoding, "render", cut_off)


def limit_of_pixels(patch: Patch) -> None:
    """more pixels than --max-pixels are refused from the header"""
    _decoding(patch, max_pixels=10**18)
    resource.setrlimit(resource.RLIMIT_AS, (5 * 2**30, 5 * 2**30))  # the machine's own protection


def limit_of_the_side(patch: Patch) -> None:
    """the network sees a large photo reduced"""
    from pseudomask.extracting import photos

    patch(photos, "working_size", lambda size, max_side: size)
    resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))


def names_as_escapes(patch: Patch) -> None:
    """the manifest holds names as ASCII escapes"""
    from pseudomask.running import manifest

    patch(manifest, "_line", lambda entry: json.dumps(dict(entry), ensure_ascii=False).encode() + b"\n")


def folders_apart(patch: Patch) -> None:
    """the output folder lies apart from the inputs"""
    from pseudomask.refining import refine
    from pseudomask.running import layout

    for module in (layout, refine):
        patch(module, "check_folders", lambda *words, **more: None)


def one_owner_a_mask(patch: Patch) -> None:
    """two photos of one mask are refused"""
    from pseudomask.extracting import plan as plan_module
    from pseudomask.running.layout import Outputs, check_folders

    def plan(items: Any, images: Path, out: Path) -> list[Outputs]:
        check_folders(images, out)
        return [Outputs(item.key, out) for item in items]

    patch(plan_module, "plan_outputs", plan)


def maps_in_float32(patch: Patch) -> None:
    """only the network computes in bf16; maps are added up and scaled in float32"""
    from pseudomask.maps import multiscale

    real = multiscale.normalise_maps

    def rough(maps: Any) -> Any:
        return real(maps).bfloat16().mul(32).round().div(32).float()

    patch(multiscale, "normalise_maps", rough)
