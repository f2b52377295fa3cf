"""The quickstart notebook: run from its first cell to its last, and fit to be kept in the repository."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOK = EXAMPLES / "quickstart.ipynb"


def test_it_is_small_shows_pictures_and_holds_no_path_of_a_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 600_000
    assert '"image/png"' in text
    assert '"image/jpeg"' in text
    assert '"output_type": "error"' not in text
    for place in ("/home/", "/tmp/", "/root/", "/work/", "site-packages"):
        assert place not in text


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # those of Jupyter's own packages
def test_every_cell_runs(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed (pip install nbclient ipykernel)")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed (pip install nbclient ipykernel)")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed (pip install nbclient ipykernel)")
    shutil.copytree(EXAMPLES / "photos", tmp_path / "photos")
    shutil.copy(EXAMPLES / "photos.csv", tmp_path)
    cells = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        cells, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    run = tmp_path / "quickstart-run"
    for folder in ("masks", "predicted"):
        assert {path.stem for path in (run / folder).glob("*.png")} == {
            path.stem for path in (tmp_path / "photos").glob("*.jpg")
        }
    assert "<html" in (run / "masks.html").read_text(encoding="utf-8")
    assert (run / "segmenter/weights.safetensors").is_file()
    shown = [output for cell in cells.cells for output in cell.get("outputs", [])]
    assert any("<table>" in output.get("data", {}).get("text/html", "") for output in shown)
    assert any("<progress" in output.get("data", {}).get("text/html", "") for output in shown)
