"""How much there is in a store, told without reading a file of maps."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from intake_neurovault import sidecars
from intake_neurovault.errors import CorruptFileError
from intake_neurovault.inventory import Inventory, Item, Kind
from intake_neurovault.sidecars import read_object

# NOTE: a listing ends with this, and what stands before may be a hundred megabytes.
_FETCHED = re.compile(rb'"fetched": ([0-9.e+]+), "complete"')
_TAIL = 65536


@dataclass(frozen=True)
class Amount:
    """A number of files.

    Examples
    --------
    >>> Amount(2, 2048)
    Amount(files=2, bytes=2048)
    """

    files: int = 0
    """How many."""
    bytes: int = 0
    """How large together."""


@dataclass(frozen=True)
class Holding:
    """What a store has of one collection."""

    collection_id: int
    """The collection."""
    name: str | None
    """Its title; None if its record is missing or damaged."""
    images: int
    """Images on disk."""
    verified: int
    """Those that were read to their end, and have not changed since."""
    resampled: int
    """nilearn's resampled copies."""
    words: int
    """Images with Neurosynth's words."""
    surfaces: int
    """Files of hemispheres."""
    quarantined: int
    """Damaged files that were moved to the quarantine."""
    bytes: int
    """All files of the collection together."""


@dataclass(frozen=True)
class ServerLists:
    """What a store has of the lists of one server."""

    server: str
    """The server, without scheme."""
    files: int
    """How many files: lists, and the numbers of private collections."""
    bytes: int
    """How large together."""
    oldest: float
    """When the server gave the oldest (Unix time)."""
    newest: float
    """When the server gave the newest (Unix time)."""


@dataclass(frozen=True)
class Holdings:
    """What a store has.

    Examples
    --------
    >>> take_stock(Inventory(Path("/no/such/store"))).exists
    False
    """

    root: Path
    """The store."""
    exists: bool
    """Whether there is such a folder."""
    files: int
    """How many files are ours or NeuroVault's."""
    bytes: int
    """How large they are together."""
    collections: tuple[Holding, ...]
    """Each collection that has a folder."""
    images: Amount
    """Images, without resampled copies."""
    verified: int
    """Images that were read to their end, and have not changed since."""
    resampled: Amount
    """nilearn's resampled copies."""
    words: Amount
    """Neurosynth's words."""
    surfaces: Amount
    """Files of hemispheres."""
    records: Amount
    """Records of images and collections."""
    receipts: Amount
    """Receipts of verified images and surfaces."""
    gridded: Amount
    """Maps on a grid."""
    frozen: Amount
    """Files of frozen queries; those that are the image itself take no room."""
    derived: Amount
    """What else was computed from images."""
    quarantined: Amount
    """Damaged files that were set aside."""
    listings: tuple[ServerLists, ...]
    """The lists of each server."""
    temporaries: Amount
    """What interrupted work left behind, or work in progress has not finished."""
    others: Amount
    """Files that are neither ours nor NeuroVault's."""
    closed: tuple[str, ...]
    """Folders that cannot be looked into."""

    @property
    def unverified(self) -> int:
        """How many images will be read to their end when they are used next."""
        return self.images.files - self.verified

    def to_json(self) -> dict[str, Any]:
        """Write it for machines.

        Returns
        -------
        dict
            JSON types only.
        """
        return asdict(self) | {"root": str(self.root), "unverified": self.unverified}


def take_stock(inventory: Inventory) -> Holdings:
    """Count what is in a store; only small files of ours are read.

    Parameters
    ----------
    inventory : Inventory
        The files.

    Returns
    -------
    Holdings
        What there is.
    """
    verified = _verified(inventory)
    holdings = tuple(_holdings(inventory, verified))
    amount = partial(_amount, inventory)
    return Holdings(
        root=inventory.root,
        exists=inventory.exists,
        files=sum(item.ours for item in inventory.items),
        bytes=sum(item.size for item in inventory.items if item.ours),
        collections=holdings,
        images=amount("image"),
        verified=len(verified),
        resampled=amount("resampled"),
        words=amount("words"),
        surfaces=amount("surface"),
        records=amount("record", "about", "copy"),
        receipts=amount("receipt", "surface receipt"),
        gridded=amount("gridded"),
        frozen=amount("frozen"),
        derived=amount("derived"),
        quarantined=amount("quarantined"),
        listings=tuple(_listings(inventory)),
        temporaries=amount("temporary"),
        others=amount("other"),
        closed=tuple(folder for folder, _ in inventory.closed),
    )


def _amount(inventory: Inventory, *kinds: Kind) -> Amount:
    sizes = [item.size for item in inventory.of(*kinds)]
    return Amount(len(sizes), sum(sizes))


def _verified(inventory: Inventory) -> set[str]:
    """Give the paths of the images with a receipt that holds."""
    images = {
        (item.collection_id, item.image_id): item for item in inventory.of("image")
    }
    found = set()
    for receipt in inventory.of("receipt"):
        image = images.get((receipt.collection_id, receipt.image_id))
        if image is None:
            continue
        content = _read(inventory.root / receipt.path)
        if (content.get("size"), content.get("mtime_ns")) == (
            image.size,
            image.mtime_ns,
        ):
            found.add(image.path)
    return found


def _holdings(inventory: Inventory, verified: set[str]) -> Iterable[Holding]:
    by_collection: dict[int, list[Item]] = defaultdict(list)
    for item in inventory.items:
        if item.collection_id is not None and item.ours:
            by_collection[item.collection_id].append(item)
    for number in sidecars.collection_ids(inventory.root):
        items = by_collection[number]
        if not items and f"collection_{number}" not in inventory.folders:
            continue
        kinds = [item.kind for item in items]
        yield Holding(
            number,
            name=_name(inventory.root, number),
            images=kinds.count("image"),
            verified=sum(item.path in verified for item in items),
            resampled=kinds.count("resampled"),
            words=kinds.count("words"),
            surfaces=kinds.count("surface"),
            quarantined=kinds.count("quarantined"),
            bytes=sum(item.size for item in items),
        )


def _name(root: Path, collection_id: int) -> str | None:
    try:
        name = sidecars.read_collection(root, collection_id).get("name")
    except (FileNotFoundError, CorruptFileError):
        return None
    return name if isinstance(name, str) else None


def _listings(inventory: Inventory) -> Iterable[ServerLists]:
    by_folder: dict[str, list[Item]] = defaultdict(list)
    for item in inventory.of("listing", "private"):
        by_folder[item.folder].append(item)
    for folder, items in by_folder.items():
        lists = [item for item in items if item.kind == "listing"]
        times = [_fetched(inventory.root, item) for item in lists or items]
        name = folder.rpartition("/")[2]
        yield ServerLists(
            server=unquote(name.replace("+", ":")),
            files=len(items),
            bytes=sum(item.size for item in items),
            oldest=min(times),
            newest=max(times),
        )


def _fetched(root: Path, item: Item) -> float:
    """Tell when a server gave a list; when it was saved, if the list is damaged."""
    try:
        with (root / item.path).open("rb") as file:
            file.seek(max(0, item.size - _TAIL), os.SEEK_SET)
            found = _FETCHED.findall(file.read(_TAIL))
        return float(found[-1])
    except (OSError, IndexError, ValueError):
        return item.mtime_ns / 1e9


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return read_object(path)
    except (FileNotFoundError, CorruptFileError):
        return {}
