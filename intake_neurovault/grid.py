"""Voxel grids as values: presets, parsing, coordinates and comparison.

A grid is an affine and a shape, nothing else; no file is opened here. The grid
of an image file is named by its path (:class:`GridFile`) and read elsewhere.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intake_neurovault.errors import GeometryError, GridError

_ORIGIN = (-90.0, -126.0, -72.0)
_EXTENT = (180.0, 216.0, 180.0)
_FINEST, _COARSEST = 0.5, 50.0
_SUFFIXES = (".nii", ".nii.gz")
_LARGEST_ENTRY = 1e9
_SMALLEST_VOXEL = 1e-6
_SMALLEST_VOLUME = 1e-6
_FORMS = (
    "a name (mni152-3mm, mni152-2mm, mni152-1mm), a number of millimetres, "
    "{affine, shape}, the path of a .nii or .nii.gz image, or null for native grids"
)
_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(?:mm)?", re.I)
_WORDS: Mapping[str, bool | None] = MappingProxyType(
    {"none": None, "null": None, "native": None, "false": False, "true": True}
)


@dataclass(frozen=True)
class Grid:
    """An affine and a shape: where the voxels of a map lie.

    Two grids are equal when affine and shape are; the name is only for people.

    Examples
    --------
    >>> grid = GRIDS["mni152-3mm"]
    >>> grid.shape
    (61, 73, 61)
    >>> grid.describe()
    '61×73×61 voxels of 3 mm'
    >>> grid.coords()["x"][:3]
    array([-90., -87., -84.])
    """

    affine: tuple[float, ...]
    """16 numbers, row by row: voxel index (i, j, k, 1) to millimetres (x, y, z, 1)."""
    shape: tuple[int, int, int]
    """Voxels along each of the three array axes."""
    name: str | None = field(default=None, compare=False)
    """The preset's name, where there is one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "affine", _checked_affine(self.affine))
        object.__setattr__(self, "shape", _checked_shape(self.shape))

    @classmethod
    def from_affine(cls, affine: ArrayLike, shape: Any) -> Grid:
        """Make a grid from a 4×4 matrix, and recognise the presets.

        Parameters
        ----------
        affine : array_like
            4×4 matrix or its 16 numbers row by row, voxel index to millimetres.
        shape : sequence of int
            Three numbers of voxels.

        Returns
        -------
        Grid
            With the preset's name where it equals one.

        Raises
        ------
        GridError
            If the numbers describe no grid.

        Examples
        --------
        >>> Grid.from_affine([[2, 0, 0, -90], [0, 2, 0, -126], [0, 0, 2, -72],
        ...                   [0, 0, 0, 1]], [91, 109, 91]).name
        'mni152-2mm'
        """
        grid = cls(_checked_affine(affine), _checked_shape(shape))
        return _PRESETS.get(grid, grid)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The affine as a new 4×4 float64 array."""
        return np.array(self.affine).reshape(4, 4)

    @property
    def resolution(self) -> tuple[float, float, float]:
        """Length in millimetres of one step along each array axis."""
        i, j, k = np.linalg.norm(self.matrix[:3, :3], axis=0).tolist()
        return (i, j, k)

    @property
    def axis_aligned(self) -> bool:
        """Whether array axes 0, 1, 2 run along x, y, z, in either direction.

        Terms off the diagonal count as none while they move no voxel of the grid
        by more than a thousandth of a millimetre.
        """
        linear = self.matrix[:3, :3]
        slant = np.abs(linear - np.diag(np.diag(linear)))
        return bool(slant.dot(np.subtract(self.shape, 1)).max() <= 1e-3) and bool(
            np.abs(np.diag(linear)).min() > 0
        )

    def coords(self) -> dict[str, NDArray[np.float64]]:
        """Give the millimetres of the voxel centres along x, y and z.

        Returns
        -------
        dict
            ``"x"``, ``"y"``, ``"z"``: 1-D float64 arrays in millimetres, as long
            as the array axis, descending where the axis is flipped.

        Raises
        ------
        GeometryError
            If the axes are oblique or swapped, so that one coordinate per axis
            cannot describe them.
        """
        if not self.axis_aligned:
            msg = (
                f"the grid of {self.describe()} is oblique or has swapped axes and "
                'has no coordinates along x, y and z: pass grid="mni152-3mm" or '
                "another axis-aligned grid to resample to it"
            )
            raise GeometryError(msg)
        matrix = self.matrix
        return {
            name: matrix[axis, 3] + matrix[axis, axis] * np.arange(self.shape[axis])
            for axis, name in enumerate("xyz")
        }

    def isclose(self, other: Grid, atol: float = 1e-3) -> bool:
        """Tell whether another grid puts its voxels at the same places.

        Parameters
        ----------
        other : Grid
            The grid to compare with.
        atol : float, default=1e-3
            The largest distance in millimetres along x, y or z between any two
            voxels of the same index.

        Returns
        -------
        bool
            Whether the shapes are equal and no voxel is further off than `atol`.

        Notes
        -----
        The distance is an affine function of the index, so that it is largest at
        one of the eight corners.
        """
        if self.shape != other.shape:
            return False
        ends = [(0, size - 1) for size in self.shape]
        corners = np.array([(*corner, 1) for corner in product(*ends)], dtype=float)
        offsets = corners @ (self.matrix - other.matrix).T
        return bool(np.abs(offsets).max() <= atol)

    def to_spec(self) -> str | dict[str, Any]:
        """Write the grid as :func:`parse_grid` reads it, in JSON types only.

        Returns
        -------
        str or dict
            The preset's name, or ``{"affine": 4×4 nested lists, "shape": list}``.
        """
        preset = _PRESETS.get(self)
        if preset is not None and preset.name is not None:
            return preset.name
        return {"affine": self.matrix.tolist(), "shape": list(self.shape)}

    def describe(self) -> str:
        """Say shape and resolution in a few words.

        Returns
        -------
        str
            Such as ``"61×73×61 voxels of 3 mm"``.
        """
        steps = [f"{step:.4g}" for step in self.resolution]
        size = steps[0] if len(set(steps)) == 1 else "×".join(steps)
        return f"{'×'.join(map(str, self.shape))} voxels of {size} mm"


@dataclass(frozen=True)
class GridFile:
    """The grid of an image file, known by its path until it is needed."""

    path: str
    """A local NIfTI file, ``.nii`` or ``.nii.gz``."""

    def to_spec(self) -> str:
        """Write it as :func:`parse_grid` reads it.

        Returns
        -------
        str
            The path.
        """
        return self.path


GridLike = Grid | GridFile | str | os.PathLike[str] | float | Mapping[str, Any] | None
"""What may be written for a grid; :func:`parse_grid` understands it."""


def _checked_affine(value: Any) -> tuple[float, ...]:
    """Return the 16 numbers of an affine that can be inverted, or raise."""
    try:
        matrix = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"grid: the affine must be 4×4 numbers, not {value!r}"
        raise GridError(msg) from error
    if matrix.shape not in ((4, 4), (16,)):
        size = "×".join(map(str, matrix.shape)) or "one number"
        msg = f"grid: the affine must be 4×4 (or its 16 numbers), not {size}"
        raise GridError(msg)
    matrix = matrix.reshape(4, 4) + 0.0
    if not (np.abs(matrix) < _LARGEST_ENTRY).all():
        msg = f"grid: the affine holds numbers that are no millimetres: {value!r}"
        raise GridError(msg)
    if matrix[3].tolist() != [0, 0, 0, 1]:
        msg = f"grid: the affine's last row must be 0 0 0 1, not {matrix[3].tolist()}"
        raise GridError(msg)
    steps = np.linalg.norm(matrix[:3, :3], axis=0)
    flat = steps.min() < _SMALLEST_VOXEL
    if flat or abs(np.linalg.det(matrix[:3, :3] / steps)) < _SMALLEST_VOLUME:
        msg = (
            "grid: the affine maps the volume to a plane or less "
            f"(it cannot be inverted): {matrix.tolist()}"
        )
        raise GridError(msg)
    return tuple(matrix.ravel().tolist())


def _checked_shape(value: Any) -> tuple[int, int, int]:
    """Return three positive ints, or raise."""
    try:
        sizes = [float(size) for size in value]
    except (TypeError, ValueError, OverflowError):
        sizes = []
    if (
        len(sizes) != 3
        or isinstance(value, str)
        or any(not (size >= 1 and size.is_integer()) for size in sizes)
    ):
        msg = f"grid: the shape must be three positive whole numbers, not {value!r}"
        raise GridError(msg)
    i, j, k = (int(size) for size in sizes)
    return (i, j, k)


def _mni152(step: float, name: str | None = None) -> Grid:
    """Make the grid of nilearn's MNI152 box for a step in millimetres."""
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = _ORIGIN
    # The nudge keeps steps such as 0.6, which floats cannot hold, from losing a voxel.
    i, j, k = (math.floor(extent / step + 1e-9) + 1 for extent in _EXTENT)
    return Grid(tuple(affine.ravel().tolist()), (i, j, k), name)


