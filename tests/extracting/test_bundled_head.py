"""The boundary head that comes with pseudomask: found by the weights' backbone, and what happens without one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny

from pseudomask.config import ExtractConfig, RefineConfig
from pseudomask.config.quality import QUALITIES
from pseudomask.errors import WeightsError
from pseudomask.extraction import extract
from pseudomask.networks import edge_weights, store
from pseudomask.networks.checkpoint import read_card
from pseudomask.networks.edges import EdgeNetwork
from pseudomask.refining.refine import refine
from pseudomask.running.record import hash_file

Settings = Callable[..., ExtractConfig]


def masks(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*.png")}


def record(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "run.json").read_text())
    return found


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what comes with pseudomask: a head whose backbone is that of `box/cam.safetensors`."""
    (tmp_path / "box").mkdir()
    head = tiny.write_affinity(tmp_path / "box")
    head.rename(tmp_path / "box/boundaries_narrow.safetensors")
    monkeypatch.setattr(store, "bundled_folders", lambda: (tmp_path / "box",))
    return tmp_path / "box"


@pytest.fixture
def own(settings: Settings, box: Path) -> Settings:
    """Extractions with the weights that the head is for, as by default: no method, no refiners named."""

    def make(out: Path, **more: Any) -> ExtractConfig:
        usual: dict[str, Any] = {"weights": box / "cam.safetensors", "method": None, "refine": (), "tta": None}
        return settings(out, **usual | {"threshold": 0.3} | more)

    return make


