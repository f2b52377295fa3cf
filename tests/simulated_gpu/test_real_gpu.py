"""The cases of the simulated GPU on a real one (`real_gpu.py`): all verbs there, beside the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import gpu_stubs
import pytest
from test_simulated_gpu import OTHERS, TRAININGS, sound

pytestmark = [pytest.mark.cuda]

Cases = Mapping[str, dict[str, Any]]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    seen = os.environ | {"CUDA_VISIBLE_DEVICES": os.environ["TESTS_GPU"]}
    found = gpu_stubs.told("real_gpu.py", tmp_path_factory.mktemp("gpu"), seen, gpu_stubs.ABSENT)
    if not found:
        pytest.skip("there is no NVIDIA GPU")
    return found


def test_no_case_fails(cases: Cases) -> None:
    assert {name: one["error"] for name, one in cases.items() if "error" in one} == {}


@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
@pytest.mark.parametrize("method", ["cam", "recam", "cpmc"])
def test_extract(cases: Cases, method: str, amp: str) -> None:
    case = sound(cases[f"extract {method} {amp}"])
    assert case["classes"]
    assert case["agree"] > (0.995 if amp == "off" else 0.97)
    assert case["apart"] < (0.01 if amp == "off" else 0.03)


@pytest.mark.parametrize("name", [*OTHERS, "predict", "predict, tags"])
def test_other_verbs(cases: Cases, name: str) -> None:
    case = sound(cases[name])
    assert case["classes"]
    assert case["agree"] > 0.97
    assert not case["unrefined"]


@pytest.mark.parametrize("kind", ["off", "bf16", "fp16"])
def test_trainings(cases: Cases, kind: str) -> None:
    case = sound(cases[f"train {kind}"])
    assert case["finite"]
    assert all(moved > 0 for moved in case["moved"])
    assert case["heads"] < {"off": 0.01, "bf16": 0.1, "fp16": 0.8}[kind]


@pytest.mark.parametrize("name", TRAININGS)
def test_other_trainings(cases: Cases, name: str) -> None:
    assert sound(cases[name])["finite"]


@pytest.mark.parametrize("method", ["cam", "recam", "cpmc"])
def test_the_thread_that_feeds_the_gpu_does_not_wait_for_it(cases: Cases, method: str) -> None:
    assert cases[f"a photo more, {method}"]["syncs"] == 0


def test_memory_that_runs_out_halves_the_batch(cases: Cases) -> None:
    case = sound(cases["out of memory"])
    assert any("out of memory with batches of" in line for line in case["warned"])
    assert case["agree"] > 0.995
