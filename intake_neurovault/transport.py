"""One request, and how often it is made: repetitions, limits, plain errors.

Nothing of requests or urllib3 leaves it: what goes wrong comes back as a
:class:`Trouble`, a value that holds one of this package's errors and says what may
help. Values rather than exceptions, because
an exception raised while another one is handled keeps it as its context, and
the texts of requests and urllib3 hold the address, which may hold the token of
a private collection.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

import requests
import urllib3

from intake_neurovault import halt
from intake_neurovault.crew import turn
from intake_neurovault.errors import (
    AnswerError,
    MissingError,
    PrivateError,
    ServerError,
    UnreachableError,
)
from intake_neurovault.resource import Resource, host_of
from intake_neurovault.retry import Kind, Policy, Trouble, persist, retry_after
from intake_neurovault.sessions import OversizeError, Session, expecting, session

T = TypeVar("T")
_Asking = tuple[Session, requests.PreparedRequest]

JSON_LIMIT = 256 * 2**20
"""Most bytes of a JSON answer, decompressed; NeuroVault's largest page has 2 MB."""

_HOPS = 5
_AS_SENT = {"Accept": "*/*", "Accept-Encoding": "identity"}
_CHUNK = 2**18
_CUT = (http.client.IncompleteRead, http.client.RemoteDisconnected)


@dataclass(frozen=True)
class Body:
    """The body of a good answer, while it comes in."""

    chunks: Iterator[bytes]
    """Its pieces."""
    encoding: str
    """The header ``Content-Encoding`` in lower case; empty if there is none."""
    last_modified: str | None = None
    """The header ``Last-Modified``."""


def get_json(resource: Resource, policy: Policy) -> object | Trouble:
    """Ask for JSON until there is some, or no sense in asking again.

    Parameters
    ----------
    resource : Resource
        What to ask for.
    policy : Policy
        How often, and how long to wait.

    Returns
    -------
    object or Trouble
        What the JSON says, or why there is none.
    """
    return read_json(resource, policy, lambda answer: answer)


def read_json(
    resource: Resource, policy: Policy, read: Callable[[object], T | Trouble]
) -> T | Trouble:
    """Ask for JSON, and make sense of it as a part of the asking.

    Parameters
    ----------
    resource : Resource
        What to ask for.
    policy : Policy
        How often, and how long to wait.
    read : callable
        Makes sense of what the JSON says, or trouble; the trouble then counts the
        requests, as any other does.

    Returns
    -------
    object or Trouble
        What `read` gave, or why there is nothing to read.
    """

    def parse(body: Body) -> T | Trouble:
        # NOTE: a list of pieces would be far larger than them, if they are tiny.
        gathered = bytearray()
        for chunk in body.chunks:
            gathered += chunk
        answer = _parsed(gathered, resource)
        return answer if isinstance(answer, Trouble) else read(answer)

    def once(_number: int) -> T | Trouble:
        return receive(resource, policy, parse, limit=JSON_LIMIT)

    return persist(once, policy)


def receive(
    resource: Resource,
    policy: Policy,
    consume: Callable[[Body], T | Trouble],
    *,
    limit: int,
    raw: bool = False,
) -> T | Trouble:
    """Make one request, and hand the body of a good answer on.

    Parameters
    ----------
    resource : Resource
        What to ask for.
    policy : Policy
        How long to wait.
    consume : callable
        Takes the body while it comes in.
    limit : int
        Most bytes that the body may have.
    raw : bool
        Whether the bytes are wanted as they are sent, and the server asked not
        to compress them for the journey.

    Returns
    -------
    object or Trouble
        What `consume` gave, or why there is no body.
    """
    headers = _AS_SENT if raw else {}
    # NOTE: before its turn, which is for what others may have to wait for.
    asking = _prepared(resource, policy, headers)
    if isinstance(asking, Trouble):
        return asking
    with turn(), expecting(limit):
        return _receive(resource, policy, asking, headers, consume, limit)


def _receive(
    resource: Resource,
    policy: Policy,
    asking: _Asking,
    headers: dict[str, str],
    consume: Callable[[Body], T | Trouble],
    limit: int,
) -> T | Trouble:
    response = _open(resource, policy, asking, headers)
    if isinstance(response, Trouble):
        return response
    problem: Exception
    with closing(response), halt.ending(response.raw.shutdown):
        refusal = _refusal(response, resource)
        if refusal is not None:
            return refusal
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        chunks = _chunks(response, limit, headers == _AS_SENT)
        try:
            return consume(
                Body(chunks, encoding, response.headers.get("Last-Modified"))
            )
        except (urllib3.exceptions.HTTPError, OversizeError) as error:
            problem = error
    return _translated(problem, resource, policy)


def is_unmodified(resource: Resource, policy: Policy, since: str) -> bool | Trouble:
    """Ask whether something has changed, without having it sent.

    Parameters
    ----------
    resource : Resource
        What to ask about.
    policy : Policy
        How often, and how long to wait.
    since : str
        When it had not, in the words of the server's ``Last-Modified``.

    Returns
    -------
    bool or Trouble
        True if it is the same, or why that is not known.
    """

    def once(_number: int) -> bool | Trouble:
        headers = {"If-Modified-Since": since}
        asking = _prepared(resource, policy, headers, "HEAD")
        if isinstance(asking, Trouble):
            return asking
        with turn():
            response = _open(resource, policy, asking, headers)
        if isinstance(response, Trouble):
            return response
        with closing(response):
            if response.status_code == http.HTTPStatus.NOT_MODIFIED:
                return True
            return _refusal(response, resource) or False

    return persist(once, policy)


