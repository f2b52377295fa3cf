"""The packages of `pseudomask` are rooms: none imports one that imports it, by whatever way."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pseudomask

PACKAGE = Path(pseudomask.__file__).parent

Graph = dict[str, dict[str, str]]
"""Room → rooms that it imports → one place where it does."""


def imported(tree: ast.AST, package: str) -> Iterator[tuple[str, int]]:
    """Every module that is imported anywhere in a file, inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((f"{module}.{alias.name}", node.lineno) for alias in node.names)


def rooms(folder: Path, name: str) -> Graph:
    """The rooms of a package: its packages, and its own modules."""
    known = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"} - {"__init__"}
    graph: Graph = {}
    for path in sorted(folder.rglob("*.py")):
        where = path.relative_to(folder).with_suffix("").parts
        room = where[0]
        package = ".".join([name, *where[:-1]])
        for module, line in imported(ast.parse(path.read_bytes()), package):
            first, *rest = module.split(".")
            if first != name:
                continue
            other = rest[0] if rest and rest[0] in known else "__init__"  # a name of the package itself
            if other != room:
                graph.setdefault(room, {})[other] = f"{path.relative_to(folder)}:{line}"
    return graph


def circle(graph: Mapping[str, Mapping[str, str]]) -> list[str]:
    """The places of imports that lead from a room back to it; none where there is no circle."""
    done: set[str] = set()

    def walk(room: str, way: list[str], places: list[str]) -> list[str]:
        if room in way:
            return places[way.index(room) :]
        if room in done:
            return []
        for other, place in graph.get(room, {}).items():
            if found := walk(other, [*way, room], [*places, place]):
                return found
        done.add(room)
        return []

    return next((found for room in graph if (found := walk(room, [], []))), [])


def test_no_room_imports_one_that_imports_it() -> None:
    graph = rooms(PACKAGE, "pseudomask")
    assert {"cli", "chain", "measuring", "verbs", "api"} <= set(graph)
    assert circle(graph) == []


def test_the_foundations_know_nothing_of_what_stands_on_them() -> None:
    graph = rooms(PACKAGE, "pseudomask")
    assert set(graph.get("config", {})) <= {"errors", "files", "suggest"}
    assert {"cli", "reporting"}.isdisjoint({*graph["chain"], *graph["measuring"]})
    assert set(graph["verbs"]) == {"config", "running"}


def test_circles_are_found(tmp_path: Path) -> None:
    """In functions, through three rooms, by relative imports, and through the package itself."""
    for name, text in {
        "a/__init__.py": "from p.b import x",
        "b/__init__.py": "",
        "b/deep/x.py": "def f():\n    from ...c import y",
        "c.py": "import p.d.e",
        "d/e.py": "",
        "__init__.py": "from p.d import e",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert circle(rooms(tmp_path, "p")) == []
    (tmp_path / "d/e.py").write_text("from p import a")
    assert sorted(circle(rooms(tmp_path, "p"))) == ["a/__init__.py:1", "b/deep/x.py:2", "c.py:1", "d/e.py:1"]
    (tmp_path / "d/e.py").write_text("from p import VERSION")
    assert sorted(circle(rooms(tmp_path, "p"))) == ["__init__.py:1", "d/e.py:1"]
