"""Streams, exit codes and closed pipes of a real process."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pseudomask.cli import console
from pseudomask.quoting import printable

PROGRAM = str(Path(__file__).with_name("fake_program.py"))


def call(*arguments: str | bytes, **variables: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, PROGRAM, *arguments], capture_output=True, env=environment(**variables), timeout=60
    )


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PSEUDOMASK")}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2]), **variables}


def test_data_goes_to_stdout_and_the_rest_to_stderr() -> None:
    done = call("work", "a", "--lines", "2")
    assert done.returncode == 0
    assert done.stdout == b"a/0\na/1\n"
    lines = done.stderr.decode().splitlines()
    assert lines[0] == "working on a"
    assert lines[1] == "warning: odd [weights]\\nhere"
    assert lines[2].startswith("[bold]step: 4/4 images (100 %), ")
    assert lines[2].endswith(", loss 0.5")
    assert lines[3:] == ["name       a", "exit code  0"]


def test_json_is_one_document() -> None:
    done = call("work", "a", "--json")
    assert json.loads(done.stdout) == {"schema": 1, "name": "a"}
    assert b"\x1b" not in done.stdout + done.stderr


def test_of_several_processes_the_first_tells() -> None:
    """Of the others only what went wrong in them alone is heard; a verb that is not shared they leave to the first."""
    first, second = {"RANK": "0", "WORLD_SIZE": "2"}, {"RANK": "1", "WORLD_SIZE": "2"}
    done = call("work", "a", "--json", "--code", "1", **second)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"warning: odd [weights]\\nhere\n")
    assert json.loads(call("work", "a", "--json", **first).stdout)["name"] == "a"
    done = call("work", "a", "--fail", "UsageError", **second)
    assert (done.returncode, done.stderr) == (2, b"error: process 1: went wrong\n")
    done = call("rest", "a", "--fail", "UsageError", **second)
    assert (done.returncode, done.stderr) == (0, b"")
    assert call("rest", "a", "--fail", "UsageError", **first).returncode == 2


def test_quiet_leaves_warnings() -> None:
    done = call("work", "a", "--quiet")
    assert done.stderr == b"warning: odd [weights]\\nhere\n"
    assert done.stdout == b"a/0\n"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        ("PseudomaskError", 1),
        ("TrainingDiverged", 1),
        ("UsageError", 2),
        ("LabelError", 2),
        ("CollisionError", 2),
        ("RecordMismatch", 2),
        ("WeightsError", 3),
        ("DeviceError", 3),
        ("MissingExtra", 3),
    ],
)
def test_each_error_is_one_line_with_its_code(failure: str, code: int) -> None:
    done = call("work", "a", "--fail", failure, "--json")
    assert done.returncode == code
    assert done.stdout == b""
    assert done.stderr == b"working on a\nerror: went wrong\n"


def test_an_unexpected_exception_is_one_line_and_debug_shows_more() -> None:
    done = call("work", "a", "--fail", "ZeroDivisionError", "--quiet")
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("error: internal error: ZeroDivisionError: went wrong (fake_program.py:")
    assert line.endswith("; add --debug for the traceback")
    for shown in (call("work", "a", "--fail", "UsageError", "--debug"), call("--version", PSEUDOMASK_DEBUG="1")):
        assert (b"Traceback" in shown.stderr) == bool(shown.returncode)
    assert call("work", "a", "--fail", "UsageError", PSEUDOMASK_DEBUG="1").stderr.count(b"Traceback") == 1


def test_a_keyboard_interrupt_ends_with_130() -> None:
    done = call("work", "a", "--fail", "KeyboardInterrupt")
    assert (done.returncode, done.stdout) == (130, b"")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_has_its_code_and_prints_no_document(number: signal.Signals, code: int) -> None:
    with subprocess.Popen(
        [sys.executable, PROGRAM, "work", "a", "--wait", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stderr is not None
        while process.stderr.readline() != b"waiting\n":
            assert process.poll() is None
        process.send_signal(number)
        out, _ = process.communicate(timeout=20)
    assert process.returncode == code
    assert out == b""


def test_the_results_code_is_the_programs() -> None:
    done = call("work", "a", "--code", "1", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["name"] == "a"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("work",), b"Missing argument 'NAME'; see 'pseudomask work --help'"),
        (("work", "a", "--lin", "3"), b"No such option: --lin"),
        (("work", "a", "b"), b"unexpected extra argument"),
        (("wrok",), b"'work'"),
        (("work", "a", "--lines"), b"--lines"),
    ],
)
def test_wrong_usage_is_one_line_and_2(arguments: tuple[str, ...], part: bytes) -> None:
    done = call(*arguments)
    assert done.returncode == 2
    assert done.stdout == b""
    (line,) = done.stderr.splitlines()
    assert line.startswith(b"error: ")
    assert part in line


def test_no_arguments_print_help_and_version_is_data() -> None:
    assert call().stdout == call("--help").stdout
    assert call().returncode == 0
    assert call("--version").stdout.startswith(b"pseudomask ")


@pytest.mark.parametrize("variables", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {}])
def test_names_that_no_locale_can_show(variables: dict[str, str]) -> None:
    """On stdout the name's own bytes, on stderr nothing that a terminal would obey."""
    done = call("work", b"caf\xe9\x1b[31m", "--json", **variables)
    assert done.returncode == 0
    assert json.loads(done.stdout)["name"] == "caf\udce9\x1b[31m"
    plain = call("work", b"caf\xe9", **variables)
    assert plain.stdout == b"caf\xe9/0\n"
    assert b"working on caf\\xe9\n" in plain.stderr
    assert b"\x1b" not in done.stderr


