"""One database of the index: records of collections and images, to be asked quickly.

A narrow table has the core fields as typed columns, another one the whole records as
text. Images are numbered by collection and id in one number, so that the order of the
table is that of results. A record with a value that SQLite would keep or compare
otherwise than Python is *odd*: it counts as one that any condition may hold for.
"""

from __future__ import annotations

import json
import os
import sqlite3
import zlib
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from intake_neurovault.bodies import Shape
from intake_neurovault.clauses import PLACES, Clause, holds
from intake_neurovault.pieces import (
    EVERYTHING,
    HOME,
    SCHEMA,
    Home,
    Mark,
    Piece,
    home_of,
    rows_of,
    state_of,
)
from intake_neurovault.questions import (
    AT_A_TIME,
    DOUBLED,
    FOLDERS,
    NAMES,
    texts_of,
)

FORMAT = 3
"""Version of the tables; a database of any other version is not used."""

REFUSALS = (sqlite3.Error, OSError, ValueError, TypeError, KeyError, IndexError)
"""What a database that is damaged, or cannot be written, may answer with."""

_PAGE = 8192  # bytes; larger ones cost less to go through, and more to look up
_CACHE = 16_000  # kilobytes
_OF_COLLECTIONS = ("collections", "collection_bodies")
_OF_IMAGES = ("images", "image_bodies")
_OF_FOLDERS = ("folders", "sidecars")
_TABLES = ("homes", "shapes", *_OF_COLLECTIONS, *_OF_IMAGES, *_OF_FOLDERS)

Table = Literal["image_bodies", "collection_bodies"]


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
        self._shapes: dict[int, Shape] = {}
        self._folders: dict[int, tuple[Mark, int]] | None = None
        self.whole = False
        """Whether the collections that were chosen are all that it has."""
        connection.create_function("holds", 3, self._holds, deterministic=True)
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute(f"PRAGMA cache_size = -{_CACHE}")
        connection.execute("CREATE TEMP TABLE visits (home INTEGER PRIMARY KEY)")
        connection.execute("CREATE TEMP TABLE twice (id INTEGER PRIMARY KEY)")
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
        connection.execute(f"PRAGMA page_size = {_PAGE}")
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
        self._connection.execute("DELETE FROM doubled")
        self._connection.execute(f"INSERT INTO doubled {DOUBLED}")
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
        for table, rows in rows_of(piece).items():
            self._insert(table, rows)
        run.execute("COMMIT")
        self.homes[piece.number] = home_of(state_of(piece))

    def add_folder(
        self, number: int, mark: Mark, seen: int, image_ids: Iterable[int]
    ) -> None:
        """Note which images have records in a folder of nilearn's, or replace that.

        Parameters
        ----------
        number : int
            The collection.
        mark : tuple of int
            The mark of its folder, just before it was looked at.
        seen : int
            When that was, in nanoseconds of Unix time.
        image_ids : iterable of int
            The images.
        """
        run = self._connection
        run.execute("BEGIN")
        if number in self.folders:
            run.execute("DELETE FROM sidecars WHERE home = ?", (number,))
        self.folders[number] = mark, seen
        self._insert("folders", [(number, json.dumps(mark), seen)])
        self._insert("sidecars", ((image_id, number) for image_id in image_ids))
        run.execute("COMMIT")

    def _insert(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        for width, some in groupby(rows, key=len):
            marks = ", ".join("?" * width)
            insert = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"
            self._connection.executemany(insert, some)

    def _remove(self, number: int) -> None:
        run = self._connection
        run.execute("DELETE FROM homes WHERE home = ?", (number,))
        if number == EVERYTHING:
            for table in _OF_COLLECTIONS:
                run.execute(f"DELETE FROM {table} WHERE place % 2 = 0")
            return
        for table in _OF_COLLECTIONS:
            run.execute(f"DELETE FROM {table} WHERE place = ?", (2 * number + 1,))
        places = number * PLACES, (number + 1) * PLACES - 1
        for table in _OF_IMAGES:
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
        for number in other.homes if self.homes else ():
            self._remove(number)
        self.visit(other.folders)
        run.execute("DELETE FROM sidecars WHERE home IN (SELECT home FROM visits)")
        for table in _TABLES:
            self._insert(table, other._connection.execute(f"SELECT * FROM {table}"))
        run.execute("COMMIT")
        self.homes |= other.homes

    # ---- asking -------------------------------------------------------------

    @property
    def folders(self) -> dict[int, tuple[Mark, int]]:
        """The marks of nilearn's folders, and when they were looked at."""
        if self._folders is None:
            rows = self.ask(FOLDERS)
            self._folders = {n: (tuple(json.loads(m)), seen) for n, m, seen in rows}
        return self._folders

    def visit(self, homes: Iterable[int]) -> None:
        """Choose the collections that the next questions are about.

        Parameters
        ----------
        homes : iterable of int
            Their ids.
        """
        run, chosen = self._connection.execute, list(homes)
        run("DELETE FROM visits")
        for start in range(0, len(chosen), AT_A_TIME):
            some = chosen[start : start + AT_A_TIME]
            # NOTE: one statement for many rows takes a fifth of the time.
            run(f"INSERT INTO visits VALUES {', '.join(['(?)'] * len(some))}", some)
        self.whole = self.homes.keys() - {EVERYTHING} <= set(chosen)

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

    def doubled(self, twice: Iterable[int]) -> None:
        """Choose the images that count as being in more than one collection.

        Parameters
        ----------
        twice : iterable of int
            Their ids.
        """
        self._connection.execute("DELETE FROM twice")
        rows = ((image_id,) for image_id in twice)
        self._connection.executemany("INSERT INTO twice VALUES (?)", rows)

    def bodies(
        self, table: Table, places: Sequence[int]
    ) -> Generator[tuple[int, int, Shape, bytes]]:
        """Give whole records, of which only so many are held at a time.

        Parameters
        ----------
        table : {"image_bodies", "collection_bodies"}
            What of.
        places : sequence of int
            Their places in the table, ascending.

        Yields
        ------
        place, collection : int
            Where it is, and the number of the collection that it names.
        shape : Shape
            The shape of the record.
        text : bytes
            The record, as `bodies.text_of` wrote it.

        Raises
        ------
        ValueError
            If one is damaged.
        """
        shapes, crc32 = self._shapes, zlib.crc32
        for start in range(0, len(places), AT_A_TIME):
            some = places[start : start + AT_A_TIME]
            with closing(self.ask(texts_of(table, some))) as rows:
                for place, named, shape, crc, text in rows:
                    if crc32(text) != crc:
                        msg = f"the record at {place} is damaged"
                        raise ValueError(msg)
                    known = shapes.get(shape) or self._shape(shape)
                    yield place, named, known, text

    def _shape(self, number: int) -> Shape:
        ((text,),) = self.ask(Clause(NAMES, (number,)))
        return self._shapes.setdefault(number, Shape.read(text))

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
