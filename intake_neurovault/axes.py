"""One axis of a map onto one axis of a grid: which voxels, and with which weights.

Interpolation along an axis is a linear map. Its numbers come from `scipy.ndimage`
itself, which is asked once for each geometry, so that the edges of the field of view,
the boundary of the splines and the ties between neighbours are its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

Method = Literal["continuous", "linear", "nearest"]

ORDERS: Mapping[Method, Literal[0, 1, 3]] = MappingProxyType(
    {"continuous": 3, "linear": 1, "nearest": 0}
)
"""The order of the spline of each method."""

LONGEST = 1024
"""The most voxels that an axis with weights may have."""

# NOTE: the weights of a cubic spline decay without end. Those too small for float32
# make a product twenty times slower; all that are left out are less than rounding is.
_SMALLEST_WEIGHT = 1e-8
_MOST_REPEATED = 1 << 17


class Axis(NamedTuple):
    """Where the voxels of a grid lie along an axis of a map, in its voxels."""

    size: int
    """Voxels of the map."""
    step: float
    """From one voxel of the grid to the next; negative where it runs backwards."""
    origin: float
    """Where the first voxel of the grid lies."""
    voxels: int
    """Voxels of the grid."""
    scaled: bool
    """Whether scipy takes the step for a scale, rounded otherwise than a matrix."""


@dataclass(frozen=True, eq=False)
class AxisWeights:
    """What the voxels of a grid are: single voxels of the map, or sums of several."""

    inside: slice
    """Which voxels of the grid lie in the field of view."""
    index: slice | NDArray[np.intp] | None
    """Which voxel of the map each of them is; None where they are sums."""
    matrix: Any
    """Else their weights, a float32 `scipy.sparse.csr_array` with a row for each."""

    @property
    def count(self) -> int:
        """How many voxels of the grid are in the field of view."""
        return int(self.inside.stop - self.inside.start)

    @property
    def work(self) -> int:
        """How many numbers are read to make one line of them."""
        return self.count if self.matrix is None else int(self.matrix.nnz)

    def apply(self, values: NDArray[Any], place: int) -> NDArray[Any]:
        """Interpolate along an axis of an array.

        Parameters
        ----------
        values : ndarray
            3-D, float32 where the voxels of the grid are sums.
        place : {0, 1, 2}
            The axis. The last one is slow to sum along.

        Returns
        -------
        ndarray
            With `count` voxels along that axis; perhaps a view of `values`.
        """
        if isinstance(self.index, slice):
            return values[(slice(None),) * place + (self.index,)]
        if self.index is not None:
            return values.take(self.index, place)
        before, after = values.shape[:place], values.shape[place + 1 :]
        lines = values.reshape(math.prod(before), values.shape[place], -1)
        times = max(1, _MOST_REPEATED // self.work)
        parts = [
            _repeated(self, len(some)) @ some.reshape(-1, some.shape[-1])
            for some in np.split(lines, range(times, len(lines), times))
        ]
        made = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return made.reshape(*before, self.count, *after)


@lru_cache(maxsize=128)
def axis_weights(axis: Axis, method: Method) -> AxisWeights:
    """Find out what the voxels of a grid are, along one axis.

    Parameters
    ----------
    axis : Axis
        Where they lie; neither grid nor map may have more than `LONGEST` voxels.
    method : {"continuous", "linear", "nearest"}
        Cubic spline, linear, or nearest neighbour.

    Returns
    -------
    AxisWeights
        The same for all who ask for the same, in any thread.

    Examples
    --------
    >>> thirds = axis_weights(Axis(4, 1.5, 0.0, 3, True), "linear")
    >>> thirds.matrix.toarray()
    array([[1. , 0. , 0. , 0. ],
           [0. , 0.5, 0.5, 0. ],
           [0. , 0. , 0. , 1. ]], dtype=float32)
    >>> axis_weights(Axis(4, -2.0, 3.0, 9, True), "continuous").index
    slice(3, 0, -2)
    """
    numbers = np.arange(axis.size, dtype=np.float64)
    nearest = _interpolated(axis, numbers, "nearest")
    found = np.flatnonzero(~np.isnan(nearest))
    if not found.size:
        return AxisWeights(slice(0, 0), slice(0, 0), None)
    inside = slice(int(found[0]), int(found[-1]) + 1)
    if method == "nearest":
        return AxisWeights(inside, _as_slice(nearest[inside].astype(np.intp)), None)
    units = np.eye(axis.size)
    weights = np.stack([_interpolated(axis, unit, method)[inside] for unit in units], 1)
    weights[np.abs(weights) < _SMALLEST_WEIGHT] = 0
    matrix = sparse.csr_array(weights.astype(np.float32))
    # NOTE: whole steps that were rounded on the way are whole again by now.
    if matrix.nnz == len(weights) and (matrix.data == 1).all():
        return AxisWeights(inside, _as_slice(matrix.indices.astype(np.intp)), None)
    return AxisWeights(inside, None, matrix)


@lru_cache(maxsize=16)
def _repeated(weights: AxisWeights, times: int) -> Any:
    """Give a matrix that does for several stacked arrays what one does for each."""
    if times == 1:
        return weights.matrix
    blocks = sparse.eye_array(times, dtype=np.float32)
    return sparse.kron(blocks, weights.matrix, format="csr")


def _interpolated(
    axis: Axis, values: NDArray[np.float64], method: Method
) -> NDArray[np.float64]:
    """Let scipy interpolate along one axis; NaN outside the field of view."""
    made: NDArray[np.float64] = ndimage.affine_transform(
        values,
        np.array([axis.step] if axis.scaled else [[axis.step]]),
        axis.origin,
        output_shape=(axis.voxels,),
        order=ORDERS[method],
        cval=math.nan,
    )
    return made


def _as_slice(index: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Write an index as a slice where its steps are equal and not zero."""
    first, last = int(index[0]), int(index[-1])
    step = int(index[1]) - first if len(index) > 1 else 1
    if step == 0 or not (np.diff(index) == step).all():
        return index
    stop = last + (1 if step > 0 else -1)
    return slice(first, stop if stop >= 0 else None, step)
