"""The segments of an index as one, and what a store looks like at one time."""

from __future__ import annotations

import json
import time
from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from intake_neurovault.bodies import collection_of
from intake_neurovault.census import Census, Survey
from intake_neurovault.clauses import Clause
from intake_neurovault.errors import Failure
from intake_neurovault.pieces import (
    EVERYTHING,
    Home,
    Marks,
    Missing,
    Piece,
)
from intake_neurovault.pool import Unwatched
from intake_neurovault.questions import (
    ABOUT,
    AT_A_TIME,
    DOUBLED,
    IDS,
    KEPT_DOUBLED,
    LISTED,
    MISSING,
    homes_of,
    sidecars_of,
)
from intake_neurovault.records import Collection
from intake_neurovault.segment import Segment

_WORTH_A_BAR = 50  # collections
_NAMES_A_RECORD = 100  # so many are read anew in the time of one record

Bar = Callable[[int], AbstractContextManager[Any]]
"""Makes a progress bar for so many collections."""


@dataclass
class Segments:
    """A segment on disk, which never changes, and one with what has since.

    Examples
    --------
    >>> from intake_neurovault.pieces import Marks
    >>> segments = Segments(None)
    >>> segments.add(Piece(12, Marks(), seen=0))
    >>> list(segments.homes), segments.added
    ([12], 1)
    >>> segments.close()
    """

    disk: Segment | None
    """The one on disk."""
    fresh: Segment | None = None
    """The other one, of this process alone."""
    added: int = 0
    """How much is in that: records, and pieces."""
    _known: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def all(self) -> list[Segment]:
        """Those there are, the more recent one first."""
        return [each for each in (self.fresh, self.disk) if each is not None]

    def own(self) -> Segment:
        """Give the one of this process, which is made where there is none."""
        if self.fresh is None:
            self.fresh = Segment.create()
        return self.fresh

    def add(self, piece: Piece) -> None:
        """Add a piece, or replace it.

        Parameters
        ----------
        piece : Piece
            What was read of the store.
        """
        self.own().add(piece)
        self.added += 1 + len(piece.listed) + len(piece.loose)
        self._known.clear()

    def close(self) -> None:
        """Close both."""
        for segment in self.all:
            segment.close()

    def of(self, number: int) -> Segment:
        """Give the segment that has a piece.

        Parameters
        ----------
        number : int
            The collection, or `EVERYTHING`.

        Returns
        -------
        Segment
            The segment.

        Raises
        ------
        KeyError
            If there is none.
        """
        for segment in self.all:
            if number in segment.homes:
                return segment
        raise KeyError(number)

    @property
    def listed(self) -> frozenset[int]:
        """The collections in the list of all."""
        if "listed" not in self._known:
            known = EVERYTHING in self.homes
            rows = self.of(EVERYTHING).ask(LISTED) if known else ()
            self._known["listed"] = frozenset(number for (number,) in rows)
        found: frozenset[int] = self._known["listed"]
        return found

    @property
    def doubled(self) -> frozenset[int]:
        """The images that may be in more than one collection."""
        if "doubled" not in self._known:
            self._known["doubled"] = frozenset(self._doubled())
            for segment in self.all:
                segment.doubled(self._known["doubled"])
        found: frozenset[int] = self._known["doubled"]
        return found

    def _doubled(self) -> Iterator[int]:
        if self.disk is not None:
            yield from (image_id for (image_id,) in self.disk.ask(KEPT_DOUBLED))
        if self.fresh is None:
            return
        yield from (image_id for (image_id,) in self.fresh.ask(Clause(DOUBLED)))
        if self.disk is None:
            return
        ids = [row[0] for row in self.fresh.ask(IDS)]
        for some in _runs(ids):
            for image_id, home, _ in self.disk.ask(homes_of(some)):
                if home not in self.fresh.homes:
                    yield image_id

    @property
    def homes(self) -> Mapping[int, Home]:
        """What is known at once of each piece."""
        if "homes" not in self._known:
            homes = [segment.homes for segment in self.all]
            self._known["homes"] = ChainMap(*homes) if homes[1:] else (homes or [{}])[0]
        found: Mapping[int, Home] = self._known["homes"]
        return found


