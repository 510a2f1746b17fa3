"""What the index keeps of a store: pieces, their marks, and the rows they become.

A piece is the list of all collections, or what is known of the images of one. Marks
are values that differ when files do.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from types import MappingProxyType
from typing import Any

from intake_neurovault.bodies import Shape, number_of, text_of
from intake_neurovault.clauses import PLACES, microseconds, storable
from intake_neurovault.errors import Failure
from intake_neurovault.ledger import StoredListing
from intake_neurovault.records import Collection, Image
from intake_neurovault.schema import COLLECTION_KINDS, IMAGE_KINDS, Kind
from intake_neurovault.values import instant

Mark = tuple[int, ...]
"""What changes with a file: when it was changed last, in nanoseconds, then more; empty
for a file that is not there."""

EVERYTHING = 0
"""Stands for the list of all collections, where numbers stand for collections."""

SETTLED = 2_000_000_000
"""Nanoseconds after which a change is sure to show in the time of change."""

# NOTE: long texts, and addresses that nobody filters by, stay in the records.
_LONG = frozenset(
    name
    for names in (
        "description url file collection figure thumbnail reduced_representation",
        "surface_left_file surface_right_file label_description_file nidm_results_ttl",
        "contrast_definition_cogatlas cognitive_paradigm_description_url",
        "download_url full_dataset_url inclusion_exclusion_criteria quality_control",
        "order_of_preprocessing_operations contributors authors",
    )
    for name in names.split()
)


# NOTE: SQLite reads a row from its beginning to the last column that it needs.
_USUAL = [
    *("image_type", "map_type", "is_thresholded", "not_mni", "number_of_subjects"),
    *("number_of_images", "DOI", "analysis_level", "modality", "is_valid"),
    *("cognitive_paradigm_cogatlas", "brain_coverage"),
]


def _columns(kinds: Mapping[str, Kind]) -> Mapping[str, Kind]:
    names = [name for name in dict.fromkeys([*_USUAL, *kinds]) if name in kinds]
    return MappingProxyType({n: kinds[n] for n in names if n not in _LONG})


IMAGE_COLUMNS = _columns(IMAGE_KINDS)
"""The core fields of images that are columns, and their types."""

COLLECTION_COLUMNS = _columns(COLLECTION_KINDS)
"""The core fields of collections that are columns, and their types."""

_TYPES = {"text": "TEXT", "float": "REAL"}


def _typed(columns: Mapping[str, Kind]) -> str:
    return ", ".join(f'"{n}" {_TYPES.get(k, "INTEGER")}' for n, k in columns.items())


SCHEMA = f"""
CREATE TABLE facts (name TEXT PRIMARY KEY, value);
CREATE TABLE homes (home INTEGER PRIMARY KEY, marks, seen, complete, fetched, regular,
                    listed, loose, trouble, about, failures);
CREATE TABLE collections (place INTEGER PRIMARY KEY, odd,
                          {_typed(COLLECTION_COLUMNS)});
CREATE TABLE images (place INTEGER PRIMARY KEY, alone, odd, {_typed(IMAGE_COLUMNS)});
CREATE TABLE collection_bodies (place INTEGER PRIMARY KEY, named, shape, crc, body);
CREATE TABLE image_bodies (place INTEGER PRIMARY KEY, named, shape, crc, body);
CREATE TABLE shapes (shape INTEGER PRIMARY KEY, names);
CREATE TABLE doubled (id INTEGER PRIMARY KEY);
CREATE TABLE folders (home INTEGER PRIMARY KEY, mark, seen);
CREATE TABLE sidecars (id INTEGER, home INTEGER, PRIMARY KEY (id, home)) WITHOUT ROWID;
CREATE INDEX images_by_id ON images (id);
CREATE INDEX odd_images ON images (place) WHERE odd;
"""
"""The tables. An image is at its collection's number times 2**32, plus its own; a
collection at twice its number, plus one for its record on disk."""


@dataclass(frozen=True)
class Marks:
    """What one piece looked like at one time.

    Examples
    --------
    >>> Marks(listing=(1, 2, 3)).settled(before=SETTLED + 2)
    True
    """

    listing: Mark = ()
    """Of the file with the list."""
    folder: Mark = ()
    """Of nilearn's folder."""
    records: Mark = ()
    """Of the records in that folder, where there are any that no list has."""
    about: Mark = ()
    """Of the record of the collection."""

    def settled(self, before: int) -> bool:
        """Tell whether equal marks at a later time mean that nothing changed.

        Parameters
        ----------
        before : int
            When reading began, in nanoseconds of Unix time.

        Returns
        -------
        bool
            False if something had changed so shortly before that another change may
            have left the same time of change.
        """
        marks = (self.listing, self.folder, self.records, self.about)
        return all(mark[0] < before - SETTLED for mark in marks if mark)


