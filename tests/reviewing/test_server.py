"""Who may ask, what may be asked, and what is answered."""

from __future__ import annotations

import io
import json
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from served import Client, Open

from pseudomask.cli import app
from pseudomask.reviewing import server as http
from pseudomask.scores import load_scores

KEY = "deep/p00"
JSON = {"Content_Type": "application/json"}


def test_the_page_and_what_it_is_allowed(made: Path, serve: Open) -> None:
    found: Any = serve(made).ask("")
    text = found.content.decode()
    assert (found.status, found.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "connect-src 'self'" in text
    assert "img-src 'self';" in text
    assert found.headers["Referrer-Policy"] == "no-referrer"
    assert found.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in found.headers["Content-Security-Policy"]
    assert "Python" not in found.headers["Server"]
    assert "Access-Control-Allow-Origin" not in found.headers


def test_without_the_token_nothing_is_told(made: Path, serve: Open) -> None:
    client = serve(made)
    token = client.server.token
    for path in ("/", "/favicon.ico", "/state", f"/{token}", f"/{token}x/", f"/{token[:-1]}/state", "//", "/%C3%A9/"):
        found: Any = client.ask(path, whole=True)
        assert found.status == 403, path
        assert found.content == b"open the whole address that `pseudomask review` printed\n"
    assert len(token) >= 32
    assert serve(made).server.token != token


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1.evil.example:{port}"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_foreign_pages_are_refused(made: Path, serve: Open, headers: dict[str, str]) -> None:
    client = serve(made)
    given = {name: value.format(port=client.server.port) for name, value in headers.items()}
    body = json.dumps({"photo": 0, "seen": 0, "verdict": "bad"}).encode()
    assert client.ask("", **given).status == 403
    assert client.ask("say", method="POST", body=body, **JSON, **given).status == 403
    assert not (made / "review.csv").exists()


def test_its_own_names_are_accepted(made: Path, serve: Open) -> None:
    client = serve(made)
    port = client.server.port
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}"):
        assert client.ask("state", Host=host, Origin=f"http://127.0.0.1:{port}").status == 200
    wire = client.connect()
    wire.putrequest("GET", client.base, skip_host=True)
    wire.putheader("Host", f"127.0.0.1:{port}")
    wire.putheader("Host", "evil.example")
    wire.endheaders()
    assert wire.getresponse().status == 403
    wire.close()


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_only_get_and_post(made: Path, serve: Open, method: str) -> None:
    found: Any = serve(made).ask("", method=method)
    assert (found.status, found.headers["Allow"]) == (405, "GET, POST")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {}, 415),
        (b"{}", {"Content_Type": "text/plain"}, 415),
        (b"{}", {"Content_Type": "application/x-www-form-urlencoded"}, 415),
        (b"{", JSON, 400),
        (b"\xff", JSON, 400),
        (b"[" * 60_000, JSON, 400),
        (b"[]", JSON, 400),
        (b"null", JSON, 400),
        (b"{}", JSON, 400),
        (b'{"photo": 0, "seen": 0, "more": 1}', JSON, 400),
        (b'{"photo": true, "seen": 0}', JSON, 400),
        (b'{"photo": "0", "seen": 0}', JSON, 400),
        (b'{"photo": 0.0, "seen": 0}', JSON, 400),
        (b'{"photo": -1, "seen": 0}', JSON, 400),
        (b'{"photo": 99, "seen": 0}', JSON, 400),
        (b'{"photo": NaN, "seen": 0}', JSON, 400),
        (b'{"photo": 0, "seen": 0, "verdict": "fine"}', JSON, 422),
        (b'{"photo": 0, "seen": 0, "verdict": 1}', JSON, 422),
        (b'{"photo": 0, "seen": 0, "note": "\\ud800"}', JSON, 422),
        (b'{"photo": 0, "seen": 0, "note": "\\u0000"}', JSON, 422),
        (json.dumps({"photo": 0, "seen": 0, "note": "x" * 1001}).encode(), JSON, 422),
        (json.dumps({"photo": 0, "seen": 0, "note": "x" * 70_000}).encode(), JSON, 413),
        (b"", {**JSON, "Content_Length": "-1"}, 411),
        (b"", {**JSON, "Content_Length": "1_0"}, 411),
        (b"", {**JSON, "Content_Length": "9" * 30}, 413),
        (b"", {**JSON, "Transfer_Encoding": "chunked"}, 411),
    ],
)
def test_bad_changes_change_nothing(made: Path, serve: Open, body: bytes, headers: dict[str, str], status: int) -> None:
    client = serve(made)
    found: Any = client.ask("say", method="POST", body=body, **headers)
    assert found.status == status
    assert json.loads(found.content)["error"]
    assert not (made / "review.csv").exists()
    assert client.ask("state").status == 200


