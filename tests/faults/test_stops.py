"""R9 to R11 and R22: killed, interrupted, out of disk, robbed of a worker; nothing is lost, nothing is half there."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_harness.machinery import Process, Watch, manifest, pngs, read_only, tree, until

from pseudomask.masks import load_mask
from pseudomask.scores import load_scores

BATCH = 2


def files(out: Path) -> int:
    return sum(not name.startswith(".") for _, _, names in os.walk(out) for name in names)


def forget_half(out: Path) -> None:
    """Leave a finished run as an earlier kill could have: every other mask is gone, and so is its line."""
    kept = manifest(out)
    for path in pngs(out)[::2]:
        path.unlink()
        del kept[path.relative_to(out).as_posix().removesuffix(".png")]
    lines = (json.dumps(entry) + "\n" for entry in kept.values())
    (out / "manifest.jsonl").write_text("".join(lines), "utf-8")


def kill_and_resume(start: Callable[[], Process], out: Path, expected: dict[str, bytes], kills: int, seed: int) -> None:
    """Kill at so many random moments, resume each time, and compare the end with an uninterrupted run."""
    dice, met = random.Random(seed), 0
    for _ in range(3 * kills):  # some runs end before they are killed
        if len(manifest(out)) == len(manifest_of(expected)) and out.exists():
            forget_half(out)  # else nothing would be left to do
        before, more = files(out), dice.randrange(1, 16)
        process = start()
        until(process, lambda before=before, more=more: files(out) >= before + more)
        time.sleep(dice.choice((0.0, 0.001, 0.004, 0.015)))
        process.send(signal.SIGKILL, group=True)
        met += process.wait() == -signal.SIGKILL
        for path in pngs(out):
            load_mask(path)  # raises for half a file
        for path in (out / "scores").rglob("[!.]*.npz"):
            load_scores(path)
        noted = {key for key, entry in manifest(out).items() if entry["status"] == "done"}
        assert len({p.relative_to(out).as_posix().removesuffix(".png") for p in pngs(out)} - noted) <= BATCH
        if met == kills:
            break
    assert met == kills, "runs ended before they were killed"
    last = start()
    assert last.wait() == 0, last.err
    assert tree(out) == expected, "and no temporary file is left"


def manifest_of(files: dict[str, bytes]) -> list[bytes]:
    return files["manifest.jsonl"].splitlines()


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.long)])
def test_r9_extract_killed_at_random_moments(
    watch: Watch, whole: tuple[Path, Process], tmp_path: Path, kills: int
) -> None:
    out = tmp_path / "out"
    kill_and_resume(lambda: watch.server.start(*watch.extract(out)), out, tree(whole[0]), kills, seed=kills)


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.long)])
def test_r9_refine_killed_at_random_moments(watch: Watch, tmp_path: Path, kills: int) -> None:
    seeds, out = watch.place / "seeds", tmp_path / "out"
    whole = watch.server.run(*watch.refine(seeds, tmp_path / "whole"))
    assert whole.code == 0, whole.err
    kill_and_resume(lambda: watch.server.start(*watch.refine(seeds, out)), out, tree(tmp_path / "whole"), kills, kills)


def steps(run: Path) -> int:
    """Steps done, as the checkpoint's header tells; 0 where there is none."""
    try:
        with (run / "checkpoint.safetensors").open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            return int(json.loads(stream.read(size))["__metadata__"]["step"])
    except (OSError, ValueError, KeyError):
        return 0


def same_weights(run: Path, other: Path) -> None:
    assert (run / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()


@pytest.fixture(scope="module")
def trained(watch: Watch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    done = watch.server.run(*watch.train(run))
    assert done.code == 0, done.err
    return run


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.long)])
def test_r9_training_killed_at_random_moments(watch: Watch, trained: Path, tmp_path: Path, kills: int) -> None:
    """The last weights equal those of the uninterrupted run, to the bit."""
    run, dice, met = tmp_path / "run", random.Random(kills), 0
    for _ in range(3 * kills):
        target = min(5, steps(run) + dice.randrange(1, 3))
        process = watch.server.start(*watch.train(run))
        until(process, lambda target=target: steps(run) >= target)
        time.sleep(dice.choice((0.0, 0.003, 0.01)))
        process.send(signal.SIGKILL, group=True)
        met += process.wait() == -signal.SIGKILL
        if met == kills:
            break
        if (run / "weights.safetensors").exists():
            shutil.rmtree(run)  # it ended before it was killed: once more
    assert met == kills
    last = watch.server.run(*watch.train(run))
    assert last.code == 0, last.err
    same_weights(run, trained)
    assert not list(run.glob(".*"))


