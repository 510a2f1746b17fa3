"""Which rows of a matrix are nearly equal but for scale and sign, without all pairs.

Each row is centred and brought to the length 1, so that the product of two of them is
their correlation. A *sketch* of a row is its part in a space of few dimensions, and the
length of the rest. What the products of two sketches and of two rests amount to is
never less than the correlation of the rows, so that rows need be compared only where
that bound reaches the threshold; no pair is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Pairs",
    "correlated",
    "groups_of",
    "joined",
    "pairs_above",
    "sketch",
    "standardised",
]

Rows = NDArray[np.float32]
Places = NDArray[np.intp]
Read = Callable[[Places], NDArray[Any]]

_TILE = 512  # sketches that are compared at a time
_PARTS = 16
_FLAT = 1e-6
# NOTE: products in single precision are off by less than these.
_SLACK, _ROUNDING = 1e-4, 1e-5


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of rows, and how they correlate."""

    first: Places
    """Which row is the first of each pair."""
    second: Places
    """Which is the second."""
    correlation: NDArray[np.float64]
    """Pearson's, from -1 to 1; NaN if one of them is constant."""

    def __len__(self) -> int:
        return len(self.first)


def standardised(rows: NDArray[Any]) -> Rows:
    """Centre rows, and bring them to the length 1.

    Parameters
    ----------
    rows : ndarray of shape (..., n_voxels)
        What is not finite counts as 0.

    Returns
    -------
    ndarray of shape (..., n_voxels), float32
        A row that is constant becomes 0.

    Examples
    --------
    >>> standardised(np.array([[1.0, 3.0, np.nan], [7.0, 7.0, 7.0]])).round(2).tolist()
    [[-0.15, 0.77, -0.62], [0.0, 0.0, 0.0]]
    """
    found = np.empty(rows.shape, np.float32)
    for place in np.ndindex(rows.shape[:-1]):
        row = np.where(np.isfinite(rows[place]), rows[place], 0).astype(np.float64)
        largest = np.abs(row).max(initial=0)
        row -= row.mean() if row.size else 0
        length = float(np.sqrt(row @ row))
        flat = length <= _FLAT * largest * row.size**0.5
        found[place] = 0 if flat else row / length
    return found


def groups_of(where: NDArray[np.float64]) -> Places:
    """Put places that lie together into one group.

    Parameters
    ----------
    where : ndarray of shape (3, n_places)
        At least one place.

    Returns
    -------
    ndarray of shape (n_places,), int
        The group of each, from 0 on: cubes whose edge is a sixteenth of the longest
        extent, about 1,300 of a brain.

    Examples
    --------
    >>> line = np.arange(32.0)
    >>> int(groups_of(np.stack([line, 0 * line, 0 * line])).max())
    16
    """
    low = where.min(axis=1, keepdims=True)
    edge = float((where.max(axis=1, keepdims=True) - low).max()) / _PARTS or 1.0
    cubes = np.floor((where - low) / edge).astype(np.intp)
    numbers = np.ravel_multi_index(tuple(cubes), (_PARTS + 1,) * 3)
    found: Places = np.unique(numbers, return_inverse=True)[1]
    return found


def sketch(rows: NDArray[Any], groups: Places) -> Rows:
    """Say in few numbers what rows are like.

    Parameters
    ----------
    rows : ndarray of shape (..., n_voxels)
        As for `standardised`.
    groups : ndarray of shape (n_voxels,), int
        The group of each voxel, as `groups_of` gives it.

    Returns
    -------
    ndarray of shape (..., n_groups + 1), float32
        The sum of each group over the square root of its size, of the standardised
        row; and in the end the length of what these do not say.

    Notes
    -----
    These sums are the coordinates of the row in a basis of unit vectors that are
    orthogonal, one for each group; the rest is orthogonal to all of them.
    """
    counts: NDArray[np.intp] = np.bincount(groups)
    sizes = np.sqrt(counts)
    found = np.empty((*rows.shape[:-1], len(sizes) + 1), np.float32)
    for place in np.ndindex(rows.shape[:-1]):
        row = standardised(rows[place]).astype(np.float64)
        part = np.bincount(groups, row) / sizes
        found[place][:-1] = part
        found[place][-1] = max(0.0, float(row @ row - part @ part)) ** 0.5
    return found


