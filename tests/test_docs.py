"""What the README and docs say can be typed, followed and run."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shlex
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import taught
import tiny
import torch
import typer
from test_rooms import rooms
from torch.distributed.run import get_args_parser

import pseudomask
from pseudomask import config as configs
from pseudomask.cli import app
from pseudomask.cli.verb import make_config
from pseudomask.config import ExtractConfig
from pseudomask.config.settings import settings
from pseudomask.data.pixels import IMAGENET
from pseudomask.extracting.extract import extract
from pseudomask.maps.cam import LinearMaps, present_class_maps
from pseudomask.maps.multiscale import multiscale_maps, see
from pseudomask.maps.normalise import normalise_maps
from pseudomask.scores import load_scores
from pseudomask.verbs import VERBS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks" / "README.md",
]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in these languages."""
    return [body for language, body in _BLOCK.findall(page.read_text("utf-8")) if language in languages]


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of each `pseudomask` command that a page shows."""
    for block in blocks(page, "console", "bash", "text"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True) if "pseudomask" in line else []
            if words and words[0] in ("pseudomask", "torchrun", "srun"):
                yield words[words.index("pseudomask") + 1 :]


ALL_COMMANDS = [(page.name, words) for page in PAGES for words in commands(page)]


@pytest.fixture(scope="module")
def program() -> Any:
    return typer.main.get_command(app.build())


def understood(program: Any, words: list[str]) -> Any:
    """The config that a command line means; raises where it means none."""
    name, *rest = words
    verb_command = program.commands[name]
    given = dict(verb_command.make_context(name, rest).params)
    verb = VERBS[name]
    common = {key for key in given if key.startswith("cli_")}
    kept = {key: value for key, value in given.items() if key not in common}
    return make_config(verb, settings(verb.config), kept, tuple(VERBS), None)


def test_the_pages_show_every_verb() -> None:
    assert {words[0] for _, words in ALL_COMMANDS} == set(VERBS)
    assert len(ALL_COMMANDS) > 10


@pytest.mark.parametrize(("page", "words"), ALL_COMMANDS, ids=[f"{p}-{w[0]}" for p, w in ALL_COMMANDS])
def test_commands_parse(program: Any, page: str, words: list[str]) -> None:
    assert dataclasses.is_dataclass(understood(program, words))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("extract a b --lables c", "lables"),
        ("extract a", "out"),
        ("extrakt a b", "extrakt"),
        ("extract a b --threshold 2", "at most 1"),
    ],
)
def test_wrong_commands_would_be_noticed(program: Any, line: str, complaint: str) -> None:
    with pytest.raises(Exception, match=complaint):
        understood(program, line.split())


def known_flags() -> set[str]:
    """Every flag of every verb, of the program, and of the benchmarks."""
    command = typer.main.get_command(app.build())
    found = {"--help", "--version"}
    for verb in command.commands.values():  # type: ignore[attr-defined]
        for parameter in verb.params:
            found |= {*parameter.opts, *parameter.secondary_opts}
    for script in (*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "examples").glob("*.py")):
        found |= set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', script.read_text("utf-8")))
    for action in get_args_parser()._actions:  # torchrun's
        found |= set(action.option_strings)
    return found | {"--nodes", "--ntasks-per-node", "--gpus-per-node", "--cpus-per-task", "--time"}  # SLURM's


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_flags_exist(page: Path) -> None:
    assert set(_FLAG.findall(page.read_text("utf-8"))) <= known_flags()


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, made as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(page.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place) if place else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


def test_every_page_is_in_the_index_and_the_readme_leads_there() -> None:
    index = ROOT / "docs" / "README.md"
    links = {(index.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(index.read_text("utf-8"))}
    assert {page.resolve() for page in PAGES if page != index} - links == set()
    assert "(docs/README.md)" in PAGES[0].read_text("utf-8")


def test_the_readme_has_its_picture() -> None:
    assert (ROOT / "docs" / "picture.jpg").stat().st_size <= 200_000
    assert "](docs/picture.jpg)" in PAGES[0].read_text("utf-8").split("## ")[0]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_python_blocks_compile_and_their_names_exist(page: Path) -> None:
    for block in blocks(page, "python"):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module not in taught.MODULES:
                if node.module == "datasets":  # of an exported folder's reader, which pseudomask does not need
                    continue
                module = __import__(node.module, fromlist=["_"])
                assert [a.name for a in node.names if not hasattr(module, a.name)] == []
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "pseudomask":
                assert hasattr(pseudomask, node.attr)
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Config"):
                config = getattr(configs, ast.unparse(node.func).rpartition(".")[2])
                fields = {one.name for one in dataclasses.fields(config)}
                assert {keyword.arg for keyword in node.keywords} <= fields


def test_the_api_page_shows_all_that_is_public() -> None:
    text = (ROOT / "docs" / "api.md").read_text("utf-8")
    assert [name for name in pseudomask.__all__ if name[0] != "_" and f"pseudomask.{name}" not in text] == []


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its header."""
    part = (ROOT / "docs" / page).read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_architecture_page_has_every_package_below_those_that_it_imports() -> None:
    packages = [row[0].strip("`") for row in rows("architecture.md", "The stations")]
    assert sorted(packages) == sorted(path.parent.name for path in (ROOT / "pseudomask").glob("*/__init__.py"))
    graph = rooms(ROOT / "pseudomask", "pseudomask")
    below = {name: set(packages[i + 1 :]) for i, name in enumerate(packages)}
    assert [(name, other) for name in packages for other in graph[name] if other in below[name]] == []


