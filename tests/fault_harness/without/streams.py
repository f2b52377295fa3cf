"""Streams, and damaged files that pseudomask itself wrote."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from fault_harness.without.patching import Patch


def plain_text(patch: Patch) -> None:
    """nothing but text where there is no terminal"""
    from pseudomask.cli import console

    real = console.err
    patch(console, "err", lambda text: real(text) or sys.stderr.write("\x1b[0m"))


def closed_stdout(patch: Patch) -> None:
    """a stdout that is not there is passed over"""
    from pseudomask.cli import console

    real = console._write

    def write(stream: Any, text: str, *, keep_bytes: bool) -> None:
        if stream is None:
            sys.stdout.write(text)
        real(stream, text, keep_bytes=keep_bytes)

    patch(console, "_write", write)


def reader_that_left(patch: Patch) -> None:
    """a reader that went away is no error"""
    from pseudomask.cli import console

    def write(stream: Any, text: str, *, keep_bytes: bool) -> None:
        try:
            stream.write(text + "\n")
            stream.flush()
        except BrokenPipeError as error:  # by this name the program's outermost part knows it too
            raise OSError(str(error)) from None

    patch(console, "_write", write)


def stdout_for_data(patch: Patch) -> None:
    """what torch tells of a download goes to stderr"""
    from pseudomask.networks.backbones import resnet

    patch(resnet, "redirect_stdout", lambda stream: nullcontext())


def words_for_no_network(patch: Patch) -> None:
    """weights that cannot be fetched are told as such"""
    from torchvision.models import WeightsEnum

    real = WeightsEnum.get_state_dict

    def fetch(self: Any, **how: Any) -> Any:
        try:
            return real(self, **how)
        except OSError as error:
            raise KeyError(str(error)) from error

    patch(WeightsEnum, "get_state_dict", fetch)


def kinds_of_a_record(patch: Patch) -> None:
    """a record's values are of the kinds that later code relies on"""
    from pseudomask.running import record

    patch(record, "_KINDS", {})


def lines_of_a_manifest(patch: Patch) -> None:
    """a manifest's lines are checked"""
    from pseudomask.running import manifest

    patch(manifest, "_parse", lambda path, line, number: json.loads(line))


def reading_of_a_record(patch: Patch) -> None:
    """a record that is none is told as such"""
    from pseudomask.running import made
    from pseudomask.running.record import ABSENT, RunRecord

    patch(made, "read_content", lambda path: json.loads(path.read_bytes()) if path.exists() else ABSENT)
    patch(RunRecord, "parse", staticmethod(lambda content, path: RunRecord(**content)))


def reading_of_scores(patch: Patch) -> None:
    """a score file that is none is told as such"""
    from pseudomask import scores

    def through(path: Path, error: BaseException) -> BaseException:
        return RuntimeError(str(error))

    patch(scores, "_foreign", through)


def reading_of_masks(patch: Patch) -> None:
    """a mask that is damaged is told as such"""
    from pseudomask import masks

    def through(path: Path, reason: str) -> Exception:
        return RuntimeError(reason)

    patch(masks, "ImageError", through)
