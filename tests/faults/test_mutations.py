"""Each fault test has a protection to be tried without (`make mutations`)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fault_harness.mutations import TABLE
from fault_harness.without.patching import mutation

OWN = ("test_mutations.py", "test_promises.py")
"""Files here that test the tests."""


def test_every_fault_test_is_tried_without_its_protection() -> None:
    files = [path for path in Path(__file__).parent.glob("test_*.py") if path.name not in OWN]
    names = {name for path in files for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)}
    assert names - {key.partition("[")[0] for key in TABLE} == set()


@pytest.mark.parametrize("name", sorted({name for names in TABLE.values() for name in names}))
def test_every_protection_is_there_to_be_taken_away(name: str) -> None:
    """So that a private name that moves or goes fails here, not only in `make mutations`."""
    assert mutation(name).__doc__
    taken = []

    def patch(owner: Any, attribute: str, value: Any) -> None:
        assert hasattr(owner, attribute), f"{name}: {owner} has no {attribute}"
        taken.append(attribute)
        monkey.setattr(owner, attribute, value)

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr("resource.setrlimit", lambda *limits: None)
        mutation(name)(patch)
    assert taken
