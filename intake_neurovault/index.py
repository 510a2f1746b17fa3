"""The index of a store: what was listed and what is on disk, to be asked quickly.

It consists of a segment on disk, which is never changed, and one of this process
alone, with what has changed since. When much has, both go into a new file that takes
the place of the old one: neither locks nor a clean end matter, and whoever has the old
one open goes on with it.

Nothing of it is believed before the files that it stands for were looked at. Where it
cannot be written it stays with the process.
"""

from __future__ import annotations

import atexit
import logging
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intake_neurovault import atomic, layout
from intake_neurovault.census import Census, Survey, mark_of, survey
from intake_neurovault.forks import PerProcess
from intake_neurovault.ledger import Ledger, sweep_once
from intake_neurovault.pieces import EVERYTHING, Home, Mark
from intake_neurovault.pool import Unwatched
from intake_neurovault.questions import DOUBLED, IDS, LISTED, homes_of
from intake_neurovault.segment import REFUSALS, Segment

logger = logging.getLogger(__name__)

WORTH_WRITING = 500
"""So many records, read anew, are worth a new file; fewer are read again."""

_KEPT_OPEN = 8  # indexes at a time
_SHARE = 16  # a new file is written when so large a part of it is new
_WORTH_A_BAR = 50  # collections
_AT_A_TIME = 500  # ids in one question
_BACK = 10  # seconds, by which a file is older than any change of it

Bar = Callable[[int], AbstractContextManager[Any]]
"""Makes a progress bar for so many collections."""


