"""Where things lie in the local store: nilearn's tree, and our folder in it.

All paths are relative to the store's root and written with ``/``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, urlsplit

from intake_neurovault.errors import ArgumentError, MissingError

__all__ = [
    "COLLECTION_METADATA",
    "OURS",
    "Location",
    "collection_dir",
    "collection_metadata_path",
    "gridded_path",
    "image_path",
    "listing_path",
    "parse",
    "receipt_path",
    "resampled_path",
    "sidecar_path",
    "unparse",
    "words_path",
]

OURS = ".intake_neurovault"
"""The folder of what nilearn knows nothing of."""

COLLECTION_METADATA = "collection_metadata.json"
"""Name of a collection's record in its folder, as nilearn has it."""

LocationKind = Literal[
    "root", "collection", "collection_metadata", "image", "image_metadata"
]
"""What a path that users may read leads to."""

_PATH = re.compile(
    r"collection_(?P<collection>[1-9][0-9]{0,18})"
    r"(?:/(?:(?P<about>collection_metadata\.json)"
    r"|image_(?P<image>[1-9][0-9]{0,18})(?:\.nii\.gz|(?P<sidecar>_metadata\.json))))?"
)


def collection_dir(collection_id: int) -> str:
    """Give the folder of a collection.

    Parameters
    ----------
    collection_id : int
        Its number, also if it is private.

    Returns
    -------
    str
        A relative path.

    Examples
    --------
    >>> collection_dir(12)
    'collection_12'
    """
    # NOTE: "d" refuses text, which might climb out of the store.
    return f"collection_{collection_id:d}"


def collection_metadata_path(collection_id: int) -> str:
    """Give the file of a collection's record.

    Parameters
    ----------
    collection_id : int
        Its number.

    Returns
    -------
    str
        A relative path.

    Examples
    --------
    >>> collection_metadata_path(12)
    'collection_12/collection_metadata.json'
    """
    return f"{collection_dir(collection_id)}/{COLLECTION_METADATA}"


def image_path(collection_id: int, image_id: int) -> str:
    """Give the file of an image.

    Parameters
    ----------
    collection_id, image_id : int
        Their numbers.

    Returns
    -------
    str
        A relative path.

    Examples
    --------
    >>> image_path(12, 3)
    'collection_12/image_3.nii.gz'
    """
    return f"{collection_dir(collection_id)}/image_{image_id:d}.nii.gz"


def sidecar_path(collection_id: int, image_id: int) -> str:
    """Give the file of an image's record.

    Parameters
    ----------
    collection_id, image_id : int
        Their numbers.

    Returns
    -------
    str
        A relative path.

    Examples
    --------
    >>> sidecar_path(12, 3)
    'collection_12/image_3_metadata.json'
    """
    return f"{collection_dir(collection_id)}/image_{image_id:d}_metadata.json"


def resampled_path(collection_id: int, image_id: int) -> str:
    """Give the file of nilearn's resampled copy of an image.

    Parameters
    ----------
    collection_id, image_id : int
        Their numbers.

    Returns
    -------
    str
        A relative path.

    Examples
    --------
    >>> resampled_path(12, 3)
    'collection_12/image_3_resampled.nii.gz'
    """
    return f"{collection_dir(collection_id)}/image_{image_id:d}_resampled.nii.gz"


def gridded_path(collection_id: int, image_id: int) -> str:
    """Give the beginning of our own files about a resampled image.

    Parameters
    ----------
    collection_id, image_id : int
        Their numbers.

    Returns
    -------
    str
        A relative path in our folder, without a suffix.

    Examples
    --------
    >>> gridded_path(12, 3)
    '.intake_neurovault/gridded/mni152-3mm/collection_12/image_3'
    """
    folder = f"{OURS}/gridded/mni152-3mm/{collection_dir(collection_id)}"
    return f"{folder}/image_{image_id:d}"


def words_path(collection_id: int, image_id: int) -> str:
    """Give the file of the words that Neurosynth finds in an image.

    Parameters
    ----------
    collection_id, image_id : int
        Their numbers.

    Returns
    -------
    str
        A relative path.

    Examples
    --------
    >>> words_path(12, 3)
    'collection_12/neurosynth_words_for_image_3.json'
    """
    folder = collection_dir(collection_id)
    return f"{folder}/neurosynth_words_for_image_{image_id:d}.json"


