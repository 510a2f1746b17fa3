"""Which voxels of a grid are meant: by a mask, or around a place."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intake_neurovault.errors import ArgumentError, GeometryError
from intake_neurovault.grid import Grid
from intake_neurovault.resampling import resample

Inside = NDArray[np.bool_]

# NOTE: the nearest voxels of a mask make up its volume but for less than a hundredth.
_NEARLY_ALL = 0.98

_MASKS = (
    "a mask or an atlas is the path of a NIfTI file, a NIfTI image, a DataArray with "
    "x, y and z in millimetres, a boolean array, one of nilearn's maskers, what "
    "nilearn.datasets.fetch_atlas_… gives, a list of places in millimetres, or None "
    "for the MNI152 brain mask"
)


def parse_mask(mask: Any, grid: Grid, *, may_be_elsewhere: bool = False) -> Inside:
    """Understand a mask, and bring it to a grid.

    Parameters
    ----------
    mask : NIfTI image, ndarray of bool, or None
        What is not zero is inside. An image on another grid is brought to this one
        by the nearest voxel. None stands for
        ``nilearn.datasets.load_mni152_brain_mask()``.
    grid : Grid
        Where the voxels lie.
    may_be_elsewhere : bool
        Whether it is no error if no voxel of the grid is inside.

    Returns
    -------
    ndarray of bool
        Of the grid's shape; usually at least one voxel is inside. Not to be written
        to.

    Raises
    ------
    ArgumentError
        If it is none of these.
    GeometryError
        If an array has another shape, an image is not 3-D, has several values
        besides zero, or none of its voxels lies on the grid.

    Examples
    --------
    >>> import numpy as np
    >>> from intake_neurovault.grid import parse_grid
    >>> grid = parse_grid(10)
    >>> int(parse_mask(np.ones(grid.shape, dtype=bool), grid).sum())
    7942
    """
    if mask is None:
        inside = _brain(grid)
    elif hasattr(mask, "affine") and hasattr(mask, "dataobj"):
        inside = _image(mask, grid)
    elif isinstance(mask, np.ndarray) and mask.dtype == np.bool_:
        inside = _fitting(mask, grid)
    else:
        msg = f"mask: {type(mask).__name__} is not understood; {_MASKS}"
        raise ArgumentError(msg)
    if not (may_be_elsewhere or inside.any()):
        msg = (
            f"no voxel of the grid of {grid.describe()} is inside the mask; check "
            "mask=, and whether both are in the same space"
        )
        raise GeometryError(msg)
    return inside


def count_of(mask: Any, grid: Grid, inside: Inside) -> float:
    """Count the voxels of a mask, also those beyond the edge of a grid.

    Parameters
    ----------
    mask : NIfTI image, ndarray of bool, or None
        As for `parse_mask`.
    grid : Grid
        Where the voxels lie.
    inside : ndarray of bool
        What `parse_mask` made of both.

    Returns
    -------
    float
        Those inside, unless they are fewer than what the volume of the mask amounts to:
        then that many. Of an array, those inside.

    Examples
    --------
    >>> from intake_neurovault.grid import parse_grid
    >>> grid = parse_grid(10)
    >>> inside = np.ones(grid.shape, dtype=bool)
    >>> count_of(inside, grid, inside)
    7942.0
    """
    here = float(np.count_nonzero(inside))
    volume = _volume(mask)
    if volume is None:
        return here
    whole = volume / _voxel_volume(grid.matrix)
    return here if here > _NEARLY_ALL * whole else whole


def ball(grid: Grid, centre: ArrayLike, radius: float) -> Inside:
    """Find the voxels around a place.

    Parameters
    ----------
    grid : Grid
        Where the voxels lie.
    centre : array_like of 3 floats
        The place, in millimetres.
    radius : float
        How far the centre of a voxel may be off, in millimetres. The voxel that
        holds the place belongs to it in any case.

    Returns
    -------
    ndarray of bool
        Of the grid's shape.

    Raises
    ------
    ArgumentError
        If the radius is negative, or a number is not finite.
    GeometryError
        If the place is outside the grid.

    Notes
    -----
    These are the voxels of ``nilearn.maskers.NiftiSpheresMasker``.

    Examples
    --------
    >>> from intake_neurovault.grid import parse_grid
    >>> int(ball(parse_grid("mni152-3mm"), (0, 0, 0), radius=3).sum())
    7
    """
    place = np.asarray(centre, dtype=np.float64)
    if not (np.isfinite(place).all() and np.isfinite(radius) and radius >= 0):
        msg = (
            f"a sphere has three coordinates and a radius of at least 0, in "
            f"millimetres; got {place.tolist()} and radius={radius!r}"
        )
        raise ArgumentError(msg)
    nearest = np.rint(_indices(grid, place)).astype(int)
    if (nearest < 0).any() or (nearest >= grid.shape).any():
        msg = (
            f"the place {place.tolist()} mm is outside the grid of {grid.describe()}; "
            "check x, y and z"
        )
        raise GeometryError(msg)
    steps = np.indices(grid.shape, sparse=True)
    matrix = grid.matrix
    square = np.zeros(grid.shape)
    for row, where in zip(matrix[:3], place, strict=True):
        away = sum(row[axis] * steps[axis] for axis in range(3)) + (row[3] - where)
        square += away**2
    inside = square <= radius**2
    inside[tuple(nearest)] = True
    return inside


def _indices(grid: Grid, place: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn millimetres into indices, not rounded."""
    found: NDArray[np.float64] = np.linalg.inv(grid.matrix) @ np.append(place, 1)
    return found[:3]


