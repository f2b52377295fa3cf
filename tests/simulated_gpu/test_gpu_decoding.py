"""`--decode gpu` on a GPU that is simulated, with an nvJPEG that is libjpeg (`decoding_cases.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gpu_stubs
import pytest

pytestmark = [pytest.mark.skipif(bool(gpu_stubs.missing()), reason=f"no simulated GPU: {gpu_stubs.missing()}")]

Cases = Mapping[str, dict[str, Any]]
THERE = ["p00", "p01", "p06", "p07", "p08", "p09"]
"""The others are a PNG, progressive, rotated, and cut off."""
DONE = ["done"] * 9 + ["failed"]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    return gpu_stubs.run("decoding_cases.py", tmp_path_factory.mktemp("gpu"))


def sound(case: dict[str, Any]) -> dict[str, Any]:
    """The masks and scores of photos decoded on the CPU, within a level of the views, and as many."""
    assert "error" not in case, case["error"]
    assert not case["no_kernel"]
    assert not case["pageable"]
    assert case["status"] == DONE
    assert case["classes"]
    assert case["agree"] > 0.995
    assert case["apart"] < 0.004
    return case


@pytest.mark.parametrize("name", ["extract", "extract, two decoders", "extract and pamr", "predict", "auto"])
def test_photos_that_every_decoder_reads_alike_are_decoded_there(cases: Cases, name: str) -> None:
    """In batches, not in the thread that feeds the network, whose only call is that of the samples."""
    case = sound(cases[name])
    assert (case["decoded"], case["recorded"]) == (THERE, "gpu")
    assert sum(case["calls"]) == len(THERE) > len(case["calls"])
    assert case["feeding"] == 1
    assert not case["not_recorded"]
    assert not case["unrefined"]
    assert not any("decoded" in place or "flow" in place for place in case["syncs"])


def test_a_level_of_difference_is_tolerated(cases: Cases) -> None:
    assert sound(cases["a level lighter"])["decoded"] == THERE


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("three levels lighter, auto", "a 4:4:4 sample are 3.0 levels on average"),
        ("missing, auto", "nvJPEG cannot be used (decode_jpegs_cuda: torchvision not compiled with nvJPEG support)"),
        ("in the network's stream", "memory that the network's kernels may still use"),
        ("without a wait", "more than 8 from Pillow's"),
    ],
)
def test_auto_decodes_on_the_cpu_where_it_must_and_says_why(cases: Cases, name: str, told: str) -> None:
    case = sound(cases[name])
    assert (case["decoded"], case["recorded"], case["calls"]) == ([], "cpu", [])
    [line] = case["lines"]
    assert line.startswith("photos are decoded on the CPU: ")
    assert told in line


@pytest.mark.parametrize("name", ["three levels lighter", "predict, three levels lighter", "missing"])
def test_a_decoder_asked_for_by_name_is_refused_before_any_photo(cases: Cases, name: str) -> None:
    case = cases[name]
    assert case["refused"].startswith("UsageError: --decode gpu: nvJPEG")
    assert not case["out"]


@pytest.mark.parametrize(
    ("name", "there", "calls"),
    [
        ("one photo refused", [one for one in THERE if one != "p06"], 7),
        ("memory for one photo", THERE, 7),
        ("memory for none", [], 4),
        ("another size", [], 3),
    ],
)
def test_what_the_gpu_cannot_decode_the_cpu_does(cases: Cases, name: str, there: list[str], calls: int) -> None:
    """Memory that has run out is not tried again; a photo that is refused takes no other with it."""
    case = sound(cases[name])
    assert (case["decoded"], len(case["calls"])) == (there, calls)


def test_a_run_is_not_continued_with_the_other_decoder(cases: Cases) -> None:
    assert 'decode was "cpu", now "gpu"' in cases["resumed"]["refused"]


def test_memory_that_is_given_back_too_early_is_found(cases: Cases) -> None:
    """Of the four samples and six photos."""
    assert cases["memory given back"]["not_recorded"] == 10
