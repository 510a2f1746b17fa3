"""Removing files from a store, in the order in which a kill does no harm.

A kill in between leaves nothing that misleads: the record of an image goes before the
image, that of a collection after its images, and the listing last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from intake_neurovault import atomic
from intake_neurovault.inventory import Item, Kind, scan

ORDER: tuple[Kind, ...] = (
    "record",
    "copy",
    "image",
    "words",
    "surface",
    "resampled",
    "gridded",
    "derived",
    "receipt",
    "surface receipt",
    "quarantined",
    "frozen",
    "about",
    "listing",
    "private",
)
"""The kinds of files, in the order of removal."""
_LABELS: Mapping[Kind, str] = {
    "image": "images",
    "record": "records",
    "copy": "records",
    "about": "records",
    "words": "words",
    "surface": "surfaces",
    "resampled": "resampled",
    "gridded": "gridded",
    "derived": "computed",
    "receipt": "receipts",
    "surface receipt": "receipts",
    "quarantined": "quarantine",
    "frozen": "frozen",
    "listing": "listings",
    "private": "listings",
}
OF_AN_IMAGE: frozenset[Kind] = frozenset(
    {"image", "record", "words", "resampled", "surface"}
)
"""What lies beside each image, and needs the record of the collection."""


@dataclass(frozen=True)
class Left:
    """A file or folder that stays, and why."""

    path: str
    """Where it is, relative to the store."""
    reason: str
    """One sentence."""

    def to_json(self) -> dict[str, str]:
        """Write it for machines.

        Returns
        -------
        dict
            JSON types only.
        """
        return {"path": self.path, "reason": self.reason}


@dataclass(frozen=True)
class Plan:
    """What would be removed, in the order of removal.

    Examples
    --------
    >>> Plan(Path("/no/such/store")).carry_out()
    Cleared(removed=0, freed=0, left=())
    """

    root: Path
    """The store."""
    items: tuple[Item, ...] = ()
    """The files."""
    folders: tuple[str, ...] = ()
    """The folders that go with them if nothing else is in them."""
    left: tuple[Left, ...] = field(default=())
    """What was chosen, and stays nevertheless."""

    @property
    def bytes(self) -> int:
        """How large the files are together."""
        return sum(item.size for item in self.items)

    def summary(self) -> list[tuple[str, int, int]]:
        """Count the files by what they are to a user.

        Returns
        -------
        list of (str, int, int)
            What, how many, and how many bytes together.
        """
        found: dict[str, list[int]] = {label: [] for label in _LABELS.values()}
        for item in self.items:
            found[_LABELS[item.kind]].append(item.size)
        counts = [(label, len(sizes), sum(sizes)) for label, sizes in found.items()]
        return [each for each in counts if each[1]]

    def to_json(self) -> dict[str, Any]:
        """Write it for machines.

        Returns
        -------
        dict
            JSON types only.
        """
        return {
            "files": [item.path for item in self.items],
            "bytes": self.bytes,
            "left": [each.to_json() for each in self.left],
        }

    def carry_out(self) -> Cleared:
        """Remove the files, and the folders that are then empty.

        Returns
        -------
        Cleared
            What was removed, and what had to stay.
        """
        gone: list[Item] = []
        left = list(self.left)
        for folder in self.folders:
            atomic.sweep(self.root / folder)
        for item in self.items:
            try:
                if self._remove(item):
                    gone.append(item)
            except OSError as error:
                why = error.strerror or str(error)
                left.append(Left(item.path, f"It cannot be removed ({why})."))
            if item.kind == "about":
                self._remove_folder(item.folder)
        for folder in sorted(self.folders, key=lambda path: -path.count("/")):
            self._remove_folder(folder)
        return Cleared(len(gone), sum(item.size for item in gone), tuple(left))

    def _remove(self, item: Item) -> bool:
        if item.kind == "about" and self._still_used(item):
            return False
        place = self.root / item.path
        # NOTE: the folder may have become a link since it was looked at.
        if place.parent.is_symlink():
            return False
        try:
            place.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    def _still_used(self, about: Item) -> bool:
        """Tell whether images have come to a collection since it was looked at."""
        inventory = scan(self.root, about.folder)
        return any(inventory.of(*OF_AN_IMAGE, "temporary"))

    def _remove_folder(self, folder: str) -> None:
        try:
            (self.root / folder).rmdir()
        except OSError:
            return


@dataclass(frozen=True)
class Cleared:
    """What was removed.

    Examples
    --------
    >>> Cleared(2, 2048).to_json()
    {'removed': 2, 'freed': 2048, 'left': []}
    """

    removed: int
    """How many files."""
    freed: int
    """How many bytes."""
    left: tuple[Left, ...] = ()
    """What had to stay, and why."""

    def to_json(self) -> dict[str, Any]:
        """Write it for machines.

        Returns
        -------
        dict
            JSON types only.
        """
        return {
            "removed": self.removed,
            "freed": self.freed,
            "left": [each.to_json() for each in self.left],
        }
