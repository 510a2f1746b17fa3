"""What stands beside the voxels: metadata as typed columns, axes, attributes.

All of it in types that netCDF and zarr both give back as they were.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.grid import Grid
from intake_neurovault.nifti import Geometry, Reader
from intake_neurovault.records import IMAGE_FIELDS, IMAGE_KINDS, Collection, Image, Kind

__all__ = [
    "NIFTI",
    "Column",
    "axis_columns",
    "dataset_attrs",
    "image_columns",
    "map_attrs",
    "nifti_attrs",
]

NIFTI = "nifti"
"""Name of the scalar coordinate whose attributes are the NIfTI header's facts."""

_BOOLEAN_CODES = "1 = true, 0 = false, NaN = not said"
_FIRST_NS, _LAST_NS = np.datetime64("1678-01-01"), np.datetime64("2262-01-01")
_AT_HAND = 256
_USUAL_DATE = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?)(Z|[+-]\d\d:\d\d)", re.ASCII
)
_NOTHING = "{}"
_TO_JSON = json.JSONEncoder(sort_keys=True, default=str).encode
_LARGEST_INT = 2**63
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


def map_attrs(images: Sequence[Image], reader: Reader) -> dict[str, Any]:
    """Say what the values of the voxels are, and how they came about.

    Parameters
    ----------
    images : sequence of Image
        The images.
    reader : Reader
        How they are read.

    Returns
    -------
    dict
        ``long_name`` is the type of the maps if they have one in common, and
        ``units`` is ``"1"`` if that is a number without unit; ``interpolation`` is
        ``"none"`` on native grids; ``nan`` and ``fill_value`` are the reader's.
    """
    kinds = {each.metadata.get("map_type") for each in images}
    kind = kinds.pop() if len(kinds) == 1 else None
    attrs = {
        "long_name": kind or "statistical brain map",
        "grid_mapping": NIFTI,
        "interpolation": "none" if reader.grid is None else reader.interpolation,
        "nan": reader.nan,
        "fill_value": reader.fill_value,
    }
    return {**attrs, "units": "1"} if kind in _DIMENSIONLESS else attrs


def dataset_attrs(
    images: Sequence[Image],
    collections: Mapping[int, Collection],
    *,
    url: str,
    query: str,
) -> dict[str, str]:
    """Say where maps come from, and whom to cite.

    Parameters
    ----------
    images : sequence of Image
        The images.
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
    owners = (collections.get(each.collection_id) for each in images)
    dois = dict.fromkeys(o.doi for o in owners if o is not None and o.doi)
    return {
        "title": "Statistical maps of the brain from NeuroVault",
        "source": url,
        "query": query,
        "license": "CC0-1.0",
        "citation_dois": " ".join(dois),
        "references": "https://doi.org/10.3389/fninf.2015.00008",
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


def image_columns(
    images: Sequence[Image], collections: Mapping[int, Collection]
) -> dict[str, Column]:
    """Give the metadata of images as columns.

    Parameters
    ----------
    images : sequence of Image
        One entry of every column for each.
    collections : mapping of int to Collection
        Collections by id; one that is absent counts as one without name and DOI.

    Returns
    -------
    dict of str to Column
        The core fields but ``id``, in the order of the schema, then
        ``collection_name`` and ``collection_doi``; fields that are null for all
        images are left out. ``extra`` follows where an image has custom fields:
        one JSON object for each image, since the type of a custom field changes
        from image to image.

    Notes
    -----
    The dtypes are those that both netCDF and zarr give back as they were:

    ======= ==================== ======================================
    kind    without nulls        with nulls
    ======= ==================== ======================================
    int     int64                float64, null is NaN
    float   float64              float64, null is NaN
    bool    bool                 float64: 1, 0, and NaN for null
    text    object, of ``str``   null is ``""``, which no value ever is
    date    datetime64[ns], UTC  null is NaT
    ======= ==================== ======================================

    Examples
    --------
    >>> raw = {"id": 3, "collection_id": 1, "map_type": "Z map", "age": None}
    >>> image = Image.from_json(raw, base_url="https://neurovault.org")
    >>> columns = image_columns([image], {})
    >>> list(columns)
    ['collection_id', 'map_type']
    >>> columns["collection_id"].values
    array([1])
    """
    records = [image.metadata for image in images]
    kinds = {each.name: each.kind for each in IMAGE_FIELDS if each.name != "id"}
    given = _by_field(records, list(kinds))
    fields = {name: (kind, given[name]) for name, kind in kinds.items()}
    owners = [collections.get(image.collection_id) for image in images]
    names = [None if owner is None else owner.name for owner in owners]
    dois = [None if owner is None else owner.doi for owner in owners]
    fields |= {"collection_name": ("text", names), "collection_doi": ("text", dois)}
    columns = {
        name: Column(_WRITERS[kind](values), _attrs(name, kind, values))
        for name, (kind, values) in fields.items()
        if values.count(None) < len(values)
    }
    extra = _custom_fields(records)
    if any(text != _NOTHING for text in extra):
        columns["extra"] = Column(_texts(extra), {"long_name": _LONG_NAMES["extra"]})
    return columns


def _by_field(
    records: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> dict[str, list[Any]]:
    """Turn records into one list of values for each field."""
    lists: dict[str, list[Any]] = {name: [] for name in names}
    # NOTE: field by field, but of no more records than the processor has at hand.
    for first in range(0, len(records), _AT_HAND):
        some = records[first : first + _AT_HAND]
        for name, values in lists.items():
            values += [record.get(name) for record in some]
    return lists


def _custom_fields(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write of each record what is outside the core schema, and not null, as JSON."""
    custom = set[str]().union(*records).difference(IMAGE_KINDS)
    texts = []
    for record in records:
        names = record.keys() & custom
        found = {name: record[name] for name in names if record[name] is not None}
        texts.append(_TO_JSON(found) if found else _NOTHING)
    return texts


