"""Help answers at once, because nothing heavy is imported for it."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from pseudomask.verbs import VERBS

HEAVY = ("torch", "torchvision", "numpy", "cv2", "PIL", "safetensors")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([verb, "--help"] for verb in VERBS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from pseudomask.cli.app import run\n"
        f"code = run({arguments!r})\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[] 0\n"
    assert "pseudomask" in done.stdout


def processor_time(*words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_takes_less_than_three_tenths_of_a_second() -> None:
    """The best of five, so that a busy machine does not decide the test; on a slow one, a fifth of torch's start."""
    spent = min(processor_time("-m", "pseudomask", "--help") for _ in range(5))
    assert spent < 0.3 or spent < processor_time("-c", "import torch") / 5


def test_the_quick_exit_after_torch_skips_no_duty() -> None:
    """Exit functions run, buffers are written, the code is kept; only the last collection is left out."""
    code = (
        "import atexit, sys, types\n"
        "from pseudomask import __main__\n"
        "from pseudomask.cli import app\n"
        "class Slow:\n"
        "    def __del__(self): print('collected')\n"
        "sys.modules['torch'] = types.ModuleType('torch'); sys.modules['torch'].held = Slow()\n"
        "app.run = lambda arguments: 143\n"
        "atexit.register(print, 'exit function')\n"
        "sys.stdout.write('data\\n')\n"
        "__main__.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (143, "data\nexit function\n", "")
