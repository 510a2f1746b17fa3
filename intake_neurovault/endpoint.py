"""What a user may write about a server, and what is meant: address, time, hosts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import SupportsFloat
from urllib.parse import urlsplit

from intake_neurovault.errors import ArgumentError
from intake_neurovault.resource import host_of
from intake_neurovault.values import listed

_MOST_RETRIES = 100


def parse_server(url: object) -> str:
    """Read the address of a server.

    Parameters
    ----------
    url : str
        With or without a slash or ``/api`` at its end.

    Returns
    -------
    str
        Without either.

    Raises
    ------
    ArgumentError
        If it is no address, or holds what does not belong there.

    Examples
    --------
    >>> parse_server(" https://neurovault.org/api/ ")
    'https://neurovault.org'
    """
    text = url.strip().rstrip("/") if isinstance(url, str) else ""
    text = text.removesuffix("/api").rstrip("/")
    try:
        parts = urlsplit(text)
        host = parts.hostname if parts.port != 0 else None
    except ValueError:
        parts, host = urlsplit(""), None
    if "@" in parts.netloc:
        msg = "url= must not hold a user name or password; keep them in ~/.netrc."
        raise ArgumentError(msg)
    odd = parts.query or parts.fragment or any(c.isspace() for c in text)
    if parts.scheme not in ("http", "https") or not host or odd:
        msg = (
            f"url={url!r} is not the address of a server: write it as "
            "'https://neurovault.org'."
        )
        raise ArgumentError(msg)
    return text


def parse_timeout(timeout: object) -> float:
    """Read a timeout.

    Parameters
    ----------
    timeout : float or str
        Seconds.

    Returns
    -------
    float
        Seconds, positive and finite.

    Raises
    ------
    ArgumentError
        If it is not.

    Examples
    --------
    >>> parse_timeout("2.5")
    2.5
    """
    seconds = _number(timeout)
    if not 0 < seconds < math.inf:
        msg = f"timeout={timeout!r} is not a positive number of seconds."
        raise ArgumentError(msg)
    return seconds


def parse_retries(retries: object) -> int:
    """Read how often a failed request is made again.

    Parameters
    ----------
    retries : int or str
        From 0 to 100.

    Returns
    -------
    int
        The same.

    Raises
    ------
    ArgumentError
        If it is not.

    Examples
    --------
    >>> parse_retries("0")
    0
    """
    number = _number(retries)
    if not (0 <= number <= _MOST_RETRIES and number.is_integer()):
        msg = f"retries={retries!r} is not a whole number from 0 to {_MOST_RETRIES}."
        raise ArgumentError(msg)
    return int(number)


def parse_hosts(hosts: object) -> tuple[str, ...]:
    """Read which hosts are trusted.

    Parameters
    ----------
    hosts : str or iterable of str
        Names such as ``"files.lab.org"``, also with a port or as an address.

    Returns
    -------
    tuple of str
        The names, in lower case and alphabetical order, each once.

    Raises
    ------
    ArgumentError
        If one is no name of a host.

    Examples
    --------
    >>> parse_hosts("https://Files.lab.org/maps/")
    ('files.lab.org',)
    """
    several = listed(hosts)
    several = [several] if isinstance(several, str) or several is None else several
    names: set[str] = set()
    for host in several if isinstance(several, Iterable) else [several]:
        try:
            name = host_of(host.strip()) if isinstance(host, str) else ""
        except ValueError:
            name = ""
        if not name or any(c.isspace() for c in name):
            msg = (
                f"trusted_hosts={hosts!r}: {host!r} is not the name of a host; write "
                "trusted_hosts=('files.lab.org',)."
            )
            raise ArgumentError(msg)
        names.add(name)
    return tuple(sorted(names))


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | SupportsFloat):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