@pytest.mark.parametrize(("column", "config"), [(1, configs.TrainClsConfig), (2, configs.ReactivateConfig)])
def test_the_table_of_training_defaults_is_true(column: int, config: type) -> None:
    defaults = {one.flag: one.default for one in settings(config)}
    told = {row[0].strip("`"): row[column] for row in rows("training.md", "Defaults")}
    assert len(told) > 10
    for flag, text in told.items():
        if text == "":
            assert flag not in defaults
        elif defaults[flag] is None:
            assert text.split(" × ")[1] in ("crop", "lr")
        else:
            assert text == str(defaults[flag]), flag


def test_every_label_format_has_its_section() -> None:
    from pseudomask.data.labels import FORMATS

    page = ROOT / "docs" / "labels.md"
    assert set(FORMATS) - {"npy"} <= anchors(page)


@pytest.fixture
def rival(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    return taught.teach(monkeypatch, "rival")


@pytest.fixture
def layercam(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    return taught.teach(monkeypatch, "layercam")


def test_the_worked_example_does_what_it_says(rival: types.ModuleType) -> None:
    network = tiny.make_network(reactivated=False)
    images = IMAGENET.to_input(torch.randint(0, 256, (2, 32, 48, 3), dtype=torch.uint8))
    index = torch.tensor([[2, 0], [1, 0]])
    with torch.inference_mode():
        features = network.backbone(images, pyramid=False)
        found = rival.RivalMaps(share=0.5).activate(network, features, index, torch.ones(2, 2, dtype=torch.bool))
        every = torch.arange(3).expand(2, 3)
        plain = present_class_maps(features.last, network.classifier.weight, every)
    for b in range(2):
        for n in range(2):
            k = int(index[b, n])
            others = plain[b, [j for j in range(3) if j != k]].amax(0)
            assert torch.allclose(found[b, n], (plain[b, k] - others / 2).clamp(min=0), atol=1e-4)


def test_the_gradient_example_runs_through_extract(layercam: types.ModuleType, tmp_path: Path) -> None:
    """From the command's function, on a CPU, where the backbone of other methods is folded and has no gradients."""
    labels = tiny.write_photos(tmp_path / "photos", 3)
    weights = tiny.write_weights(tmp_path / "w.safetensors", reactivated=False)
    ear = tiny.Ear()
    config = ExtractConfig(
        images=tmp_path / "photos", out=tmp_path / "out", labels=labels, weights=weights, method="layercam",
        refine=("none",),
        workers=0, device="cpu",
    )  # fmt: skip
    done = extract(config, ear)
    assert (done.exit_code, ear.warnings) == (0, [])
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["protocol"]["precision"] == "float32"
    scores = [load_scores(path) for path in sorted((tmp_path / "out" / "scores").rglob("*.npz"))]
    assert len(scores) == 3
    assert all(one.values.max() > 0.9 and one.values.min() < 0.5 for one in scores)


def test_the_gradient_example_does_what_it_says(layercam: types.ModuleType) -> None:
    """At the last stage the gradient of w_k · mean f is w_k / (h·w), the same everywhere: known without autograd."""
    network = tiny.make_network(reactivated=False)
    pixels, index = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8), torch.tensor([[2, 0], [1, 1]])
    method = layercam.LayerCam(last=1)
    features = see(network, method, pixels, (False,), amp=None)
    found = method.activate(network, features, index, torch.ones(2, 2, dtype=torch.bool)).detach()
    weights = network.classifier.weight[:, :, 0, 0].relu()[index]  # (B, N, D)
    wanted = torch.einsum("bnd,bdhw->bnhw", weights, features.last).relu().detach()
    assert wanted.amax() > 0
    assert torch.allclose(found, normalise_maps(wanted / 16), atol=1e-3)
    with torch.inference_mode():  # a caller's mode does not matter
        both = multiscale_maps(
            network, method, [pixels], index, torch.ones(2, 2, dtype=torch.bool), size=(64, 64), stride=16
        )
    assert both.amax((2, 3)).min() > 0.99
    assert not both.requires_grad


def test_earlier_stages_are_kept_only_where_a_method_reads_them(layercam: types.ModuleType) -> None:
    network, pixels = tiny.make_network(), torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    assert len(see(network, layercam.LayerCam(), pixels, (False,), amp=None).stages) == 4
    alone = see(network, LinearMaps("first"), pixels, (True,), amp=None)
    with pytest.raises(ValueError, match="pyramid"):
        alone.stages  # noqa: B018
