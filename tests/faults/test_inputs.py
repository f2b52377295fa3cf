"""R16 to R18, R20 and R26: hostile weights and labels, odd tags, long lists, closed pipes."""

from __future__ import annotations

import ast
import io
import json
import os
import pickle
import re
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from fault_harness import torture
from fault_harness.machinery import ROOT, Process, Watch, manifest, pngs, tree, until


class Evil:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def evil_files(folder: Path, mark: Path) -> dict[str, Path]:
    """A .pth of either kind, a .npy and a .npz that run code where they are unpickled."""
    body = pickle.dumps(Evil(mark))
    array = np.empty(1, object)
    array[0] = Evil(mark)
    np.save(folder / "evil.npy", array, allow_pickle=True)
    with zipfile.ZipFile(folder / "evil.npz", "w") as archive:
        for name in ("version", "classes", "values", "size", "stride"):
            stream = io.BytesIO()
            np.save(stream, array, allow_pickle=True)
            archive.writestr(f"{name}.npy", stream.getvalue())
    with zipfile.ZipFile(folder / "evil.pth", "w") as archive:
        archive.writestr("archive/data.pkl", body)
        archive.writestr("archive/version", "3\n")
    (folder / "old.pth").write_bytes(body)
    return {path.name: path for path in folder.iterdir() if path.suffix in (".pth", ".npy", ".npz")}


