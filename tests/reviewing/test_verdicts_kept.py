"""Verdicts on the disk: at once, in the format of the static page, whoever else writes, and after kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from served import Open, program
from tiny import Ear

from pseudomask.cli import app
from pseudomask.config import ReviewOptions
from pseudomask.data.review import Verdict, left_out, read_review
from pseudomask.running.listing import find_files
from pseudomask.running.reporter import SilentReporter

ODD = "sömething, else;.v2"


def test_a_verdict_is_on_disk_when_it_is_answered(made: Path, serve: Open) -> None:
    client = serve(made)
    status, found = client.say(ODD, verdict="bad", note='  half,\n "of" it ')
    assert status == 200
    assert found["rows"][str(client.number(ODD))] == {
        "verdict": "bad", "note": 'half, "of" it', "tags": client.row(ODD)["tags"], "marked": False, "seen": 1,
    }  # fmt: skip
    assert client.say("p01", verdict="good")[0] == 200
    rows = read_review(made / "review.csv")
    assert rows == {f"{ODD}.png": Verdict("bad", 'half, "of" it'), "p01.png": Verdict("good")}
    order = [client.session.panels[n].photo for n in sorted(client.session.panels)]
    assert [*rows] == sorted(rows, key=order.index), "in the page's order"
    text = (made / "review.csv").read_bytes().decode()
    assert text.startswith("\ufeffphoto,verdict,note\r\n")
    assert f'"{ODD}.png",bad,"half, ""of"" it"\r\n' in text
    found_out = left_out(ReviewOptions(review=made / "review.csv"), find_files(made, ".png"), SilentReporter())
    assert [*found_out.reasons] == [ODD]
    assert client.say("p01", 1, verdict="")[0] == 200
    assert client.say(ODD, 1, verdict="", note="")[0] == 200
    assert (made / "review.csv").read_text("utf-8-sig") == "photo,verdict,note\n"


def test_a_file_that_is_there_is_taken_up_and_keeps_its_names(made: Path, serve: Open) -> None:
    (made / "review.csv").write_text("verdict;photo;by\ngood;p01;me\nbad;elsewhere/x.jpg;me\n")
    client = serve(made)
    assert client.row("p01")["verdict"] == "good"
    assert client.say("deep/p00", verdict="unsure")[0] == 200
    assert client.say("p01", note="again")[0] == 200
    assert read_review(made / "review.csv") == {
        "deep/p00.png": Verdict("unsure"), "p01": Verdict("good", "again"), "elsewhere/x.jpg": Verdict("bad"),
    }  # fmt: skip


def test_a_file_that_cannot_be_read_ends_it_before_it_begins(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (made / "review.csv").write_text("photo,verdict\np01,fine\n")
    assert app.run(["review", str(made)]) == 2
    assert "review.csv, line 2: unknown verdict 'fine'" in capsys.readouterr().err
    assert (made / "review.csv").read_text() == "photo,verdict\np01,fine\n"


def test_who_knows_an_older_row_is_told_the_newer_one(made: Path, serve: Open) -> None:
    client = serve(made)
    assert client.say("p01", verdict="good")[0] == 200
    status, found = client.say("p01", verdict="bad")
    assert status == 409
    assert found["rows"][str(client.number("p01"))]["verdict"] == "good"
    assert found["rows"][str(client.number("p01"))]["seen"] == 1
    assert client.say("p01", 1, verdict="bad")[0] == 200


def test_what_another_program_wrote_is_not_lost(made: Path, serve: Open) -> None:
    client = serve(made)
    assert client.say("p01", verdict="good")[0] == 200
    (made / "review.csv").write_text("photo,verdict\np01.png,bad\ndeep/p02.png,unsure\n")
    assert client.say("p01", 1, note="hm")[0] == 409
    assert client.row("p01")["verdict"] == "bad"
    assert client.say("p01", 2, note="hm")[0] == 200
    assert read_review(made / "review.csv")["deep/p02.png"] == Verdict("unsure")
    (made / "review.csv").write_text("photo,verdict\np01.png,maybe\n")
    status, found = client.say("deep/p00", verdict="good")
    assert (status, "unknown verdict 'maybe'" in found["error"]) == (422, True)
    assert (made / "review.csv").read_text() == "photo,verdict\np01.png,maybe\n"


def test_many_at_once(made: Path, serve: Open) -> None:
    client = serve(made)
    answers: list[int] = []

    def say(key: str) -> None:
        for i in range(8):
            answers.append(client.say(key, i, verdict="good" if i % 2 else "bad", note=f"{i}")[0])

    threads = [threading.Thread(target=say, args=(key,)) for key in client.session.numbers]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert set(answers) == {200}
    assert {*read_review(made / "review.csv").values()} == {Verdict("good", "7")}
    assert not list(made.glob(".pseudomask-*.part"))


def test_one_of_many_wins_the_same_row(made: Path, serve: Open) -> None:
    client = serve(made)
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda i=i: answers.append(client.say("p01", note=f"note {i}")[0])) for i in range(12)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(answers) == [200] + [409] * 11


def test_a_folder_that_moves_away_is_told_and_not_made_again(made: Path, serve: Open) -> None:
    client = serve(made)
    assert client.say("p01", verdict="bad")[0] == 200
    made.rename(made.with_name("moved"))
    status, found = client.say("p01", 1, verdict="good")
    assert (status, "no longer there" in found["error"]) == (500, True)
    assert not made.exists()
    assert client.ask("mask/0").status == 404
    assert client.ask("").status == 500
    made.with_name("moved").rename(made)
    assert client.row("p01")["verdict"] == "bad"
    assert client.say("p01", 1, verdict="good")[0] == 200


def test_photos_that_moved_are_told_and_verdicts_work(made: Path, serve: Open, tmp_path: Path) -> None:
    record = json.loads((made / "run.json").read_text())
    record["config"]["images"] = str(tmp_path / "gone")
    (made / "run.json").write_text(json.dumps(record))
    ear = Ear()
    client = serve(made, reporter=ear)
    where = f"the photos are not in {tmp_path / 'gone'}; give their folder as the second argument"
    assert [line.split(" (")[0] for line in ear.warnings] == [where]
    found: Any = client.ask("")
    assert where in found.content.decode()
    assert client.ask("photo/0").status == 404
    assert client.ask("mask/0").status == 200
    assert client.say("p01", verdict="good")[0] == 200
    assert read_review(made / "review.csv") == {"p01": Verdict("good")}


def test_some_photos_are_missing(made: Path, serve: Open, source: Path, tmp_path: Path) -> None:
    (tmp_path / "some/deep").mkdir(parents=True)
    for name in ("p01.png", "deep/p02.png"):
        (tmp_path / "some" / name).write_bytes((source / "photos" / name).read_bytes())
    ear = Ear()
    client = serve(made, tmp_path / "some", ear)
    assert any("for 2 of 4 masks (first: " in line for line in ear.warnings)
    assert client.ask(f"photo/{client.number('p01')}").status == 200
    assert client.ask(f"photo/{client.number(ODD)}").status == 404


def test_no_mask_and_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert app.run(["review", str(tmp_path / "empty")]) == 2
    assert app.run(["review", str(tmp_path / "missing")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "no mask (.png) found" in lines[0]
    assert "no such folder" in lines[1]
    assert [*(tmp_path / "empty").iterdir()] == []


def said(url: str, number: int, **change: Any) -> None:
    body = json.dumps({"photo": number, "seen": 0, **change}).encode()
    request = urllib.request.Request(f"{url}say", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200


def test_kill_9_loses_nothing_and_bars_nobody(made: Path) -> None:
    with program(made) as (process, url):
        assert app.run(["review", str(made)]) == 2, "one reviewer at a time"
        for number in range(4):
            said(url, number, verdict="unsure", note=f"{number}")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert sorted(row.note for row in read_review(made / "review.csv").values()) == ["0", "1", "2", "3"]
    with program(made) as (process, url):
        assert url.startswith("http://127.0.0.1:"), "the lock went with the process"
        process.terminate()
        assert process.wait(20) == 143


def test_ctrl_c_ends_it_with_one_line(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with program(made) as (process, url):
        said(url, 0, verdict="good")
        assert app.run(["review", str(made)]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith(f"error: {made} is in use by process {process.pid}")
        assert told.err.count("\n") == 1
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert err.splitlines()[1:] == [f"reviewed  1 good, 0 bad, 0 unsure, 3 to do ({made / 'review.csv'})"]
    assert sorted(path.name for path in made.iterdir() if path.name.startswith(".")) == []


def test_with_json_stdout_is_one_document(made: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pseudomask", "review", made, "--json", "--quiet"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    url = process.stderr.readline().strip()
    said(url, 1, verdict="bad")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert json.loads(out)["counts"] == {"good": 0, "bad": 1, "unsure": 0, "left": 3, "marked": 0}