@lru_cache(maxsize=4)
def _brain(grid: Grid) -> Inside:
    """Load nilearn's brain mask once for each grid.

    nilearn takes more than a second to import, and only this needs it.
    """
    datasets = import_module("nilearn.datasets")
    inside = _image(datasets.load_mni152_brain_mask(), grid)
    inside.flags.writeable = False
    return inside


@lru_cache(maxsize=1)
def _brain_volume() -> float:
    volume = _volume(import_module("nilearn.datasets").load_mni152_brain_mask())
    return 0.0 if volume is None else volume


def _volume(mask: Any) -> float | None:
    """Give the volume of a mask that knows its own, in cubic millimetres."""
    if mask is None:
        return _brain_volume()
    if not hasattr(mask, "affine"):
        return None
    values = np.nan_to_num(np.asanyarray(mask.dataobj))
    return int(np.count_nonzero(values)) * _voxel_volume(mask.affine)


def _voxel_volume(matrix: NDArray[np.float64]) -> float:
    return float(abs(np.linalg.det(matrix[:3, :3])))


def _image(mask: Any, grid: Grid) -> Inside:
    """Bring the mask of an image to a grid."""
    data = np.asanyarray(mask.dataobj)
    data = data.reshape(data.shape[:3] + tuple(n for n in data.shape[3:] if n != 1))
    if data.ndim != 3:
        msg = f"mask: a mask is 3-D, this image has the shape {mask.shape}"
        raise GeometryError(msg)
    source = Grid.from_affine(mask.affine, data.shape)
    values = _two_valued(data, "the mask").astype(np.float32)
    if source.isclose(grid):
        return values > 0
    found, outside = resample(values, source.matrix, grid.matrix, grid.shape, "nearest")
    inside: Inside = (found > 0) & ~outside
    return inside


def _two_valued(values: NDArray[Any], label: str) -> Inside:
    """Tell inside from outside, unless that is for the caller to decide."""
    values = np.nan_to_num(values)
    inside: Inside = values != 0
    found = values[inside]
    if found.size and (found != found.flat[0]).any():
        msg = (
            f"{label} has several values besides 0, so that it is not said what is "
            "inside; compare it with a threshold (an atlas has whole numbers)"
        )
        raise GeometryError(msg)
    return inside


def _fitting(mask: Inside, grid: Grid) -> Inside:
    if mask.shape != grid.shape:
        msg = (
            f"mask: an array of the shape {mask.shape} does not fit the grid of "
            f"{grid.describe()}; pass a NIfTI image, which knows where it lies"
        )
        raise GeometryError(msg)
    return mask
