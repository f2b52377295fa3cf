"""Folders that an earlier version began: settings that it did not know count as their defaults."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import tiny

from pseudomask.api import train_affinity, train_cls
from pseudomask.chain import status
from pseudomask.chain.plan import plan
from pseudomask.config import ExtractConfig, RefineConfig, RunConfig, TrainClsConfig
from pseudomask.config.roles import deciding, defaults
from pseudomask.errors import RecordMismatch
from pseudomask.extracting.extract import extract
from pseudomask.extraction import extract as extract_refined
from pseudomask.pipeline import run
from pseudomask.refining.refine import refine


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upgrades")
    tiny.write_photos(folder / "photos", 4, seed=3)
    tiny.write_weights(folder / "weights.safetensors", thresholds={"product": 0.3, "first": 0.3})
    tiny.write_backbone(folder / "backbone.safetensors")
    extract(extraction(folder, folder / "masks"))
    return folder


def extraction(place: Path, out: Path, **more: Any) -> ExtractConfig:
    same = {"labels": place / "photos.csv", "weights": place / "weights.safetensors", "device": "cpu", "amp": "off"}
    same |= {"scales": "1.0", "workers": 0, "method": "recam", "refine": ("none",)}
    return ExtractConfig(**{"images": place / "photos", "out": out, **same, **more})


def forget(record: Path, names: Collection[str]) -> None:
    """As if the version that wrote it had not known these settings."""
    content = json.loads(record.read_text())
    assert set(names) <= set(content["config"])
    content["config"] = {name: value for name, value in content["config"].items() if name not in names}
    record.write_text(json.dumps(content))


def test_extract_resumes_what_an_earlier_version_began(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(place / "masks", out)
    forget(out / "run.json", {"allow_truncated", "cpmc_power", "mask_mode", "overlay"})
    assert extract(extraction(place, out)).skipped == 4
    forget(out / "run.json", {"mask_mode"})
    with pytest.raises(RecordMismatch, match='mask_mode was "palette", now "index"'):
        extract(extraction(place, out, mask_mode="index"))


def test_refine_resumes_what_an_earlier_version_began(place: Path, tmp_path: Path) -> None:
    """Its own record without the settings, and that of its seeds."""
    shutil.copytree(place / "masks", tmp_path / "seeds")
    config = RefineConfig(
        images=place / "photos", seeds=tmp_path / "seeds", out=tmp_path / "out", method=("pamr",), workers=0
    )
    refine(config)
    forget(tmp_path / "out/run.json", {"pamr_softness", "mask_mode", "score_bits"})
    assert refine(config).skipped == 4
    forget(tmp_path / "seeds/run.json", {"allow_truncated", "score_stride"})
    assert refine(config).skipped == 4
    forget(tmp_path / "out/run.json", {"pamr_softness"})
    with pytest.raises(RecordMismatch, match=r"pamr_softness was 0\.1, now 0\.5"):
        refine(dataclasses.replace(config, pamr_softness=0.5))


@pytest.mark.parametrize("verb", ["extract", "refine"])
@pytest.mark.parametrize("changed", ["cut", "confidence"])
def test_refiners_of_other_defaults_are_another_run(place: Path, tmp_path: Path, verb: str, changed: str) -> None:
    """As of a version whose walk cut its scores elsewhere, or that recorded no number for the CRF's confidence."""
    out = tmp_path / "out"
    chain: tuple[str, ...] = ("pamr",) if changed == "cut" else ("crf",)
    refined = RefineConfig(images=place / "photos", seeds=place / "masks", out=out, method=chain, workers=0)

    def again() -> int:
        return (extract_refined(extraction(place, out, refine=chain)) if verb == "extract" else refine(refined)).skipped

    again()
    assert again() == 4
    record = json.loads((out / "run.json").read_text())
    protocol = record["protocol"]
    if changed == "cut":
        name = "masks_threshold" if verb == "extract" else "scores_threshold"
        assert protocol[name] == 0.3
        protocol[name], message = 0.25, "the refined scores are cut at another threshold"
    else:
        assert record["config"]["crf_gt_prob"] == 0.9
        record["config"]["crf_gt_prob"], message = None, r"crf_gt_prob was null, now 0\.9"
    (out / "run.json").write_text(json.dumps(record))
    with pytest.raises(RecordMismatch, match=message):
        again()


def test_refine_knows_the_hash_that_version_0_1_0_made_of_its_seeds(place: Path, tmp_path: Path) -> None:
    from pseudomask.refining.seeds import read_seeds

    config = RefineConfig(images=place / "photos", seeds=place / "masks", out=tmp_path / "out", workers=0)
    config = dataclasses.replace(config, method=("pamr",))
    refine(config)
    content = json.loads((tmp_path / "out/run.json").read_text())
    seeds = read_seeds(place / "masks", None)
    assert seeds.hash != seeds.hash_before
    (tmp_path / "out/run.json").write_text(
        json.dumps(content | {"protocol": content["protocol"] | {"seeds_hash": seeds.hash_before}})
    )
    assert refine(config).skipped == 4
    assert json.loads((tmp_path / "out/run.json").read_text())["protocol"]["seeds_hash"] == seeds.hash
    (tmp_path / "out/run.json").write_text(
        json.dumps(content | {"protocol": content["protocol"] | {"seeds_hash": "0" * 64}})
    )
    with pytest.raises(RecordMismatch, match="seeds"):
        refine(config)


