"""Where the records of images are that are asked for by id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from intake_neurovault import sidecars
from intake_neurovault.known import listed_records
from intake_neurovault.ledger import Ledger


@dataclass(frozen=True)
class Lookup:
    """Looks for records in every folder, and in every list that was saved.

    Examples
    --------
    >>> from pathlib import Path
    >>> lookup = Lookup(Ledger(Path("/no/such/store")), "https://neurovault.org")
    >>> list(lookup.on_disk([3])), lookup.in_lists([3])
    ([], {})
    """

    ledger: Ledger
    """The store."""
    url: str
    """The server."""

    def on_disk(self, image_ids: Iterable[int]) -> Iterable[tuple[int, int]]:
        """Find the records of some images in nilearn's tree.

        Parameters
        ----------
        image_ids : iterable of int
            The images.

        Returns
        -------
        iterable of (int, int)
            Image and collection, in ascending order of collections, for each file
            there is; whether it can be read is not looked at.
        """
        return sidecars.find_images(self.ledger.root, image_ids)

    def in_lists(
        self, image_ids: Iterable[int]
    ) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
        """Find some images in the lists of the server.

        Parameters
        ----------
        image_ids : iterable of int
            The images.

        Returns
        -------
        dict of int to (dict, dict)
            The raw records of those that were found, each with that of the collection
            that listed it; the first one, if more than one did.
        """
        return listed_records(self.ledger, self.url, image_ids)
