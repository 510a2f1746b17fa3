"""What a segment of the index is asked, in SQL.

Each question is about the collections that were chosen before, in the table
``visits``. Names in it are those of our own tables and of core fields; all that comes
from users stands in for question marks.
"""

from __future__ import annotations

from collections.abc import Sequence

from intake_neurovault.clauses import Clause

PLACES = 2**32
"""How many images a collection has place for in the table ``images``."""

MOST_TERMS = 60
"""So many conditions can be counted at a time."""

# NOTE: the order of the tables is fixed, or SQLite might begin with the images.
_IMAGES = (
    f"visits CROSS JOIN images ON images.place BETWEEN visits.home * {PLACES} "
    f"AND visits.home * {PLACES} + {PLACES - 1}"
)
_BODIES = f"{_IMAGES} CROSS JOIN bodies ON bodies.place = images.place"


def matching(clause: Clause, *, alone: bool) -> Clause:
    """Ask for the images for which a condition may hold.

    Parameters
    ----------
    clause : Clause
        The condition.
    alone : bool
        Whether those that are on disk alone count.

    Returns
    -------
    Clause
        Gives collection, image, and raw record as JSON; in ascending order.
    """
    sql = (
        f"SELECT visits.home, images.place % {PLACES}, body FROM {_BODIES} "
        f"WHERE {_source(alone)} AND (odd OR {clause.sql}) "
        "ORDER BY visits.home, images.place"
    )
    return Clause(sql, clause.values)


def odd(*, alone: bool) -> Clause:
    """Ask for the odd images.

    Parameters
    ----------
    alone : bool
        Whether those that are on disk alone count.

    Returns
    -------
    Clause
        Gives raw records as JSON.
    """
    return Clause(f"SELECT body FROM {_BODIES} WHERE {_source(alone)} AND odd")


def counts(clauses: Sequence[Clause], *, alone: bool) -> Clause:
    """Ask how many images fail which conditions.

    Parameters
    ----------
    clauses : sequence of Clause
        The conditions, at most `MOST_TERMS`.
    alone : bool
        Whether those that are on disk alone count.

    Returns
    -------
    Clause
        Gives conditions, as the bits of a number, and how many images that are not
        odd fail just these.
    """
    failed = _failed(clauses)
    sql = (
        f"SELECT {failed.sql} AS failed, count(*) FROM {_IMAGES} "
        f"WHERE {_source(alone)} AND NOT odd GROUP BY failed"
    )
    return Clause(sql, failed.values)


def collections(clauses: Sequence[Clause] | None, *, listed: bool) -> Clause:
    """Ask which conditions fail for collections.

    Parameters
    ----------
    clauses : sequence of Clause or None
        The conditions, at most `MOST_TERMS`; None if they cannot be written in SQL.
    listed : bool
        Whether all are meant that are in the list of all, or the chosen ones as they
        are on disk.

    Returns
    -------
    Clause
        Gives the collection; its raw record as JSON if it is odd or the conditions
        are not known; the conditions that it fails, as the bits of a number; and
        whether it may hold images.
    """
    failed = _failed(clauses or ())
    table = "collections"
    if not listed:
        table = "visits CROSS JOIN collections ON place = 2 * visits.home + 1"
    sql = (
        f"SELECT place / 2, CASE WHEN odd OR {int(clauses is None)} THEN body END, "
        f"{failed.sql}, number_of_images IS NOT 0 FROM {table} "
        f"WHERE place % 2 = {int(not listed)}"
    )
    return Clause(sql, failed.values)


def collection(number: int, *, listed: bool) -> Clause:
    """Ask for the record of a collection.

    Parameters
    ----------
    number : int
        The collection.
    listed : bool
        Whether as it is in the list of all, or on disk.

    Returns
    -------
    Clause
        Gives the raw record as JSON.
    """
    place = 2 * number + (not listed)
    return Clause("SELECT body FROM collections WHERE place = ?", (place,))


def homes_of(image_ids: Sequence[int]) -> Clause:
    """Ask for the collections that have images.

    Parameters
    ----------
    image_ids : sequence of int
        The images, at most 500.

    Returns
    -------
    Clause
        Gives image and collection.
    """
    marks = ", ".join("?" * len(image_ids))
    sql = f"SELECT id, place / {PLACES} FROM images WHERE id IN ({marks})"
    return Clause(sql, tuple(image_ids))


LISTED = Clause("SELECT place / 2 FROM collections WHERE place % 2 = 0")
"""Asks for the collections in the list of all."""

ABOUT = "SELECT about FROM homes WHERE home = ?"
"""Asks for the raw record of a collection as the list of its images has it, in JSON."""

MISSING = "SELECT failures FROM homes WHERE home = ?"
"""Asks what is missing from a piece, in JSON."""

IDS = Clause("SELECT id FROM images")
"""Asks for all images."""

DOUBLED = Clause("SELECT id FROM images GROUP BY id HAVING count(*) > 1 LIMIT 1")
"""Asks for an image that is in more than one collection."""


def _source(alone: bool) -> str:
    return "1" if alone else "NOT alone"


def _failed(clauses: Sequence[Clause]) -> Clause:
    bits = [f"((NOT {each.sql}) << {place})" for place, each in enumerate(clauses)]
    values = tuple(value for each in clauses for value in each.values)
    return Clause(" | ".join(bits) or "0", values)
