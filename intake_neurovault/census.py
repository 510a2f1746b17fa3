"""What goes into the index, read from the store piece by piece, and what shows change.

A piece is the list of all collections, or what is known of the images of one: the
list that the server gave and the records in nilearn's folder. Marks are values that
differ when files do; they come from one look at a folder and open nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from intake_neurovault import layout, sidecars
from intake_neurovault.errors import CorruptFileError
from intake_neurovault.known import readable
from intake_neurovault.ledger import Ledger, StoredListing
from intake_neurovault.pieces import EVERYTHING, Home, Mark, Marks, Piece
from intake_neurovault.records import Collection, Image

_LISTING = re.compile(r"collection(?:s|_([1-9][0-9]{0,18}))\.json")
_FOLDER = re.compile(r"collection_([1-9][0-9]{0,18})")
_SIDECAR = re.compile(r"image_([1-9][0-9]*)_metadata\.json")
_END_OF_SIDECARS = "_metadata.json"
_MOST_IMAGES, _MOST_COLLECTIONS = 2**32, 2**31
_LARGEST = 2**63
_DOUBTFUL: Mark = (2**62,)


@dataclass(frozen=True)
class Survey:
    """The marks of all pieces of a store, as they are now."""

    root: Path
    """The store."""
    listings: Mapping[int, Mark]
    """Of the lists of one server, by collection; `EVERYTHING` for that of all."""
    folders: Mapping[int, Mark]
    """Of nilearn's folders, by collection; empty where these do not matter."""
    offline: bool
    """Whether they do."""

    def unchanged(self, number: int, home: Home, *, listed: bool) -> bool:
        """Tell whether a piece is as it was when it was read.

        Parameters
        ----------
        number : int
            The collection, or `EVERYTHING`.
        home : Home
            What is known of it.
        listed : bool
            Whether the list of all collections has it, so that its own record on disk
            does not matter.

        Returns
        -------
        bool
            False if in doubt.
        """
        then = home.marks
        if not home.calm or then.listing != self.listings.get(number, ()):
            return False
        if not self.offline:
            return True
        if not home.calm_on_disk or then.folder != self.folders.get(number, ()):
            return False
        if then.records and then.records != _mark_of_records(self.root, number):
            return False
        if listed or not then.folder:
            return True
        about = _mark_of_about(self.root, number)
        return then.about == about and Marks(about=about).settled(home.seen)


def survey(root: Path, url: str, *, offline: bool, lists: bool = True) -> Survey:
    """Look at what is in a store.

    Parameters
    ----------
    root : pathlib.Path
        The store; it need not exist.
    url : str
        The server whose lists are meant.
    offline : bool
        Whether nilearn's folders matter as well.
    lists : bool
        Whether the lists of the server matter.

    Returns
    -------
    Survey
        The marks.

    Examples
    --------
    >>> survey(Path("/no/such/store"), "https://neurovault.org", offline=True).folders
    {}
    """
    folder = (root / layout.listing_path(url, None)).parent
    listings = _look(folder, _LISTING, mark_of) if lists else {}
    folders = _look(root, _FOLDER, mark_of) if offline else {}
    return Survey(root, listings, folders, offline)


