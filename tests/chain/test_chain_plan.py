"""From a file to steps: what follows from what, what wins over what, and what is wrong before any work."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pseudomask.chain.checks import window
from pseudomask.chain.plan import plan
from pseudomask.chain.record import resolved
from pseudomask.chain.steps import STEPS, Step
from pseudomask.errors import UsageError

Write = Callable[..., Path]
WHOLE = (
    "train-cls", "reactivate", "calibrate", "prototypes", "extract", "train-affinity", "refine",
    "evaluate", "report", "export",
)  # fmt: skip


def steps(file: Path, **environment: str) -> dict[str, Step]:
    return {step.label: step for step in plan(file, environment).steps}


def configs(file: Path, **environment: str) -> dict[str, Any]:
    return {label: step.config for label, step in steps(file, **environment).items()}


def below(tmp_path: Path, *parts: str) -> Path:
    return tmp_path.joinpath("out", *parts)


def test_each_step_takes_what_the_one_before_makes(chain: Write, tmp_path: Path) -> None:
    found = configs(chain(*WHOLE))
    weights = {name: below(tmp_path, name, "weights.safetensors") for name in ("cls", "recam", "cpmc", "affinity")}
    segmenting = ("train-seg", "predict")  # tests/segmenting has their chain
    assert tuple(found) == WHOLE == tuple(name for name in STEPS if name not in segmenting)
    assert found["reactivate"].weights == weights["cls"]
    assert found["calibrate"].weights == weights["recam"]
    assert (found["extract"].weights, found["extract"].method) == (weights["cpmc"], "cpmc")
    assert found["prototypes"].weights == weights["cpmc"]
    assert found["extract"].lpcam_prototypes == found["prototypes"].file == below(tmp_path, "prototypes.safetensors")
    assert found["train-affinity"].weights == weights["cpmc"]
    assert found["train-affinity"].seeds == found["refine"].seeds == below(tmp_path, "seeds")
    assert found["refine"].affinity == weights["affinity"]
    assert found["evaluate"].pred == found["report"].out == found["export"].out == below(tmp_path, "refined")
    assert found["evaluate"].gt == Path("truth")
    assert found["evaluate"].json_file == below(tmp_path, "evaluate.json")
    assert found["report"].html == below(tmp_path, "report.html")
    assert found["export"].dest == below(tmp_path, "export")
    assert found["report"].images is None  # of the run that made the masks


def test_steps_know_whom_they_need(chain: Write) -> None:
    needs = {label: set(step.needs) for label, step in steps(chain(*WHOLE)).items()}
    assert needs == {
        "train-cls": set(),
        "reactivate": {"train-cls"},
        "calibrate": {"reactivate"},
        "prototypes": {"calibrate"},
        "extract": {"calibrate", "prototypes"},
        "train-affinity": {"extract", "calibrate"},
        "refine": {"extract", "train-affinity"},
        "evaluate": {"refine"},
        "report": {"refine"},
        "export": {"refine"},
    }


@pytest.mark.parametrize(
    ("trained", "method"), [(["train-cls"], "cam"), (["train-cls", "reactivate"], "recam"), ([], None)]
)
def test_the_method_follows_from_the_weights(chain: Write, trained: list[str], method: str | None) -> None:
    assert configs(chain(*trained, "extract"))["extract"].method == method


def test_tables_may_stand_in_any_order_and_say_otherwise(chain: Write, tmp_path: Path) -> None:
    file = chain(
        '[refine]\nseeds = "elsewhere"\nimages = "others"\n',
        '[extract]\nmethod = "cam"\nweights = "my.safetensors"\nout = "masks"\nbatch_size = 2\n',
        "[train-cls]\nepochs = 7\n",
    )
    found = configs(file)
    assert list(found) == ["train-cls", "extract", "refine"]
    assert (found["train-cls"].epochs, found["train-cls"].run) == (7, below(tmp_path, "cls"))
    assert (found["extract"].weights, found["extract"].method) == (Path("my.safetensors"), "cam")
    assert (found["extract"].out, found["extract"].batch_size) == (Path("masks"), 2)
    assert (found["refine"].seeds, found["refine"].images) == (Path("elsewhere"), Path("others"))
    assert not steps(file)["extract"].needs


def test_photos_to_extract_may_be_others_than_those_trained_on(chain: Write) -> None:
    file = chain("train-cls", '[extract]\nimages = "val"\nlist = "val.txt"\n', "refine", more='list = "train.txt"')
    found = configs(file)
    assert (found["train-cls"].images, found["train-cls"].list) == (Path("photos"), Path("train.txt"))
    assert (found["extract"].images, found["extract"].list) == (Path("val"), Path("val.txt"))
    assert (found["refine"].images, found["refine"].list) == (Path("val"), None)  # as the seeds


def test_held_out_photos_are_those_of_every_training(chain: Write) -> None:
    found = configs(chain("train-cls", "reactivate", "extract", more='val-list = "held.txt"'))
    assert found["train-cls"].val_list == found["reactivate"].val_list == Path("held.txt")
    with pytest.raises(UsageError, match="val-list: it would apply to train-cls and export"):
        plan(chain("train-cls", "extract", "export", more='val-list = "held.txt"'), {})


def test_a_refiners_setting_at_the_top_reaches_an_extraction_that_refines(chain: Write) -> None:
    """Another extraction would take it in silence, and a boundary head that a later step makes is not there yet."""
    plain = configs(chain("extract", "refine", more="crf-side = 90\n"))
    assert (plain["extract"].crf_side, plain["refine"].crf_side) == (1024, 90)
    refined = configs(chain("extract", more='refine = ["crf"]\ncrf-side = 90\n'))
    assert refined["extract"].crf_side == 90


def test_a_weights_key_at_the_top_is_that_of_the_first_to_take_it(chain: Write, tmp_path: Path) -> None:
    found = configs(chain("reactivate", "extract", more='weights = "cls.safetensors"'))
    assert found["reactivate"].weights == Path("cls.safetensors")
    assert found["extract"].weights == below(tmp_path, "recam", "weights.safetensors")


def test_variables_win_over_the_file_but_not_for_inputs(chain: Write, tmp_path: Path) -> None:
    file = chain("train-cls", "[extract]\nbatch-size = 2\n")
    found = configs(file, PSEUDOMASK_EXTRACT_BATCH_SIZE="3", PSEUDOMASK_EPOCHS="9", PSEUDOMASK_WEIGHTS="mine")
    assert (found["extract"].batch_size, found["train-cls"].epochs) == (3, 9)
    assert found["extract"].weights == below(tmp_path, "cls", "weights.safetensors")
    assert configs(chain("extract"), PSEUDOMASK_WEIGHTS="mine")["extract"].weights == Path("mine")


def test_several_evaluations_are_told_apart(chain: Write, tmp_path: Path) -> None:
    file = chain(
        "extract",
        "refine",
        "[[evaluate]]\n",
        '[[evaluate]]\nof = "extract"\nsweep = true\n',
        '[[evaluate]]\nname = "val"\nmasks = "m"\ntruth = "t"\n',
    )
    found = configs(file)
    assert found["evaluate"].pred == below(tmp_path, "refined")
    assert (found["evaluate extract"].pred, found["evaluate extract"].sweep) == (below(tmp_path, "seeds"), True)
    assert (found["evaluate val"].pred, found["evaluate val"].gt) == (Path("m"), Path("t"))
    assert found["evaluate extract"].json_file == below(tmp_path, "evaluate-extract.json")
    assert steps(file)["evaluate extract"].needs == {"extract"}


def test_masks_that_no_step_makes(chain: Write) -> None:
    top = 'images = "photos"\nmasks = "given"\nlist = "val.txt"\ntruth = "truth"\nout = "OUT"'
    found = configs(chain("evaluate", "report", top=top))
    assert found["evaluate"].pred == found["report"].out == Path("given")
    assert found["evaluate"].list == Path("val.txt")
    assert found["report"].images == Path("photos")


MINIMAL = 'images = "photos"\nout = "OUT"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[extrct]\n", ": [extrct] is not a step; did you mean 'extract'?; the steps are train-cls, "),
        ("[doctor]\n", ": [doctor] is not a step; the steps"),
        ("[run]\n", ": put the chain's settings at the top of the file, not in [run]"),
        ("", ": no steps; write one table per step, such as [extract]"),
        ("[extract\n", ": not a TOML file: Expected ']' at the end of a table declaration (at line 4, column 9)"),
        ("[extract]\ntreshold = 0.3\n", " [extract]: treshold: unknown key; did you mean 'threshold'?"),
        ("tta_ = 'full'\n[extract]\n", ": tta_: unknown key; did you mean 'tta'?"),
        ("nothing-like-it = 1\n[extract]\n", ": nothing-like-it: unknown key; write a table as [extract]"),
        ("[extract]\ntta = 'ful'\n", " [extract]: tta: must be one of full, balanced, six, three, fast, not 'ful'"),
        ("[extract]\nweights = 3\n", " [extract]: weights: must be a path, not 3"),
        ("[extract]\ndry-run = true\n", " [extract]: dry-run: give --dry-run to `pseudomask run` instead"),
        ("dry_run = true\n[extract]\n", ": dry_run: give --dry-run to `pseudomask run` instead"),
        ("[extract]\nbatch-size = 1\nbatch_size = 2\n", ": 'batch-size' is given twice"),
        ("[[extract]]\n[[extract]]\n", ": [[extract]] may occur only once, as [extract]; only evaluate"),
        ("[refine]\n", " [refine]: refine needs `seeds`: no [extract] before it; give `seeds`"),
        ("truth = 't'\n[evaluate]\n", " [evaluate]: evaluate needs `pred`: no step before it makes masks"),
        ("[extract]\n[evaluate]\n", " [evaluate]: evaluate needs `gt`: give `truth`, the folder of true masks"),
        ("[extract]\n[export]\n", " [export]: export needs `format`: give `format`, such as format = 'voc'"),
        ("truth = 't'\n[extract]\n", ": truth: no step uses it; it is a setting of evaluate"),
        ("seeds = 's'\n[extract]\n[refine]\n", ": seeds: no step uses it; it is a setting of calibrate"),
        (
            "crf-side = 90\n[extract]\nrefine = 'none'\n",
            ": crf-side: no step uses it; it is a setting of extract, refine",
        ),
        (
            "method = 'cam'\n[extract]\n[refine]\n",
            ": method: it would apply to extract and refine",
        ),
        ("[extract]\n[refine]\nout = 'OUT/seeds'\n", "extract and refine would both write "),
        ("[extract]\nscores = false\n[refine]\n", "refine starts from scores, but extract writes none"),
        ("[evaluate]\nmasks = 'm'\npred = 'n'\n", " [evaluate]: 'pred' is given twice, under two names"),
        ("[extract]\n[[evaluate]]\ntruth='t'\nof = 'refine'\n", "'refine' is not an earlier step that makes masks"),
        (
            "[[evaluate]]\nmasks='m'\ntruth='t'\n[[evaluate]]\nmasks='n'\ntruth='t'\n",
            "duplicate step 'evaluate'; give",
        ),
        ("[[evaluate]]\nname='a/b'\nmasks='m'\ntruth='t'\n", "name: a name may contain only letters"),
        ("[extract]\n[evaluate]\ntruth='t'\nof='extract'\nmasks='m'\n", "`of` and a folder of masks cannot"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(chain: Write, tmp_path: Path, text: str, message: str) -> None:
    file = chain(text, top=MINIMAL) if not text.startswith("[extract\n") else chain(text, top="images = 'p'\n")
    file.write_text(file.read_text().replace("OUT", str(tmp_path / "out")))
    with pytest.raises(UsageError) as caught:
        plan(file, {})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_out_is_needed_and_the_file_too(chain: Write, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"chain\.toml: give `out` at the top"):
        plan(chain("extract", top='images = "p"\n'), {})
    with pytest.raises(UsageError, match=r"extract needs `images`: give `images` at the top or in its table"):
        plan(chain("extract", top='out = "p"\n'), {})
    with pytest.raises(UsageError, match=r"out: must be a path, not 3"):
        plan(chain("extract", top="out = 3\n"), {})
    with pytest.raises(UsageError, match=r"none\.toml: No such file"):
        plan(tmp_path / "none.toml", {})


def test_the_resolved_file_means_the_same(chain: Write, tmp_path: Path) -> None:
    tables = [
        *WHOLE[:7],
        '[[evaluate]]\nof = "extract"\nclasses = "bar, \\"q\\" \\u007f"\n',
        "[[evaluate]]\n",
        *WHOLE[8:],
    ]
    whole = plan(chain(*tables), {"PSEUDOMASK_TTA": "full"})
    again = tmp_path / "run.toml"
    again.write_text(resolved(whole))
    same = plan(again, {})
    assert same.steps == whole.steps
    assert same.out == whole.out


def test_a_window_of_steps(chain: Write) -> None:
    whole = plan(chain(*WHOLE[:7], "[[evaluate]]\n", '[[evaluate]]\nof = "extract"\n'), dict(os.environ))

    def labels(first: str | None, last: str | None) -> list[str]:
        return [step.label for step in window(whole, first, last)]

    assert labels(None, None) == [step.label for step in whole.steps]
    assert labels("extract", "refine") == ["extract", "train-affinity", "refine"]
    assert labels("evaluate", "evaluate") == ["evaluate", "evaluate extract"]
    assert labels("evaluate extract", None) == ["evaluate extract"]
    assert labels(None, "train-cls") == ["train-cls"]
    with pytest.raises(UsageError, match=r"^--from export: no such step in .*; it has train-cls, "):
        labels("export", None)
    with pytest.raises(UsageError, match="--from refine comes after --until extract"):
        labels("refine", "extract")
