"""Numbers that tell whether a map is worth using, of one volume after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MEASURES", "measure"]

MEASURES = (
    "minimum",
    "maximum",
    "mean",
    "std",
    "zeros",
    "nan",
    "positive",
    "whole",
    "outside",
    "coverage",
)
"""What is measured, in the order in which it is given."""

_NEARLY_WHOLE = 0.01
# NOTE: beyond this, single precision has no room for fractions of that size, so that
# every number would seem to be whole.
_LARGEST_LABEL = 2**16


def measure(
    volumes: NDArray[Any], inside: NDArray[np.bool_], room: float
) -> NDArray[np.float64]:
    """Measure volumes.

    Parameters
    ----------
    volumes : ndarray of shape (..., nx, ny, nz)
        The maps; each may be in any memory order.
    inside : ndarray of shape (nx, ny, nz), bool
        The voxels of the brain, or of another mask; may be none.
    room : float
        How many voxels the mask has, also those beyond the edges of the volumes.

    Returns
    -------
    ndarray of shape (..., n_measures), float64
        Of each map the numbers that `MEASURES` names. A voxel *has a value* if that
        is finite and not zero.

        - ``minimum``, ``maximum``: of the finite voxels, in the units of the map
        - ``mean``, ``std``: of the voxels with a value
        - ``zeros``, ``nan``: share of all voxels, 0 to 1; an infinite voxel counts
          as NaN. Their sum is NeuroVault's ``perc_bad_voxels``, which is in percent.
        - ``positive``: share of the voxels with a value that are above zero
        - ``whole``: share of the voxels with a value that are whole numbers other
          than 0, give or take 0.01
        - ``outside``: share of the voxels with a value that are not in the mask;
          NeuroVault's ``perc_voxels_outside``
        - ``coverage``: share of the voxels of the mask that have a value;
          NeuroVault's ``brain_coverage``

        What there is nothing to measure of is NaN.

    Examples
    --------
    >>> volume = np.array([0, np.nan, -1.5, 4]).reshape(1, 2, 2)
    >>> inside = np.array([True, True, True, False]).reshape(1, 2, 2)
    >>> found = measure(volume, inside, room=3)
    >>> dict(zip(MEASURES, found.round(2).tolist(), strict=True))["coverage"]
    0.33
    """
    found = np.empty((*volumes.shape[:-3], len(MEASURES)))
    orders = {True: inside.T.ravel(), False: inside.ravel()}
    for place in np.ndindex(volumes.shape[:-3]):
        volume = volumes[place]
        # NOTE: maps that were read have the first axis fastest, and would be copied
        # as a whole to be flattened in the other order.
        turned = volume.flags.f_contiguous
        flat = (volume.T if turned else volume).ravel()
        found[place] = _measured(flat, orders[turned], room)
    return found


def _measured(
    volume: NDArray[Any], inside: NDArray[np.bool_], room: float
) -> tuple[float, ...]:
    finite = np.isfinite(volume)
    valued = finite & (volume != 0)
    values = volume[valued]
    number, total = values.size, volume.size
    lacking = total - int(np.count_nonzero(finite))
    zeros = total - lacking - number
    within = int(np.count_nonzero(valued & inside))
    return (
        *_described(values, zeros=zeros > 0),
        zeros / total,
        lacking / total,
        *_kinds(values),
        1 - within / number if number else np.nan,
        within / room if room else np.nan,
    )


def _described(values: NDArray[Any], *, zeros: bool) -> tuple[float, ...]:
    """Give the extremes, which zeros take part in, and mean and deviation."""
    if not values.size:
        extreme = 0.0 if zeros else np.nan
        return extreme, extreme, np.nan, np.nan
    least, most = float(values.min()), float(values.max())
    if zeros:
        least, most = min(least, 0.0), max(most, 0.0)
    doubles = values.astype(np.float64)
    return least, most, float(doubles.mean()), float(doubles.std())


def _kinds(values: NDArray[Any]) -> tuple[float, float]:
    """Give the shares that are positive, and that are whole numbers."""
    if not values.size:
        return np.nan, np.nan
    nearest = np.rint(values)
    whole = (np.abs(values - nearest) <= _NEARLY_WHOLE) & (nearest != 0)
    whole &= np.abs(values) < _LARGEST_LABEL
    positive = np.count_nonzero(values > 0)
    return positive / values.size, np.count_nonzero(whole) / values.size
