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
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from intake_neurovault import atomic, layout
from intake_neurovault.census import Census, mark_of, survey
from intake_neurovault.forks import PerProcess
from intake_neurovault.ledger import Ledger, sweep_once
from intake_neurovault.pieces import Mark
from intake_neurovault.segment import REFUSALS, Segment
from intake_neurovault.view import Segments, View

logger = logging.getLogger(__name__)

WORTH_WRITING = 500
"""So many records, read anew, are worth a new file; fewer are read again."""

_KEPT_OPEN = 8  # indexes at a time
_SHARE = 16  # a new file is written when so large a part of it is new
_BACK = 10  # seconds, by which a file is older than any change of it


@dataclass
class Index:
    """What is known of one server in one store; threads take turns.

    Examples
    --------
    >>> index = Index(Path("/no/such/store"), "https://neurovault.org")
    >>> with index.look(offline=True) as view:
    ...     view.refresh([12])
    ...     view.homes[12].listed
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
    segments: Segments = field(default_factory=partial(Segments, None), repr=False)
    """What is known."""
    _mark: Mark = ()
    _user: int | None = None
    _writable: bool = True

    @property
    def path(self) -> Path:
        """The file."""
        return self.root / layout.index_path(self.url)

    @contextmanager
    def look(self, *, offline: bool, lists: bool = True) -> Iterator[View]:
        """Look at the store, and use the index until the context ends.

        Parameters
        ----------
        offline : bool
            Whether nilearn's folders matter as well.
        lists : bool
            Whether the lists of the server matter.

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
                census = Census(Ledger(self.root), self.url, offline)
                seen = survey(self.root, self.url, offline=offline, lists=lists)
                yield View(self.segments, seen, census)
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

    def _reopen(self) -> None:
        mark = mark_of(self.path)
        if mark != self._mark:
            self._forget()
            self.segments.disk = Segment.open(self.path, self.url) if mark else None
            self._mark = mark

    def _forget(self) -> None:
        self.segments.close()
        self.segments = Segments(None)

    def _write(self) -> None:
        """Write a new file, if much has changed since the old one."""
        known = self.segments
        homes = known.disk.homes.values() if known.disk else ()
        total = sum(home.listed + home.loose for home in homes)
        enough = max(self.worth_writing, total // _SHARE)
        if known.fresh is None or known.added < enough or not self._writable:
            return
        try:
            if not self._replace(known.fresh):
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
            if self.segments.disk is None:
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
