"""Whether a step is already done, found by a dry run of its verb, so that the verb's own record decides.

prototypes, evaluate, report and export keep no such record. For them the chain's record has a hash of their
settings and inputs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pseudomask.chain.checks import check_inputs, check_later, named, ready
from pseudomask.chain.steps import Step
from pseudomask.config.roles import changed, deciding
from pseudomask.errors import PseudomaskError, RecordMismatch, UsageError
from pseudomask.running.jsonable import jsonable
from pseudomask.running.layout import MANIFEST
from pseudomask.running.made import MadeFolder
from pseudomask.running.record import START_OVER, hash_file, hash_lines
from pseudomask.running.reporter import SilentReporter

State = Literal["done", "new", "resume", "redo", "wait"]
_IDLE = {"workers", "overwrite", "max_failures"}  # settings that do not affect any output


@dataclass(frozen=True)
class StepStatus:
    """What a step will do.

    Attributes:
        state: done (nothing to do), new, resume, redo (because settings differ), or wait (to be checked when the
            steps before it are done).
        why: what changed, if it is redone.
        result: of the dry run, if there was one.
    """

    state: State
    why: str = ""
    result: Any = None


@dataclass
class Survey:
    """Finds the status of each step, before the first one runs.

    `overwrite`: steps may be redone; `before`: the chain's record, by label.
    """

    overwrite: bool
    before: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __call__(self, steps: Sequence[Step]) -> dict[str, StepStatus]:
        """Raises the errors of all steps that can be known now."""
        found: dict[str, StepStatus] = {}
        replaced = set[str]()  # steps whose product will be another one
        products = {step.verb.product(step.config).resolve() for step in steps}
        for step in steps:
            check_inputs(step, products)
        for step in steps:
            waits = [label for label in step.needs if label in found and found[label].state != "done"]
            causes = sorted(replaced.intersection(waits))
            if not waits:
                found[step.label] = self.check(step)
            else:
                check_later(step)
                found[step.label] = StepStatus("wait")
                if causes and _needs_overwrite(step) and not self._may_overwrite(step):
                    reason = f"{step.output} is outdated, because {causes[0]} will redo its input"
                    raise named(RecordMismatch(reason, advice=START_OVER), step)
            state = found[step.label].state
            if state == "redo" or causes or (step.verb.trains and state != "done"):
                replaced.add(step.label)
        return found

    def check_late(self, step: Step) -> StepStatus:
        """The status of a step that had to wait."""
        return self.check(step) if _holds_something(step.output) else StepStatus("new")

    def check(self, step: Step) -> StepStatus:
        """What the step would do now. Raises the errors that it would raise."""
        try:
            if not step.verb.recorded:
                return self._from_record(step)
            try:
                result = _dry(step, overwrite=False)
            except UsageError as error:
                if not self._may_overwrite(step):
                    raise
                result = _dry(step, overwrite=True)  # raises the error again if --overwrite does not help
                return StepStatus("redo", error.reason, result)
        except PseudomaskError as error:
            raise named(error, step) from error
        whole = step.verb.product(step.config).exists() if step.verb.trains else not (result.pending or result.pruned)
        if whole:
            return StepStatus("done", result=result)
        return StepStatus("resume" if MadeFolder(step.output).holds_run() else "new", result=result)

    def _from_record(self, step: Step) -> StepStatus:
        old = self.before.get(step.label, {})
        files = [step.output, *(getattr(step.config, name, None) for name in ("html", "csv", "markdown"))]
        complete = all(path.exists() for path in files if path is not None)
        if complete and old.get("fingerprint") == fingerprint(step, old.get("config")):
            return StepStatus("done")
        if hasattr(step.config, "dry_run"):
            _dry(step, overwrite=True)  # raises the errors of its inputs
        if not _needs_overwrite(step):
            return StepStatus("new")
        if not self._may_overwrite(step):
            raise RecordMismatch(f"{step.output} was made from other inputs or with other settings", advice=START_OVER)
        return StepStatus("redo", "its inputs or settings differ")

    def _may_overwrite(self, step: Step) -> bool:
        return self.overwrite or bool(getattr(step.config, "overwrite", False))


def _needs_overwrite(step: Step) -> bool:
    """Whether the output has something that the step would not replace without --overwrite."""
    if step.verb.name == "export":
        return step.output.is_dir() and any(step.output.iterdir())
    if step.verb.recorded:
        return MadeFolder(step.output).holds_run()
    return hasattr(step.config, "overwrite") and _holds_something(step.output)


def _holds_something(output: Path) -> bool:
    return output.is_file() or (output.is_dir() and any(output.iterdir()))


def _dry(step: Step, *, overwrite: bool) -> Any:
    config = ready(step.config, dry_run=True, overwrite=overwrite)
    if getattr(config, "threshold", None) == "auto" and not MadeFolder(step.output).holds_run():
        config = ready(config, threshold=None)  # without a record, there is nothing to compare a threshold with
    return step.verb.run(config, SilentReporter())


def fingerprint(step: Step, known: Mapping[str, Any] | None = None) -> str:
    """A hash of everything that decides the files of a verb without a record.

    known: the settings of the version that made them; other settings count only if they differ from their default.
    """
    config = jsonable(step.config)
    names = deciding(step.verb.config, roles=("result", "masks", "machine", "place"))
    if known:
        names = [name for name in names if name in known or name in changed(config, step.verb.config, (name,))]
    settings = json.dumps({name: config[name] for name in names}, sort_keys=True)
    lines = [step.verb.name, settings, *_of_folder(getattr(step.config, step.verb.source or "images"))]
    truth = getattr(step.config, "gt", None)
    for name in ("list", "val_list", "class_file"):
        path = getattr(step.config, name, None)
        lines.append(hash_file(path) if path is not None and path.is_file() else "")
    if step.verb.source is None:
        from pseudomask.networks.store import find_weights

        read = (step.config.labels, find_weights(step.config.weights))
        lines += [hash_file(path) if path.is_file() else _listing(path)[0] for path in read if path is not None]
    return hash_lines([*lines, *_of_truth(truth)])


def _of_truth(truth: Path | None) -> list[str]:
    if truth is None:
        return []
    return [hash_file(truth)] if truth.is_file() else _listing(truth)


def _of_folder(folder: Path) -> list[str]:
    """What decides the masks in a folder: its manifest and record, or without them the files themselves."""
    made = MadeFolder(folder)
    if not (made.holds_run() and (folder / MANIFEST).is_file()):
        return _listing(folder)
    names = ("command", "config", "classes", "weights", "images_hash", "protocol")
    facts = {name: made.facts.get(name) for name in names}
    facts["config"] = {name: value for name, value in made.config.items() if name not in _IDLE}
    return [hash_file(folder / MANIFEST), json.dumps(facts, sort_keys=True)]


def _listing(folder: Path) -> list[str]:
    """Name, size and time of each file below a folder."""
    lines = []
    for where, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(where, name)
            facts = path.stat()
            lines.append(f"{path.relative_to(folder)} {facts.st_size} {facts.st_mtime_ns}")
    return lines