@dataclass(frozen=True)
class Piece:
    """What the index keeps of one piece of a store."""

    number: int
    """The collection, or `EVERYTHING`."""
    marks: Marks
    """What it looked like just before it was read."""
    seen: int
    """When that was, in nanoseconds of Unix time."""
    listing: StoredListing | None = None
    """The list as saved."""
    listed: tuple[Collection | Image, ...] = ()
    """The records in the list."""
    loose: tuple[Image, ...] = ()
    """The records that are on disk only."""
    about: Collection | None = None
    """The record of the collection on disk."""
    lost: tuple[Failure, ...] = ()
    """The records on disk that cannot be read, and that the list does not have."""
    senseless: tuple[Failure, ...] = ()
    """Records in the list that make no sense."""
    senseless_loose: tuple[Failure, ...] = ()
    """Records on disk that make no sense."""
    regular: bool = True
    """Whether the index can hold it: each record has an id of its own, which is an
    integer of usual size."""


@dataclass(frozen=True, slots=True)
class Home:
    """What is known at once of a collection, or of the list of all."""

    marks: Marks
    """What its files looked like."""
    seen: int
    """When that was, in nanoseconds of Unix time."""
    complete: bool
    """Whether there is a list with every record in it."""
    fetched: float
    """When the server gave it (Unix time); 0 if it never did."""
    regular: bool
    """Whether the index can hold all of it."""
    listed: int
    """How many records are from the list."""
    loose: int
    """How many are from the disk alone."""
    trouble: bool
    """Whether something is missing."""
    calm: bool
    """Whether an equal mark of the list means that it did not change since."""
    calm_on_disk: bool
    """Whether this is true of the marks of nilearn's folder, and of the records."""


@dataclass(frozen=True)
class Missing:
    """What is missing from one piece."""

    listing: tuple[Failure, ...] = ()
    """What the server could not give."""
    lost: tuple[Failure, ...] = ()
    """What is on disk and cannot be read."""
    senseless: tuple[Failure, ...] = ()
    """Records in the list that make no sense."""
    senseless_loose: tuple[Failure, ...] = ()
    """Records on disk that make no sense."""


HOME = "marks, seen, complete, fetched, regular, listed, loose, trouble"
"""The columns of the table ``homes`` that are read at once."""


def home_of(row: Sequence[Any]) -> Home:
    """Read what is known at once of a piece.

    Parameters
    ----------
    row : sequence
        The values of `HOME`.

    Returns
    -------
    Home
        The same.

    Examples
    --------
    >>> home_of(state_of(Piece(12, Marks(), seen=0))).complete
    False
    """
    text, seen, complete, fetched, regular, listed, loose, trouble = row
    marks = Marks(*map(tuple, json.loads(text)))
    return Home(
        marks,
        seen,
        bool(complete),
        fetched,
        bool(regular),
        listed,
        loose,
        bool(trouble),
        calm=Marks(marks.listing).settled(seen),
        calm_on_disk=Marks(folder=marks.folder, records=marks.records).settled(seen),
    )