def receipt_path(collection_id: int, image_id: int) -> str:
    """Give the file that says what was downloaded for an image.

    Parameters
    ----------
    collection_id, image_id : int
        Their numbers.

    Returns
    -------
    str
        A relative path in our folder.

    Examples
    --------
    >>> receipt_path(12, 3)
    '.intake_neurovault/receipts/collection_12/image_3.json'
    """
    return f"{OURS}/receipts/{collection_dir(collection_id)}/image_{image_id:d}.json"


def listing_path(server: str, collection_id: int | None) -> str:
    """Give the file that keeps a list of the server's.

    Parameters
    ----------
    server : str
        URL of the server; http and https are the same one.
    collection_id : int or None
        Whose images are listed; None for the list of collections.

    Returns
    -------
    str
        A relative path in our folder; different for each server.

    Raises
    ------
    ArgumentError
        If the URL names no host.

    Examples
    --------
    >>> listing_path("http://localhost:8000", 12)
    '.intake_neurovault/listings/localhost+8000/collection_12.json'
    >>> listing_path("https://neurovault.org", None)
    '.intake_neurovault/listings/neurovault.org/collections.json'
    """
    name = "collections" if collection_id is None else collection_dir(collection_id)
    return f"{OURS}/listings/{_server_dir(server)}/{name}.json"


def _server_dir(server: str) -> str:
    parts = urlsplit(server)
    # NOTE: what stands before "@" may be a password.
    netloc = parts.netloc.rpartition("@")[2].lower()
    if not netloc:
        msg = f"The url {server!r} names no server; write it as 'https://host'."
        raise ArgumentError(msg)
    name = f"{netloc}{parts.path.rstrip('/')}"
    # NOTE: "+" stands in no host name and is allowed in names of folders on all
    # systems; a leading dot would hide the folder, or leave it.
    safe = quote(name, safe=":").replace(":", "+")
    return f"%2E{safe[1:]}" if safe.startswith(".") else safe


@dataclass(frozen=True)
class Location:
    """What a path leads to.

    Raises
    ------
    ArgumentError
        If the ids are not those that the kind needs.

    Examples
    --------
    >>> Location("image", collection_id=12, image_id=3)
    Location(kind='image', collection_id=12, image_id=3)
    """

    kind: LocationKind
    """Folder of everything, folder of a collection, or one of three files."""
    collection_id: int | None = None
    """The collection, but for the root."""
    image_id: int | None = None
    """The image, for its file and its record."""

    def __post_init__(self) -> None:
        needs_image = self.kind in ("image", "image_metadata")
        if (self.collection_id is None) != (self.kind == "root") or (
            self.image_id is None
        ) == needs_image:
            msg = f"{self} has not the ids that a location of kind {self.kind!r} needs."
            raise ArgumentError(msg)


def parse(path: str) -> Location:
    """Tell what a path leads to.

    Parameters
    ----------
    path : str
        A relative path; slashes at its ends do not matter.

    Returns
    -------
    Location
        Folder of everything, folder of a collection, its record, an image, or the
        record of an image.

    Raises
    ------
    MissingError
        If it is none of these.

    Examples
    --------
    >>> parse("/collection_12/image_3.nii.gz")
    Location(kind='image', collection_id=12, image_id=3)
    """
    bare = path.strip("/")
    if not bare:
        return Location("root")
    match = _PATH.fullmatch(bare)
    if match is None:
        msg = (
            f"NeuroVault has no {path!r}; a path is written "
            "collection_<id>/image_<id>.nii.gz."
        )
        raise MissingError(msg)
    collection_id = int(match["collection"])
    if match["image"]:
        kind: LocationKind = "image_metadata" if match["sidecar"] else "image"
        return Location(kind, collection_id, int(match["image"]))
    return Location(
        "collection_metadata" if match["about"] else "collection", collection_id
    )


def unparse(location: Location) -> str:
    """Write the path that leads to a location.

    Parameters
    ----------
    location : Location
        Where to.

    Returns
    -------
    str
        A relative path without slashes at its ends; the root is the empty one.

    Examples
    --------
    >>> unparse(Location("collection", collection_id=12))
    'collection_12'
    """
    collection_id, image_id = location.collection_id, location.image_id
    if collection_id is None:
        return ""
    if image_id is not None:
        write = image_path if location.kind == "image" else sidecar_path
        return write(collection_id, image_id)
    if location.kind == "collection":
        return collection_dir(collection_id)
    return collection_metadata_path(collection_id)
