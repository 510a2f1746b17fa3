"""One request and its answer as plain values, and the answers that need no record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

NOT_FOUND = {"en": "Not found.", "fr": "Pas trouvé.", "de": "Nicht gefunden."}
"""The sentence of a 404, by the language that the client accepts."""

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

_SECURITY = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True)
class Asked:
    """One request, as far as the answer depends on it."""

    method: str
    """The verb, in capitals."""
    path: str
    """The path as sent, percent-quoted, without the query."""
    query: str
    """The query as sent, without the question mark."""
    headers: Mapping[str, str]
    """The headers, names in lower case."""

    @property
    def target(self) -> str:
        """Path and query together."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def origin(self) -> str:
        """Scheme and host with which the links of the answer begin."""
        scheme = self.headers.get("x-forwarded-proto", "http")
        return f"{scheme}://{self.headers.get('host', 'localhost')}"

    @property
    def language(self) -> str:
        """Language of the answer's sentences."""
        wanted = self.headers.get("accept-language", "en")[:2].lower()
        return wanted if wanted in NOT_FOUND else "en"


@dataclass(frozen=True)
class Answer:
    """What goes back: a status, headers, and bytes or what becomes JSON."""

    status: int
    """The HTTP status."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """All headers but those that say where the body ends."""
    body: bytes = b""
    """The body, unless there is a payload."""
    payload: object = None
    """What the body becomes as JSON, unless it is None."""
    image_ids: frozenset[int] = frozenset()
    """The images whose records are in it."""
    framing: Literal["length", "chunked"] = "length"
    """How the client learns where the body ends."""

    def content(self) -> bytes:
        """Give the body's bytes."""
        return self.body if self.payload is None else to_json(self.payload)


class RefusedError(Exception):
    """Cuts the work on an answer short with another answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def to_json(payload: object) -> bytes:
    """Write JSON as REST framework does: compact, raw UTF-8, U+2028 escaped.

    Parameters
    ----------
    payload : object
        What JSON can hold.

    Returns
    -------
    bytes
        UTF-8.

    Examples
    --------
    >>> to_json({"name": "é", "ids": [1, 2]}).decode()
    '{"name":"é","ids":[1,2]}'
    """
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return text.encode()


def json_answer(asked: Asked, payload: object, allow: str, status: int = 200) -> Answer:
    """Answer as the API does.

    Parameters
    ----------
    asked : Asked
        The request.
    payload : object
        What becomes the body.
    allow : str
        The methods of this path, for the ``Allow`` header.
    status : int
        The HTTP status.

    Returns
    -------
    Answer
        With the headers that the API sends.
    """
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Vary": "Accept, Accept-Language, origin",
        "Allow": allow,
        "Content-Language": asked.language,
        **_SECURITY,
    }
    if status == 401:
        headers["WWW-Authenticate"] = "Token"
    return Answer(status, headers, payload=payload)


def detail(asked: Asked, sentence: str, allow: str, status: int) -> RefusedError:
    """Build the refusal that the API writes as ``{"detail": sentence}``.

    Parameters
    ----------
    asked : Asked
        The request.
    sentence : str
        What it says.
    allow : str
        The methods of this path.
    status : int
        The HTTP status.

    Returns
    -------
    RefusedError
        To be raised.
    """
    return RefusedError(json_answer(asked, {"detail": sentence}, allow, status))


def not_found(asked: Asked, allow: str) -> RefusedError:
    """Build the API's own 404, in the client's language.

    Parameters
    ----------
    asked : Asked
        The request.
    allow : str
        The methods of this path.

    Returns
    -------
    RefusedError
        To be raised.
    """
    return detail(asked, NOT_FOUND[asked.language], allow, 404)


_TITLES = {
    403: ("403 Forbidden", ""),
    404: ("Not Found", "The requested resource was not found on this server."),
}


def html_error(asked: Asked, status: int) -> Answer:
    """Answer an error that never reached the API: Django's bare pages.

    Parameters
    ----------
    asked : Asked
        The request.
    status : int
        403, 404 or a 5xx.

    Returns
    -------
    Answer
        The page, without a word of JSON.
    """
    title, text = _TITLES.get(status, (f"Server Error ({status})", ""))
    page = (
        f'\n<!doctype html>\n<html lang="en">\n<head>\n  <title>{title}</title>\n'
        f"</head>\n<body>\n  <h1>{title}</h1><p>{text}</p>\n</body>\n</html>\n"
    )
    return html_page(asked, page, status)


def html_page(asked: Asked, page: str, status: int = 200) -> Answer:
    """Answer with an HTML page.

    Parameters
    ----------
    asked : Asked
        The request.
    page : str
        The page's source.
    status : int
        The HTTP status.

    Returns
    -------
    Answer
        With the headers of a page.
    """
    cookie = " Cookie," if status == 403 else ""
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Vary": f"Accept-Language,{cookie} origin",
        "Content-Language": asked.language,
        **_SECURITY,
    }
    return Answer(status, headers, page.encode())


def redirect(asked: Asked, location: str, status: int = 301) -> Answer:
    """Answer with a redirection that has no body.

    Parameters
    ----------
    asked : Asked
        The request.
    location : str
        Where to go, as it is sent.
    status : int
        301 or 302.

    Returns
    -------
    Answer
        With an empty, chunked body.
    """
    headers = {**html_page(asked, "").headers, "Location": location}
    del headers["X-Frame-Options"]
    return Answer(status, headers, framing="chunked")