_LONG_NAMES = {each.name: each.description for each in IMAGE_FIELDS} | {
    "collection_name": "the collection's title",
    "collection_doi": "DOI of the collection's paper",
    "extra": "custom fields of the image, a JSON object",
}


def _attrs(name: str, kind: Kind, values: Sequence[Any]) -> dict[str, str]:
    """Say what a column means."""
    attrs = {"long_name": _LONG_NAMES[name]}
    if kind == "date":
        attrs["time_zone"] = "UTC"
    if kind == "bool" and None in values:
        attrs["comment"] = _BOOLEAN_CODES
    return attrs


def _floats(values: Sequence[Any]) -> NDArray[Any]:
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _ints(values: Sequence[Any]) -> NDArray[Any]:
    if all(v is not None and -_LARGEST_INT <= v < _LARGEST_INT for v in values):
        return np.array(values, dtype=np.int64)
    return _floats(values)


def _bools(values: Sequence[Any]) -> NDArray[Any]:
    return _floats(values) if None in values else np.array(values, dtype=np.bool_)


def _texts(values: Sequence[Any]) -> NDArray[Any]:
    # Fixed-width unicode would take four bytes for every letter of the longest
    # description in every row, and has no place in the zarr 3 format.
    return np.array(["" if v is None else v for v in values], dtype=object)


def _dates(values: Sequence[Any]) -> NDArray[Any]:
    """Read ISO dates as UTC; NaT for none, or one that [ns] cannot hold."""
    clocks, zones = [], []
    for value in values:
        clock, zone = _clock_and_zone(value)
        clocks.append(clock)
        zones.append(zone)
    moments = np.array(clocks, dtype="datetime64[us]")
    ahead = {zone: _ahead_of_utc(zone) for zone in set(zones)}
    moments -= np.array([ahead[zone] for zone in zones], dtype=np.int64)
    moments[(moments < _FIRST_NS) | (moments >= _LAST_NS)] = np.datetime64("NaT")
    return moments.astype("datetime64[ns]")


def _clock_and_zone(value: str | None) -> tuple[str, str]:
    """Split a date as the server writes it; others are brought into that form.

    numpy reads many such texts in a tenth of the time in which they become
    `datetime` objects, but without a zone.
    """
    if value is None:
        return "NaT", "Z"
    usual = _USUAL_DATE.fullmatch(value)
    if usual is not None:
        return usual[1], usual[2]
    moment = datetime.fromisoformat(value)
    clock = moment.replace(tzinfo=None).isoformat()
    return clock, moment.isoformat()[len(clock) :] or "Z"


def _ahead_of_utc(zone: str) -> int:
    """Count the microseconds."""
    offset = datetime.fromisoformat(f"2000-01-01T00:00:00{zone}").utcoffset()
    return (offset or timedelta()) // timedelta(microseconds=1)


_WRITERS: Mapping[Kind, Callable[[Sequence[Any]], NDArray[Any]]] = {
    "int": _ints,
    "float": _floats,
    "bool": _bools,
    "text": _texts,
    "date": _dates,
}
