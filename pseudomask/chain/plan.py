"""Turn a file into steps: combine each table, the settings at the top, and the products of earlier steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pseudomask.chain.file import ChainFile, Entries, Table, read_file
from pseudomask.chain.overrides import overrides
from pseudomask.chain.steps import STEPS, Chain, Step
from pseudomask.chain.words import take_published, take_word
from pseudomask.config.common import TagOptions
from pseudomask.config.refiners import NAMES as REFINERS
from pseudomask.config.settings import Setting, settings
from pseudomask.config.sources import resolve, variables
from pseudomask.errors import UsageError
from pseudomask.suggest import did_you_mean
from pseudomask.verbs import Verb

OUT = "out"
_TAGS = {one.name.replace("_", "-") for one in fields(TagOptions)} - {"class-file"}
# At the top of the file, these select the photos and tags; a step that starts from an earlier one uses its output.
_PHOTOS = {"images", "list", "limit", *_TAGS}
# Settings with different meanings in different verbs, and names of single files.
_OWN = {"method", "threshold", "val-list", "val-fraction", "html", "json-file", "csv", "markdown"}
_OWN |= {"run", "dest"}
_DRY_RUN = "give --dry-run to `pseudomask run` instead"
_HINTS = {
    "images": "give `images` at the top or in its table",
    "seeds": "no [extract] before it; give `seeds`",
    "pred": "no step before it makes masks; give `masks`",
    "masks": "no step before it makes masks; give `masks`",
    "gt": "give `truth`, the folder of true masks",
    "out": "no step before it makes masks; give `masks`",
    "format": "give `format`, such as format = 'voc'",
}


@dataclass
class _Products:
    """The products of the steps so far."""

    products: dict[str, Path] = field(default_factory=dict)  # by the setting that takes it
    masks: dict[str, Path] = field(default_factory=dict)  # by verb; later steps use the last
    method: str | None = None
    images: Path | None = None

    def wired(self, verb: Verb, of: str | None) -> dict[str, Path]:
        """The inputs of a step that earlier steps make."""
        masks = self.masks[of] if of is not None else next(reversed(self.masks.values()), None)
        images = self.images if verb.source == "seeds" else None
        made = self.products | {"images": images, "pred": masks, "out": masks, "masks": masks}
        return {name: path for name in verb.inputs if (path := made.get(name)) is not None}

    def add(self, step: Step) -> None:
        verb, config = step.verb, step.config
        for name in verb.makes:
            if name == "masks":
                self.masks[verb.name] = verb.product(config)
            else:
                self.products[name] = verb.product(config)
        self.method = verb.of(config).method or self.method
        if verb.name == "extract":
            self.images = config.images
            if config.weights is not None:
                self.products["weights"] = config.weights


def plan(path: Path, environment: Mapping[str, str]) -> Chain:
    """The chain of a file, each step with all its settings.

    A table takes precedence over earlier steps' products, and these over the top. `PSEUDOMASK_*` variables override the
    file, but not inputs. Raises `UsageError` for mistakes in the file, before anything else is read.
    """
    file = read_file(path)
    known = {name: {one.key: one for one in settings(verb.config)} for name, verb in STEPS.items()}
    _check_top(file, known)
    out = _out(file)
    taken: dict[str, list[str]] = {key: [] for key in file.top if key != OUT}
    made, steps = _Products(), list[Step]()
    for table in file.tables:
        step = _step(file, table, known[table.verb], made, out, taken, environment)
        if any(step.label == other.label for other in steps):
            raise UsageError(f"{table.where}: duplicate step {step.label!r}; give each a different `name`")
        steps.append(_linked(step, steps))
        made.add(step)
    for key, labels in taken.items():
        if not labels:
            verbs = ", ".join(verb for verb in known if _setting(STEPS[verb], known[verb], key) is not None)
            raise UsageError(f"{file.top[key][1]}: no step uses it; it is a setting of {verbs}")
        if key in _OWN and len({"training" if _trains(label) else label for label in labels}) > 1:
            raise UsageError(
                f"{file.top[key][1]}: it would apply to {' and '.join(labels)}, where it has different meanings; put "
                "it in their tables"
            )
    return Chain(path, out, tuple(steps), file.data)


def _trains(label: str) -> bool:
    return STEPS[label.partition(" ")[0]].trains


def _check_top(file: ChainFile, known: Mapping[str, Mapping[str, Setting]]) -> None:
    valid = {key for verb, found in known.items() for key in (*found, *STEPS[verb].aliases)} | {OUT}
    for key, (_, where) in file.top.items():
        if key == "dry-run":
            raise UsageError(f"{where}: {_DRY_RUN}")
        if key not in valid:
            hint = did_you_mean(key, valid) or "; write a table as [extract], with its settings below"
            raise UsageError(f"{where}: unknown key{hint}")


def _out(file: ChainFile) -> Path:
    value, where = file.top.get(OUT, (None, ""))
    if value is None:
        raise UsageError(f"{file.path}: give `out` at the top, the folder for the steps' outputs")
    if not isinstance(value, str) or not value or "\0" in value:
        raise UsageError(f"{where}: must be a path, not {value!r}")
    return Path(value)


def _setting(verb: Verb, known: Mapping[str, Setting], key: str) -> Setting | None:
    """The setting that a key of a file refers to."""
    field_name = verb.aliases.get(key)
    if field_name is not None:
        return next(one for one in known.values() if one.name == field_name)
    return known.get(key)


def _step(
    file: ChainFile,
    table: Table,
    known: Mapping[str, Setting],
    made: _Products,
    out: Path,
    taken: dict[str, list[str]],
    environment: Mapping[str, str],
) -> Step:
    verb = STEPS[table.verb]
    entries = dict(table.entries)
    of = take_word(entries, "of", made.masks) if verb.several else None
    name = (take_word(entries, "name", None) if verb.several else None) or of
    label = verb.name if name is None else f"{verb.name} {name}"
    published, protocol = take_published(entries) if verb.name == "evaluate" else (None, "")
    own = _own(verb, entries, known, table.where)
    if of is not None and verb.source in own:
        raise UsageError(f"{table.where}: `of` and a folder of masks cannot be combined; give one of them")
    wired = {field: path for field, path in made.wired(verb, of).items() if field not in own}
    cam = own.get("cam", file.top.get("cam", ("lpcam", "")))[0]
    if cam != "lpcam":
        wired.pop("lpcam_prototypes", None)
    shared: dict[str, tuple[object, str]] = {}
    for key in taken:
        setting = _setting(verb, known, key)
        if setting is None or setting.name in wired:
            continue
        if key in _PHOTOS and (verb.own_photos or verb.source in wired):
            continue
        if verb.name == "extract" and {*setting.of} & {*REFINERS} and not file.extract_refines(own):
            continue
        taken[key].append(label)
        if setting.name not in own:
            shared[setting.name] = file.top[key]
    given = shared | own
    fixed: dict[str, Any] = dict(wired)
    if verb.writes not in given:
        fixed[verb.writes] = out / _below(verb, name)
    for one in known.values():
        if one.name in given and (one.name in verb.inputs or one.positional or one.name == verb.writes):
            fixed[one.name] = one.parse(*given[one.name])
        elif one.required and not {one.name} & {*fixed, *given} and not _in(environment, verb, one):
            hint = _HINTS.get(one.name, "give it in its table")
            raise UsageError(f"{table.where}: {label} needs `{one.key}`: {hint}")
    rest = [one for one in known.values() if one.name not in fixed]
    values = resolve(verb.name, rest, {}, environment, given)
    if verb.name == "extract" and wired.get("weights") is not None and made.method is not None:
        values.setdefault("method", made.method)
    if "lpcam_prototypes" in wired:
        values.setdefault("cam", "lpcam")
    if verb.name == "extract" and file.refined_later:
        values.setdefault("refine", ("none",))
    try:
        config = verb.config(**(values | fixed))
    except ValueError as error:
        raise UsageError(f"{table.where}: {error}") from error
    changes = overrides(verb, rest, environment, given, config)
    return Step(verb, label, config, name, published=published, protocol=protocol, overrides=changes)


def _in(environment: Mapping[str, str], verb: Verb, setting: Setting) -> bool:
    return any(environment.get(name) for name in variables(verb.name, setting))


def _own(verb: Verb, entries: Entries, known: Mapping[str, Setting], where: str) -> dict[str, tuple[object, str]]:
    """Field → value from the table."""
    own: dict[str, tuple[object, str]] = {}
    for key, (value, source) in entries.items():
        setting = _setting(verb, known, key)
        if setting is None:
            extra = ["name", "of"] if verb.several else []
            extra += ["published", "protocol"] if verb.name == "evaluate" else []
            raise UsageError(f"{source}: unknown key{did_you_mean(key, [*known, *verb.aliases, *extra])}")
        if setting.name == "dry_run":
            raise UsageError(f"{source}: {_DRY_RUN}")
        if setting.name in own:
            raise UsageError(f"{where}: '{key}' is given twice, under two names")
        own[setting.name] = (value, source)
    return own


def _below(verb: Verb, name: str | None) -> str:
    if name is None:
        return verb.below
    path = Path(verb.below)
    return f"{path.stem}-{name}{path.suffix}"


def _linked(step: Step, before: Sequence[Step]) -> Step:
    """The step with the labels of the steps it needs. Raises `UsageError` if two steps write to the same path."""
    needs = set()
    for other in before:
        if _same(other.output, step.output):
            raise UsageError(f"{other.label} and {step.label} would both write {step.output}")
        product = other.verb.product(other.config)
        for name in step.verb.inputs:
            value = getattr(step.config, name)
            if value is not None and _same(value, product):
                needs.add(other.label)
                if name == "seeds" and not other.config.scores:
                    raise UsageError(f"{step.label} starts from scores, but {other.label} writes none (scores = false)")
    return replace(step, needs=frozenset(needs))


def _same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()
