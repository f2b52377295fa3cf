"""What is no file is refused at once, wherever a name leads: nothing is read for ever."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from labels import read_labels

from pseudomask import files
from pseudomask.config.sources import load_toml
from pseudomask.data.images import find_images, read_list
from pseudomask.data.labels import read_classes
from pseudomask.errors import ImageError, UsageError
from pseudomask.masks import load_mask
from pseudomask.running.manifest import Manifest
from pseudomask.running.record import RunRecord
from pseudomask.scores import load_scores

ROOT = Path(__file__).parents[2]
READERS: dict[str, Callable[[Path], object]] = {
    "config": lambda path: load_toml(path, str(path)),
    "list": read_list,
    "class file": read_classes,
    "labels": read_labels,
    "labels of a format": lambda path: read_labels(path, format="csv"),
    "mask": load_mask,
    "scores": load_scores,
    "record": RunRecord.read,
    "manifest": lambda path: Manifest(path).load(),
}
pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with names and no /dev/zero")


@pytest.fixture(params=["/dev/zero", "a link to it", "a pipe", "a link to a pipe"])
def endless(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "/dev/zero":
        return Path("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    if request.param == "a pipe":
        return tmp_path / "pipe"
    (tmp_path / "link").symlink_to("/dev/zero" if request.param == "a link to it" else tmp_path / "pipe")
    return tmp_path / "link"


@pytest.mark.parametrize("reader", READERS)
def test_no_device_and_no_pipe_is_read(endless: Path, reader: str) -> None:
    with pytest.raises((UsageError, ImageError), match=r"not a regular file|give --label-format"):
        READERS[reader](endless)


def test_a_folder_of_photos_may_hold_them(endless: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.png").touch()
    (tmp_path / "photos/endless").symlink_to(endless)
    assert [item.relative for item in find_images(tmp_path / "photos")] == ["a.png"]


def test_nothing_is_a_config_without_settings() -> None:
    assert load_toml(Path("/dev/null"), "") == {}


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="no /dev/fd")
def test_what_a_shell_hands_over_is_read(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from pseudomask.config.sources import load_toml
from pseudomask.config.common import TagOptions
from pseudomask.data.images import read_list
from pseudomask.data.labels import read_labels
config, names, labels = sys.argv[1:]
print(load_toml(Path(config), ""), read_list(names), read_labels(Path(labels), TagOptions(label_format="csv")).tags)
"""
    (tmp_path / "script.py").write_text(code)
    line = "<(sleep 0.2; echo x = 1) <(printf 'a\\nb\\n') <(printf 'filename,labels\\na.jpg,cat\\n')"
    done = subprocess.run(
        ["bash", "-c", f'"$0" script.py {line}', sys.executable],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "{'x': 1} ['a', 'b'] {'a.jpg': (0,)}\n", done.stderr


def test_a_pipe_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MOST_OF_A_PIPE", 1000)
    ours, theirs = os.pipe()
    os.write(theirs, b"a.jpg\n" * 200)
    with pytest.raises(UsageError, match="1 GiB"):
        read_list(f"/dev/fd/{ours}")
    os.close(ours)
    os.close(theirs)
