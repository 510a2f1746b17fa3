"""Arrays from one voxel grid to another, as nilearn does it.

Arrays and affines in, arrays out: nothing here knows of files. It runs on single
precision and never touches the warning filters, so that many threads can call it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import scipy
from numpy.typing import NDArray

from intake_neurovault.axes import ORDERS, Method
from intake_neurovault.separable import align, interpolate

__all__ = ["Method", "Resampled", "resample"]

T = TypeVar("T", np.float32, np.uint8)

_EXTRAPOLATION_ROUNDS = 2
_TINY, _HUGE = 1e-30, 1e37


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

    Where the axes are parallel, a spline is a linear map along each of them, and one
    is done after the other, in single precision (:mod:`.separable`); values then agree
    to a few roundings of the largest. Oblique maps go through `scipy.ndimage` at once.

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
    transform = _Transform.between(affine, target_affine, target_shape)
    low, high = _bounds(data)
    if math.isfinite(low) and math.isfinite(high):
        values = _interpolated(transform, data, method, max(-low, high))
        outside = np.isnan(values)
    else:
        finite = np.isfinite(data)
        source = _extrapolated(data, finite)
        values = _interpolated(
            transform, source, method, max(map(abs, _bounds(source)))
        )
        outside = np.isnan(values)
        missing = transform.apply((~finite).view(np.uint8), "nearest", fill=0)
        values[missing.view(bool)] = math.nan
        low, high = _bounds(data, np.fmin, np.fmax)
    np.clip(values, np.fmin(low, 0), np.fmax(high, 0), out=values)
    return Resampled(values, outside)


@dataclass(frozen=True, eq=False)
class _Transform:
    """Where the voxels of a grid lie in a map."""

    matrix: NDArray[np.float64]
    """From voxels of the grid to those of the map; the diagonal where that is all."""
    offset: NDArray[np.float64]
    """Where the first voxel of the grid lies."""
    shape: tuple[int, int, int]
    """Shape of the grid."""

    @classmethod
    def between(
        cls,
        affine: NDArray[np.float64],
        target_affine: NDArray[np.float64],
        shape: tuple[int, int, int],
    ) -> _Transform:
        """Make it in the very floats that nilearn uses.

        The last bit decides whether a voxel on the last plane of the source is inside,
        and a diagonal matrix takes another path through scipy.
        """
        if np.array_equal(affine, target_affine):
            return cls(np.ones(3), np.zeros(3), shape)
        # NOTE: scipy imports its parts at the first look at each.
        combined = np.dot(scipy.linalg.inv(affine), target_affine)
        matrix, offset = combined[:3, :3], combined[:3, 3]
        diagonal = np.diag(matrix)
        if np.array_equal(np.diag(diagonal), matrix):
            return cls(diagonal, offset, shape)
        return cls(matrix, offset, shape)

    def apply(self, data: NDArray[T], method: Method, fill: float) -> NDArray[T]:
        """Interpolate; what is outside the field of view becomes `fill`."""
        made = np.full(self.shape, fill, data.dtype)
        alignment = align(self.matrix, self.offset, data.shape, self.shape)
        if alignment is not None:
            interpolate(data, alignment, method, made)
        else:
            scipy.ndimage.affine_transform(
                data,
                self.matrix,
                self.offset,
                output=made,
                order=ORDERS[method],
                cval=fill,
            )
        return made


def _bounds(
    data: NDArray[np.float32], least: np.ufunc = np.minimum, most: np.ufunc = np.maximum
) -> tuple[np.float32, np.float32]:
    """Give the smallest and the largest value; NaN if there is one.

    With `fmin` and `fmax` NaN is passed over but infinity is not, as nilearn has it.
    """
    # A signalling NaN is the map's, not an accident.
    with np.errstate(invalid="ignore"):
        return least.reduce(data, None), most.reduce(data, None)


def _interpolated(
    transform: _Transform,
    data: NDArray[np.float32],
    method: Method,
    largest: np.float32,
) -> NDArray[np.float32]:
    """Interpolate finite values; NaN is what is outside the field of view."""
    if largest == 0 or _TINY < largest < _HUGE:
        return transform.apply(data, method, fill=math.nan)
    # Sums of such values would leave the range of float32, or lose their last bits.
    exponent = math.frexp(largest)[1]
    with np.errstate(over="ignore", under="ignore"):
        values = transform.apply(np.ldexp(data, -exponent), method, fill=math.nan)
        np.ldexp(values, exponent, out=values)
    return values


def _extrapolated(
    data: NDArray[np.float32], finite: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Fill voxels near finite ones with the mean of their finite face neighbours.

    Two layers are filled, one after the other; what is further off is zero. It is
    nilearn's ``extrapolate_out_mask``, computed on the layers alone.
    """
    inner = (slice(1, -1),) * 3
    order: Literal["F", "C"] = "F" if data.flags.f_contiguous else "C"
    values = np.zeros(np.add(data.shape, 2), np.float32, order)
    known, within = np.zeros_like(values, bool), np.zeros_like(values, bool)
    known[inner], within[inner] = finite, True
    np.copyto(values[inner], data, where=finite)
    steps = [stride // values.itemsize for stride in values.strides]
    flat_values, flat_known = values.ravel("K"), known.ravel("K")
    inside = within.ravel("K")
    for _ in range(_EXTRAPOLATION_ROUNDS):
        # The border of one voxel keeps a step from ending in another line.
        near = np.zeros_like(flat_known)
        for step in steps:
            near[step:] |= flat_known[:-step]
            near[:-step] |= flat_known[step:]
        places = np.flatnonzero(near & ~flat_known & inside)
        total, count = np.zeros(len(places)), np.zeros(len(places))
        for step in (*steps, *(-step for step in steps)):
            total += flat_values[places + step]
            count += flat_known[places + step]
        flat_values[places] = total / count
        flat_known[places] = True
    return values[inner]
