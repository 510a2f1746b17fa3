"""Connections to servers: kept open, shared by the threads of a process, and watched.

The timeout of a socket is for one read, and the limits of ``http.client`` are for one
line or one block of headers. A server that sends a byte now and then, or lines without
end, would hold a worker for days; so all that a connection receives is counted here,
whatever it is a part of.
"""

from __future__ import annotations

import http.client
import http.cookiejar
import importlib.metadata
import io
import logging
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_netrc_auth

from intake_neurovault.crew import MAX_WORKERS
from intake_neurovault.resource import without_token

__all__ = ["OversizeError", "Session", "expecting", "session"]

_SLOWEST = 1000.0  # bytes per second, below which a body counts as stalled
_GRACE = 4.0  # timeouts that may be spent with waiting, whatever comes in
_MOST_BETWEEN = 2**20  # bytes of headers, or of lines between the pieces of a body
_MOST_PER_BYTE = 8  # bytes received for one of the body; a chunk of one takes six

_EXPECTED: ContextVar[float] = ContextVar("expected", default=math.inf)
_SESSIONS: dict[object, Session] = {}
_VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC"),
)
"""What a session is made with, as requests has it."""


def _version() -> str:
    try:
        return importlib.metadata.version("intake-neurovault")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


_AGENT = f"intake-neurovault/{_version()}"


class _TokenFilter(logging.Filter):
    """Takes the tokens of private collections out of urllib3's debug messages."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                without_token(value) if isinstance(value, str) else value
                for value in record.args
            )
        return True


_FILTER = _TokenFilter()


class OversizeError(http.client.HTTPException):
    """An answer that is longer than it may be."""


class _Watched(io.RawIOBase):
    """Bytes from a server: an error when they come too slowly, or are too many."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        timeout = sock.gettimeout()
        self.patience = math.inf if timeout is None else _GRACE * timeout
        self.room: float = _MOST_BETWEEN
        self._receive = sock.recv_into
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        start = time.monotonic()
        number = self._receive(buffer)
        # NOTE: only waiting counts: a full disk or a busy machine is not the server's.
        self.patience -= time.monotonic() - start
        self.room -= number
        if self.room < 0:
            raise OversizeError
        if self.patience < 0:
            raise TimeoutError
        return number

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer whose bytes are watched from the first one on."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._wire = _Watched(sock, self.fp.detach())
        self.fp = io.BufferedReader(self._wire)
        self._left = _EXPECTED.get()
        self._room: float = _MOST_BETWEEN

    # NOTE: newer versions of Python are handed how many headers there may be.
    def begin(self, **kwargs: Any) -> None:
        super().begin(**kwargs)
        self._wire.room = math.inf

    def read1(self, n: int = -1) -> bytes:
        # NOTE: a chunked body has lines between its pieces, and behind the last one.
        self._wire.room = self._room
        piece = super().read1(n)
        number = len(piece)
        self._room = min(_MOST_BETWEEN, self._wire.room + _MOST_PER_BYTE * number)
        self._wire.room = math.inf
        self._wire.patience += number / _SLOWEST
        self._left -= number
        if self._left < 0:
            raise OversizeError
        return piece


@cache
def _watched(pool: Any) -> Any:
    """Derive a class of pools whose connections give watched answers."""
    connection = pool.ConnectionCls
    watched = type(connection.__name__, (connection,), {"response_class": _Response})
    return type(pool.__name__, (pool,), {"ConnectionCls": watched})


