"""NIfTI headers: what they say of a map's place and numbers, and writing them."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intake_neurovault.errors import ArgumentError, GeometryError
from intake_neurovault.grid import Grid
from intake_neurovault.integrity import RawHeader

if TYPE_CHECKING:
    import nibabel as nib

_HEADERS: Mapping[int, str] = MappingProxyType({1: "Nifti1Header", 2: "Nifti2Header"})
_IMAGES: Mapping[int, str] = MappingProxyType({1: "Nifti1Image", 2: "Nifti2Image"})
# nibabel logs each header that it mends, even an offset that only SPM dislikes.
_SILENT = logging.Logger("silent", logging.CRITICAL + 1)
_NEVER_RAISE = 100
_ALIGNED_CODE = 2
_CIFTI = range(3000, 3100)
_SECONDS: Mapping[str, float] = MappingProxyType(
    {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
)
_LONGEST_AXIS = np.iinfo(np.int16).max


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


@dataclass(frozen=True)
class Meaning:
    """What a header says of the numbers, and of the axis behind the three of space."""

    name: str
    """What the numbers are, such as ``"z score"``; else ``"voxel value"``."""
    times: tuple[float, float] | None
    """Start and step of the fourth axis in seconds; None if that is not time."""


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
    return _understood(_mended(raw), shape, label)


def parse_volumes(raw: RawHeader, label: str) -> tuple[Geometry, Encoding, Meaning]:
    """Understand a header of any number of dimensions.

    Parameters
    ----------
    raw : RawHeader
        The header's bytes, known to be NIfTI.
    label : str
        What errors call the file.

    Returns
    -------
    Geometry
        Where the voxels are: its shape is that of the first three dimensions, of
        which absent ones count as one voxel.
    Encoding
        How their numbers are stored.
    Meaning
        What they are.

    Raises
    ------
    GeometryError
        If the header has no affine that can be inverted, or the file holds no voxels
        but points of a surface (CIFTI).
    """
    header = _mended(raw)
    code = int(header["intent_code"])
    if code in _CIFTI:
        msg = (
            f"{label}: this is a CIFTI file, whose numbers are no voxels of a volume; "
            "open it with nibabel.load"
        )
        raise GeometryError(msg)
    geometry, encoding = _understood(header, (*raw.shape, 1, 1)[:3], label)
    intents = _nibabel().nifti1.intent_codes
    name = intents.label[code] if code and code in intents else "voxel value"
    return geometry, encoding, Meaning(name, _times(header, geometry.xyzt_units))


def _times(header: nib.Nifti1Header, xyzt_units: str) -> tuple[float, float] | None:
    """Give start and step of the fourth axis in seconds, if it is time."""
    second = _SECONDS.get(xyzt_units.split()[-1])
    start, step = float(header["toffset"]), float(header["pixdim"][4])
    if second is None or not (math.isfinite(start) and 0 < step < math.inf):
        return None
    return start * second, step * second


def _mended(raw: RawHeader) -> nib.Nifti1Header:
    kind = getattr(_nibabel(), _HEADERS[raw.version])
    header: nib.Nifti1Header = kind(raw.block, raw.endianness, check=False)
    header.check_fix(_SILENT, _NEVER_RAISE)
    return header


def _understood(
    header: nib.Nifti1Header, shape: tuple[int, ...], label: str
) -> tuple[Geometry, Encoding]:
    dtype = header.get_data_dtype()
    geometry = Geometry(
        _grid(header, shape, label),
        int(header["sform_code"]),
        int(header["qform_code"]),
        _units(header),
        _text(header),
        dtype.name,
    )
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        slope, intercept = 1.0, 0.0
    return geometry, Encoding(dtype, slope, intercept)


def _text(header: nib.Nifti1Header) -> str:
    text: bytes = header["descrip"].item()
    return text.split(b"\0")[0].decode("latin-1").strip()


def make_image(
    data: ArrayLike,
    affine: ArrayLike,
    *,
    sform_code: int = _ALIGNED_CODE,
    qform_code: int = 0,
    xyzt_units: str = "mm sec",
    description: str = "",
    original: RawHeader | None = None,
    times: tuple[float, float] | None = None,
) -> nib.Nifti1Image:
    """Make an image that can be saved, the counterpart of reading one.

    Parameters
    ----------
    data : array_like
        3-D, or more with the maps along the last axes. Real and complex numbers of
        single and double precision and integers are kept, 64-bit integers become
        32-bit ones where these hold them all, booleans become uint8.
    affine : array_like
        4×4, voxel index to millimetres.
    sform_code, qform_code : int
        NIfTI's codes of the space; by default the sform is 2 ("aligned"). Where the two
        leave a header that cannot hold `affine`, it is stored as sform with code 2.
    xyzt_units : str
        Units of space and time, such as ``"mm sec"``.
    description : str
        Free text; NIfTI keeps 80 bytes of Latin-1.
    original : RawHeader, optional
        The header of the file that the data come from, for everything else. What
        has not changed is kept to the bit; where the affine has, the qform follows.
    times : tuple of float, optional
        Start and step of the fourth axis in seconds, where that is time; a step of
        NaN is not known.

    Returns
    -------
    nibabel.Nifti1Image
        In memory, unscaled; a Nifti2Image if `original` is of that version, or an
        axis is longer than NIfTI-1 can say.

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
    values = _storable(np.asarray(data))
    matrix = np.asarray(affine, dtype=np.float64)
    version, header = _blank(values.shape, original)
    try:
        _place(header, matrix, int(sform_code), int(qform_code))
        if xyzt_units != _units(header):
            header.set_xyzt_units(*xyzt_units.split())
    except (KeyError, TypeError, _header_error()) as error:
        msg = (
            f"sform_code={sform_code}, qform_code={qform_code} or "
            f"xyzt_units={xyzt_units!r} is unknown to NIfTI"
        )
        raise ArgumentError(msg) from error
    if times is not None:
        _set_times(header, *times)
    if description != _text(header):
        header["descrip"] = description.encode("latin-1", "replace")
    if header.get_data_shape()[:3] != values.shape[:3]:
        for name in ("slice_code", "slice_start", "slice_end", "slice_duration"):
            header[name] = 0
    header.set_data_dtype(values.dtype)
    header.set_data_shape(values.shape)
    if not np.allclose(header.get_best_affine(), matrix, rtol=1e-5, atol=1e-4):
        header.set_sform(matrix, _ALIGNED_CODE)
    kind = getattr(_nibabel(), _IMAGES[version])
    image: nib.Nifti1Image = kind(values, header.get_best_affine(), header)
    return image