@pytest.mark.long
@pytest.mark.parametrize("verb", ["reactivate", "calibrate"])
def test_r9_the_other_trainings_killed(watch: Watch, tmp_path: Path, verb: str) -> None:
    whole = watch.server.run(*watch.train(tmp_path / "whole", verb=verb))
    assert whole.code == 0, whole.err
    process = watch.server.start(*watch.train(tmp_path / "run", verb=verb))
    assert until(process, lambda: steps(tmp_path / "run") >= 2)
    process.send(signal.SIGKILL, group=True)
    process.wait()
    assert watch.server.run(*watch.train(tmp_path / "run", verb=verb)).code == 0
    same_weights(tmp_path / "run", tmp_path / "whole")


def in_time(met: Callable[[Path], tuple[Process, float]], place: Path) -> tuple[Process, float, Path]:
    """Again in another folder where a busy machine let the run end well before the signal was sent."""
    for i in range(5):
        process, used = met(place / str(i))
        if process.code != 0:
            break
    return process, used, place / str(i)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_r10_a_signal_finishes_the_batch(
    watch: Watch, whole: tuple[Path, Process], tmp_path: Path, number: int, code: int
) -> None:
    """With two worker processes, as Ctrl-C in a terminal reaches all of them."""

    def met(out: Path) -> tuple[Process, float]:
        process = watch.server.start(*watch.extract(out, "--workers", "2", "--json"))
        assert until(process, lambda: len(manifest(out)) >= 1), process.err
        used = process.used()
        process.send(number, group=number == signal.SIGINT)
        process.wait()
        return process, used

    process, used, out = in_time(met, tmp_path)
    assert process.code == code
    assert process.seconds - used < 3, "seconds of processor time, so that a busy machine decides nothing"
    assert process.errors() == []
    assert process.out == "", "no document that a program could take for whole"
    assert "run the same command again" in process.err
    end = time.monotonic() + 60
    while process.family():
        assert time.monotonic() < end, "a worker outlived the run"
        time.sleep(0.01)
    done = {key for key, entry in manifest(out).items() if entry["status"] == "done"}
    assert {p.relative_to(out).as_posix().removesuffix(".png") for p in pngs(out)} == done
    assert watch.server.run(*watch.extract(out)).code == 0
    assert tree(out) == tree(whole[0])


def test_r10_the_second_signal_ends_at_once(watch: Watch, tmp_path: Path) -> None:
    """In the midst of a batch that would take long; two signals within one operation of torch count as one."""
    words = watch.extract(tmp_path / "out", "--workers", "2", "--batch-size", "12", "--scales", "4,4,4,4,4,4")
    process = watch.server.start(*words)
    assert until(process, lambda: len(process.family()) > 1), process.err
    while process.poll() is None:
        process.send(signal.SIGTERM)
        time.sleep(0.05)
    assert process.wait() == 143
    assert "run the same command again" not in process.err, "it was not waited for"
    end = time.monotonic() + 60
    while process.family():
        assert time.monotonic() < end, "a worker outlived the run"
        time.sleep(0.01)


def test_r10_training_stops_and_goes_on(watch: Watch, trained: Path, tmp_path: Path) -> None:

    def met(run: Path) -> tuple[Process, float]:
        process = watch.server.start(*watch.train(run))
        assert until(process, lambda: steps(run) >= 2), process.err
        process.send(signal.SIGINT)
        process.wait()
        return process, 0.0

    process, _, run = in_time(met, tmp_path)
    assert process.code == 130, process.err
    assert process.errors() == []
    assert "run the same command again" in process.err
    assert watch.server.run(*watch.train(run)).code == 0
    same_weights(run, trained)


def full_disk(watch: Watch, words: list[object], place: Path, keep: Path, size: str) -> None:
    place.mkdir()
    keep.mkdir()
    done = watch.server.run(*words, disk={"place": str(place), "size": size, "keep": str(keep)})
    if done.code == 77:
        pytest.skip("this machine mounts no tmpfs for us")
    assert done.code == 0, done.err
    assert len(done.errors()) == 1
    assert "no space left on the disk" in done.errors()[0]
    assert json.loads((keep / "codes.json").read_text()) == [1, 0], done.err
    for path in pngs(keep / "full"):
        load_mask(path)
    assert not list((keep / "full").rglob(".pseudomask-*")), "no partial file"


