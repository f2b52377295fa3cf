"""The worked examples of the docs, as entries of their registries."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from pseudomask.maps import METHODS
from pseudomask.networks.backbones import BACKBONES, BackboneSpec

DOCS = Path(__file__).parents[1] / "docs"
_REGISTRIES: dict[str, dict[str, Any]] = {"maps": METHODS, "networks.backbones": BACKBONES}
_EXAMPLES = {
    "rival": ("adding-a-method.md", 0, "maps"),
    "layercam": ("adding-a-method.md", 1, "maps"),
    "plain": ("adding-a-backbone.md", 0, "networks.backbones"),
}
"""Name → page, which of its examples, the package that its file would lie in."""
MODULES = tuple(f"pseudomask.{package}.{name}" for name, (_, _, package) in _EXAMPLES.items())


def names(registry: dict[str, Any]) -> list[str]:
    """All entries of a registry, and the docs' examples."""
    return [*registry, *(name for name, (*_, package) in _EXAMPLES.items() if _REGISTRIES[package] is registry)]


def teach(patch: pytest.MonkeyPatch, name: str) -> types.ModuleType:
    """Import an example's file and execute its line, until `patch` is undone."""
    page, place, package = _EXAMPLES[name]
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL)
    file, line = blocks[2 * place : 2 * place + 2]
    module = types.ModuleType(f"pseudomask.{package}.{name}")
    patch.setitem(sys.modules, module.__name__, module)
    exec(compile(file, f"{name}.py", "exec"), module.__dict__)
    registry = _REGISTRIES[package]
    patch.setitem(registry, name, next(iter(registry.values())))  # so that the line's entry is undone
    exec(compile(line, "line", "exec"), {"METHODS": METHODS, "BACKBONES": BACKBONES, "BackboneSpec": BackboneSpec})
    return module
