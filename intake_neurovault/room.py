"""Room for files that can be made again: the least recently used ones go first.

How much there is is counted now and then, and guessed in between from what this
process has added. Processes that fill one folder together therefore exceed the limit
a little for a moment, and nobody waits for anybody.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from intake_neurovault.forks import PerProcess

logger = logging.getLogger(__name__)

_LEVELS = (
    re.compile(r".+_[0-9a-f]{16}"),
    re.compile(r"collection_[1-9][0-9]{0,18}"),
    re.compile(r"image_[1-9][0-9]{0,18}\.nii"),
)
_LEFT = 0.9  # of the limit, once it was reached
_HOUR_NS = 3600 * 10**9


@dataclass
class _Tally:
    """What is known of a folder."""

    total: int
    """Bytes in it, as far as is known."""
    unseen: int = 0
    """Bytes that were added since somebody looked."""


_TALLIES: PerProcess[dict[tuple[Path, int], _Tally]] = PerProcess(dict)
_LOCK = PerProcess(threading.Lock)


class _File(NamedTuple):
    used: float
    size: int
    path: str


@dataclass(frozen=True)
class Room:
    """A folder of gridded maps, and how much of them may be kept.

    Examples
    --------
    >>> room = Room(Path("/no/such/folder"), limit=1000)
    >>> room.claim(800), room.claim(1200)
    (True, False)
    """

    folder: Path
    """The folder."""
    limit: int
    """Bytes."""

    def claim(self, size: int) -> bool:
        """Make room for a file that is about to be written.

        Parameters
        ----------
        size : int
            Its bytes.

        Returns
        -------
        bool
            False if it is larger than all of the room.
        """
        if size > self.limit:
            return False
        with _LOCK.get():
            tallies = _TALLIES.get()
            tally = tallies.get((self.folder, self.limit))
            if tally is None or self._may_be_full(tally, size):
                tally = _Tally(self._shrink(size))
                tallies[self.folder, self.limit] = tally
            tally.total += size
            tally.unseen += size
        return True

    def _may_be_full(self, tally: _Tally, size: int) -> bool:
        """Tell whether to look again: others may have added as much as this process."""
        least, most = self.limit // 100, self.limit // 20
        step = min(max((self.limit - tally.total) // 2, least), most)
        return tally.total + size > self.limit or tally.unseen > step

    def _shrink(self, size: int) -> int:
        """Remove what was not used for longest, if need be; give what is left."""
        files = list(_files(str(self.folder)))
        total = sum(each.size for each in files)
        if total + size <= self.limit:
            return total
        before = total
        for each in sorted(files):
            if total + size <= self.limit * _LEFT:
                break
            with suppress(OSError):
                Path(each.path).unlink()
            total -= each.size
        logger.info("Removed %d bytes of gridded maps to make room.", before - total)
        return total


def touch(path: str, found: os.stat_result) -> None:
    """Note that a file is in use, once an hour.

    Parameters
    ----------
    path : str
        The file.
    found : os.stat_result
        Its state. The time of last change stays as it is.
    """
    now = time.time_ns()
    if now - found.st_atime_ns > _HOUR_NS:
        # NOTE: the file may be another user's, who will do the same.
        with suppress(OSError):
            os.utime(path, ns=(now, found.st_mtime_ns))


def _files(folder: str, level: int = 0) -> Iterator[_File]:
    """Give the gridded maps in a folder; links are not followed."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not _LEVELS[level].fullmatch(entry.name):
                continue
            if level + 1 < len(_LEVELS):
                if entry.is_dir(follow_symlinks=False):
                    yield from _files(entry.path, level + 1)
            elif entry.is_file(follow_symlinks=False):
                yield from _file(entry)


def _file(entry: os.DirEntry[str]) -> Iterator[_File]:
    # NOTE: another process may have removed it meanwhile.
    with suppress(OSError):
        found = entry.stat(follow_symlinks=False)
        used = max(found.st_atime, found.st_mtime)
        yield _File(used, found.st_size, entry.path)
