"""One file on its way here: received, checked, and left as one whole file.

A volume is left as ``.nii.gz``, the file of a hemisphere as plain GIFTI.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from intake_neurovault import halt
from intake_neurovault.arrival import Arrival
from intake_neurovault.errors import (
    AnswerError,
    CorruptFileError,
    MissingError,
    NeuroVaultError,
    PrivateError,
    StoreError,
)
from intake_neurovault.gifti import MAX_GIFTI_BYTES, check_gifti
from intake_neurovault.inflation import GZIP_MAGIC
from intake_neurovault.integrity import MAX_BYTES
from intake_neurovault.records import ImageFile
from intake_neurovault.resource import Resource, host_of
from intake_neurovault.retry import Policy, Trouble, persist
from intake_neurovault.surfaces import SurfaceFile
from intake_neurovault.wholeness import (
    check_bytes,
    check_file,
    compress_file,
)

if TYPE_CHECKING:
    from intake_neurovault.transport import Body

Progress = Callable[[int], None]
"""Called with the bytes of every piece; negative when an attempt was in vain."""

_REPLACED = (
    "the file was probably replaced after it was listed, so have it listed anew: "
    "search with metadata_ttl=0 or mode='update', or call invalidate_cache() of the "
    "fsspec filesystem."
)
_SLACK = 2**20
_BLOCK = 2**20
# NOTE: what the server's own pattern of file addresses leaves out: letters beyond
# ASCII, three signs, and folders but those of NIDM packs.
_SERVED = re.compile(r"/media/images/[^/]+/(?:[^/]+\.nidm/)?[^/?;:]+")


@dataclass(frozen=True)
class Receipt:
    """What a download brought."""

    served_size: int
    """Bytes of the file as the server holds it."""
    stored_size: int
    """Bytes of the file as it was written."""
    sha256: str
    """Hexadecimal SHA-256 of the file as it was written."""
    attempts: int
    """How many requests it took."""
    last_modified: str | None = None
    """When the server says that the file last changed, as its header says it."""


def network() -> ModuleType:
    """Give what makes requests, which takes a while to load, and is not used offline.

    Returns
    -------
    module
        :mod:`intake_neurovault.transport`.
    """
    return import_module("intake_neurovault.transport")


def address_of(server: str, file: ImageFile, *, shown: bool) -> str:
    """Give the address of a file.

    Parameters
    ----------
    server : str
        The configured server.
    file : ImageFile
        The file.
    shown : bool
        Whether it is to be shown: then a private collection's number stands where
        its token belongs.

    Returns
    -------
    str
        The address; without `shown` it is a secret if there is a token.

    Examples
    --------
    >>> file = ImageFile(3, 1, "/media/images/1/t.nii.gz", None, None)
    >>> address_of("https://neurovault.org", file, shown=True)
    'https://neurovault.org/media/images/1/t.nii.gz'
    """
    if file.host is not None:
        return f"{file.host}{file.path}"
    path = file.path
    if file.token is not None and not shown:
        number = f"/{file.collection_id}/"
        path = path.replace(number, f"/{file.token.reveal()}/", 1)
    return f"{server}{path}"


def resource_of(
    server: str, file: ImageFile, trusted_hosts: tuple[str, ...]
) -> Resource:
    """Tell where a file is, if it may be had from there.

    Parameters
    ----------
    server : str
        The configured server.
    file : ImageFile
        The file.
    trusted_hosts : tuple of str
        Hosts besides the server's own from which files are accepted.

    Returns
    -------
    Resource
        What to ask for.

    Raises
    ------
    AnswerError
        If it is on another host.

    Examples
    --------
    >>> file = ImageFile(3, 1, "/t.nii.gz", None, None, host="https://other.org")
    >>> resource_of("https://neurovault.org", file, ("other.org",)).shown
    'https://other.org/t.nii.gz'
    """
    what = file.label.capitalize()
    trusted = {host_of(host) for host in trusted_hosts}
    if file.host is not None and host_of(file.host) not in trusted:
        host = urlsplit(file.host).netloc
        msg = (
            f"{what}: its file is on another host, {host}; if you trust "
            f"that, pass trusted_hosts=({host!r},)."
        )
        raise AnswerError(msg)
    shown = address_of(server, file, shown=True)
    # NOTE: no variable of a function that raises holds a token, since notebooks and
    # reporters of errors show variables.
    return Resource(
        address_of(server, file, shown=False),
        shown,
        file.label.capitalize(),
        trusted_hosts,
    )


def fetch_file(
    resource: Resource,
    policy: Policy,
    file: ImageFile,
    *,
    target: Path,
    progress: Progress | None = None,
) -> Receipt | Trouble:
    """Receive a file until it is whole, or no sense in asking again.

    Parameters
    ----------
    resource : Resource
        Where it is.
    policy : Policy
        How often to ask, and how long to wait.
    file : ImageFile
        What its record says of it.
    target : Path
        Where to write it; may exist, and is left in any state after a failure.
    progress : callable, optional
        Called with the bytes of every piece; with a negative number when an
        attempt was in vain.

    Returns
    -------
    Receipt or Trouble
        What was written, or why there is nothing.

    Raises
    ------
    StoreError
        If it cannot be written.

    Notes
    -----
    The bytes are kept as they are served when they are a gzipped NIfTI file, also
    where a header says that the gzip belongs to the journey. If the record's size
    shows that a proxy compressed the file, that is undone. A plain file is gzipped,
    always to the same bytes, so that the name ``.nii.gz`` is true. The file of a
    hemisphere is kept as served, and inflated if it comes gzipped.
    """
    transfer = _Transfer(resource, policy, file, target, progress or _ignore)
    try:
        outcome = persist(transfer.attempt, policy)
    except NeuroVaultError:
        raise
    except OSError as error:
        msg = (
            f"{file.label.capitalize()} cannot be written to {target.parent} "
            f"({error.strerror}); choose another data_dir=, or make room."
        )
        raise StoreError(msg) from error
    if isinstance(outcome, Trouble):
        return _explained(outcome, resource, file)
    return outcome


@dataclass
class _Transfer:
    """The attempts at one file."""

    resource: Resource
    policy: Policy
    file: ImageFile
    target: Path
    progress: Progress
    seen: tuple[bytes, ...] = ()

    def attempt(self, number: int) -> Receipt | Trouble:
        with Arrival(self.target, self.file.file_size) as arrival:
            outcome = self._receive(arrival, number)
        if isinstance(outcome, Trouble) and arrival.size:
            self.progress(-arrival.size)
        return outcome

    def _receive(self, arrival: Arrival, number: int) -> Receipt | Trouble:
        gather = partial(self._gather, arrival)
        limit = MAX_GIFTI_BYTES if self._is_surface else MAX_BYTES
        asked = self.resource, self.policy, gather
        body: Body | Trouble = network().receive(*asked, limit=limit, raw=True)
        if isinstance(body, Trouble):
            return body
        arrival.write()
        try:
            settle = self._settle_surface if self._is_surface else self._settle
            return settle(body, arrival, number)
        except CorruptFileError as error:
            # NOTE: the same bytes twice, as many as the record says, are what the
            # server has; fewer may still be an accident on the way. Of surfaces the
            # record does not say how many.
            whole = self._is_surface or arrival.size == self.file.file_size
            return Trouble(error, "final" if self._seen() and whole else "passing")

    def _gather(self, arrival: Arrival, body: Body) -> Body | Trouble:
        size = self.file.file_size
        most = size + size // 10 + _SLACK if size else MAX_BYTES
        for chunk in body.chunks:
            if arrival.size + len(chunk) > most:
                return Trouble(self._contradiction(f"more than {most:,}"))
            arrival.add(chunk)
            self.progress(len(chunk))
        return body

    def _settle(self, body: Body, arrival: Arrival, number: int) -> Receipt | Trouble:
        label = self.file.label.capitalize()
        facts = None
        if body.encoding in ("gzip", "x-gzip") and self._wrapped(arrival.size):
            _replace(self.target, partial(_unwrap, self.target, label=label))
        elif arrival.data is not None:
            facts = check_bytes(arrival.data)
        facts = facts or check_file(self.target, label=label)
        served = facts.size
        if self.file.file_size and served != self.file.file_size:
            error = self._contradiction(f"{served:,}")
            return Trouble(error, "final" if self._seen() else "passing")
        if not facts.gzipped:
            _replace(self.target, lambda new: compress_file(self.target, new))
            facts = check_file(self.target, label=label)
        return Receipt(served, facts.size, facts.sha256, number, body.last_modified)

    @property
    def _is_surface(self) -> bool:
        return isinstance(self.file, SurfaceFile)

    def _settle_surface(self, body: Body, arrival: Arrival, number: int) -> Receipt:
        label = self.file.label.capitalize()
        with self.target.open("rb") as source:
            gzipped = source.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        if gzipped:
            inflate = partial(_unwrap, self.target, label=label, limit=MAX_GIFTI_BYTES)
            _replace(self.target, inflate)
        facts = check_gifti(self.target, label=label)
        served, last_modified = arrival.size, body.last_modified
        return Receipt(served, facts.size, facts.sha256, number, last_modified)

    def _seen(self) -> bool:
        """Whether an attempt before brought the same bytes."""
        with self.target.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").digest()
        before, self.seen = self.seen, (*self.seen, digest)
        return digest in before

    def _wrapped(self, received: int) -> bool:
        """Whether a proxy compressed what was to be sent as it is."""
        if self.file.file_size:
            return received != self.file.file_size
        try:
            with gzip.open(self.target) as inner:
                return inner.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return False

    def _contradiction(self, sent: str) -> CorruptFileError:
        return CorruptFileError(
            f"{self.file.label.capitalize()}: the server sent {sent} bytes where the "
            f"record says {self.file.file_size:,}; {_REPLACED}"
        )


def _ignore(_size: int) -> None:
    """Show no progress."""


def _replace(target: Path, make: Callable[[Path], None]) -> None:
    fresh = target.with_name(f"{target.name}.new")
    with halt.ending(partial(fresh.unlink, missing_ok=True)):
        try:
            make(fresh)
            halt.check()
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)


def _unwrap(source: Path, target: Path, label: str, limit: int = MAX_BYTES) -> None:
    written = 0
    try:
        with gzip.open(source) as inner, target.open("wb") as sink:
            while written <= limit and (block := inner.read(_BLOCK)):
                written += sink.write(block)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        msg = f"{label}: the gzip encoding of the answer is damaged ({error})"
        raise CorruptFileError(msg) from error


def _explained(trouble: Trouble, resource: Resource, file: ImageFile) -> Trouble:
    label = file.label.capitalize()
    error: NeuroVaultError
    if isinstance(trouble.error, PrivateError):
        error = PrivateError(
            f"{label} is in a private collection: pass its token as "
            "collection_ids=['env:NAME'], or private=['env:NAME'] for fsspec, where "
            "the environment variable NAME holds its eight letters."
        )
    elif isinstance(trouble.error, MissingError):
        error = MissingError(f"{label}: {_why_missing(resource, file)}")
    else:
        return trouble
    error.attempts = trouble.error.attempts
    return replace(trouble, error=error)


def _why_missing(resource: Resource, file: ImageFile) -> str:
    if file.file_size == 0:
        return "the server has lost its file, which the record says has 0 bytes."
    path = unquote(file.path)
    if not (path.isascii() and _SERVED.fullmatch(path)):
        return (
            f"the server does not serve {resource.shown}, as happens with names that "
            "have a folder, one of the signs ?;: or letters beyond ASCII."
        )
    return f"there is no file at {resource.shown}; {_REPLACED}"
