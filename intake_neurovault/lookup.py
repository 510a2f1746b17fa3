"""Where the records of images are that are asked for by id."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from intake_neurovault import sidecars
from intake_neurovault.errors import CorruptFileError
from intake_neurovault.known import is_foreign, listed_records
from intake_neurovault.layout import OURS, sidecar_path
from intake_neurovault.ledger import Ledger

logger = logging.getLogger(__name__)

COPIES = f"{OURS}/records"
"""The folder of records that nilearn must not see; inside, it is as in its tree."""


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

    def apart(
        self, image_ids: Iterable[int]
    ) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
        """Find the records of images that are not on disk themselves.

        Parameters
        ----------
        image_ids : iterable of int
            The images.

        Returns
        -------
        dict of int to (dict, dict)
            As `in_lists`; of those in no list, the copies that were kept with the
            surface files of the image.
        """
        wanted = set(image_ids)
        found = self.in_lists(wanted)
        root, copies = self.ledger.root, self.ledger.root / COPIES
        for image_id, number in sidecars.find_images(copies, wanted - found.keys()):
            try:
                raw = sidecars.read_image(copies, number, image_id)
                about = sidecars.read_collection(root, number)
            except (FileNotFoundError, CorruptFileError) as error:
                logger.warning("Passed over: %s", error)
                continue
            if not is_foreign(raw, self.url):
                found[image_id] = raw, about
        return found


def copy_path(collection_id: int, image_id: int) -> str:
    """Give the file of the copy of a record that has no image beside it.

    Parameters
    ----------
    collection_id, image_id : int
        Their numbers.

    Returns
    -------
    str
        A path in our folder, relative to the store.

    Examples
    --------
    >>> copy_path(12, 3)
    '.intake_neurovault/records/collection_12/image_3_metadata.json'
    """
    return f"{COPIES}/{sidecar_path(collection_id, image_id)}"
