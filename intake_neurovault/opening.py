"""One NIfTI file as a lazy Dataset: what stands behind ``engine="nifti"``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
import xarray as xr
from xarray.core.indexing import LazilyIndexedArray

from intake_neurovault import accessor
from intake_neurovault.coordinates import NIFTI, Column, axis_columns, nifti_attrs
from intake_neurovault.errors import CorruptFileError, GeometryError
from intake_neurovault.headers import Encoding, Geometry, parse_volumes
from intake_neurovault.imaging import header_attrs
from intake_neurovault.origins import Origin, origin_of
from intake_neurovault.series import further_axes
from intake_neurovault.voxels import VoxelArray, Voxels, read_header

# NOTE: importing `accessor` registers `.nii`; whoever holds a Dataset needs it.
__all__ = ["accessor", "open_nifti"]

_MAPS = "maps"
_SPACES = {3: "Talairach", 4: "MNI152"}
_UNITS = {"meter": "m", "micron": "um"}


def open_nifti(
    filename_or_obj: str | os.PathLike[str] | BinaryIO,
    *,
    drop_variables: str | Iterable[str] | None = None,
    mask_and_scale: bool | None = True,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Open a NIfTI file as a lazy Dataset.

    ``xr.open_dataset(..., engine="nifti")`` is the same, and takes ``chunks=`` and
    ``cache=`` besides.

    Parameters
    ----------
    filename_or_obj : path, str or binary file object
        A ``.nii`` or ``.nii.gz`` file, NIfTI-1 or NIfTI-2: a local path, an address
        that fsspec knows, chained ones too, or a file opened in binary mode. The
        content tells what it is, not the name.
    drop_variables : str or iterable of str, optional
        What to leave out.
    mask_and_scale : bool, default=True
        Whether to apply the scaling of the header. If not, the numbers are those
        stored, and the scaling is in the attributes ``scale_factor`` and
        ``add_offset``.
    storage_options : mapping, optional
        What fsspec is given besides the address.

    Returns
    -------
    xarray.Dataset
        ``maps`` with the dimensions ``x``, ``y``, ``z`` in millimetres if the voxels
        lie along the axes of space, otherwise ``i``, ``j``, ``k``, the voxel indices;
        a fourth one is ``time`` in seconds, or ``volume`` if the header gives no
        time, a fifth ``component``; those of one are left out. The scalar coordinate
        ``nifti`` has the affine and the header as attributes, so that
        ``.nii.to_nifti()`` leads back. Only the header is read; voxels are when they
        are used. The type is the stored one in the byte order of the machine, and
        of scaled numbers float64, or float32 for 8 and 16 bits without an intercept.

    Raises
    ------
    ArgumentError
        If it is neither a path nor an address nor a file.
    CorruptFileError
        If it is not NIfTI, damaged or cut off; where only the voxels tell, when they
        are read.
    GeometryError
        If it has no usable affine, or no numbers at voxels (CIFTI, colours).
    ServerError
        If a server breaks off.
    OSError
        If it cannot be opened.

    Examples
    --------
    >>> from io import BytesIO
    >>> from intake_neurovault.testing.volumes import Volume
    >>> open_nifti(BytesIO(Volume("mni6")())).maps.dims
    ('x', 'y', 'z')
    """
    origin = origin_of(filename_or_obj, storage_options)
    header, gzipped = read_header(origin)
    geometry, encoding, meaning = parse_volumes(header, origin.label)
    _check_numbers(encoding, origin)
    sizes, columns = further_axes(header.shape, meaning.times)
    shape = (*geometry.grid.shape, *sizes.values())
    voxels = Voxels(origin, header, encoding, gzipped, shape)
    attrs: dict[str, Any] = {"long_name": meaning.name, "grid_mapping": NIFTI}
    if mask_and_scale is False and voxels.scaled:
        attrs |= {"scale_factor": encoding.slope, "add_offset": encoding.intercept}
        voxels = replace(voxels, encoding=replace(encoding, slope=1.0, intercept=0.0))
    axes = _axes(geometry)
    facts = {**nifti_attrs(geometry, _space(geometry)), **header_attrs(header)}
    coords = {
        **{name: xr.Variable(name, c.values, c.attrs) for name, c in axes.items()},
        **{name: xr.Variable(name, c.values, c.attrs) for name, c in columns.items()},
        NIFTI: xr.Variable((), np.int64(0), facts),
    }
    maps = _lazy((*axes, *sizes), voxels, attrs)
    dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables
    return xr.Dataset({_MAPS: maps}, coords).drop_vars(dropped or (), errors="ignore")


def _lazy(
    dims: tuple[str, ...], voxels: Voxels, attrs: Mapping[str, Any]
) -> xr.Variable:
    # NOTE: the encoding says nothing of how scaled numbers were stored, since netCDF
    # would round to integers whatever was computed of them; `nifti` has the header.
    encoding = {"preferred_chunks": dict(zip(dims, voxels.chunks(), strict=True))}
    return xr.Variable(dims, LazilyIndexedArray(VoxelArray(voxels)), attrs, encoding)


def _axes(geometry: Geometry) -> dict[str, Column]:
    """Give the coordinates of a cube, with the header's unit if it has another."""
    axes = axis_columns(geometry.grid)
    unit = _UNITS.get(geometry.xyzt_units.split()[0])
    if unit is None or not geometry.grid.axis_aligned:
        return axes
    return {n: replace(c, attrs={**c.attrs, "units": unit}) for n, c in axes.items()}


def _space(geometry: Geometry) -> str:
    return _SPACES.get(geometry.sform_code or geometry.qform_code, "unknown")


def _check_numbers(encoding: Encoding, origin: Origin) -> None:
    """Refuse what no voxel has, and a scaling that makes none of any number."""
    if encoding.dtype.kind not in "iufc":
        msg = (
            f"{origin.label}: the file holds {encoding.dtype.name} values (colours) "
            "where a voxel has one number; open it with nibabel.load"
        )
        raise GeometryError(msg)
    if not math.isfinite(encoding.intercept):
        msg = f"{origin.label}: the header scales by the intercept {encoding.intercept}"
        raise CorruptFileError(msg)
