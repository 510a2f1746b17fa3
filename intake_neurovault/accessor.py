"""``.nii`` on xarray objects: the affine, back to NIfTI, and pictures.

Importing this module registers the accessor on DataArray and Dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from intake_neurovault.appraisal import Appraisable
from intake_neurovault.errors import GeometryError
from intake_neurovault.grid import Grid
from intake_neurovault.imaging import to_image
from intake_neurovault.matrix import flatten, unflatten
from intake_neurovault.orientation import affine_of, spatial_dims
from intake_neurovault.pictures import Pictures
from intake_neurovault.regions import ball, parse_mask

__all__ = ["DatasetNifti", "Nifti"]


class Nifti(Pictures, Appraisable):
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
        return affine_of(self._array)

    def to_nifti(self, path: str | PathLike[str] | None = None) -> Any:
        """Make a NIfTI image, and write it if a path is given.

        Parameters
        ----------
        path : path, optional
            Where to write it, ``.nii`` or ``.nii.gz``, as a whole or not at all.

        Returns
        -------
        nibabel.Nifti1Image
            3-D, or 4-D with the maps along the last axis if there is one more
            dimension, such as ``image``. Affine, codes, units and description are
            those of the coordinates; of a file opened with ``engine="nifti"`` so is
            the rest of the header. Integers, complex and real numbers are kept,
            booleans become uint8. The values are computed, all at once.

        Raises
        ------
        ArgumentError
            If the name of the file ends otherwise, or its folder does not exist.
        GeometryError
            If a dimension is missing, there are several more than three, or the
            voxels are not evenly spaced.
        """
        return to_image(self._array, path)

    def to_matrix(self, mask: Any = None) -> xr.DataArray:
        """Make a matrix with one row for each map, one column for each voxel.

        Parameters
        ----------
        mask : path, NIfTI image, DataArray or ndarray of bool, optional
            Which voxels; what is not zero is inside. A mask on another grid is
            brought to that of the maps by the nearest voxel; an array must have
            their shape. By default nilearn's MNI152 brain mask
            (``nilearn.datasets.load_mni152_brain_mask()``).

        Returns
        -------
        xarray.DataArray
            ``(image, voxel)``, as lazy as the maps and in the same blocks of images;
            a block keeps no other voxels. Metadata stay on ``image``; ``x``, ``y``
            and ``z`` on ``voxel`` are millimetres. Values and order of voxels are
            those of ``nilearn.maskers.NiftiMasker(mask).transform(maps)``, but that
            NaN stays NaN here and becomes 0 there; ``.fillna(0)`` does the same.
            `unmask` leads back.

        Raises
        ------
        ArgumentError
            If the mask is none of these.
        CorruptFileError
            If the mask's file is damaged.
        GeometryError
            If the mask has another shape, is not 3-D, has several values besides
            zero, or leaves no voxel; or a voxel axis of the maps is missing.

        Examples
        --------
        >>> import xarray as xr
        >>> steps = {"x": [-2.0, 0.0], "y": [0.0, 2.0], "z": [4.0, 6.0]}
        >>> array = xr.DataArray(np.arange(8.0).reshape(2, 2, 2), steps)
        >>> array.nii.to_matrix((array > 5).values).values
        array([6., 7.])
        """
        if isinstance(mask, xr.DataArray):
            mask = Nifti(mask).to_nifti()
        dims, grid = self._grid()
        return flatten(self._array, dims, grid, parse_mask(mask, grid))

    def unmask(self) -> xr.DataArray:
        """Make maps of a matrix.

        Returns
        -------
        xarray.DataArray
            The voxel axes in place of ``voxel``; 0 outside the mask. As lazy as the
            matrix. Rows and voxels may have been chosen since `to_matrix`, and the
            values changed.

        Raises
        ------
        GeometryError
            If it is no matrix, or has lost the coordinates that tell where its
            voxels lie.

        Examples
        --------
        >>> import xarray as xr
        >>> steps = {"x": [-2.0, 0.0], "y": [0.0, 2.0], "z": [4.0, 6.0]}
        >>> array = xr.DataArray(np.arange(8.0).reshape(2, 2, 2), steps)
        >>> matrix = array.nii.to_matrix((array > 5).values)
        >>> (10 * matrix).nii.unmask().values[1]
        array([[ 0.,  0.],
               [60., 70.]])
        """
        return unflatten(self._array)

    def sphere(
        self, x: float, y: float, z: float, *, radius: float = 0.0
    ) -> xr.DataArray:
        """Give the voxels around a place.

        Parameters
        ----------
        x, y, z : float
            The place, in millimetres.
        radius : float
            How far the centre of a voxel may be off, in millimetres; the voxel that
            holds the place is there in any case.

        Returns
        -------
        xarray.DataArray
            ``(image, voxel)``, as `to_matrix` gives it; of lazy maps, no other voxel
            is kept. Its ``.fillna(0).mean("voxel")`` is what
            ``nilearn.maskers.NiftiSpheresMasker`` gives; without ``fillna``, NaN is
            passed over.

        Raises
        ------
        ArgumentError
            If the radius is negative, or a number is not finite.
        GeometryError
            If the place is outside the maps, or one of their voxel axes is missing.

        Examples
        --------
        >>> import xarray as xr
        >>> steps = {"x": [-2.0, 0.0], "y": [0.0, 2.0], "z": [4.0, 6.0]}
        >>> array = xr.DataArray(np.arange(8.0).reshape(2, 2, 2), steps)
        >>> array.nii.sphere(0, 0, 4, radius=2).values
        array([0., 4., 5., 6.])
        """
        dims, grid = self._grid()
        return flatten(self._array, dims, grid, ball(grid, (x, y, z), radius))

    def _grid(self) -> tuple[tuple[str, ...], Grid]:
        """Name the voxel axes, and tell where the voxels lie."""
        dims = spatial_dims(self._array)
        shape = [self._array.sizes[dim] for dim in dims]
        return dims, Grid.from_affine(self.affine, shape)


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


# xarray says no types of these two, so they are given here.
_for_arrays: Callable[[str], Callable[[type], type]] = xr.register_dataarray_accessor
_for_datasets: Callable[[str], Callable[[type], type]] = xr.register_dataset_accessor
_for_arrays("nii")(Nifti)
_for_datasets("nii")(DatasetNifti)
