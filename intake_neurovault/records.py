"""NeuroVault's JSON as clean, frozen records of collections, images and files.

A record keeps what the server said (``raw``) beside what it means (``metadata``):
null spellings are None, and the core fields have the types of the schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from intake_neurovault.address import locate, origin
from intake_neurovault.deferred import Deferred
from intake_neurovault.errors import AnswerError, ArgumentError
from intake_neurovault.refs import (
    CollectionRef,
    Token,
    parse_collection_ref,
    parse_id,
    shown,
)
from intake_neurovault.resource import without_tokens
from intake_neurovault.schema import (
    COLLECTION_FIELDS,
    COLLECTION_KINDS,
    IMAGE_FIELDS,
    IMAGE_KINDS,
    Field,
    Kind,
    caster,
    clean,
    finite,
)

__all__ = [
    "COLLECTION_FIELDS",
    "COLLECTION_KINDS",
    "IMAGE_FIELDS",
    "IMAGE_KINDS",
    "Collection",
    "CollectionRef",
    "Field",
    "Image",
    "ImageFile",
    "Kind",
    "Token",
    "clean",
    "parse_collection_ref",
    "parse_id",
]

_CASTS_OF_IMAGE = {field.name: caster(field.kind) for field in IMAGE_FIELDS}
_CASTS_OF_COLLECTION = {field.name: caster(field.kind) for field in COLLECTION_FIELDS}
_DISCRETE = frozenset({"roi/mask", "parcellation"})
_QUICK_ID = 2**31


@dataclass(frozen=True, slots=True)
class ImageFile:
    """The identity of one file's bytes, and where to get them.

    Examples
    --------
    >>> ImageFile(3, 1, "/media/images/1/t.nii.gz", 1024, "2024-05-01T12:00:00Z").path
    '/media/images/1/t.nii.gz'
    """

    image_id: int
    """The image."""
    collection_id: int
    """Its collection, as a number even if that is private."""
    path: str
    """Percent-quoted path on the server, with the number in place of a token."""
    file_size: int | None
    """Bytes; 0 when the server lost the file, None when it does not say."""
    modify_date: str | None
    """When file or record last changed, ISO 8601."""
    host: str | None = None
    """``https://other.org`` when not on the configured server."""
    token: Token | None = field(default=None, repr=False, compare=False)
    """The token that opens a private collection."""
    origin: str = field(default="", repr=False, compare=False)
    """Host and port by which its server knows itself; empty if nothing tells."""
    sha256: str | None = None
    """Hexadecimal SHA-256 that the bytes as served must have; None if any will do."""

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"image {self.image_id} (collection {self.collection_id})"

    def same_bytes_as(self, other: ImageFile) -> bool:
        """Tell whether the server calls two files the same bytes.

        Parameters
        ----------
        other : ImageFile
            Another one, most often the same at another time.

        Returns
        -------
        bool
            Whether image, path, size and date of change are equal. The path alone
            would not do: the server reuses it when a file is replaced.

        Examples
        --------
        >>> before = ImageFile(3, 1, "/media/images/1/t.nii.gz", 1024, "2024-05-01")
        >>> after = ImageFile(3, 1, "/media/images/1/t.nii.gz", 1024, "2024-05-02")
        >>> before.same_bytes_as(after)
        False
        """
        return self._identity() == other._identity()

    def _identity(self) -> tuple[int, str, int | None, str | None]:
        return self.image_id, self.path, self.file_size, self.modify_date


@dataclass(frozen=True, slots=True)
class Collection(Deferred):
    """One collection.

    Examples
    --------
    >>> Collection.from_json({"id": 1952, "name": "Brainpedia", "DOI": "n/a"}).name
    'Brainpedia'
    """

    id: int
    """Its number, also when it is private."""
    metadata: Mapping[str, Any] = field(hash=False)
    """Its fields: null spellings are None, core fields have their types."""
    raw: Mapping[str, Any] = field(hash=False, repr=False)
    """Its fields as served, with the number in place of a token."""
    token: Token | None = field(default=None, repr=False, compare=False)
    """The token that opens it, if it is private."""

    @classmethod
    def from_json(cls, raw: object, *, token: Token | None = None) -> Collection:
        """Read a collection's record.

        Parameters
        ----------
        raw : mapping
            JSON of the server or of a sidecar; kept, not copied.
        token : Token, optional
            What the collection was asked for by, if it is private.

        Returns
        -------
        Collection
            The record.

        Raises
        ------
        AnswerError
            If it is no mapping, or has no id.

        Examples
        --------
        >>> Collection.from_json({"id": 1, "number_of_images": "7"}).metadata
        {'id': 1, 'number_of_images': 7}
        """
        record = _mapping(raw, "collection")
        number = _number(record, "id", "collection")
        record = _public(record, number, token)
        metadata = _cleaned(record, _CASTS_OF_COLLECTION)
        return cls(number, metadata | {"id": number}, record, token)

    @property
    def name(self) -> str | None:
        """Its title.

        Examples
        --------
        >>> Collection.from_json({"id": 1, "name": "null"}).name is None
        True
        """
        return self.metadata.get("name")

    @property
    def doi(self) -> str | None:
        """The DOI of its paper.

        Examples
        --------
        >>> Collection.from_json({"id": 1, "DOI": "10.1000/182"}).doi
        '10.1000/182'
        """
        return self.metadata.get("DOI")