def _storable(values: NDArray[Any]) -> NDArray[Any]:
    """Give the values in a type of numbers that NIfTI has, without loss."""
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype in (np.float16, np.longdouble):
        return values.astype(np.float32 if values.dtype == np.float16 else np.float64)
    # NOTE: few programs read 64-bit integers, but Python makes them of everything.
    if values.dtype in (np.int64, np.uint64) and values.size:
        low, high = values.min(), values.max()
        narrow = np.int32 if values.dtype == np.int64 else np.uint32
        if np.iinfo(narrow).min <= low and high <= np.iinfo(narrow).max:
            return values.astype(narrow)
    return values


def _blank(
    shape: tuple[int, ...], original: RawHeader | None
) -> tuple[int, nib.Nifti1Header]:
    """Give the version of NIfTI, and the header to begin with."""
    version = 1 if original is None else original.version
    if version == 1 and max(shape) > _LONGEST_AXIS:
        version, original = 2, None
    if original is None:
        header = getattr(_nibabel(), _HEADERS[version])()
        header.set_data_shape(shape)
        return version, header
    header = _mended(original).as_byteswapped("<")
    header.set_slope_inter(None, None)
    # NOTE: extensions of the original are gone, so that the numbers begin elsewhere.
    header["vox_offset"] = 0
    return version, header


def _place(
    header: nib.Nifti1Header, matrix: NDArray[Any], sform_code: int, qform_code: int
) -> None:
    """Put the affine into a header, of which nothing changes that is the same."""
    before = header.get_best_affine()
    stays = np.array_equal(before, matrix)
    turned = _turned(header, before, matrix)
    if not stays or sform_code != header["sform_code"]:
        header.set_sform(matrix, sform_code)
    if not stays or qform_code != header["qform_code"]:
        header.set_qform(turned, qform_code)


def _set_times(header: nib.Nifti1Header, start: float, step: float) -> None:
    space, unit = _units(header).split()
    if unit not in _SECONDS:
        unit = "sec"
        header.set_xyzt_units(space, unit)
    header["toffset"] = start / _SECONDS[unit]
    if math.isfinite(step):
        header["pixdim"][4] = step / _SECONDS[unit]


def _turned(
    header: nib.Nifti1Header, before: NDArray[Any], matrix: NDArray[Any]
) -> NDArray[Any]:
    """Carry a qform that differs from the sform along with it."""
    if header["sform_code"] == 0 or header["qform_code"] == 0:
        return matrix
    try:
        turned: NDArray[Any] = header.get_qform() @ np.linalg.solve(before, matrix)
    except _header_error():
        return matrix
    return turned


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
