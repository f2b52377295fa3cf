"""The chains of docs/run.md and examples/: they mean something, and the newcomer's one runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import tiny

from pseudomask.chain.plan import plan
from pseudomask.chain.steps import STEPS

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))
PAGE = (ROOT / "docs/run.md").read_text("utf-8")
BLOCKS = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("file", EXAMPLES, ids=[file.stem for file in EXAMPLES])
def test_the_examples_are_chains(file: Path) -> None:
    chain = plan(file, {})
    assert len(chain.steps) >= 2
    assert not chain.out.is_absolute()


def test_the_page_shows_chains(tmp_path: Path) -> None:
    assert len(BLOCKS) > 1
    assert len(BLOCKS[0].strip().splitlines()) == 10  # as it says
    for block in BLOCKS:
        file = tmp_path / "chain.toml"
        file.write_text(block)
        assert plan(file, {}).steps


def test_the_page_tells_where_each_step_writes() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| `([\w.]+)` \|", PAGE, re.MULTILINE)
    assert rows == [(name, verb.below) for name, verb in STEPS.items()]


@pytest.mark.slow
def test_the_newcomers_chain_runs(tmp_path: Path) -> None:
    """With the bundled weights, on one photo."""
    for name in ("demo.toml", "photos.csv"):
        (tmp_path / "examples").mkdir(exist_ok=True)
        shutil.copy(ROOT / "examples" / name, tmp_path / "examples")
    shutil.copytree(ROOT / "examples/photos", tmp_path / "examples/photos")
    quick = {"PSEUDOMASK_LIMIT": "1", "PSEUDOMASK_TTA": "fast", "PSEUDOMASK_DEVICE": "cpu"}
    quick |= {"PSEUDOMASK_MAX_SIDE": "320", "PSEUDOMASK_WORKERS": "0"}
    done = tiny.program("run", "examples/demo.toml", cwd=tmp_path, **quick)
    assert (done.returncode, done.stdout) == (0, "demo-run\n"), done.stderr
    assert [line.split()[:2] for line in done.stderr.splitlines()[-2:]] == [
        ["extract", "done"],
        ["report", "done"],
    ]
    assert (tmp_path / "demo-run/report.html").is_file()
    again = tiny.program("run", "examples/demo.toml", "--json", "--quiet", cwd=tmp_path, **quick)
    assert (again.returncode, again.stderr) == (0, "")
    assert [step["status"] for step in json.loads(again.stdout)["steps"]] == ["skipped"] * 2