def test_a_closed_pipe_ends_quietly_with_the_works_code() -> None:
    for arguments, code in (
        (("work", "a", "--lines", "50000"), 0),
        (("--help",), 0),
        (("work", "a", "--code", "1"), 1),
    ):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [sys.executable, PROGRAM, *arguments], stdout=write, stderr=subprocess.PIPE, env=environment()
        )
        os.close(write)
        assert done.returncode == code
        assert b"Broken" not in done.stderr
        assert b"Exception" not in done.stderr


def test_both_pipes_closed_and_streams_that_never_were() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, PROGRAM, "work", "a"], stdout=write, stderr=write, env=environment())
    os.close(write)
    assert done.returncode == 0
    shell = f'exec "{sys.executable}" "{PROGRAM}" work a >&- 2>&-'
    assert subprocess.run(["/bin/sh", "-c", shell], env=environment()).returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_stdout_is_an_error() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, PROGRAM, "work", "a"], stdout=full, stderr=subprocess.PIPE, env=environment()
        )
    assert done.returncode == 1
    assert done.stderr.endswith(b"error: No space left on device\n")


def on_a_terminal(*arguments: str, **variables: str) -> tuple[int, str]:
    """Exit code and everything that the program writes to stderr, which is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, PROGRAM, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=environment(**{"TERM": "xterm", "COLUMNS": "120", **variables}),
    ) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                block = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not block:
                break
            seen += block
    os.close(ours)
    return process.returncode, seen.decode()


def test_a_terminal_gets_a_bar_and_no_markup_is_read() -> None:
    code, seen = on_a_terminal("work", "[red]x[/]")
    assert code == 0
    assert "\x1b[" in seen
    assert "[bold]step" in seen
    assert "4/4" in seen
    assert "[red]x[/]" in seen


def test_no_color_keeps_the_bar_and_a_dumb_terminal_gets_plain_lines() -> None:
    _, seen = on_a_terminal("work", "a", NO_COLOR="1")
    assert "4/4" in seen
    assert "\x1b[3" not in seen  # no colour is set
    _, seen = on_a_terminal("work", "a", TERM="dumb")
    assert "[bold]step: 4/4 images (100 %)" in seen
    assert "\x1b" not in seen


def test_printable() -> None:
    assert printable("é 猫 👩‍🌾 [x]") == "é 猫 👩‍🌾 [x]"
    assert printable("a\nb\x1b[1m\u202e\udcff\x7f") == "a\\nb\\x1b[1m\\u202e\\xff\\x7f"


def test_table() -> None:
    assert console.table(["class", "IoU", "n"], [["cat", 81.25, "3"], ["a\nb", None, 12]]) == [
        "class   IoU   n",
        "-----  ----  --",
        "cat    81.2   3",
        "a\\nb      -  12",
    ]
