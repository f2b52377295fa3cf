"""Names that others chose come back from a shell and from a parser as they went in, and run nothing."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from pseudomask.chain.record import resolved
from pseudomask.chain.steps import STEPS, Chain, Step
from pseudomask.config import ExtractConfig
from pseudomask.quoting import command, count, double_quoted, shell_word, yaml_word

NAMES = [
    "plain", "two words", "$(touch PWNED)", "`touch PWNED`", "a;touch PWNED", "a\ntouch PWNED\n", "a\r", "a\tb",
    "it's", '"', "\\", "'\\''\n", "\x1b[2J\x07", "\x7f", "\u202etxt.exe", "\u2028", "\x85", "!!", "it's\n!!", "é☃🐈",
    "~", "*", "-rf", "--help", "#x", "a=b", "a: b", "%s", "", "null", "yes", "12", "[x]", "\ufeffx",
    os.fsdecode(b"caf\xe9"),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_pasted_word_is_the_name_and_runs_nothing(tmp_path: Path, name: str) -> None:
    word = shell_word(name)
    assert os.fsdecode(os.fsencode(word)).replace("\udce9", "").isprintable()
    shown = subprocess.run(["bash", "-c", f"printf %s {word}"], cwd=tmp_path, stdout=subprocess.PIPE, check=True).stdout
    assert os.fsdecode(shown) == name
    assert not list(tmp_path.iterdir())


def test_a_path_is_never_a_flag() -> None:
    assert command("extract", Path("-rf"), Path("--a b"), "--labels", Path("x")) == (
        "pseudomask extract ./-rf './--a b' --labels x"
    )


TEXTS = [name for name in NAMES if name.isprintable() or name.encode("utf-8", "replace").decode() == name]


@pytest.mark.parametrize("name", TEXTS, ids=ascii)
def test_strings_of_toml_and_yaml(name: str) -> None:
    assert tomllib.loads(f"x = {double_quoted(name)}") == {"x": name}
    yaml = pytest.importorskip("yaml")
    for word in (double_quoted(name), yaml_word(name)):
        assert yaml.safe_load(f"x: {word}  # a comment\ny: [1]") == {"x": name, "y": [1]}


@pytest.mark.parametrize("name", [name for name in TEXTS if name], ids=ascii)
def test_the_resolved_chain_holds_any_name(name: str) -> None:
    config = ExtractConfig(images=Path(name), out=Path("out"), list=Path(f"{name}/x"))
    chain = Chain(Path(f"{name}.toml"), Path(name), (Step(STEPS["extract"], "extract", config),))
    content = tomllib.loads(resolved(chain))
    assert (content["out"], content["extract"]["images"], content["extract"]["list"]) == (name, name, f"{name}/x")


def test_counts_agree_with_their_noun() -> None:
    assert [count(n, "photo") for n in (0, 1, 1200)] == ["0 photos", "1 photo", "1,200 photos"]
    assert [count(n, "class") for n in (1, 2)] == ["1 class", "2 classes"]
