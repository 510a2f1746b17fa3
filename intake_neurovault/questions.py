"""What a segment of the index is asked, in SQL.

Each question is about the collections that were chosen before, in the table
``visits``. Names in it are those of our own tables and of core fields; all that comes
from users stands in for question marks.
"""

from __future__ import annotations

from collections.abc import Sequence

from intake_neurovault.clauses import PLACES, Clause

MOST_TERMS = 20
"""So many conditions can be counted at a time."""

AT_A_TIME = 500
"""So many numbers may stand in one question."""

# NOTE: the order of the tables is fixed, or SQLite might begin with the images.
_IMAGES = (
    f"visits CROSS JOIN images ON images.place BETWEEN visits.home * {PLACES} "
    f"AND visits.home * {PLACES} + {PLACES - 1}"
)
_CHOSEN = f"images.place / {PLACES} IN (SELECT home FROM visits)"


def tally(
    clauses: Sequence[Clause], *, alone: bool, doubled: bool, whole: bool = False
) -> Clause:
    """Ask which images fulfil all conditions, and how many do not.

    Those that SQL cannot judge are left out: see `apart`.

    Parameters
    ----------
    clauses : sequence of Clause
        The conditions, at most `MOST_TERMS`.
    alone : bool
        Whether those that are on disk alone count.
    doubled : bool
        Whether any images are in the table ``doubled``.
    whole : bool
        Whether all collections were chosen, so that there is nothing to look up.

    Returns
    -------
    Clause
        Gives one row: how many there are; how many fulfil the first condition, the
        first two, and so on, but not all; how many fail the second condition, the
        third, and so on; the places of those that fulfil all, with commas in between.
    """
    names = [f"c{place}" for place in range(len(clauses))]
    firsts = [" AND ".join(names[:place]) for place in range(1, len(names))]
    tests = [*firsts, *(f"NOT {name}" for name in names[1:])]
    counts = "".join(f", count(*) FILTER (WHERE {test})" for test in tests)
    columns = "".join(
        f", {each.sql} AS {name}" for each, name in zip(clauses, names, strict=True)
    )
    other = "AND images.id NOT IN (SELECT id FROM temp.twice)" if doubled else ""
    # NOTE: the limit keeps SQLite from working out a condition for each count anew.
    sql = (
        f"SELECT count(*){counts}, "
        f"group_concat(place) FILTER (WHERE {' AND '.join(names) or '1'}) FROM "
        f"(SELECT images.place AS place{columns} FROM "
        f"{'images' if whole else _IMAGES} "
        f"WHERE {_source(alone)} AND NOT odd {other} LIMIT -1)"
    )
    return Clause(sql, _values(clauses))


def apart(*, alone: bool, doubled: bool) -> Clause:
    """Ask for the images that SQL cannot judge.

    Parameters
    ----------
    alone : bool
        Whether those that are on disk alone count.
    doubled : bool
        Whether any images are in the table ``doubled``.

    Returns
    -------
    Clause
        Gives the places of the odd ones, and of those that are in more than one
        collection.
    """
    sql = f"SELECT place FROM images WHERE {_source(alone)} AND odd AND {_CHOSEN}"
    if doubled:
        sql += (
            " UNION SELECT place FROM temp.twice CROSS JOIN images "
            f"ON images.id = twice.id WHERE {_source(alone)} AND {_CHOSEN}"
        )
    return Clause(sql)


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
        Gives the collection; whether SQL cannot judge it; the conditions that it
        fails, as the bits of a number; and whether it may hold images.
    """
    bits = [
        f"((NOT {each.sql}) << {place})" for place, each in enumerate(clauses or ())
    ]
    table = "collections"
    if not listed:
        table = "visits CROSS JOIN collections ON place = 2 * visits.home + 1"
    sql = (
        f"SELECT place / 2, odd OR {int(clauses is None)}, {' | '.join(bits) or '0'}, "
        f"number_of_images IS NOT 0 FROM {table} "
        f"WHERE place % 2 = {int(not listed)}"
    )
    return Clause(sql, _values(clauses or ()))


def texts_of(table: str, places: Sequence[int]) -> Clause:
    """Ask for whole records.

    Parameters
    ----------
    table : {"image_bodies", "collection_bodies"}
        What of.
    places : sequence of int
        Their places, at most `AT_A_TIME`.

    Returns
    -------
    Clause
        Gives the place, the number of the collection that the record names, its
        shape, the checksum of its text, and that; in ascending order of places.
    """
    marks = ", ".join("?" * len(places))
    sql = (
        f"SELECT place, named, shape, crc, body FROM {table} "
        f"WHERE place IN ({marks}) ORDER BY place"
    )
    return Clause(sql, tuple(places))


def homes_of(image_ids: Sequence[int]) -> Clause:
    """Ask for the collections that have images.

    Parameters
    ----------
    image_ids : sequence of int
        The images, at most `AT_A_TIME`.

    Returns
    -------
    Clause
        Gives image, collection, and whether it is on disk alone.
    """
    marks = ", ".join("?" * len(image_ids))
    sql = f"SELECT id, place / {PLACES}, alone FROM images WHERE id IN ({marks})"
    return Clause(sql, tuple(image_ids))


def sidecars_of(image_ids: Sequence[int]) -> Clause:
    """Ask for the folders that have records of images.

    Parameters
    ----------
    image_ids : sequence of int
        The images, at most `AT_A_TIME`.

    Returns
    -------
    Clause
        Gives collection and image.
    """
    marks = ", ".join("?" * len(image_ids))
    sql = f"SELECT home, id FROM sidecars WHERE id IN ({marks})"
    return Clause(sql, tuple(image_ids))


FOLDERS = Clause("SELECT home, mark, seen FROM folders")
"""Asks for nilearn's folders, their marks as JSON, and when they were looked at."""

LISTED = Clause("SELECT place / 2 FROM collections WHERE place % 2 = 0")
"""Asks for the collections in the list of all."""

ABOUT = "SELECT about FROM homes WHERE home = ?"
"""Asks for the raw record of a collection as the list of its images has it, in JSON."""

MISSING = "SELECT failures FROM homes WHERE home = ?"
"""Asks what is missing from a piece, in JSON."""

NAMES = "SELECT names FROM shapes WHERE shape = ?"
"""Asks for a shape, in JSON."""

IDS = Clause("SELECT id FROM images")
"""Asks for all images."""

DOUBLED = "SELECT id FROM images GROUP BY id HAVING count(*) > 1"
"""Asks for the images that are in more than one collection."""

KEPT_DOUBLED = Clause("SELECT id FROM doubled")
"""Asks for those that were when the segment was finished."""


def _source(alone: bool) -> str:
    return "1" if alone else "NOT alone"


def _values(clauses: Sequence[Clause]) -> tuple[object, ...]:
    return tuple(value for each in clauses for value in each.values)
