"""Where a file is served: the path and the host behind the URL in a record."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from intake_neurovault.errors import AnswerError

__all__ = ["PUBLIC", "Address", "locate", "origin", "quoted"]

PUBLIC = "neurovault.org"
"""The public server."""

_NEUROVAULT = (PUBLIC, f"www.{PUBLIC}")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_KEPT = "/:@!$&'()*+,;=~%"
_QUOTED = re.compile(r"(?:[A-Za-z0-9._/:@!$&'()*+,;=~-]|%[0-9A-Fa-f]{2})*")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Address(NamedTuple):
    """Where a file is served.

    Examples
    --------
    >>> Address("/media/images/1/a%20b.nii.gz", None).host is None
    True
    """

    path: str
    """Percent-quoted path, from ``/`` on, with the query if there is one."""
    host: str | None
    """``https://other.org``, or None on the configured server."""


def quoted(path: str) -> str:
    """Percent-quote what is not quoted yet.

    Parameters
    ----------
    path : str
        A path, quoted in whole, in part or not at all.

    Returns
    -------
    str
        ASCII. What was quoted stays as it is; ``+`` and other signs with no meaning
        in a path stay bare.

    Examples
    --------
    >>> quoted("/1/100% é%20+.nii.gz")
    '/1/100%25%20%C3%A9%20+.nii.gz'
    """
    if _QUOTED.fullmatch(path):
        return path
    return quote(_LONE_PERCENT.sub("%25", path), safe=_KEPT)


def locate(url: str, *, server: str, page: object = None) -> Address:
    """Tell where to get a file.

    Parameters
    ----------
    url : str
        The address in a record.
    server : str
        The configured server.
    page : str, optional
        The URL of a page that only NeuroVault can serve, from the same record: its
        host is the server, under the name by which it knows itself.

    Returns
    -------
    Address
        Without a host if the file is NeuroVault's own, whatever scheme, host and
        port the record gives it.

    Raises
    ------
    AnswerError
        If it is no address of a file, or one that climbs out of its folder.

    Notes
    -----
    A bare ``#`` belongs to a file's name: the server leaves it so in places.

    Examples
    --------
    >>> locate("http://neurovault.org/media/images/1/t.nii.gz",
    ...        server="http://localhost:8000")
    Address(path='/media/images/1/t.nii.gz', host=None)
    >>> locate("https://other.org/t.nii.gz", server="https://neurovault.org")
    Address(path='/t.nii.gz', host='https://other.org')
    """
    address, _, query = url.strip().partition("?")
    folder, _, name = address.rpartition("/")
    try:
        where = _folder(f"{folder}/", server, page if isinstance(page, str) else "")
        path = where.path + quoted(name)
        full = f"{path}?{quoted(query)}" if query else path
    except ValueError as error:
        raise AnswerError(_complaint(url)) from error
    if not name or _climbs(path):
        raise AnswerError(_complaint(url))
    return Address(full, where.host)


@lru_cache(maxsize=1024)
def origin(url: str) -> str:
    """Name the server behind an address.

    Parameters
    ----------
    url : str
        The address of a server, or of a page on it.

    Returns
    -------
    str
        Host and port, one name for all spellings of the public server; empty if it
        is no such address.

    Examples
    --------
    >>> origin("http://www.neurovault.org/images/3/")
    'neurovault.org'
    >>> origin("http://localhost:8000"), origin("/images/3/")
    ('localhost:8000', '')
    """
    try:
        netloc = _netloc(urlsplit(url))
    except ValueError:
        return ""
    return PUBLIC if netloc in _NEUROVAULT else netloc


# NOTE: the images of a collection lie in one folder, so that most calls hit.
@lru_cache(maxsize=1024)
def _folder(url: str, server: str, page: str) -> Address:
    parts = urlsplit(url.replace("#", "%23"))
    path = quoted(parts.path)
    if not parts.scheme and not parts.netloc:
        return Address(path if path.startswith("/") else f"/{path}", None)
    netloc = _netloc(parts)
    if parts.scheme not in _DEFAULT_PORTS or not netloc:
        msg = "neither http nor https"
        raise ValueError(msg)
    known = {*_NEUROVAULT, _netloc(urlsplit(server)), _netloc(urlsplit(page))}
    if netloc not in known:
        return Address(path, f"{parts.scheme}://{netloc}")
    prefix = urlsplit(server).path.rstrip("/")
    below = bool(prefix) and path.startswith(f"{prefix}/")
    return Address(path.removeprefix(prefix) if below else path, None)


def _netloc(parts: SplitResult) -> str:
    # NOTE: a port that is no number fails by itself, when it is looked at.
    if "@" in parts.netloc or parts.port == 0:
        msg = "a file's address with a user name, or a port that is none"
        raise ValueError(msg)
    return parts.netloc.lower().removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))


def _climbs(path: str) -> bool:
    if ".." not in path and "%" not in path:
        return False
    return ".." in unquote(path).replace("\\", "/").split("/")


def _complaint(url: str) -> str:
    # NOTE: what stands before "@" may be a password.
    address = url.rpartition("@")[2][:100]
    return (
        f"The record gives {address!r} as the address of a file, which cannot be "
        "one; leave the image out, or tell the owner of its collection."
    )