def test_r16_pickles_are_never_opened(watch: Watch, whole: tuple[Path, Process], tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(FileExistsError):  # the bait works
        pickle.loads(pickle.dumps(Evil(tmp_path)))
    files = evil_files(tmp_path, mark)
    seeds = tmp_path / "seeds"
    (seeds / "scores").mkdir(parents=True)
    for path in (whole[0] / "scores").glob("p*.npz"):
        (seeds / "scores" / path.name).write_bytes(files["evil.npz"].read_bytes())
    (seeds / "run.json").write_bytes((whole[0] / "run.json").read_bytes())
    out, run = tmp_path / "out", tmp_path / "run"
    for name, path in files.items():
        swapped = [path if word == watch.weights else word for word in watch.extract(out)]
        assert watch.server.run(*swapped).code == 3, name
        swapped = [path if str(word).endswith("backbone.safetensors") else word for word in watch.train(run)]
        assert watch.server.run(*swapped).code == 3, name
        done = watch.server.run(*watch.extract(out, labels=False), "--labels", path)
        assert (done.code, len(done.errors())) == (2, 1), done.err
    assert watch.server.run(*watch.refine(watch.place / "seeds", out, "--affinity", files["evil.pth"])).code in (0, 3)
    refined = watch.server.run(*watch.refine(seeds, tmp_path / "refined"))
    assert refined.code == 1
    assert "not a pseudomask score file" in refined.err
    assert watch.server.run("evaluate", seeds, whole[0], "--sweep").code in (1, 2)
    assert not mark.exists()
    assert pngs(tmp_path / "refined") == []


def test_r16_nothing_in_the_package_unpickles() -> None:
    """No `pickle`, no `torch.load` but with `weights_only=True`, no `allow_pickle=True` in any module."""
    found = []
    for path in sorted((ROOT / "pseudomask").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                names.append(str(node.module))
            unsafe = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal", "yaml"} & set(names)
            call = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            more = {ast.unparse(word) for word in node.keywords} if isinstance(node, ast.Call) else set()
            load = call == "torch.load" and "weights_only=True" not in more
            if unsafe or load or {"allow_pickle=True", "weights_only=False"} & more:
                found.append(f"{path.name}:{node.lineno}")
    assert found == []


def test_r16_a_checkpoint_that_is_a_pickle(watch: Watch, tmp_path: Path) -> None:
    """Whoever may write into the run's folder cannot make a resumed training run code."""
    run, mark = tmp_path / "run", tmp_path / "mark"
    assert watch.server.run(*watch.train(run)).code == 0
    (run / "weights.safetensors").unlink()
    (run / "checkpoint.safetensors").write_bytes(pickle.dumps(Evil(mark)))
    done = watch.server.run(*watch.train(run))
    assert done.code == 0, done.err
    assert "is damaged and was skipped" in done.err
    assert not mark.exists()


HEAD = "filename,labels\n"
BAD_LABELS = {
    "climbs.csv": (HEAD + "p01.png,bar\n../../etc/passwd,bar\n", r"line 3: .*is outside the image folder"),
    "negative.csv": ("filename,bar,disc\np01.png,1,0\np03.png,-1,0\n", r"line 3"),
    "nan.csv": ("filename,bar,disc\np01.png,nan,0\n", r"line 2"),
    "twice.csv": (HEAD + "p01.png,bar\np03.png,disc;bar\np01.png,disc\n", r"line 4"),
    "columns.csv": (HEAD + "p01.png,bar,disc\n", r"line 2: 3 columns"),
    "unknown.csv": (HEAD + "p01.png,zebra\n", "have no class 'zebra'"),
    "header_only.csv": (HEAD, "has a header but no rows"),
    "empty.csv": ("", "empty.csv"),
    "utf16.csv": (HEAD.encode("utf-16"), "UTF-16"),
    "zero.csv": (HEAD + "p01.png,b\0ar\n", "zero.csv"),
    "quote.csv": (HEAD + 'p01.png,"bar\n', "line"),
    "deep.json": ("[" * 100_000, "deep.json"),
    "nan.json": ('{"images": [{"id": NaN}], "annotations": [], "categories": []}', "NaN is not a JSON number"),
    "number.json": ('{"images": [], "annotations": [], "categories": [{"id": -1, "name": "x"}]}', "negative"),
    "strange.json": ('{"images": {}, "annotations": [], "categories": []}', "'images' is not a list"),
}
BOMB = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY x SYSTEM "file:///etc/passwd">]>
<annotation><object><name>&b;&x;</name></object></annotation>"""


@pytest.mark.parametrize("name", BAD_LABELS)
def test_r17_label_files_are_refused_with_their_line(watch: Watch, tmp_path: Path, name: str) -> None:
    content, told = BAD_LABELS[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    done = watch.server.run(*watch.extract(tmp_path / "out", labels=False), "--labels", tmp_path / name)
    assert (done.code, done.out, len(done.errors())) == (2, "", 1), done.err
    assert re.search(told, done.errors()[0]), done.errors()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_r17_xml_entities_are_refused(watch: Watch, tmp_path: Path) -> None:
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/p01.xml").write_text(BOMB)
    done = watch.server.run(*watch.extract(tmp_path / "out", labels=False), "--labels", tmp_path)
    assert (done.code, len(done.errors())) == (2, 1), done.err
    assert "declares XML entities" in done.errors()[0]
    assert "root:" not in done.err


def test_r17_harmless_oddities_pass(watch: Watch, whole: tuple[Path, Process], tmp_path: Path) -> None:
    """BOM, CRLF and doubled equal rows: the same masks, and a loop of links is walked once."""
    rows = (watch.place / "photos.csv").read_text().splitlines()
    labels = tmp_path / "odd.csv"
    labels.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*rows, rows[1]]).encode())
    done = watch.server.run(*watch.extract(tmp_path / "out", labels=False), "--labels", labels)
    assert done.code == 0, done.err
    assert tree(tmp_path / "out") == tree(whole[0])
    photos = tmp_path / "photos"
    photos.mkdir()
    torture.photo(0).save(photos / "a.png")
    (photos / "loop").symlink_to(photos)
    (photos / "self").symlink_to(photos / "self")
    done = watch.server.run(*watch.extract(tmp_path / "loops", photos=photos, labels=False))
    assert done.code == 0, done.err
    assert {key: entry["status"] for key, entry in manifest(tmp_path / "loops").items()} == {"a": "done"}


def test_r17_three_hundred_classes(watch: Watch, tmp_path: Path) -> None:
    """More classes than 8 bits hold are no crash: these weights do not know them, and say so."""
    labels = tmp_path / "many.csv"
    labels.write_text(HEAD + "p01.png," + ";".join(f"class {i}" for i in range(300)) + "\n")
    done = watch.server.run(*watch.extract(tmp_path / "out", labels=False), "--labels", labels)
    assert (done.code, len(done.errors())) == (2, 1)
    assert "have no class" in done.errors()[0]


def test_r17_a_million_lines(watch: Watch, tmp_path: Path) -> None:
    """Beside those of the photos, below 1 GiB for the whole process; the time is in tests/data."""
    rows = (watch.place / "photos.csv").read_text()
    labels = tmp_path / "many.csv"
    labels.write_text(rows + "".join(f"other/{i:07d}.jpg,bar;disc\n" for i in range(1_000_000)))
    done = watch.server.run(*watch.extract(tmp_path / "out", "--dry-run", labels=False), "--labels", labels)
    assert done.code == 0, done.err
    assert "1,000,000 rows of" in done.err
    assert done.peak < 2**30


def test_r18_every_kind_of_tag(watch: Watch, tmp_path: Path) -> None:
    """No row: the classifier says; an empty row: an empty mask; all classes; a row without a photo: told."""
    labels = tmp_path / "odd.csv"
    labels.write_text(HEAD + "p01.png,\np03.png,bar;disc;square\nghost.png,bar\n")
    (tmp_path / "names").write_text("p01\np03\np05\n")
    more = ["--labels", labels, "--list", tmp_path / "names"]
    done = watch.server.run(*watch.extract(tmp_path / "out", labels=False), *more)
    assert done.code == 0, done.err
    entries = manifest(tmp_path / "out")
    assert (entries["p01"]["classes"], entries["p01"]["area"]) == ([], {})
    assert entries["p03"]["classes"] == ["bar", "disc", "square"]
    assert entries["p05"]["tags"] == "classifier"
    assert "for 1 of 3 photos" in done.err
    assert "ghost.png" in done.err
    for method in ("crf", "pamr"):
        words = watch.refine(tmp_path / "out", tmp_path / method, "--method", method, "--list", tmp_path / "names")
        refined = watch.server.run(*words)
        assert refined.code == 0, refined.err
        assert manifest(tmp_path / method)["p01"]["area"] == {}


@pytest.mark.long
def test_r20_a_hundred_thousand_photos_are_listed(watch: Watch, tmp_path: Path) -> None:
    """Against a list of 12: seconds of processor time and memory."""
    photos = tmp_path / "photos"
    for i in range(100_000):
        folder = photos / str(i // 1000)
        if i % 1000 == 0:  # a file system may allow no more than 65,000 links
            folder.mkdir(parents=True)
            torture.photo(0).save(folder / f"{i}.png")
        else:
            os.link(folder / f"{i // 1000 * 1000}.png", folder / f"{i}.png")
    few = watch.server.run(*watch.extract(tmp_path / "out", "--dry-run"))
    many = watch.server.run(*watch.extract(tmp_path / "out", "--dry-run", photos=photos, labels=False))
    assert many.code == few.code == 0, many.err
    told = f"{many.seconds:.1f} s of processor time, {many.peak >> 20} MiB"
    print(f"{told}; of 12 photos: {few.peak >> 20} MiB")  # -s shows it
    assert many.seconds < 10
    assert many.peak < 2**30
    assert many.peak - few.peak < 200 * 2**20


@pytest.mark.long
def test_r20_memory_is_flat(watch: Watch, tmp_path: Path) -> None:
    """Less than 1 MB more for each 1,000 photos, over what listing them takes."""
    photos = tmp_path / "photos"
    photos.mkdir()
    torture.photo(0).save(tmp_path / "one.png")
    for i in range(3000):
        os.link(tmp_path / "one.png", photos / f"{i}.png")
    taken = []
    for count in (1000, 3000):
        words = watch.extract(tmp_path / str(count), "--limit", count, photos=photos, labels=False)
        listed, done = watch.server.run(*words, "--dry-run"), watch.server.run(*words)
        assert listed.code == done.code == 0, done.err
        taken.append(done.peak - listed.peak)
    slope = (taken[1] - taken[0]) / 2
    print(f"{slope / 2**20:.2f} MiB for each 1,000 photos")  # -s shows it
    assert slope < 2**20


def test_r26_streams(watch: Watch, tmp_path: Path) -> None:
    """A program reads JSON; LANG=C and no terminal change nothing; a closed stdout is no failure."""
    plain = {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "TERM": "xterm-256color"}
    done = watch.server.run(*watch.extract(tmp_path / "a", "--limit", "2", "--json"), env=plain)
    assert done.code == 0, done.err
    assert json.loads(done.out)["done"] == 2
    assert "\x1b" not in done.out + done.err
    assert "\r" not in done.err
    for out, stdout in ((tmp_path / "b", None), (tmp_path / "c", "/dev/null")):
        done = watch.server.run(*watch.extract(out, "--limit", "2", "--json"), stdout=stdout)
        assert done.code == 0, done.err
        assert done.errors() == []
    assert tree(tmp_path / "a") == tree(tmp_path / "b") == tree(tmp_path / "c")
    done = watch.server.run(*watch.extract(tmp_path / "a", "--limit", "2", "--threshold", "0.9", "--json"))
    assert (done.code, done.out) == (2, ""), "on failure stdout stays empty"
    done = watch.server.run("evaluate", tmp_path / "a", tmp_path / "a", "--json", env=plain)
    assert done.code == 0, done.err
    assert json.loads(done.out)


def test_r26_a_reader_that_goes_away(watch: Watch, tmp_path: Path) -> None:
    """`pseudomask … | head -0`: the work ends with its own code."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):  # a full pipe holds the process until its reader is gone
        while True:
            os.write(writer, bytes(4096))
    process = watch.server.start(*watch.extract(tmp_path / "out", "--limit", "2", "--json"), stdout=str(pipe))
    assert until(process, (tmp_path / "out").exists), process.err
    os.close(reader)
    assert process.wait() == 0, process.err
    assert process.errors() == []
    os.close(writer)


def test_r26_weights_that_cannot_be_fetched(watch: Watch, tmp_path: Path) -> None:
    """Without a network: one line that says what helps, and what torch tells of the download is not on stdout."""
    words = watch.train(tmp_path / "run", "--json")
    at = words.index("--backbone")
    words[at : at + 4] = ["--backbone", "resnet18"]  # without --backbone-weights
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = watch.server.run(*words, env={**nowhere, "no_proxy": "", "TORCH_HOME": str(tmp_path / "home")})
    assert (done.code, done.out, len(done.errors())) == (3, "", 1), (done.out, done.err)
    assert done.errors()[0].endswith("give --backbone-weights FILE")
    assert "Downloading" in done.err, "it was tried"