GRIDS: Mapping[str, Grid] = MappingProxyType(
    {f"mni152-{step}mm": _mni152(step, f"mni152-{step}mm") for step in (3, 2, 1)}
)
"""The named grids: nilearn's MNI152 box at 3, 2 and 1 mm."""

_PRESETS = {grid: grid for grid in GRIDS.values()}


def parse_grid(spec: object) -> Grid | GridFile | None:
    """Understand any spelling of a grid.

    Parameters
    ----------
    spec : object
        A name of :data:`GRIDS`; a number of millimetres from 0.5 to 50 (or its
        digits, ``"2.5"`` or ``"2.5mm"``) for that resolution in the box of the
        named grids; a mapping with ``affine`` (4×4) and ``shape`` (three ints);
        the path of a ``.nii`` or ``.nii.gz`` image; a :class:`Grid` or
        :class:`GridFile`; True for ``"mni152-3mm"``; None, False or ``"native"``
        for the grid of each map.

    Returns
    -------
    Grid, GridFile or None
        None means that maps stay on their own grids.

    Raises
    ------
    GridError
        If `spec` is none of these.

    Notes
    -----
    The box begins at (-90, -126, -72) mm and extends 180×216×180 mm; at 3 mm its
    affine is the one that nilearn's NeuroVault fetcher resamples to. A resolution
    that does not divide it ends short of the far faces, never beyond them.

    Examples
    --------
    >>> parse_grid("mni152-2mm").shape
    (91, 109, 91)
    >>> parse_grid(2.5).shape
    (73, 87, 73)
    >>> parse_grid("template.nii.gz")
    GridFile(path='template.nii.gz')
    >>> parse_grid(None) is None
    True
    >>> parse_grid("mni152-3m")
    Traceback (most recent call last):
    ...
    intake_neurovault.errors.GridError: grid='mni152-3m' is not a grid; did you mean \
'mni152-3mm'? A grid is a name (mni152-3mm, mni152-2mm, mni152-1mm), a number of \
millimetres, {affine, shape}, the path of a .nii or .nii.gz image, or null for \
native grids
    """
    if isinstance(spec, Grid | GridFile):
        return spec
    if isinstance(spec, os.PathLike):
        spec = os.fspath(spec)
    if isinstance(spec, str):
        return _parse_text(spec.strip())
    if spec is None or isinstance(spec, bool | np.bool_):
        return GRIDS["mni152-3mm"] if spec else None
    if isinstance(spec, Mapping):
        return _parse_mapping(spec)
    if isinstance(spec, Real):
        return _parse_step(float(spec))
    raise GridError(_not_a_grid(spec))


