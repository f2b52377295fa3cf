"""Room in /dev/shm."""

from __future__ import annotations

from pathlib import Path

import pytest

from pseudomask.running import shared_memory
from pseudomask.running.shared_memory import has_room


def test_room_in_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory, "_PLACE", str(tmp_path))
    assert has_room(1)
    assert not has_room(1 << 60)
    monkeypatch.setattr(shared_memory, "_PLACE", str(tmp_path / "none"))
    assert has_room(1 << 60), "no such place: torch uses other means"
