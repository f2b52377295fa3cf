"""The run record: round trip, resuming only what matches, hashes that notice."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pseudomask.errors import RecordMismatch, UsageError
from pseudomask.running.record import RunRecord, check_resume, hash_file, hash_lines, package_versions, peak_memory

CONFIG = {"threshold": 0.2, "scales": (0.5, 1.0), "labels": Path("tags.csv"), "flip": True}


def record(**changes: Any) -> RunRecord:
    base = RunRecord(
        command="extract",
        config=dict(CONFIG),
        classes=("cat", "dog"),
        seed=0,
        device="cpu",
        weights={"sha256": "ab" * 32, "licence": "MIT"},
        images_hash="1",
        labels_hash="2",
    )
    return dataclasses.replace(base, **changes)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert RunRecord.read(path) is None
    record().write(path)
    content = json.loads(path.read_text())
    assert content["classes"] == ["cat", "dog"]
    assert content["config"] == {"threshold": 0.2, "scales": [0.5, 1.0], "labels": "tags.csv", "flip": True}
    assert content["schema"] == 1
    back = RunRecord.read(path)
    assert back is not None
    check_resume(back, record(), ["command", "config", "classes", "weights", "images_hash", "labels_hash"])


def test_versions_are_those_that_are_installed() -> None:
    import numpy

    found = package_versions(["numpy", "no-such-package"])
    assert found["numpy"] == numpy.__version__
    assert found["no-such-package"] == "absent"
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record().packages.keys() >= {"torch", "torchvision", "pillow", "pseudomask"}


def test_making_a_record_imports_no_torch() -> None:
    code = (
        "import sys; from pseudomask.running.record import RunRecord\n"
        "RunRecord('extract', {}); print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"config": {**CONFIG, "threshold": 0.3}}, "threshold was 0.2, now 0.3"),
        ({"config": {**CONFIG, "extra": 1}}, "extra was absent, now 1"),
        ({"config": {**CONFIG, "flip": 1}}, "flip was true, now 1"),
        ({"weights": {"sha256": "cd" * 32, "licence": "MIT"}}, "the weights differ"),
        ({"classes": ("dog", "cat")}, 'classes was ["cat", "dog"], now ["dog", "cat"]'),
    ],
)
def test_each_difference_is_told(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(RecordMismatch, match=re.escape(expected)) as caught:
        check_resume(record(), record(**changes), ["config", "weights", "classes"], where="out")
    message = str(caught.value)
    assert message.startswith("out contains a run")
    assert "--overwrite" in message
    assert "\n" not in message
    assert ";" not in message.removesuffix("; add --overwrite to start over, or choose another output folder")


def test_two_differences_are_both_told_and_unasked_fields_are_not() -> None:
    other = record(device="cuda", images_hash="9", config={**CONFIG, "threshold": 1.0})
    with pytest.raises(RecordMismatch) as caught:
        check_resume(record(), other, ["config.threshold", "images_hash"])
    assert "threshold was 0.2, now 1.0; the list of photos differs" in str(caught.value)
    assert "cuda" not in str(caught.value)
    check_resume(record(), other, ["config.flip", "seed", "config.unknown"])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", "no config"),
        (b'{"config": {}, "schema": 99}', "schema is 99"),
        (b'{"config": {}, "schema": 1}', "'command' is missing"),
        (b'{"config": {}, "schema": 1, "command": 3}', "'command' must be text"),
        (b'{"config": {}, "schema": 1, "command": "extract", "classes": "cat"}', "'classes' must be a list"),
        (b'{"config": {}, "schema": 1, "command": "extract", "classes": [["cat"]]}', "a class has no name"),
        (b'{"config": {}, "schema": 1, "command": "extract", "classes": ["c\\ud800t"]}', "a class has no name"),
        (b'{"config": {}, "schema": 1, "command": "extract", "images_hash": "\\ud800"}', "a hash must be text"),
        (b'{"config": {}, "schema": 1, "command": "extract", "timings": {"extract": "1"}}', "invalid timings"),
        (b'{"config": {}, "schema": 1, "command": "extract", "protocol": null}', "'protocol' must be an object"),
    ],
)
def test_a_foreign_record_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(UsageError, match=why):
        RunRecord.read(tmp_path / "run.json")


def test_hash_of_lines_notices_order_and_borders() -> None:
    hashes = [hash_lines(lines) for lines in (["a", "b"], ["b", "a"], ["ab"], ["a", "b", ""], ["a\nb"], [])]
    assert len(set(hashes)) == len(hashes)
    assert hash_lines(["a", "b"]) == hash_lines(iter(["a", "b"]))
    hash_lines([os.fsdecode(b"\xff")])


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    # FIPS 180-2's own example
    assert hash_file(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_peak_memory_is_in_bytes() -> None:
    held = bytearray(64 << 20)
    peak = peak_memory()
    assert peak is None or 64 << 20 < peak < 64 << 30
    del held
