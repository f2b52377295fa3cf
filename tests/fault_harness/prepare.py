"""What the fault tests need and torch must make: called by server.py in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "refining"))


def source(folder: str, count: str) -> None:
    """photos/, photos.csv, weights.safetensors, backbone.safetensors and seeds/ below `folder`."""
    import tiny
    from planted import write_seeds

    place = Path(folder)
    tiny.write_photos(place / "photos", int(count), seed=2)
    tiny.write_weights(
        place / "weights.safetensors", thresholds={"product": 0.3, "first": 0.4}, tag_thresholds=(0.0,) * 3
    )
    tiny.write_backbone(place / "backbone.safetensors")
    write_seeds(place / "photos", place / "seeds")


def other_weights(path: str) -> None:
    import tiny

    tiny.write_weights(Path(path), seed=9, thresholds={"product": 0.3})


def fuzz(folder: str, seed: str, seconds: str, count: str) -> None:
    """See fuzz.py."""
    from fault_harness import fuzz as fuzzing

    fuzzing.main([folder, "--seed", seed, "--seconds", seconds, "--count", count])


def kept(*files: str) -> None:
    """Read again what fuzz.py once found; raises where it is not mended."""
    import tempfile

    from fault_harness import fuzz as fuzzing

    for file in map(Path, files):
        with tempfile.TemporaryDirectory() as place:
            wrong = fuzzing.attempt(fuzzing.by_name(file.name), file.read_bytes(), Path(place))
        if wrong is not None:
            raise AssertionError(f"{file.name}: {wrong}")
