"""The plain progress lines: how often, and what they say."""

from __future__ import annotations

import pytest

from pseudomask.cli import progress
from pseudomask.cli.progress import ConsoleReporter, forecast
from pseudomask.quoting import duration


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_line_every_few_seconds_and_one_at_the_end(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with ConsoleReporter(live=False, interval=5.0).progress(20, "train", "images") as bar:
        for _ in range(20):
            clock.now += 1.0
            bar.advance(loss=0.25, epoch="1/2")
    assert capsys.readouterr().err.splitlines() == [
        "train: 5/20 images (25 %), 1 images/s, 15 s left, loss 0.25, epoch 1/2",
        "train: 10/20 images (50 %), 1 images/s, 10 s left, loss 0.25, epoch 1/2",
        "train: 15/20 images (75 %), 1 images/s, 5.0 s left, loss 0.25, epoch 1/2",
        "train: 20/20 images (100 %), 1 images/s, in 20 s, loss 0.25, epoch 1/2",
    ]


def test_an_unknown_total_and_a_failure(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with ConsoleReporter(live=False).progress(None, "read", "files") as bar:
            clock.now += 2.0
            bar.advance(3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert capsys.readouterr().err == "read: 3 files, 1.5 files/s, in 2.0 s\n"


def test_quiet_shows_nothing_but_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = ConsoleReporter(quiet=True, live=False, interval=0.0)
    reporter.info("x")
    reporter.warn("y")
    with reporter.progress(3, "z") as bar:
        bar.advance()
    assert capsys.readouterr() == ("", "warning: y\n")


def test_nested_bars_share_one_display(capsys: pytest.CaptureFixture[str]) -> None:
    """Two live displays at once are an error of Rich's."""
    reporter = ConsoleReporter(live=True)
    with reporter.progress(2, "epochs", "epochs") as outer:
        for _ in range(2):
            with reporter.progress(None, "steps", "steps") as inner:
                inner.advance(5, loss=0.1)
                reporter.info("[note] told")
            outer.advance()
    shown = capsys.readouterr().err
    assert "[note] told" in shown
    assert "2/2" in shown
    with reporter.progress(1, "again"):
        pass


def test_a_hint_goes_when_the_first_word_comes(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = ConsoleReporter(live=True)
    reporter.hint("extract ...")
    reporter.info("8 photos")
    reporter.settle()
    assert capsys.readouterr().err == "extract ...\r\x1b[K8 photos\n"
    for silent in (ConsoleReporter(live=False), ConsoleReporter(live=True, quiet=True)):
        silent.hint("extract ...")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.4, "9.4 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_forecast_counts_all_of_this_run() -> None:
    assert forecast(1, 11, 60.0) == "10 min 00 s left"
    assert forecast(1, 11, 120.0) == "20 min 00 s left", "no step came for a minute"
    assert (forecast(0, 11, 60.0), forecast(3, None, 60.0), forecast(11, 11, 60.0)) == ("", "", "1 min 00 s")