def test_a_refused_body_is_not_the_next_request(made: Path, serve: Open) -> None:
    client = serve(made)
    wire = client.connect()
    smuggled = f"GET {client.base}state HTTP/1.1\r\nHost: 127.0.0.1:{client.server.port}\r\n\r\n".encode()
    for path, headers in (("/x/", {}), (client.base + "say", {"Content-Type": "text/plain"})):
        wire.request("POST", path, smuggled, headers)
        found = wire.getresponse()
        found.read()
        assert found.status in (403, 415)
        wire.request("GET", client.base + "icon")
        found = wire.getresponse()
        assert (found.status, found.read()[:4]) == (200, b"<svg")
    wire.close()


@pytest.mark.parametrize(
    "path",
    [
        "photo/../../run.json", "photo/%2e%2e/run.json", "../run.json", "run.json", "photo/", "photo/0/1", "photo/-1",
        "photo/+1", "photo/1e0", "photo/%D9%A3", "photo/99", "photo/" + "9" * 5000, "mask/0\\..", "mask/00",
        "truth/0", "say", "photo//etc/passwd", "state/", "made",
    ],
)  # fmt: skip
def test_nothing_but_numbers_names_a_picture(made: Path, serve: Open, path: str) -> None:
    found: Any = serve(made).ask(path)
    assert found.status == 404
    assert b"extract" not in found.content


def picture(client: Client, path: str) -> np.ndarray:
    found: Any = client.ask(path)
    assert found.status == 200, found.content
    assert found.headers["Content-Type"] in ("image/png", "image/webp", "image/jpeg")
    return np.asarray(Image.open(io.BytesIO(found.content)))


def test_pictures_by_number(made: Path, serve: Open) -> None:
    client = serve(made)
    number = client.number(KEY)
    mask = np.asarray(Image.open(made / f"{KEY}.png"))
    assert (picture(client, f"mask/{number}") == mask).all()
    assert picture(client, f"photo/{number}").shape == (*mask.shape, 3)
    assert picture(client, f"scores/{number}").shape == (*mask.shape, 3)


@pytest.mark.parametrize("threshold", ["0", "0.2", "0.35", "0.5", "0.8123", "1", "1.0"])
def test_the_slider_paints_the_scores_cut_there(made: Path, serve: Open, threshold: str) -> None:
    client = serve(made)
    for key, number in client.session.numbers.items():
        cut = load_scores(made / "scores" / f"{key}.npz").mask(float(threshold))
        assert (picture(client, f"mask/{number}?above={threshold}") == cut).all()


@pytest.mark.parametrize("query", ["above=2", "above=-0.1", "above=nan", "above=1e-1", "above=", "x", "above=0.11111"])
def test_what_is_no_threshold_is_passed_over(made: Path, serve: Open, query: str) -> None:
    client = serve(made)
    mask = np.asarray(Image.open(made / f"{KEY}.png"))
    assert (picture(client, f"mask/{client.number(KEY)}?{query}") == mask).all()


def test_without_scores_there_is_nothing_to_cut(made: Path, serve: Open) -> None:
    (made / "scores" / f"{KEY}.npz").unlink()
    client = serve(made)
    number = client.number(KEY)
    assert client.ask(f"mask/{number}?above=0.5").status == client.ask(f"scores/{number}").status == 404
    assert client.ask(f"mask/{number}").status == 200


def test_a_taken_port_is_told_in_one_line(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert app.run(["review", str(made), "--port", str(port)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == f"error: port {port} is in use; give another --port, or leave it out for a free one\n"


def test_a_flood_of_silent_connections_is_cut_off(made: Path, serve: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_MOST_CONNECTIONS", 4)
    client = serve(made)
    idle = [socket.create_connection(("127.0.0.1", client.server.port)) for _ in range(8)]
    for one in idle[4:]:
        one.settimeout(10)
        assert one.recv(1) == b""
    for one in idle:
        one.close()
    for _ in range(100):  # until the threads have noticed
        try:
            assert client.ask("icon").status == 200
            break
        except OSError:
            threading.Event().wait(0.05)
    else:
        pytest.fail("no connection became free")
