"""A data set that one stands in runs no code: no process takes a module from the current folder."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny

from pseudomask.config import ExtractConfig
from pseudomask.extracting.extract import extract

ROOT = Path(__file__).parents[2]
OTHERS = (
    "PIL", "cv2", "jinja2", "numpy", "pseudomask", "rich", "safetensors", "sitecustomize", "torch", "torchvision",
    "typer", "typing_extensions", "usercustomize", "yaml",
)  # fmt: skip
# Started where its own folder is the first of `sys.path`, as a user's script is; trains as for a GPU, with processes.
_DRIVER = """
import beside, multiprocessing, sys
from pathlib import Path

def as_for_a_gpu(real):
    import torch
    return lambda *given, device, **more: real(*given, device=torch.device("mps"), **more)

if __name__ == "__main__":
    import tiny
    from pseudomask.cli.app import run
    from pseudomask.training import trainer
    multiprocessing.set_start_method(sys.argv[1])
    trainer.load_batches = as_for_a_gpu(trainer.load_batches)
    place, marker = Path(sys.argv[2]), Path(sys.argv[3])
    photos, labels = f"{place}/photos", ["--labels", f"{place}/photos.csv"]
    weights = ["--weights", f"{place}/weights.safetensors"]
    trained = ["--device", "cpu", "--amp", "off", "--epochs", "1", "--batch-size", "4", "--crop", "32"]
    one = ["--workers", "1"]
    for words in (
        ["extract", photos, "masks", *labels, *weights, *one, "--device", "cpu", "--scales", "1"],
        ["train-cls", photos, "cls", *labels, *trained, *one, "--backbone", tiny.NARROW, "--backbone-weights",
         f"{place}/backbone.safetensors"],
        ["refine", photos, "masks", "refined", *one, "--method", "pamr"],
        ["train-affinity", photos, "masks", "affinity", *trained, *one, *weights, "--min-side", "32"],
    ):
        code = run(words)
        print("ran", words[0], code, marker.read_text().split() if marker.exists() else "")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with tags, weights, a backbone, masks, and a script that drives the program."""
    place = tmp_path_factory.mktemp("place")
    tiny.write_photos(place / "photos", 8)
    tiny.write_weights(place / "weights.safetensors")
    tiny.write_backbone(place / "backbone.safetensors")
    made = ExtractConfig(images=place / "photos", out=place / "made", weights=place / "weights.safetensors")
    extract(replace(made, refine=("none",), device="cpu", workers=0, scales="1"))
    (place / "driver").mkdir()
    (place / "driver/beside.py").touch()
    (place / "driver/driver.py").write_text(_DRIVER)
    return place


def poison(folder: Path, marker: Path, *, spared: frozenset[str] = frozenset()) -> None:
    """Modules of all names that a process may ask for, each of which tells in `marker` that it was run."""
    for name in {*sys.stdlib_module_names, *OTHERS, "evil"} - spared:
        folder.joinpath(f"{name}.py").write_text(f"open({str(marker)!r}, 'a').write({name + ' '!r})\nmain = 1\n")
    plugin = folder / "evil-1.0.dist-info"  # torch runs what such a file names when it is imported
    plugin.mkdir()
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (plugin / "entry_points.txt").write_text("[torch.backends]\nevil = evil:main\n")


def run(words: list[str], cwd: Path, **variables: str) -> str:
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"} | {"PYTHONPATH": paths} | variables
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refinement(place: Path) -> list[str]:
    """Words for the program; it starts a worker process."""
    return ["refine", str(place / "photos"), str(place / "made"), "refined", "--method", "pamr", "--workers", "1"]


@pytest.mark.slow
@pytest.mark.parametrize("start", multiprocessing.get_all_start_methods())
def test_processes_that_a_verb_starts_run_nothing_of_the_current_folder(
    place: Path, tmp_path: Path, start: str
) -> None:
    folder, marker = tmp_path / "data set", tmp_path / "ran"
    folder.mkdir()
    poison(folder, marker)
    told = run([sys.executable, str(place / "driver/driver.py"), start, str(place), str(marker)], folder)
    verbs = ("extract", "train-cls", "refine", "train-affinity")
    assert [line for line in told.splitlines() if line.startswith("ran ")] == [f"ran {verb} 0 " for verb in verbs]


def test_python_m_leaves_the_current_folder_as_soon_as_it_can(place: Path, tmp_path: Path) -> None:
    """Spared are those that Python itself asks for before it looks for pseudomask, and pseudomask."""
    folder, marker = tmp_path / "data set", tmp_path / "ran"
    folder.mkdir()
    early = run([sys.executable, "-c", "import runpy, sys; print(*{n.split('.')[0] for n in sys.modules})"], tmp_path)
    poison(folder, marker, spared=frozenset({*early.split(), "pseudomask", "__future__"}))
    run([sys.executable, "-m", "pseudomask", *refinement(place)], folder)
    assert not marker.exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["python -P", "torchrun", "torchrun and a variable"])
def test_the_ways_to_start_that_the_docs_name_run_nothing_of_the_current_folder(
    place: Path, tmp_path: Path, how: str
) -> None:
    folder, marker = tmp_path / "data set", tmp_path / "ran"
    folder.mkdir()
    poison(folder, marker)
    program = Path(sys.executable).with_name("pseudomask")
    if how == "torchrun" and not program.exists():
        pytest.skip("pseudomask is not installed as a program")
    launcher = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    before, variables = {
        "python -P": ([sys.executable, "-P", "-m", "pseudomask"], {}),
        "torchrun": ([*launcher, "--no-python", str(program)], {}),
        "torchrun and a variable": ([*launcher, "-m", "pseudomask"], {"PYTHONSAFEPATH": "1"}),
    }[how]
    run([*before, *refinement(place)], folder, **variables)
    assert not marker.exists()
