"""Connections to servers: kept open, and shared by the threads of a process."""

from __future__ import annotations

import http.cookiejar
import importlib.metadata
import logging
import os
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from intake_neurovault.crew import MAX_WORKERS
from intake_neurovault.resource import without_token

__all__ = ["session"]

_SESSIONS: dict[tuple[int, str], requests.Session] = {}


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


def session(url: str) -> requests.Session:
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
    requests.Session
        The same one for each address on one server.

    Examples
    --------
    >>> session("https://a.org/api/") is session("https://a.org/media/")
    True
    """
    parts = urlsplit(url)
    key = (os.getpid(), f"{parts.scheme}://{parts.netloc}")
    # NOTE: no lock, since one held by another thread during a fork would never be
    # released in the child; `setdefault` is atomic, and a session too many unused.
    return _SESSIONS.get(key) or _SESSIONS.setdefault(key, _new_session())


def _new_session() -> requests.Session:
    try:
        version = importlib.metadata.version("intake-neurovault")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    fresh = requests.Session()
    fresh.headers.update(
        {
            "User-Agent": f"intake-neurovault/{version}",
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "Accept-Language": "en",
        }
    )
    fresh.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=()))
    adapter = HTTPAdapter(pool_maxsize=MAX_WORKERS, max_retries=0)
    fresh.mount("https://", adapter)
    fresh.mount("http://", adapter)
    logging.getLogger("urllib3.connectionpool").addFilter(_FILTER)
    return fresh
