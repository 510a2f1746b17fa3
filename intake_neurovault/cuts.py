"""Parts of a volume: which stretches of its file hold them, and taking them out.

A NIfTI file has its first axis fastest. Of a part, the whole planes along the last
axis that hold none of it are never read, nor what lies before its first and behind
its last voxel in a plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.float32]

Stretch = tuple[int, memoryview]
"""Number of the first voxel in the file, and the memory that takes it and the next."""

_ITEM = np.dtype(np.float32).itemsize
# NOTE: a system reads by pages, so that less than one is not worth a call of its own.
_PAGE = 4096


@dataclass(frozen=True)
class Cut:
    """A part of a 3-D volume, each axis indexed for itself.

    Examples
    --------
    >>> Cut((4, 5, 6), (slice(1, 3), 2, [0, 5])).part
    (2, 2)
    """

    shape: tuple[int, int, int]
    """Voxels of the volume along its axes."""
    key: tuple[Any, ...]
    """For each axis an int, a slice or a 1-D array of ints."""

    @cached_property
    def part(self) -> tuple[int, ...]:
        """Voxels of the part; axes with an int are gone."""
        return self.take(np.broadcast_to(np.float32(0), self.shape)).shape

    @cached_property
    def whole(self) -> bool:
        """Whether the part is all of the volume, in its order."""
        return all(
            isinstance(index, slice) and index.indices(size) == (0, size, 1)
            for index, size in zip(self.key, self.shape, strict=True)
        )

    def take(self, volume: Block) -> Block:
        """Take the part out of a volume that is in memory.

        Parameters
        ----------
        volume : ndarray
            Of the shape `shape`.

        Returns
        -------
        ndarray
            The part, often a view.
        """
        return _orthogonal(volume, self.key)

    def empty(self, rows: int) -> Block:
        """Make memory for the part of several volumes.

        Parameters
        ----------
        rows : int
            How many volumes.

        Returns
        -------
        ndarray of shape (rows, ...)
            Not filled. Within each row the first axis is fastest, as in a file, so
            that a whole volume is read with one copy.
        """
        memory = np.empty((rows, *reversed(self.part)), dtype=np.float32)
        return memory.transpose(0, *range(memory.ndim - 1, 0, -1))


class Window:
    """Memory through which one cut is read from any number of files.

    Parameters
    ----------
    cut : Cut
        What is read. One window is for one thread.
    """

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self._stretches: Sequence[Stretch] = ()
        self._view: Block | None = None
        self._key: tuple[Any, ...] = ()
        if not cut.whole and 0 not in cut.part:
            self._prepare()

    def stretches(self, row: Block) -> Sequence[Stretch]:
        """Give what is to be read of a file.

        Parameters
        ----------
        row : ndarray
            Memory for the part, a row of what `Cut.empty` gave.

        Returns
        -------
        sequence of (int, memoryview)
            Number of the first voxel in the file, and where it and the next go.
        """
        if self._cut.whole:
            return [(0, row.T.data.cast("B"))]
        return self._stretches

    def settle(self, row: Block) -> None:
        """Put into its place what was read.

        Parameters
        ----------
        row : ndarray
            The same as for `stretches`.
        """
        if self._view is not None:
            row[...] = _orthogonal(self._view, self._key)

    def _prepare(self) -> None:
        """Choose the stretches, and how the part lies in what they bring."""
        (line, rows, _), key = self._cut.shape, self._cut.key
        left, right, in_line = _bounds(key[0], line)
        top, bottom, in_plane = _bounds(key[1], rows)
        planes, among = _chosen(key[2], self._cut.shape[2])
        first = left + line * top
        span = right - left + 1 + line * (bottom - top)
        # NOTE: one call for all planes, where next to nothing lies between the parts.
        joined = planes[-1] - planes[0] == len(planes) - 1
        joined = joined and (line * rows - span) * _ITEM < _PAGE
        height = bottom - top + 1
        memory = np.empty((len(planes), rows if joined else height, line), np.float32)
        if joined:
            starts = planes[:1]
            parts = [memory.reshape(-1)[: (len(planes) - 1) * line * rows + span]]
        else:
            starts = planes
            parts = [each.reshape(-1)[:span] for each in memory]
        self._stretches = [
            (first + int(plane) * line * rows, part.data.cast("B"))
            for plane, part in zip(starts, parts, strict=True)
        ]
        self._view = memory[:, :height, : right - left + 1].T
        self._key = (in_line, in_plane, among)


def _bounds(index: Any, size: int) -> tuple[int, int, Any]:
    """Give first and last place of an index, and the same index from the first on."""
    places = np.arange(size)[index]
    low, high = int(places.min()), int(places.max())
    if isinstance(index, slice):
        return low, high, slice(None, None, index.step)
    return low, high, places - low


def _chosen(index: Any, size: int) -> tuple[NDArray[Any], Any]:
    """Give the places of an index, each once and ascending, and an index into them."""
    places = np.arange(size)[index]
    unique = np.unique(places)
    if isinstance(index, slice):
        return unique, slice(None, None, -1 if places[0] > places[-1] else 1)
    return unique, np.searchsorted(unique, places)


def _orthogonal(data: Block, key: Sequence[Any]) -> Block:
    """Index each axis for itself, from the last so that the others keep their place."""
    for axis in reversed(range(len(key))):
        data = data[(slice(None),) * axis + (key[axis],)]
    return data
