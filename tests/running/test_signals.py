"""Ctrl-C and SIGTERM, sent to real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from pseudomask.running.signals import graceful

POLITE = """
import time
from pseudomask.running.signals import graceful
with graceful() as stop:
    print("ready", flush=True)
    while not stop.requested:
        time.sleep(0.01)
    print("finished", flush=True)
raise SystemExit(stop.exit_code)
"""

DEAF = """
import multiprocessing, sys, time
from pseudomask.running.signals import graceful

def wait():
    time.sleep(60)

with graceful(lambda stop: print("asked", flush=True)):
    worker = multiprocessing.get_context("fork").Process(target=wait)
    worker.start()
    print("ready", worker.pid, flush=True)
    while True:
        time.sleep(0.01)
"""

FORKED = """
import multiprocessing, time
from pseudomask.running.signals import graceful

def wait():
    time.sleep(60)

with graceful():
    worker = multiprocessing.get_context("fork").Process(target=wait)
    worker.start()
    time.sleep(0.2)
    worker.terminate()
    worker.join(5)
    print(worker.exitcode)
"""


def start(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_lets_the_work_finish(number: signal.Signals, code: int) -> None:
    with start(POLITE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == "finished\n"
    assert process.returncode == code


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_second_ends_at_once_with_its_workers(number: signal.Signals, code: int) -> None:
    with start(DEAF) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline().split()[1])
        process.send_signal(number)
        assert process.stdout.readline() == "asked\n"
        began = time.monotonic()
        process.send_signal(number)
        process.wait(5)
        # the worker holds the pipe's other end, so end-of-file says that it is gone too
        assert process.stdout.read() == ""
        assert time.monotonic() - began < 3
    assert process.returncode == code
    assert worker > 0


def test_a_forked_worker_can_still_be_terminated() -> None:
    with start(FORKED) as process:
        assert process.communicate(timeout=20)[0] == f"{-signal.SIGTERM}\n"


def test_handlers_are_put_back_and_blocks_nest() -> None:
    before = signal.getsignal(signal.SIGINT)
    with graceful() as outer:
        assert signal.getsignal(signal.SIGINT) is not before
        with graceful() as inner:
            assert inner is outer
        assert signal.getsignal(signal.SIGINT) is not before
        signal.raise_signal(signal.SIGINT)
        assert outer.requested
        assert outer.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before
    with graceful() as fresh:
        assert not fresh.requested
        assert fresh.exit_code == 0


def test_another_thread_gets_a_flag_that_stays_down() -> None:
    seen: list[bool] = []

    def work() -> None:
        with graceful() as stop:
            seen.append(stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
