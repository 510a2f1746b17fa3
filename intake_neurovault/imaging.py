"""A labelled array as a NIfTI image."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from intake_neurovault.coordinates import NIFTI
from intake_neurovault.errors import GeometryError
from intake_neurovault.nifti import make_image
from intake_neurovault.orientation import affine_of, spatial_dims

_HEADER = {"sform_code": 2, "qform_code": 0, "xyzt_units": "mm sec", "description": ""}


def image_of(array: xr.DataArray) -> Any:
    """Make a NIfTI image of an array.

    Parameters
    ----------
    array : xarray.DataArray
        With three voxel axes, in any order, and at most one more dimension.

    Returns
    -------
    nibabel.Nifti1Image
        3-D, or 4-D with the maps along the last axis. float32 and float64 are kept,
        anything else becomes float32. The values are computed, all at once.

    Raises
    ------
    GeometryError
        If a dimension is missing, there are several more than three, or the voxels
        are not evenly spaced.

    Examples
    --------
    >>> steps = {"x": [-2.0, 0.0], "y": [0.0, 2.0], "z": [4.0, 6.0]}
    >>> image_of(xr.DataArray(np.ones((2, 2, 2)), steps)).shape
    (2, 2, 2)
    """
    dims = spatial_dims(array)
    others = [dim for dim in array.dims if dim not in dims]
    if len(others) > 1:
        msg = (
            f"a NIfTI image has one dimension besides {', '.join(dims)}, this "
            f"array has {', '.join(map(str, others))}; select from or reduce "
            "all but one"
        )
        raise GeometryError(msg)
    affine = affine_of(array)
    data = array.transpose(*dims, *others).to_numpy()
    known = array.coords[NIFTI].attrs if NIFTI in array.coords else {}
    header = {name: known.get(name, usual) for name, usual in _HEADER.items()}
    return make_image(np.asfortranarray(data), affine, **header)