def correlated(
    read: Read, first: Places, second: Places, *, at_once: int
) -> NDArray[np.float64]:
    """Correlate the rows of given pairs.

    Parameters
    ----------
    read : callable
        Gives the rows with the numbers that it is given, of the shape (n, n_voxels).
    first, second : ndarray of int
        The rows of each pair.
    at_once : int
        How many rows of either side are in memory at a time.

    Returns
    -------
    ndarray of float64
        Pearson's correlation of each pair; NaN if one of them is constant.

    Examples
    --------
    >>> rows = np.array([[1.0, 2.0, 4.0], [2.0, 4.0, 8.0], [5.0, 5.0, 5.0]])
    >>> pairs = np.array([0, 0]), np.array([1, 2])
    >>> correlated(rows.__getitem__, *pairs, at_once=2).round(3)
    array([ 1., nan])
    """
    found = np.full(len(first), np.nan)
    every = np.unique(np.concatenate([first, second]))
    few = len(every) <= at_once
    for some in _chunks(every if few else np.unique(first), at_once):
        block = standardised(read(some))
        mine = np.isin(first, some)
        for more in _chunks(every if few else np.unique(second[mine]), at_once):
            facing = block if few else standardised(read(more))
            these = np.flatnonzero(mine & np.isin(second, more))
            left = np.searchsorted(some, first[these])
            right = np.searchsorted(more, second[these])
            known = _varies(block)[left] & _varies(facing)[right]
            values = (block @ facing.T)[left, right]
            found[these] = np.where(known, values, np.nan)
    return found.clip(-1, 1)


def pairs_above(threshold: float, sketches: Rows, read: Read, *, at_once: int) -> Pairs:
    """Find the pairs of rows whose correlation reaches a threshold, whatever its sign.

    Parameters
    ----------
    threshold : float
        Above 0, at most 1.
    sketches : ndarray of shape (n_rows, n_groups + 1), float32
        As `sketch` gives them.
    read : callable
        Gives rows, as for `correlated`; is asked for those only that may be in a pair.
    at_once : int
        As for `correlated`.

    Returns
    -------
    Pairs
        Ordered by the first row, then by the second, which comes later.

    Examples
    --------
    >>> rows = np.array([[1.0, 2.0, 4.0], [4.0, 1.0, 1.0], [-2.0, -4.0, -8.0]])
    >>> sketches = sketch(rows, np.array([0, 0, 1]))
    >>> found = pairs_above(0.99, sketches, rows.__getitem__, at_once=3)
    >>> found.first, found.second, found.correlation.round(3)
    (array([0]), array([2]), array([-1.]))
    """
    nothing = np.empty(0, np.intp)
    parts = [Pairs(nothing, nothing, np.empty(0))]
    for first, second in _candidates(threshold, sketches):
        correlation = correlated(read, first, second, at_once=at_once)
        enough = np.abs(correlation) >= threshold - _ROUNDING
        parts.append(Pairs(first[enough], second[enough], correlation[enough]))
    return joined(parts)


def joined(parts: Sequence[Pairs]) -> Pairs:
    """Put pairs together.

    Parameters
    ----------
    parts : sequence of Pairs
        At least one; no pair in two of them.

    Returns
    -------
    Pairs
        Ordered by the first row, then by the second.
    """
    first = np.concatenate([each.first for each in parts])
    second = np.concatenate([each.second for each in parts])
    values = np.concatenate([each.correlation for each in parts])
    order = np.lexsort((second, first))
    return Pairs(first[order], second[order], values[order])


def _candidates(threshold: float, sketches: Rows) -> Iterator[tuple[Places, Places]]:
    """Give the pairs that may reach a threshold, those of a few rows at a time."""
    parts, rests = sketches[:, :-1], sketches[:, -1]
    for start in range(0, len(sketches), _TILE):
        mine = slice(start, start + _TILE)
        for facing in range(start, len(sketches), _TILE):
            theirs = slice(facing, facing + _TILE)
            bound = np.abs(parts[mine] @ parts[theirs].T)
            bound += np.outer(rests[mine], rests[theirs])
            left, right = np.nonzero(bound >= threshold - _SLACK)
            left, right = left + start, right + facing
            later = left < right
            if later.any():
                yield left[later], right[later]


def _varies(block: Rows) -> NDArray[np.bool_]:
    varies: NDArray[np.bool_] = (block != 0).any(axis=1)
    return varies


def _chunks(rows: Places, size: int) -> Iterator[Places]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
