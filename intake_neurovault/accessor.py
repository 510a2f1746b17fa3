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
from intake_neurovault.extraction import columns_of, maps_of
from intake_neurovault.grid import Grid
from intake_neurovault.imaging import to_image
from intake_neurovault.matrix import flatten
from intake_neurovault.orientation import affine_of, spatial_dims
from intake_neurovault.pictures import Pictures
from intake_neurovault.regions import ball

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

    def to_matrix(
        self, mask: Any = None, *, radius: float | None = None
    ) -> xr.DataArray:
        """Make a matrix: a row for each map, a column for each voxel or region.

        Parameters
        ----------
        mask : optional
            What the columns are. By default the voxels of nilearn's MNI152 brain mask
            (``nilearn.datasets.load_mni152_brain_mask()``). Otherwise

            - a mask: the path of a NIfTI file, a NIfTI image, a DataArray or a boolean
              ndarray; what is not zero is inside. On another grid it is brought to
              that of the maps by the nearest voxel; an ndarray must have their shape;
            - an atlas, for a column for each region: what
              ``nilearn.datasets.fetch_atlas_…`` gives, or a path, image, DataArray or
              result with whole numbers as labels, or 4-D with a map for each region;
            - places, as triples of millimetres: the mean of the sphere around each;
            - one of ``nilearn.maskers`` for volumes, fitted or not, which is not
              changed: ``NiftiMasker``, ``NiftiLabelsMasker``, ``NiftiMapsMasker``,
              ``NiftiSpheresMasker`` and their ``Multi`` kinds.
        radius : float, optional
            Of the spheres around places, in millimetres; by default the one voxel.

        Returns
        -------
        xarray.DataArray
            ``(image, voxel)`` or ``(image, region)``, as lazy as the maps and in the
            same blocks of images. Metadata stay on ``image``. ``x``, ``y`` and ``z`` on
            ``voxel`` are millimetres; ``region`` are names, ``label`` the numbers of
            the atlas. Values and order of columns are those of nilearn's maskers.
            `unmask` leads back.

        Raises
        ------
        ArgumentError
            If the mask is none of these, or a masker that works across maps, as with
            ``standardize``.
        CorruptFileError
            If a file is damaged.
        GeometryError
            If the mask has another shape, is neither a mask nor an atlas, or leaves no
            voxel; or a voxel axis of the maps is missing.

        Notes
        -----
        Voxels that are not finite stay so in a matrix of voxels, where nilearn has 0;
        ``.fillna(0)`` does the same. In regions they count as 0, as in nilearn, but a
        map without any finite value, such as one that could not be had, is NaN.

        Examples
        --------
        >>> import xarray as xr
        >>> steps = {"x": [-2.0, 0.0], "y": [0.0, 2.0], "z": [4.0, 6.0]}
        >>> array = xr.DataArray(np.arange(8.0).reshape(2, 2, 2), steps)
        >>> array.nii.to_matrix((array > 5).values).values
        array([6., 7.])
        >>> array.nii.to_matrix([(-2, 0, 4), (0, 2, 6)]).values
        array([0., 7.])
        """
        dims, grid = self._grid()
        return columns_of(self._array, dims, grid, _as_image(mask), radius)

    def unmask(self, atlas: Any = None, *, radius: float | None = None) -> xr.DataArray:
        """Make maps of a matrix.

        Parameters
        ----------
        atlas : optional
            Of a matrix of regions: what `to_matrix` was given. A matrix of voxels
            needs none.
        radius : float, optional
            Of the spheres around places, as `to_matrix` was given it.

        Returns
        -------
        xarray.DataArray
            The voxel axes in place of ``voxel`` or ``region``; 0 outside. As lazy as
            the matrix. Rows and columns may have been chosen since `to_matrix`, and
            the values changed. Regions are painted as by the ``inverse_transform`` of
            nilearn's maskers.

        Raises
        ------
        ArgumentError
            If the atlas of a matrix of regions is missing, or another one.
        GeometryError
            If it is no matrix, or has lost the coordinates that tell where its
            voxels or regions lie.

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
        return maps_of(self._array, _as_image(atlas), radius)

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


def _as_image(given: Any) -> Any:
    """Make an image of an array, or of the maps of a Dataset or a result."""
    if hasattr(given, "to_dask"):
        given = given.to_dask()
    if isinstance(given, xr.Dataset):
        given = DatasetNifti(given)._array
    if not isinstance(given, xr.DataArray):
        return given
    others = [dim for dim in given.dims if dim not in spatial_dims(given)]
    array = given.squeeze([dim for dim in others if given.sizes[dim] == 1])
    image = Nifti(array).to_nifti()
    if array.ndim == 3 or "name" not in array.coords:
        return image
    return {"maps": image, "labels": array["name"].values}


# xarray says no types of these two, so they are given here.
_for_arrays: Callable[[str], Callable[[type], type]] = xr.register_dataarray_accessor
_for_datasets: Callable[[str], Callable[[type], type]] = xr.register_dataset_accessor
_for_arrays("nii")(Nifti)
_for_datasets("nii")(DatasetNifti)
