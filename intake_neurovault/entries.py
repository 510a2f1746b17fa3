"""What a file listing says of collections, of images, and of their records."""

from __future__ import annotations

import errno
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from intake_neurovault import layout, sidecars
from intake_neurovault.client import Client
from intake_neurovault.errors import Failure, MissingError, NeuroVaultError
from intake_neurovault.layout import Location, LocationKind
from intake_neurovault.records import Collection, Image, ImageFile
from intake_neurovault.values import instant

__all__ = [
    "FOLDERS",
    "ROOT",
    "Content",
    "Entry",
    "Folder",
    "check_home",
    "contents",
    "describe",
    "failure_at",
    "file_at",
    "file_of",
    "folder_at",
    "record_bytes",
]

Entry = dict[str, Any]
"""One line of a listing, as fsspec's ``ls`` and ``info`` give it."""

FOLDERS = ("root", "collection")
"""The kinds of location that hold others."""

ROOT: Entry = {"name": "", "type": "directory", "size": 0}
"""The folder of all collections."""


class Content(io.BytesIO):
    """What is in a file, to be read only, with the size that fsspec asks of it.

    Examples
    --------
    >>> Content(b"...").size, Content(b"...").writable()
    (3, False)
    """

    @property
    def size(self) -> int:
        """How many bytes."""
        return self.getbuffer().nbytes

    def writable(self) -> bool:
        """Tell that nothing can be written.

        Returns
        -------
        bool
            False.
        """
        return False

    def write(self, *_: object) -> int:
        """Refuse to write.

        Raises
        ------
        io.UnsupportedOperation
            Always.
        """
        msg = "NeuroVault can be read only; its files are not written to"
        raise io.UnsupportedOperation(msg)


@dataclass(frozen=True)
class Folder:
    """The records behind one folder."""

    records: Mapping[int, Any]
    """Its collections or images, by id, in ascending order."""
    about: Collection | None = None
    """The collection that it is; None for the folder of all."""
    failures: Sequence[Failure] = ()
    """What could not be listed."""
    until: float = math.inf
    """How long this holds (Unix time)."""
    stamp: object = None
    """What must still be the same for this to hold."""


def describe(kind: LocationKind, record: Collection | Image, client: Client) -> Entry:
    """Describe one file, or the folder of a collection.

    Parameters
    ----------
    kind : {"collection", "collection_metadata", "image", "image_metadata"}
        What of the record is meant; the first two go with a collection.
    record : Collection or Image
        What is known of it.
    client : Client
        The server that it is on.

    Returns
    -------
    dict
        ``name``, ``type`` and ``size`` in bytes, as fsspec has them; ``nv_id``, the
        id on NeuroVault; ``url``, the address of what is there, never with a token;
        ``created`` and ``mtime``, each a datetime with a zone, or None. The size of
        an image is None unless it is served gzipped, since only then are the bytes
        those of the server.

    Raises
    ------
    MissingError
        If the file of an image is meant that has none.

    Examples
    --------
    >>> raw = {"id": 3, "collection_id": 1, "file_size": 1024,
    ...        "file": "https://neurovault.org/media/images/1/t.nii.gz"}
    >>> image = Image.from_json(raw, base_url="https://neurovault.org")
    >>> entry = describe("image", image, Client())
    >>> entry["name"], entry["size"], entry["nv_id"]
    ('collection_1/image_3.nii.gz', 1024, 3)
    """
    if isinstance(record, Collection):
        location, word = Location(kind, record.id), "collections"
    else:
        location, word = Location(kind, record.collection_id, record.id), "images"
    folder = kind == "collection"
    size: int | None = 0 if folder else None
    url = f"{client.url}{'' if folder else '/api'}/{word}/{record.id}/"
    if isinstance(record, Image) and kind == "image":
        file = file_of(record)
        url = client.file_url(file, shown=True)
        gzipped = file.path.partition("?")[0].lower().endswith(".gz")
        size = file.file_size if gzipped else None
    elif not folder:
        size = len(record_bytes(record))
    return {
        "name": layout.unparse(location),
        "type": "directory" if folder else "file",
        "size": size,
        "nv_id": record.id,
        "url": url,
        "created": _moment(record.metadata.get("add_date")),
        "mtime": _moment(record.metadata.get("modify_date")),
    }


