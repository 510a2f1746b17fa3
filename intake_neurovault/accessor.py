"""``.nii`` on xarray objects: the affine, back to NIfTI, and pictures.

Importing this module registers the accessor on DataArray and Dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from importlib import import_module
from os import PathLike, fspath
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from intake_neurovault.coordinates import NIFTI
from intake_neurovault.errors import GeometryError
from intake_neurovault.nifti import make_image

if TYPE_CHECKING:
    from nilearn.plotting.displays import BaseSlicer

__all__ = ["DatasetNifti", "Nifti"]

_MILLIMETRES, _INDICES = ("x", "y", "z"), ("i", "j", "k")
_NEARLY_WHOLE = 1e-6
_HEADER = {"sform_code": 2, "qform_code": 0, "xyzt_units": "mm sec", "description": ""}


class Nifti:
    """A DataArray as NIfTI: ``array.nii``.

    The array has the dimensions ``x``, ``y`` and ``z`` with millimetres as
    coordinates, in any order, as the maps of a cube have (``i``, ``j`` and ``k``
    with voxel indices if it is oblique).

    Parameters
    ----------
    array : xarray.DataArray
        What it is about.

    Examples
    --------
    >>> import xarray as xr
    >>> steps = {"x": [-2.0, 0.0], "y": [0.0, 2.0], "z": [4.0, 6.0]}
    >>> array = xr.DataArray(np.ones((2, 2, 2), dtype="float32"), steps)
    >>> array.nii.affine.tolist()[0]
    [2.0, 0.0, 0.0, -2.0]
    >>> array.nii.to_nifti().shape
    (2, 2, 2)
    """

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    @property
    def affine(self) -> NDArray[np.float64]:
        """Voxel index to millimetres, 4×4 float64.

        It follows the coordinates, so that it stays true after slices, strides and
        reversed axes. The step of an axis with one voxel is that of the ``nifti``
        coordinate; an axis without coordinates is taken to be whole.

        Raises
        ------
        GeometryError
            If a dimension is missing, the voxels are not evenly spaced, or nothing
            tells the step of an axis.
        """
        dims = _spatial_dims(self._array)
        stored = _stored_affine(self._array)
        if stored is None and dims == _INDICES:
            msg = (
                f"the array has voxel indices as coordinates, but no {NIFTI!r} "
                "coordinate with the affine; keep it when you make new arrays"
            )
            raise GeometryError(msg)
        base = np.eye(4) if stored is None else stored
        change = np.eye(4)
        for axis, dim in enumerate(dims):
            positions = _positions(self._array, dim)
            if positions is None and stored is not None:
                continue
            if positions is not None and dim == _MILLIMETRES[axis]:
                positions = (positions - base[axis, 3]) / base[axis, axis]
            known = stored is not None
            change[axis, axis], change[axis, 3] = _walk(dim, positions, known=known)
        return np.asarray(base @ change)

    def to_nifti(self, path: str | PathLike[str] | None = None) -> Any:
        """Make a NIfTI image, and write it if a path is given.

        Parameters
        ----------
        path : path, optional
            Where to write it, ``.nii`` or ``.nii.gz``.

        Returns
        -------
        nibabel.Nifti1Image
            3-D, or 4-D with the maps along the last axis if there is one more
            dimension, such as ``image``. Codes, units and description are those of
            the ``nifti`` coordinate. float32 and float64 are kept, anything else
            becomes float32. The values are computed, all at once.

        Raises
        ------
        GeometryError
            If a dimension is missing, there are several more than three, or the
            voxels are not evenly spaced.
        """
        dims = _spatial_dims(self._array)
        others = [dim for dim in self._array.dims if dim not in dims]
        if len(others) > 1:
            msg = (
                f"a NIfTI image has one dimension besides {', '.join(dims)}, this "
                f"array has {', '.join(map(str, others))}; select from or reduce "
                "all but one"
            )
            raise GeometryError(msg)
        affine = self.affine
        data = self._array.transpose(*dims, *others).to_numpy()
        known = self._array.coords[NIFTI].attrs if NIFTI in self._array.coords else {}
        header = {name: known.get(name, usual) for name, usual in _HEADER.items()}
        image = make_image(np.asfortranarray(data), affine, **header)
        if path is not None:
            image.to_filename(fspath(path))
        return image

    def plot_stat_map(self, **arguments: Any) -> BaseSlicer:
        """Draw the map on three slices of the template.

        Parameters
        ----------
        **arguments
            Those of :func:`nilearn.plotting.plot_stat_map`. The title is the
            image's number and name unless given.

        Returns
        -------
        nilearn.plotting.displays.BaseSlicer
            nilearn's display, on which contours or markers can be drawn.

        Raises
        ------
        GeometryError
            If it is not one map.
        """
        return _plotting().plot_stat_map(self._picture(), **self._titled(arguments))

    def plot_glass_brain(self, **arguments: Any) -> BaseSlicer:
        """Draw the map as seen through a brain of glass.

        Parameters
        ----------
        **arguments
            Those of :func:`nilearn.plotting.plot_glass_brain`. The title is the
            image's number and name unless given.

        Returns
        -------
        nilearn.plotting.displays.BaseSlicer
            nilearn's display, on which contours or markers can be drawn.

        Raises
        ------
        GeometryError
            If it is not one map.
        """
        return _plotting().plot_glass_brain(self._picture(), **self._titled(arguments))

    def _picture(self) -> Any:
        """Make the one map's image, with zero where it has no finite value."""
        dims = _spatial_dims(self._array)
        array = self._array
        others = [dim for dim in array.dims if dim not in dims]
        several = {dim: array.sizes[dim] for dim in others if array.sizes[dim] != 1}
        if several:
            counts = ", ".join(f"{n} along {dim!r}" for dim, n in several.items())
            dim = next(iter(several))
            msg = (
                f"a picture shows one map, this array has {counts}; select one with "
                f'.isel({dim}=0) or .sel({dim}=…), or reduce it, as .mean("{dim}") does'
            )
            raise GeometryError(msg)
        array = array.squeeze(others)
        return Nifti(array.where(np.isfinite(array), 0)).to_nifti()

    def _titled(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Add the title, where there is one image to name."""
        named = (self._array.coords.get(name) for name in ("image", "name"))
        parts = [str(c.item()) for c in named if c is not None and c.size == 1]
        title = ": ".join(part for part in parts if part)
        return {"title": title, **arguments} if title else arguments


class DatasetNifti(Nifti):
    """A Dataset as NIfTI: ``dataset.nii`` is that of its ``maps``.

    Parameters
    ----------
    dataset : xarray.Dataset
        With the variable ``maps``, as every cube has.

    Raises
    ------
    GeometryError
        If there is none.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        if "maps" not in dataset:
            msg = (
                "the Dataset has no variable 'maps'; use .nii on one of its arrays: "
                f"{', '.join(map(str, dataset.data_vars)) or 'it has none'}"
            )
            raise GeometryError(msg)
        super().__init__(dataset["maps"])


def _plotting() -> ModuleType:
    """Load nilearn's plotting when the first picture is drawn.

    With it comes matplotlib: more than a second and 100 MB, which who only reads
    tables or arrays should not pay, and each worker of a cluster even less.
    """
    return import_module("nilearn.plotting")


def _spatial_dims(array: xr.DataArray) -> tuple[str, ...]:
    """Name the three voxel axes, or say which are missing."""
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


# xarray says no types of these two, so they are given here.
_for_arrays: Callable[[str], Callable[[type], type]] = xr.register_dataarray_accessor
_for_datasets: Callable[[str], Callable[[type], type]] = xr.register_dataset_accessor
_for_arrays("nii")(Nifti)
_for_datasets("nii")(DatasetNifti)
