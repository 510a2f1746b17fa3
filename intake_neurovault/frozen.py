"""Frozen queries, opened: the records of a lock, and the bytes that it names.

What was found is known; nothing is searched for. Files are taken from the store if
they have the right bytes, and fetched if the server still has them. The server's
records are asked for only where a frozen file is not in the store, or where somebody
wants to know what changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from intake_neurovault.downloads import Supplier
from intake_neurovault.drift import compare, complaint, remark
from intake_neurovault.errors import (
    ChangedError,
    MissingError,
    OfflineError,
    PrivateError,
    ServerError,
)
from intake_neurovault.found import Found
from intake_neurovault.hindsight import changes_since, kept_of, look_again
from intake_neurovault.known import note
from intake_neurovault.lock_files import versions
from intake_neurovault.locks import Lock
from intake_neurovault.nifti import Reader
from intake_neurovault.notices import warn
from intake_neurovault.query import Query
from intake_neurovault.records import Image
from intake_neurovault.stack import Opener, StackedMap
from intake_neurovault.subsets import subset
from intake_neurovault.vault import Fetched, Vault

logger = logging.getLogger(__name__)

_SOME = 8


@dataclass(frozen=True)
class FrozenVault(Vault):
    """A vault that finds what was frozen, and gives these bytes or none."""

    lock: Lock = field(kw_only=True)
    """What was frozen."""

    @classmethod
    def of(cls, vault: Vault, lock: Lock) -> FrozenVault:
        """Tie a vault to a lock.

        Parameters
        ----------
        vault : Vault
            Server and store.
        lock : Lock
            What was frozen.

        Returns
        -------
        FrozenVault
            The vault.
        """
        return cls(vault.mirror, vault.pool, vault.room, lock=lock)

    @property
    def plain(self) -> Vault:
        """The same server and store without the lock: quick to send to workers."""
        return Vault(self.mirror, self.pool, self.room)

    def search(
        self, query: Query, predicate: Callable[[Mapping[str, Any]], bool] | None = None
    ) -> Found:
        """Give what was frozen, or what of it fulfils further conditions.

        Parameters
        ----------
        query : Query
            The frozen query, or one with more conditions.
        predicate : callable, optional
            One more condition, on the cleaned metadata of an image.

        Returns
        -------
        Found
            The images; nothing is requested.
        """
        lock = self.lock
        if predicate is None and lock.covers(query):
            return lock.found
        return subset(lock, query, predicate)

    def gather(
        self, query: Query, predicate: Callable[[Mapping[str, Any]], bool] | None = None
    ) -> tuple[Found, Fetched]:
        """Give what was frozen, and make its files local.

        Parameters
        ----------
        query : Query
            As for `search`.
        predicate : callable, optional
            As for `search`.

        Returns
        -------
        found : Found
            As `search` gives it.
        fetched : Fetched
            As `fetch` gives it.

        Raises
        ------
        NeuroVaultError
            As `fetch`.
        """
        found = self.search(query, predicate)
        return found, self.fetch(found.images)

    def fetch(
        self, images: Sequence[Image], supplier: Supplier | None = None
    ) -> Fetched:
        """Make the files of images local, as they were frozen.

        Parameters
        ----------
        images : sequence of Image
            Whose files to fetch.
        supplier : Supplier, optional
            Who gives them; the mirror, hence the originals, if absent.

        Returns
        -------
        Fetched
            The paths in the order asked, and what failed.

        Raises
        ------
        ChangedError
            Under the policy ``raise``, if the bytes of any are gone.
        NeuroVaultError
            Under the policy ``raise``, the first failure of another kind.
        """
        self.check(images)
        return super().fetch(images, supplier)

    def check(self, images: Sequence[Image], reader: Reader | None = None) -> None:
        """Make sure that what is not in the store can still be had.

        Nothing is asked of the server if all is in the store.

        Parameters
        ----------
        images : sequence of Image
            Frozen images.
        reader : Reader, optional
            How they are to be read; maps that are kept on its grid need no file.

        Raises
        ------
        ChangedError
            Under the policy ``raise``, if the bytes of any are gone: one error, with
            all that changed on the server.
        OfflineError
            Under the policy ``raise``, if any is not in the store and the mode is
            ``offline``.
        ServerError
            Under the policy ``raise``, if the server does not answer.

        Warns
        -----
        NeuroVaultWarning
            If records were edited; under the policy ``warn`` if bytes are gone.
        """
        lacking = [each for each in images if not self._has(each, reader)]
        if not lacking:
            return
        if self.mirror.offline:
            self._refuse(lacking)
            return
        # NOTE: a list is asked for anew, once for each result that is opened.
        anew = replace(self.mirror.listings, mode="update")
        wide = bool(self.lock.query.collection_ids)
        try:
            now = look_again(anew, self.pool, self.lock, lacking, search=wide)
            lost = self._lost([i for i in lacking if i.file and now.differs(i.file)])
            changes = (
                changes_since(self.mirror, self.pool, self.lock, lost)
                if lost
                else compare(self.lock, now, kept_of(self.mirror, self.lock))
            )
        except ServerError:
            if self.pool.errors == "raise":
                raise
            return
        strict = self.pool.errors == "raise"
        edits = [each for each in changes if each.what == "edited"]
        if lost and strict:
            raise ChangedError(complaint(self.lock, changes, lost, strict=True))
        if self.pool.errors == "skip" or not (lost or edits):
            return
        lenient = complaint(self.lock, changes, lost, strict=False)
        warn(lenient if lost else remark(edits))

    def _has(self, image: Image, reader: Reader | None = None) -> bool:
        """Whether no request is needed for an image."""
        if image.file is None or self.mirror.has(image.file):
            return True
        kept, gridded = reader, self.gridded
        if kept is None or kept.grid is None or gridded is None:
            return False
        return gridded.load(StackedMap.of(image), kept, ())

    def _refuse(self, lacking: Sequence[Image]) -> None:
        if self.pool.errors == "raise":
            ids = ", ".join(str(each.id) for each in lacking[:_SOME])
            more = f" and {len(lacking) - _SOME} more" if len(lacking) > _SOME else ""
            number, total = len(lacking), len(self.lock.images)
            msg = (
                f"{number} of {total} images frozen on {self.lock.day} are not in the "
                f"store {self.mirror.store.root} with the bytes that they had: {ids}"
                f"{more}; run once without mode='offline' to fetch them, or pass "
                "data_dir= with a store that has them."
            )
            raise OfflineError(msg)

    def _lost(self, doubtful: Sequence[Image]) -> frozenset[int]:
        """Find out by their bytes which files are gone; the others are then local."""

        def fetch(image: Image) -> Path | None:
            file = image.file
            return None if file is None else self.mirror.local(file, None, image)

        gone = ChangedError, MissingError, PrivateError
        with self.pool.map(fetch, doubtful) as outcomes:
            return frozenset(
                image.id for image, answer in outcomes if isinstance(answer, gone)
            )


def opener_of(vault: Vault, images: Sequence[Image], reader: Reader) -> Opener:
    """Give what makes files local in a computation.

    Parameters
    ----------
    vault : Vault
        Where from.
    images : sequence of Image
        What is to be computed on.
    reader : Reader
        How they are read.

    Returns
    -------
    Opener
        The vault's own; of a frozen one, without the lock, which is long.

    Raises
    ------
    NeuroVaultError
        As `FrozenVault.check`.

    Warns
    -----
    NeuroVaultWarning
        As `FrozenVault.check`.
    """
    if not isinstance(vault, FrozenVault):
        return vault.open
    vault.check(images, reader)
    _tell_of_versions(vault.lock.packages)
    for image in images:
        # NOTE: who downloads a file writes its record beside it, which is at hand.
        if image.file is not None:
            plain = replace(image.file, sha256=None)
            note(vault.mirror.client.url, plain)[:] = [replace(image, file=plain)]
    return vault.plain.open


@lru_cache(maxsize=64)
def _tell_of_versions(packages: tuple[tuple[str, str], ...]) -> None:
    """Log once with which other versions a query was frozen."""
    if others := sorted(set(packages) - set(versions())):
        names = ", ".join(f"{name} {number}" for name, number in others)
        logger.info(
            "Frozen with %s; values on a grid may differ in the last digits.", names
        )
