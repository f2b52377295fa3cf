"""Text and TOML values become what a field declares, or one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from pseudomask.config.values import convert, metavar, show
from pseudomask.errors import UsageError


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (int, "7", 7),
        (int, 7, 7),
        (int, "-1", -1),
        (float, "1e-3", 0.001),
        (float, 2, 2.0),
        (str, "x y", "x y"),
        (Path, "-", Path("-")),
        (bool, "Yes", True),
        (bool, "0", False),
        (bool, True, True),
        (Literal["a", "b"], "b", "b"),
        (Literal[8, 16], "16", 16),
        (Literal["8", "16"], 8, "8"),
        (tuple[float, ...], "0.5, 1,2", (0.5, 1.0, 2.0)),
        (tuple[float, ...], [0.5, 1], (0.5, 1.0)),
        (tuple[str, ...], "", ()),
        (tuple[int, int], "3,4", (3, 4)),
        (int | None, "none", None),
        (int | None, "3", 3),
        (str | None, "none", "none"),
        (Path | None, "none", Path("none")),
        (Literal["auto"] | int, "auto", "auto"),
        (int | Literal["auto"], "4", 4),
        (float | Literal["auto"] | None, "none", None),
    ],
)
def test_values(annotation: Any, value: object, expected: object) -> None:
    converted = convert(annotation, value, "--x")
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (int, "1.5", "--x: must be a whole number, not '1.5'"),
        (int, True, "--x: must be a whole number, not True"),
        (int, 1.5, "--x: must be a whole number, not 1.5"),
        (float, "nan", "--x: must be a finite number, not 'nan'"),
        (float, "1,5", "--x: must be a number, not '1,5'"),
        (float, True, "--x: must be a number, not True"),
        (bool, "maybe", "--x: must be true or false, not 'maybe'"),
        (bool, 1, "--x: must be true or false, not 1"),
        (str, 3, "--x: must be text, not 3"),
        (Path, "", "--x: must be a path, not ''"),
        (Path, "a\0b", "--x: must be a path, not 'a\\x00b'"),
        (Literal["bf16", "off"], "bf61", "--x: must be one of bf16, off, not 'bf61' (did you mean 'bf16'?)"),
        (tuple[int, ...], "1,x", "--x: must be a whole number, not '1,x'"),
        (tuple[int, int], "1", "--x: must be 2 values separated by commas, not '1'"),
        (tuple[int, ...], 1, "--x: must be a list, not 1"),
        (
            int | Literal["auto"],
            "atuo",
            "--x: must be one of auto or a whole number, not 'atuo' (did you mean 'auto'?)",
        ),
    ],
)
def test_errors(annotation: Any, value: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        convert(annotation, value, "--x")
    assert str(caught.value) == message


def test_a_type_that_cannot_be_a_flag_is_the_authors_mistake() -> None:
    with pytest.raises(TypeError):
        convert(dict, "x", "--x")


def test_metavars_and_defaults() -> None:
    assert metavar(int | Literal["auto"] | None) == "auto|N"
    assert metavar(tuple[float, ...]) == "X,..."
    assert metavar(Path | None) == "FILE"
    assert show((0.5, 1.0)) == "0.5,1.0"
    assert show(None) == show(()) == ""
    assert show(1e-05) == "1e-05"
