"""Interpolation in space where the axes are parallel: along one after the other.

The sums are products of matrices, in pieces so small that BLAS computes each in the
thread that asks, without the interpreter's lock. Larger ones would start threads in
each of many threads, unless their number were changed for the whole process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.axes import LONGEST, Axis, AxisWeights, Method, axis_weights


class Alignment(NamedTuple):
    """Which axis of a map each axis of a grid runs along, and where its voxels lie."""

    order: tuple[int, ...]
    """For each axis of the grid, the axis of the map."""
    axes: tuple[Axis, ...]
    """For each axis of the grid, where its voxels lie."""


def align(
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    shape: tuple[int, ...],
    target_shape: tuple[int, ...],
) -> Alignment | None:
    """Find out whether the axes of a grid are parallel to those of a map.

    Parameters
    ----------
    matrix : ndarray
        As `scipy.ndimage.affine_transform` takes it: 3×3, from voxels of the grid to
        voxels of the map, or three numbers where it is diagonal.
    offset : ndarray
        Where the grid's first voxel lies, in voxels of the map.
    shape : tuple of int
        Shape of the map.
    target_shape : tuple of int
        Shape of the grid.

    Returns
    -------
    Alignment or None
        None if an axis is oblique, or longer than weights are made for.

    Examples
    --------
    >>> align(np.array([2.0, 1, 1]), np.zeros(3), (4, 5, 6), (2, 5, 6)).order
    (0, 1, 2)
    """
    if max(*shape, *target_shape) > LONGEST:
        return None
    scaled = matrix.ndim == 1
    full = np.diag(matrix) if scaled else matrix
    used = full != 0
    if not ((used.sum(axis=0) == 1).all() and (used.sum(axis=1) == 1).all()):
        return None
    order = tuple(used.argmax(axis=0).tolist())
    axes = tuple(
        Axis(shape[of], float(full[of, to]), float(offset[of]), voxels, scaled)
        for to, (of, voxels) in enumerate(zip(order, target_shape, strict=True))
    )
    return Alignment(order, axes)


def interpolate(
    data: NDArray[Any], alignment: Alignment, method: Method, out: NDArray[Any]
) -> None:
    """Interpolate along each axis of a map.

    Parameters
    ----------
    data : ndarray
        3-D, in any memory order; float32 unless `method` is ``"nearest"``.
    alignment : Alignment
        Where the voxels of `out` lie.
    method : {"continuous", "linear", "nearest"}
        Cubic spline, linear, or nearest neighbour.
    out : ndarray
        Where the values are put. What lies outside the field of view is left.
    """
    weights = [axis_weights(axis, method) for axis in alignment.axes]
    if not all(each.count for each in weights):
        return
    # NOTE: NIfTI's order of memory, in which lines of numbers are read as they lie.
    # In any other the sums are done in the same order, and so have the same values.
    values, axes = data.T, [alignment.order.index(axis) for axis in (2, 1, 0)]
    for place, axis in enumerate(axes):
        if not weights[axis].blocks:
            values = weights[axis].take(values, place)
    sums = [axis for axis in axes if weights[axis].blocks]
    if sums:
        values = np.ascontiguousarray(values)
    shape = dict(zip(axes, values.shape, strict=True))
    for axis in min(permutations(sums), key=lambda some: _work(some, shape, weights)):
        place = axes.index(axis)
        values = weights[axis].add(values, place)
        axes.insert(0, axes.pop(place))
    out[tuple(each.inside for each in weights)] = values.transpose(np.argsort(axes))


def _work(
    sums: Sequence[int], shape: Mapping[int, int], weights: Sequence[AxisWeights]
) -> int:
    """Tell the work of adding up along some axes, one after the other."""
    sizes, work = dict(shape), 0
    for axis in sums:
        work += weights[axis].work * math.prod(sizes.values()) // sizes[axis]
        sizes[axis] = weights[axis].count
    return work