def contents(
    collection: Collection, images: Iterable[Image], client: Client
) -> list[Entry]:
    """Describe all files of a collection.

    Parameters
    ----------
    collection : Collection
        Its record.
    images : iterable of Image
        The records of its images.
    client : Client
        The server that they are on.

    Returns
    -------
    list of dict
        Its record first, then every image, if it has a file, and its record.

    Examples
    --------
    >>> images = [Image.from_json({"id": 3, "collection_id": 1}, base_url="")]
    >>> about = Collection.from_json({"id": 1})
    >>> [entry["name"] for entry in contents(about, images, Client())]
    ['collection_1/collection_metadata.json', 'collection_1/image_3_metadata.json']
    """
    found = [describe("collection_metadata", collection, client)]
    for image in images:
        if image.file is not None:
            found.append(describe("image", image, client))
        found.append(describe("image_metadata", image, client))
    return found


def file_of(image: Image) -> ImageFile:
    """Give the file of an image that is asked for by its path.

    Parameters
    ----------
    image : Image
        Its record.

    Returns
    -------
    ImageFile
        Its file.

    Raises
    ------
    MissingError
        If it has none.

    Examples
    --------
    >>> file_of(Image.from_json({"id": 3, "collection_id": 1}, base_url=""))
    Traceback (most recent call last):
    ...
    intake_neurovault.errors.MissingError: NeuroVault has only a record, and no file, \
of image 3 (collection 1).
    """
    if image.file is None:
        msg = f"NeuroVault has only a record, and no file, of {image.label}."
        raise MissingError(msg)
    return image.file


def file_at(path: str) -> Location:
    """Tell which file a path leads to.

    Parameters
    ----------
    path : str
        A path without protocol.

    Returns
    -------
    Location
        An image, or a record.

    Raises
    ------
    MissingError
        If it leads nowhere.
    IsADirectoryError
        If it leads to a folder.

    Examples
    --------
    >>> file_at("collection_1/image_3.nii.gz").image_id
    3
    """
    location = layout.parse(path)
    if location.kind in FOLDERS:
        msg = "This is a folder of NeuroVault; list it with ls()"
        raise IsADirectoryError(errno.EISDIR, msg, path)
    return location


def folder_at(collection_id: int | None) -> str:
    """Give the path of a folder.

    Parameters
    ----------
    collection_id : int or None
        The collection; None for the folder of all.

    Returns
    -------
    str
        A path without protocol.

    Examples
    --------
    >>> folder_at(3), folder_at(None)
    ('collection_3', '')
    """
    return "" if collection_id is None else layout.collection_dir(collection_id)


def failure_at(path: str, error: NeuroVaultError) -> Failure:
    """Note what could not be had by its path.

    Parameters
    ----------
    path : str
        A path without protocol.
    error : NeuroVaultError
        Why.

    Returns
    -------
    Failure
        A row of ``failures``.

    Examples
    --------
    >>> failure_at("collection_1/image_3.nii.gz", MissingError("Gone.")).url
    'neurovault://collection_1/image_3.nii.gz'
    """
    at = layout.parse(path)
    url = f"neurovault://{path}"
    return Failure(at.image_id, at.collection_id, url, f"{error}", error.attempts)


def check_home(image: Image, location: Location) -> None:
    """Make sure that an image is in the collection that it was asked for in.

    Parameters
    ----------
    image : Image
        Its record.
    location : Location
        The image that was asked for.

    Raises
    ------
    MissingError
        If it is in another one.

    Examples
    --------
    >>> image = Image.from_json({"id": 3, "collection_id": 1}, base_url="")
    >>> check_home(image, Location("image", 2, 3))
    Traceback (most recent call last):
    ...
    intake_neurovault.errors.MissingError: Image 3 is not in collection 2 but in 1; \
open collection_1/image_3.nii.gz.
    """
    if image.collection_id != location.collection_id:
        right = layout.image_path(image.collection_id, image.id)
        msg = (
            f"Image {image.id} is not in collection {location.collection_id} but in "
            f"{image.collection_id}; open {right}."
        )
        raise MissingError(msg)


def record_bytes(record: Collection | Image) -> bytes:
    """Write a record as the store keeps it.

    Parameters
    ----------
    record : Collection or Image
        The record.

    Returns
    -------
    bytes
        JSON, as nilearn has it beside its maps.

    Examples
    --------
    >>> record_bytes(Collection.from_json({"id": 1, "DOI": "n/a"}))
    b'{"id": 1, "DOI": null, "relative_path": "collection_1"}'
    """
    if isinstance(record, Collection):
        return sidecars.collection_bytes(record.raw, record.id)
    return sidecars.image_bytes(record.raw, record.collection_id, record.id)


def _moment(value: object) -> datetime | None:
    return instant(value) if isinstance(value, str) else None