def _parsed(text: bytearray, resource: Resource) -> object | Trouble:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        got = "a web page" if text.lstrip()[:1] == b"<" else "something else"
    else:
        return value
    msg = (
        f"{resource.what}: {resource.shown} answered {got} where JSON was expected; "
        "it may be under maintenance, or url= is not a NeuroVault server."
    )
    return Trouble(AnswerError(msg), "passing")


def _prepared(
    resource: Resource, policy: Policy, headers: dict[str, str], method: str = "GET"
) -> _Asking | Trouble:
    url = resource.url
    try:
        server = session(url)
        return server, server.prepared(method, url, headers)
    # NOTE: ValueError is how an address that makes no sense fails.
    except (requests.RequestException, ValueError) as error:
        problem = error
    return _translated(problem, resource, policy)


def _open(
    resource: Resource, policy: Policy, asking: _Asking, headers: dict[str, str]
) -> requests.Response | Trouble:
    for _hop in range(_HOPS + 1):
        server, request = asking
        try:
            response = server.ask(request, policy.timeout)
            url = server.following(response)
            if url is None:
                return response
            response.close()
            host = host_of(url) if url.startswith(("http://", "https://")) else ""
        except (requests.RequestException, ValueError) as error:
            problem = error
            break
        if not host:
            problem = ValueError()
            break
        if not resource.may_lead_to(url):
            return _astray(resource, host)
        # NOTE: what says who asks is not for another host.
        method, there = request.method or "GET", replace(resource, url=url)
        following = _prepared(there, policy, headers, method)
        if isinstance(following, Trouble):
            return following
        asking = following
    else:
        msg = f"{resource.what}: {resource.shown} redirects endlessly; check url=."
        return Trouble(AnswerError(msg))
    return _translated(problem, resource, policy)


def _astray(resource: Resource, host: str) -> Trouble:
    msg = (
        f"{resource.what}: {resource.shown} redirects to another host; if you trust "
        f"it, pass trusted_hosts=({host!r},)."
    )
    return Trouble(AnswerError(msg))


def _refusal(response: requests.Response, resource: Resource) -> Trouble | None:
    status = response.status_code
    if status == http.HTTPStatus.OK:
        return None
    try:
        phrase = f"{status} ({http.HTTPStatus(status).phrase})"
    except ValueError:
        phrase = f"{status}"
    where = f"{resource.what}: {resource.shown}"
    if status == http.HTTPStatus.FORBIDDEN:
        return Trouble(PrivateError(f"{where} is not for everybody."))
    if status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
        return Trouble(MissingError(f"{where} does not exist."))
    wait = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
    error = ServerError(f"{where} answered {phrase}.")
    if status in (http.HTTPStatus.TOO_MANY_REQUESTS, 503):
        return Trouble(error, "passing", wait)
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return Trouble(error, "broken", wait)
    return Trouble(error)


def _chunks(response: requests.Response, limit: int, raw: bool) -> Iterator[bytes]:
    received = 0
    while chunk := response.raw.read1(_CHUNK, decode_content=not raw):
        received += len(chunk)
        if received > limit:
            raise OversizeError
        yield chunk


def _translated(error: Exception, resource: Resource, policy: Policy) -> Trouble:
    where = f"{resource.what}: {resource.shown}"
    kind: Kind = "passing"
    kept: ServerError
    if isinstance(error, requests.ConnectTimeout):
        kept = UnreachableError(f"{where} gave no connection {_later(policy)}")
    elif isinstance(error, (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError)):
        kind = "slow"
        kept = UnreachableError(f"{where} gave no answer {_later(policy)}")
    elif _has(error, OversizeError):
        kind = "final"
        kept = AnswerError(f"{where} sends more than it should; check url=.")
    elif _has(error, http.client.HTTPException) and not _has(error, *_CUT):
        kept = AnswerError(f"{where} does not answer as a web server does; check url=.")
    elif isinstance(error, urllib3.exceptions.DecodeError):
        kept = AnswerError(f"{where} sent a body that cannot be decompressed.")
    elif isinstance(error, ValueError):
        kind = "final"
        kept = AnswerError(f"{where} leads to an address that is none; check url=.")
    elif _has(error, ssl.SSLCertVerificationError):
        kind = "final"
        kept = UnreachableError(
            f"{where} shows a certificate that cannot be verified; name the file of "
            "your institution's certificates in REQUESTS_CA_BUNDLE."
        )
    else:
        kept = UnreachableError(
            f"{where} cannot be reached: {_words(error)}; check the network, name "
            "another server with url=, or pass mode='offline' for what is on disk."
        )
    kept.__cause__ = None if resource.secret else error
    return Trouble(kept, kind)


def _later(policy: Policy) -> str:
    return f"within {policy.timeout:g} s; pass a larger timeout=, or try again later."


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _has(error: Exception, *kinds: type[Exception]) -> bool:
    return any(isinstance(each, kinds) for each in _chain(error))


def _words(error: Exception) -> str:
    # NOTE: only what the operating system says; requests' own text holds the URL.
    texts = (e.strerror for e in _chain(error) if isinstance(e, OSError))
    proxy = _has(error, requests.exceptions.ProxyError)
    found = next((text for text in texts if text), "the connection was cut")
    return f"{'the proxy failed, ' if proxy else ''}{found.lower()}"