class View:
    """The index at one time, and the store as it is then.

    Parameters
    ----------
    segments : Segments
        The index, which nobody else uses meanwhile.
    seen : Survey
        What the store looks like.
    census : Census
        Reads the store.
    """

    def __init__(self, segments: Segments, seen: Survey, census: Census) -> None:
        self.seen = seen
        self._segments = segments
        self._census = census
        self._sure: set[int] = set()

    @property
    def listed(self) -> frozenset[int]:
        """The collections in the list of all, as it is in the index."""
        return self._segments.listed

    @property
    def doubled(self) -> frozenset[int]:
        """The images that may be in more than one collection."""
        return self._segments.doubled

    @property
    def homes(self) -> Mapping[int, Home]:
        """What is known at once of each piece that was ever read."""
        return self._segments.homes

    def refresh(self, numbers: Iterable[int], bar: Bar | None = None) -> None:
        """Read anew what has changed.

        Parameters
        ----------
        numbers : iterable of int
            The pieces that must be right.
        bar : callable, optional
            Makes a progress bar, where there is much to read.
        """
        stale = self._stale(numbers)
        shown = bar is not None and len(stale) > _WORTH_A_BAR
        with bar(len(stale)) if bar and shown else Unwatched() as progress:
            for number in stale:
                self._segments.add(self._census.read(number))
                self._sure.add(number)
                progress.update(1)

    def _stale(self, numbers: Iterable[int]) -> list[int]:
        homes, listed = self._segments.homes, self.listed
        sure, unchanged = self._sure, self.seen.unchanged
        stale = []
        for number in numbers:
            if number in sure:
                continue
            home = homes.get(number)
            if home and unchanged(number, home, listed=number in listed):
                sure.add(number)
            else:
                stale.append(number)
        return stale

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
        return self._segments.of(number)

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
        for segment in self._segments.all:
            here = [number for number in left if number in segment.homes]
            if here:
                segment.visit(here)
                found.append(segment)
                left = [number for number in left if number not in segment.homes]
        return found

    def about(self, number: int) -> dict[str, Any] | None:
        """Give the raw record of a collection as the list of its images has it.

        Parameters
        ----------
        number : int
            The collection, which must have been refreshed.

        Returns
        -------
        dict or None
            The record; None if there is none.
        """
        ((text,),) = self.segment(number).ask(Clause(ABOUT, (number,)))
        return json.loads(text) if text else None

    def missing(self, number: int) -> Missing:
        """Tell what is missing from a piece.

        Parameters
        ----------
        number : int
            The collection, or `EVERYTHING`, which must have been refreshed.

        Returns
        -------
        Missing
            The failures.
        """
        ((text,),) = self.segment(number).ask(Clause(MISSING, (number,)))
        kinds = json.loads(text).items()
        return Missing(
            **{kind: tuple(Failure(*each) for each in some) for kind, some in kinds}
        )

    def collections(self, numbers: Iterable[int]) -> dict[int, Collection]:
        """Give the records of collections.

        Parameters
        ----------
        numbers : iterable of int
            The collections, which must have been refreshed, or are in the list of
            all.

        Returns
        -------
        dict of int to Collection
            As the list of all has them, or else the disk; without those that neither
            has.
        """
        places: dict[Segment, list[int]] = {}
        for number in numbers:
            listed = number in self.listed
            segment = self.segment(EVERYTHING if listed else number)
            places.setdefault(segment, []).append(2 * number + (not listed))
        return {
            number: collection_of(number, shape, text)
            for segment, some in places.items()
            for _, number, shape, text in segment.bodies(
                "collection_bodies", sorted(some)
            )
        }

    # ---- images by id -------------------------------------------------------

    def on_disk(self, image_ids: Sequence[int]) -> list[tuple[int, int]]:
        """Find the records of some images in nilearn's tree.

        Parameters
        ----------
        image_ids : sequence of int
            The images.

        Returns
        -------
        list of (int, int)
            Image and collection, in ascending order of collections, for each file
            there is.
        """
        self._refresh_folders()
        newer: set[int] = set()
        found = []
        for segment in self._segments.all:
            for some in _runs(image_ids):
                pairs = segment.ask(sidecars_of(some))
                found += [pair for pair in pairs if pair[0] not in newer]
            newer |= segment.folders.keys()
        here = self.seen.folders
        return [(image_id, home) for home, image_id in sorted(found) if home in here]

    def _refresh_folders(self) -> None:
        known = ChainMap(*(segment.folders for segment in self._segments.all))
        for number, mark in self.seen.folders.items():
            before, seen = known.get(number, ((), 0))
            if before != mark or not Marks(folder=mark).settled(seen):
                now, ids = time.time_ns(), self._census.sidecars(number)
                self._segments.own().add_folder(number, mark, now, ids)
                self._segments.added += 1 + len(ids) // _NAMES_A_RECORD

    def lists_with(self, image_ids: Sequence[int]) -> tuple[dict[int, int], set[int]]:
        """Find the lists that have some images; all must have been refreshed.

        Parameters
        ----------
        image_ids : sequence of int
            The images.

        Returns
        -------
        homes : dict of int to int
            Image and collection, the first one that lists it.
        unsure : set of int
            The collections of whose lists the index does not hold all.
        """
        homes = self._segments.homes
        lists = self.seen.listings.keys() - {EVERYTHING}
        unsure = {n for n in lists if homes[n].trouble or not homes[n].regular}
        pairs = []
        for segment in self._segments.all:
            for some in _runs(image_ids):
                asked = [each for each in segment.ask(homes_of(some)) if not each[2]]
                pairs += [(h, i) for i, h, _ in asked if self.segment(h) is segment]
        return {i: home for home, i in sorted(pairs, reverse=True)}, unsure


def _runs(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(numbers), AT_A_TIME):
        yield numbers[start : start + AT_A_TIME]
