"""Looking after the local store: what is in it, is it whole, mend it, clear it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from intake_neurovault import atomic, choosing, layout
from intake_neurovault.checkup import MAPS, TEXTS, Examiner, examine_all, incomplete
from intake_neurovault.choosing import Choice
from intake_neurovault.clearing import Cleared, Plan
from intake_neurovault.client import Client
from intake_neurovault.datadir import find_root
from intake_neurovault.errors import StoreError
from intake_neurovault.findings import Finding
from intake_neurovault.holdings import Holdings, take_stock
from intake_neurovault.inventory import Inventory, Item, scan
from intake_neurovault.listings import Listings
from intake_neurovault.mending import Mender
from intake_neurovault.mirror import Mirror
from intake_neurovault.pool import Pool, parse_workers
from intake_neurovault.refs import Token, parse_id, parse_many
from intake_neurovault.reports import Checkup, Repair
from intake_neurovault.store import Store
from intake_neurovault.tables import holding_table
from intake_neurovault.vault import Vault

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Cache:
    """The local store, to look after it.

    Only `repair` makes requests. Files that are neither ours nor NeuroVault's by
    their names are never touched.

    Examples
    --------
    >>> cache = Cache.parse("/no/such/folder")
    >>> cache.info().exists, cache.verify().whole, cache.clear(derived=True).removed
    (False, True, 0)
    """

    root: Path
    """The folder of the store."""
    pool: Pool = field(default=Pool(errors="skip"))
    """How many files at a time, and whether to show progress bars."""

    @classmethod
    def parse(
        cls,
        data_dir: str | os.PathLike[str] | None = None,
        *,
        workers: int = 8,
        progress: bool | None = None,
    ) -> Cache:
        """Open the store that nilearn would use; nothing is created.

        Parameters
        ----------
        data_dir : path, optional
            nilearn's data folder; if absent, ``NILEARN_SHARED_DATA``,
            ``NILEARN_DATA`` or ``~/nilearn_data``.
        workers : int
            How many files are read or fetched at a time, 1 to 16.
        progress : bool, optional
            Whether to show progress bars; None: only where somebody watches.

        Returns
        -------
        Cache
            The store in ``neurovault`` below it.

        Raises
        ------
        ArgumentError
            If a value is not what its argument takes.
        """
        pool = Pool(parse_workers(workers), "skip", progress)
        return cls(find_root(data_dir), pool)

    def info(self, collection_id: int | None = None) -> Holdings:
        """Tell what is in the store; nothing is requested, changed or verified.

        Parameters
        ----------
        collection_id : int, optional
            Only this collection.

        Returns
        -------
        Holdings
            What there is; zeros if there is no store.

        Raises
        ------
        ArgumentError
            If `collection_id` is none.
        """
        return take_stock(scan(self.root).only(_ids(collection_id)))

    def collections(self) -> pd.DataFrame:
        """Tell what is in the store of each collection.

        Returns
        -------
        pandas.DataFrame
            One row for each: ``collection_id``, ``name``, ``images``, ``verified``,
            ``resampled``, ``words``, ``surfaces``, ``quarantined``, ``bytes``.
        """
        return holding_table(self.info().collections)

    def verify(
        self, *, collection_ids: object = None, dry_run: bool = False
    ) -> Checkup:
        """Read every file to its end.

        Parameters
        ----------
        collection_ids : int or iterable of int, optional
            Only these collections.
        dry_run : bool
            Whether to change nothing. Otherwise damaged files are moved to the
            quarantine, maps on a grid that are damaged and temporaries older than a
            day are removed, and whole images get the receipt that saves the next
            check.

        Returns
        -------
        Checkup
            What is wrong.

        Raises
        ------
        ArgumentError
            If an id is none.
        """
        ids = _ids(collection_ids)
        inventory = scan(self.root).only(ids)
        if not inventory.exists:
            return Checkup(self.root)
        why = "dry run" if dry_run else _refusal(self.root)
        examiner = Examiner(self.root, read_only=why is not None)
        findings = examine_all(examiner, inventory.items, self.pool)
        swept = 0 if why else sum(map(atomic.sweep, self._folders(inventory, ids)))
        seen = {(each.collection_id, each.image_id, _found(each)) for each in findings}
        lacking = (
            each
            for each in incomplete(self.root, ids)
            if (each.collection_id, each.image_id, _lacked(each)) not in seen
        )
        read = list(inventory.of(*MAPS, *TEXTS))
        return Checkup(
            self.root,
            exists=True,
            files=len(read),
            images=sum(item.kind == "image" for item in read),
            bytes=sum(item.size for item in read),
            findings=(*findings, *lacking, *_closed(inventory)),
            swept=swept,
            unchanged=why,
        )

    def repair(
        self,
        *,
        url: str | None = None,
        collection_ids: object = None,
        tokens: object = None,
        trusted_hosts: Iterable[str] = (),
        timeout: float = 30,
        retries: int = 4,
    ) -> Repair:
        """Verify the store, and fetch again what is damaged, changed or gone.

        The damaged and changed copies stay in the quarantine until it is cleared.
        What cannot be had is reported and does not stop the rest.

        Parameters
        ----------
        url : str, optional
            Base URL of the server; ``INTAKE_NEUROVAULT_URL``, then
            ``https://neurovault.org``, if absent.
        collection_ids : int or iterable of int, optional
            Only these collections.
        tokens : str, Token or iterable of these, optional
            The tokens of private collections, as ``env:NAME``.
        trusted_hosts : iterable of str
            Hosts besides the server's own from which files are accepted.
        timeout : float
            Seconds to wait for a connection, and for each piece of an answer.
        retries : int
            How often a failed request is tried again.

        Returns
        -------
        Repair
            What was wrong, what was fetched, and what could not be had.

        Raises
        ------
        ArgumentError
            If a value is not what its argument takes.
        UnreachableError
            If something is to be fetched and the server cannot be reached.
        StoreError
            If the store cannot be written.
        """
        client = Client.parse(
            url=url, timeout=timeout, retries=retries, trusted_hosts=trusted_hosts
        )
        store = Store(self.root)
        listings = Listings.parse(client, store, mode="update", metadata_ttl=None)
        pool = replace(self.pool, errors="skip")
        secrets = parse_many(tokens, _parse_token, "tokens") or ()
        mender = Mender(Vault(Mirror(listings), pool), secrets)
        before = self.verify(collection_ids=collection_ids)
        if before.exists and before.unchanged:
            msg = (
                f"The store {self.root} cannot be written ({before.unchanged}); pass "
                "data_dir= with a folder that can be."
            )
            raise StoreError(msg)
        ids = _ids(collection_ids)
        inventory = scan(self.root).only(ids)
        wanted = [
            item for each in incomplete(self.root, ids) for item in _of(each, inventory)
        ]
        changed = [
            item
            for each in before.findings
            if each.problem == "changed"
            for item in _of(each, inventory)
        ]
        mended = mender.mend(wanted, changed)
        stuck = [
            each
            for each in before.findings
            if each.problem == "unreadable"
            or (each.problem == "damaged" and each.moved_to is None)
        ]
        return Repair(before, mended, (*stuck, *incomplete(self.root, ids)))

    def plan(
        self,
        *,
        collection_ids: object = None,
        older_than: float | str | None = None,
        derived: bool = False,
        listings: bool = False,
        quarantine: bool = False,
        everything: bool = False,
    ) -> Plan:
        """Choose what to remove; nothing is removed yet.

        Parameters
        ----------
        collection_ids : int or iterable of int, optional
            Only what belongs to these collections: images, surfaces, words, records,
            receipts, copies, quarantined files and listings, unless kinds are chosen.
        older_than : float or str, optional
            Only what was downloaded so long ago: seconds, or text such as ``"90d"``.
            What was not downloaded here counts from its last change. Without chosen
            kinds, listings stay.
        derived : bool
            Choose what can be made again without the network: resampled copies of
            images that are there, and what this package computed from images.
        listings : bool
            Choose the lists of the server; they are asked for again when needed.
        quarantine : bool
            Choose the damaged files that were set aside.
        everything : bool
            Choose all that is ours or NeuroVault's.

        Returns
        -------
        Plan
            What would be removed, and what would stay.

        Raises
        ------
        ArgumentError
            If nothing is chosen, or a value is not what its argument takes.
        """
        choice = Choice.parse(
            collection_ids=_ids(collection_ids),
            older_than=older_than,
            derived=derived,
            listings=listings,
            quarantine=quarantine,
            everything=everything,
        )
        return choosing.plan(scan(self.root), choice)

    def clear(
        self,
        *,
        collection_ids: object = None,
        older_than: float | str | None = None,
        derived: bool = False,
        listings: bool = False,
        quarantine: bool = False,
        everything: bool = False,
    ) -> Cleared:
        """Remove what `plan` chooses.

        Parameters
        ----------
        collection_ids : int or iterable of int, optional
            Only what belongs to these collections.
        older_than : float or str, optional
            Only what was downloaded so long ago.
        derived : bool
            Choose what can be made again without the network.
        listings : bool
            Choose the lists of the server.
        quarantine : bool
            Choose the damaged files that were set aside.
        everything : bool
            Choose all that is ours or NeuroVault's.

        Returns
        -------
        Cleared
            What was removed, and what had to stay.

        Raises
        ------
        ArgumentError
            If nothing is chosen, or a value is not what its argument takes.
        """
        return self.plan(
            collection_ids=collection_ids,
            older_than=older_than,
            derived=derived,
            listings=listings,
            quarantine=quarantine,
            everything=everything,
        ).carry_out()

    def _folders(self, inventory: Inventory, ids: frozenset[int] | None) -> list[Path]:
        names = inventory.folders if ids is not None else ("", *inventory.folders)
        return [self.root / name for name in names]


def _ids(value: object) -> frozenset[int] | None:
    ids = parse_many(value, _parse_collection_id, "collection_ids")
    return None if ids is None else frozenset(ids)


def _parse_collection_id(value: object) -> int:
    return parse_id(value, "a collection id")


def _parse_token(value: object) -> Token:
    return value if isinstance(value, Token) else Token.parse(str(value))


def _refusal(root: Path) -> str | None:
    """Give the reason why a store cannot be written, if there is one."""
    folder = root / layout.OURS
    try:
        folder.mkdir(exist_ok=True)
        with atomic.temporary(folder / "probe"):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _found(finding: Finding) -> str:
    """Name the kind of file; of two hemispheres, which one."""
    return finding.path if finding.kind == "surface" else finding.kind


def _lacked(finding: Finding) -> str:
    """Name the kind of file that a finding about an incomplete image is for."""
    if finding.problem == "no record" and finding.kind == "image":
        return "record"
    return _found(finding)


def _closed(inventory: Inventory) -> Iterable[Finding]:
    for folder, why in inventory.closed:
        yield Finding(
            "unreadable", "other", folder, f"The folder cannot be looked into ({why})."
        )


def _of(finding: Finding, inventory: Inventory) -> Sequence[Item]:
    """Give the file that will bring what a finding says is lacking."""
    if finding.kind != "about":
        ids = finding.collection_id, finding.image_id
        return [Item(finding.kind, finding.path, *ids)]
    images = inventory.of("image")
    return [item for item in images if item.collection_id == finding.collection_id][:1]
