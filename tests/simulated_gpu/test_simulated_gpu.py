"""Whole verbs on a GPU that is simulated (`simulated.py`), and mistakes that have to be found there.

All cases run in one process of their own, since the simulation replaces parts of torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gpu_stubs
import pytest

pytestmark = [pytest.mark.skipif(bool(gpu_stubs.missing()), reason=f"no simulated GPU: {gpu_stubs.missing()}")]

Cases = Mapping[str, dict[str, Any]]


OTHERS = [
    "extract recam, no tags",
    "extract recam, mixed sizes",
    "extract cpmc, calibrated",
    "extract cam and walk,crf",
    "extract recam and pamr fp16",
    "extract cpmc and walk,crf bf16",
    "refine crf",
    "refine pamr",
    "refine walk,crf",
    "refine walk bf16",
    "refine walk,crf, threads",
    "prototypes and lpcam",
]
TRAININGS = ["train-affinity", "train-affinity fp16", "train-seg off", "train-seg bf16", "train-seg fp16"]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """What each case of `gpu_cases.py` told."""
    return gpu_stubs.run("gpu_cases.py", tmp_path_factory.mktemp("gpu"))


def sound(case: dict[str, Any]) -> dict[str, Any]:
    assert "error" not in case, case["error"]
    assert case["launches"] > 100, "it did not run on the device"
    assert not case["no_kernel"]
    return case


@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
@pytest.mark.parametrize("method", ["cam", "recam", "cpmc"])
def test_extract(cases: Cases, method: str, amp: str) -> None:
    """As on the CPU: in float32 within a level of 255, as the views that the device resizes; in less within a few."""
    case = sound(cases[f"extract {method} {amp}"])
    assert case["classes"]
    if amp == "off":
        assert case["agree"] > 0.999
        assert case["apart"] < 0.004
    assert case["agree"] > 0.97
    assert case["apart"] < 0.03
    assert not case["overflows"]
    assert case["fused"] > 20, "cuDNN's fused convolutions were not used"


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("cuDNN forgets the ReLU", False),
        ("cuDNN forgets the shortcut", False),
        ("cuDNN has no fused kernel", False),
        ("cuDNN has no fused kernel for large inputs", True),
    ],
)
def test_fused_convolutions_that_are_wrong_or_missing_are_not_used(cases: Cases, name: str, used: bool) -> None:
    """They are compared with plain ones beforehand; one without a kernel for a shape goes on as a plain one."""
    case = sound(cases[name])
    assert case["agree"] > 0.999
    assert case["apart"] < 0.004
    assert (case["fused"] > 10) is used


@pytest.mark.parametrize("name", OTHERS)
def test_other_extractions_and_refiners(cases: Cases, name: str) -> None:
    case = sound(cases[name])
    assert case["classes"]
    assert case["agree"] > 0.97
    assert not case["unrefined"]
    assert not case["overflows"]
    if "16" not in name and "tags" not in name:
        assert case["apart"] < 0.01


@pytest.mark.parametrize(("kind", "strayed"), [("off", 1e-3), ("bf16", 0.1), ("fp16", 0.8), ("without float64", 1e-3)])
def test_trainings(cases: Cases, kind: str, strayed: float) -> None:
    """Heads that begin alike end where those of the CPU do, within `strayed` of their way.

    float16 loses small gradients, and leaves out a step while it looks for its scale.
    """
    case = sound(cases[f"train {kind}"])
    assert case["finite"]
    assert all(moved > 0 for moved in case["moved"]), "no weight has moved"
    assert case["heads"] < strayed


def test_heads_that_learn_from_mirrored_labels_are_noticed(cases: Cases) -> None:
    case = sound(cases["heads that learn from mirrored labels"])
    assert case["finite"]
    assert case["heads"] > 0.1


@pytest.mark.parametrize("method", ["cam", "recam", "cpmc"])
def test_a_photo_costs_no_wait_in_the_thread_that_feeds_the_gpu(cases: Cases, method: str) -> None:
    """A batch of two more: the photos and their tags go there, and each photo's writer waits for its maps."""
    case = cases[f"a photo more, {method}"]
    assert "error" not in case, case
    assert case == {"syncs": 0, "waits": 1, "copies": 1, "pageable": 0}


@pytest.mark.parametrize("name", ["predict", "predict, tags"])
def test_predict_does_not_wait_either(cases: Cases, name: str) -> None:
    case = sound(cases[name])
    assert case["classes"]
    assert case["agree"] > 0.97
    assert case["each"] == {"syncs": 0, "waits": 1, "copies": 0.5, "pageable": 0}


@pytest.mark.parametrize(("method", "syncs", "copies"), [("crf", 4, 2), ("pamr", 1.5, 1), ("walk", 1.5, 1)])
def test_what_refine_costs_a_photo(cases: Cases, method: str, syncs: float, copies: float) -> None:
    """At two photos a batch; each batch asks for the size of a lattice or of a sparse matrix, and for its result."""
    case = sound(cases[f"refine {method}, a photo more"])
    assert not case["pageable"]
    assert case["each"]["syncs"] <= syncs
    assert case["each"]["copies"] <= copies
    ours = sum(count for place, count in case["syncs"].items() if place.startswith("refining/"))
    assert ours <= syncs * 6, "four photos, and one to find the thresholds"


def test_what_a_step_of_a_training_costs(cases: Cases) -> None:
    """Loss and gradient are read before the weights change; six steps of three trainings."""
    case = sound(cases["train off"])
    steps = {
        place: count for place, count in case["syncs"].items() if place.startswith(("training/trainer", "training/l"))
    }
    assert sum(steps.values()) <= 7 * 6
    assert sum(count for place, count in case["copies"].items() if place.startswith("training/trainer")) == 2 * 6


def test_budgets_that_are_exceeded_are_noticed(cases: Cases) -> None:
    assert cases["a wait for each batch"]["syncs"] > 0
    assert cases["memory that is not pinned"]["pageable"] > 0
    assert cases["float16 that overflows"]["overflows"]


@pytest.mark.parametrize("kind", ["refine crf", "refine pamr", "train-affinity"])
def test_devices_without_float64(cases: Cases, kind: str) -> None:
    """As Apple's GPUs are. The walk is then computed on the CPU."""
    sound(cases[f"{kind} without float64"])


@pytest.mark.parametrize("name", TRAININGS)
def test_other_trainings(cases: Cases, name: str) -> None:
    assert sound(cases[name])["finite"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a tensor stays on the CPU", "same device"),
        ("NumPy of a tensor on the device", ".numpy() is not supported"),
        ("two precisions in one product", "same dtype"),
        ("a device that is not there", "invalid device ordinal"),
        ("maps read before they have arrived", "must be numbers"),
        ("pinned memory used again too early", "pinned memory was written to"),
        ("a tensor on the device is pinned", "only dense CPU tensors can be pinned"),
    ],
)
def test_planted_mistakes_are_found(cases: Cases, name: str, told: str) -> None:
    assert told in cases[name]["caught"]