def test_r11_extract_on_a_full_disk(watch: Watch, whole: tuple[Path, Process], tmp_path: Path) -> None:
    """A tmpfs of 48 KB, then of 64 MB."""
    full_disk(watch, watch.extract(tmp_path / "disk"), tmp_path / "disk", tmp_path / "keep", "48k")
    assert 0 < len(pngs(tmp_path / "keep/full")) < watch.count
    assert tree(tmp_path / "keep/later") == tree(whole[0])


def test_r11_refine_on_a_full_disk(watch: Watch, tmp_path: Path) -> None:
    words = watch.refine(watch.place / "seeds", tmp_path / "disk")
    full_disk(watch, words, tmp_path / "disk", tmp_path / "keep", "48k")
    assert len(pngs(tmp_path / "keep/later")) == watch.count


def test_r11_training_on_a_full_disk(watch: Watch, trained: Path, tmp_path: Path) -> None:
    """Room for two checkpoints and not for a third: the last whole one is still there."""
    size = (trained / "checkpoint.safetensors").stat().st_size
    words = watch.train(tmp_path / "disk")
    full_disk(watch, words, tmp_path / "disk", tmp_path / "keep", str(int(size * 2.5)))
    kept = [path for path in (tmp_path / "keep/full").glob("checkpoint*") if path.stat().st_size == size]
    assert kept, "a checkpoint was lost"
    same_weights(tmp_path / "keep/later", trained)


def test_r11_a_file_size_limit(watch: Watch, whole: tuple[Path, Process], tmp_path: Path) -> None:
    """The quota of a limited file size ends a run as cleanly."""
    for limit in (600, 2500):  # the record does not fit; it does, but the manifest grows beyond
        out = tmp_path / str(limit)
        done = watch.server.run(*watch.extract(out), limits={"RLIMIT_FSIZE": limit})
        assert done.code == 1, done.err
        assert len(done.errors()) == 1
        assert str(out) in done.errors()[0]
        assert not list(out.rglob(".pseudomask-*"))


def test_r11_a_folder_that_cannot_be_written(watch: Watch, whole: tuple[Path, Process], tmp_path: Path) -> None:
    """Root may write anywhere, so a file stands where the folder should be."""
    (tmp_path / "file").write_text("in the way")
    cases = {
        "extract": watch.extract(tmp_path / "file" / "out"),
        "refine": watch.refine(watch.place / "seeds", tmp_path / "file" / "out"),
        "train": watch.train(tmp_path / "file" / "run"),
        "evaluate": ["evaluate", whole[0], whole[0], "--csv", tmp_path / "file" / "report.csv"],
    }
    if os.getuid() != 0:
        (tmp_path / "locked").mkdir()
        cases["locked"] = watch.extract(tmp_path / "locked" / "out")
        with read_only(tmp_path / "locked"):
            _refused(watch, cases)
    else:
        _refused(watch, cases)
    assert (tmp_path / "file").read_text() == "in the way"


def _refused(watch: Watch, cases: dict[str, list[object]]) -> None:
    for name, words in cases.items():
        done = watch.server.run(*words)
        assert done.code in (1, 2), (name, done.err)
        assert len(done.errors()) == 1, (name, done.err)
        assert "internal error" not in done.err


def test_r22_a_killed_decoder_loses_one_photo(watch: Watch, whole: tuple[Path, Process], tmp_path: Path) -> None:
    """The photo at hand fails, the pool is rebuilt, the run ends; the same command then makes what is missing."""
    out = tmp_path / "out"
    process = watch.server.start(*watch.extract(out, "--workers", "1"))
    assert until(process, lambda: len(process.family()) > 1), process.err
    process.send(signal.SIGSTOP)  # so that the decoder, four photos ahead at most, cannot come to its end
    assert len(manifest(out)) < watch.count - 6, "it was nearly done"
    (victim,) = (pid for pid in process.family() if pid != process.pid)
    os.kill(victim, signal.SIGKILL)
    process.send(signal.SIGCONT)
    assert process.wait() in (0, 1), process.err
    assert process.errors() == []
    assert len(manifest(out)) == watch.count
    assert watch.server.run(*watch.extract(out)).code == 0
    assert tree(out) == tree(whole[0])