def _parse_text(text: str) -> Grid | GridFile | None:
    """Understand a name, a word, digits, or a path."""
    lowered = text.lower()
    if lowered in GRIDS:
        return GRIDS[lowered]
    if lowered in _WORDS:
        return parse_grid(_WORDS[lowered])
    number = _NUMBER.fullmatch(text)
    if number is not None:
        return _parse_step(float(number[1]))
    if lowered.endswith(_SUFFIXES):
        return GridFile(text)
    raise GridError(_not_a_grid(text))


def _parse_step(step: float) -> Grid:
    """Make the MNI152 grid of a resolution in millimetres."""
    if not _FINEST <= step <= _COARSEST:
        msg = (
            f"grid={step:g}: a resolution is between {_FINEST:g} and "
            f"{_COARSEST:g} millimetres"
        )
        raise GridError(msg)
    grid = _mni152(step)
    return _PRESETS.get(grid, grid)


def _parse_mapping(spec: Mapping[str, Any]) -> Grid:
    """Make the grid of ``{affine, shape}``."""
    if set(spec) != {"affine", "shape"}:
        names = ", ".join(map(repr, spec)) or "nothing"
        msg = (
            f"grid: a mapping holds exactly 'affine' and 'shape', this one has {names}"
        )
        raise GridError(msg)
    return Grid.from_affine(spec["affine"], spec["shape"])


def _not_a_grid(spec: object) -> str:
    """Say what was given, what may have been meant, and what a grid is."""
    close = difflib.get_close_matches(str(spec).lower(), GRIDS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    shown = repr(spec) if isinstance(spec, str) else reprlib.repr(spec)
    return f"grid={shown} is not a grid{hint} A grid is {_FORMS}"
