"""The verb `run`: a chain of verbs, in which finished steps are skipped.

The steps run one after the other in this process, not in processes of their own: torch is loaded once, signals reach
the handler of the current step, and errors keep their type. Memory is freed between steps.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pseudomask.chain.checks import named, ready, window
from pseudomask.chain.plan import plan
from pseudomask.chain.record import (
    Entry,
    document,
    entry_of,
    read_entries,
    write_resolved,
    write_summary,
)
from pseudomask.chain.results import keep, short
from pseudomask.chain.status import StepStatus, Survey, fingerprint
from pseudomask.chain.steps import Chain, Step
from pseudomask.config import RunConfig
from pseudomask.errors import PseudomaskError, UsageError
from pseudomask.quoting import duration
from pseudomask.running.holder import holding
from pseudomask.running.ranks import ranks
from pseudomask.running.reporter import Reporter, SilentReporter
from pseudomask.running.shown import Shown

_PLANNED = {
    "done": "already done",
    "new": "to make",
    "resume": "to resume",
    "redo": "to redo",
    "wait": "after earlier steps",
}


@dataclass
class RunResult(Shown):
    """The result of a chain.

    Attributes:
        out: the folder for its outputs.
        steps: as in chain.json: step, status (done, skipped, failed, stopped, waiting; after a dry run what would
            happen), why, seconds, place, results, config.
        exit_code: 0, that of the step that failed, or 130/143 after a signal.
        document: the content of chain.json.
    """

    out: Path
    steps: list[Entry]
    exit_code: int = 0
    dry: bool = False
    document: dict[str, Any] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Step, status, time, result and output of each step, for people."""
        return [
            (
                entry["step"],
                entry["status"],
                duration(entry["seconds"]) if entry["seconds"] else "",
                short(entry["results"]),
                entry["place"],
            )
            for entry in self.steps
        ]

    def summary(self) -> list[tuple[str, str]]:
        return [(row[0], ", ".join(word for word in row[1:] if word)) for row in self.rows()]

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows, without empty columns; outputs are relative to `out`."""
        rows = [(*row[:-1], _below(row[-1], self.out)) for row in self.rows()]
        header = ("step", "what", "time", "result", f"below {self.out}")
        keep = [i for i in range(len(header)) if any(row[i] for row in rows)]
        return [header[i] for i in keep], [[row[i] for i in keep] for row in rows]

    def notes(self) -> list[str]:
        """After a dry run, the reasons why steps would be redone."""
        return [f"{entry['step']}: {entry['why']}" for entry in self.steps if entry["why"] and self.dry]

    def to_json(self) -> dict[str, Any]:
        return self.document


def run(config: RunConfig, reporter: Reporter | None = None) -> RunResult:
    """Run the chain of a file (see `RunConfig`), and write chain.json and run.toml to its `out`.

    Finished steps are skipped; steps made with other settings are redone with `overwrite`, otherwise refused. Raises
    `UsageError` before any work if the file has a mistake, and the errors of steps, with the step's name before the
    message. A step with an exit code other than 0 ends the chain.
    """
    if not ranks().alone:
        raise UsageError(
            "run cannot share its steps among the processes of a torchrun; start it without torchrun, or start each "
            "verb with torchrun"
        )
    reporter = reporter or SilentReporter()
    chain = plan(config.config, os.environ)
    steps = window(chain, config.from_, config.until)
    before = read_entries(chain)
    entries = [_with_history(entry_of(step), before) for step in chain.steps]
    survey = Survey(config.overwrite, before)
    statuses = survey(steps)
    by_label = {entry["step"]: entry for entry in entries}
    for entry in entries:
        entry["status"] = "waiting" if entry["step"] in statuses else "left out"
    if config.dry_run:
        for label, status in statuses.items():
            by_label[label] |= {"status": _PLANNED[status.state], "why": status.why}
        findings = (finding.text for one in statuses.values() for finding in getattr(one.result, "findings", ()))
        for text in dict.fromkeys(findings):  # trainings on the same tags have the same findings
            reporter.warn(text)
        return RunResult(chain.out, entries, dry=True, document=document(chain, entries, None))
    with holding(chain.out):
        return _run_steps(chain, steps, statuses, entries, survey, reporter)


def _run_steps(
    chain: Chain,
    steps: Sequence[Step],
    statuses: Mapping[str, StepStatus],
    entries: list[Entry],
    survey: Survey,
    reporter: Reporter,
) -> RunResult:
    write_resolved(chain)
    by_label = {entry["step"]: entry for entry in entries}
    runner = _Runner(chain, entries, survey, reporter)
    for number, step in enumerate(steps, 1):
        code = runner.step(step, statuses[step.label], f"{number} of {len(steps)}, {step.label}", by_label[step.label])
        if code:
            runner.write(code)
            return RunResult(chain.out, entries, code, document=document(chain, entries, code))
    runner.write(0)
    return RunResult(chain.out, entries, document=document(chain, entries, 0))


def _with_history(entry: Entry, before: dict[str, Entry]) -> Entry:
    """The entry with the results of an earlier run of the step."""
    old = before.get(entry["step"], {})
    return entry | {name: old[name] for name in ("seconds", "results", "fingerprint") if name in old}


@dataclass
class _Runner:
    """Runs the steps, keeping chain.json up to date."""

    chain: Chain
    entries: list[Entry]
    survey: Survey
    reporter: Reporter

    def write(self, exit_code: int | None = None) -> None:
        write_summary(self.chain, self.entries, exit_code)

    def step(self, step: Step, status: StepStatus, title: str, entry: Entry) -> int:
        """Run or skip one step; returns its exit code."""
        if status.state == "wait":
            status = self._check_again(step, entry)
        if getattr(status.result, "exit_code", 0):  # stopped during its dry run
            entry["status"] = "stopped"
            return int(status.result.exit_code)
        if status.state == "done":
            entry |= {"status": "skipped", "why": "", "results": entry["results"] or keep(status.result)}
            self.reporter.info(f"{title}: already done, in {step.output}")
            return 0
        why = f", because {status.why}" if status.why else ""
        doing = {"new": "starting", "resume": "resuming", "redo": "redoing"}[status.state]
        self.reporter.info(f"{title}: {doing}, in {step.output}{why}")
        entry |= {"status": "running", "why": status.why, "results": {}}
        entry.pop("fingerprint", None)
        self.write()
        return self._run(step, entry, overwrite=status.state == "redo")

    def _check_again(self, step: Step, entry: Entry) -> StepStatus:
        try:
            return self.survey.check_late(step)
        except PseudomaskError as error:
            entry |= {"status": "failed", "why": str(error)}
            self.write(error.exit_code)
            raise

    def _run(self, step: Step, entry: Entry, *, overwrite: bool) -> int:
        started = time.monotonic()
        config = ready(step.config, dry_run=False, overwrite=overwrite)
        try:
            try:
                result = step.verb.run(config, self.reporter)
            finally:
                entry["seconds"] = round(time.monotonic() - started, 1)
        except BaseException as error:
            entry |= {"status": "stopped" if isinstance(error, KeyboardInterrupt) else "failed", "why": str(error)}
            with suppress(PseudomaskError):  # the disk may have failed
                self.write(getattr(error, "exit_code", 1))
            if isinstance(error, PseudomaskError):
                named(error, step)
            raise
        code = int(result.exit_code)
        entry["status"] = "done" if code == 0 else "failed" if code < 128 else "stopped"
        entry["results"] = keep(result)
        if code == 0 and not step.verb.recorded:
            entry["fingerprint"] = fingerprint(step)
        if 0 < code < 128:
            entry["why"] = "more photos failed than max-failures"
            self.reporter.warn(f"{step.label} failed: {entry['why']}; later steps were not run")
        _free()
        self.write()
        return code


def _free() -> None:
    """Free a step's memory: the next one may need a whole GPU."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _below(output: str, out: Path) -> str:
    path = Path(output)
    return str(path.relative_to(out)) if path.is_relative_to(out) else output
