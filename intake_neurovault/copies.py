"""Local files of records, for readers that want a path."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from intake_neurovault import layout, sidecars
from intake_neurovault.entries import record_bytes
from intake_neurovault.errors import CorruptFileError, NeuroVaultWarning, StoreError
from intake_neurovault.layout import Location
from intake_neurovault.ledger import sweep_once
from intake_neurovault.listings import Listings
from intake_neurovault.lookup import COPIES
from intake_neurovault.modes import KEEPING
from intake_neurovault.records import Collection, Image


def local_copy(
    listings: Listings, location: Location, ask: Callable[[], Collection | Image]
) -> Path | bytes:
    """Give the local file of a record.

    Parameters
    ----------
    listings : Listings
        The store, and the mode.
    location : Location
        Whose: ``collection_metadata`` or ``image_metadata``.
    ask : callable
        Gives the record, if what is on disk will not do.

    Returns
    -------
    pathlib.Path or bytes
        The file in nilearn's tree if it is there; else one of ours beside it, or
        only the content if none can be written.

    Warns
    -----
    NeuroVaultWarning
        If none can be written.

    Notes
    -----
    A record never goes into nilearn's tree without its image: nilearn does not
    survive that when it is to resample.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from intake_neurovault.client import Client
    >>> from intake_neurovault.store import Store
    >>> about = Collection.from_json({"id": 1})
    >>> with TemporaryDirectory() as folder:
    ...     listings = Listings(Client(), Store(Path(folder)))
    ...     where = Location("collection_metadata", 1)
    ...     found = local_copy(listings, where, lambda: about)
    ...     found.relative_to(folder).as_posix()
    '.intake_neurovault/records/collection_1/about.json'
    """
    store = listings.store
    root = store.root
    if listings.mode in KEEPING and _readable(root, location):
        return root / layout.unparse(location)
    data = record_bytes(ask())
    path = _place(location)
    place = root / path
    sweep_once(place.parent)
    with suppress(OSError):
        if place.read_bytes() == data:
            return place
    try:
        store.save_bytes(path, data)
    except StoreError as error:
        warnings.warn(f"{error}", NeuroVaultWarning, stacklevel=2)
        return data
    return place


def _readable(root: Path, location: Location) -> bool:
    """Whether a record is in nilearn's tree, and not damaged."""
    number, image_id = location.collection_id or 0, location.image_id
    try:
        if image_id is None:
            sidecars.read_collection(root, number)
        else:
            sidecars.read_image(root, number, image_id)
    except (FileNotFoundError, CorruptFileError):
        return False
    return True


def _place(location: Location) -> str:
    # NOTE: nilearn takes every "collection_metadata.json" below the store, however
    # deep, for a collection of its own.
    folder, _, name = layout.unparse(location).partition("/")
    name = name if location.kind == "image_metadata" else "about.json"
    return f"{COPIES}/{folder}/{name}"
