"""Where the records of images are, as the index knows it: no folder is read twice."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from intake_neurovault.bodies import image_of
from intake_neurovault.clauses import PLACES
from intake_neurovault.index import index_of
from intake_neurovault.known import listed_records
from intake_neurovault.lookup import Lookup
from intake_neurovault.pool import Pool
from intake_neurovault.segment import REFUSALS
from intake_neurovault.view import View

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IndexedLookup(Lookup):
    """Looks for records in the index, which sees what has changed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from intake_neurovault.ledger import Ledger
    >>> ledger = Ledger(Path("/no/such/store"))
    >>> lookup = IndexedLookup(ledger, "https://neurovault.org", Pool())
    >>> list(lookup.on_disk([3])), lookup.in_lists([3])
    ([], {})
    """

    pool: Pool
    """Shows progress."""

    def on_disk(self, image_ids: Iterable[int]) -> Iterable[tuple[int, int]]:
        """Find the records of some images in nilearn's tree.

        Parameters
        ----------
        image_ids : iterable of int
            The images.

        Returns
        -------
        iterable of (int, int)
            As `Lookup.on_disk` gives it.
        """
        wanted = list(image_ids)
        index = index_of(self.ledger.root, self.url)
        try:
            with index.look(offline=True, lists=False) as view:
                return view.on_disk(wanted)
        except REFUSALS as error:
            logger.debug("The index %s is of no use: %r", index.path, error)
            return super().on_disk(wanted)

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
            As `Lookup.in_lists` gives it.
        """
        wanted = sorted(image_ids)
        index = index_of(self.ledger.root, self.url)
        try:
            with index.look(offline=True) as view:
                view.refresh(sorted(view.seen.listings), self._bar)
                homes, unsure = view.lists_with(wanted)
                if not unsure:
                    return _records(view, homes)
        except REFUSALS as error:
            logger.debug("The index %s is of no use: %r", index.path, error)
            return super().in_lists(wanted)
        numbers = sorted({*homes.values(), *unsure})
        return listed_records(self.ledger, self.url, wanted, numbers)

    def _bar(self, number: int) -> AbstractContextManager[Any]:
        return self.pool.bar(number, "collection")


def _records(
    view: View, homes: Mapping[int, int]
) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
    found = {}
    for image_id, number in homes.items():
        segment, place = view.segment(number), number * PLACES + image_id
        ((_, home, shape, text),) = segment.bodies("image_bodies", [place])
        raw = image_of(image_id, home, shape, text).raw
        found[image_id] = dict(raw), view.about(number) or {"id": number}
    return found
