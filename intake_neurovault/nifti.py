"""Reading maps: files to arrays on one grid, or on their own.

It composes the checked bytes of a file, the understanding of its header and the
resampling into one picklable value, :class:`Reader`.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.decoding import NiftiFile
from intake_neurovault.errors import (
    CorruptFileError,
    GeometryError,
    GridError,
)
from intake_neurovault.grid import Grid, GridFile, parse_grid
from intake_neurovault.headers import Encoding, Geometry, make_image, parse_header
from intake_neurovault.integrity import NiftiStream
from intake_neurovault.notices import warn
from intake_neurovault.parameters import check_choice, parse_fill
from intake_neurovault.resampling import Method, resample

__all__ = [
    "Geometry",
    "Interpolation",
    "NanPolicy",
    "Reader",
    "make_image",
    "read_geometry",
    "resolve_grid",
    "warn_of_coverage",
]

Interpolation = Literal["auto", "continuous", "linear", "nearest"]
NanPolicy = Literal["keep", "zero"]

_LEAST_COVERAGE = 0.5
_SCALED_AT_ONCE = 1 << 14


@dataclass(frozen=True, eq=False)
class Reader:
    """How a file becomes an array: on which grid, and by which rules.

    A plain value: it opens nothing until it is called, it can be pickled, and
    many threads may call it.

    Notes
    -----
    Values agree with nilearn's (see :mod:`intake_neurovault.resampling`), except
    that a `fill_value` other than 0 is not clipped to the map's range, and that a
    map within a thousandth of a millimetre of the grid is taken as it is, infinite
    voxels included.

    Examples
    --------
    >>> Reader.parse(grid="mni152-2mm").grid.shape
    (91, 109, 91)
    >>> Reader.parse(grid=None, nan="zero").to_arguments()
    {'grid': None, 'nan': 'zero'}
    """

    grid: Grid | GridFile | None
    """The grid to resample to; None for each map's own."""
    interpolation: Interpolation = "auto"
    """``"auto"``: nearest for discrete maps, otherwise continuous (cubic)."""
    nan: NanPolicy = "keep"
    """Whether voxels without a finite value stay so, or become zero."""
    fill_value: float = 0.0
    """What stands outside a map's field of view."""

    def _identity(self) -> tuple[object, ...]:
        # NaN is unequal to itself, but two readers that fill with it are equal.
        fill = "nan" if math.isnan(self.fill_value) else self.fill_value
        return (self.grid, self.interpolation, self.nan, fill)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reader):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    @classmethod
    def parse(
        cls,
        *,
        grid: object = "mni152-3mm",
        interpolation: str = "auto",
        nan: str = "keep",
        fill_value: object = 0.0,
    ) -> Reader:
        """Understand the arguments as a user writes them.

        Parameters
        ----------
        grid : object, default="mni152-3mm"
            Any spelling that :func:`intake_neurovault.grid.parse_grid` reads.
        interpolation : {"auto", "continuous", "linear", "nearest"}
            How values between voxels are made.
        nan : {"keep", "zero"}
            What becomes of NaN and infinite voxels.
        fill_value : number or text, default=0.0
            What stands outside a map's field of view; may be NaN.

        Returns
        -------
        Reader
            The parsed reader; nothing is opened.

        Raises
        ------
        GridError
            If `grid` is not understood.
        ArgumentError
            If another argument is not.
        """
        check_choice("interpolation", interpolation, get_args(Interpolation))
        check_choice("nan", nan, get_args(NanPolicy))
        return cls(
            parse_grid(grid),
            cast(Interpolation, interpolation),
            cast(NanPolicy, nan),
            parse_fill(fill_value),
        )

    def to_arguments(self) -> dict[str, Any]:
        """Write what differs from the defaults, as :meth:`parse` reads it.

        Returns
        -------
        dict
            JSON types only; a fill value that is not finite is text.
        """
        usual = Reader.parse()
        fill = self.fill_value
        spelled = {
            "grid": None if self.grid is None else self.grid.to_spec(),
            "interpolation": self.interpolation,
            "nan": self.nan,
            "fill_value": fill if math.isfinite(fill) else str(fill),
        }
        return {
            name: value
            for name, value in spelled.items()
            if getattr(self, name) != getattr(usual, name)
        }

    def resolve(self) -> Reader:
        """Read the grid of an image to match, so that it need not be read again.

        Returns
        -------
        Reader
            Equal but for `grid`, which is in numbers or None.

        Raises
        ------
        GridError
            If the image to match cannot be read.
        """
        return replace(self, grid=resolve_grid(self.grid))

    def method(self, discrete: bool) -> Method:
        """Tell how values between voxels are made.

        Parameters
        ----------
        discrete : bool
            Whether the values are labels, so that ``"auto"`` must not mix them.

        Returns
        -------
        {"continuous", "linear", "nearest"}
            What `interpolation` stands for.

        Examples
        --------
        >>> Reader.parse().method(discrete=True)
        'nearest'
        """
        if self.interpolation == "auto":
            return "nearest" if discrete else "continuous"
        return self.interpolation

    def __call__(
        self, path: str | os.PathLike[str], *, discrete: bool, label: str
    ) -> NDArray[np.float32]:
        """Read one map.

        Parameters
        ----------
        path : path
            A local file, gzipped or plain NIfTI-1 or NIfTI-2, under any name.
        discrete : bool
            Whether its values are labels, so that ``"auto"`` must not mix them.
        label : str
            What messages call it, such as ``"image 3 (collection 1)"``.

        Returns
        -------
        ndarray
            Float32 of shape (nx, ny, nz), in any memory order, owned by the caller.

        Raises
        ------
        CorruptFileError
            If the file is damaged.
        GeometryError
            If it holds no 3-D map of real numbers.
        GridError
            If the image to match cannot be read.

        Warns
        -----
        NeuroVaultWarning
            If the map's field of view covers less than half of the grid.
        """
        grid = resolve_grid(self.grid)
        reader = replace(self, grid=grid)
        values, coverage = reader.read(path, discrete=discrete, label=label)
        if grid is not None:
            warn_of_coverage(coverage, grid, label)
        return values

    def read(
        self, path: str | os.PathLike[str], *, discrete: bool, label: str
    ) -> tuple[NDArray[np.float32], float]:
        """Read one map, and leave it to the caller to warn of little coverage.

        Parameters, errors and the first value are those of calling the reader.

        Returns
        -------
        values : ndarray
            The map.
        coverage : float
            How much of the grid lies within its field of view, from 0 to 1.
        """
        grid = resolve_grid(self.grid)
        source, data = _read_map(Path(path), label)
        if grid is None or source.isclose(grid):
            values = np.require(data, requirements="W")
            if self.nan == "zero":
                values[~np.isfinite(values)] = 0
            return values, 1.0
        method = self.method(discrete)
        values, outside = resample(data, source.matrix, grid.matrix, grid.shape, method)
        if self.nan == "zero":
            values[np.isnan(values)] = 0
        lost = np.count_nonzero(outside)
        if lost:
            values[outside] = self.fill_value
        return values, 1 - lost / outside.size


