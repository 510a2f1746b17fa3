"""Labelled arrays become NIfTI images, and files."""

from __future__ import annotations

import base64
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from intake_neurovault.atomic import write_bytes
from intake_neurovault.coordinates import NIFTI
from intake_neurovault.errors import ArgumentError
from intake_neurovault.headers import make_image
from intake_neurovault.integrity import RawHeader
from intake_neurovault.mask_files import load_mask
from intake_neurovault.orientation import affine_of, spatial_dims
from intake_neurovault.series import arranged, times_of

__all__ = ["header_attrs", "mask_image", "to_image"]

_FACTS = ("sform_code", "qform_code", "xyzt_units", "description")
_HEADER = "header"
_GZIP_LEVEL = 1
_SUFFIXES = (".nii", ".nii.gz")


def header_attrs(header: RawHeader) -> dict[str, str]:
    """Give the attribute from which the rest of a header can be made again.

    Parameters
    ----------
    header : RawHeader
        The header.

    Returns
    -------
    dict of str to str
        ``header``: its bytes in base 64.
    """
    return {_HEADER: base64.b64encode(header.block).decode("ascii")}


def to_image(array: xr.DataArray, path: str | os.PathLike[str] | None = None) -> Any:
    """Make a NIfTI image of an array, and write it if a path is given.

    Parameters
    ----------
    array : xarray.DataArray
        With three axes of space, and at most one more besides ``component``,
        ``dim_6`` and ``dim_7``.
    path : path, optional
        Where to write it, ``.nii`` or ``.nii.gz``; equal images give equal bytes.

    Returns
    -------
    nibabel.Nifti1Image or nibabel.Nifti2Image
        Affine as the coordinates have it; codes, units and description as the
        attributes of the ``nifti`` coordinate have them; everything else as in the
        header of the file that the array comes from, if it comes from one. Where
        the array has the attributes ``scale_factor`` and ``add_offset``, its numbers
        are stored, and scaled when read.

    Raises
    ------
    ArgumentError
        If the name of the file ends otherwise, or its folder does not exist.
    GeometryError
        If an axis of space is missing, there are too many others, or the voxels are
        not evenly spaced.
    OSError
        If the file cannot be written; an older one is then untouched.
    """
    place = None if path is None else _checked(Path(path).expanduser())
    image = _unscaled(array)
    scaling = [array.attrs.get(name) for name in ("scale_factor", "add_offset")]
    if scaling == [None, None]:
        if place is not None:
            _write(image.to_bytes(), place)
        return image
    slope, intercept = scaling
    image.header.set_slope_inter(1 if slope is None else slope, intercept or 0)
    raw = image.to_bytes()
    if place is not None:
        _write(raw, place)
    # NOTE: nibabel scales what it has read, and not what it was given.
    return type(image).from_bytes(raw)


def mask_image(mask: Any) -> Any:
    """Make an image of a mask that is a DataArray or a file.

    Parameters
    ----------
    mask : path, DataArray, or anything else
        The mask.

    Returns
    -------
    nibabel.Nifti1Image, or `mask` itself
        What :func:`.regions.parse_mask` understands, if it is a mask.

    Raises
    ------
    ArgumentError
        If a file cannot be read.
    CorruptFileError
        If a file is damaged.
    GeometryError
        If an array has no axes of space.
    """
    if isinstance(mask, xr.DataArray):
        return to_image(mask)
    return load_mask(mask) if isinstance(mask, str | os.PathLike) else mask


def _unscaled(array: xr.DataArray) -> Any:
    dims = spatial_dims(array)
    data = arranged(array, dims).to_numpy()
    known = array.coords[NIFTI].attrs if NIFTI in array.coords else {}
    facts = {name: known[name] for name in _FACTS if name in known}
    return make_image(
        np.asfortranarray(data),
        affine_of(array),
        **facts,
        original=RawHeader.of(base64.b64decode(known.get(_HEADER, ""))),
        times=times_of(array),
    )


def _checked(path: Path) -> Path:
    if not path.name.lower().endswith(_SUFFIXES):
        msg = f"path={str(path)!r} must end in .nii or .nii.gz"
        raise ArgumentError(msg)
    if not path.parent.is_dir():
        msg = f"path={str(path)!r}: there is no folder {str(path.parent)!r}; create it"
        raise ArgumentError(msg)
    return path


def _write(data: bytes, path: Path) -> None:
    if path.suffix.lower() == ".gz":
        data = gzip.compress(data, _GZIP_LEVEL, mtime=0)
    write_bytes(path, data)
