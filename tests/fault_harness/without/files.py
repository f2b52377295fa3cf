"""Files, what a stopped run leaves, and runs that meet."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from ctypes import c_bool
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any

from fault_harness.without.patching import Patch


def atomic_files(patch: Patch) -> None:
    """a file appears whole, under its name at the end"""
    from pseudomask import masks, scores
    from pseudomask.networks import checkpoint
    from pseudomask.running import manifest

    @contextmanager
    def plain(path: Path, *, durable: bool = False) -> Iterator[io.BytesIO]:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = io.BytesIO()
        yield stream
        data = stream.getvalue()
        with path.open("wb", buffering=0) as file:
            file.write(data[: len(data) // 2])
            time.sleep(0.02)  # a disk that takes its time
            file.write(data[len(data) // 2 :])

    for module in (masks, scores, manifest, checkpoint):
        patch(module, "atomic_write", plain)


def folder_as_a_whole(patch: Patch) -> None:
    """an exported folder appears whole, under its name at the end"""
    from pseudomask.exporting import export

    @contextmanager
    def plain(path: Path, *, replace: bool = False) -> Iterator[Path]:
        path.mkdir(parents=True, exist_ok=True)
        yield path

    patch(export, "atomic_folder", plain)


def line_at_once(patch: Patch) -> None:
    """a photo's line is written as soon as its files are there"""
    from pseudomask.running.folder_run import FolderRun

    note, finish, kept = FolderRun.note, FolderRun.finish, []

    def late(self: FolderRun, *args: Any) -> None:
        for entry in kept:
            note(self, entry)
        finish(self, *args)

    patch(FolderRun, "note", lambda self, entry: kept.append(entry))
    patch(FolderRun, "finish", late)


def sweeping(patch: Patch) -> None:
    """temporary files of dead runs are removed"""
    from pseudomask.running import atomic, folder_run

    patch(folder_run, "sweep_leftovers", lambda folder: 0)
    real = Path.replace

    def slow(self: Path, target: Path) -> Path:
        time.sleep(0.02)  # so that the kill meets one
        return real(self, target)

    patch(atomic.Path, "replace", slow)


def removal_of_partial_files(patch: Patch) -> None:
    """a file that could not be written whole is taken away"""
    patch(Path, "unlink", lambda self, missing_ok=False: None)


def words_for_a_full_disk(patch: Patch) -> None:
    """a failed write is told as such"""
    from pseudomask.running import atomic, manifest

    def through(path: Path, error: OSError) -> Exception:
        return RuntimeError(str(error))

    for module in (atomic, manifest):
        patch(module, "write_error", through)


def momenta(patch: Patch) -> None:
    """a checkpoint brings back the momenta, not the weights alone"""
    from pseudomask.training import state

    def weights_only(tensors: dict[str, Any], network: Any, optimizer: Any) -> None:
        mine = {k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")}
        network.load_state_dict(mine)

    patch(state, "_restore", weights_only)


def previous_checkpoint(patch: Patch) -> None:
    """the checkpoint before is kept until the new one is whole"""
    from pseudomask.training import state

    real = state.write_tensors

    def write(path: Path, *words: Any) -> None:
        path.with_name(state.PREVIOUS).unlink(missing_ok=True)
        path.write_bytes(b"0" * 1000)
        real(path, *words)

    patch(state, "write_tensors", write)


def graceful_stop(patch: Patch) -> None:
    """the first signal lets the batch finish"""
    from pseudomask.extracting import filling
    from pseudomask.running import signals
    from pseudomask.training import session

    @contextmanager
    def none(notify: object = None) -> Iterator[signals.Stop]:
        yield signals.Stop()

    for module in (filling, session):
        patch(module, "graceful", none)


def second_signal(patch: Patch) -> None:
    """the second signal ends at once"""
    from pseudomask.running import signals

    patch(signals, "_leave", lambda code: None)


def new_workers(patch: Patch) -> None:
    """a dead decoder is replaced"""
    from pseudomask.extracting import filling, loading

    def load(some: Any, *, workers: int, device: object, order: Iterable[int]) -> Iterator[Any]:
        return loading._start(some, order, workers, RawValue(c_bool))

    patch(filling, "load", load)


def comparison(patch: Patch) -> None:
    """a run that is taken up again has the same settings"""
    from pseudomask.running import outdated
    from pseudomask.training import recording

    for module in (outdated, recording):
        patch(module, "check_resume", lambda *words, **more: None)


def _compared_without(name: str) -> Callable[[Patch], None]:
    def forget(patch: Patch) -> None:
        from pseudomask.extracting import plan

        patch(plan, "_COMPARED", tuple(one for one in plan._COMPARED if one != name))

    forget.__doc__ = f"{name} is compared"
    return forget


comparison_of_weights = _compared_without("weights.sha256")
comparison_of_tags = _compared_without("tagged")


def one_line_a_photo(patch: Patch) -> None:
    """the manifest is put in order at the end"""
    from pseudomask.running.manifest import Manifest

    patch(Manifest, "compact", lambda self, order, **more: None)


def dateless_scores(patch: Patch) -> None:
    """score files hold no date"""
    from pseudomask import scores

    now = time.time_ns()
    patch(scores, "_EPOCH", (1980 + now % 100, 1 + now // 100 % 12, 1, 0, 0, 0))


def workers_alike(patch: Patch) -> None:
    """a worker decodes as the run itself does"""
    from pseudomask.extracting import loading, photos

    real = photos.decode
    patch(loading, "lower_priority", lambda worker: patch(photos, "decode", lambda *a, **k: real(*a, **k) ^ 1))


def scale_of_a_photo(patch: Patch) -> None:
    """a map is scaled by its own maximum, not by its batch's"""
    from pseudomask.extracting import engine

    real = engine.multiscale_maps

    def together(*words: Any, **more: Any) -> Any:
        maps = real(*words, **more)
        return (maps + maps.mean()) / (1 + maps.mean())

    patch(engine, "multiscale_maps", together)
