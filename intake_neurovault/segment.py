"""One database of the index: records of collections and images, to be asked quickly.

A narrow table has the core fields as typed columns, another one the raw records as
JSON. Images are numbered by collection and id in one number, so that the order of the
table is that of results. A record with a value that SQLite would keep or compare
otherwise than Python is *odd*: it counts as one that any condition may hold for.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from intake_neurovault.clauses import Clause, holds
from intake_neurovault.errors import Failure
from intake_neurovault.pieces import (
    COLLECTION_COLUMNS,
    EVERYTHING,
    HOME,
    IMAGE_COLUMNS,
    SCHEMA,
    Home,
    Missing,
    Piece,
    cells_of,
    home_of,
    home_row,
    state_of,
)
from intake_neurovault.questions import ABOUT, MISSING, PLACES
from intake_neurovault.records import Collection, Image

FORMAT = 1
"""Version of the tables; a database of any other version is not used."""

REFUSALS = (sqlite3.Error, OSError, ValueError, TypeError, KeyError, IndexError)
"""What a database that is damaged, or cannot be written, may answer with."""

_TABLES = ("homes", "collections", "images", "bodies")


class Segment:
    """One database.

    Parameters
    ----------
    connection : sqlite3.Connection
        A connection to it, which threads may use one at a time.

    Examples
    --------
    >>> from intake_neurovault.pieces import Marks
    >>> with closing(Segment.create()) as segment:
    ...     segment.add(Piece(12, Marks(), seen=0))
    ...     list(segment.homes)
    [12]
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._raised: list[BaseException] = []
        connection.create_function("holds", 3, self._holds, deterministic=True)
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("CREATE TEMP TABLE visits (home INTEGER PRIMARY KEY)")
        rows = connection.execute(f"SELECT home, {HOME} FROM homes")
        self.homes: dict[int, Home] = {row[0]: home_of(row[1:]) for row in rows}

    @classmethod
    def create(cls, path: str = "") -> Segment:
        """Make an empty one.

        Parameters
        ----------
        path : str
            An empty file. Without, it ends with the process, and goes to the
            system's folder for temporary files when it grows.

        Returns
        -------
        Segment
            The segment.
        """
        connection = _connect(path)
        connection.executescript(SCHEMA)
        return cls(connection)

    @classmethod
    def change(cls, path: str) -> Segment:
        """Open one to change it; nobody else may have it open.

        Parameters
        ----------
        path : str
            Its file.

        Returns
        -------
        Segment
            The segment.
        """
        return cls(_connect(path))

    @classmethod
    def open(cls, path: Path, url: str) -> Segment | None:
        """Open one that never changes.

        Parameters
        ----------
        path : pathlib.Path
            Its file.
        url : str
            The server whose records are wanted.

        Returns
        -------
        Segment or None
            None if it is absent, damaged, unfinished, of another version or server,
            or was changed in place.
        """
        connection = None
        try:
            # NOTE: a file that is not to change takes no locks, which network file
            # systems may not have.
            place = f"file:{quote(str(path))}?mode=ro&immutable=1"
            connection = sqlite3.connect(
                place, uri=True, isolation_level=None, check_same_thread=False
            )
            facts = dict(connection.execute("SELECT name, value FROM facts"))
            whole = facts.pop("changed", None) == path.stat().st_mtime_ns
            if whole and facts == {"format": FORMAT, "url": url}:
                return cls(connection)
        except REFUSALS:
            pass
        if connection is not None:
            connection.close()
        return None

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    def seal(self, path: Path, url: str, moment: int) -> None:
        """Close a finished one, and mark its file as whole.

        Parameters
        ----------
        path : pathlib.Path
            Its file.
        url : str
            The server whose records it has.
        moment : int
            A time of change that its file is to have, whole seconds of Unix time;
            whoever changes the file in place gives it another one.
        """
        self._connection.execute("DELETE FROM facts")
        changed = moment * 10**9
        facts = {"format": FORMAT, "url": url, "changed": changed}
        self._connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
        self.close()
        os.utime(path, ns=(changed, changed))

    # ---- writing ------------------------------------------------------------

    def add(self, piece: Piece) -> None:
        """Add a piece, or replace it.

        Parameters
        ----------
        piece : Piece
            What was read of the store.
        """
        run = self._connection
        run.execute("BEGIN")
        self._remove(piece.number)
        run.execute(_insert("homes", 11), home_row(piece))
        if piece.number == EVERYTHING and piece.regular:
            rows = [_collection_row(2 * each.id, each) for each in piece.listed]
            run.executemany(_insert("collections", len(COLLECTION_COLUMNS) + 3), rows)
        elif piece.regular:
            self._add_images(piece)
        run.execute("COMMIT")
        self.homes[piece.number] = home_of(state_of(piece))

    def _add_images(self, piece: Piece) -> None:
        run, base = self._connection, piece.number * PLACES
        if piece.about is not None:
            row = _collection_row(2 * piece.number + 1, piece.about)
            run.execute(_insert("collections", len(row)), row)
        for alone, images in enumerate((piece.listed, piece.loose)):
            rows = [
                (base + each.id, alone, *cells_of(each.metadata, IMAGE_COLUMNS))
                for each in images
            ]
            run.executemany(_insert("images", len(IMAGE_COLUMNS) + 3), rows)
            bodies = [(base + each.id, json.dumps(each.raw)) for each in images]
            run.executemany(_insert("bodies", 2), bodies)

    def _remove(self, number: int) -> None:
        run = self._connection
        run.execute("DELETE FROM homes WHERE home = ?", (number,))
        if number == EVERYTHING:
            run.execute("DELETE FROM collections WHERE place % 2 = 0")
            return
        run.execute("DELETE FROM collections WHERE place = ?", (2 * number + 1,))
        places = number * PLACES, (number + 1) * PLACES - 1
        for table in ("images", "bodies"):
            run.execute(f"DELETE FROM {table} WHERE place BETWEEN ? AND ?", places)

    def take(self, other: Segment) -> None:
        """Add all pieces of another segment, or replace them.

        Parameters
        ----------
        other : Segment
            The other one.
        """
        run = self._connection
        run.execute("BEGIN")
        for number in other.homes:
            self._remove(number)
        for table in _TABLES:
            rows = other._connection.execute(f"SELECT * FROM {table}")
            run.executemany(_insert(table, len(rows.description)), rows)
        run.execute("COMMIT")
        self.homes |= other.homes

    # ---- asking -------------------------------------------------------------

    def visit(self, homes: Iterable[int]) -> None:
        """Choose the collections that the next questions are about.

        Parameters
        ----------
        homes : iterable of int
            Their ids.
        """
        self._connection.execute("DELETE FROM visits")
        rows = ((home,) for home in homes)
        self._connection.executemany("INSERT INTO visits VALUES (?)", rows)

    def ask(self, question: Clause) -> Generator[tuple[Any, ...]]:
        """Ask a question of :mod:`intake_neurovault.questions`.

        Parameters
        ----------
        question : Clause
            The question.

        Yields
        ------
        tuple
            The answers, one by one.
        """
        try:
            run = self._connection.execute
            with closing(run(question.sql, question.values)) as rows:
                yield from rows
        except sqlite3.Error:
            # NOTE: SQLite would hide what ended a test, such as Ctrl-C.
            if self._raised:
                raise self._raised.pop() from None
            raise

    def about(self, number: int) -> dict[str, Any] | None:
        """Give the raw record of a collection as the list of its images has it.

        Parameters
        ----------
        number : int
            The collection.

        Returns
        -------
        dict or None
            The record; None if there is none.
        """
        row = next(self.ask(Clause(ABOUT, (number,))), None)
        return json.loads(row[0]) if row and row[0] else None

    def missing(self, number: int) -> Missing:
        """Tell what is missing from a piece.

        Parameters
        ----------
        number : int
            The collection, or `EVERYTHING`.

        Returns
        -------
        Missing
            The failures.
        """
        (text,) = next(self.ask(Clause(MISSING, (number,))))
        kinds = json.loads(text).items()
        return Missing(
            **{kind: tuple(Failure(*each) for each in some) for kind, some in kinds}
        )

    def _holds(self, test: str, kind: str, value: Any) -> bool:
        try:
            return holds(test, kind, value)
        except BaseException as error:
            self._raised.append(error)
            raise


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # NOTE: whatever ends early is thrown away as a whole.
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def _insert(table: str, width: int) -> str:
    return f"INSERT INTO {table} VALUES ({', '.join('?' * width)})"


def _collection_row(place: int, record: Collection | Image) -> tuple[Any, ...]:
    odd, *cells = cells_of(record.metadata, COLLECTION_COLUMNS)
    return (place, odd, json.dumps(record.raw), *cells)
