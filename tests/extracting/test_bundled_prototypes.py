"""LPCAM's prototypes that come with pseudomask: what extract does by default where the weights have some."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from pseudomask.api import prototypes
from pseudomask.config import ExtractConfig, PrototypesConfig
from pseudomask.config.extract import Quality
from pseudomask.errors import UsageError
from pseudomask.extraction import extract
from pseudomask.maps.cams.lpcam import Prototypes, bundled_for
from pseudomask.networks import store
from pseudomask.networks.checkpoint import load_network
from pseudomask.running.record import hash_file

Settings = Callable[..., ExtractConfig]


@pytest.fixture
def box(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Prototypes for the weights of `settings`, as if they came with pseudomask."""
    file = tmp_path / "box/prototypes_tiny.safetensors"
    prototypes(
        PrototypesConfig(
            images=source / "photos", file=file, labels=source / "photos.csv", weights=source / "weights.safetensors",
            recam_weights="first", workers=0, device="cpu", amp="off",
        )
    )  # fmt: skip
    monkeypatch.setattr(store, "bundled_folders", lambda: (tmp_path / "box",))
    return file


@pytest.fixture
def own(settings: Settings) -> Settings:
    """Extractions with no method named and no refiners."""

    def make(out: Path, **more: Any) -> ExtractConfig:
        return settings(out, **{"method": None, "tta": None, "limit": 3} | more)

    return make


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "run.json").read_text())
    return found


def files(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for end in ("*.png", "*.npz") for p in sorted(out.rglob(end))}


def test_the_default_starts_from_their_maps(own: Settings, box: Path, tmp_path: Path) -> None:
    """Byte for byte what the flags make, even with weights that have a second classifier; and it is resumed."""
    extract(own(tmp_path / "usual"))
    extract(own(tmp_path / "flags", method="cpmc", cam="lpcam", lpcam_prototypes=box, recam_weights="first"))
    extract(own(tmp_path / "plain", method="cpmc"))
    assert files(tmp_path / "usual") == files(tmp_path / "flags")
    assert files(tmp_path / "usual") != files(tmp_path / "plain")
    found = record(tmp_path / "usual")
    assert (found["config"]["cam"], found["protocol"]["prototypes_sha256"]) == ("lpcam", hash_file(box))
    before = files(tmp_path / "usual")
    next((tmp_path / "usual").rglob("*.png")).unlink()
    assert extract(own(tmp_path / "usual")).skipped == 2
    assert files(tmp_path / "usual") == before


NAMED = (
    {"method": "cpmc"},
    {"method": "recam"},
    {"recam_weights": "sum"},
    {"cpmc_weights": "second"},
    {"quality": "fast"},
)


@pytest.mark.parametrize("more", NAMED, ids=str)
def test_what_is_named_starts_from_plain_maps(own: Settings, box: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    extract(own(tmp_path / "out", **more))
    extract(own(tmp_path / "plain", cam="plain", **more))
    assert record(tmp_path / "out")["config"]["cam"] == "plain"
    assert files(tmp_path / "out") == files(tmp_path / "plain")


def test_other_weights_have_none(own: Settings, box: Path, tmp_path: Path) -> None:
    """Of another backbone or of other classes: plain maps by default, and the usual error where lpcam is asked for."""
    other = tiny.write_weights(tmp_path / "other.safetensors", seed=4)
    ear = tiny.Ear()
    extract(own(tmp_path / "out", weights=other), ear)
    assert record(tmp_path / "out")["config"]["cam"] == "plain"
    assert not [line for line in ear.warnings if "prototypes" in line]
    with pytest.raises(UsageError, match="--lpcam-prototypes"):
        extract(own(tmp_path / "asked", weights=other, cam="lpcam"))
    network, card = load_network(own(tmp_path / "x").weights or Path())
    assert bundled_for(network, card) == box
    assert bundled_for(network, replace(card, classes=tuple(reversed(card.classes)))) is None


@pytest.mark.parametrize(
    ("quality", "former", "tta"),
    [("balanced", {"cam": "plain"}, "three"), ("balanced", {"tta": "fast"}, "fast"), ("best", {"tta": "full"}, "full")],
)
def test_a_folder_goes_on_with_the_defaults_that_it_was_begun_with(
    own: Settings, box: Path, tmp_path: Path, quality: Quality, former: dict[str, Any], tta: str
) -> None:
    asked = {"quality": quality}
    extract(own(tmp_path / "out", **asked, **former))
    before = files(tmp_path / "out")
    next((tmp_path / "out").rglob("*.png")).unlink()
    told = dict(extract(own(tmp_path / "out", **asked, dry_run=True)).understood)["quality"]
    assert told.startswith(f"{quality} (cpmc, --tta {tta})")
    assert extract(own(tmp_path / "out", **asked)).skipped == 2
    assert files(tmp_path / "out") == before


def test_the_bundled_weights_have_prototypes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(store.VARIABLE, raising=False)
    network, card = load_network(store.find_weights(None))
    path = bundled_for(network, card)
    assert path is not None
    assert path.stat().st_size < 2 * 2**20
    assert Prototypes.load(path).rule == "first"