@dataclass(frozen=True, slots=True)
class Image(Deferred):
    """One image: a statistic map, a NIDM-Results map or an atlas.

    Examples
    --------
    >>> raw = {"id": 3, "collection_id": 1, "image_type": "atlas", "file": None}
    >>> Image.from_json(raw, base_url="https://neurovault.org").discrete
    True
    """

    id: int
    """Its number."""
    collection_id: int
    """The number of its collection."""
    image_type: str
    """``statistic_map``, ``NIDM results statistic map`` or ``atlas``."""
    file: ImageFile | None
    """Its file, or None when the record names none."""
    metadata: Mapping[str, Any] = field(hash=False, repr=False)
    """All its fields: null spellings are None, core fields have their types."""
    raw: Mapping[str, Any] = field(hash=False, repr=False)
    """All its fields as served, with the number in place of a token."""

    @classmethod
    def from_json(
        cls, raw: object, *, base_url: str, token: Token | None = None
    ) -> Image:
        """Read an image's record.

        Parameters
        ----------
        raw : mapping
            JSON of the server or of a sidecar; kept, not copied.
        base_url : str
            The configured server, which serves files that NeuroVault calls its own
            whatever scheme and host it gives them.
        token : Token, optional
            What its collection was asked for by, if it is private.

        Returns
        -------
        Image
            The record. A core field whose value is not of its type is None in
            ``metadata``; the file is None if none is named.

        Raises
        ------
        AnswerError
            If it is no mapping, has no id or collection, or the address of its file
            cannot be one.

        Examples
        --------
        >>> raw = {"id": 3, "collection_id": 1, "image_type": "statistic_map",
        ...        "file": "http://neurovault.org/media/images/1/a%20b.nii.gz"}
        >>> image = Image.from_json(raw, base_url="https://neurovault.org")
        >>> image.file.path, image.file.host
        ('/media/images/1/a%20b.nii.gz', None)
        """
        record = _mapping(raw, "image")
        number = _number(record, "id", "image")
        collection_id = _number(record, "collection_id", "image")
        record = _public(record, collection_id, token)
        metadata = _cleaned(record, _CASTS_OF_IMAGE)
        metadata["id"], metadata["collection_id"] = number, collection_id
        file = _file(record, metadata, base_url, token)
        kind = metadata.get("image_type") or ""
        return cls(number, collection_id, kind, file, metadata, record)

    @property
    def extra(self) -> dict[str, Any]:
        """The fields outside the core schema that say something.

        Examples
        --------
        >>> raw = {"id": 3, "collection_id": 1, "task": "n-back", "run": None}
        >>> Image.from_json(raw, base_url="https://neurovault.org").extra
        {'task': 'n-back'}
        """
        return {
            name: value
            for name, value in self.metadata.items()
            if value is not None and name not in _CASTS_OF_IMAGE
        }

    @property
    def label(self) -> str:
        """What messages call it.

        Examples
        --------
        >>> raw = {"id": 3, "collection_id": 1}
        >>> Image.from_json(raw, base_url="https://neurovault.org").label
        'image 3 (collection 1)'
        """
        return f"image {self.id} (collection {self.collection_id})"

    @property
    def discrete(self) -> bool:
        """Whether the values are labels, between which nothing lies.

        Examples
        --------
        >>> raw = {"id": 3, "collection_id": 1, "map_type": "ROI/mask"}
        >>> Image.from_json(raw, base_url="https://neurovault.org").discrete
        True
        """
        return is_discrete(self.image_type, self.metadata.get("map_type"))


def is_discrete(image_type: str, map_type: str | None) -> bool:
    """Tell whether the values of a map are labels, between which nothing lies.

    Parameters
    ----------
    image_type : str
        The type of the image.
    map_type : str or None
        The statistic.

    Returns
    -------
    bool
        Whether they are.

    Examples
    --------
    >>> is_discrete("statistic_map", "Parcellation"), is_discrete("atlas", None)
    (True, True)
    """
    return image_type == "atlas" or (map_type or "").lower() in _DISCRETE


def _mapping(raw: object, what: str) -> dict[str, Any]:
    if type(raw) is dict:
        return raw
    if isinstance(raw, Mapping):
        return dict(raw)
    msg = (
        f"The record of a NeuroVault {what} should be a JSON object, not "
        f"{type(raw).__name__}; check that url is the address of a NeuroVault server."
    )
    raise AnswerError(msg)


def _number(raw: Mapping[str, Any], name: str, what: str) -> int:
    value = raw.get(name)
    # NOTE: nearly all ids end here; what is larger is looked at with care.
    if type(value) is int and 0 < value < _QUICK_ID:
        return value
    try:
        return parse_id(value)
    except ArgumentError as error:
        msg = (
            f"The record of a NeuroVault {what} has {shown(value)} for its "
            f"{name}; check that url is the address of a NeuroVault server."
        )
        raise AnswerError(msg) from error


def _public(
    raw: dict[str, Any], collection_id: int, token: Token | None
) -> dict[str, Any]:
    secret = None if token is None else token.secret
    return without_tokens(raw, collection_id, secret)


def _cleaned(
    raw: Mapping[str, Any], casts: Mapping[str, Callable[[object], object]]
) -> dict[str, Any]:
    # NOTE: most fields of most records are null, and a copy is quicker than a loop.
    metadata = dict(raw)
    for name, value in raw.items():
        if value is not None:
            metadata[name] = casts.get(name, finite)(value)
    return metadata


def _file(
    raw: Mapping[str, Any],
    metadata: Mapping[str, Any],
    base_url: str,
    token: Token | None,
) -> ImageFile | None:
    url = raw.get("file")
    if not isinstance(url, str) or clean(url) is None:
        return None
    page = raw.get("collection") or raw.get("url")
    path, host = locate(url, server=base_url, page=page)
    size = metadata.get("file_size")
    return ImageFile(
        image_id=metadata["id"],
        collection_id=metadata["collection_id"],
        path=path,
        file_size=size if size is None or size >= 0 else None,
        modify_date=metadata.get("modify_date"),
        host=host,
        token=token,
        origin=origin(page) if isinstance(page, str) else "",
    )
