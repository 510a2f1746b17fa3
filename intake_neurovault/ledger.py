"""What the package notes for itself beside nilearn's tree: above all, listings.

Each file bears a format version; one that is damaged, foreign or of another version
is as good as absent, since all of it can be had again.
"""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from intake_neurovault import atomic, layout
from intake_neurovault.errors import (
    CorruptFileError,
    Failure,
    NeuroVaultWarning,
    StoreError,
)
from intake_neurovault.sidecars import read_object

logger = logging.getLogger(__name__)

FORMAT = 1
"""Version of these files; files of any other version are not read."""

Stamp = tuple[int, int, int]

_LISTING = re.compile(r"collection_([1-9][0-9]{0,18})\.json")
_WARNED: dict[tuple[Path, str], object] = {}


@dataclass(frozen=True)
class StoredListing:
    """What the server listed, and whether that was all.

    Examples
    --------
    >>> StoredListing(({"id": 3},), {"id": 12}, 2, 1.7e9, complete=False).failures
    ()
    """

    records: tuple[dict[str, Any], ...]
    """The raw records; those of a private collection without its token."""
    collection: dict[str, Any] | None
    """The raw record of the collection listed; None for the list of collections."""
    count: int | None
    """How many the server says there are."""
    fetched: float
    """When the list was complete (Unix time)."""
    complete: bool
    """Whether every record is there."""
    failures: tuple[Failure, ...] = ()
    """What is missing, and why."""


_LISTING_KEYS = tuple(StoredListing.__annotations__)


@dataclass(frozen=True)
class Ledger:
    """What was noted in one store about its servers.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> listing = StoredListing(({"id": 3},), {"id": 12}, 1, 1.7e9, complete=True)
    >>> with TemporaryDirectory() as folder:
    ...     ledger = Ledger(Path(folder))
    ...     ledger.save_listing("https://neurovault.org", 12, listing)
    ...     ledger.listing("https://neurovault.org", 12) == listing
    True
    """

    root: Path
    """The folder of the store; absolute. It is made when something is added."""

    def listing(
        self, server: str, collection_id: int | None = None
    ) -> StoredListing | None:
        """Give what a server listed, as saved last.

        Parameters
        ----------
        server : str
            Its base URL.
        collection_id : int, optional
            The collection whose images were listed; None for the list of
            collections.

        Returns
        -------
        StoredListing or None
            None if there is none that can be used.
        """
        path = self.root / layout.listing_path(server, collection_id)
        content = read_note(path)
        if content is None:
            return None
        try:
            return parse_listing(content, path.parent.name)
        except (KeyError, TypeError, ValueError) as error:
            logger.warning("Passed over: %s is not a listing (%r).", path, error)
            return None

    def listed(self, server: str) -> list[int]:
        """Name the collections of which a list of images was saved.

        Parameters
        ----------
        server : str
            The base URL of the server that gave the lists.

        Returns
        -------
        list of int
            Their ids, ascending; whether a list can still be read is not looked at.
        """
        folder = (self.root / layout.listing_path(server, None)).parent
        try:
            names = [path.name for path in folder.iterdir()]
        except OSError as error:
            logger.debug("No listings are in %s: %s", folder, error)
            return []
        matches = map(_LISTING.fullmatch, names)
        return sorted(int(match[1]) for match in matches if match)

    def save_listing(
        self, server: str, collection_id: int | None, listing: StoredListing
    ) -> None:
        """Keep what a server listed.

        Parameters
        ----------
        server : str
            Its base URL.
        collection_id : int or None
            The collection whose images were listed; None for the list of
            collections.
        listing : StoredListing
            The list. Records of private collections must come without the token.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        # NOTE: `asdict` would copy every record, of which there may be 100,000.
        content = {name: getattr(listing, name) for name in _LISTING_KEYS}
        content["failures"] = [asdict(failure) for failure in listing.failures]
        path = layout.listing_path(server, collection_id)
        self.save_note(path, {"source": Path(path).parent.name} | content)

    def stamp(self, server: str, collection_id: int | None = None) -> Stamp | None:
        """Give a value that changes when a saved listing does.

        Parameters
        ----------
        server : str
            Its base URL.
        collection_id : int, optional
            As for `listing`.

        Returns
        -------
        tuple of int or None
            Time of last change in nanoseconds, file number and size, since a clock
            may stand still between two saves; None if nothing was saved.
        """
        path = self.root / layout.listing_path(server, collection_id)
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def private_id(self, server: str, digest: str) -> int | None:
        """Give the number of a private collection that was seen before.

        Parameters
        ----------
        server : str
            Base URL of its server.
        digest : str
            A hexadecimal digest that stands for its token.

        Returns
        -------
        int or None
            The number; None if it is not known.
        """
        content = read_note(self.root / _private_path(server, digest)) or {}
        number = content.get("collection_id")
        return number if type(number) is int else None

    def save_private_id(self, server: str, digest: str, collection_id: int) -> None:
        """Keep the number of a private collection.

        Parameters
        ----------
        server : str
            Base URL of its server.
        digest : str
            A hexadecimal digest that stands for its token.
        collection_id : int
            The number.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        path = _private_path(server, digest)
        self.save_note(path, {"collection_id": collection_id})

    def save_note(self, path: str, content: Mapping[str, Any]) -> None:
        """Write any file of ours, as one rename.

        Parameters
        ----------
        path : str
            Its path in the store.
        content : mapping
            JSON types only; the version of the format is added.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        self.save_bytes(path, json.dumps({"format": FORMAT, **content}).encode("utf-8"))

    def save_bytes(self, path: str, data: bytes) -> None:
        """Write any file of ours as it is, and clear away what killed writers left.

        Parameters
        ----------
        path : str
            Its path in the store.
        data : bytes
            Its content.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        place = self.root / path
        with atomic.store_errors(self.root):
            atomic.write_bytes(place, data, parents=True)
        sweep_once(place.parent)