def state_of(piece: Piece) -> tuple[Any, ...]:
    """Write what is known at once of a piece.

    Parameters
    ----------
    piece : Piece
        The piece.

    Returns
    -------
    tuple
        The values of `HOME`.

    Examples
    --------
    >>> state_of(Piece(12, Marks(), seen=0))
    ('[[], [], [], []]', 0, False, 0.0, True, 0, 0, False)
    """
    listing = piece.listing
    complete = listing is not None and listing.complete
    fetched = listing.fetched if listing is not None and complete else 0.0
    counts = len(piece.listed), len(piece.loose)
    marks = json.dumps(astuple(piece.marks))
    trouble = any(astuple(_missing(piece)))
    return marks, piece.seen, complete, fetched, piece.regular, *counts, trouble


def rows_of(piece: Piece) -> dict[str, list[tuple[Any, ...]]]:
    """Write the rows of a piece.

    Parameters
    ----------
    piece : Piece
        The piece.

    Returns
    -------
    dict of str to list of tuple
        The rows of each table, one value for each column.

    Examples
    --------
    >>> rows_of(Piece(12, Marks(), seen=0))["homes"][0][:2]
    (12, '[[], [], [], []]')
    """
    rows: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    rows["homes"].append(_home_row(piece))
    number = piece.number
    abouts: list[tuple[int, Collection | Image]] = []
    if piece.about is not None:
        abouts = [(2 * number + 1, piece.about)]
    if number == EVERYTHING:
        abouts = [(2 * each.id, each) for each in piece.listed]
    for place, about in abouts if piece.regular else ():
        cells = cells_of(about.metadata, COLLECTION_COLUMNS)
        rows["collections"].append((place, *cells))
        rows["collection_bodies"].append((place, about.id, *_body(about)))
    for alone, images in enumerate((piece.listed, piece.loose)):
        for image in images if number and piece.regular else ():
            place = number * PLACES + image.id
            cells = cells_of(image.metadata, IMAGE_COLUMNS)
            rows["images"].append((place, alone, *cells))
            home = image.metadata["collection_id"]
            rows["image_bodies"].append((place, home, *_body(image)))
    records = (*piece.listed, *piece.loose, *(about for _, about in abouts))
    shapes = set(map(Shape.of, records))
    rows["shapes"] += [(number_of(each), each.write()) for each in shapes]
    return rows


def _body(record: Collection | Image) -> tuple[int, int, bytes]:
    text = text_of(record)
    return number_of(Shape.of(record)), zlib.crc32(text), text


def _home_row(piece: Piece) -> tuple[Any, ...]:
    about = piece.listing.collection if piece.listing else None
    failures = {
        kind: [list(asdict(each).values()) for each in some]
        for kind, some in vars(_missing(piece)).items()
    }
    text = None if about is None else json.dumps(about)
    return (piece.number, *state_of(piece), text, json.dumps(failures))


def _missing(piece: Piece) -> Missing:
    listing = piece.listing
    listed = listing.failures if listing is not None and listing.complete else ()
    return Missing(listed, piece.lost, piece.senseless, piece.senseless_loose)


def cells_of(
    metadata: Mapping[str, Any], columns: Mapping[str, Kind]
) -> list[int | float | str | None]:
    """Write the metadata of a record.

    Parameters
    ----------
    metadata : mapping
        Cleaned metadata.
    columns : mapping of str to Kind
        The columns.

    Returns
    -------
    list
        Whether the record is odd: whether SQLite would keep or compare a value
        otherwise than Python; then one value for each column.

    Examples
    --------
    >>> cells_of({"name": "a", "age": 30.5}, {"name": "text", "age": "float"})
    [False, 'a', 30.5]
    """
    cells: list[Any] = [False]
    for name, kind in columns.items():
        value = metadata.get(name)
        if value is not None and kind == "date":
            moment = instant(value)
            value = None if moment is None else microseconds(moment)
            cells[0] |= moment is None
        elif value is not None and not storable(value):
            cells[0], value = True, None
        cells.append(value)
    return cells
