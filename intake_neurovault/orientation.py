"""Where the voxels of a labelled array lie, by its coordinates."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from intake_neurovault.coordinates import NIFTI
from intake_neurovault.errors import GeometryError

__all__ = ["affine_of", "spatial_dims"]

_MILLIMETRES, _INDICES = ("x", "y", "z"), ("i", "j", "k")
_NEARLY_WHOLE = 1e-6


def affine_of(array: xr.DataArray) -> NDArray[np.float64]:
    """Give the affine that the coordinates of an array amount to.

    Parameters
    ----------
    array : xarray.DataArray
        With three voxel axes, in any order.

    Returns
    -------
    ndarray of shape (4, 4), float64
        Voxel index to millimetres, for the axes in the order of `spatial_dims`.

    Raises
    ------
    GeometryError
        If a dimension is missing, the voxels are not evenly spaced, or nothing
        tells the step of an axis.
    """
    dims = spatial_dims(array)
    stored = _stored_affine(array)
    if stored is None and dims == _INDICES:
        msg = (
            f"the array has voxel indices as coordinates, but no {NIFTI!r} "
            "coordinate with the affine; keep it when you make new arrays"
        )
        raise GeometryError(msg)
    base = np.eye(4) if stored is None else stored
    change = np.eye(4)
    for axis, dim in enumerate(dims):
        positions = _positions(array, dim)
        if positions is None and stored is not None:
            continue
        if positions is not None and dim == _MILLIMETRES[axis]:
            positions = (positions - base[axis, 3]) / base[axis, axis]
        known = stored is not None
        change[axis, axis], change[axis, 3] = _walk(dim, positions, known=known)
    return np.asarray(base @ change)


def spatial_dims(array: xr.DataArray) -> tuple[str, ...]:
    """Name the three voxel axes.

    Parameters
    ----------
    array : xarray.DataArray
        Any array.

    Returns
    -------
    tuple of str
        ``x``, ``y``, ``z``, or ``i``, ``j``, ``k`` on an oblique grid.

    Raises
    ------
    GeometryError
        If one is missing.

    Examples
    --------
    >>> spatial_dims(xr.DataArray(np.ones((2, 2, 2)), dims=["z", "x", "y"]))
    ('x', 'y', 'z')
    """
    for dims in (_MILLIMETRES, _INDICES):
        if set(dims) <= set(array.dims):
            return dims
    missing = [dim for dim in _MILLIMETRES if dim not in array.dims]
    msg = (
        f"a map has the dimensions x, y and z, this array has no {', '.join(missing)} "
        f"(it has {', '.join(map(str, array.dims)) or 'none'}); to keep a dimension "
        "of one voxel, select with a list or a slice"
    )
    raise GeometryError(msg)


def _stored_affine(array: xr.DataArray) -> NDArray[np.float64] | None:
    """Give the affine of the grid on which the array was made."""
    if NIFTI not in array.coords or "affine" not in array.coords[NIFTI].attrs:
        return None
    flat = np.asarray(array.coords[NIFTI].attrs["affine"], dtype=np.float64)
    return flat.reshape(4, 4)


def _positions(array: xr.DataArray, dim: Hashable) -> NDArray[np.float64] | None:
    """Give the coordinates along an axis, if it has any."""
    if dim not in array.coords:
        return None
    return np.asarray(array.coords[dim].values, dtype=np.float64)


def _walk(
    dim: str, positions: NDArray[np.float64] | None, *, known: bool
) -> tuple[float, float]:
    """Give step and start of evenly spaced positions.

    Positions counted in voxels of a known grid are whole numbers but for rounding;
    taking them as such gives back the very numbers of the affine.
    """
    if positions is None or (positions.size == 1 and not known):
        msg = (
            f"nothing tells how large a voxel is along {dim!r}: it has fewer than two "
            f"coordinates, and the array no {NIFTI!r} coordinate; keep that coordinate "
            "when you make new arrays"
        )
        raise GeometryError(msg)
    if positions.size == 0:
        msg = f"no voxel is left along {dim!r}; select a wider range"
        raise GeometryError(msg)
    whole = positions.round()
    if known and np.abs(positions - whole).max() < _NEARLY_WHOLE:
        positions = whole
    steps = np.diff(positions)
    if steps.size == 0:
        return 1.0, float(positions[0])
    if steps[0] == 0 or not np.allclose(steps, steps.mean(), rtol=1e-4, atol=0):
        msg = (
            f"the coordinates along {dim!r} are not evenly spaced, which an affine "
            "cannot say; select with slices, or interpolate to even steps"
        )
        raise GeometryError(msg)
    return float(steps.mean()), float(positions[0])
