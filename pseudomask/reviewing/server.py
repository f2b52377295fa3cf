"""HTTP on the loopback device: who may ask, what may be asked, and how it is answered.

Every program on the machine, and every page open in a browser, can send requests to this port. So each must know the
token (the first part of the path), name this host (against DNS rebinding), and, to change anything, send JSON, which a
foreign page cannot without a permission that is never given.
"""

from __future__ import annotations

import errno
import hmac
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from socket import socket
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pseudomask.errors import UsageError

HOST = "127.0.0.1"
MOST_BYTES = 64 * 1024  # of a request's body
_TIMEOUT = 30.0  # seconds that a connection may be silent
_MOST_CONNECTIONS = 64

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # it would tell the token
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Answer(NamedTuple):
    """What goes back: a status, the type of the content, and the content."""

    status: int
    type: str
    content: bytes


Get = Callable[[str, str], Answer]
"""Answers (path below the token, query)."""
Post = Callable[[str, Any], Answer]
"""Answers (path below the token, content of the JSON)."""


def plain(status: int, text: str) -> Answer:
    return Answer(status, "text/plain; charset=utf-8", f"{text}\n".encode("utf-8", "backslashreplace"))


def as_json(status: int, content: object) -> Answer:
    return Answer(status, "application/json", json.dumps(content).encode("ascii"))


class Server(ThreadingMixIn, TCPServer):
    """Answers on `HOST` at `port` (0: a free one) as long as the process lives.

    Raises `UsageError` if the port is taken or not allowed.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int, get: Get, post: Post) -> None:
        self.token, self.get, self.post = secrets.token_urlsafe(24), get, post
        self._free = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self.allow_reuse_address = os.name != "nt"  # there it would share the port with another server
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise UsageError(f"port {port} {why}; give another --port, or leave it out for a free one") from error
        self.port: int = self.server_address[1]
        self.hosts = {f"{name}:{self.port}" for name in (HOST, "localhost")}
        if self.port == 80:
            self.hosts |= {HOST, "localhost"}

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}/{self.token}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke concerns nobody else."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Answer within the block."""
        thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()
            self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = _TIMEOUT
    server_version, sys_version = "pseudomask", ""

    def do_GET(self) -> None:
        self._send(self._refusal() or self._guarded(self._get))

    def do_POST(self) -> None:
        self._send(self._refusal() or self._guarded(self._post))

    def _other(self) -> None:
        self._send(plain(405, "only GET and POST"), allow="GET, POST")

    do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_CONNECT = do_TRACE = _other

    def _refusal(self) -> Answer | None:
        """Why this request gets no answer; None if it may be answered."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self.server.hosts:
            return plain(403, "this server answers to its own address only")
        token, slash, _ = self.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode("utf-8", "replace"), self.server.token.encode()) or not slash:
            return plain(403, "open the whole address that `pseudomask review` printed")
        if self.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            return plain(403, "another page may not ask this server")
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            return plain(403, "another page may not ask this server")
        return None

    def _guarded(self, answer: Callable[[], Answer]) -> Answer:
        try:
            return answer()
        except OSError:  # the other side went away
            raise
        except Exception as error:  # one request fails, the review goes on
            return as_json(500, {"error": f"internal error: {type(error).__name__}: {error}"})

    def _below(self) -> tuple[str, str]:
        parts = urlsplit(self.path)
        return parts.path.removeprefix(f"/{self.server.token}/"), parts.query

    def _get(self) -> Answer:
        return self.server.get(*self._below())

    def _post(self) -> Answer:
        kind = self.headers.get_content_type() if "Content-Type" in self.headers else ""
        if kind != "application/json":
            return as_json(415, {"error": "JSON expected"})
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            return as_json(411, {"error": "Content-Length expected"})
        if len(length) > 9 or int(length) > MOST_BYTES:
            return as_json(413, {"error": f"more than {MOST_BYTES} bytes"})
        body = self.rfile.read(int(length))
        self._read = True
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            return as_json(400, {"error": "this is not JSON"})
        return self.server.post(self._below()[0], content)

    _read = False  # whether the body of this request was read; else the next one would begin inside it

    def _pass_over(self) -> None:
        """Read the body of a request that was refused, or end the connection after the answer if that is too much."""
        length = self.headers.get("Content-Length", "0")
        if self._read or ("Transfer-Encoding" not in self.headers and length == "0"):
            return
        if "Transfer-Encoding" in self.headers or not length.isdecimal() or int(length[:12]) > 16 * MOST_BYTES:
            self.close_connection = True
        else:
            self.rfile.read(int(length))

    def _send(self, answer: Answer, *, allow: str = "") -> None:
        self._pass_over()
        self._read = False
        self.send_response(answer.status)
        headers = {**_HEADERS, "Content-Type": answer.type, "Content-Length": str(len(answer.content))}
        headers |= {"Allow": allow} if allow else {}
        headers |= {"Connection": "close"} if self.close_connection else {}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with suppress(ConnectionError):
                self.wfile.write(answer.content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the path tells the token."""
