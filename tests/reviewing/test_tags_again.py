"""Changed tags: checked, written beside the masks, and a command that makes those masks again, and only those."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from served import Client, Open, settings
from tiny import Ear

from pseudomask import extraction
from pseudomask.cli import app
from pseudomask.config import RefineConfig
from pseudomask.config.common import TagOptions
from pseudomask.data.labels import read_labels
from pseudomask.extracting.extract import extract
from pseudomask.refining.refine import refine
from pseudomask.reporting.folder import read_folder
from pseudomask.reviewing.again import commands
from pseudomask.reviewing.tags import Tags

ODD = "sömething, else;.v2"


def inodes(out: Path) -> dict[str, int]:
    return {path.relative_to(out).with_suffix("").as_posix(): path.stat().st_ino for path in out.rglob("*.png")}


def remade(out: Path, lines: list[str]) -> set[str]:
    """Run the commands as a shell would; returns which masks are new files."""
    before = inodes(out)
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "pseudomask"
        assert app.run([*words, "-q"]) == 0
    return {key for key, inode in inodes(out).items() if before[key] != inode}


def entries(out: Path) -> dict[str, dict[str, Any]]:
    return {entry["key"]: entry for entry in map(json.loads, (out / "manifest.jsonl").read_text().splitlines())}


def test_a_changed_tag_is_written_marked_and_extracted_again(made: Path, serve: Open, source: Path) -> None:
    labels, ear = (source / "photos.csv").read_bytes(), Ear()
    client = serve(made, reporter=ear)
    status, found = client.say(ODD, tags=" disc ;bar")
    assert status == 200
    row = found["rows"][str(client.number(ODD))]
    assert (row["tags"], row["marked"], row["seen"]) == ("bar;disc", True, 1)
    (line,) = found["again"]
    assert line in ear.infos[-1]
    assert line.startswith(
        f"pseudomask extract {shlex.quote(str(source / 'photos'))} {made} --labels {made}/review-tags.csv"
    )
    assert line.endswith(" --update")
    assert (source / "photos.csv").read_bytes() == labels
    assert client.say("p01", tags=client.row("p01")["tags"])[1]["again"] == [line]
    assert client.session.counts()["marked"] == 1
    assert remade(made, [line]) == {ODD}
    assert entries(made)[ODD]["classes"] == ["bar", "disc"]
    client.session.read()
    assert client.session.again == ()
    assert client.row(ODD)["marked"] is False
    assert client.row(ODD)["tags"] == "bar;disc"


def test_the_remade_folder_is_that_of_a_fresh_run(made: Path, serve: Open, source: Path, tmp_path: Path) -> None:
    client = serve(made)
    client.say("p01", tags="square")
    client.say("deep/p00", tags="")
    assert remade(made, list(client.session.again)) == {"p01", "deep/p00"}
    extract(settings(source, out=tmp_path / "fresh", labels=made / "review-tags.csv"))
    for path in [*(tmp_path / "fresh").rglob("*.png"), *(tmp_path / "fresh").rglob("*.npz")]:
        assert (made / path.relative_to(tmp_path / "fresh")).read_bytes() == path.read_bytes()


def test_unknown_tags_name_the_nearest_and_change_nothing(made: Path, serve: Open) -> None:
    client = serve(made)
    before = client.row("p01")
    for text, told in (
        ("dics", "no class is called 'dics'; did you mean 'disc'?"),
        ("disc; sqare", "no class is called 'sqare'; did you mean 'square'?"),
        ("zebra", "no class is called 'zebra'; choose from bar, disc, square"),
        ("disc bar", "no class is called 'disc bar'; did you mean"),
    ):
        status, found = client.say("p01", tags=text)
        assert (status, told in found["error"]) == (422, True), found
    assert client.row("p01") == before
    assert not (made / "review-tags.csv").exists()
    assert client.say("p01", tags="DISC,square")[1]["rows"][str(client.number("p01"))]["tags"] == "disc;square"


def test_tags_taken_back_need_no_extraction(made: Path, serve: Open) -> None:
    client = serve(made)
    before = client.row("p01")["tags"]
    client.say("p01", tags="bar;disc;square")
    assert client.session.again
    assert client.say("p01", 1, tags=before)[1]["again"] == []


def test_changed_tags_outlive_the_server_and_a_later_edit_keeps_them(made: Path, serve: Open) -> None:
    first = serve(made)
    first.say(ODD, tags="square")
    second = serve(made)
    assert second.row(ODD) == {"verdict": "", "note": "", "tags": "square", "marked": True, "seen": 0}
    second.say("p01", tags="bar")
    table = read_labels(made / "review-tags.csv", TagOptions(), classes=tiny.CLASSES)
    assert len(table.tags) == 4
    assert {name: [table.classes[i] for i in table.tags[name]] for name in (f"{ODD}.png", "p01.png")} == {
        f"{ODD}.png": ["square"],
        "p01.png": ["bar"],
    }


def test_where_the_classifier_chose_the_tags_only_changed_rows_are_given(
    serve: Open, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "untagged"
    extract(settings(source, out=out, labels=None, scales=None, flip=None, tta="balanced"))
    client = serve(out)
    before = client.row("p01")["tags"]
    client.say("p01", tags="square" if before != "square" else "bar")
    assert len((out / "review-tags.csv").read_text().splitlines()) == 2
    assert remade(out, list(client.session.again)) == {"p01"}
    client.session.read()
    assert client.session.again == ()


def test_photos_without_a_mask_keep_their_own_tags(made: Path, serve: Open, source: Path) -> None:
    """A run that was stopped: its manifest has some photos alone."""
    lines = (made / "manifest.jsonl").read_text().splitlines(keepends=True)
    (made / "manifest.jsonl").write_text("".join(lines[:2]))
    kept = [json.loads(line)["key"] for line in lines[:2]]
    client = serve(made)
    client.say(kept[0], tags="bar;disc;square")
    given = read_labels(source / "photos.csv", TagOptions(), classes=tiny.CLASSES).tags
    found = read_labels(made / "review-tags.csv", TagOptions(), classes=tiny.CLASSES).tags
    assert {name: tags for name, tags in found.items() if name != f"{kept[0]}.png"} == {
        name: tags for name, tags in given.items() if name != f"{kept[0]}.png"
    }


def test_refined_masks_take_two_commands(made: Path, serve: Open, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "refined"
    config = RefineConfig(
        images=source / "photos", seeds=made, out=out, method=("pamr",), threshold=0.35, device="cpu", workers=0
    )
    refine(replace(config, pamr_iterations=2))
    client = serve(out)
    client.say("p01", tags="bar;disc;square")
    first, second = client.session.again
    assert first.startswith("pseudomask extract ")
    assert second.startswith("pseudomask refine ")
    assert remade(out, [first, second]) == {"p01"}
    client.session.read()
    assert client.session.again == ()


@pytest.mark.parametrize("change", ["no record", "no classes", "another verb"])
def test_what_is_not_recorded_cannot_be_tagged(made: Path, serve: Open, change: str) -> None:
    record = json.loads((made / "run.json").read_text())
    if change == "no record":
        (made / "run.json").unlink()
    else:
        record |= {"classes": []} if change == "no classes" else {"command": "train-seg"}
        (made / "run.json").write_text(json.dumps(record))
    client = serve(made)
    status, found = client.say("p01", tags="disc")
    assert status == 422
    assert "no" in found["error"]
    assert client.say("p01", verdict="good")[0] == 200
    page: Any = client.ask("")
    assert '"tags": false' in page.content.decode()


def test_a_hostile_manifest_names_no_other_file(made: Path, serve: Open) -> None:
    lines = (made / "manifest.jsonl").read_text().replace('"image": "p01.png"', '"image": "../../p01.png"')
    (made / "manifest.jsonl").write_text(lines)
    client = serve(made)
    assert client.say("p01", tags="disc")[0] == 422
    assert client.say("deep/p00", tags="disc")[0] == 200
    assert ".." not in (made / "review-tags.csv").read_text()


def test_classes_with_separators_in_their_names(made: Path) -> None:
    names = ["salt; pepper", "salt", "a, b"]
    record = json.loads((made / "run.json").read_text()) | {"classes": names}
    (made / "run.json").write_text(json.dumps(record))
    tags = Tags(read_folder(made, None))
    assert tags.parse("salt; pepper") == ("salt; pepper",)
    assert tags.parse("a, b; salt") == ("salt", "a, b")
    tags.put("p01", ("salt; pepper", "a, b"))
    assert Tags(read_folder(made, None)).of("p01") == ("salt; pepper", "a, b")


QUALITIES: list[dict[str, Any]] = [
    {},
    {"quality": "fast"},
    {"quality": "best", "threshold": 0.4},
    {"method": "cam", "refine": ("pamr", "crf"), "cam": "layercam", "max_side": 96, "overlay": True, "scores": False},
    {"refine": ("none",), "tta": "full", "mask_mode": "index", "allow_truncated": True, "score_bits": "16"},
]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("again")
    tiny.write_photos(folder / "photos", 2)
    tiny.write_weights(folder / "weights.safetensors")
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("given", QUALITIES)
def test_the_command_repeats_the_settings(plain: Path, given: dict[str, Any], tmp_path: Path) -> None:
    """Nothing but the changed photo is made again, whatever the run was given."""
    usual = {"method": None, "refine": (), "scales": None, "flip": None}
    out = tmp_path / "out"
    extraction.extract(settings(plain, out=out, **usual | given))
    tags = Tags(read_folder(out, None))
    tags.put("p01", ("bar", "disc", "square"))
    assert remade(out, commands(tags)) == {"p01"}


def test_the_answer_is_stale_for_tags_too(made: Path, serve: Open) -> None:
    client: Client = serve(made)
    assert client.say("p01", verdict="good")[0] == 200
    assert client.say("p01", tags="disc")[0] == 409
    assert not (made / "review-tags.csv").exists()