class _Adapter(HTTPAdapter):
    """Sends requests, through a proxy or not, over watched connections."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _watch(self.poolmanager)
        self._pools: dict[str, Any] = {}

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        # NOTE: requests would take the address apart again at each request. What
        # else it looks at is the same throughout a session.
        server = "/".join(request.url.split("/", 3)[:3])
        pool = self._pools.get(server)
        if pool is None:
            find = super().get_connection_with_tls_context
            pool = self._pools[server] = find(request, verify, proxies, cert)
        return pool

    def build_response(self, req: Any, resp: Any) -> requests.Response:
        # NOTE: as requests does it, but for cookies: those of an answer are read
        # with an effort, and nobody wants them.
        response = requests.Response()
        response.status_code = resp.status
        response.headers = CaseInsensitiveDict(resp.headers)
        response.raw, response.reason = resp, resp.reason
        response.request, response.url = req, req.url
        return response

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy in self.proxy_manager:
            return self.proxy_manager[proxy]
        manager = super().proxy_manager_for(proxy, **kwargs)
        _watch(manager)
        return manager


def _watch(manager: Any) -> None:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {name: _watched(pools[name]) for name in pools}


@contextmanager
def expecting(limit: float) -> Iterator[None]:
    """Say how long the body may be of an answer to what is asked within.

    Parameters
    ----------
    limit : float
        Bytes, as they are sent.

    Yields
    ------
    None
        To the statements that ask.

    Examples
    --------
    >>> with expecting(2**20):
    ...     answer = session("https://a.org/")
    """
    token = _EXPECTED.set(limit)
    try:
        yield
    finally:
        _EXPECTED.reset(token)


class Session(requests.Session):
    """A session with one server, which need not think anew about each request.

    Parameters
    ----------
    server : str
        Scheme and host of the server.
    """

    def __init__(self, server: str) -> None:
        super().__init__()
        self.headers.update(
            {
                "User-Agent": _AGENT,
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",
                "Accept-Language": "en",
            }
        )
        none = http.cookiejar.DefaultCookiePolicy(allowed_domains=())
        self.cookies.set_policy(none)
        self._adapter = _Adapter(pool_maxsize=MAX_WORKERS, max_retries=0)
        self.mount("https://", self._adapter)
        self.mount("http://", self._adapter)
        # NOTE: requests would look through all of the environment at each request,
        # and for passwords in a file.
        around = self.merge_environment_settings(server, {}, None, None, None)
        self.proxies, self.verify = around["proxies"], around["verify"]
        self.auth = get_netrc_auth(server)
        self.trust_env = False
        logging.getLogger("urllib3.connectionpool").addFilter(_FILTER)
        self._like = self.prepare_request(requests.Request("GET", server))

    def prepared(
        self, method: str, url: str, headers: Mapping[str, str]
    ) -> requests.PreparedRequest:
        """Prepare a request, which takes a moment and asks nobody.

        Parameters
        ----------
        method : str
            ``"GET"`` or ``"HEAD"``.
        url : str
            An address on the server.
        headers : mapping of str to str
            Headers besides those of all requests, or in place of them.

        Returns
        -------
        requests.PreparedRequest
            What `ask` takes.

        Raises
        ------
        requests.RequestException, ValueError
            If the address makes no sense.
        """
        # NOTE: but for address and headers, each request is prepared as the first
        # was; requests would merge five settings of the session into it again.
        request = self._like.copy()
        request.method = method
        request.prepare_url(url, None)
        request.headers.update(headers)
        return request

    def ask(
        self, request: requests.PreparedRequest, timeout: float
    ) -> requests.Response:
        """Make one request, and follow no redirection.

        Parameters
        ----------
        request : requests.PreparedRequest
            As `prepared` gives it.
        timeout : float
            Seconds to wait for a connection, and for each piece of the answer.

        Returns
        -------
        requests.Response
            The answer, whose body is still to come.

        Raises
        ------
        requests.RequestException, ValueError
            If there is none.
        """
        return self._adapter.send(
            request,
            stream=True,
            timeout=timeout,
            proxies=self.proxies,
            verify=True if self.verify is None else self.verify,
        )

    def following(self, response: requests.Response) -> str | None:
        """Tell where an answer leads instead of being one.

        Parameters
        ----------
        response : requests.Response
            As `ask` gives it.

        Returns
        -------
        str or None
            The address, which may make no sense; None if it is an answer.

        Raises
        ------
        requests.RequestException, ValueError
            If it is none.
        """
        if not response.is_redirect:
            return None
        steps = self.resolve_redirects(response, response.request, yield_requests=True)
        following: Any = next(steps)
        return following.url or ""


def session(url: str) -> Session:
    """Give the session that this process uses for the server of an address.

    Connections are kept open in it and shared by all threads. It remembers no
    cookies. Sessions live in the module, so that values which ask for one stay
    plain and picklable; a forked process makes its own.

    Parameters
    ----------
    url : str
        Any address on the server.

    Returns
    -------
    Session
        The same one for each address on one server.

    Examples
    --------
    >>> session("https://a.org/api/") is session("https://a.org/media/")
    True
    """
    parts = urlsplit(url)
    server = f"{parts.scheme}://{parts.netloc}"
    key = (os.getpid(), server, *map(os.environ.get, _VARIABLES))
    # NOTE: no lock, since one held by another thread during a fork would never be
    # released in the child; `setdefault` is atomic, and a session too many unused.
    return _SESSIONS.get(key) or _SESSIONS.setdefault(key, Session(server))
