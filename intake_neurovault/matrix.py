"""Maps as rows of a matrix with one column for each voxel of a mask, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from intake_neurovault.blocks import MapArray
from intake_neurovault.coordinates import NIFTI, axis_columns
from intake_neurovault.errors import GeometryError
from intake_neurovault.grid import Grid

__all__ = ["flatten", "grid_of", "unflatten", "voxel_coords"]

_VOXEL = "voxel"
_NEARLY_WHOLE = 0.01
_MILLIMETRES = {
    axis: {"units": "mm", "long_name": f"{axis} of the voxel"} for axis in "xyz"
}


def flatten(
    array: xr.DataArray, dims: Sequence[str], grid: Grid, inside: NDArray[np.bool_]
) -> xr.DataArray:
    """Make one dimension of three, of the voxels of a mask.

    Parameters
    ----------
    array : xarray.DataArray
        With the three voxel axes and any others; may be lazy.
    dims : sequence of str
        The voxel axes, in the order of the grid.
    grid : Grid
        Where its voxels lie.
    inside : ndarray of bool
        Which of them to keep, of the grid's shape.

    Returns
    -------
    xarray.DataArray
        With the dimension ``voxel`` in place of the three, last. Voxels are in the
        order in which :func:`numpy.nonzero` finds them, as in
        ``nilearn.maskers.NiftiMasker``; ``x``, ``y`` and ``z`` on ``voxel`` say
        where each lies, in millimetres; the ``nifti`` coordinate knows the grid. As
        lazy as it was, in the same blocks of images, of which only these voxels are
        kept.
    """
    known = array.coords[NIFTI].attrs if NIFTI in array.coords else {}
    if _is_cube(array, dims):
        found = _picked(array, dims, inside)
    else:
        found = _gathered(array, dims, np.nonzero(inside), inside)
    return found.assign_coords(voxel_coords(grid, inside, known))


def voxel_coords(
    grid: Grid, inside: NDArray[np.bool_], known: Mapping[str, Any]
) -> dict[str, Any]:
    """Say where the voxels of a mask lie.

    Parameters
    ----------
    grid : Grid
        Where the voxels of the mask lie.
    inside : ndarray of bool
        The mask, of the grid's shape.
    known : mapping
        Attributes of the ``nifti`` coordinate, of which affine and shape are replaced.

    Returns
    -------
    dict
        Coordinates: ``x``, ``y`` and ``z`` on ``voxel``, in millimetres, and ``nifti``.
    """
    places = np.nonzero(inside)
    where = grid.matrix @ np.array([*places, np.ones(len(places[0]))])
    coords: dict[str, Any] = {
        name: (_VOXEL, where[axis], _MILLIMETRES[name])
        for axis, name in enumerate("xyz")
    }
    place = {"affine": list(grid.affine), "shape": list(grid.shape)}
    return {**coords, NIFTI: ((), np.int64(0), {**known, **place})}


def unflatten(matrix: xr.DataArray) -> xr.DataArray:
    """Put the voxels of a matrix back where they were.

    Parameters
    ----------
    matrix : xarray.DataArray
        As :func:`flatten` gives it; rows and voxels may have been chosen since, and
        the values be others.

    Returns
    -------
    xarray.DataArray
        With the three voxel axes in place of ``voxel``, last; 0 where the matrix has
        no voxel.

    Raises
    ------
    GeometryError
        If the dimension, or what tells where the voxels lie, is missing; if two are
        at one place; or if one is outside the grid.
    """
    _need_voxels(matrix)
    grid = grid_of(matrix)
    places = _places_of(matrix, grid)
    axes = axis_columns(grid)
    found: xr.DataArray = xr.apply_ufunc(
        _put,
        matrix,
        xr.DataArray(places, dims=_VOXEL),
        kwargs={"shape": grid.shape},
        input_core_dims=[[_VOXEL], [_VOXEL]],
        output_core_dims=[list(axes)],
        dask="parallelized",
        output_dtypes=[matrix.dtype],
        dask_gufunc_kwargs={
            "output_sizes": dict(zip(axes, grid.shape, strict=True)),
            "allow_rechunk": True,
        },
        keep_attrs=True,
    )
    known = {n: v for n, v in matrix.coords[NIFTI].attrs.items() if n != "shape"}
    coords = {name: (name, axis.values, axis.attrs) for name, axis in axes.items()}
    return found.assign_coords({**coords, NIFTI: ((), np.int64(0), known)})


def _is_cube(array: xr.DataArray, dims: Sequence[str]) -> bool:
    """Tell whether these are maps that are not read yet, all of each."""
    lazy = isinstance(array.data, MapArray) and array.data.uncut
    return lazy and array.dims[1:] == tuple(dims)


def _picked(
    array: xr.DataArray, dims: Sequence[str], inside: NDArray[np.bool_]
) -> xr.DataArray:
    """Have the voxels of a mask, and nothing else, read from each map."""
    rows = array.isel(dict.fromkeys(dims, 0), drop=True)
    data = array.data.pick(np.flatnonzero(inside))
    named = (*rows.dims, _VOXEL)
    return xr.DataArray(data, rows.coords, named, array.name, array.attrs)


def _gathered(
    array: xr.DataArray,
    dims: Sequence[str],
    places: tuple[NDArray[np.intp], ...],
    inside: NDArray[np.bool_],
) -> xr.DataArray:
    """Take the voxels of a mask out of any array."""
    # NOTE: cutting the box out first is merged into the reading of the maps.
    box = {
        dim: slice(int(at.min()), int(at.max()) + 1)
        for dim, at in zip(dims, places, strict=True)
    }
    cut = array.isel(box)
    kept = np.flatnonzero(inside[tuple(box.values())])
    within = tuple(cut.sizes[dim] for dim in dims)
    turned = np.ravel_multi_index(np.unravel_index(kept, within)[::-1], within[::-1])
    found: xr.DataArray = xr.apply_ufunc(
        _take,
        cut,
        xr.DataArray(kept, dims=_VOXEL),
        xr.DataArray(turned, dims=_VOXEL),
        input_core_dims=[list(dims), [_VOXEL], [_VOXEL]],
        output_core_dims=[[_VOXEL]],
        dask="parallelized",
        output_dtypes=[array.dtype],
        dask_gufunc_kwargs={"allow_rechunk": True},
        keep_attrs=True,
    )
    return found


def _take(
    maps: NDArray[Any], kept: NDArray[np.intp], turned: NDArray[np.intp]
) -> NDArray[Any]:
    """Take voxels by their numbers, the last axis fastest, or turned, the first."""
    # NOTE: maps that were read are in the order of a NIfTI file, and would be copied
    # as a whole to be flattened in the other.
    if maps.strides[-3] < maps.strides[-1]:
        maps, kept = maps.swapaxes(-3, -1), turned
    size = int(np.prod(maps.shape[-3:]))
    return np.take(maps.reshape(*maps.shape[:-3], size), kept, axis=-1)


def _put(
    rows: NDArray[Any], places: NDArray[np.intp], *, shape: tuple[int, int, int]
) -> NDArray[Any]:
    maps = np.zeros((*rows.shape[:-1], int(np.prod(shape))), dtype=rows.dtype)
    maps[..., places] = rows
    return maps.reshape(*rows.shape[:-1], *shape)


def grid_of(matrix: xr.DataArray) -> Grid:
    """Tell on which grid the voxels of a matrix were.

    Parameters
    ----------
    matrix : xarray.DataArray
        With the ``nifti`` coordinate that :func:`flatten` gives.

    Returns
    -------
    Grid
        That grid.

    Raises
    ------
    GeometryError
        If the coordinate is missing, or does not say affine and shape.
    """
    known = matrix.coords[NIFTI].attrs if NIFTI in matrix.coords else {}
    if not {"affine", "shape"} <= set(known):
        raise _lost([f"{NIFTI} (with affine and shape)"])
    return Grid.from_affine(known["affine"], known["shape"])


def _need_voxels(matrix: xr.DataArray) -> None:
    """Raise unless there are voxels that know where they lie."""
    if _VOXEL not in matrix.dims:
        msg = (
            f"only a matrix can be unmasked, this array has no dimension {_VOXEL!r} "
            f"(it has {', '.join(map(str, matrix.dims)) or 'none'}); .nii.to_matrix() "
            "makes one"
        )
        raise GeometryError(msg)
    needed = (NIFTI, "x", "y", "z")
    lacking = [name for name in needed if name not in matrix.coords]
    if lacking:
        raise _lost(lacking)


def _lost(lacking: Sequence[str]) -> GeometryError:
    return GeometryError(
        "nothing tells where the voxels lie, since the matrix has lost "
        f"{', '.join(lacking)}; keep these coordinates when you make new arrays"
    )


def _places_of(matrix: xr.DataArray, grid: Grid) -> NDArray[np.intp]:
    """Count the place of each voxel in the grid, from where it lies."""
    where = np.array([matrix.coords[axis].values for axis in "xyz"])
    indices = np.linalg.inv(grid.matrix) @ np.array([*where, np.ones(where.shape[1])])
    whole = np.rint(indices[:3])
    off = np.abs(indices[:3] - whole).max(initial=0) > _NEARLY_WHOLE
    beyond = (whole < 0) | (whole >= np.array(grid.shape)[:, None])
    if off or beyond.any():
        msg = (
            "the x, y and z of the matrix are not those of voxels of its grid, "
            f"{grid.describe()}; unmask before you move them"
        )
        raise GeometryError(msg)
    places: NDArray[np.intp] = np.ravel_multi_index(
        tuple(whole.astype(np.intp)), grid.shape
    )
    if len(np.unique(places)) != len(places):
        msg = "the matrix has a voxel twice; choose each voxel once, then unmask"
        raise GeometryError(msg)
    return places