def test_the_hash_of_version_0_1_0_survives_that_extract_is_run_again(place: Path, tmp_path: Path) -> None:
    """The resumed extract writes its record anew, with settings that 0.1.0 did not know."""
    from pseudomask.refining.seeds import read_seeds

    shutil.copytree(place / "masks", tmp_path / "seeds")
    today = read_seeds(tmp_path / "seeds", None).hash_before
    content = json.loads((tmp_path / "seeds/run.json").read_text())
    forget(tmp_path / "seeds/run.json", {"bits", "bands", "alpha", "value_range", "hash_photos", "prune"})
    forget(tmp_path / "seeds/run.json", {"tag_separator", "image_column", "label_column", "no_class", "skip_tag"})
    assert read_seeds(tmp_path / "seeds", None).hash_before == today
    content["config"]["alpha"] = "ignore"
    (tmp_path / "seeds/run.json").write_text(json.dumps(content))
    assert read_seeds(tmp_path / "seeds", None).hash_before != today


def test_trainings_resume_what_an_earlier_version_began(place: Path, tmp_path: Path) -> None:
    config = tiny.training(place, tmp_path / "cls", crop=48, batch_size=2, epochs=1)
    train_cls(config)
    forget(config.run / "run.json", {"clip", "warmup", "min_side"})
    assert train_cls(config).exit_code == 0
    forget(config.run / "run.json", {"clip"})
    with pytest.raises(RecordMismatch, match=r"clip was 0\.0, now 1\.0"):
        train_cls(dataclasses.replace(config, clip=1.0))
    boundary = tiny.affinity_training(
        place, tmp_path / "affinity", seeds=place / "masks", weights=place / "weights.safetensors", batch_size=2,
        epochs=1, radius=5,
    )  # fmt: skip
    train_affinity(boundary)
    forget(boundary.run / "run.json", {"clip", "confident_crf"} - {"confident_crf"})
    assert train_affinity(boundary).exit_code == 0


def test_a_chain_takes_the_export_of_an_earlier_version(place: Path, tmp_path: Path) -> None:
    """It does not refuse it as one made with other settings."""
    file = tmp_path / "chain.toml"
    file.write_text(
        f'images = "{place}/photos"\nlabels = "{place}/photos.csv"\nout = "{tmp_path}/out"\nworkers = 0\n'
        f'device = "cpu"\n[extract]\nweights = "{place}/weights.safetensors"\nscales = "1.0"\n'
        '[export]\nformat = "mmseg"\n'
    )
    assert run(RunConfig(config=file)).exit_code == 0
    summary = tmp_path / "out/chain.json"
    content = json.loads(summary.read_text())
    entry = next(one for one in content["steps"] if one["step"] == "export")
    del entry["config"]["split_name"]
    step = next(one for one in plan(file, {}).steps if one.label == "export")
    with pytest.MonkeyPatch.context() as patch:
        known = [name for name in entry["config"] if name not in ("max_failures", "overwrite")]
        patch.setattr(status, "deciding", lambda *_, **__: known)
        entry["fingerprint"] = status.fingerprint(step)
    summary.write_text(json.dumps(content))
    again = run(RunConfig(config=file))
    assert {one["step"]: one["status"] for one in again.steps} == {"extract": "skipped", "export": "skipped"}


@pytest.mark.parametrize(
    ("method", "idle", "deciding_one"),
    [
        ("cam", {"cpmc_power": 2.0, "calib_target": "argmax", "recam_weights": "sum"}, {"max_side": 320}),
        ("recam", {"cpmc_power": 2.0, "cpmc_output": "refined"}, {"recam_weights": "sum"}),
        ("cpmc", {}, {"cpmc_power": 2.0}),
    ],
)
def test_settings_of_a_method_that_does_not_run_decide_nothing(
    place: Path, tmp_path: Path, method: str, idle: dict[str, Any], deciding_one: dict[str, Any]
) -> None:
    config = extraction(place, tmp_path / "out", method=method, limit=1, threshold=0.3)
    extract(config)
    again = extract(dataclasses.replace(config, **idle))
    assert (again.skipped, again.done) == (1, 1)
    with pytest.raises(RecordMismatch, match=next(iter(deciding_one))):
        extract(dataclasses.replace(config, **deciding_one))


def test_idle_settings_of_the_seeds_do_not_refuse_the_refinement(place: Path, tmp_path: Path) -> None:
    """A cam run whose record tells another --cpmc-power has the same scores."""
    shutil.copytree(place / "masks", tmp_path / "seeds")
    config = RefineConfig(
        images=place / "photos", seeds=tmp_path / "seeds", out=tmp_path / "out", method=("pamr",), workers=0
    )
    refine(config)
    extract(extraction(place, tmp_path / "seeds", cpmc_power=2.0, batch_size=1))
    assert refine(config).skipped == 4


def test_every_default_can_be_compared_with_a_record() -> None:
    """As JSON would give it back."""
    for config in (ExtractConfig, RefineConfig, TrainClsConfig):
        usual = defaults(config)
        assert json.loads(json.dumps(usual)) == usual
        assert set(deciding(config)) <= set(usual)
