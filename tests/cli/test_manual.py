"""The manual page holds what --help holds, and troff understands it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from pseudomask.cli import options
from pseudomask.cli.manual import _plain, manual
from pseudomask.config.settings import settings
from pseudomask.verbs import VERBS


def test_every_flag_has_its_entry() -> None:
    text = manual()
    for name, verb in VERBS.items():
        part = text.split(f"\n.SH {_plain(name.upper())}\n")[1].split("\n.SH ")[0]
        for setting in settings(verb.config):
            assert f"\n{_plain(options.describe(setting))}\n" in f"{part}\n", setting.name
        assert "\n.B \\-q, \\-\\-quiet\n" in part


def test_nothing_in_a_text_is_a_request() -> None:
    assert _plain(".SH a-b\\") == "\\&.SH a\\-b\\e"
    assert all(line[1:3].isupper() or line.startswith(".B ") for line in manual().splitlines() if line[0] == ".")


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
def test_groff_has_no_complaint() -> None:
    command = ["groff", "-man", "-Tutf8", "-k", "-ww", "-z"]
    done = subprocess.run(command, input=manual(), capture_output=True, text=True, check=True)
    assert done.stderr == ""
