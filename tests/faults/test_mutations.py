"""Each fault test has a protection to be tried without (`make mutations`)."""

from __future__ import annotations

import re

from machinery import HERE
from mutations import TABLE
from without.patching import mutation


def test_every_fault_test_is_tried_without_its_protection() -> None:
    files = [path for path in HERE.glob("test_*.py") if path.name != "test_mutations.py"]
    names = {name for path in files for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)}
    assert names - {key.partition("[")[0] for key in TABLE} == set()


def test_every_protection_is_there_to_be_taken_away() -> None:
    assert all(mutation(name).__doc__ for names in TABLE.values() for name in names)
