"""The static completion files: they ask the program, which answers without loading torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FILES = Path(__file__).parents[2] / "completions"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "expected"),
    [(("pseudomask", "ext"), "extract"), (("pseudomask", "extract", "--meth"), "--method"), (("pseudomask", "x"), "")],
)
def test_bash(words: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    program = tmp_path / "pseudomask"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pseudomask "$@"\n')
    program.chmod(0o755)
    script = (
        f'source "{FILES}/pseudomask.bash"; COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; '
        f'_pseudomask_completion "{program}"; echo "${{COMPREPLY[*]}}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")


@pytest.mark.parametrize(
    ("shell", "question", "expected"),
    [
        ("zsh", {}, '"--method":'),
        ("fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}, "--method\t"),
    ],
)
def test_zsh_and_fish_ask_what_the_program_answers(shell: str, question: dict[str, str], expected: str) -> None:
    """Neither shell need be here: the variables that the file sets are the ones that the program reads."""
    text = (FILES / {"zsh": "_pseudomask", "fish": "pseudomask.fish"}[shell]).read_text("utf-8")
    question |= {"_TYPER_COMPLETE_ARGS": "pseudomask extract --meth", "_PSEUDOMASK_COMPLETE": f"complete_{shell}"}
    assert all(name in text for name in question)
    assert f"complete_{shell}" in text
    done = subprocess.run(
        [sys.executable, "-m", "pseudomask"], capture_output=True, text=True, check=True, env=os.environ | question
    )
    assert expected in done.stdout
