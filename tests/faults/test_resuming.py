"""R12 to R14: other settings refused, two processes at once, and the same bytes from the same command."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import tiny
from fault_harness.machinery import Process, Watch, manifest, pngs, tree, until

from pseudomask.masks import load_mask


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_r12_extract_with_other_inputs_is_refused(watch: Watch, whole: tuple[Path, Process], tmp_path: Path) -> None:
    """Weights, no tags, threshold: each difference is told, and nothing is touched."""
    out = tmp_path / "out"
    shutil.copytree(whole[0], out)
    before = everything(out)
    weights = tmp_path / "other.safetensors"
    assert watch.server.run(weights, call="other_weights").code == 0
    for more, told in (
        (["--weights", weights], "the weights differ"),
        (["--labels"], "one of the two runs has --labels"),
        (["--threshold", "0.5"], "threshold was 0.3, now 0.5"),
        (["--no-flip"], 'flip was "alternately", now false'),
        (["--threshold", "0.5", "--scales", "0.5"], "scales was"),
    ):
        if "--labels" not in more:
            done = watch.server.run(*watch.extract(out, *more))
        if "--weights" in more:  # the flag given last is the one that counts
            done = watch.server.run(*[weights if word == watch.weights else word for word in watch.extract(out)])
        if "--labels" in more:
            done = watch.server.run(*watch.extract(out, labels=False))
        assert (done.code, done.out, len(done.errors())) == (2, "", 1), done.err
        assert told in done.errors()[0]
        assert "--overwrite" in done.errors()[0]
    assert everything(out) == before


def test_r12_refine_with_other_inputs_is_refused(watch: Watch, whole: tuple[Path, Process], tmp_path: Path) -> None:
    seeds, out = whole[0], tmp_path / "out"
    assert watch.server.run(*watch.refine(seeds, out)).code == 0
    before = everything(out)
    for words, told in (
        (watch.refine(seeds, out, "--threshold", "0.6"), "threshold was 0.3, now 0.6"),
        (watch.refine(watch.place / "seeds", out), "the seeds differ"),
    ):
        done = watch.server.run(*words)
        assert (done.code, len(done.errors())) == (2, 1), done.err
        assert told in done.errors()[0]
    assert everything(out) == before


def test_r12_training_with_other_settings_is_refused(watch: Watch, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert watch.server.run(*watch.train(run, "--epochs", "1")).code == 0
    before = everything(run)
    labels = tmp_path / "other.csv"
    labels.write_text((watch.place / "photos.csv").read_text().replace("bar", "disc"))
    for more in (["--seed", "6"], ["--lr", "0.5"], ["--labels", labels]):
        done = watch.server.run(*watch.train(run, "--epochs", "1", *more))
        assert (done.code, len(done.errors())) == (2, 1), done.err
    assert everything(run) == before


@pytest.mark.parametrize("verb", ["extract", "refine"])
def test_r13_two_processes_in_one_folder(watch: Watch, whole: tuple[Path, Process], tmp_path: Path, verb: str) -> None:
    """Started together on nothing: both end well, and the union is the single run."""
    seeds = watch.place / "seeds"
    for name in ("alone", "shared"):
        out = tmp_path / name
        words = watch.extract(out) if verb == "extract" else watch.refine(seeds, out)
        both = [watch.server.start(*words) for _ in range(2 if name == "shared" else 1)]
        assert [process.wait() for process in both] == [0] * len(both), [process.err for process in both]
        assert all(process.errors() == [] for process in both)
    assert tree(tmp_path / "shared") == tree(tmp_path / "alone")


def test_r14_three_runs_and_any_number_of_workers(watch: Watch, whole: tuple[Path, Process], tmp_path: Path) -> None:
    for name, more in (("again", []), ("one", ["--workers", "1"]), ("four", ["--workers", "4"])):
        done = watch.server.run(*watch.extract(tmp_path / name, *more))
        assert done.code == 0, done.err
        assert tree(tmp_path / name) == tree(whole[0]), name


def test_r14_other_batches(watch: Watch, whole: tuple[Path, Process], tmp_path: Path) -> None:
    """Sums in another order may round a score to the next of its 255 steps, and no more."""
    same = total = 0
    for size in ("1", "8"):
        done = watch.server.run(*watch.extract(tmp_path / size, "--batch-size", size))
        assert done.code == 0, done.err
        for path in pngs(whole[0]):
            ours, theirs = load_mask(tmp_path / size / path.relative_to(whole[0])), load_mask(path)
            same, total = same + int(np.sum(ours == theirs)), total + ours.size
    assert same / total >= 0.9999


def test_r14_refine_in_any_number_of_batches_and_runs(watch: Watch, tmp_path: Path) -> None:
    for name in ("once", "twice"):
        assert watch.server.run(*watch.refine(watch.place / "seeds", tmp_path / name)).code == 0
    assert tree(tmp_path / "once") == tree(tmp_path / "twice")


@pytest.mark.parametrize("chain", ["crf", "walk,crf"])
def test_a_killed_run_that_refines_ends_with_the_bytes_of_an_undisturbed_one(
    watch: Watch, tmp_path: Path, chain: str
) -> None:
    head = ["--affinity", tiny.write_affinity(tmp_path)] if "walk" in chain else []
    weights = ["--weights", tmp_path / "cam.safetensors", "--threshold", "0.3"] if head else []

    def words(out: Path) -> list[object]:
        return watch.extract(out, "--refine", chain, "--crf-iterations", "3", *head, *weights)

    undisturbed = watch.server.run(*words(tmp_path / "whole"))
    assert undisturbed.code == 0, undisturbed.err
    out, kills = tmp_path / "out", 0
    for lines in (2, 7):
        process = watch.server.start(*words(out))
        until(process, lambda lines=lines: len(manifest(out)) >= lines)
        process.send(signal.SIGKILL, group=True)
        kills += process.wait() == -signal.SIGKILL
    assert kills
    done = watch.server.run(*words(out))
    assert done.code == 0, done.err
    assert tree(out) == tree(tmp_path / "whole")
    refined = {entry["refined"] for entry in manifest(out).values()}
    assert (refined, len(manifest(out))) == ({chain}, watch.count)
