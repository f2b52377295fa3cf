"""The tables of README and docs say what the files in benchmarks/results say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from benchmarks import few_photos
from benchmarks.stage_table import END, START, from_json, on_page
from pseudomask.data.teachable import LIMITS

ROOT = Path(__file__).resolve().parents[1]
_NUMBER = re.compile(r"[−-]?\d+(?:\.\d+)?")


def results(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))


def table(page: str, header: str) -> list[list[str]]:
    """The cells of the first table whose header line begins so."""
    text = (ROOT / page).read_text("utf-8")
    lines = text[text.index(f"| {header}") :].split("\n\n")[0].splitlines()
    return [[cell.strip(" *`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def same(text: str, *values: float) -> None:
    """The numbers in a cell are these values, as exactly as they are written."""
    found = _NUMBER.findall(text)
    assert len(found) == len(values), (text, values)
    for shown, value in zip(found, values, strict=True):
        decimals = len(shown.partition(".")[2])
        assert abs(float(shown) - value) <= 0.5 * 10**-decimals + 0.006, (text, values)


def test_a_wrong_figure_would_be_noticed() -> None:
    same("62.1 (61.8–62.4)", 62.1, 61.77, 62.44)
    with pytest.raises(AssertionError):
        same("62.3", 62.1)


def test_seeds() -> None:
    rows = table("docs/results.md", "map | threshold (chosen on train)")
    found = results("seeds")
    for row, first, second in zip(rows, found[:5], found[5:], strict=True):
        same(row[1], first["threshold"], second["threshold"])
        for cell, name in zip(row[2:4], ("train", "val"), strict=True):
            both = first[name], second[name]
            same(cell, mean(both), min(both), max(both))
        for cell, name in zip(row[4:], ("val_precision", "val_recall"), strict=True):
            same(cell, mean((first[name], second[name])))


def test_int8() -> None:
    rows = table("docs/speed.md", "engine, AVX2, one thread")
    (found,) = (one["engines"] for one in results("int8_time")["rows"] if one["isa"] == "AVX2")
    assert [row[0] for row in rows] == list(found)
    for name, speed, error in rows:
        same(speed, found["torch float32"]["processor"] / found[name]["processor"])
        same(error, 100 * found[name]["error"])


def test_masks_in_int8() -> None:
    found = results("int8_masks")
    for row, one in zip(table("docs/speed.md", "masks of | split"), found["rows"], strict=True):
        assert row[:2] == [one["method"], one["split"]]
        for cell, name in zip(row[2:], ("photos", "agreement", "worst", "float32", "int8"), strict=True):
            same(cell, one[name])
    for row, one in zip(table("docs/speed.md", "masks of | a photo"), found["costs"], strict=True):
        assert row[0] == one["method"]
        for cell, value in zip(row[1:], (*one["photo"], one["speed"], *one["start"]), strict=True):
            same(cell, value)


def test_cpmc() -> None:
    rows, found = table("docs/results.md", "weights | map"), results("cpmc_table")
    for row in rows:
        rule = {"w": "first", "w″": "second"}[row[0]]
        shown = [float(row[2]), float(row[3]), float(row[4])]
        near = [
            one for one in found
            if one["rule"] == rule and one["threshold"] == shown[0] and abs(one["train"] - shown[1]) < 0.06
        ]  # fmt: skip
        assert any(abs(one["val"] - shown[2]) < 0.06 for one in near), row
        assert any(abs(one["val_precision"] - float(row[5])) < 0.06 for one in near), row
        assert any(abs(one["val_recall"] - float(row[6])) < 0.06 for one in near), row


def test_refiners() -> None:
    rows = table("docs/results.md", "seeds | refiner")
    found = results("refiners")
    assert len(rows) == len(found)
    for row, one in zip(rows, found, strict=True):
        assert (row[0].lower(), row[1]) == (one["seeds"].removesuffix("_train"), one["refiner"])
        names = [f"{who}_{what}" for who in ("truth", "auto") for what in ("threshold", "train", "val")]
        for cell, name in zip(row[2:], names, strict=True):
            same(cell, one[name])


def test_what_regions_gain() -> None:
    rows, found = table("docs/refinement-regions.md", "77 + 77 photos"), results("regions")
    assert len(rows) == len(found)
    for row, one in zip(rows, found, strict=True):
        assert row[0] == {"": "none", "true": "true regions"}.get(one["chain"], one["chain"])
        for cell, what in zip(row[1:], ("train", "val", "seconds"), strict=True):
            same(cell, one[what])


def test_how_far_the_automatic_threshold_falls_short() -> None:
    for row, one in zip(table("docs/refinement.md", "seeds | photos"), results("auto_threshold"), strict=True):
        assert row[0].lower().replace(", ", "_") == one["seeds"]
        names = ("photos", "truth", "truth_miou", "auto", "auto_miou", "short")
        for cell, what in zip(row[1:], names, strict=True):
            same(cell, one[what])


def test_the_walks_power() -> None:
    """A row a power, two columns a folder of seeds; the last row's power follows from the seeds' threshold."""
    found = results("walk_power")
    folders = [[one for one in found if one["seeds"] == name] for name in dict.fromkeys(one["seeds"] for one in found)]
    rows = table("docs/refinement-walk.md", "power | CAM")
    for row, *those in zip(rows, *folders, strict=True):
        same(row[0].rpartition(": ")[2], *sorted({one["power"] for one in those}))
        for i, one in enumerate(those):
            same(row[1 + 2 * i], one["miou"], one["threshold"])
            same(row[2 + 2 * i], one["follows_miou"], one["follows"])


def test_what_refiners_and_steps_cost() -> None:
    for row, one in zip(table("docs/results.md", "labels | torch"), results("crf_engines")["rows"], strict=True):
        ratios = [one["ratios"][name]["seconds"] for name in ("torch", "cold", "pydensecrf", "all")]
        assert row[0] == str(one["labels"])
        for cell, value in zip(row[1:], ratios, strict=True):
            same(cell, value)
    steps = results("recam_step")["ratios"]
    for row, name in zip(table("docs/results.md", "step | time"), ("plain", "recam", "naive"), strict=True):
        same(row[1], steps[name]["seconds"])
        same(row[2].split(" ")[0], steps[name]["memory"])


def test_how_often_a_photo_is_seen() -> None:
    full = "1, 0.5, 1.5, 2"
    passes = [f"{full}, mirrored too", f"{full}, every second one mirrored", full, "1, 0.5, 1.5", "1, 1.5", "1"]
    found = {name: {one["passes"]: one for one in results(f"tta_{name}")["rows"]} for name in ("recam", "cpmc")}
    for row, name in zip(table("docs/speed.md", "`--tta`"), passes, strict=True):
        recam, cpmc = (one[name] for one in found.values())
        times = sorted((recam["time"], cpmc["time"]))
        same(row[2], *(times if "to" in row[2] else times[:1]))
        for cell, value in zip(row[3:], (recam["train"], recam["val"], cpmc["train"], cpmc["val"]), strict=True):
            same(cell, value)


def test_extract_beside_the_reference() -> None:
    found = results("extract_speed")
    seconds = {name: found["seconds"][name]["median"] for name in ("reference", "extract", "flow", "limit")}
    names = [*seconds.values(), *found["fewer_passes"].values()]
    for row, value in zip(table("docs/speed.md", "| photos a second"), names, strict=True):
        same(row[1], 1 / value)
        same(row[2].split(" ")[0], value)
        same(row[3], seconds["reference"] / value)
        same(row[4], seconds["limit"] / value)


def test_where_the_time_goes() -> None:
    found = results("extract_profile")["seconds"]
    rows = table("docs/speed.md", "step | reference")
    for row, name in zip(rows[:-1], next(iter(found.values())), strict=True):
        for i, one in enumerate(found.values()):
            same(row[1 + 2 * i], one[name])
            same(row[2 + 2 * i], 100 * one[name] / sum(one.values()))


def test_stages_of_a_stated_gpu() -> None:
    """`benchmarks.stages --json --page` writes both; before it has run, the page shows no table."""
    page = (ROOT / "docs/gpu.md").read_text("utf-8")
    measured = (ROOT / "benchmarks/results/stages.json").exists()
    assert on_page(page, from_json(results("stages"))) == page if measured else f"{START}\n{END}" in page


def test_large_photos() -> None:
    found = results("large_photos")
    [row] = table("docs/photos.md", "the everyday call with `--overlay`")
    same(row[0].replace(",", ""), found["photos"], found["side"], found["side"])
    same(row[1], found["workers"])
    same(row[2].replace(",", ""), found["peak"])


def test_the_crf_on_a_gpu() -> None:
    found = results("crf_engines_h100")
    [engines] = [one["engines"] for one in found["rows"]]
    for row, name in zip(
        table("docs/gpu.md", "3 labels | seconds"), ("batched", "torch", "cpu", "pydensecrf"), strict=True
    ):
        same(row[1], engines[name]["seconds"])
        same(row[2], engines[name]["seconds"] / engines["pydensecrf"]["seconds"])


def test_training_beside_its_bare_step() -> None:
    found = results("train_speed")
    verbs = found["images_per_second"].items()
    for row, (verb, one) in zip(table("docs/speed.md", "verb | images"), verbs, strict=True):
        assert row[0] == verb
        same(row[1], one["verb"][0])
        same(row[2], one["step"][0])
        same(row[3], found["share"][verb])


def test_how_long_a_network_gains() -> None:
    found = results("segmenter_schedule")

    def each(epochs: int, kind: str, what: str = "miou") -> list[float]:
        return [one[what] for one in found if (one["epochs"], one["masks"]) == (epochs, kind)]

    for row in table("docs/recipe.md", "epochs | masks from tags"):
        tags, true = (each(int(row[0]), kind) for kind in ("tags", "true"))
        same(row[1], mean(tags), *tags)
        same(row[2], mean(true), *true)
        same(row[3], mean(tags) / mean(true))
    for row in table("docs/recipe.md", "class, 48 epochs"):
        what = "miou" if row[0] == "mean" else row[0]
        for cell, kind in zip(row[2:], ("tags", "true"), strict=True):
            same(cell, mean(each(48, kind, what)))


def test_the_recipe_that_closes_the_loop() -> None:
    found = results("recipe")
    for row, which in zip(table("docs/recipe.md", "trained on | val mIoU"), ("tags", "true"), strict=True):
        same(row[1], found["miou"][which], *(one["miou"] for one in found["networks"][which]))
        same(row[2], found["miou"][which] / found["miou"]["true"])
    rows = table("docs/recipe.md", "class | masks from tags")
    for row, (name, iou) in zip(rows[:-1], found["masks"]["iou"].items(), strict=True):
        assert row[0] == name
        same(row[1], iou)
        for cell, which in zip(row[2:], ("tags", "true"), strict=True):
            same(cell, mean(one["iou"][name] for one in found["networks"][which]))
    for cell, value in zip(rows[-1][1:], (found["masks"]["miou"], *found["miou"].values()), strict=True):
        same(cell, value)


def test_quality_against_time() -> None:
    (row,), (one,) = table("docs/quality.md", "method:chain:tta"), results("quality")
    splits = one["train"], one["val"]
    assert row[0] == one["row"]
    same(row[1], *(split["photos"] for split in splits))
    for cell, split in zip(row[2:4], splits, strict=True):
        same(cell, split["miou"])
    same(row[4], *(split["person"] for split in splits))
    found = results("quality_rows")
    for row, one in zip(table("docs/quality.md", "command | train mIoU"), found, strict=True):
        assert row[0] == one["row"]
        for cell, split in zip(row[1:3], (one["train"], one["val"]), strict=True):
            same(cell, split["miou"])
        same(row[3], one["train"]["person"], one["val"]["person"])
        same(row[4], one["train"]["seeds"]["miou"], one["val"]["seeds"]["miou"])
        same(row[5], one["seconds_a_photo"] / found[0]["seconds_a_photo"])
        same(row[6], one["memory"])


def test_what_heads_change() -> None:
    for row, one in zip(table("docs/quality.md", "heads | train mIoU"), results("quality_heads"), strict=True):
        splits = one["train"], one["val"]
        for cell, split in zip(row[1:3], splits, strict=True):
            same(cell, split["miou"])
        same(row[3], *(split["person"] for split in splits))
        same(row[4], *(split["seeds"]["miou"] for split in splits))


def test_a_second_look_at_small_things() -> None:
    found = results("second_look")
    for row, one in zip(table("docs/quality.md", "row | mIoU"), found, strict=True):
        assert row[0] == one["row"]
        same(row[1], one["miou"])
        same(row[2], *(one[f"person_{name}"] for name in ("iou", "precision", "recall")))
        same(row[3], one["seconds"] / found[0]["seconds"])


def test_what_each_region_teaches() -> None:
    found = results("calibrate_ablation")
    rows = table("docs/methods-cpmc.md", "regions |")
    assert [row[0] for row in rows] == list(dict.fromkeys(one["row"] for one in found))
    for row in rows:
        seeds = [one for one in found if one["row"] == row[0]]
        for cell, split in zip(row[1:3], ("train", "val"), strict=True):
            each = [one[split]["miou"] for one in seeds]
            same(cell, mean(each), *(each if len(each) > 1 else ()))
        same(row[3], *(mean(one[split]["person"] for one in seeds) for split in ("train", "val")))


def test_own_classes_calibrated() -> None:
    rows, found = table("docs/methods-cpmc.md", "weights | seeds, val"), results("own_classes")
    for row, one in zip(rows, found.values(), strict=True):
        for cell, part in zip(row[1:], ("cpmc", "train", "val"), strict=True):
            same(cell, one[part]["mean"])


def test_imagenet_without_training() -> None:
    rows, found = table("docs/imagenet.md", "seeds | photos"), results("imagenet")
    for row, one in zip(rows, found, strict=True):
        assert row[0] == one["row"]
        for cell, name in zip(row[1:], ("photos", "miou", "cat", "cow", "dog", "horse", "sheep"), strict=True):
            same(cell, one[name])


def test_imagenet_refined() -> None:
    rows, found = table("docs/imagenet.md", "method:chain:tta"), results("imagenet_refined")
    for row in rows:
        for cell, split in zip(row[1:], ("train", "val"), strict=True):
            same(cell, *(one[split]["miou"] for one in found if one["row"] == row[0] and split in one))
    assert sum(cell != "above" for row in rows for cell in row[1:]) == len(found)


def test_how_many_photos() -> None:
    page, found = (ROOT / "docs" / "how-many-photos.md").read_text("utf-8"), results("few_photos")
    assert few_photos.table(found) in page
    for text, row in found.items():
        name, photos, _, _ = text.split(":")
        assert set(row.get("verdicts", {}).values()) <= {"doubtful" if int(photos) < LIMITS.few else "will work"}
        if int(photos) >= LIMITS.few:
            assert all(row[part][one] >= 40 for part in few_photos.SPLITS if part in row for one in name.split("+"))


def test_what_the_disagreements_of_maps_are() -> None:
    rows, found = table("docs/methods-cpmc.md", "reading | FN, share of grid"), results("cpmc_regions")
    for row, one in zip(rows, found, strict=True):
        assert row[0] == one["reading"]
        for cell, name in zip(row[1:], ("fn", "fn_right", "fp", "fp_right"), strict=True):
            same(cell, 100 * one[name])


def test_the_readmes_tables() -> None:
    """Each mIoU there is that of the longer tables."""
    found = {one["row"]: one for one in results("quality_rows")}
    shown = (
        "cam:none:fast",
        "recam:none:fast",
        "cpmc:none:fast",
        "recam:walk,crf:fast",
        "cpmc:walk,crf:fast",
        "balanced",
    )
    for row, name in zip(table("README.md", "masks | train"), shown, strict=True):
        assert name.partition(":")[0] in row[0].lower()
        one = found[name]
        same(row[1], one["train"]["miou"])
        same(row[2], one["val"]["miou"])
        same(row[3], one["seconds_a_photo"] / found[shown[0]]["seconds_a_photo"])


def test_what_a_photo_costs_by_method() -> None:
    found = results("methods_time")
    ratios = {name: one["ratio"] for name, one in found["results"]["375x500"].items()}
    memory = {name: one["memory"] / 2**20 for name, one in found["results"]["375x500"].items()}
    refiners = {name: ratios[f"refine --method {name}"] for name in ("crf", "pamr", "walk")}
    names = [
        "cam",
        "recam",
        "cpmc",
        "cpmc, both kinds of local prototypes",
        *(f"refine --method {n}" for n in refiners),
    ]
    for row, name in zip(table("docs/results.md", "map | time, CAM = 1"), names, strict=True):
        same(row[1], ratios[name])
        same(row[2], memory[name])


@pytest.mark.parametrize(
    ("file", "first_column"), [("cams", "kind of map |"), ("cams_advcam", "kind of map, one scale |")]
)
def test_kinds_of_class_map(file: str, first_column: str) -> None:
    """mIoU on train and val with the threshold, then the cost; columns are weight rule and method."""
    found = results(file)
    quality = {(one["cam"], one["rule"], one["method"]): one for one in found["quality"]}
    rows = table("docs/cam-variants.md", f"{first_column} w |")
    assert {row[0] for row in rows} == {cam for cam, _, _ in quality}
    for row in rows:
        pairs = [(rule, method) for rule in ("first", "second") for method in ("cam", "cpmc")]
        for cell, pair in zip(row[1:], pairs, strict=True):
            one = quality[row[0], *pair]
            same(cell, one["train"], one["val"], one["threshold"])
    cost = {(one["cam"], one["rule"], one["method"]): one for one in found["cost"]}
    rows = table("docs/cam-variants.md", f"{first_column} cam |")
    assert {row[0] for row in rows} == {cam for cam, _, _ in cost}
    unit = cost["plain", "first", "cam"]["seconds"]
    for row in rows:
        cam, recam, cpmc = (cost[row[0], *pair] for pair in (("first", "cam"), ("second", "cam"), ("second", "cpmc")))
        for cell, one in zip(row[1:4], (cam, recam, cpmc), strict=True):
            same(cell, one["seconds"] / unit)
        same(row[4], recam["seconds"] / cam["seconds"])
        same(row[5], cam["memory_mib"], cpmc["memory_mib"])


def test_review_walk() -> None:
    rows, found = table("docs/report.md", "masks | server up"), results("review_walk")
    assert [row[0] for row in rows] == ["100", "500"]
    for row, one in zip(rows, found["runs"], strict=True):
        assert sum(one["verdicts"].values()) == int(row[0])
        for cell, value in zip(row[1:3], (one["started_s"], one["loaded_s"]), strict=True):
            same(cell, value)
        for cell, times in zip(row[3:6], one["ms"].values(), strict=True):
            assert cell == f"{times['median']:.0f} ({times['p95']:.0f})"
        same(row[6], one["seconds_a_mask"])
        assert row[7] == f"{one['server_bytes'] / 1e6:.0f}"
    text = (ROOT / "docs/report.md").read_text("utf-8")
    assert f"load of {found['load'][0]:.0f} to {found['load'][1]:.0f}" in " ".join(text.split())
