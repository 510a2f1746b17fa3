"""A server that says exactly what a test tells it to, byte by byte."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int = 200
    """The HTTP status."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """All headers but ``Content-Length``."""
    body: bytes | Iterable[bytes] = b""
    """With a ``Content-Length`` if bytes; in pieces, ended by hanging up, if not."""


@dataclass(frozen=True)
class Seen:
    """One request."""

    path: str
    """Path and query, or the whole address if this was asked as a proxy."""
    headers: Mapping[str, str]
    """The headers, names in lower case."""
    connection: int
    """The port it came from."""


class ScriptedServer:
    """Answers each request with what `script` makes of it and of its number."""

    def __init__(self, script: Callable[[Seen, int], Reply]) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._http.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def answer(self, seen: Seen) -> Reply:
        with self._lock:
            self.seen.append(seen)
            number = len(self.seen)
        return self.script(seen, number)


class _Http(ThreadingHTTPServer):
    owner: ScriptedServer
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients hang up on purpose here."""


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.owner.answer(
            Seen(self.path, headers, self.client_address[1])
        )
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        whole = isinstance(reply.body, bytes)
        if whole:
            self.send_header("Content-Length", str(len(reply.body)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        for piece in [reply.body] if whole else reply.body:
            self.wfile.write(piece)
            self.wfile.flush()
        self.close_connection = not whole

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean."""