def read_note(path: Path) -> dict[str, Any] | None:
    """Read any file of ours.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    dict or None
        Its content without the version; None if it is absent, damaged or of another
        version.

    Examples
    --------
    >>> read_note(Path("/no/such/file")) is None
    True
    """
    try:
        content = read_object(path)
    except FileNotFoundError:
        return None
    except CorruptFileError as error:
        logger.warning("Passed over: %s", error)
        return None
    if content.pop("format", None) != FORMAT:
        logger.warning("Passed over: %s is of another version.", path)
        return None
    return content


@lru_cache(maxsize=4096)
def sweep_once(folder: Path) -> None:
    """Remove abandoned temporaries from a folder, once in the life of a process.

    Parameters
    ----------
    folder : pathlib.Path
        A folder that was written to.
    """
    atomic.sweep(folder)


def warn_once(root: Path, error: StoreError, meanwhile: str) -> None:
    """Say that a store cannot be written, once in the life of a process.

    Parameters
    ----------
    root : pathlib.Path
        The folder of the store.
    error : StoreError
        What the store refused first.
    meanwhile : str
        One sentence: what happens until it can be written. Each is said once for
        each store.

    Warns
    -----
    NeuroVaultWarning
        With both.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     for _ in range(2):
    ...         warn_once(Path("/maps"), StoreError("No space."), "All is read anew.")
    >>> [str(each.message) for each in said]
    ['No space. All is read anew.']
    """
    # NOTE: threads come here at the same time, and `setdefault` lets one through.
    mine = object()
    if _WARNED.setdefault((root, meanwhile), mine) is mine:
        warnings.warn(f"{error} {meanwhile}", NeuroVaultWarning, stacklevel=3)


def _private_path(server: str, digest: str) -> str:
    folder = layout.listing_path(server, None).rpartition("/")[0]
    return f"{folder}/private_{digest}.json"


def parse_listing(content: Mapping[str, Any], source: str) -> StoredListing:
    """Read the content of a listing's file.

    Parameters
    ----------
    content : mapping
        What `read_note` gives.
    source : str
        Name of the folder that the file is in, which stands for the server.

    Returns
    -------
    StoredListing
        The listing.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is no listing, or that of another server.

    Examples
    --------
    >>> parse_listing({"source": "localhost+8000"}, "neurovault.org")
    Traceback (most recent call last):
    ...
    ValueError: it is one of localhost+8000
    """
    if content["source"] != source:
        msg = f"it is one of {content['source']}"
        raise ValueError(msg)
    about = content["collection"]
    return StoredListing(
        records=tuple(_record(item) for item in content["records"]),
        collection=None if about is None else _record(about),
        count=content["count"],
        fetched=float(content["fetched"]),
        complete=content["complete"] is True,
        failures=tuple(Failure(**failure) for failure in content["failures"]),
    )


def _record(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict) or "id" not in item:
        msg = "a record has no id"
        raise ValueError(msg)
    return item
