"""Names that can be chosen stand in one list; where help, which imports nothing heavy, repeats one, it is the same."""

from __future__ import annotations

import re
from typing import Any, get_args, get_type_hints

import pytest

from pseudomask.config import ExportConfig, ExtractConfig, MapOptions, RefineConfig
from pseudomask.config.methods import SingleMethodOptions
from pseudomask.config.refiners import NAMES, RefinerOptions
from pseudomask.config.settings import settings
from pseudomask.data import labels
from pseudomask.exporting import FORMATS
from pseudomask.maps import METHODS
from pseudomask.refining import REFINERS
from pseudomask.verbs import VERBS


def choices(config: type, name: str) -> set[str]:
    return set(get_args(get_type_hints(config)[name]))


def test_label_formats() -> None:
    """All can be asked for but NumPy's, which is a pickle: it is known only to be refused."""
    assert choices(ExtractConfig, "label_format") == {"auto", *labels.FORMATS} - {"npy"}
    assert set(labels.FORMATS) >= labels._WITH_SPLITS | labels._FOLDERS | labels._FILES
    assert set(labels.FORMATS) == labels._FOLDERS | labels._FILES


def test_export_formats() -> None:
    assert choices(ExportConfig, "format") == set(FORMATS)
    assert all(writer.__name__.lower() == name for name, writer in FORMATS.items())


def test_weight_rules() -> None:
    """cpmc takes what recam takes, and auto."""
    hints = get_type_hints(MapOptions)
    (rule, _) = get_args(hints["recam_weights"])
    assert set(get_args(hints["cpmc_weights"])) == {"auto", *get_args(rule)}


@pytest.mark.parametrize(("config", "registry"), [(ExtractConfig, METHODS), (RefineConfig, REFINERS)])
def test_the_help_of_method_names_each(config: type, registry: dict[str, Any]) -> None:
    (method,) = [one for one in settings(config) if one.name == "method"]
    assert set(registry) <= set(re.findall(r"\w+", method.help))


def test_refiners_are_those_whose_settings_refine_has() -> None:
    """Each setting says whose it is: then it decides no run of another one, and its group stands last."""
    assert tuple(REFINERS) == NAMES
    for name, options in zip(NAMES, RefinerOptions.__bases__, strict=True):
        assert all(name in one.of and {*one.of} <= {*NAMES} for one in settings(options)), options.__name__
        assert issubclass(RefineConfig, options)


def test_settings_of_methods_say_so() -> None:
    for options in SingleMethodOptions.__bases__:
        assert all(set(one.of) & set(METHODS) for one in settings(options)), options.__name__


def test_groups_of_single_methods_stand_last_in_the_help() -> None:
    groups = list(dict.fromkeys(one.panel for one in settings(RefineConfig)))
    refiners = ["CRF", "PAMR", "Regions", "Walk"]  # superpixels, proposals and sam have one group
    *_, output, run, machine = groups[: -len(refiners)]
    assert (output, run, machine) == ("Output", "Run", "Machine")
    assert groups[-len(refiners) :] == refiners
    own = list(dict.fromkeys(one.panel for one in settings(ExtractConfig)))
    last = own[own.index("Machine") + 1 :]
    assert last == sorted(last, key=str.lower), "by name"
    assert {"CPMC", *refiners} < set(last), "extract has the refiners too, for --refine"


def test_methods_of_trainings_are_methods() -> None:
    assert {verb.method for verb in VERBS.values()} - {None} <= set(METHODS)
