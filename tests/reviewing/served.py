"""A made folder, and a server of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest
import tiny

from pseudomask.config import ExtractConfig, ReviewConfig
from pseudomask.extracting.extract import extract
from pseudomask.reviewing.review import serving
from pseudomask.reviewing.server import Server
from pseudomask.reviewing.session import Session
from pseudomask.running.reporter import Reporter, SilentReporter


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/ (5, two of them in a folder), photos.csv, weights.safetensors, made/."""
    folder = tmp_path_factory.mktemp("review")
    tiny.write_photos(folder / "photos", 4, seed=2)
    (folder / "photos/p03.png").rename(folder / "photos/sömething, else;.v2.png")
    labels = folder / "photos.csv"
    labels.write_text(labels.read_text().replace("p03.png", '"sömething, else;.v2.png"'), encoding="utf-8")
    tiny.write_weights(folder / "weights.safetensors", thresholds={"product": 0.3})
    extract(settings(folder))
    return folder


def settings(folder: Path, **more: Any) -> ExtractConfig:
    usual = {"refine": ("none",), "scales": "1.0", "flip": False, "device": "cpu", "amp": "off", "workers": 0}
    given: dict[str, Any] = {
        "images": folder / "photos",
        "out": folder / "made",
        "labels": folder / "photos.csv",
        "weights": folder / "weights.safetensors",
        "method": "recam",
    }
    return ExtractConfig(**given | usual | more)


@pytest.fixture
def made(source: Path, tmp_path: Path) -> Path:
    """A copy of the folder to write in; the photos stay where they were."""
    shutil.copytree(source / "made", tmp_path / "made")
    return tmp_path / "made"


@dataclass
class Client:
    """Talks to a server as a browser does, and as one should not."""

    server: Server
    session: Session

    @property
    def base(self) -> str:
        return f"/{self.server.token}/"

    def number(self, key: str) -> int:
        return self.session.numbers[key]

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.server.port, timeout=20)

    def ask(
        self, path: str, *, method: str = "GET", body: bytes | None = None, whole: bool = False, **headers: str
    ) -> HTTPResponse:
        """The answer, with its content as `found.content`; `path` is below the token unless it is the `whole` one."""
        wire = self.connect()
        wire.request(
            method, path if whole else self.base + path, body, {k.replace("_", "-"): v for k, v in headers.items()}
        )
        found: Any = wire.getresponse()
        found.content = found.read()
        wire.close()
        return found  # type: ignore[no-any-return]

    def say(self, key: str, seen: int = 0, **change: Any) -> tuple[int, dict[str, Any]]:
        """Status and content of a change."""
        body = json.dumps({"photo": self.number(key), "seen": seen, **change}).encode()
        found: Any = self.ask("say", method="POST", body=body, Content_Type="application/json")
        return found.status, json.loads(found.content)

    def row(self, key: str) -> dict[str, Any]:
        found: Any = self.ask("state")
        row: dict[str, Any] = json.loads(found.content)["rows"][str(self.number(key))]
        return row


Open = Callable[..., Client]


@pytest.fixture
def serve() -> Iterator[Open]:
    """Starts a server of a folder; all end with the test."""
    with ExitStack() as stack:

        def start(out: Path, images: Path | None = None, reporter: Reporter | None = None) -> Client:
            config = ReviewConfig(out=out, images=images)
            return Client(*stack.enter_context(serving(config, reporter or SilentReporter())))

        yield start


@contextmanager
def program(*words: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`pseudomask review WORDS` as a process, and the address that it prints."""
    command = [sys.executable, "-m", "pseudomask", "review", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()
