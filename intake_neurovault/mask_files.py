"""The images of masks and atlases, which may have any number of dimensions."""

from __future__ import annotations

import os
import zlib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from intake_neurovault.errors import ArgumentError, CorruptFileError

if TYPE_CHECKING:
    import nibabel as nib

_DAMAGES = (EOFError, OSError, ValueError, zlib.error)


def load_mask(path: str | os.PathLike[str]) -> nib.Nifti1Image:
    """Load the image of a mask or an atlas.

    Parameters
    ----------
    path : path
        A local file, under a name that nibabel knows.

    Returns
    -------
    nibabel.Nifti1Image
        In memory.

    Raises
    ------
    ArgumentError
        If there is no such file, or it may not be read.
    CorruptFileError
        If the file is damaged, or no image.
    """
    nibabel = import_module("nibabel")
    place = Path(path).expanduser()
    try:
        with place.open("rb"):
            pass  # nibabel would call a file that may not be read a damaged one
    except OSError as error:
        msg = (
            f"mask: {path} cannot be read ({error.strerror}); give the path of a NIfTI "
            "file with a mask or an atlas"
        )
        raise ArgumentError(msg) from error
    try:
        image = nibabel.load(place)
        data = np.asanyarray(image.dataobj)
    except (nibabel.filebasedimages.ImageFileError, *_DAMAGES) as error:
        msg = f"the mask {path}: the file is damaged, or no NIfTI image ({error})"
        raise CorruptFileError(msg) from error
    # NOTE: with its header, since without one nibabel refuses integers of 64 bits.
    loaded: nib.Nifti1Image = type(image)(data, image.affine, image.header)
    return loaded
