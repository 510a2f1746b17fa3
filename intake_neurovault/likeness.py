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
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.errors import ArgumentError

__all__ = [
    "THRESHOLD",
    "Pairs",
    "Sides",
    "among",
    "correlated",
    "groups_of",
    "joined",
    "pairs_above",
    "parse_threshold",
    "same_files",
    "sketch",
    "standardised",
]

THRESHOLD = 0.99
"""Correlation from which on two maps are nearly the same: Peraza et al. 2025."""

Rows = NDArray[np.float32]
Places = NDArray[np.intp]
Sides = tuple[Places, Places]
"""Pairs of rows: the first of each, and the second."""
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


def parse_threshold(threshold: Any) -> float:
    """Understand from which correlation on rows are nearly equal.

    Parameters
    ----------
    threshold : float
        Above 0, at most 1.

    Returns
    -------
    float
        The same, checked.

    Raises
    ------
    ArgumentError
        If it is not such a number.

    Examples
    --------
    >>> parse_threshold(0.95)
    0.95
    """
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if number and 0 < threshold <= 1:
        return float(threshold)
    msg = (
        f"threshold={threshold!r} must be a correlation above 0 and at most 1; the "
        "sign does not matter"
    )
    raise ArgumentError(msg)


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
    >>> found = standardised(np.array([[3.0, np.nan, -3.0, 0.0], [7.0, 7.0, 7.0, 7.0]]))
    >>> (found**2).round(3)
    array([[0.5, 0. , 0.5, 0. ],
           [0. , 0. , 0. , 0. ]], dtype=float32)
    """
    found = np.empty(rows.shape, np.float32)
    for place in np.ndindex(rows.shape[:-1]):
        found[place] = _unit(rows[place])
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
        row = _unit(rows[place])
        part = np.bincount(groups, row) / sizes
        found[place][:-1] = part
        found[place][-1] = max(0.0, _square(row) - _square(part)) ** 0.5
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


def same_files(digests: Sequence[str | None]) -> Sides:
    """Pair the rows whose files are equal.

    Parameters
    ----------
    digests : sequence of str or None
        Of the file of each row; None where that is not known.

    Returns
    -------
    first, second : ndarray of int
        The rows of each pair.

    Examples
    --------
    >>> same_files(["aa", None, "bb", "aa", None])
    (array([0]), array([3]))
    """
    rows: dict[str, list[int]] = {}
    for row, digest in enumerate(digests):
        if digest is not None:
            rows.setdefault(digest, []).append(row)
    pairs = [pair for some in rows.values() for pair in combinations(some, 2)]
    first, second = np.array(pairs, np.intp).reshape(-1, 2).T
    return first, second


def among(some: Sides, others: Sides) -> NDArray[np.bool_]:
    """Tell which pairs are among others.

    Parameters
    ----------
    some, others : pair of ndarray of int
        The first row of each pair, and the second.

    Returns
    -------
    ndarray of bool
        One for each of the first pairs.

    Examples
    --------
    >>> among(([0, 0], [1, 2]), ([0, 1], [2, 2])).tolist()
    [False, True]
    """
    one, other = np.asarray(some), np.asarray(others)
    size = 1 + max(int(one.max(initial=0)), int(other.max(initial=0)))
    return np.isin(one[0] * size + one[1], other[0] * size + other[1])


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


def _unit(row: NDArray[Any]) -> NDArray[np.float64]:
    """Centre a row, and bring it to the length 1; zeros if it is constant."""
    unit = row.astype(np.float64)
    finite = np.isfinite(unit)
    if not finite.all():
        unit[~finite] = 0
    before = _square(unit)
    unit -= unit.mean()
    square = _square(unit)
    if square <= _FLAT**2 * before:
        return np.zeros_like(unit)
    unit /= square**0.5
    return unit


def _square(row: NDArray[np.float64]) -> float:
    # NOTE: BLAS would start threads for each row in each thread that reads maps.
    return float(np.einsum("i,i->", row, row))


def _varies(block: Rows) -> NDArray[np.bool_]:
    varies: NDArray[np.bool_] = (block != 0).any(axis=1)
    return varies


def _chunks(rows: Places, size: int) -> Iterator[Places]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
