"""One axis of a map onto one axis of a grid: which voxels, and with which weights.

Interpolation along an axis is a linear map. Its numbers come from `scipy.ndimage`
itself, which is asked once for each geometry, so that the edges of the field of view,
the boundary of the splines and the ties between neighbours are its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import scipy
from numpy.typing import NDArray

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
# NOTE: up to twice as many products of two numbers OpenBLAS uses the thread that asks
# alone (`interface/gemm.c`); with more, each of many threads would start others.
_MOST_PRODUCTS = 1 << 17
_ROWS: Mapping[Method, int] = MappingProxyType({"continuous": 24, "linear": 8})


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


class Block(NamedTuple):
    """The weights of a few neighbouring voxels of a grid."""

    rows: slice
    """Which voxels of the grid, among those in the field of view."""
    columns: slice
    """Which voxels of the map have a weight in them."""
    weights: NDArray[np.float32]
    """Rows × columns."""


@dataclass(frozen=True, eq=False)
class AxisWeights:
    """What the voxels of a grid are: single voxels of the map, or sums of several."""

    inside: slice
    """Which voxels of the grid lie in the field of view."""
    index: slice | NDArray[np.intp] | None = None
    """Which voxel of the map each of them is; None where they are sums."""
    blocks: tuple[Block, ...] = ()
    """Else their weights."""

    @property
    def count(self) -> int:
        """How many voxels of the grid are in the field of view."""
        return int(self.inside.stop - self.inside.start)

    @property
    def work(self) -> int:
        """How many products of two numbers it takes to add up one line of them."""
        return sum(block.weights.size for block in self.blocks)

    def take(self, values: NDArray[Any], place: int) -> NDArray[Any]:
        """Choose voxels along an axis of an array.

        Parameters
        ----------
        values : ndarray
            3-D.
        place : int
            The axis.

        Returns
        -------
        ndarray
            With `count` voxels along that axis; perhaps a view of `values`.
        """
        if isinstance(self.index, slice):
            return values[(slice(None),) * place + (self.index,)]
        return values.take(cast(NDArray[np.intp], self.index), place)

    def add(self, values: NDArray[np.float32], place: int) -> NDArray[np.float32]:
        """Add up voxels along an axis of an array.

        Parameters
        ----------
        values : ndarray
            3-D, float32, C-contiguous.
        place : int
            The axis.

        Returns
        -------
        ndarray
            C-contiguous, and that axis is the first one, with `count` voxels.
        """
        before, after = values.shape[:place], values.shape[place + 1 :]
        made = np.empty((self.count, *before, *after), np.float32)
        if after:
            lines = values.reshape(math.prod(before), values.shape[place], -1)
        else:
            lines = values.reshape(1, -1, values.shape[place]).swapaxes(1, 2)
        sums = made.reshape(self.count, len(lines), -1).swapaxes(0, 1)
        for rows, columns, weights in self.blocks:
            _multiply(weights, lines[:, columns], sums[:, rows])
        return made


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
    >>> axis_weights(Axis(4, 1.5, 0.0, 3, True), "linear").blocks[0].weights
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
        return AxisWeights(slice(0, 0), slice(0, 0))
    inside = slice(int(found[0]), int(found[-1]) + 1)
    if method == "nearest":
        return AxisWeights(inside, _as_slice(nearest[inside].astype(np.intp)))
    units = np.eye(axis.size)
    weights = np.stack([_interpolated(axis, unit, method)[inside] for unit in units], 1)
    weights[np.abs(weights) < _SMALLEST_WEIGHT] = 0
    matrix = weights.astype(np.float32)
    # NOTE: whole steps that were rounded on the way are whole again by now.
    if np.isin(matrix, (0, 1)).all():
        return AxisWeights(inside, _as_slice(matrix.argmax(axis=1)))
    return AxisWeights(inside, blocks=tuple(_blocks(matrix, _ROWS[method])))


def _blocks(matrix: NDArray[np.float32], rows_at_once: int) -> Iterator[Block]:
    """Cut out of a matrix what is not zero, a few rows at a time."""
    start = 0
    for part in np.array_split(matrix, math.ceil(len(matrix) / rows_at_once)):
        used = np.flatnonzero(part.any(axis=0))
        columns = slice(int(used[0]), int(used[-1]) + 1)
        rows = slice(start, start + len(part))
        yield Block(rows, columns, np.ascontiguousarray(part[:, columns]))
        start = rows.stop


def _multiply(
    weights: NDArray[np.float32], lines: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Multiply a matrix with each of several, in pieces."""
    length = lines.shape[-1]
    width = max(1, min(length, _MOST_PRODUCTS // weights.size))
    whole = length - length % width
    pieces = [
        array[..., :whole].reshape(*array.shape[:2], -1, width).swapaxes(1, 2)
        for array in (lines, out)
    ]
    np.matmul(weights, pieces[0], out=pieces[1])
    if whole < length:
        np.matmul(weights, lines[..., whole:], out=out[..., whole:])


def _interpolated(
    axis: Axis, values: NDArray[np.float64], method: Method
) -> NDArray[np.float64]:
    """Let scipy interpolate along one axis; NaN outside the field of view."""
    made: NDArray[np.float64] = scipy.ndimage.affine_transform(
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