@dataclass
class Index:
    """What is known of one server in one store; threads take turns.

    Examples
    --------
    >>> index = Index(Path("/no/such/store"), "https://neurovault.org")
    >>> with index.look(offline=True) as view:
    ...     view.refresh([12])
    ...     view.home(12).listed
    0
    >>> index.close()
    """

    root: Path
    """The store."""
    url: str
    """The server."""
    worth_writing: int = WORTH_WRITING
    """So many records, read anew, are worth a new file."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _disk: Segment | None = field(default=None, repr=False)
    _mark: Mark = ()
    _fresh: Segment | None = field(default=None, repr=False)
    _user: int | None = None
    _added: int = 0
    _writable: bool = True
    _known: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def path(self) -> Path:
        """The file."""
        return self.root / layout.index_path(self.url)

    @contextmanager
    def look(self, *, offline: bool) -> Iterator[View]:
        """Look at the store, and use the index until the context ends.

        Parameters
        ----------
        offline : bool
            Whether nilearn's folders matter as well.

        Yields
        ------
        View
            What can be asked.

        Raises
        ------
        sqlite3.Error, OSError, ValueError, TypeError, KeyError, IndexError
            If the index is damaged, which is made anew then; or if it is in use by
            the same thread.
        """
        if self._user == threading.get_ident():
            msg = f"The index {self.path} is in use by the same thread."
            raise ValueError(msg)
        with self._lock:
            try:
                self._user = threading.get_ident()
                self._reopen()
                yield View(self, survey(self.root, self.url, offline=offline))
                self._write()
            except REFUSALS:
                # NOTE: what is on disk is not believed again before it was replaced.
                self._forget()
                self._mark = mark_of(self.path)
                raise
            except BaseException:
                # NOTE: a piece may have been added half.
                self._forget()
                self._mark = ()
                raise
            finally:
                self._user = None

    def close(self) -> None:
        """Close the files; the next look opens them again."""
        with self._lock:
            self._forget()
            self._mark = ()

    @property
    def segments(self) -> list[Segment]:
        """One or two, that of this process first."""
        return [each for each in (self._fresh, self._disk) if each is not None]

    def add(self, census: Census, number: int) -> None:
        """Read a piece of the store anew.

        Parameters
        ----------
        census : Census
            Reads it.
        number : int
            The collection, or `EVERYTHING`.
        """
        if self._fresh is None:
            self._fresh = Segment.create()
        piece = census.read(number)
        self._fresh.add(piece)
        self._added += 1 + len(piece.listed) + len(piece.loose)
        self._known.clear()

    @property
    def listed(self) -> frozenset[int]:
        """The collections in the list of all."""
        if "listed" not in self._known:
            home = next((s for s in self.segments if EVERYTHING in s.homes), None)
            rows = home.ask(LISTED) if home else ()
            self._known["listed"] = frozenset(number for (number,) in rows)
        found: frozenset[int] = self._known["listed"]
        return found

    @property
    def doubled(self) -> bool:
        """Whether an image may be in more than one collection."""
        if "doubled" not in self._known:
            self._known["doubled"] = self._doubled()
        return bool(self._known["doubled"])

    def _doubled(self) -> bool:
        if any(list(segment.ask(DOUBLED)) for segment in self.segments):
            return True
        if self._fresh is None or self._disk is None:
            return False
        ids = [row[0] for row in self._fresh.ask(IDS)]
        for start in range(0, len(ids), _AT_A_TIME):
            homes = self._disk.ask(homes_of(ids[start : start + _AT_A_TIME]))
            if any(home not in self._fresh.homes for _, home in homes):
                return True
        return False

    def _reopen(self) -> None:
        mark = mark_of(self.path)
        if mark != self._mark:
            self._forget()
            self._disk = Segment.open(self.path, self.url) if mark else None
            self._mark = mark

    def _forget(self) -> None:
        for segment in self.segments:
            segment.close()
        self._disk = self._fresh = None
        self._added = 0
        self._known.clear()

    def _write(self) -> None:
        """Write a new file, if much has changed since the old one."""
        homes = self._disk.homes.values() if self._disk else ()
        total = sum(home.listed + home.loose for home in homes)
        enough = max(self.worth_writing, total // _SHARE)
        if self._fresh is None or self._added < enough or not self._writable:
            return
        try:
            if not self._replace(self._fresh):
                return
        except REFUSALS as error:
            logger.debug("The index %s cannot be written: %s", self.path, error)
            self._writable = False
            return
        self._forget()
        self._mark = ()
        sweep_once(self.path.parent)

    def _replace(self, fresh: Segment) -> bool:
        """Write a new file in place of the old one, unless that is another by now."""
        self.path.parent.mkdir(exist_ok=True)
        with atomic.temporary(self.path) as part:
            if self._disk is None:
                new = Segment.create(str(part))
            else:
                shutil.copyfile(self.path, part)
                # NOTE: what was changed in place must not be sealed as ours.
                if mark_of(self.path) != self._mark:
                    return False
                new = Segment.change(str(part))
            with closing(new):
                new.take(fresh)
                new.seal(part, self.url, int(time.time()) // 2 * 2 - _BACK)
            opened = Segment.open(part, self.url)
            if opened is None:
                msg = "its time of change cannot be set"
                raise OSError(msg)
            opened.close()
            part.replace(self.path)
        return True


class View:
    """The index at one time, and the store as it is then.

    Parameters
    ----------
    index : Index
        The index, which nobody else uses meanwhile.
    seen : Survey
        What the store looks like.
    """

    def __init__(self, index: Index, seen: Survey) -> None:
        self.seen = seen
        self._index = index
        self._census = Census(Ledger(index.root), index.url, seen.offline)
        self._sure: set[int] = set()

    @property
    def listed(self) -> frozenset[int]:
        """The collections in the list of all, as it is in the index."""
        return self._index.listed

    @property
    def doubled(self) -> bool:
        """Whether an image may be in more than one collection."""
        return self._index.doubled

    def refresh(self, numbers: Iterable[int], bar: Bar | None = None) -> None:
        """Read anew what has changed.

        Parameters
        ----------
        numbers : iterable of int
            The pieces that must be right.
        bar : callable, optional
            Makes a progress bar, where there is much to read.
        """
        stale = [number for number in numbers if not self._is_sure(number)]
        shown = bar is not None and len(stale) > _WORTH_A_BAR
        with bar(len(stale)) if bar and shown else Unwatched() as progress:
            for number in stale:
                self._index.add(self._census, number)
                self._sure.add(number)
                progress.update(1)

    def _is_sure(self, number: int) -> bool:
        if number not in self._sure:
            home = self.home(number)
            listed = number == EVERYTHING or number in self.listed
            if home is None or not self.seen.unchanged(
                number, home.marks, home.seen, listed=listed
            ):
                return False
            self._sure.add(number)
        return True

    def home(self, number: int) -> Home | None:
        """Give what is known of a piece.

        Parameters
        ----------
        number : int
            The collection, or `EVERYTHING`.

        Returns
        -------
        Home or None
            None if it was never read.
        """
        homes = (segment.homes.get(number) for segment in self._index.segments)
        return next((home for home in homes if home is not None), None)

    def segment(self, number: int) -> Segment:
        """Give the segment that has a piece.

        Parameters
        ----------
        number : int
            The collection, or `EVERYTHING`, which must have been refreshed.

        Returns
        -------
        Segment
            The segment.
        """
        return next(each for each in self._index.segments if number in each.homes)

    def parts(self, numbers: Sequence[int]) -> list[Segment]:
        """Let each segment visit those of some collections that it has.

        Parameters
        ----------
        numbers : sequence of int
            The collections, which must have been refreshed.

        Returns
        -------
        list of Segment
            Those that have any.
        """
        found, left = [], list(numbers)
        for segment in self._index.segments:
            here = [number for number in left if number in segment.homes]
            if here:
                segment.visit(here)
                found.append(segment)
                left = [number for number in left if number not in segment.homes]
        return found


class _Open:
    """The indexes that this process uses."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._indexes: OrderedDict[tuple[Path, str], Index] = OrderedDict()

    def get(self, root: Path, url: str) -> Index:
        oldest = None
        with self._lock:
            found = self._indexes.setdefault((root, url), Index(root, url))
            self._indexes.move_to_end((root, url))
            if len(self._indexes) > _KEPT_OPEN:
                _, oldest = self._indexes.popitem(last=False)
        if oldest is not None:
            oldest.close()
        return found

    def close(self) -> None:
        for index in self._indexes.values():
            index.close()


_OPEN = PerProcess(_Open)


def index_of(root: Path, url: str) -> Index:
    """Give the index of a server's records in a store.

    Parameters
    ----------
    root : pathlib.Path
        The store.
    url : str
        The server.

    Returns
    -------
    Index
        The same one for all threads of a process, as long as it is in use.

    Examples
    --------
    >>> index_of(Path("/no/such/store"), "https://neurovault.org").url
    'https://neurovault.org'
    """
    return _OPEN.get().get(root, url)


@atexit.register
def _close_all() -> None:
    _OPEN.get().close()
