"""The metadata of images as typed columns, for the cube.

All of it in types that netCDF and zarr both give back as they were.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intake_neurovault.coordinates import Column
from intake_neurovault.fieldwise import Custom, Images
from intake_neurovault.records import IMAGE_FIELDS, Collection, Image, Kind

__all__ = ["image_columns"]

_BOOLEAN_CODES = "1 = true, 0 = false, NaN = not said"
_FIRST_NS, _LAST_NS = np.datetime64("1678-01-01"), np.datetime64("2262-01-01")
_LARGEST = sys.float_info.max
_NOTHING = "{}"
_TO_JSON = json.JSONEncoder(sort_keys=True, default=str).encode
_KINDS = {each.name: each.kind for each in IMAGE_FIELDS if each.name != "id"}
_LONG_NAMES = {each.name: each.description for each in IMAGE_FIELDS} | {
    "collection_name": "the collection's title",
    "collection_doi": "DOI of the collection's paper",
    "extra": "custom fields of the image, a JSON object",
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
    images = Images.of(images)
    columns = {}
    for name, kind in _KINDS.items():
        values, nulls = images.field(name)
        if nulls < len(values):
            array = _kept(images, name, _WRITERS[kind], values, nulls)
            columns[name] = Column(array, _attrs(name, kind, nulls=nulls > 0))
    for name, each in _owners(images, collections).items():
        nulls = each.count(None)
        if nulls < len(each):
            columns[name] = Column(
                _texts(each, nulls), {"long_name": _LONG_NAMES[name]}
            )
    if images.custom:
        texts = _kept(images, "extra", _extra, images)
        if (texts != _NOTHING).any():
            columns["extra"] = Column(texts, {"long_name": _LONG_NAMES["extra"]})
    return columns


def _kept(
    images: Images, name: str, make: Callable[..., NDArray[Any]], *given: Any
) -> NDArray[Any]:
    """Copy the array that was made before, or is made now.

    Whoever gets a copy may change it, and the next one gets what the records say.
    """
    if name not in images.arrays:
        images.arrays[name] = make(*given)
    return images.arrays[name].copy()


def _owners(
    images: Images, collections: Mapping[int, Collection]
) -> dict[str, list[str | None]]:
    """Give names and DOIs of the collections of images."""
    known = [(home, collections.get(home)) for home in set(images.homes)]
    names = {home: owner.name for home, owner in known if owner is not None}
    dois = {home: owner.doi for home, owner in known if owner is not None}
    return {
        "collection_name": [names.get(home) for home in images.homes],
        "collection_doi": [dois.get(home) for home in images.homes],
    }


def _attrs(name: str, kind: Kind, *, nulls: bool) -> dict[str, str]:
    """Say what a column means."""
    attrs = {"long_name": _LONG_NAMES[name]}
    if kind == "date":
        attrs["time_zone"] = "UTC"
    if kind == "bool" and nulls:
        attrs["comment"] = _BOOLEAN_CODES
    return attrs


# ---- custom fields ----------------------------------------------------------


def _extra(images: Images) -> NDArray[Any]:
    """Write of each record what is outside the core schema, and not null, as JSON."""
    texts = [_NOTHING] * len(images)
    for custom in images.custom:
        for row, text in zip(custom.rows, _objects(custom), strict=True):
            texts[row] = text
    return _texts(texts, 0)


def _objects(custom: Custom) -> Iterator[str]:
    """Write a JSON object for each image."""
    if any(None in column for column in custom.columns):
        for values in zip(*custom.columns, strict=True):
            pairs = zip(custom.names, values, strict=True)
            yield _TO_JSON({name: value for name, value in pairs if value is not None})
        return
    # NOTE: to write one value takes a fifth of the time of an object with it.
    ordered = sorted(zip(custom.names, custom.columns, strict=True))
    keys = (_TO_JSON(name).replace("%", "%%") for name, _ in ordered)
    form = "{" + ", ".join(f"{key}: %s" for key in keys) + "}"
    written = [map(_written, column) for _, column in ordered]
    for values in zip(*written, strict=True):
        yield form % values


def _written(value: object) -> str:
    # NOTE: the usual value is a list of tags, and that an empty one.
    return "[]" if value.__class__ is list and not value else _TO_JSON(value)


# ---- values -----------------------------------------------------------------


def _floats(values: Sequence[Any], _nulls: int) -> NDArray[Any]:
    # NOTE: numpy reads None as NaN.
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        held = [v if v is None or abs(v) <= _LARGEST else None for v in values]
        return np.array(held, dtype=np.float64)


def _ints(values: Sequence[Any], nulls: int) -> NDArray[Any]:
    try:
        return np.array(values, dtype=np.float64 if nulls else np.int64)
    except OverflowError:
        return _floats(values, nulls)


def _bools(values: Sequence[Any], nulls: int) -> NDArray[Any]:
    return np.array(values, dtype=np.float64 if nulls else np.bool_)


def _texts(values: Sequence[Any], nulls: int) -> NDArray[Any]:
    # Fixed-width unicode would take four bytes for every letter of the longest
    # description in every row, and has no place in the zarr 3 format.
    full = ["" if v is None else v for v in values] if nulls else values
    return np.array(full, dtype=object)


# ---- dates ------------------------------------------------------------------

_ZERO, _PLUS, _MINUS = b"0+-"
_FORMS = {
    len(form): np.frombuffer(form, dtype=np.uint8)
    for clock in (b"0000-00-00T00:00:00", b"0000-00-00T00:00:00.000000")
    for form in (clock + b"Z", clock + b"+00:00")
}
"""How the server writes dates, by the number of letters."""
_MINUTES = np.array([600, 60, 0, 10, 1], dtype=np.int64)
"""What each letter of an offset from UTC counts."""
_MICROSECONDS = 60_000_000
"""In a minute."""


def _dates(values: Sequence[Any], _nulls: int) -> NDArray[Any]:
    """Read ISO dates as UTC; NaT for none, or one that [ns] cannot hold."""
    texts = np.array([value or "" for value in values], dtype=object)
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    moments = np.full(len(texts), "NaT", dtype="datetime64[us]")
    for length in set(lengths.tolist()) - {0}:
        rows = lengths == length
        moments[rows] = _moments(texts[rows].tolist())
    moments[(moments < _FIRST_NS) | (moments >= _LAST_NS)] = np.datetime64("NaT")
    return moments.astype("datetime64[ns]")


def _moments(texts: Sequence[str]) -> NDArray[Any]:
    """Read dates of the same number of letters: all at once, where they are usual."""
    form = _FORMS.get(len(texts[0]))
    if form is None:
        return np.array([_moment(text) for text in texts])
    joined = "".join(texts).encode("ascii", "replace")
    letters = np.frombuffer(joined, dtype=np.uint8).reshape(len(texts), -1).copy()
    zoned = form[-6] == _PLUS
    behind = zoned & (letters[:, -6] == _MINUS)
    letters[behind, -6] = _PLUS
    digits = form == _ZERO
    # NOTE: unsigned, so that what is less than a zero is more than a nine.
    usual = (letters[:, digits] - np.uint8(_ZERO) <= 9).all(axis=1)
    usual &= (letters[:, ~digits] == form[~digits]).all(axis=1)
    moments = np.zeros(len(texts), dtype="datetime64[us]")
    width = len(form) - (6 if zoned else 1)
    clocks = np.ascontiguousarray(letters[usual, :width]).view(f"S{width}")
    moments[usual] = clocks.ravel().astype("datetime64[us]")
    if zoned:
        minutes = (letters[:, -5:].astype(np.int64) - _ZERO) @ _MINUTES
        moments -= np.where(behind, -minutes, minutes) * _MICROSECONDS
    for row in np.flatnonzero(~usual).tolist():
        moments[row] = _moment(texts[row])
    return moments


def _moment(text: str) -> np.datetime64:
    moment = datetime.fromisoformat(text)
    offset = (moment.utcoffset() or timedelta()) // timedelta(microseconds=1)
    return np.datetime64(moment.replace(tzinfo=None), "us") - offset


_WRITERS: Mapping[Kind, Callable[[Sequence[Any], int], NDArray[Any]]] = {
    "int": _ints,
    "float": _floats,
    "bool": _bools,
    "text": _texts,
    "date": _dates,
}
