"""Run a chain of verbs, in which finished steps are skipped.

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
from dataclasses import dataclass, replace

from pseudomask.chain.checks import named, ready, window
from pseudomask.chain.data import ADVICE, cut_down, examine, report
from pseudomask.chain.outcome import RunResult
from pseudomask.chain.plan import plan
from pseudomask.chain.record import (
    Entry,
    document,
    entry_of,
    read_entries,
    write_resolved,
    write_summary,
)
from pseudomask.chain.repeats import repeated
from pseudomask.chain.results import keep
from pseudomask.chain.spread import spreads
from pseudomask.chain.status import StepStatus, Survey, fingerprint
from pseudomask.chain.steps import Chain, Step
from pseudomask.chain.told import comparisons, doubts, tables
from pseudomask.config import RunConfig
from pseudomask.errors import PseudomaskError, UsageError
from pseudomask.quoting import count
from pseudomask.running.holder import holding
from pseudomask.running.ranks import ranks
from pseudomask.running.reporter import Reporter, SilentReporter

_PLANNED = {
    "done": "already done",
    "new": "to make",
    "resume": "to resume",
    "redo": "to redo",
    "wait": "after earlier steps",
}


def run(config: RunConfig, reporter: Reporter | None = None) -> RunResult:
    """The verb `run` (see `pipeline`) without its page."""
    if not ranks().alone:
        raise UsageError(
            "run cannot share its steps among the processes of a torchrun; start it without torchrun, or start each "
            "verb with torchrun"
        )
    reporter = reporter or SilentReporter()
    chain = plan(config.config, os.environ)
    data = examine(chain)
    if data.problems:
        report(data, reporter)
        if not config.partial:
            raise UsageError(
                f"{config.config}: the data is not complete ({count(len(data.problems), 'problem')}, above); {ADVICE}"
            )
        chain = cut_down(chain, data, write=not (config.dry_run or config.check))
    labels = {step.label for step in window(chain, config.from_, config.until)}
    chain = replace(repeated(chain, config.seeds), found=tuple(part.to_json() for part in data.parts))
    steps = tuple(step for step in chain.steps if step.base in labels)
    before = read_entries(chain)
    entries = [_with_history(entry_of(step), before) for step in chain.steps]
    survey = Survey(config.overwrite, before)
    statuses = survey(steps)
    by_label = {entry["step"]: entry for entry in entries}
    for entry in entries:
        entry["status"] = "waiting" if entry["step"] in statuses else "left out"
    if config.dry_run or config.check:
        for label, status in statuses.items():
            by_label[label] |= {"status": _PLANNED[status.state], "why": status.why}
        findings = (finding.text for one in statuses.values() for finding in getattr(one.result, "findings", ()))
        for text in dict.fromkeys(findings):  # trainings on the same tags have the same findings
            reporter.warn(text)
        if config.check:
            from pseudomask.chain.forecast import forecast  # imports torch

            return forecast(chain, steps, statuses, entries, reporter)
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
    code = 0
    for number, step in enumerate(steps, 1):
        code = runner.step(step, statuses[step.label], f"{number} of {len(steps)}, {step.label}", by_label[step.label])
        if code:
            break
    found = spreads(entries)
    told = document(chain, entries, code, [one.to_json() for one in found])
    write_summary(chain, told)
    shown, lines = tables(chain, entries, found), list(comparisons(chain, found))
    lines = [*doubts(chain), *lines] if lines else []
    return RunResult(chain.out, entries, code, document=told, lines=lines, shown=shown)


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
        write_summary(self.chain, document(self.chain, self.entries, exit_code))

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
