"""Maps that were brought to a grid once, and are read from there afterwards.

They are kept beside nilearn's tree, as long as there is room, for each image and
each way to bring it to a grid. Whether one still is of the original is decided by
what is known of the original: while it lies in the store, by its bytes; once it is
gone, by what the server says of the file.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from intake_neurovault import layout
from intake_neurovault.cuts import Stretch
from intake_neurovault.errors import StoreError
from intake_neurovault.gridded_files import (
    FOLDER,
    Origin,
    Rules,
    checksum,
    encode,
    read_content,
)
from intake_neurovault.ledger import sweep_once
from intake_neurovault.mirror import Mirror
from intake_neurovault.modes import KEEPING
from intake_neurovault.nifti import Reader, warn_of_coverage
from intake_neurovault.receipts import Entry, stamp_of
from intake_neurovault.records import ImageFile
from intake_neurovault.room import Room, touch
from intake_neurovault.shelf import is_same, look
from intake_neurovault.stack import StackedMap

logger = logging.getLogger(__name__)

_ITEM = np.dtype(np.float32).itemsize
_MOST_SEEN = 1 << 16
_TRY_AGAIN = 60.0  # seconds after a store could not be written

_Stamp = tuple[int, int, int]


@dataclass(slots=True)
class _Seen:
    """What a process has found out of one file, and of the original behind it."""

    stamp: _Stamp
    """State of the file then."""
    original: _Stamp | None
    """State of the original then; None if it was gone."""
    asked: tuple[object, ...]
    """For whom it was found to be the right one."""
    offset: int
    """Bytes before its first value."""
    total: int
    """The sum of its values."""
    coverage: float
    """How much of the grid they cover."""
    summed: bool = False
    """Whether its values were found to have that sum."""


# NOTE: looking at both files again is enough to know that nothing has changed.
_SEEN: dict[str, _Seen] = {}
_REFUSED: dict[Path, float] = {}


@dataclass(frozen=True)
class Gridded:
    """The gridded maps of a store: looked for before originals, kept after.

    Examples
    --------
    >>> from intake_neurovault.vault import Vault
    >>> Vault.parse(keep_gridded="1 GB").gridded.limit
    1000000000
    """

    mirror: Mirror
    """The server and the store of the originals, and what may be asked."""
    limit: int
    """Bytes of gridded maps that are kept."""

    def load(
        self, wanted: StackedMap, reader: Reader, stretches: Sequence[Stretch]
    ) -> bool:
        """Read a part of a map, if the map is kept.

        Parameters
        ----------
        wanted : StackedMap
            The map.
        reader : Reader
            How it is brought to its grid.
        stretches : sequence of (int, memoryview)
            Number of the first voxel, and the memory for it and the next.

        Returns
        -------
        bool
            Whether the memory is filled. False if the map is not kept, or is not of
            what the mode asks for; the memory then may hold anything.

        Warns
        -----
        NeuroVaultWarning
            If something is read, and the map's field of view covers less than half of
            the grid.
        """
        rules, file = Rules.of(reader, wanted.discrete), wanted.file
        if rules is None or file is None:
            return False
        path = rules.path(file.collection_id, file.image_id)
        place = f"{self.mirror.store.root}/{path}"
        try:
            with FileIO(place) as opened:
                found = os.fstat(opened.fileno())
                seen = self._look(place, opened, found, rules, file)
                if seen is None or not _filled(opened, seen, rules, stretches):
                    return False
        except FileNotFoundError:
            return False
        except OSError as error:
            logger.info("Passed over: %s cannot be read (%s).", place, error)
            return False
        touch(place, found)
        # NOTE: who reads nothing only asks whether the map is kept.
        if stretches:
            warn_of_coverage(seen.coverage, rules.grid, wanted.label)
        return True

    def read(
        self, wanted: StackedMap, reader: Reader, path: Path
    ) -> NDArray[np.float32]:
        """Read a map from its original as the reader does, and keep it.

        Parameters
        ----------
        wanted : StackedMap
            The map.
        reader : Reader
            How it is brought to its grid.
        path : pathlib.Path
            The original.

        Returns
        -------
        ndarray
            What the reader gives.

        Raises
        ------
        CorruptFileError, GeometryError
            As the reader does; never because something cannot be kept.

        Warns
        -----
        NeuroVaultWarning
            If something is read, and the map's field of view covers less than half of
            the grid.
        """
        rules, file = Rules.of(reader, wanted.discrete), wanted.file
        if rules is None or file is None or path != self.mirror.store.place(file):
            return reader(path, discrete=wanted.discrete, label=wanted.label)
        state, source = look(path), self.mirror.store.receipt(file)
        values, coverage = reader.read(
            path, discrete=wanted.discrete, label=wanted.label
        )
        # NOTE: the original may have been replaced while it was read.
        if source is not None and state is not None and is_same(state, look(path)):
            self._keep(file, rules, Origin(source, coverage), values)
        warn_of_coverage(coverage, rules.grid, wanted.label)
        return values

    def _keep(
        self,
        file: ImageFile,
        rules: Rules,
        origin: Origin,
        values: NDArray[np.float32],
    ) -> None:
        store, now = self.mirror.store, time.monotonic()
        refused = _REFUSED.get(store.root)
        if refused is not None and now - refused < _TRY_AGAIN:
            return
        data = encode(rules, origin, values, f"NeuroVault {file.label}")
        if not Room(store.root / FOLDER, self.limit).claim(len(data)):
            return
        try:
            store.save_bytes(rules.path(file.collection_id, file.image_id), data)
        except StoreError as error:
            if _REFUSED.setdefault(store.root, now) == now:
                logger.warning("Maps on their grid are not kept: %s", error)
            _REFUSED[store.root] = now

    def _look(
        self,
        place: str,
        opened: FileIO,
        found: os.stat_result,
        rules: Rules,
        file: ImageFile,
    ) -> _Seen | None:
        """Tell whether a file is a whole map of what is asked for."""
        source = layout.image_path(file.collection_id, file.image_id)
        state = _state(f"{self.mirror.store.root}/{source}")
        original = state and stamp_of(state)
        listings = self.mirror.listings
        asked = (file, listings.mode, listings.since)
        seen = _SEEN.get(place)
        known = (stamp_of(found), original, asked)
        if seen is not None and known == (seen.stamp, seen.original, seen.asked):
            return seen
        # NOTE: where all maps are kept none is written, which would clear the folder.
        sweep_once(Path(place).parent)
        content = read_content(opened, found.st_size)
        if content is None or content.rules != rules:
            logger.info("Passed over: %s is no whole gridded map.", place)
            return None
        if not self._is_of(content.origin.source, file, state):
            return None
        if len(_SEEN) >= _MOST_SEEN:
            _SEEN.clear()
        origin = content.origin
        seen = _Seen(*known, content.offset, content.total, origin.coverage)
        _SEEN[place] = seen
        return seen

    def _is_of(
        self, source: Entry, file: ImageFile, state: os.stat_result | None
    ) -> bool:
        """Tell whether what a map was made of is what is wanted in this mode."""
        if file.sha256 is not None:
            return source.sha256 == file.sha256
        mode, store = self.mirror.listings.mode, self.mirror.store
        same = source.file is not None and file.same_bytes_as(source.file)
        # NOTE: what was not downloaded here may have been edited by hand, which its
        # length tells; and once it is gone, nothing says how old it was.
        served = source.added is not None or source.size == file.file_size
        still_same = same and served and mode != "overwrite"
        if state is None:
            return still_same
        if source.holds_for(state):
            if mode in KEEPING and not source.is_elsewhere(file):
                return True
            if mode == "update" and same:
                return True
        if self.mirror.kept(file) is not None:
            entry = store.receipt(file)
            return entry is not None and entry.sha256 == source.sha256
        gone = look(store.place(file)) is None or store.is_unusable(file)
        return still_same and gone


def _state(place: str) -> os.stat_result | None:
    # NOTE: making a path object takes longer than asking the system.
    try:
        return os.stat(place)  # noqa: PTH116
    except OSError:
        return None


def _filled(
    opened: FileIO, seen: _Seen, rules: Rules, stretches: Sequence[Stretch]
) -> bool:
    """Read stretches; a whole map is summed up when a process reads it first."""
    for first, memory in stretches:
        opened.seek(seen.offset + first * _ITEM)
        if opened.readinto(memory) != len(memory):
            return False
        if not seen.summed and len(memory) == rules.data_bytes:
            if checksum(memory) != seen.total:
                logger.info("Passed over: the values of %s are damaged.", opened.name)
                return False
            seen.summed = True
    return True
