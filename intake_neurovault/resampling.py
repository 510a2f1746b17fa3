"""Arrays from one voxel grid to another, as nilearn does it.

Arrays and affines in, arrays out: nothing here knows of files. It runs on single
precision and never touches the warning filters, so that many threads can call it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, ndimage

Method = Literal["continuous", "linear", "nearest"]

_ORDERS: Mapping[Method, Literal[0, 1, 3]] = MappingProxyType(
    {"continuous": 3, "linear": 1, "nearest": 0}
)
_EXTRAPOLATION_ROUNDS = 2


class Resampled(NamedTuple):
    """A map on its new grid."""

    values: NDArray[np.float32]
    """NaN where there is no value: outside, or not finite in the source."""
    outside: NDArray[np.bool_]
    """Which voxels lie outside the source's field of view."""


def resample(
    data: NDArray[np.float32],
    affine: NDArray[np.float64],
    target_affine: NDArray[np.float64],
    target_shape: tuple[int, int, int],
    method: Method,
) -> Resampled:
    """Resample a map to another grid.

    Parameters
    ----------
    data : ndarray
        Float32, 3-D, in any memory order; it is not changed.
    affine : ndarray
        4×4, voxel index of `data` to millimetres.
    target_affine : ndarray
        4×4, voxel index of the result to millimetres.
    target_shape : tuple of int
        Shape of the result.
    method : {"continuous", "linear", "nearest"}
        Cubic spline, linear, or nearest neighbour.

    Returns
    -------
    Resampled
        Float32 values of shape `target_shape`, C-contiguous, and which of them lie
        outside the field of view.

    Notes
    -----
    The steps are those of ``nilearn.image.resample_img`` with its defaults, which
    its NeuroVault fetcher uses [1]_, on `scipy.ndimage`'s splines:

    - the field of view ends at the centres of the outermost voxels;
    - voxels that are not finite are filled from their neighbours before, and those
      whose nearest source voxel was one are NaN afterwards;
    - values are clipped to the range of `data` and zero (an infinite voxel makes
      the range infinite on its side).

    Integers are not rounded, as nilearn does for linear and for unsigned ones, and
    a source that does not reach into the target is no error.

    References
    ----------
    .. [1] Abraham et al. (2014), Machine learning for neuroimaging with
       scikit-learn, Frontiers in Neuroinformatics 8:14.

    Examples
    --------
    >>> data = np.arange(8, dtype="float32").reshape(2, 2, 2)
    >>> values, outside = resample(
    ...     data, np.eye(4), np.diag([0.5, 1, 1, 1]), (4, 1, 1), "linear"
    ... )
    >>> values.ravel()
    array([ 0.,  2.,  4., nan], dtype=float32)
    >>> outside.ravel()
    array([False, False, False,  True])
    """
    matrix, offset = _transform(affine, target_affine)
    finite = np.isfinite(data)
    complete = bool(finite.all())
    values = np.empty(target_shape, dtype=np.float32)
    ndimage.affine_transform(
        data if complete else _extrapolated(data, finite),
        matrix,
        offset,
        output=values,
        order=_ORDERS[method],
        cval=math.nan,
    )
    outside = np.isnan(values)
    # fmin and fmax pass NaN over but not infinity, as nilearn's bounds do.
    low, high = np.fmin.reduce(data, axis=None), np.fmax.reduce(data, axis=None)
    np.clip(values, np.fmin(low, 0), np.fmax(high, 0), out=values)
    if not complete:
        missing = ndimage.affine_transform(
            (~finite).view(np.uint8),
            matrix,
            offset,
            output_shape=target_shape,
            order=_ORDERS["nearest"],
        )
        values[missing.astype(bool)] = math.nan
    return Resampled(values, outside)


def _transform(
    affine: NDArray[np.float64], target_affine: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the voxel-to-voxel transform in the very floats that nilearn uses.

    The last bit decides whether a voxel on the last plane of the source is inside,
    and a diagonal matrix takes another path through scipy.
    """
    if np.array_equal(affine, target_affine):
        return np.ones(3), np.zeros(3)
    combined = np.dot(linalg.inv(affine), target_affine)
    matrix, offset = combined[:3, :3], combined[:3, 3]
    diagonal = np.diag(matrix)
    if np.array_equal(np.diag(diagonal), matrix):
        return diagonal, offset
    return matrix, offset


def _extrapolated(
    data: NDArray[np.float32], finite: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Fill voxels near finite ones with the mean of their finite face neighbours.

    Two layers are filled, one after the other; what is further off is zero. It is
    nilearn's ``extrapolate_out_mask``, computed on the layers alone.
    """
    inner = (slice(1, -1),) * 3
    values = np.zeros(np.add(data.shape, 2), dtype=np.float32)
    known = np.zeros(values.shape, dtype=bool)
    known[inner] = finite
    values[inner][finite] = data[finite]
    strides = np.array([values[0].size, values[0, 0].size, 1])
    neighbours = np.concatenate([strides, -strides])
    flat_values, flat_known = values.reshape(-1), known.reshape(-1)
    for _ in range(_EXTRAPOLATION_ROUNDS):
        layer = np.zeros_like(known)
        layer[inner] = ndimage.binary_dilation(known[inner]) & ~known[inner]
        places = np.flatnonzero(layer)
        around = places[:, np.newaxis] + neighbours
        total = flat_values[around].sum(axis=1, dtype=np.float64)
        flat_values[places] = total / flat_known[around].sum(axis=1)
        flat_known[places] = True
    return values[inner]
