"""One server of real processes, and photos, weights and seeds for all fault tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_harness.machinery import Process, Server, Watch, tree


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("streams"))
    yield one
    one.close()


@pytest.fixture(scope="session")
def watch(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Watch:
    place = tmp_path_factory.mktemp("source")
    made = server.run(place, Watch.count, call="source")
    assert made.code == 0, made.err
    return Watch(server, place)


@pytest.fixture(scope="session")
def whole(watch: Watch, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Process]:
    """An extraction that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    done = watch.server.run(*watch.extract(out))
    assert done.code == 0, done.err
    assert len(tree(out)) == 2 * watch.count + 1
    return out, done
