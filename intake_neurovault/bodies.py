"""Whole records as short text, of which they are made again at the first look.

The fields of many records have the same names in the same order, which are kept once,
as a *shape*. The text has the values as served, and which of them mean something else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from intake_neurovault.deferred import later
from intake_neurovault.records import Collection, Image, image_file

Shape = tuple[str, ...]
"""The names of fields."""

_SHORT = (",", ":")
_ABSENT = object()

# NOTE: json.loads() takes a third of its time for what our own text does not need.
_PARSE = json.JSONDecoder().raw_decode


def text_of(record: Image | Collection) -> bytes:
    """Write a record.

    Parameters
    ----------
    record : Image or Collection
        The record; of a private collection, the token is not part of it.

    Returns
    -------
    bytes
        JSON: the values as served, then a mapping of those that were cleaned.

    Examples
    --------
    >>> text_of(Collection.from_json({"id": 12, "name": "a", "DOI": "n/a"}))
    b'[12,"a","n/a",{"DOI":null}]'
    """
    raw = record.raw
    cleaned = {
        name: value
        for name, value in record.metadata.items()
        if value is not raw.get(name, _ABSENT)
    }
    return json.dumps([*raw.values(), cleaned], separators=_SHORT).encode()


@lru_cache(maxsize=1024)
def number_of(shape: Shape) -> int:
    """Give the number of a shape.

    Parameters
    ----------
    shape : tuple of str
        The names.

    Returns
    -------
    int
        Of 56 bits, made of the names alone.

    Examples
    --------
    >>> number_of(("id",)) == number_of(("id", "name"))
    False
    """
    digest = hashlib.blake2b(json.dumps(shape).encode(), digest_size=7).digest()
    return int.from_bytes(digest)


class Body:
    """Makes the fields of a record of its text.

    Parameters
    ----------
    shape : tuple of str
        The names of its fields.
    text : bytes
        As `text_of` wrote it.
    url : str
        The server, for images.

    Examples
    --------
    >>> body = Body(("id", "name", "DOI"), b'[12,"a","n/a",{"DOI":null}]')
    >>> body("metadata")["metadata"]
    {'id': 12, 'name': 'a', 'DOI': None}
    """

    __slots__ = ("_read", "_shape", "_text", "_url")

    def __init__(self, shape: Shape, text: bytes, url: str = "") -> None:
        self._shape = shape
        self._text = text
        self._url = url
        self._read: tuple[dict[str, Any], dict[str, Any]] | None = None

    def __call__(self, name: str) -> Mapping[str, Any]:
        """Give a field, and those that come with it."""
        if name in ("raw", "metadata"):
            raw, metadata = self._fields()
            return {"raw": raw, "metadata": metadata}
        if name == "image_type":
            return {name: self._fields()[1].get(name) or ""}
        if name == "file":
            return {name: image_file(*self._fields(), self._url)}
        return {}

    def _fields(self) -> tuple[dict[str, Any], dict[str, Any]]:
        # NOTE: the order matters to threads that come here at the same time.
        text = self._text
        if self._read is None:
            values = _PARSE(text.decode("ascii"))[0]
            cleaned = values.pop()
            raw = dict(zip(self._shape, values, strict=True))
            self._read = raw, raw | cleaned
            self._text = b""
        return self._read


def image_of(number: int, home: int, body: Body) -> Image:
    """Give an image.

    Parameters
    ----------
    number : int
        Its id.
    home : int
        The number of the collection that its record names.
    body : Body
        The rest.

    Returns
    -------
    Image
        As `Image.from_json` made it; but for both numbers it is read at the first
        look.

    Examples
    --------
    >>> record = image_of(3, 12, Body(("id", "name"), b'[3,"a",{}]'))
    >>> record.id, record.metadata["name"]
    (3, 'a')
    """
    return later(Image, body, id=number, collection_id=home)


def folded(image: Image) -> Image:
    """Give the same image in a fifth of the memory, until somebody looks at it.

    Parameters
    ----------
    image : Image
        An image, of which many are kept.

    Returns
    -------
    Image
        An equal one; its fields are made again at the first look.

    Examples
    --------
    >>> image = Image.from_json({"id": 3, "collection_id": 1}, base_url="")
    >>> folded(image) == image, folded(image) is image
    (True, False)
    """
    return later(
        Image,
        Body(_one(tuple(image.raw)), text_of(image)),
        id=image.id,
        collection_id=image.collection_id,
        image_type=image.image_type,
        file=image.file,
    )


@lru_cache(maxsize=1024)
def _one(shape: Shape) -> Shape:
    """Give the first of equal shapes, so that there is one of each in memory."""
    return shape


def collection_of(number: int, body: Body) -> Collection:
    """Give a collection.

    Parameters
    ----------
    number : int
        Its id.
    body : Body
        The rest.

    Returns
    -------
    Collection
        As `Collection.from_json` made it; but for its number it is read at the first
        look.

    Examples
    --------
    >>> collection_of(12, Body(("id", "name"), b'[12,"a",{}]')).name
    'a'
    """
    return later(Collection, body, id=number, token=None)