def read_geometry(path: str | os.PathLike[str], *, label: str) -> Geometry:
    """Read where the voxels of a file lie, from its header alone.

    Parameters
    ----------
    path : path
        A local file, gzipped or plain NIfTI-1 or NIfTI-2, under any name.
    label : str
        What errors call it, such as ``"image 3 (collection 1)"``.

    Returns
    -------
    Geometry
        The geometry; no voxel is inflated.

    Raises
    ------
    CorruptFileError
        If the file does not begin as NIfTI.
    GeometryError
        If it is not 3-D, trailing dimensions of one aside, or has no affine that
        can be inverted.
    """
    with Path(path).open("rb", buffering=0) as source:
        return parse_header(NiftiStream(source, label).header(), label)[0]


def resolve_grid(grid: Grid | GridFile | None) -> Grid | None:
    """Read the grid of an image file; anything else is returned as it is.

    Parameters
    ----------
    grid : Grid, GridFile or None
        What :func:`intake_neurovault.grid.parse_grid` returned.

    Returns
    -------
    Grid or None
        The grid in numbers.

    Raises
    ------
    GridError
        If the file is missing, damaged, or not 3-D.
    """
    if not isinstance(grid, GridFile):
        return grid
    try:
        return read_geometry(Path(grid.path).expanduser(), label=grid.path).grid
    except (OSError, GeometryError) as error:
        msg = f"grid: the image to match cannot be used: {error}"
        raise GridError(msg) from error


def warn_of_coverage(coverage: float, grid: Grid, label: str) -> None:
    """Warn where most of the grid lies outside the map's field of view.

    Parameters
    ----------
    coverage : float
        How much of the grid lies inside, from 0 to 1.
    grid : Grid
        The grid.
    label : str
        What the message calls the map.

    Warns
    -----
    NeuroVaultWarning
        If it is less than half.
    """
    if coverage < _LEAST_COVERAGE:
        msg = (
            f"{label}: the field of view covers {coverage:.0%} of the grid of "
            f"{grid.describe()}; the rest is fill_value"
        )
        warn(msg)


def _read_map(path: Path, label: str) -> tuple[Grid, NDArray[np.float32]]:
    """Read the grid and the numbers; the array may be read-only."""
    with path.open("rb", buffering=0) as source:
        file = NiftiFile(source, label)
        raw = file.header()
        geometry, encoding = parse_header(raw, label)
        if encoding.dtype.kind not in "iuf":
            msg = (
                f"{label}: the file holds {geometry.dtype} values where a map has one "
                "real number per voxel; leave it out of the query"
            )
            raise GeometryError(msg)
        numbers = file.numbers(raw)
    if not math.isfinite(encoding.intercept):
        msg = f"{label}: the header scales by the intercept {encoding.intercept}"
        raise CorruptFileError(msg)
    return geometry.grid, _decoded(numbers, encoding, geometry.grid.shape)


def _decoded(
    numbers: memoryview, encoding: Encoding, shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Apply the header's scaling in double precision, as nibabel does."""
    stored = np.frombuffer(numbers, encoding.dtype)
    # Values beyond float32, and signalling NaN, are the map's, not an accident.
    with np.errstate(over="ignore", invalid="ignore"):
        if (encoding.slope, encoding.intercept) != (1, 0):
            stored = _scaled(stored, encoding.slope, encoding.intercept)
        values = np.require(stored, np.float32, "A")
    return values.reshape(shape, order="F")


def _scaled(
    stored: NDArray[Any], slope: float, intercept: float
) -> NDArray[np.float32]:
    """Scale block after block, so that double precision needs no memory of its own."""
    values = np.empty(stored.size, np.float32)
    block = np.empty(min(stored.size, _SCALED_AT_ONCE))
    for start in range(0, stored.size, _SCALED_AT_ONCE):
        some = slice(start, start + _SCALED_AT_ONCE)
        doubles = block[: stored[some].size]
        doubles[:] = stored[some]
        doubles *= slope
        doubles += intercept
        values[some] = doubles
    return values
