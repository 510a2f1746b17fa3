"""What is asked of a server: an address, and how to speak of it in public."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_TOKEN = re.compile(r"(/(?:api/images|media/images|collections)/)[A-Z]{8}(?=[/-]|$)")
_IN_RECORDS = re.compile(r"/(?:collections|images)/([A-Z]{8})(?=[/-]|$)")
_WITH_TOKENS = ("url", "file", "collection", "download_url")


@dataclass(frozen=True)
class Resource:
    """One thing on a server, and how to speak of it."""

    url: str = field(repr=False)
    """The address that is asked; may hold a token."""
    shown: str
    """The address as messages, logs and reports may show it."""
    what: str
    """What it is, to begin a sentence with: "Image 3"."""
    trusted: tuple[str, ...] = ()
    """Hosts besides its own to which it may be redirected."""

    @property
    def secret(self) -> bool:
        """Whether the address must not be shown."""
        return self.url != self.shown

    def may_lead_to(self, url: str) -> bool:
        """Tell whether a redirection there is followed.

        Parameters
        ----------
        url : str
            Where the server redirects to.

        Returns
        -------
        bool
            True for the resource's own host and the trusted ones.

        Examples
        --------
        >>> page = Resource("http://a.org/x", "http://a.org/x", "X", ("b.org",))
        >>> [page.may_lead_to(f"https://{host}/x") for host in ("a.org", "c.org")]
        [True, False]
        """
        allowed = {host_of(self.url), *(host_of(host) for host in self.trusted)}
        return url.startswith(("http://", "https://")) and host_of(url) in allowed


def without_token(url: str) -> str:
    """Take the token of a private collection out of an address of NeuroVault.

    Parameters
    ----------
    url : str
        The address, or its path.

    Returns
    -------
    str
        The same with ``<token>`` in place of the eight letters.

    Examples
    --------
    >>> without_token("https://neurovault.org/api/images/ABCDEFGH-12/")
    'https://neurovault.org/api/images/<token>-12/'
    """
    return _TOKEN.sub(r"\1<token>", url)


def without_tokens(
    raw: dict[str, Any], collection_id: int, token: str | None = None
) -> dict[str, Any]:
    """Take the token of a private collection out of a record.

    Parameters
    ----------
    raw : dict
        The record of the collection, or of an image of it.
    collection_id : int
        The number of the collection.
    token : str, optional
        The token, if it is known; the addresses in the record tell as well.

    Returns
    -------
    dict
        The same with the number in place of the token; the record itself if there
        is none in it.

    Examples
    --------
    >>> page = "https://neurovault.org/collections/ABCDEFGH/"
    >>> without_tokens({"url": page, "name": "of ABCDEFGH"}, 12)
    {'url': 'https://neurovault.org/collections/12/', 'name': 'of 12'}
    """
    urls = (raw.get(name) for name in _WITH_TOKENS)
    secrets = {s for u in urls if type(u) is str for s in _IN_RECORDS.findall(u)}
    if token is not None:
        secrets.add(token)
    if not secrets:
        return raw
    pattern = re.compile("|".join(sorted(secrets)))
    return {n: _replaced(v, pattern, str(collection_id)) for n, v in raw.items()}


def _replaced(value: Any, pattern: re.Pattern[str], text: str) -> Any:
    if isinstance(value, str):
        return pattern.sub(text, value)
    if isinstance(value, list):
        return [_replaced(item, pattern, text) for item in value]
    if isinstance(value, dict):
        return {k: _replaced(item, pattern, text) for k, item in value.items()}
    return value


def host_of(address: str) -> str:
    """Give the host of an address, with the port unless it is the usual one.

    Parameters
    ----------
    address : str
        An URL, or a host with or without a port.

    Returns
    -------
    str
        In lower case; empty if there is none.

    Raises
    ------
    ValueError
        If the port is no number.

    Examples
    --------
    >>> host_of("https://Neurovault.org:443/api/"), host_of("lab.org:8000")
    ('neurovault.org', 'lab.org:8000')
    """
    parts = urlsplit(address if "//" in address else f"//{address}")
    port = parts.port
    name = parts.hostname or ""
    return name if port in (None, 80, 443) else f"{name}:{port}"