@dataclass
class Census:
    """Reads the pieces of one store, as one server would be answered.

    Examples
    --------
    >>> ledger = Ledger(Path("/no/such/store"))
    >>> census = Census(ledger, "https://neurovault.org", offline=True)
    >>> census.read(12).listing is None
    True
    """

    ledger: Ledger
    """The store."""
    url: str
    """The server."""
    offline: bool
    """Whether nilearn's folders matter as well."""
    _image: Callable[[Mapping[str, Any]], Image] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._image = partial(Image.from_json, base_url=self.url)

    def read(self, number: int) -> Piece:
        """Read one piece.

        Parameters
        ----------
        number : int
            The collection, or `EVERYTHING`.

        Returns
        -------
        Piece
            What there is.
        """
        now = time.time_ns()
        # NOTE: marks are taken before what they stand for is read, so that a change
        # in between shows as one.
        place = self.ledger.root / layout.listing_path(self.url, number or None)
        marks = Marks(mark_of(place))
        listing = (
            self.ledger.listing(self.url, number or None) if marks.listing else None
        )
        piece = Piece(number, marks, now, listing)
        if number == EVERYTHING:
            return self._everything(piece)
        records = listing.records if listing else ()
        if not _regular(records) or not _is_of(listing, number):
            return replace(piece, regular=False)
        listed, senseless = readable(records, self._image, self.url, number)
        piece = replace(piece, listed=tuple(listed), senseless=tuple(senseless))
        return self._with_disk(piece) if self.offline else piece

    def sidecars(self, number: int) -> list[int]:
        """List the images that have a record in a folder of nilearn's.

        Parameters
        ----------
        number : int
            The collection.

        Returns
        -------
        list of int
            Their ids, but for those that no image can have.
        """
        folder = self.ledger.root / layout.collection_dir(number)
        names = _look(folder, _SIDECAR, lambda _: ())
        return [each for each in names if each < _LARGEST]

    def _with_disk(self, piece: Piece) -> Piece:
        """Add what is in nilearn's folder and not in the list."""
        root, number = self.ledger.root, piece.number
        folder = mark_of(root / layout.collection_dir(number))
        if not folder:
            return piece
        about, of_records = _mark_of_about(root, number), _mark_of_records(root, number)
        names = _look(root / layout.collection_dir(number), _SIDECAR, lambda _: ())
        known = {raw["id"] for raw in piece.listing.records} if piece.listing else ()
        wanted = names.keys() - set(known)
        found = sidecars.read_images(root, number, wanted)
        loose, senseless = readable(found, self._image, self.url, number)
        # NOTE: what could not be read may be readable at the next look, though no
        # file has changed.
        of_records = _DOUBTFUL if found.failures else of_records
        marks = Marks(piece.marks.listing, folder, of_records if wanted else (), about)
        return replace(
            piece,
            marks=marks,
            loose=tuple(loose),
            about=self._about(number),
            lost=found.failures,
            senseless_loose=tuple(senseless),
            regular=_regular(found),
        )

    def _everything(self, piece: Piece) -> Piece:
        records = piece.listing.records if piece.listing else ()
        found, bad = readable(records, Collection.from_json, self.url, None)
        return replace(
            piece,
            listed=tuple(found),
            senseless=tuple(bad),
            regular=_regular(records, _MOST_COLLECTIONS),
        )

    def _about(self, number: int) -> Collection | None:
        try:
            raw = sidecars.read_collection(self.ledger.root, number)
        except (FileNotFoundError, CorruptFileError):
            return None
        return Collection.from_json(raw) if len(raw) > 1 else None


def mark_of(path: os.DirEntry[str] | Path) -> Mark:
    """Give the mark of a file or folder.

    Parameters
    ----------
    path : os.DirEntry or pathlib.Path
        The file.

    Returns
    -------
    tuple of int
        Time of change, number, size, and time of change of these; empty if there is
        no such file.

    Examples
    --------
    >>> mark_of(Path("/no/such/file"))
    ()
    """
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_ctime_ns


def _look(
    folder: Path, pattern: re.Pattern[str], mark: Callable[[os.DirEntry[str]], Mark]
) -> dict[int, Mark]:
    """Give the marks of what bears a number in a folder."""
    try:
        with os.scandir(folder) as entries:
            matches = [(pattern.fullmatch(entry.name), entry) for entry in entries]
    except OSError:
        return {}
    return {int(match[1] or 0): mark(entry) for match, entry in matches if match}


def _mark_of_about(root: Path, number: int) -> Mark:
    return mark_of(root / layout.collection_metadata_path(number))


def _mark_of_records(root: Path, number: int) -> Mark:
    # NOTE: a store that nilearn filled has thousands of these, each looked at once.
    marks = []
    try:
        with os.scandir(root / layout.collection_dir(number)) as entries:
            for entry in entries:
                if entry.name.endswith(_END_OF_SIDECARS):
                    marks.append(mark_of(entry) or _DOUBTFUL)
    except OSError:
        return _DOUBTFUL
    if not marks:
        return ()
    marks.sort()
    digest = hashlib.blake2b(repr(marks).encode(), digest_size=7).digest()
    return marks[-1][0], int.from_bytes(digest)


def _regular(records: Iterable[Mapping[str, Any]], limit: int = _MOST_IMAGES) -> bool:
    """Tell whether each record has an id of its own, an integer of usual size."""
    ids = [raw["id"] for raw in records]
    usual = all(type(each) is int and 0 < each < limit for each in ids)
    return usual and len(set(ids)) == len(ids)


def _is_of(listing: StoredListing | None, number: int) -> bool:
    about = listing.collection if listing else None
    return number < _MOST_COLLECTIONS and (about is None or about["id"] == number)
