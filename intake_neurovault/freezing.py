"""Freezing: what a query found becomes a catalog entry that gives it years later."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pandas as pd

from intake_neurovault import frozen_files
from intake_neurovault.cube import Chunks
from intake_neurovault.errors import (
    ArgumentError,
    ChangedError,
    EmptyResultError,
    Failure,
)
from intake_neurovault.found import Aftermath, Found
from intake_neurovault.hindsight import changes_since
from intake_neurovault.lock_files import Target, versions
from intake_neurovault.locks import NOT_FROZEN, Lock
from intake_neurovault.nifti import Reader
from intake_neurovault.pool import Report
from intake_neurovault.query import Query
from intake_neurovault.records import Image, ImageFile
from intake_neurovault.tables import change_table
from intake_neurovault.vault import Vault


class _Result(Protocol):
    """What of a result is needed to freeze it."""

    query: Query
    reader: Reader
    vault: Vault
    _chunks: Chunks
    _later: Aftermath
    _settings: tuple[tuple[str, Any], ...]

    def __init__(
        self,
        query: Query,
        reader: Reader,
        vault: Vault,
        *,
        chunks: Chunks,
        settings: tuple[tuple[str, Any], ...],
    ) -> None: ...

    @property
    def found(self) -> Found: ...

    def _how(self) -> dict[str, Any]: ...

    def _originals(self) -> tuple[tuple[Image, ...], tuple[Path | None, ...]]: ...


R = TypeVar("R", bound=_Result)


class Freezable:
    """What a result can do about being the same years later."""

    def freeze(
        self: _Result,
        path: str | os.PathLike[str],
        name: str | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write a catalog entry that gives the same maps and the same table for good.

        What is missing is downloaded first. The catalog is for
        ``intake.open_catalog``; the lock beside it, ``….lock.json``, holds the records
        as they are now, and of each file address, size and SHA-256. Both may be moved
        together, and hold nothing secret.

        Parameters
        ----------
        path : path
            The catalog, such as ``"maps.yaml"``.
        name : str, optional
            Of its entry; that of the file if absent.
        overwrite : bool
            Whether to replace what was frozen there before.

        Returns
        -------
        pathlib.Path
            The catalog.

        Raises
        ------
        ArgumentError
            If the path or the name cannot be one, or something else is there; if a
            private collection's token is given literally.
        FilterError
            If a condition is a Python function.
        EmptyResultError
            If there is nothing to freeze.
        NeuroVaultError
            With ``errors="raise"``, if an image cannot be had; else such images are
            left out, and listed in ``.failures``.
        StoreError
            If nothing can be written there.
        """
        target = Target.parse(path, name, overwrite=overwrite)
        how = self._how()
        # NOTE: a literal token is refused before anything is downloaded.
        self.query.to_arguments()
        _, paths = self._originals()
        failed = self._later.failures.get("files", ())
        lock = make_lock(self.vault, self.query, self.found, paths, failed)
        return target.write(lock, how)

    def changes(self: _Result) -> pd.DataFrame:
        """Ask the server what changed since this was frozen.

        Returns
        -------
        pandas.DataFrame
            A row for each change: the image's ``id`` and ``collection_id``, ``what``
            happened (``re-uploaded``; ``moved`` to another collection; its file
            ``lost``; ``deleted``; ``made private``; ``edited``; or ``added``, for one
            that matches now and did not then), how it was ``before`` and is ``now``,
            and ``advice``.

        Raises
        ------
        ArgumentError
            If this is not frozen.
        OfflineError
            With ``mode="offline"``.
        ServerError
            If the server does not answer.
        """
        vault = self.vault
        if vault.lock is None:
            raise ArgumentError(NOT_FROZEN)
        return change_table(changes_since(vault.mirror, vault.pool, vault.lock))

    def thaw(self: R) -> R:
        """Ask the frozen query anew, for what the server has now.

        Returns
        -------
        SearchResult
            What is not frozen, in the mode ``update``; its `freeze` accepts what
            changed.

        Raises
        ------
        ArgumentError
            If this is not frozen.
        """
        lock, vault = self.vault.lock, self.vault
        if lock is None:
            raise ArgumentError(NOT_FROZEN)
        listings = replace(vault.mirror.listings, since=time.time())
        if not listings.offline:
            listings = replace(listings, mode="update")
        query = replace(lock.query, words=self.query.words)
        changed = {"url": listings.client.url, "mode": listings.mode}
        kept = {k: v for k, v in self._settings if k not in ("frozen", *changed)}
        # NOTE: frozen queries are strict by default, others depend on what they ask.
        errors = kept.get("errors", "raise" if query.explicit else "warn")
        pool = replace(vault.pool, errors=errors)
        mirror = replace(vault.mirror, listings=listings)
        return type(self)(
            query,
            self.reader,
            Vault(mirror, pool, vault.room),
            chunks=self._chunks,
            settings=(*kept.items(), *changed.items()),
        )


