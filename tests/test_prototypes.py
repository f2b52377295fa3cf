"""The verb `prototypes`, its clustering, and extractions with what it writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from pseudomask.api import extract, prototypes
from pseudomask.config import ExtractConfig, PrototypesConfig
from pseudomask.errors import RecordMismatch, UsageError
from pseudomask.maps.cams.clustering import cluster
from pseudomask.maps.cams.lpcam import Prototypes


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_clusters_are_found_by_direction() -> None:
    """Three directions at very different lengths; each centre is the mean of its vectors as they are."""
    axes = torch.eye(5)[:3]
    noise = 0.05 * torch.randn(300, 5, generator=generator())
    vectors = (axes.repeat(100, 1) + noise) * torch.rand(300, 1, generator=generator()).add(0.1)
    found = cluster(vectors, 3, generator())
    order = [int((found @ axis).argmax()) for axis in axes]
    assert sorted(order) == [0, 1, 2]
    for k, axis in enumerate(axes):
        mean = vectors[k::3].mean(0)
        assert torch.allclose(found[order[k]], mean, atol=1e-4), axis


def test_clustering_is_seeded_and_ends() -> None:
    vectors = torch.randn(500, 8, generator=generator())
    assert torch.equal(cluster(vectors, 12, generator()), cluster(vectors, 12, generator()))
    assert not torch.equal(cluster(vectors, 12, generator()), cluster(vectors, 12, generator(1)))
    assert not torch.equal(cluster(vectors, 12, generator(), rounds=1), cluster(vectors, 12, generator()))


@pytest.mark.parametrize(("count", "most"), [(0, 0), (1, 1), (5, 5)])
def test_fewer_vectors_than_clusters(count: int, most: int) -> None:
    assert len(cluster(torch.rand(count, 4, generator=generator()), 12, generator())) == most
    assert len(cluster(torch.ones(30, 4), 12, generator())) == 1, "all the same"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prototypes")
    tiny.write_photos(folder / "photos", 8)
    tiny.write_weights(folder / "w.safetensors")
    return folder


def settings(place: Path, file: Path, **more: Any) -> PrototypesConfig:
    given: dict[str, Any] = {"labels": place / "photos.csv", "weights": place / "w.safetensors", "workers": 0}
    return PrototypesConfig(images=place / "photos", file=file, device="cpu", amp="off", **given | more)


def test_the_file_is_the_same_for_the_same_seed(place: Path, tmp_path: Path) -> None:
    first, again, other, alone = (tmp_path / f"{name}.safetensors" for name in "abcd")
    done = prototypes(settings(place, first, clusters=4))
    assert (done.exit_code, done.photos, done.failures) == (0, 8, {})
    prototypes(settings(place, again, clusters=4))
    assert first.read_bytes() == again.read_bytes()
    prototypes(settings(place, other, clusters=4, seed=1, vectors=20))
    assert first.read_bytes() != other.read_bytes()
    prototypes(settings(place, alone, clusters=4, batch_size=1))
    found, single = Prototypes.load(first), Prototypes.load(alone)
    assert found.classes == tiny.CLASSES
    assert found.rule == "product"
    assert all(1 <= len(one) <= 4 for one in found.parts)
    for one, other_one in zip(found.parts, single.parts, strict=True):
        assert torch.allclose(one, other_one, atol=1e-3), "companions in a batch change nothing"


def test_bounds(place: Path, tmp_path: Path) -> None:
    done = prototypes(settings(place, tmp_path / "p", photos_per_class=1, vectors=2))
    assert done.photos <= 3
    assert all(parts <= 2 and context <= 2 for parts, context in done.counts.values())


def test_what_is_kept(place: Path, tmp_path: Path) -> None:
    """A class keeps its surest prototype whatever the limit; context within limits that nothing reaches is empty."""
    prototypes(settings(place, tmp_path / "p", certainty=1.0, context=(0.0, 0.0)))
    found = Prototypes.load(tmp_path / "p")
    assert [len(one) for one in found.parts] == [1, 1, 1]
    assert [len(one) for one in found.context] == [0, 0, 0]


def test_mistakes(place: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tags; give --labels"):
        prototypes(settings(place, tmp_path / "p", labels=None))
    (tmp_path / "there").write_text("mine")
    with pytest.raises(UsageError, match="there exists; add --overwrite"):
        prototypes(settings(place, tmp_path / "there"))
    assert (tmp_path / "there").read_text() == "mine"
    assert prototypes(settings(place, tmp_path / "there", dry_run=True, overwrite=True)).file is None
    assert (tmp_path / "there").read_text() == "mine"


def test_an_unreadable_photo_is_told_and_left_out(place: Path, tmp_path: Path) -> None:
    labels = tiny.write_photos(tmp_path / "photos", 4)
    (tmp_path / "photos" / "p01.png").write_bytes(b"none")
    ear = tiny.Ear()
    config = settings(place, tmp_path / "p", labels=labels)
    done = prototypes(replace(config, images=tmp_path / "photos"), ear)
    assert (done.exit_code, list(done.failures)) == (1, ["p01.png"])
    assert any("p01.png" in line for line in ear.warnings)
    assert (tmp_path / "p").exists()


def extraction(place: Path, out: Path, **more: Any) -> ExtractConfig:
    return ExtractConfig(
        images=place / "photos", out=out, labels=place / "photos.csv", weights=place / "w.safetensors", workers=0,
        device="cpu", scales="1.0", **more,
    )  # fmt: skip


def masks(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.rglob("*.png"))}


def test_extract_with_them_and_with_others(place: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "p.safetensors", tmp_path / "out"
    prototypes(settings(place, file))
    given = {"cam": "lpcam", "lpcam_prototypes": file}
    assert extract(extraction(place, out, **given)).done == 8
    record = json.loads((out / "run.json").read_text())["protocol"]
    assert record["cam"] == "lpcam"
    assert len(record["prototypes_sha256"]) == 64
    assert extract(extraction(place, out, **given)).skipped == 8
    prototypes(settings(place, file, seed=3, vectors=10, overwrite=True))
    with pytest.raises(RecordMismatch):
        extract(extraction(place, out, **given))
    with pytest.raises(RecordMismatch):
        extract(extraction(place, out))


def test_an_interrupted_advcam_ends_as_an_uninterrupted_one(place: Path, tmp_path: Path) -> None:
    given = {"cam": "advcam", "advcam_iterations": 3, "batch_size": 1}
    assert extract(extraction(place, tmp_path / "whole", **given)).done == 8
    stopped = extract(extraction(place, tmp_path / "parts", **given), tiny.StopsAt(3))
    assert stopped.exit_code == 143
    assert 0 < stopped.done < 8
    resumed = extract(extraction(place, tmp_path / "parts", **given))
    assert (resumed.skipped, resumed.done) == (stopped.done, 8)
    assert masks(tmp_path / "parts") == masks(tmp_path / "whole")


def test_settings_of_other_kinds_decide_nothing(place: Path, tmp_path: Path) -> None:
    extract(extraction(place, tmp_path / "out"))
    again = extract(extraction(place, tmp_path / "out", advcam_iterations=3, finer_weight=0.1))
    assert again.skipped == 8
    extract(extraction(place, tmp_path / "finer", cam="finer"))
    with pytest.raises(RecordMismatch, match="finer"):
        extract(extraction(place, tmp_path / "finer", cam="finer", finer_weight=0.1))
    assert np.mean([a == b for a, b in zip(*(masks(tmp_path / o).values() for o in ("out", "finer")), strict=True)]) < 1
