"""Each of timm's families from training to masks, and what bad input gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import tiny_timm
import torch
from safetensors.torch import save_file

from pseudomask import api
from pseudomask.config import CalibrateConfig, ExtractConfig, ReactivateConfig, RefineConfig
from pseudomask.errors import UsageError
from pseudomask.networks.backbones import make_backbone, timm_zoo
from pseudomask.networks.backbones.timm_backbone import TimmBackbone
from pseudomask.networks.checkpoint import load_network, read_card


def made(family: str) -> TimmBackbone:
    make_backbone(tiny_timm.NAMES[family])  # the first time, what the network is like is found out: that draws numbers
    torch.manual_seed(0)
    found = make_backbone(tiny_timm.NAMES[family]).eval()
    assert isinstance(found, TimmBackbone)
    return found


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("timm")
    tiny.write_photos(place / "photos", 6)
    return place


def settings(room: Path, run: str, family: str, **more: Any) -> Any:
    small = {"epochs": 1, "batch_size": 3, "crop": 93, "freeze": "stem", "val_fraction": 0.2, "seed": 1}
    weights = room / f"{family}.safetensors"
    if not weights.exists():
        save_file(made(family).net.state_dict(), weights)
    shape = {"backbone": tiny_timm.NAMES[family], "backbone_weights": weights}
    return replace(tiny.training(room, room / run, **small), **shape | more)


def on(config: Any, kind: type, weights: Path, run: Path, **more: Any) -> Any:
    """The settings that a later training shares with `train-cls`, on its weights."""
    shared = {name: value for name, value in vars(config).items() if name in kind.__dataclass_fields__}  # type: ignore[attr-defined]
    return kind(**shared | {"weights": weights, "run": run, "freeze": "all"} | more)


def extract(room: Path, out: Path, weights: Path, **more: Any) -> int:
    config = ExtractConfig(
        images=room / "photos", out=out, labels=room / "photos.csv", weights=weights, workers=0, device="cpu",
        **{"refine": ("none",)} | more,
    )  # fmt: skip
    return api.extract(config).exit_code


@pytest.mark.parametrize("family", tiny_timm.FAMILIES)
def test_every_family_trains_reactivates_and_extracts(room: Path, tmp_path: Path, family: str) -> None:
    config = settings(room, str(tmp_path / "cls"), family)
    first = api.train_cls(config).weights
    assert first is not None
    trained, start = load_network(first)[0], made(family)
    before = start.state_dict()
    changed = {name for name, value in trained.backbone.state_dict().items() if not torch.equal(value, before[name])}
    stem = {name for name, p in start.named_parameters() if any(p is one for one in start.parameters_of("stem"))}
    assert changed, "--freeze stem trains the rest"
    assert not changed & stem
    second = api.reactivate(on(config, ReactivateConfig, first, tmp_path / "recam", lr_head=0.1)).weights
    assert second is not None
    told = read_card(second)
    assert (told.backbone, told.output_stride) == (config.backbone, start.output_stride)
    assert told.backbone_facts["license"] == timm_zoo.facts_of(tiny_timm.FAMILIES[family][0])["license"]
    for method, weights in (("cam", first), ("recam", second), ("cpmc", second)):
        assert extract(room, tmp_path / f"masks-{method}", weights, method=method) == 0
        assert len(list((tmp_path / f"masks-{method}").rglob("*.png"))) == 6


def test_heads_boundaries_and_crf_stand_on_a_vit(room: Path, tmp_path: Path) -> None:
    config = settings(room, str(tmp_path / "cls"), "ViT")
    weights = api.train_cls(config).weights
    assert weights is not None
    calibrated = api.calibrate(on(config, CalibrateConfig, weights, tmp_path / "cpmc", lr_head=0.1)).weights
    assert calibrated is not None
    assert extract(room, tmp_path / "heads", calibrated, method="cpmc") == 0
    assert extract(room, tmp_path / "seeds", weights, method="cam", threshold=0.4) == 0
    affinity = tiny.affinity_training(
        room, tmp_path / "affinity", seeds=tmp_path / "seeds", weights=weights, batch_size=3, epochs=1, radius=4
    )
    head = api.train_affinity(affinity).weights
    assert head is not None
    assert extract(room, tmp_path / "walked", weights, method="cpmc", refine=("walk", "crf"), affinity=head) == 0
    refining = RefineConfig(
        images=room / "photos", seeds=tmp_path / "seeds", out=tmp_path / "later", affinity=head, device="cpu",
        workers=0, amp="off",
    )  # fmt: skip
    assert api.refine(refining).exit_code == 0
    assert len(list((tmp_path / "later").rglob("*.png"))) == 6


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("resnet5", r"no network 'resnet5'; did you mean 'resnet50'\?"),
        ("resnet50.a1_ink", r"no weights 'a1_ink' of resnet50; did you mean 'a1_in1k'\?"),
        ("", "no network ''"),
        ("beit_base_patch16_224", "one size only"),
    ],
)
def test_unknown_and_unfit_names(room: Path, name: str, complaint: str) -> None:
    config = replace(settings(room, "refused", "ViT"), backbone=f"timm:{name}", dry_run=True)
    with pytest.raises(UsageError, match=complaint) as error:
        api.train_cls(config)
    assert error.value.exit_code == 2
    assert not (room / "refused").exists()


def test_another_stride_than_its_own_is_refused(room: Path) -> None:
    with pytest.raises(UsageError, match="give --output-stride 14"):
        api.train_cls(settings(room, "refused", "DINOv2", output_stride=16))


def test_torchvisions_weights_are_not_timms(room: Path) -> None:
    with pytest.raises(UsageError, match=r"torchvision: timm:.* leave it out"):
        api.train_cls(replace(settings(room, "refused", "ViT"), backbone_weights=Path("torchvision")))


def test_a_licence_that_restricts_is_told(room: Path, tmp_path: Path) -> None:
    ear = tiny.Ear()
    api.train_cls(settings(room, str(tmp_path / "a"), "DINOv3", dry_run=True), ear)
    assert sum("dinov3-license" in one for one in ear.warnings) == 1
    ear = tiny.Ear()
    api.train_cls(settings(room, str(tmp_path / "b"), "EVA", dry_run=True), ear)
    assert not any("licence" in one for one in ear.warnings)
    assert any("licence mit" in one and "mean 0.481, 0.458, 0.408" in one for one in ear.infos)


TABLE = Path(__file__).parents[2] / "docs" / "networks.md"


def rows() -> dict[str, list[str]]:
    """Family → the other cells of docs/networks.md's table."""
    lines = [line for line in TABLE.read_text("utf-8").splitlines() if line.startswith("| ")]
    cells = [[one.strip().strip("`") for one in line.strip("|").split("|")] for line in lines]
    return {family: rest for family, *rest in cells[2:]}


def test_the_table_has_each_family_that_is_tested() -> None:
    assert {family: name for family, (name, *_) in rows().items()} == {
        family: real for family, (real, _) in tiny_timm.FAMILIES.items()
    }


@pytest.mark.parametrize("family", tiny_timm.FAMILIES)
def test_a_row_of_the_table_is_true(family: str) -> None:
    name, stride, stages, attention, license = rows()[family]
    own, *others = [int(one) for one in stride.replace("(", "").replace(")", "").replace(",", "").split()]
    with torch.device("meta"):
        network = make_backbone(f"timm:{name}")
        assert network.output_stride == own
        assert ", ".join(map(str, network.strides[1:])) == stages
        assert ("yes" if network.attends else "no") == attention
        assert network.facts["license"] == license
        for other in {8, 16, 32} - {own}:
            if other in others:
                assert make_backbone(f"timm:{name}", output_stride=other).output_stride == other
            else:
                with pytest.raises(UsageError, match=f"give --output-stride {own}"):
                    make_backbone(f"timm:{name}", output_stride=other)