def make_lock(
    vault: Vault,
    query: Query,
    found: Found,
    paths: Sequence[Path | None],
    failures: Sequence[Failure] = (),
) -> Lock:
    """Lock what was found and fetched.

    Parameters
    ----------
    vault : Vault
        Where the files are.
    query : Query
        What was looked for.
    found : Found
        What was found.
    paths : sequence of pathlib.Path or None
        The local files, as `Vault.fetch` gives them.
    failures : sequence of Failure
        Why some are None.

    Returns
    -------
    Lock
        What is frozen; images that could not be had are in its ``failures``.

    Raises
    ------
    ChangedError
        Under the policy ``raise``, if a local file is older than its record.
    EmptyResultError
        If nothing was found, or nothing could be had.

    Warns
    -----
    NeuroVaultWarning
        Under the policy ``warn``, if a local file is older than its record.
    """
    report = vault.pool.report()
    frozen = [
        replace(image, file=file)
        for image, path in zip(found.images, paths, strict=True)
        if path is not None and (file := _frozen_file(vault, image, report))
    ]
    report.warn("frozen")
    if not frozen:
        why = found.why_empty() if not found.images else "No file could be had."
        msg = f"There is nothing to freeze. {why}"
        raise EmptyResultError(msg)
    homes = dict.fromkeys(each.collection_id for each in frozen)
    lock = Lock(
        frozen=datetime.now(UTC).isoformat(timespec="seconds"),
        url=vault.mirror.client.url,
        query=query,
        images=tuple(frozen),
        collections={number: found.collections[number] for number in homes},
        failures=(*found.failures, *failures, *report.failures),
        steps=found.steps,
        fetched=found.fetched,
        packages=versions(),
    )
    local = {i.id: p for i, p in zip(found.images, paths, strict=True)}
    for image in frozen:
        if image.file is not None and (path := local[image.id]) is not None:
            frozen_files.keep(vault.mirror.store, image.file, path)
    return lock


def _frozen_file(vault: Vault, image: Image, report: Report) -> ImageFile | None:
    """Tell which bytes an image has, if they are those of its record."""
    file, store = image.file, vault.mirror.store
    if file is None or file.sha256 is not None:
        return file
    served, receipt = frozen_files.as_served(store, file), store.receipt(file)
    before = file if receipt is None or receipt.file is None else receipt.file
    if served is not None:
        sha256, size = served
        old = (before.path, before.file_size) != (file.path, file.file_size)
        if not old and file.file_size in (None, size):
            return replace(file, sha256=sha256, file_size=size, origin="")
    msg = (
        f"The local file of {image.label} is older than its record, since another one "
        "was uploaded in its place; freeze what the server has now with mode='update'."
    )
    url = vault.mirror.client.file_url(file, shown=True)
    failure = Failure(image.id, image.collection_id, url, msg, 0)
    report.failed(failure, ChangedError(msg))
    return None
