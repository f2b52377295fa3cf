"""Whether a step is already done, found by a dry run of its verb, so that the verb's own record decides.

evaluate, report and export keep no such record. For them the chain's record has a hash of their settings and inputs.
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

State = Literal["done", "new", "goes on", "anew", "waits"]
_IDLE = {"workers", "overwrite", "max_failures"}  # settings that do not affect any output


@dataclass(frozen=True)
class Standing:
    """What a step will do.

    Attributes:
        state: done (nothing), new, goes on, anew (over what it made with other settings), or waits: that is asked
            when the steps before it are done.
        why: what changed, if it is redone.
        result: of the dry run, if there was one.
    """

    state: State
    why: str = ""
    result: Any = None


@dataclass
class Survey:
    """The standing of each step, before the first one runs.

    `overwrite`: steps may be made anew; `before`: the chain's record, by label.
    """

    overwrite: bool
    before: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __call__(self, steps: Sequence[Step]) -> dict[str, Standing]:
        """Raises what any step would raise, as far as that can be known now."""
        found: dict[str, Standing] = {}
        other: dict[str, str] = {}  # step → the one whose new weights or seeds it will have to follow
        products = {step.verb.product(step.config).resolve() for step in steps}
        for step in steps:
            check_inputs(step, products)
        for step in steps:
            waits = [label for label in step.needs if label in found and found[label].state != "done"]
            causes = sorted(label for label in waits if label in other)
            if not waits:
                found[step.label] = self.ask(step)
            else:
                check_later(step)
                found[step.label] = Standing("waits")
                if causes and _holds_run(step) and not self._may(step):
                    raise named(_stale(step, causes[0]), step)
            state = found[step.label].state
            if state == "anew" or causes or (step.verb.trains and state != "done"):
                other[step.label] = step.label
        return found

    def ask_late(self, step: Step) -> Standing:
        """The same of a step that had to wait; where there is nothing of it, it need not be asked."""
        there = step.output.is_file() or (step.output.is_dir() and any(step.output.iterdir()))
        return self.ask(step) if there else Standing("new")

    def ask(self, step: Step) -> Standing:
        """What the step would do now. Raises what it would raise."""
        try:
            if not hasattr(step.config, "dry_run"):
                return self._ask_of_record(step)
            try:
                result = _dry(step, overwrite=False)
            except UsageError as error:
                if not self._may(step):
                    raise
                result = _dry(step, overwrite=True)  # raises again what --overwrite does not help against
                return Standing("anew", error.reason, result)
        except PseudomaskError as error:
            raise named(error, step) from error
        whole = step.verb.product(step.config).exists() if step.verb.trains else not (result.pending or result.pruned)
        if whole:
            return Standing("done", result=result)
        return Standing("goes on" if MadeFolder(step.output).holds_run() else "new", result=result)

    def _ask_of_record(self, step: Step) -> Standing:
        old = self.before.get(step.label, {})
        files = [step.output, *(getattr(step.config, name, None) for name in ("html", "csv", "markdown"))]
        there = all(path.exists() for path in files if path is not None)
        if there and old.get("fingerprint") == fingerprint(step, old.get("config")):
            return Standing("done")
        if not _holds_run(step):
            return Standing("new")
        if not self._may(step):
            reason = f"{step.output} holds an export of other masks or with other settings"
            raise RecordMismatch(reason, advice=START_OVER)
        return Standing("anew", "the masks or the settings differ")

    def _may(self, step: Step) -> bool:
        return self.overwrite or bool(getattr(step.config, "overwrite", False))


def _stale(step: Step, cause: str) -> RecordMismatch:
    reason = f"{step.output} is outdated, because {cause} will redo its input"
    return RecordMismatch(reason, advice=START_OVER)


def _holds_run(step: Step) -> bool:
    """Whether there is something that the step would not write over without being told to."""
    if step.verb.name == "export":
        return step.output.is_dir() and any(step.output.iterdir())
    return hasattr(step.config, "dry_run") and MadeFolder(step.output).holds_run()


def _dry(step: Step, *, overwrite: bool) -> Any:
    config = ready(step.config, dry_run=True, overwrite=overwrite)
    if getattr(config, "threshold", None) == "auto" and not MadeFolder(step.output).holds_run():
        config = ready(config, threshold=None)  # there is no record that a chosen threshold could differ from
    return step.verb.run(config, SilentReporter())


def fingerprint(step: Step, known: Mapping[str, Any] | None = None) -> str:
    """A hash of what decides the files of evaluate, report or export.

    known: the settings of the version that made them: others count only where they are not at their default.
    """
    config = jsonable(step.config)
    names = deciding(step.verb.config, roles=("result", "masks", "machine", "place"))
    if known:
        names = [name for name in names if name in known or name in changed(config, step.verb.config, (name,))]
    assert step.verb.source is not None
    settings = json.dumps({name: config[name] for name in names}, sort_keys=True)
    lines = [step.verb.name, settings, *_of_folder(getattr(step.config, step.verb.source))]
    truth = getattr(step.config, "gt", None)
    for name in ("list", "val_list", "class_file"):
        path = getattr(step.config, name, None)
        lines.append(hash_file(path) if path is not None and path.is_file() else "")
    return hash_lines([*lines, *(_listing(truth) if truth is not None else [])])


def _of_folder(folder: Path) -> list[str]:
    """What decides the masks in a folder: its manifest and record, else the files themselves."""
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
