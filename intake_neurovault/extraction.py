"""Maps as a matrix with a column for each voxel or region, and back."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import scipy
import xarray as xr
from numpy.typing import NDArray

from intake_neurovault.atlases import parse_atlas
from intake_neurovault.coordinates import NIFTI, axis_columns
from intake_neurovault.errors import ArgumentError, GeometryError
from intake_neurovault.grid import Grid
from intake_neurovault.headers import make_image
from intake_neurovault.maskers import Fitted, fit_masker
from intake_neurovault.matrix import flatten, grid_of, unflatten, voxel_coords
from intake_neurovault.parcels import Parcels, Weights, parcels_of
from intake_neurovault.regions import parse_mask
from intake_neurovault.resampling import resample

__all__ = ["columns_of", "maps_of"]

_VOXEL, _REGION = "voxel", "region"
_INNER = ("_weight", "_start", "_mixed")
"""Dimensions that only the functions on blocks see."""


def columns_of(
    array: xr.DataArray,
    dims: Sequence[str],
    grid: Grid,
    given: Any,
    radius: float | None = None,
) -> xr.DataArray:
    """Make a column of each voxel of a mask, or each region of an atlas.

    Parameters
    ----------
    array : xarray.DataArray
        With the three voxel axes and any others; may be lazy.
    dims : sequence of str
        The voxel axes, in the order of the grid.
    grid : Grid
        Where its voxels lie.
    given : object
        What :func:`.atlases.parse_atlas` understands.
    radius : float, optional
        Of the spheres around places, in millimetres.

    Returns
    -------
    xarray.DataArray
        With ``voxel`` or ``region`` in place of the three, last. As lazy as the array,
        in the same blocks of images.

    Raises
    ------
    ArgumentError
        If `given` is not understood, or is a masker that looks across maps.
    CorruptFileError
        If a file is damaged.
    GeometryError
        If an image fits neither the grid nor the idea of a mask or an atlas.
    """
    atlas = parse_atlas(given, radius)
    if atlas.masker is None:
        return flatten(array, dims, grid, parse_mask(atlas.mask, grid))
    fitted = fit_masker(atlas.masker, grid)
    target = fitted.grid
    if target is not grid or fitted.fwhm is not None:
        array = _brought(array, dims, grid, fitted)
        dims = tuple(axis_columns(target))
    if fitted.kind == "voxels":
        inside = np.asanyarray(fitted.masker.mask_img_.dataobj) != 0
        found = flatten(array, dims, target, inside)
    else:
        parcels = parcels_of(fitted, atlas.names)
        voxels = flatten(array, dims, target, parcels.inside)
        found = _labelled(_reduced(voxels, parcels), parcels)
    return found if fitted.dtype is None else found.astype(fitted.dtype)


def maps_of(
    matrix: xr.DataArray, given: Any = None, radius: float | None = None
) -> xr.DataArray:
    """Put the columns of a matrix back where they were.

    Parameters
    ----------
    matrix : xarray.DataArray
        As :func:`columns_of` gives it; rows and columns may have been chosen since.
    given : object
        The atlas, for a matrix of regions.
    radius : float, optional
        Of the spheres around places, in millimetres.

    Returns
    -------
    xarray.DataArray
        With the three voxel axes in place of ``voxel`` or ``region``, last.

    Raises
    ------
    ArgumentError
        If the atlas is missing, is not that of the matrix, or is not needed.
    GeometryError
        If it is no matrix, or has lost the coordinates that tell where its voxels or
        regions lie.
    """
    if _REGION not in matrix.dims:
        if given is not None or radius is not None:
            msg = (
                "a matrix of voxels knows where they lie; call unmask() without an "
                "atlas and a radius"
            )
            raise ArgumentError(msg)
        return unflatten(matrix)
    if given is None:
        msg = (
            "a matrix of regions does not say which voxels are theirs; give the atlas "
            "of which it was made, as in matrix.nii.unmask(atlas)"
        )
        raise ArgumentError(msg)
    atlas = parse_atlas(given, radius)
    fitted = None if atlas.masker is None else fit_masker(atlas.masker, grid_of(matrix))
    if fitted is None or fitted.kind == "voxels":
        msg = "a mask has no regions; give the atlas of which the matrix was made"
        raise ArgumentError(msg)
    parcels = parcels_of(fitted, atlas.names)
    painted = parcels.painted.take(_matched(matrix, parcels))
    inside = matrix.drop_vars(
        [n for n, c in matrix.coords.items() if _REGION in c.dims]
    )
    voxels: xr.DataArray = _product(inside, painted, None, _REGION, _VOXEL)
    known = matrix.coords[NIFTI].attrs
    coords = voxel_coords(parcels.grid, parcels.inside, known)
    return unflatten(voxels.assign_coords(coords))


def _matched(matrix: xr.DataArray, parcels: Parcels) -> list[int]:
    """Find the regions of a matrix in an atlas, by number and name."""
    if not {"label", _REGION} <= set(matrix.coords):
        msg = (
            "nothing tells which regions these are, since the matrix has lost 'label' "
            "or 'region'; keep these coordinates when you make new arrays"
        )
        raise GeometryError(msg)
    known = {
        key: place
        for place, key in enumerate(zip(parcels.numbers, parcels.names, strict=True))
    }
    asked = zip(matrix["label"].values, map(str, matrix[_REGION].values), strict=True)
    wanted = list(asked)
    lacking = [name for number, name in wanted if (number, name) not in known]
    if lacking:
        msg = (
            f"the atlas has no region {lacking[0]!r} as the matrix has it; give the "
            "atlas of which the matrix was made"
        )
        raise ArgumentError(msg)
    if len(set(wanted)) != len(wanted):
        msg = "the matrix has a region twice; choose each region once, then unmask"
        raise GeometryError(msg)
    return [known[key] for key in wanted]


def _labelled(found: xr.DataArray, parcels: Parcels) -> xr.DataArray:
    """Say which region each column is."""
    what = {"long_name": "number of the region in the atlas"}
    coords: dict[str, Any] = {
        _REGION: (
            _REGION,
            np.array(parcels.names),
            {"long_name": "name of the region"},
        ),
        "label": (_REGION, parcels.numbers, what),
    }
    for axis, values in (parcels.places or {}).items():
        about = {"units": "mm", "long_name": f"{axis} of the centre"}
        coords[axis] = (_REGION, values, about)
    return found.assign_coords(coords)


# ---- maps before their columns are taken -----------------------------------------


def _brought(
    array: xr.DataArray, dims: Sequence[str], grid: Grid, fitted: Fitted
) -> xr.DataArray:
    """Bring maps to the grid of a masker and smooth them, as nilearn does before."""
    names = tuple(axis_columns(fitted.grid))
    inner = [f"_{name}" for name in names]
    found: xr.DataArray = xr.apply_ufunc(
        _prepared,
        array,
        kwargs={"source": grid, "target": fitted.grid, "fwhm": fitted.fwhm},
        input_core_dims=[list(dims)],
        output_core_dims=[inner],
        dask="parallelized",
        output_dtypes=[np.float32],
        dask_gufunc_kwargs={
            "output_sizes": dict(zip(inner, fitted.grid.shape, strict=True)),
            "allow_rechunk": True,
        },
        keep_attrs=True,
    )
    return found.rename(dict(zip(inner, names, strict=True)))


def _prepared(
    block: NDArray[Any], *, source: Grid, target: Grid, fwhm: Any
) -> NDArray[np.float32]:
    maps = block.reshape(-1, *block.shape[-3:])
    done = np.empty((len(maps), *target.shape), dtype=np.float32)
    for values, result in zip(maps, done, strict=True):
        result[...] = _one_prepared(values.astype(np.float32), source, target, fwhm)
    return done.reshape(*block.shape[:-3], *target.shape)


def _one_prepared(
    values: NDArray[np.float32], source: Grid, target: Grid, fwhm: Any
) -> NDArray[np.float32]:
    if source is not target:
        values, outside = resample(
            values, source.matrix, target.matrix, target.shape, "continuous"
        )
        values[outside] = 0
    # NOTE: smoothing takes what is not finite for 0, and a lost map shall stay lost.
    if fwhm is None or not np.isfinite(values).any():
        return values
    image = make_image(values, target.matrix)
    smooth = import_module("nilearn.image").smooth_img(image, fwhm)
    return np.asanyarray(smooth.dataobj)


# ---- voxels to regions, and regions to voxels ------------------------------------


def _reduced(voxels: xr.DataArray, parcels: Parcels) -> xr.DataArray:
    """Make one number of the voxels of each region."""
    if parcels.linear:
        return _product(voxels, parcels.weights, parcels.mixing, _VOXEL, _REGION)
    members = parcels.painted.matrix()
    region = np.empty(parcels.painted.voxels, dtype=np.int64)
    region[members.indices] = np.repeat(
        np.arange(len(parcels.numbers)), np.diff(members.indptr)
    )
    found: xr.DataArray = xr.apply_ufunc(
        _summarised,
        voxels,
        xr.DataArray(region, dims=_VOXEL),
        kwargs={"strategy": parcels.strategy, "regions": len(parcels.numbers)},
        input_core_dims=[[_VOXEL], [_VOXEL]],
        output_core_dims=[[_REGION]],
        dask="parallelized",
        output_dtypes=[_float_of(voxels)],
        dask_gufunc_kwargs={
            "output_sizes": {_REGION: len(parcels.numbers)},
            "allow_rechunk": True,
        },
        keep_attrs=True,
    )
    return found


def _product(
    array: xr.DataArray,
    weights: Weights,
    mixing: NDArray[np.float64] | None,
    old: str,
    new: str,
) -> xr.DataArray:
    """Multiply by sparse weights along one dimension, and make another of it.

    Weights are arguments, so that a cluster's workers are sent them once.
    """
    transposed = old == _REGION
    size = weights.voxels if transposed else len(weights.starts) - 1
    weight, start, mixed = _INNER
    parts = [
        xr.DataArray(weights.values, dims=weight),
        xr.DataArray(weights.columns, dims=weight),
        xr.DataArray(weights.starts, dims=start),
    ]
    inner = [[weight], [weight], [start]]
    if mixing is not None:
        parts.append(xr.DataArray(mixing, dims=(mixed, f"{mixed}_")))
        inner.append([mixed, f"{mixed}_"])
    found: xr.DataArray = xr.apply_ufunc(
        _multiplied,
        array,
        *parts,
        kwargs={"voxels": weights.voxels, "transposed": transposed},
        input_core_dims=[[old], *inner],
        output_core_dims=[[new]],
        dask="parallelized",
        output_dtypes=[_float_of(array)],
        dask_gufunc_kwargs={"output_sizes": {new: size}, "allow_rechunk": True},
        keep_attrs=True,
    )
    return found


def _multiplied(
    block: NDArray[Any],
    values: NDArray[np.float64],
    columns: NDArray[np.intp],
    starts: NDArray[np.intp],
    mixing: NDArray[np.float64] | None = None,
    *,
    voxels: int,
    transposed: bool,
) -> NDArray[Any]:
    matrix = Weights(values, columns, starts, voxels).matrix()
    rows, lost = _finite_rows(block)
    found = ((matrix.T if transposed else matrix) @ rows.T).T
    if mixing is not None:
        found = found @ mixing
    return _restored(found, lost, block)


def _summarised(
    block: NDArray[Any], region: NDArray[np.int64], *, strategy: str, regions: int
) -> NDArray[Any]:
    rows, lost = _finite_rows(block)
    function, index = getattr(scipy.ndimage, strategy), np.arange(regions)
    found = [function(row, labels=region, index=index) for row in rows]
    return _restored(np.reshape(found, (len(rows), regions)), lost, block)


def _finite_rows(block: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Give rows with 0 for what is not finite, and which have nothing finite."""
    rows = block.reshape(-1, block.shape[-1])
    finite = np.isfinite(rows)
    if finite.all():
        return rows, np.zeros(len(rows), dtype=bool)
    return np.where(finite, rows, 0), ~finite.any(axis=1)


def _restored(
    found: NDArray[Any], lost: NDArray[np.bool_], block: NDArray[Any]
) -> NDArray[Any]:
    """Shape rows as the block was, with NaN for a map that could not be had."""
    found = np.asarray(found, dtype=_float_of(block))
    found[lost] = np.nan
    return found.reshape(*block.shape[:-1], found.shape[-1])


def _float_of(array: Any) -> np.dtype[Any]:
    """Give float32 for float32, float64 for all else, as nilearn does."""
    return np.dtype(np.float32 if array.dtype == np.float32 else np.float64)
