"""What stands beside the voxels: axes and attributes.

All of it in types that netCDF and zarr both give back as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.grid import Grid
from intake_neurovault.nifti import Geometry, Reader
from intake_neurovault.records import Collection

__all__ = [
    "LICENSE",
    "NEUROVAULT_DOI",
    "NIFTI",
    "Column",
    "axis_columns",
    "dataset_attrs",
    "map_attrs",
    "nifti_attrs",
]

NIFTI = "nifti"
"""Name of the scalar coordinate whose attributes are the NIfTI header's facts."""

LICENSE = "CC0-1.0"
"""Under which NeuroVault publishes all maps, as SPDX has it."""

NEUROVAULT_DOI = "https://doi.org/10.3389/fninf.2015.00008"
"""The paper on NeuroVault."""

_DIMENSIONLESS = frozenset(
    {
        "T map",
        "Z map",
        "F map",
        "Chi squared map",
        "P map (given null hypothesis)",
        '1-P map ("inverted" probability)',
        "ROI/mask",
        "parcellation",
    }
)


@dataclass(frozen=True)
class Column:
    """One field of all images."""

    values: NDArray[Any]
    """1-D, one entry for each image or voxel."""
    attrs: Mapping[str, str] = field(default_factory=dict)
    """What it means."""


def axis_columns(grid: Grid) -> dict[str, Column]:
    """Give the coordinates along the three voxel axes of a grid.

    Parameters
    ----------
    grid : Grid
        Any grid.

    Returns
    -------
    dict of str to Column
        ``x``, ``y`` and ``z`` in millimetres, float64, if the grid is aligned with
        the axes of space. Otherwise ``i``, ``j`` and ``k``, the voxel indices,
        since no millimetre along one axis would be true; their other name keeps
        code that means millimetres from running on them.

    Examples
    --------
    >>> from intake_neurovault.grid import GRIDS
    >>> axes = axis_columns(GRIDS["mni152-3mm"])
    >>> axes["x"].values[:2], axes["x"].attrs["units"]
    (array([-90., -87.]), 'mm')
    """
    if not grid.axis_aligned:
        return {
            name: Column(
                np.arange(size, dtype=np.float64),
                {"units": "1", "long_name": f"voxel index along array axis {axis}"},
            )
            for axis, (name, size) in enumerate(zip("ijk", grid.shape, strict=True))
        }
    return {
        name: Column(
            values,
            {
                "units": "mm",
                "axis": name.upper(),
                "standard_name": f"{name}_coordinate",
                "long_name": _DIRECTIONS[name],
            },
        )
        for name, values in grid.coords().items()
    }


def nifti_attrs(geometry: Geometry, space: str) -> dict[str, Any]:
    """Give the attributes from which a NIfTI header can be made again.

    Parameters
    ----------
    geometry : Geometry
        The grid, and what the header says of it.
    space : str
        The template space.

    Returns
    -------
    dict
        ``affine`` as a flat list of 16 floats, row by row (netCDF holds no nested
        lists), ``sform_code``, ``qform_code``, ``xyzt_units``, ``description`` and
        ``space``.
    """
    return {
        "affine": list(geometry.grid.affine),
        "sform_code": geometry.sform_code,
        "qform_code": geometry.qform_code,
        "xyzt_units": geometry.xyzt_units,
        "description": geometry.description,
        "space": space,
        "long_name": "affine of the voxel axes, and other facts of the NIfTI header",
    }


def map_attrs(map_types: Set[str | None], reader: Reader) -> dict[str, Any]:
    """Say what the values of the voxels are, and how they came about.

    Parameters
    ----------
    map_types : set of str or None
        The types that occur.
    reader : Reader
        How they are read.

    Returns
    -------
    dict
        ``long_name`` is the type of the maps if they have one in common, and
        ``units`` is ``"1"`` if that is a number without unit; ``interpolation`` is
        ``"none"`` on native grids; ``nan`` and ``fill_value`` are the reader's.
    """
    kind = next(iter(map_types)) if len(map_types) == 1 else None
    attrs = {
        "long_name": kind or "statistical brain map",
        "grid_mapping": NIFTI,
        "interpolation": "none" if reader.grid is None else reader.interpolation,
        "nan": reader.nan,
        "fill_value": reader.fill_value,
    }
    return {**attrs, "units": "1"} if kind in _DIMENSIONLESS else attrs


def dataset_attrs(
    homes: Iterable[int],
    collections: Mapping[int, Collection],
    *,
    url: str,
    query: str,
) -> dict[str, str]:
    """Say where maps come from, and whom to cite.

    Parameters
    ----------
    homes : iterable of int
        The collections of the images, in the order of these.
    collections : mapping of int to Collection
        Collections by id.
    url : str
        The server.
    query : str
        What was searched, as JSON.

    Returns
    -------
    dict of str to str
        ``citation_dois`` are the DOIs of the collections, separated by blanks,
        which no DOI contains; ``references`` is the paper on NeuroVault.
    """
    owners = map(collections.get, dict.fromkeys(homes))
    dois = dict.fromkeys(o.doi for o in owners if o is not None and o.doi)
    return {
        "title": "Statistical maps of the brain from NeuroVault",
        "source": url,
        "query": query,
        "license": LICENSE,
        "citation_dois": " ".join(dois),
        "references": NEUROVAULT_DOI,
        "intake_neurovault_version": _own_version(),
    }


@cache
def _own_version() -> str:
    # NOTE: a look at the disk each time.
    return version("intake-neurovault")


_DIRECTIONS = {
    "x": "left to right",
    "y": "posterior to anterior",
    "z": "inferior to superior",
}
