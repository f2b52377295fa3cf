"""A process that loads torch once and then forks one real process for each command line: `server.py` reads requests.

A request is a line of JSON, and so is its answer. `start` forks a process that runs `pseudomask` with the arguments
given, in its own group and with its own streams, and tells its number; `poll` tells whether it has ended.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

Request = dict[str, Any]


def start(request: Request) -> dict[str, Any]:
    process = os.fork()
    if process == 0:
        _child(request)
    return {"pid": process}


def poll(request: Request) -> dict[str, Any]:
    """The exit code (negative: a signal's number) and the seconds of processor time, or None."""
    pid, status, used = os.wait4(request["pid"], os.WNOHANG)
    if pid == 0:
        return {"code": None}
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss * 1024,
    }


def _child(request: Request) -> NoReturn:
    code = 70
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _streams(request["stdin"], request["stdout"], request["stderr"])
        os.environ.update(request["env"])
        for name, value in request["limits"].items():
            resource.setrlimit(getattr(resource, name), (value, value))
        if request["without"]:  # see mutations.py
            from fault_harness.without.patching import mutation

            mutation(request["without"])(setattr)
        _run(request)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _streams(stdin: str | None, stdout: str | None, stderr: str) -> None:
    os.dup2(os.open(stdin or os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    if stdout is None:
        os.close(1)
        sys.stdout = None  # type: ignore[assignment]  # as Python does for a program started so
    else:
        os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)


def _run(request: Request) -> NoReturn:
    if request["disk"]:
        _on_a_small_disk(request["arguments"], **request["disk"])
    if request["call"]:
        from fault_harness import prepare

        getattr(prepare, request["call"])(*request["arguments"])
        os._exit(0)
    _program(request["arguments"])


def _program(arguments: list[str]) -> NoReturn:
    from pseudomask import __main__

    sys.argv = ["pseudomask", *arguments]
    __main__.main()
    os._exit(71)


def _on_a_small_disk(arguments: list[str], place: str, size: str, keep: str) -> NoReturn:
    """The program, writing to a tmpfs of `size` bytes at `place`; then the same with room; tells what happened.

    In a mount namespace of its own, so that nothing outside sees the disk. Copies go to `keep`/full and `keep`/later.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    namespace = 0x00020000 | (0 if os.getuid() == 0 else 0x10000000)  # CLONE_NEWNS, CLONE_NEWUSER
    if libc.unshare(namespace) != 0:
        os._exit(77)
    libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None)  # MS_REC | MS_PRIVATE
    if libc.mount(b"tmpfs", place.encode(), b"tmpfs", 0, f"size={size}".encode()) != 0:
        os._exit(77)
    codes = []
    for name in ("full", "later"):
        process = os.fork()
        if process == 0:
            _program(arguments)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
        shutil.copytree(place, Path(keep, name))
        libc.mount(b"tmpfs", place.encode(), b"tmpfs", 0x20, b"size=64m")  # MS_REMOUNT
    Path(keep, "codes.json").write_text(json.dumps(codes))
    os._exit(0)


def main() -> None:
    import tiny  # its import makes the narrow backbone known

    import pseudomask.api
    from pseudomask.cli import app

    assert tiny.NARROW
    assert pseudomask.api
    app.build()
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"start": start, "poll": poll}[request["do"]](request)
        except ChildProcessError:
            answer = {"code": None, "gone": True}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
