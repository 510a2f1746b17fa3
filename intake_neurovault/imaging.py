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
from intake_neurovault.headers import make_image, scale_image
from intake_neurovault.integrity import RawHeader
from intake_neurovault.orientation import affine_of, spatial_dims
from intake_neurovault.series import arranged, times_of

__all__ = ["header_attrs", "image_of", "write_image"]

_FACTS = {"sform_code": 2, "qform_code": 0, "xyzt_units": "mm sec", "description": ""}
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


def image_of(array: xr.DataArray) -> Any:
    """Make a NIfTI image of an array.

    Parameters
    ----------
    array : xarray.DataArray
        With three axes of space, and at most one more besides ``component``,
        ``dim_6`` and ``dim_7``.

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
    GeometryError
        If an axis of space is missing, there are too many others, or the voxels are
        not evenly spaced.
    """
    dims = spatial_dims(array)
    data = arranged(array, dims).to_numpy()
    known = array.coords[NIFTI].attrs if NIFTI in array.coords else {}
    facts = {name: known.get(name, usual) for name, usual in _FACTS.items()}
    block = base64.b64decode(known.get(_HEADER, ""))
    image = make_image(
        np.asfortranarray(data),
        affine_of(array),
        **facts,
        original=RawHeader.of(block),
        times=times_of(array),
    )
    scale = array.attrs.get("scale_factor"), array.attrs.get("add_offset")
    if scale == (None, None):
        return image
    slope, intercept = scale
    return scale_image(image, 1 if slope is None else slope, intercept or 0)


def write_image(image: Any, path: str | os.PathLike[str]) -> None:
    """Write an image as a whole or not at all.

    Parameters
    ----------
    image : nibabel.Nifti1Image
        The image.
    path : path
        Where to, ``.nii`` or ``.nii.gz``; equal images give equal bytes.

    Raises
    ------
    ArgumentError
        If the name ends otherwise.
    OSError
        If it cannot be written; an older file is then untouched.
    """
    place = Path(path).expanduser()
    if not place.name.lower().endswith(_SUFFIXES):
        msg = f"path={str(place)!r} must end in .nii or .nii.gz"
        raise ArgumentError(msg)
    data = image.to_bytes()
    if place.suffix.lower() == ".gz":
        data = gzip.compress(data, _GZIP_LEVEL, mtime=0)
    write_bytes(place, data)
