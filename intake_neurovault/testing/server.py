"""The HTTP server in its thread: sockets, the log, and connections that break."""

from __future__ import annotations

import logging
import socket
import struct
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self

from intake_neurovault.testing.archive import Archive
from intake_neurovault.testing.faults import Fault, Faults, spoil
from intake_neurovault.testing.messages import Answer, Asked
from intake_neurovault.testing.routes import Api
from intake_neurovault.testing.sample import sample_archive

logger = logging.getLogger(__name__)

ENDLESS_BYTES = 64 * 2**20
"""Where an endless body ends after all."""

STALL_SECONDS = 60.0
"""How long a stall lasts when the fault does not say."""

_PIECE = 2**16


@dataclass(frozen=True)
class Request:
    """One request that the server has answered."""

    method: str
    """The verb, in capitals."""
    path: str
    """The path as sent, percent-quoted, without the query."""
    query: str
    """The query as sent, without the question mark."""
    headers: Mapping[str, str]
    """The headers, names in lower case."""
    status: int
    """The status that went back; 0 when the connection broke before."""


class NeuroVaultServer:
    """A server on the loopback interface that answers as NeuroVault does.

    Parameters
    ----------
    archive : Archive, optional
        What it holds; the sample archive when left out.
    honour_filters : bool
        Whether ``name``, ``DOI`` and ``owner`` filter the list of collections:
        NeuroVault ignores or honours them, depending on the release of a library.
    latency : float
        Seconds that every answer takes longer.
    shifting : int
        How many times the list of collections moves by one row between two of its
        pages, as it does when somebody edits the collection listed first.

    Attributes
    ----------
    archive : Archive
        What it holds; may be changed at any time.
    faults : Faults
        What goes wrong: ``append`` a `Fault`, or ``clear``.
    latency : float
        As given; may be changed at any time.

    Notes
    -----
    Links in the answers follow the request's ``Host`` and ``X-Forwarded-Proto``. The
    server also answers ``/api/decode/?neurovault=<image id>``, as neurosynth.org does.

    Examples
    --------
    >>> from urllib.request import urlopen
    >>> import json
    >>> with NeuroVaultServer() as server:
    ...     with urlopen(f"{server.url}/api/images/10426/") as answer:
    ...         record = json.load(answer)
    ...     server.requests[-1].path
    '/api/images/10426/'
    >>> record["map_type"], record["file_size"]
    ('T map', 186649)
    """

    def __init__(
        self,
        archive: Archive | None = None,
        *,
        honour_filters: bool = False,
        latency: float = 0.0,
        shifting: int = 0,
    ) -> None:
        self.archive = sample_archive() if archive is None else archive
        self.faults = Faults()
        self.latency = latency
        self._api = Api(self.archive, honour_filters)
        self._shifts = shifting
        self._log: list[Request] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.owner = self
        self._thread = threading.Thread(
            target=self._http.serve_forever,
            kwargs={"poll_interval": 0.01},
            name="neurovault-server",
            daemon=True,
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering: stalled answers end at once, idle connections close."""
        self._closing.set()
        if self._thread.is_alive():
            self._http.shutdown()
        self._http.hang_up()
        self._http.server_close()

    @property
    def url(self) -> str:
        """Address of the server, without a slash at its end."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    @property
    def requests(self) -> list[Request]:
        """Every request so far, in the order of the answers: a copy."""
        with self._lock:
            return list(self._log)

    def clear_requests(self) -> None:
        """Forget the requests so far."""
        with self._lock:
            self._log.clear()

    def file_bytes(self, image_id: int) -> bytes:
        """Give the bytes that the server holds for an image.

        Parameters
        ----------
        image_id : int
            The image.

        Returns
        -------
        bytes
            Empty for a file that the server has lost.
        """
        return self.archive.file_bytes(image_id)

    def prepare(self, asked: Asked) -> tuple[Answer, Fault | None]:
        """Work out what goes back to a request, and log it.

        Parameters
        ----------
        asked : Asked
            The request.

        Returns
        -------
        answer : Answer
            What is to be sent.
        fault : Fault or None
            What is to go wrong with the connection meanwhile.
        """
        self.wait(self.latency)
        answer = self._api.respond(asked)
        fault = self.faults.pick(asked, answer)
        if fault is not None:
            answer = spoil(fault, asked, answer)
        broken = fault is not None and fault.kind in ("reset", "silent")
        status = 0 if broken else answer.status
        seen = Request(asked.method, asked.path, asked.query, asked.headers, status)
        with self._lock:
            self._log.append(seen)
            shift = asked.path == "/api/collections/" and self._shifts > 0
            self._shifts -= shift
        if shift:
            self.archive.shift()
        return answer, fault

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than until the server closes.

        Parameters
        ----------
        seconds : float
            How long.
        """
        if seconds > 0:
            self._closing.wait(seconds)


class _Http(ThreadingHTTPServer):
    owner: NeuroVaultServer
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        self.reset: set[socket.socket] = set()
        self._open: set[Any] = set()
        self._changed = threading.Condition()
        super().__init__(*args)

    def server_bind(self) -> None:
        # HTTPServer would look its own name up, which is slow without a resolver.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._changed:
                self._open.discard(request)
                self._changed.notify_all()

    def shutdown_request(self, request: Any) -> None:
        # An orderly shutdown would send FIN; only a bare close sends the reset.
        if request in self.reset:
            self.reset.discard(request)
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        broken = isinstance(sys.exc_info()[1], OSError)
        level = logging.DEBUG if broken else logging.ERROR
        where = (client_address, request)
        logger.log(level, "the answer to %s over %s ended", *where, exc_info=True)

    def hang_up(self) -> None:
        with self._changed:
            for connection in self._open:
                _disconnect(connection)
            self._changed.wait_for(lambda: not self._open, timeout=5)


def _disconnect(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        logger.debug("a connection was closed already")


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def version_string(self) -> str:
        return "gunicorn"

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)

    def exchange(self) -> None:
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.rfile.read(int(headers.get("content-length", 0)))
        asked = Asked(self.command, path, query, headers)
        answer, fault = self.server.owner.prepare(asked)
        send = {
            "reset": self._reset,
            "reset_body": self._reset_body,
            "silent": self._silent,
            "stall": self._stall,
            "slow": self._slow,
            "short_body": self._short,
            "truncated_close": self._truncated,
            "endless_body": self._endless,
        }.get(fault.kind if fault else "", self._whole)
        send(answer, fault or Fault())

    def _head(self, answer: Answer, ending: tuple[str, str]) -> None:
        self.send_response(answer.status)
        for name, value in (*answer.headers.items(), ending):
            self.send_header(name, value)
        self.end_headers()

    def _whole(self, answer: Answer, _: Fault) -> None:
        body = answer.content()
        silent = self.command == "HEAD" or answer.status == 304
        if answer.framing == "chunked":
            self._head(answer, ("Transfer-Encoding", "chunked"))
            if body:
                body = b"%x\r\n%s\r\n" % (len(body), body)
            body += b"0\r\n\r\n"
        else:
            self._head(answer, ("Content-Length", str(len(body))))
        if not silent:
            self.wfile.write(body)

    def _half(self, answer: Answer, ending: tuple[str, str]) -> None:
        body = answer.content()
        self._head(answer, ending)
        self.wfile.write(body[: len(body) // 2])
        self.close_connection = True

    def _short(self, answer: Answer, _: Fault) -> None:
        self._half(answer, ("Content-Length", str(len(answer.content()))))

    def _truncated(self, answer: Answer, _: Fault) -> None:
        self._half(answer, ("Connection", "close"))

    def _stall(self, answer: Answer, fault: Fault) -> None:
        self._short(answer, fault)
        self._silent(answer, fault)

    def _silent(self, _: Answer, fault: Fault) -> None:
        long = STALL_SECONDS if fault.seconds is None else fault.seconds
        self.server.owner.wait(long)
        self.close_connection = True

    def _slow(self, answer: Answer, fault: Fault) -> None:
        self.server.owner.wait(fault.seconds or 0.0)
        self._whole(answer, fault)

    def _endless(self, answer: Answer, _: Fault) -> None:
        self._head(answer, ("Connection", "close"))
        body = answer.content() or b" "
        piece = body * (_PIECE // len(body) + 1)
        for _sent in range(0, ENDLESS_BYTES, len(piece)):
            self.wfile.write(piece)
        self.close_connection = True

    def _reset_body(self, answer: Answer, fault: Fault) -> None:
        self._short(answer, fault)
        self._reset(answer, fault)

    def _reset(self, _: Answer, __: Fault) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.server.reset.add(self.connection)
        self.close_connection = True


for _verb in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_verb}", _Handler.exchange)
