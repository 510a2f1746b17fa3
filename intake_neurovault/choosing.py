"""What to remove from a store: nothing but what bears our names or NeuroVault's."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from intake_neurovault.clearing import OF_AN_IMAGE, ORDER, Left, Plan
from intake_neurovault.errors import ArgumentError, CorruptFileError
from intake_neurovault.inventory import Inventory, Item, Kind
from intake_neurovault.modes import parse_age
from intake_neurovault.sidecars import read_object

DERIVED: frozenset[Kind] = frozenset({"resampled", "gridded", "derived"})
FROZEN: frozenset[Kind] = frozenset({"frozen"})
LISTINGS: frozenset[Kind] = frozenset({"listing", "private"})
QUARANTINE: frozenset[Kind] = frozenset({"quarantined"})
_SURFACES: frozenset[Kind] = frozenset({"surface", "surface receipt"})
_PLAIN = _SURFACES | frozenset[Kind](
    {"image", "record", "about", "words", "receipt", "copy"}
)
COLLECTIONS = _PLAIN | DERIVED | QUARANTINE
EVERYTHING: frozenset[Kind] = COLLECTIONS | LISTINGS | FROZEN
"""The kinds of files that can be chosen together."""


@dataclass(frozen=True)
class Choice:
    """What somebody wants to have removed.

    Examples
    --------
    >>> Choice(DERIVED, collection_ids=frozenset({12})).older_than is None
    True
    """

    kinds: frozenset[Kind]
    """The kinds of files."""
    collection_ids: frozenset[int] | None = None
    """Only those of these collections; None for all."""
    older_than: float | None = None
    """Only those downloaded so many seconds ago, or before; None for all."""

    @classmethod
    def parse(
        cls,
        *,
        collection_ids: frozenset[int] | None = None,
        older_than: float | str | None = None,
        derived: bool = False,
        listings: bool = False,
        quarantine: bool = False,
        everything: bool = False,
    ) -> Choice:
        """Read what a user chose.

        Parameters
        ----------
        collection_ids : frozenset of int, optional
            Only what belongs to these collections.
        older_than : float or str, optional
            Only what was downloaded so long ago: seconds, or text such as ``"90d"``.
        derived, listings, quarantine, everything : bool
            The kinds of files. Without any, all of the images: their records,
            words, copies, receipts, quarantined and frozen versions, and the listings
            of collections that go as a whole.

        Returns
        -------
        Choice
            The choice.

        Raises
        ------
        ArgumentError
            If nothing is chosen, or the age is none.
        """
        age = None if older_than is None else parse_age(older_than, "older_than")
        switches = {
            DERIVED: derived,
            LISTINGS: listings,
            QUARANTINE: quarantine,
            EVERYTHING: everything,
        }
        kinds: frozenset[Kind] = frozenset().union(
            *(kinds for kinds, chosen in switches.items() if chosen)
        )
        if not kinds and collection_ids is None and age is None:
            msg = (
                "Nothing was chosen; pass collection_ids=, older_than=, derived=True, "
                "listings=True, quarantine=True or everything=True."
            )
            raise ArgumentError(msg)
        default = EVERYTHING if age is None else COLLECTIONS
        return cls(kinds or default, collection_ids, age)


def plan(inventory: Inventory, choice: Choice, now: float | None = None) -> Plan:
    """Choose what to remove; nothing is removed yet.

    Parameters
    ----------
    inventory : Inventory
        The files of the store.
    choice : Choice
        What is wanted.
    now : float, optional
        The time now (Unix time).

    Returns
    -------
    Plan
        What would be removed.

    Examples
    --------
    >>> plan(Inventory(Path("/no/such/store")), Choice(EVERYTHING)).items
    ()
    """
    chosen = _of_collections(inventory, choice)
    if choice.older_than is not None:
        then = (time.time() if now is None else now) - choice.older_than
        added = _added(inventory)
        chosen = [item for item in chosen if _when(item, added) <= then]
    chosen = _without_used_abouts(inventory, chosen)
    linked = sorted({item.folder for item in chosen if item.linked})
    items = sorted((item for item in chosen if not item.linked), key=_rank)
    return Plan(
        inventory.root,
        tuple(items),
        _folders(inventory, items, choice),
        tuple(Left(folder, _LINK) for folder in linked),
    )


_LINK = (
    "It is, or lies behind, a symbolic link; remove what is in it where it really is."
)


def _of_collections(inventory: Inventory, choice: Choice) -> list[Item]:
    items = [*inventory.of(*choice.kinds)]
    if "image" not in choice.kinds:
        items = _without_only_copies(inventory, items)
    if choice.collection_ids is None:
        return items
    ids = choice.collection_ids
    return [item for item in items if _home(inventory.root, item) in ids]


def _without_only_copies(inventory: Inventory, items: list[Item]) -> list[Item]:
    """Leave the copies of images that are not there, and what is noted of them."""
    images = {(each.collection_id, each.image_id) for each in inventory.of("image")}
    only = {
        (each.collection_id, each.image_id)
        for each in inventory.of("resampled", "gridded")
    } - images
    return [
        item
        for item in items
        if item.kind not in DERIVED or (item.collection_id, item.image_id) not in only
    ]


def _home(root: Path, item: Item) -> int | None:
    if item.kind != "private":
        return item.collection_id
    try:
        number = read_object(root / item.path).get("collection_id")
    except (FileNotFoundError, CorruptFileError):
        return None
    return number if isinstance(number, int) else None


def _added(inventory: Inventory) -> dict[tuple[int | None, int], float]:
    """Tell when each image was downloaded, and with it all that belongs to it."""
    times: dict[tuple[int | None, int], float] = defaultdict(float)
    for item in inventory.of(*OF_AN_IMAGE, "receipt", "copy"):
        if item.image_id is not None and item.kind != "image":
            key = item.collection_id, item.image_id
            times[key] = max(times[key], item.mtime_ns / 1e9)
    images = {
        (each.collection_id, each.image_id): each for each in inventory.of("image")
    }
    for (collection_id, image_id), image in images.items():
        times[collection_id, image_id or 0] = image.mtime_ns / 1e9
    for item in inventory.of("receipt"):
        key = item.collection_id, item.image_id or 0
        times[key] = _by_receipt(inventory.root, item, images.get(key), times[key])
    for item in inventory.of("surface"):
        # NOTE: all that belongs to an image goes when the youngest of it is old.
        key = item.collection_id, item.image_id or 0
        times[key] = max(times[key], item.mtime_ns / 1e9)
    return times


def _by_receipt(root: Path, receipt: Item, image: Item | None, changed: float) -> float:
    """Tell when an image was downloaded, if its receipt knows."""
    try:
        content = read_object(root / receipt.path)
    except (FileNotFoundError, CorruptFileError):
        return changed
    added = content.get("added")
    if not isinstance(added, int | float):
        return changed
    state = (image.size, image.mtime_ns) if image else None
    if state == (content.get("size"), content.get("mtime_ns")):
        return float(added)
    # NOTE: somebody replaced or copied the image since.
    return max(float(added), changed)


def _when(item: Item, added: dict[tuple[int | None, int], float]) -> float:
    changed = item.mtime_ns / 1e9
    if item.kind == "about":
        # NOTE: it goes if its last image does, however young it is.
        return 0.0
    if item.image_id is None or item.kind == "quarantined":
        return changed
    return added.get((item.collection_id, item.image_id), changed)


def _without_used_abouts(inventory: Inventory, chosen: Sequence[Item]) -> list[Item]:
    """Leave the records of collections that keep something."""
    going = {item.path for item in chosen}
    kept = {
        item.collection_id
        for item in inventory.of(*OF_AN_IMAGE)
        if item.path not in going
    }
    return [
        item
        for item in chosen
        if not (item.kind == "about" and item.collection_id in kept)
    ]


def _rank(item: Item) -> tuple[float, bool, int, int]:
    number = float("inf") if item.collection_id is None else item.collection_id
    place = ORDER.index(item.kind)
    last = place >= ORDER.index("about")
    return number, last, 0 if last else item.image_id or 1 << 63, place


def _folders(
    inventory: Inventory, items: Iterable[Item], choice: Choice
) -> tuple[str, ...]:
    found = {item.folder for item in items}
    if choice.kinds >= COLLECTIONS and choice.older_than is None:
        found |= set(inventory.only(choice.collection_ids).folders)
    above = {parent for folder in found for parent in _parents(folder)}
    return tuple(sorted((found | above) - inventory.links - {""}))


def _parents(folder: str) -> list[str]:
    return [parent.as_posix() for parent in Path(folder).parents if parent.name]
