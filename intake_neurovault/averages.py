"""Means of many volumes, of which one at a time is in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.cuts import Block

__all__ = ["Total"]

T = TypeVar("T", np.float32, np.int32)


@dataclass(slots=True)
class Total:
    """What was added up of equal parts of volumes.

    Sums are of single precision, as numpy's are; to add up few volumes in each, and
    join those two by two, makes less of an error than to add up all in one.

    Examples
    --------
    >>> total = Total((2,))
    >>> for row in ([1.0, np.nan], [3.0, 5.0]):
    ...     total.add(np.array(row, dtype=np.float32))
    >>> total.mean(skipna=True)
    array([2., 5.], dtype=float32)
    >>> total.mean(skipna=False)
    array([ 2., nan], dtype=float32)
    """

    shape: tuple[int, ...]
    """Of each of them."""
    count: int = 0
    """How many there were."""
    values: NDArray[np.float32] | None = None
    """Their sum, in which NaN counts as zero; None: zero."""
    lacking: NDArray[np.int32] | None = None
    """How many of them were NaN; None: not one."""

    def add(self, row: Block) -> None:
        """Add one more.

        Parameters
        ----------
        row : ndarray of float32
            The part; its memory may hold another one afterwards.
        """
        missing = np.isnan(row)
        if missing.any():
            self._miss(missing)
            row = np.where(missing, np.float32(0), row)
        if self.values is None:
            self.values = row.copy(order="K")
        else:
            with np.errstate(invalid="ignore", over="ignore"):
                self.values += row
        self.count += 1

    def join(self, other: Total) -> Total:
        """Add up two of them.

        Parameters
        ----------
        other : Total
            Of other volumes, with the same shape. Neither is changed.

        Returns
        -------
        Total
            Of the volumes of both.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            values = _sum(self.values, other.values)
        lacking = _sum(self.lacking, other.lacking)
        return Total(self.shape, self.count + other.count, values, lacking)

    def mean(self, *, skipna: bool) -> Block:
        """Divide by how many there were.

        Parameters
        ----------
        skipna : bool
            Whether NaN is passed over, or makes the mean NaN.

        Returns
        -------
        ndarray of float32
            The mean; NaN where there was nothing to average.
        """
        if self.values is None:
            return np.full(self.shape, np.nan, np.float32)
        number: NDArray[Any] | np.float32 = np.float32(self.count)
        if self.lacking is not None and skipna:
            number = self.count - self.lacking
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            mean: Block = np.asarray(self.values / number, dtype=np.float32)
        if self.lacking is not None and not skipna:
            mean[self.lacking > 0] = np.nan
        return mean

    def _miss(self, missing: NDArray[np.bool_]) -> None:
        if self.lacking is None:
            self.lacking = missing.astype(np.int32, order="K")
        else:
            self.lacking += missing


def _sum(one: NDArray[T] | None, other: NDArray[T] | None) -> NDArray[T] | None:
    """Add two arrays, either of which may be zero."""
    if one is None or other is None:
        return other if one is None else one
    both: NDArray[T] = np.add(one, other)
    return both
