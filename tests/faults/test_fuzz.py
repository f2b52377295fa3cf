"""R27: files cut and changed at random are a value or one line of an error, never a traceback or a hang."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from fault_harness import torture
from fault_harness.machinery import HERE, Watch, manifest, pngs

from pseudomask.masks import load_mask

FOUND = sorted((HERE / "found").glob("*.bin"))


def fuzzed(watch: Watch, folder: Path, seed: int, seconds: float, count: int) -> int:
    """Files read by fuzz.py in a process of its own; fails with what it found."""
    done = watch.server.run(folder, seed, seconds, count, call="fuzz", patience=20 * seconds + 300)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["found"] == []
    return int(told["read"])


def test_r27_a_few_seconds(watch: Watch, tmp_path: Path) -> None:
    assert fuzzed(watch, tmp_path / "found", 0, 60, 2000) >= 2000


@pytest.mark.long
def test_r27_ten_thousand_files_of_each_kind(watch: Watch, tmp_path: Path) -> None:
    """420,000 files; FUZZ_FILES: fewer, for `make mutations LONG=1`."""
    count = int(os.environ.get("FUZZ_FILES", 10_000 * 42))
    assert fuzzed(watch, tmp_path / "found", 1, 3600, count) >= count


def test_r27_what_was_found_stays_mended(watch: Watch) -> None:
    done = watch.server.run(*FOUND, call="kept", patience=300)
    assert done.code == 0, done.err


def test_r27_a_folder_of_damaged_photos(watch: Watch, tmp_path: Path) -> None:
    """One process over all of them: exit code 0 or 1, and only whole masks."""
    dice = random.Random(3)
    (tmp_path / "photos").mkdir()
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        whole = torture.encoded(torture.photo(1, (24, 32)), kind)
        for i in range(12):
            data = bytearray(whole)
            for _ in range(dice.randrange(1, 4)):
                data[dice.randrange(min(len(data), 120))] = dice.randrange(256)
            (tmp_path / "photos" / f"{kind}_{i}.png").write_bytes(data[: dice.choice((len(data), len(data) // 2))])
    words = watch.extract(tmp_path / "out", "--max-pixels", 10**6, photos=tmp_path / "photos", labels=False)
    done = watch.server.run(*words)
    assert done.code == 1, done.err
    assert done.errors() == []
    assert "internal" not in done.err
    entries = manifest(tmp_path / "out")
    assert len(entries) == 84
    assert len(pngs(tmp_path / "out")) == sum(entry["status"] == "done" for entry in entries.values()) > 0
    for path in pngs(tmp_path / "out"):
        load_mask(path)


@pytest.mark.parametrize("name", ["manifest.jsonl", "run.json", "scores/p01.npz", "p01.png"])
def test_r27_damaged_folders(watch: Watch, whole: tuple[Path, object], tmp_path: Path, name: str) -> None:
    """extract, refine and evaluate over a folder one of whose files is cut or foreign: an exit code and a line."""
    import shutil

    for i, damage in enumerate((lambda data: data[: len(data) // 2], lambda data: b"{}\n" + data, lambda data: b"")):
        out = tmp_path / str(i)
        shutil.copytree(whole[0], out)
        data = damage((out / name).read_bytes())
        (out / name).write_bytes(data)
        for words in (
            watch.refine(out, tmp_path / f"refined{i}"),
            ["evaluate", out, whole[0]],
            ["evaluate", out, whole[0], "--sweep"],
            watch.extract(out),
        ):
            done = watch.server.run(*words)
            assert done.code in (0, 1, 2), done.err
            assert "internal error" not in done.err
            assert len(done.errors()) == (done.code == 2 or (done.code == 1 and words[0] == "evaluate")), done.err
