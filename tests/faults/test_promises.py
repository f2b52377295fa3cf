"""The promises R1 to R27: docs/reliability.md and the tests name the same ones."""

from __future__ import annotations

import re
from fnmatch import fnmatch

from fault_harness.machinery import ROOT

_NUMBER = re.compile(r"R(\d+)\b")


def promised() -> list[tuple[set[str], str]]:
    """(numbers of the promises, the cell that names their tests) for each row of the table."""
    part = (ROOT / "docs/reliability.md").read_text("utf-8").split("\n## What is promised\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| R")]
    return [(set(_NUMBER.findall(row[0])), row[-1]) for row in rows]


def known_tests() -> dict[str, str]:
    """Test → its file, of all tests."""
    files = list((ROOT / "tests").rglob("test_*.py"))
    return {
        name: path.relative_to(ROOT).as_posix()
        for path in files
        for name in re.findall(r"^def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }


def test_every_promise_has_a_test_of_its_number_and_every_such_test_its_promise() -> None:
    rows = set().union(*(numbers for numbers, _ in promised()))
    tests = {found[1] for name in known_tests() if (found := re.match(r"test_r(\d+)_", name))}
    assert len(rows) > 20
    assert rows == tests


def test_the_tests_that_the_table_names_are_there() -> None:
    tests = known_tests()
    places = {*tests.values(), *(place.rpartition("/")[0] for place in tests.values())}
    lost = []
    for numbers, cell in promised():
        for name in re.findall(r"`([^`]+)`", cell):
            if number := re.match(r"test_r(\d+)_", name):
                found = any(fnmatch(test, name) for test in tests)
                assert number[1] in numbers, f"{name} stands in the row of {numbers}"
            else:
                found = any(place == name or place.endswith(f"/{name}") for place in places)
            lost += [] if found else [name]
    assert lost == []
