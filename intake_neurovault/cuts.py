"""Parts of a volume: which stretches of its file hold them, and taking them out.

A NIfTI file has its first axis fastest. Of a part, the whole planes along the last
axis that hold none of it are never read, nor what lies before its first and behind
its last voxel in a plane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
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


@dataclass(frozen=True, eq=False)
class Picked:
    """Single voxels of a 3-D volume.

    Examples
    --------
    >>> picked = Picked((4, 5, 6), np.array([0, 119]))
    >>> picked.box.part, picked.take(np.arange(120.0).reshape(4, 5, 6))
    ((4, 5, 6), array([  0., 119.]))
    """

    shape: tuple[int, int, int]
    """Voxels of the volume along its axes."""
    numbers: NDArray[np.intp]
    """Which voxels, at least one; numbered with the last axis fastest."""

    @property
    def part(self) -> tuple[int, ...]:
        """How many voxels."""
        return (len(self.numbers),)

    @cached_property
    def places(self) -> tuple[NDArray[np.intp], ...]:
        """Where they lie along each axis."""
        return np.unravel_index(self.numbers, self.shape)

    @cached_property
    def box(self) -> Cut:
        """The smallest box that holds them all."""
        bounds = [slice(int(at.min()), int(at.max()) + 1) for at in self.places]
        return Cut(self.shape, tuple(bounds))

    @cached_property
    def turned(self) -> NDArray[np.intp]:
        """The same voxels, numbered with the first axis fastest."""
        return np.ravel_multi_index(self.places[::-1], self.shape[::-1])

    def take(self, volume: Block) -> Block:
        """Take the voxels out of a volume that is in memory.

        Parameters
        ----------
        volume : ndarray
            Of the shape `shape`, in any memory order.

        Returns
        -------
        ndarray
            A copy.
        """
        # NOTE: a volume in the order of a file would be copied as a whole to be
        # flattened in the other.
        if volume.flags.f_contiguous:
            return volume.T.reshape(-1).take(self.turned)
        return volume.reshape(-1).take(self.numbers)

    def empty(self, rows: int) -> Block:
        """Make memory for the voxels of several volumes.

        Parameters
        ----------
        rows : int
            How many volumes.

        Returns
        -------
        ndarray of shape (rows, n_voxels)
            Not filled.
        """
        return np.empty((rows, *self.part), dtype=np.float32)


class Window:
    """Memory through which one part is read from any number of files.

    Parameters
    ----------
    cut : Cut or Picked
        What is read. One window is for one thread.
    """

    def __init__(self, cut: Cut | Picked) -> None:
        self._whole = isinstance(cut, Cut) and cut.whole
        self._stretches: Sequence[Stretch] = ()
        self._settle: Callable[[Block], None] = _leave
        if isinstance(cut, Picked):
            memory, _ = self._prepare(cut.box)
            first = [index.start for index in cut.box.key]
            x, y, z = (at - low for at, low in zip(cut.places, first, strict=True))
            index = (z * memory.shape[1] + y) * memory.shape[2] + x
            self._settle = partial(_gather, memory.reshape(-1), index)
        elif not cut.whole and 0 not in cut.part:
            _, (view, key) = self._prepare(cut)
            self._settle = partial(_place, view, key)

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
        if self._whole:
            return [(0, row.T.data.cast("B"))]
        return self._stretches

    def settle(self, row: Block) -> None:
        """Put into its place what was read.

        Parameters
        ----------
        row : ndarray
            The same as for `stretches`.
        """
        self._settle(row)

    def _prepare(self, cut: Cut) -> tuple[Block, tuple[Block, tuple[Any, ...]]]:
        """Choose the stretches; give their memory, and where in it the part lies."""
        (line, rows, _), key = cut.shape, cut.key
        left, right, in_line = _bounds(key[0], line)
        top, bottom, in_plane = _bounds(key[1], rows)
        planes, among = _chosen(key[2], cut.shape[2])
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
        view = memory[:, :height, : right - left + 1].T
        return memory, (view, (in_line, in_plane, among))


def _leave(row: Block) -> None:
    """Leave what was read to its place at once."""


def _place(view: Block, key: tuple[Any, ...], row: Block) -> None:
    row[...] = _orthogonal(view, key)


def _gather(memory: Block, index: NDArray[np.intp], row: Block) -> None:
    # NOTE: with any other mode numpy takes into memory of its own first.
    np.take(memory, index, out=row, mode="clip")


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
