"""NIfTI headers: what they say of a map's place and numbers, and writing them."""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from intake_neurovault.errors import ArgumentError, CorruptFileError, GeometryError
from intake_neurovault.grid import Grid
from intake_neurovault.integrity import RawHeader

if TYPE_CHECKING:
    import nibabel as nib

_HEADERS: Mapping[int, str] = MappingProxyType({1: "Nifti1Header", 2: "Nifti2Header"})
# nibabel logs each header that it mends, even an offset that only SPM dislikes.
_SILENT = logging.Logger("silent", logging.CRITICAL + 1)
_NEVER_RAISE = 100
_ALIGNED_CODE = 2
_DAMAGES = (EOFError, OSError, ValueError, zlib.error)


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of a file lie, and what its header says of them."""

    grid: Grid
    """Affine and shape, trailing dimensions of one taken away."""
    sform_code: int
    """NIfTI's code of the space that the sform maps to; 0 where there is none."""
    qform_code: int
    """The same for the qform."""
    xyzt_units: str
    """Units of space and time, such as ``"mm sec"``."""
    description: str
    """The header's free text."""
    dtype: str
    """How the numbers are stored, such as ``"int16"``, before any scaling."""


@dataclass(frozen=True)
class Encoding:
    """How the numbers of a file are stored: value = number × slope + intercept."""

    dtype: np.dtype[Any]
    """Type and byte order as stored."""
    slope: float
    """1 where the header gives no scaling."""
    intercept: float
    """0 where the header gives no scaling; not finite where it is damaged."""


def parse_header(raw: RawHeader, label: str) -> tuple[Geometry, Encoding]:
    """Understand a header, mended where nibabel mends it.

    Parameters
    ----------
    raw : RawHeader
        The header's bytes, known to be NIfTI.
    label : str
        What errors call the file, such as ``"image 3 (collection 1)"``.

    Returns
    -------
    Geometry
        Where the voxels are.
    Encoding
        How their numbers are stored.

    Raises
    ------
    GeometryError
        If the file is not 3-D, trailing dimensions of one aside, or has no affine
        that can be inverted.
    """
    shape = raw.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        msg = (
            f"{label}: the file has {len(shape)} dimensions "
            f"({'×'.join(map(str, raw.shape))}) where a map has 3; leave it out of "
            "the query"
        )
        raise GeometryError(msg)
    kind = getattr(_nibabel(), _HEADERS[raw.version])
    header = kind(raw.block, raw.endianness, check=False)
    header.check_fix(_SILENT, _NEVER_RAISE)
    dtype = header.get_data_dtype()
    geometry = Geometry(
        _grid(header, shape, label),
        int(header["sform_code"]),
        int(header["qform_code"]),
        _units(header),
        header["descrip"].item().split(b"\0")[0].decode("latin-1").strip(),
        dtype.name,
    )
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        slope, intercept = 1.0, 0.0
    return geometry, Encoding(dtype, slope, intercept)


def make_image(
    data: ArrayLike,
    affine: ArrayLike,
    *,
    sform_code: int,
    qform_code: int,
    xyzt_units: str,
    description: str,
) -> nib.Nifti1Image:
    """Make an image that can be saved, the counterpart of reading one.

    Parameters
    ----------
    data : array_like
        3-D, or 4-D with the maps along the last axis. Float32 and float64 are
        kept, anything else becomes float32.
    affine : array_like
        4×4, voxel index to millimetres.
    sform_code, qform_code : int
        NIfTI's codes of the space. Where the two leave a header that cannot hold
        `affine`, it is stored as sform with code 2 ("aligned").
    xyzt_units : str
        Units of space and time, such as ``"mm sec"``.
    description : str
        Free text; NIfTI keeps 80 bytes of Latin-1.

    Returns
    -------
    nibabel.Nifti1Image
        In memory, unscaled.

    Raises
    ------
    ArgumentError
        If a code or a unit is not NIfTI's.

    Examples
    --------
    >>> image = make_image(np.zeros((2, 2, 2)), np.eye(4), sform_code=4,
    ...                    qform_code=0, xyzt_units="mm sec", description="zeros")
    >>> image.get_sform(coded=True)[1]
    4
    """
    values = np.asarray(data)
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float32)
    matrix = np.asarray(affine, dtype=np.float64)
    image: nib.Nifti1Image = _nibabel().Nifti1Image(values, matrix)
    header = image.header
    try:
        image.set_sform(matrix, int(sform_code))
        image.set_qform(matrix, int(qform_code))
        header.set_xyzt_units(*xyzt_units.split())
    except (KeyError, TypeError, _header_error()) as error:
        msg = (
            f"sform_code={sform_code}, qform_code={qform_code} or "
            f"xyzt_units={xyzt_units!r} is unknown to NIfTI"
        )
        raise ArgumentError(msg) from error
    if not np.allclose(header.get_best_affine(), matrix, rtol=1e-5, atol=1e-4):
        image.set_sform(matrix, _ALIGNED_CODE)
    header["descrip"] = description.encode("latin-1", "replace")
    return image


def load_image(path: Path, label: str) -> nib.Nifti1Image:
    """Load an image of any number of dimensions, such as a mask or an atlas.

    Parameters
    ----------
    path : pathlib.Path
        A local file, under a name that nibabel knows.
    label : str
        What errors call it.

    Returns
    -------
    nibabel.Nifti1Image
        In memory.

    Raises
    ------
    CorruptFileError
        If the file is damaged, or no image.
    OSError
        If it is missing, or may not be read.
    """
    with path.open("rb"):
        pass  # nibabel would call a file that may not be read a damaged one
    try:
        image = _nibabel().load(path)
        data = np.asanyarray(image.dataobj)
    except (_nibabel().filebasedimages.ImageFileError, *_DAMAGES) as error:
        msg = f"{label}: the file is damaged, or no NIfTI image ({error})"
        raise CorruptFileError(msg) from error
    # NOTE: with its header, since without one nibabel refuses integers of 64 bits.
    loaded: nib.Nifti1Image = type(image)(data, image.affine, image.header)
    return loaded


def _grid(header: nib.Nifti1Header, shape: tuple[int, ...], label: str) -> Grid:
    """Make the grid of sform, else qform, else voxel sizes, as nibabel chooses."""
    try:
        with np.errstate(all="ignore"):
            return Grid.from_affine(header.get_best_affine(), shape)
    except (_header_error(), ValueError) as error:
        msg = f"{label}: the header has no usable affine ({error})"
        raise GeometryError(msg) from error


def _units(header: nib.Nifti1Header) -> str:
    """Name the units of space and time."""
    try:
        return " ".join(header.get_xyzt_units())
    except KeyError:
        return "unknown unknown"


def _nibabel() -> ModuleType:
    # NOTE: a lazy cube needs no header, and should not wait for this import.
    return import_module("nibabel")


def _header_error() -> type[Exception]:
    kind: type[Exception] = _nibabel().spatialimages.HeaderDataError
    return kind
