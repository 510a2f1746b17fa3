"""What is known of a server's records: listed before, on disk, or told just now.

Pure but for three memories of this process, which hold so much and no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Generic, TypeVar

from intake_neurovault.address import PUBLIC, origin
from intake_neurovault.errors import AnswerError, Failure
from intake_neurovault.ledger import Ledger, Stamp, StoredListing
from intake_neurovault.records import Collection, Image, ImageFile
from intake_neurovault.refs import Token
from intake_neurovault.sidecars import OnDisk, read_images

T = TypeVar("T")
R = TypeVar("R", bound=Collection | Image)


@dataclass(frozen=True, eq=False)
class Known:
    """A listing as saved, and its records by id.

    Examples
    --------
    >>> Known(StoredListing(({"id": 3},), None, 1, 1.7e9, complete=True)).by_id
    {3: {'id': 3}}
    """

    listing: StoredListing
    """The listing."""
    by_id: Mapping[int, Mapping[str, Any]] = field(init=False)
    """The same records."""

    def __post_init__(self) -> None:
        by_id = {raw["id"]: raw for raw in self.listing.records}
        object.__setattr__(self, "by_id", by_id)


@dataclass(frozen=True)
class Listed(Generic[T]):
    """A list of records, how old it is, and what is missing from it."""

    items: tuple[T, ...]
    """The records, in ascending order of their ids."""
    fetched: float | None
    """When the server gave the list (Unix time); None when it never did."""
    failures: tuple[Failure, ...] = ()
    """What the server could not give."""


def recall(ledger: Ledger, url: str, collection_id: int | None) -> Known | None:
    """Give what a server listed before, reading the file once as long as it stays.

    Parameters
    ----------
    ledger : Ledger
        Where it was saved.
    url : str
        The server.
    collection_id : int or None
        The collection whose images were listed; None for the list of collections.

    Returns
    -------
    Known or None
        None if nothing was saved that can be used.
    """
    return _parse(ledger, url, collection_id, ledger.stamp(url, collection_id))


# NOTE: a listing of ten thousand records takes a noticeable time to parse; `stamp`
# changes whenever the file does, so a stale parse is never served.
@lru_cache(maxsize=16)
def _parse(
    ledger: Ledger, url: str, collection_id: int | None, stamp: Stamp | None
) -> Known | None:
    listing = None if stamp is None else ledger.listing(url, collection_id)
    return None if listing is None else Known(listing)


def listed_records(
    ledger: Ledger,
    url: str,
    image_ids: Iterable[int],
    numbers: Iterable[int] | None = None,
) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
    """Look for images in the lists of a server that were saved.

    Parameters
    ----------
    ledger : Ledger
        Where the lists were saved.
    url : str
        The server.
    image_ids : iterable of int
        The images.
    numbers : iterable of int, optional
        The collections whose lists may have them, ascending; all if absent.

    Returns
    -------
    dict of int to (dict, dict)
        The raw records of those that were found, each with that of the collection
        that listed it.

    Notes
    -----
    A list is read once as long as it stays.

    Examples
    --------
    >>> from pathlib import Path
    >>> listed_records(Ledger(Path("/no/such/store")), "https://neurovault.org", [3])
    {}
    """
    wanted = set(image_ids)
    if numbers is None:
        numbers = ledger.listed(url) if wanted else ()
    found: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    for number in numbers:
        here = wanted & _image_ids(ledger, url, number, ledger.stamp(url, number))
        known = recall(ledger, url, number) if here else None
        if known is not None:
            about = known.listing.collection or {"id": number}
            for image_id in here & known.by_id.keys():
                found.setdefault(image_id, (dict(known.by_id[image_id]), about))
    return found


@lru_cache(maxsize=16384)
def _image_ids(
    ledger: Ledger, url: str, collection_id: int, stamp: Stamp | None
) -> frozenset[int]:
    listing = None if stamp is None else ledger.listing(url, collection_id)
    return frozenset(raw["id"] for raw in listing.records) if listing else frozenset()


def note(url: str, key: ImageFile | int) -> list[Any]:
    """Give the box for the record that a server gave last.

    Whoever downloads a file needs its records again, and where ids were asked for
    one by one no listing has them.

    Parameters
    ----------
    url : str
        The server.
    key : ImageFile or int
        The file of the image, which stands for one state of its record, or the
        number of the collection.

    Returns
    -------
    list of Image or Collection
        One record; empty if none was put there, or too long ago. The same list each
        time.

    Examples
    --------
    >>> note("http://a.org", 12)[:] = [Collection.from_json({"id": 12})]
    >>> [about.id for about in note("http://a.org", 12)]
    [12]
    """
    return _box(url, key)


@lru_cache(maxsize=4096)
def _box(*_key: object) -> list[Any]:
    return []


def merged(fresh: StoredListing, records: Iterable[dict[str, Any]]) -> StoredListing:
    """Add records that a listing lacks.

    Parameters
    ----------
    fresh : StoredListing
        The listing, which knows better of the records that are in both.
    records : iterable of dict
        Raw records from elsewhere.

    Returns
    -------
    StoredListing
        The listing with all of them.

    Examples
    --------
    >>> listing = StoredListing(({"id": 3},), None, 2, 1.7e9, complete=False)
    >>> merged(listing, [{"id": 5}, {"id": 3, "name": "old"}]).records
    ({'id': 3}, {'id': 5})
    """
    by_id: dict[int, dict[str, Any]] = {}
    for raw in (*fresh.records, *records):
        by_id.setdefault(raw["id"], raw)
    return replace(fresh, records=tuple(by_id.values()))


def with_disk(listing: StoredListing | None, on_disk: OnDisk) -> StoredListing:
    """Tell all that can be known without a request.

    Parameters
    ----------
    listing : StoredListing or None
        What was listed before.
    on_disk : OnDisk
        The records in nilearn's tree.

    Returns
    -------
    StoredListing
        The records of both; a file that cannot be read is a failure only if the
        listing does not make up for it. ``fetched`` is 0 if the listing was never
        complete.

    Examples
    --------
    >>> found = with_disk(None, OnDisk(({"id": 3},), failures=()))
    >>> found.records, found.complete, found.fetched
    (({'id': 3},), False, 0.0)
    """
    nothing = StoredListing((), None, None, 0.0, complete=False)
    before = nothing if listing is None else listing
    listed = {raw["id"] for raw in before.records}
    lost = [
        failure
        for failure in on_disk.failures
        if (failure.id or failure.collection_id) not in listed
    ]
    if not before.complete:
        before = replace(before, fetched=0.0, failures=())
    failures = (*before.failures, *lost)
    return merged(replace(before, failures=failures), on_disk)


def readable(
    records: Iterable[Mapping[str, Any]],
    read: Callable[[Mapping[str, Any]], R],
    url: str,
    collection_id: int | None,
) -> tuple[list[R], list[Failure]]:
    """Read records; one that makes no sense must not cost the others.

    Parameters
    ----------
    records : iterable of mapping
        Raw records.
    read : callable
        Makes a record out of a raw one.
    url : str
        The server, for the report.
    collection_id : int or None
        The collection whose images they are; None for collections.

    Returns
    -------
    items : list
        What could be read.
    failures : list of Failure
        What could not.

    Examples
    --------
    >>> readable([{"id": 0}], Collection.from_json, "http://a.org", None)[1][0].url
    'http://a.org/api/collections/0/'
    """
    found, failures = [], []
    kind = "collections" if collection_id is None else "images"
    for raw in records:
        try:
            found.append(read(raw))
        except AnswerError as error:
            number = raw["id"]
            image_id = None if collection_id is None else number
            place = f"{url}/api/{kind}/{number}/"
            reason = f"Record {number}: {error}"
            failures.append(
                Failure(image_id, collection_id or number, place, reason, 1)
            )
    return found, failures


def made_up(ledger: Ledger, url: str, raw: dict[str, Any]) -> dict[str, Any]:
    """Say what can be said of a collection whose record on disk is lost.

    Parameters
    ----------
    ledger : Ledger
        Where lists were saved, and images may be.
    url : str
        The server.
    raw : dict
        The raw record, or an id alone.

    Returns
    -------
    dict
        The record itself unless it is an id alone; else that from the saved list of
        its images, or else the number of its images on disk.

    Examples
    --------
    >>> from pathlib import Path
    >>> made_up(Ledger(Path("/no/such/store")), "https://neurovault.org", {"id": 3})
    {'id': 3, 'number_of_images': None}
    """
    if len(raw) > 1:
        return raw
    known = recall(ledger, url, raw["id"])
    if known is not None and known.listing.collection:
        return known.listing.collection
    # NOTE: the terms that hold by default leave out what says nothing of images.
    return raw | {"number_of_images": len(read_images(ledger.root, raw["id"])) or None}


def is_foreign(raw: Mapping[str, Any], server: str) -> bool:
    """Tell whether a record on disk is that of another server.

    Parameters
    ----------
    raw : mapping
        The record.
    server : str
        The server that is asked.

    Returns
    -------
    bool
        False for a record of the public server, which others are copies of, and for
        one that does not say where it is from.

    Examples
    --------
    >>> raw = {"id": 3, "url": "http://localhost:8000/images/3/"}
    >>> is_foreign(raw, "https://neurovault.org"), is_foreign(raw, "http://lab.org")
    (True, True)
    >>> is_foreign({"url": "http://neurovault.org/images/3/"}, "http://lab.org")
    False
    """
    page = raw.get("url")
    theirs = origin(page) if isinstance(page, str) else ""
    return theirs not in ("", PUBLIC, origin(server))


def digest(token: Token) -> str:
    """Give what stands for a token in the store.

    Parameters
    ----------
    token : Token
        The token of a private collection.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    ArgumentError
        If the token is in an environment variable that is not set.

    Notes
    -----
    Eight capitals are few enough to be tried one by one against a plain hash, and the
    digest ends up in a folder that may be shared: hence 200,000 rounds of PBKDF2.

    Examples
    --------
    >>> digest(Token(secret="ABCDEFGH"))[:8]
    '3a6e598b'
    """
    return _slow_digest(token.reveal())


@lru_cache(maxsize=64)
def _slow_digest(secret: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", secret.encode(), b"neurovault", 200_000).hex()
