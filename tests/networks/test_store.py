"""Where weights are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from pseudomask.errors import WeightsError
from pseudomask.networks import store


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(store.VARIABLE, raising=False)
    monkeypatch.setattr(store, "bundled_folders", lambda: (tmp_path / "package", tmp_path / "repo"))


def place(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return path


def test_search_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=f"no weights: give --weights FILE or set {store.VARIABLE}"):
        store.find_weights(None)
    repo = place(tmp_path / "repo" / store.BUNDLED)
    assert store.find_weights(None) == repo
    package = place(tmp_path / "package" / store.BUNDLED)
    assert store.find_weights(None) == package
    variable = place(tmp_path / "variable")
    monkeypatch.setenv(store.VARIABLE, str(variable))
    assert store.find_weights(None) == variable
    named = place(tmp_path / "named")
    assert store.find_weights(named) == named


def test_what_is_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(tmp_path / "repo" / store.BUNDLED)
    with pytest.raises(WeightsError, match=r"none: no such weights file$"):
        store.find_weights(tmp_path / "none")
    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "gone"))
    with pytest.raises(WeightsError, match=f"gone: no such weights file \\({store.VARIABLE} names it\\)"):
        store.find_weights(None)


def test_the_folders_of_package_and_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    package, repo = store.bundled_folders()
    assert package.parts[-2:] == ("pseudomask", "weights")
    assert repo == package.parents[1] / "weights"
