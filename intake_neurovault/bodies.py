"""Whole records as short text, of which they are made again at the first look.

The fields of many records have the same names in the same order, and the same ones of
them are null: that is their shape, which is kept once. The text has what is left: the
values, and beside them what the server wrote where that says it otherwise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

from intake_neurovault.address import origin
from intake_neurovault.deferred import Deferred, Source, later, put
from intake_neurovault.records import Collection, Image, ImageFile

Where = int | list[str | None] | None
"""Where a file is: its path begins at that letter of the address in the record; path,
host, and the name of its server, if these are not plain from the record; or there is
none."""

_SHORT = (",", ":")

# NOTE: json.loads() takes a third of its time for what our own text does not need.
_PARSE = json.JSONDecoder().raw_decode
_FIELDS = frozenset({"metadata", "raw", "file", "image_type"})


@dataclass(frozen=True)
class Shape:
    """What many records have in common.

    Examples
    --------
    >>> shape = Shape.of(Collection.from_json({"id": 12, "name": "a", "DOI": "n/a"}))
    >>> shape.names, shape.given
    (('id', 'name', 'DOI'), ('id', 'name'))
    """

    names: tuple[str, ...]
    """The names of the fields, in their order."""
    given: tuple[str, ...]
    """Those of them that are not null, once cleaned."""

    # NOTE: made when they are needed, which they are for one of many equal shapes.
    @cached_property
    def blank(self) -> dict[str, Any]:
        """All fields, null, to be copied."""
        return dict.fromkeys(self.names)

    @cached_property
    def unread(self) -> Source:
        """Makes the fields of records at which nobody has looked."""
        return Unread(self)

    @cached_property
    def folded(self) -> Source:
        """Makes those of records whose files are known beside the text."""
        return Folded(self)

    @cached_property
    def seen(self) -> Source:
        """Makes those of the others."""
        return partial(_field, self)

    @classmethod
    def of(cls, record: Image | Collection) -> Shape:
        """Give the shape of a record.

        Parameters
        ----------
        record : Image or Collection
            The record.

        Returns
        -------
        Shape
            Its shape.
        """
        metadata = record.metadata
        given = tuple(name for name, value in metadata.items() if value is not None)
        return cls(tuple(metadata), given)

    @classmethod
    def read(cls, text: str) -> Shape:
        """Read one.

        Parameters
        ----------
        text : str
            As `write` gives it.

        Returns
        -------
        Shape
            The shape.

        Examples
        --------
        >>> shape = Shape(("id", "name"), ("id",))
        >>> Shape.read(shape.write()) == shape
        True
        """
        names, given = json.loads(text)
        return cls(tuple(names), tuple(given))

    def values(self, text: bytes) -> list[Any]:
        """Give the bare content of a record.

        Parameters
        ----------
        text : bytes
            As `text_of` wrote it.

        Returns
        -------
        list
            The values of the fields that are given; then what the server wrote
            otherwise, if anything, and where the file is.
        """
        found: list[Any] = _PARSE(text.decode("ascii"))[0]
        return found

    def _fields(self, text: bytes) -> tuple[dict[str, Any], dict[str, Any], Where]:
        """Give metadata, what the server wrote otherwise, and where the file is."""
        *values, otherwise, where = self.values(text)
        # NOTE: a copy takes a fifth of the time of a mapping that grows.
        metadata = self.blank.copy()
        metadata.update(zip(self.given, values, strict=True))
        return metadata, otherwise or {}, where

    def write(self) -> str:
        """Write it.

        Returns
        -------
        str
            JSON.
        """
        return json.dumps([self.names, self.given], separators=_SHORT)


@lru_cache(maxsize=1024)
def number_of(shape: Shape) -> int:
    """Give the number of a shape.

    Parameters
    ----------
    shape : Shape
        The shape.

    Returns
    -------
    int
        Of 56 bits, made of the names alone.

    Examples
    --------
    >>> number_of(Shape(("id",), ("id",))) == number_of(Shape(("id",), ()))
    False
    """
    digest = hashlib.blake2b(shape.write().encode(), digest_size=7).digest()
    return int.from_bytes(digest)


def text_of(record: Image | Collection) -> bytes:
    """Write a record.

    Parameters
    ----------
    record : Image or Collection
        The record; of a private collection, the token is not part of it.

    Returns
    -------
    bytes
        JSON: the cleaned values that are not null; a mapping of those that the server
        wrote otherwise; where the file is.

    Examples
    --------
    >>> text_of(Collection.from_json({"id": 12, "name": "a", "DOI": "n/a"}))
    b'[12,"a",{"DOI":"n/a"},null]'
    """
    raw, metadata = record.raw, record.metadata
    values = [value for value in metadata.values() if value is not None]
    otherwise = {
        name: value for name, value in raw.items() if value is not metadata[name]
    }
    file = record.file if isinstance(record, Image) else None
    where = None if file is None else _where(file, metadata)
    written = [*values, otherwise or None, where]
    return json.dumps(written, separators=_SHORT).encode()


def _where(file: ImageFile, metadata: Mapping[str, Any]) -> Where:
    """Tell where a file is in as few words as will do."""
    address = metadata.get("file") or ""
    start = len(address) - len(file.path)
    found = [file.path, file.host, file.origin]
    plain = start >= 0 and [*served(start, address, _page(metadata))] == found
    return start if plain else found


def served(
    where: int | list[str | None], address: str, page: object
) -> tuple[str, str | None, str]:
    """Tell where a file is.

    Parameters
    ----------
    where : int, or list of str or None
        As `text_of` wrote it.
    address : str
        What the record says of it.
    page : str, optional
        The web page of the collection, or else of the image.

    Returns
    -------
    path : str
        Of the file on its server.
    host : str or None
        As in `ImageFile`.
    origin : str
        As in `ImageFile`.

    Examples
    --------
    >>> served(21, "http://neurovault.org/media/t.nii.gz", "http://localhost/images/3/")
    ('/media/t.nii.gz', None, 'localhost')
    """
    if isinstance(where, int):
        return address[where:], None, origin(page) if isinstance(page, str) else ""
    path, host, server = where
    return path or "", host, server or ""


def _page(metadata: Mapping[str, Any]) -> object:
    return metadata.get("collection") or metadata.get("url")


class Unread:
    """Makes the fields of records at which nobody has looked.

    Parameters
    ----------
    shape : Shape
        Their shape.
    """

    __slots__ = ("shape",)

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def __call__(self, record: Deferred, name: str) -> Mapping[str, Any]:
        """Give a field, and note that somebody has looked."""
        put(record, "_source", self.shape.seen)
        return _field(self.shape, record, name)


class Folded(Unread):
    """Makes fields of records at which nobody has looked, but whose files are known."""

    __slots__ = ()


def _field(shape: Shape, record: Any, name: str) -> Mapping[str, Any]:
    if name not in _FIELDS:
        return {}
    metadata, otherwise, where = shape._fields(record._text)
    if name == "raw":
        return {name: metadata | otherwise}
    if name == "metadata":
        return {name: metadata}
    # NOTE: what is cleaned once stays the same object.
    metadata = record.metadata
    if name == "file":
        return {name: _file(metadata, where)}
    return {name: metadata.get("image_type") or ""}


def _file(metadata: Mapping[str, Any], where: Where) -> ImageFile | None:
    if where is None:
        return None
    path, host, server = served(where, metadata["file"], _page(metadata))
    size = metadata.get("file_size")
    return ImageFile(
        image_id=metadata["id"],
        collection_id=metadata["collection_id"],
        path=path,
        file_size=size if size is None or size >= 0 else None,
        modify_date=metadata.get("modify_date"),
        host=host,
        origin=server,
    )


def image_of(number: int, home: int, shape: Shape, text: bytes) -> Image:
    """Give an image.

    Parameters
    ----------
    number : int
        Its id.
    home : int
        The number of the collection that its record names.
    shape : Shape
        The shape of the record.
    text : bytes
        As `text_of` wrote it.

    Returns
    -------
    Image
        As `Image.from_json` made it; but for both numbers it is read at the first
        look.

    Examples
    --------
    >>> shape = Shape(("id", "name"), ("id", "name"))
    >>> record = image_of(3, 12, shape, b'[3,"a",null,null]')
    >>> record.id, record.metadata["name"]
    (3, 'a')
    """
    image = later(Image, shape.unread, text)
    put(image, "id", number)
    put(image, "collection_id", home)
    return image


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
    shape = _one(Shape.of(image))
    found = later(Image, shape.folded, text_of(image))
    put(found, "id", image.id)
    put(found, "collection_id", image.collection_id)
    put(found, "image_type", image.image_type)
    put(found, "file", image.file)
    return found


@lru_cache(maxsize=1024)
def _one(shape: Shape) -> Shape:
    """Give the first of equal shapes, so that there is one of each in memory."""
    return shape


def collection_of(number: int, shape: Shape, text: bytes) -> Collection:
    """Give a collection.

    Parameters
    ----------
    number : int
        Its id.
    shape : Shape
        The shape of the record.
    text : bytes
        As `text_of` wrote it.

    Returns
    -------
    Collection
        As `Collection.from_json` made it; but for its number it is read at the first
        look.

    Examples
    --------
    >>> shape = Shape(("id", "name"), ("id", "name"))
    >>> collection_of(12, shape, b'[12,"a",null,null]').name
    'a'
    """
    collection = later(Collection, shape.unread, text)
    put(collection, "id", number)
    put(collection, "token", None)
    return collection