def seen_by_the_walk(patch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows each time that the walk runs a backbone of its own."""
    seen: list[int] = []
    true = EdgeNetwork.see

    def see(self: EdgeNetwork, x: Any) -> Any:
        seen.append(len(x))
        return true(self, x)

    patch.setattr(EdgeNetwork, "see", see)
    return seen


@pytest.mark.parametrize(
    ("more", "shared"),
    [
        ({}, True),
        ({"tta": "full"}, True),
        ({"method": "recam", "tta": "balanced"}, True),
        ({"max_side": 40, "walk_side": 64}, False),
        ({"max_side": 64, "walk_side": 64, "photos": "large"}, True),
        ({"scales": "0.5"}, False),
    ],
)
def test_the_walk_reads_the_maps_features_and_the_masks_are_those_of_refine(
    own: Settings, source: Path, box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any],
    shared: bool,
) -> None:  # fmt: skip
    """Byte for byte those of two runs, without a pass of the backbone more where it sees the same view."""
    images = source / "photos"
    if more.pop("photos", None):
        tiny.write_photos(tmp_path / "large", 3, sizes=((90, 130), (141, 77)))
        images = tmp_path / "large"
        more |= {"labels": tmp_path / "large.csv"}
    side = {"walk_side": more["walk_side"]} if "walk_side" in more else {}
    config = own(tmp_path / "fused", images=images, **more)
    seen = seen_by_the_walk(monkeypatch)
    result = extract(config)
    assert (result.exit_code, result.unrefined, result.refined_by) == (0, {}, ("walk", "crf"))
    assert bool(seen) != shared
    extract(replace(config, out=tmp_path / "seeds", refine=("none",)))
    assert masks(tmp_path / "fused") != masks(tmp_path / "seeds")
    apart = RefineConfig(
        images=images, seeds=tmp_path / "seeds", out=tmp_path / "apart", method=("walk", "crf"), device="cpu",
        amp="off", workers=0, **side,
    )  # fmt: skip
    refine(apart)
    assert masks(tmp_path / "apart") == masks(tmp_path / "fused")
    head = hash_file(box / "boundaries_narrow.safetensors")
    assert record(tmp_path / "fused")["protocol"]["boundary_sha256"] == head
    assert record(tmp_path / "apart")["protocol"]["affinity_sha256"] == head
    again = refine(replace(apart, out=tmp_path / "again", seeds=tmp_path / "fused"))
    assert (again.done, masks(tmp_path / "again")) == (8 if images != tmp_path / "large" else 3, masks(apart.out))


def test_the_walk_keeps_half_of_the_seeds(own: Settings, source: Path, box: Path, tmp_path: Path) -> None:
    """By default, for scores of cpmc and a head that knows their classes; `refine` reads it in the seeds' record."""
    weak: dict[str, Any] = {"crf_gauss_weight": 0.0, "crf_bilateral_weight": 0.0}  # leaves the walk's masks as they are
    apart = RefineConfig(
        images=source / "photos", seeds=tmp_path, out=tmp_path, method=("walk", "crf"), device="cpu", amp="off",
        workers=0, **weak,
    )  # fmt: skip

    def usual(name: str, **more: Any) -> tuple[dict[str, bytes], float]:
        """Masks of an extraction, which `refine` makes too, and the share that it takes."""
        assert extract(own(tmp_path / name, **weak | more)).exit_code == 0
        again = replace(apart, seeds=tmp_path / name, out=tmp_path / f"{name}-apart")
        refine(again if "walk_seeds" not in more else replace(again, walk_seeds=more["walk_seeds"]))
        assert masks(tmp_path / name) == masks(again.out)
        return masks(tmp_path / name), record(again.out)["config"]["walk_seeds"]

    assert usual("ignorant")[1] == 0
    (box / "more").mkdir()
    tiny.write_affinity(box / "more", knows=True).replace(box / "boundaries_narrow.safetensors")
    found, share = usual("cpmc")
    assert share == 0.5
    assert found == usual("half", walk_seeds=0.5)[0] != usual("none", walk_seeds=0.0)[0]
    assert usual("recam", method="recam")[1] == 0


@pytest.mark.parametrize(("named", "classes"), [(None, True), (Path("imagenet"), False)])
def test_each_bundled_network_has_its_head(named: Path | None, classes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only that of the VOC weights predicts classes: those of `--weights imagenet` are whatever the tags name."""
    monkeypatch.delenv(store.VARIABLE, raising=False)
    weights = store.find_weights(named)
    head = edge_weights.bundled_head(weights)
    assert head is not None
    assert edge_weights.stands_on(head, weights)
    assert head.stat().st_size < 300 * 2**10
    assert edge_weights.knows_classes(head, read_card(head).classes) == classes


def test_weights_with_another_backbone_are_refined_without_it(own: Settings, source: Path, tmp_path: Path) -> None:
    """By default in one line that names the command; where walk is asked for it is an error, before any photo."""
    other = tiny.write_weights(tmp_path / "other.safetensors", seed=4)
    ear = tiny.Ear()
    result = extract(own(tmp_path / "out", weights=other), ear)
    assert (result.exit_code, result.refined_by) == (0, ("crf",))
    (line,) = [line for line in ear.warnings if "train-affinity" in line]
    assert "--affinity RUN/weights.safetensors" in line
    assert str(other) in line
    assert extract(own(tmp_path / "out", weights=other)).skipped == 8
    with pytest.raises(WeightsError, match="train-affinity"):
        extract(own(tmp_path / "walk", weights=other, refine=("walk",)))
    assert not (tmp_path / "walk").exists()
    with pytest.raises(WeightsError, match="train-affinity"):
        refine(
            RefineConfig(images=source / "photos", seeds=tmp_path / "out", out=tmp_path / "refined", method=("walk",))
        )
    assert not (tmp_path / "refined").exists()


def test_a_head_that_is_named_wins(own: Settings, box: Path, tmp_path: Path) -> None:
    (tmp_path / "named").mkdir()
    named = tiny.write_affinity(tmp_path / "named", seed=7)
    extract(own(tmp_path / "out", affinity=named, limit=1))
    assert record(tmp_path / "out")["protocol"]["boundary_sha256"] == hash_file(named)


@pytest.mark.parametrize("quality", list(QUALITIES))
def test_a_quality_is_its_row_of_the_table_and_each_flag_wins(own: Settings, tmp_path: Path, quality: Any) -> None:
    point = QUALITIES[quality]
    result = extract(own(tmp_path / "out", quality=quality, limit=1))
    found = record(tmp_path / "out")
    assert (found["config"]["quality"], found["protocol"]["method"]) == (quality, point.method)
    assert (found["config"]["tta"], tuple(found["config"]["refine"])) == (point.tta, point.refine)
    assert f"{quality} ({point})" in dict(result.summary())["made with"]
    own_ones: dict[str, Any] = {"method": "cam", "refine": ("none",), "tta": "balanced"}
    for name, value in own_ones.items():
        dry = extract(own(tmp_path / "dry", quality=quality, dry_run=True, **{name: value}))
        told = dict(dry.understood)
        assert f"but for --{name}" in told["quality"]
        assert told["method"].startswith("cam" if name == "method" else point.method)
        assert ("refined by" in told) == (name != "refine")


def test_a_folder_of_an_earlier_version_goes_on_as_it_was_begun(own: Settings, tmp_path: Path) -> None:
    """Without a quality in its record: recam, no refiners; any flag is compared as ever."""
    before = own(tmp_path / "before", method="recam", tta="balanced", refine=("none",))
    extract(before)
    shutil.copytree(tmp_path / "before", tmp_path / "out")
    content = record(tmp_path / "out")
    del content["config"]["quality"]
    (tmp_path / "out/run.json").write_text(json.dumps(content))
    for key in ("p03", "p05"):
        (tmp_path / f"out/{key}.png").unlink()
    for _ in range(2):
        result = extract(own(tmp_path / "out"))
        assert (result.exit_code, result.done, result.refined_by) == (0, 8, ())
        assert masks(tmp_path / "out") == masks(tmp_path / "before")
    with pytest.raises(Exception, match="refine"):
        extract(own(tmp_path / "out", quality="balanced"))


def test_the_weights_are_read_once(own: Settings, box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comparing the head's backbone with theirs takes the network that is there."""

    def again(path: Path) -> None:
        raise AssertionError(f"{path} is read a second time")

    monkeypatch.setattr(edge_weights, "load_network", again)
    monkeypatch.setattr(edge_weights, "_FACTS", {})
    assert extract(own(tmp_path / "out")).refined_by == ("walk", "crf")
