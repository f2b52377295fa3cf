"""Exports: masks in, a data set that a trainer opens out.

A format is one file, and its name in `config.ExportFormat`.
"""

from __future__ import annotations

from importlib import import_module
from typing import get_args

from pseudomask.config import ExportFormat
from pseudomask.exporting.writer import Writer

FORMATS: dict[str, type[Writer]] = {
    name: getattr(import_module(f"{__name__}.{name}"), name.capitalize()) for name in get_args(ExportFormat)
}
"""Name → the writer of that format: the class of the same name, in the file of the same name."""
