"""The façade: one value that finds images and fetches their files."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

from intake_neurovault.client import Client
from intake_neurovault.decoder import Decoder, Words
from intake_neurovault.errors import Failure, MissingError, NeuroVaultError, ServerError
from intake_neurovault.finder import Finder
from intake_neurovault.found import Found
from intake_neurovault.listings import Listings
from intake_neurovault.mirror import Mirror
from intake_neurovault.nifti import Geometry, read_geometry
from intake_neurovault.pool import (
    MAX_FAILURES_IN_A_ROW,
    Pool,
    Report,
    parse_errors,
    parse_workers,
)
from intake_neurovault.query import Query
from intake_neurovault.records import Collection, Image, ImageFile
from intake_neurovault.store import Store

logger = logging.getLogger(__name__)

Progress = Callable[[int], None]

_CHECKING = 4  # threads that check what arrived while others ask for more


class Supplier(Protocol):
    """Gives local files: the originals, or something made of them."""

    def kept(self, file: ImageFile) -> Path | None:
        """Tell where it is, if no request is needed."""

    def local(self, file: ImageFile, progress: Progress | None = None) -> Path:
        """Give it, asking the server if need be."""


@dataclass(frozen=True)
class Fetched:
    """The local files of a list of images."""

    paths: tuple[Path | None, ...]
    """One for each file asked for; None where it could not be had."""
    failures: tuple[Failure, ...]
    """Why."""


@dataclass(frozen=True)
class Vault:
    """Where maps come from, where they go, and how hard to try.

    Examples
    --------
    >>> Vault.parse(url="https://neurovault.org", workers=4).pool.workers
    4
    """

    mirror: Mirror
    """The server and the store, and what may be asked."""
    pool: Pool
    """How many requests at a time, and what a failure does."""

    @classmethod
    def parse(
        cls,
        *,
        url: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        mode: str = "download_new",
        metadata_ttl: float | str | None = "1d",
        trusted_hosts: Iterable[str] = (),
        timeout: float = 30,
        retries: int = 4,
        workers: int = 8,
        errors: str = "raise",
        progress: bool | None = None,
    ) -> Vault:
        """Build a vault from what a user may write; nothing is requested.

        Parameters
        ----------
        url : str, optional
            Base URL of the server; ``INTAKE_NEUROVAULT_URL``, then
            ``https://neurovault.org``, if absent.
        data_dir : path, optional
            nilearn's data folder; maps are kept in ``neurovault`` below it.
        mode : {"download_new", "overwrite", "offline", "update"}
            What may be asked of the server, and when.
        metadata_ttl : float or str
            How old a listing may be: seconds, or text such as ``"1d"``.
        trusted_hosts : iterable of str
            Hosts besides the server's own from which files are accepted.
        timeout : float
            Seconds to wait for a connection, and for each piece of an answer.
        retries : int
            How often a failed request is tried again.
        workers : int
            How many requests run at a time, 1 to 16.
        errors : {"raise", "warn", "skip"}
            What a failure does.
        progress : bool, optional
            Whether to show progress bars; None: only where somebody watches.

        Returns
        -------
        Vault
            The vault.

        Raises
        ------
        ArgumentError
            If a value is not what its argument takes.

        Examples
        --------
        >>> Vault.parse(mode="offline", workers=2).mirror.offline
        True
        """
        client = Client.parse(
            url=url, timeout=timeout, retries=retries, trusted_hosts=trusted_hosts
        )
        listings = Listings.parse(
            client, Store.parse(data_dir), mode=mode, metadata_ttl=metadata_ttl
        )
        pool = Pool(parse_workers(workers), parse_errors(errors), progress)
        return cls(Mirror(listings), pool)

    def place(self) -> str:
        """Tell this vault from others that may give other maps.

        Returns
        -------
        str
            The same for equal vaults. Equal queries of different places must not
            share dask's names.
        """
        listings = self.mirror.listings
        where = (listings.client, listings.store.root, listings.mode, listings.ttl)
        return repr((where, self.pool.errors))

    def renewed(self) -> Vault:
        """Begin anew: ``update`` and ``overwrite`` ask once more.

        Returns
        -------
        Vault
            An equal vault.
        """
        listings = replace(self.mirror.listings, since=time.time())
        return replace(self, mirror=replace(self.mirror, listings=listings))

    def search(
        self, query: Query, predicate: Callable[[Mapping[str, Any]], bool] | None = None
    ) -> Found:
        """Find the images that match; only metadata is requested.

        Parameters
        ----------
        query : Query
            What to look for.
        predicate : callable, optional
            One more condition, on the cleaned metadata of an image.

        Returns
        -------
        Found
            The images, and an account of what was left out.

        Raises
        ------
        NeuroVaultError
            Under the policy ``raise``, the first thing that cannot be had.
        """
        return Finder(self.mirror.listings, self.pool).find(query, predicate)

    def fetch(
        self, images: Sequence[Image], supplier: Supplier | None = None
    ) -> Fetched:
        """Make the files of images local: several at a time, verified, each once.

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
        NeuroVaultError
            Under the policy ``raise``, the first failure; what was fetched
            before it is kept.
        """
        report = self.pool.report()
        files = [file for image in images if (file := _file(image, report))]
        paths = self._local(files, report, self.pool, supplier or self.mirror)
        report.warn("fetched")
        found = tuple(paths.get(image.id) for image in images)
        return Fetched(found, tuple(report.failures))

    def open(
        self, files: Sequence[ImageFile], /, *, doubted: bool = False
    ) -> Sequence[Path | None]:
        """Give local files to a computation, downloading what is missing.

        Parameters
        ----------
        files : sequence of ImageFile
            The files of one chunk.
        doubted : bool
            Whether what is stored is read to its end first, since it did not prove
            to be what was verified; and downloaded again where it is damaged.

        Returns
        -------
        sequence of pathlib.Path or None
            One for each file; None, with a line in the log, where it cannot be had
            and the policy is not ``raise``.

        Raises
        ------
        NeuroVaultError
            Under the policy ``raise``, the first failure.

        Warns
        -----
        NeuroVaultWarning
            Under the policy ``warn``, if something cannot be had.
        """
        report = self.pool.report()
        # NOTE: a chunk is one of many; a bar for each would only flicker.
        workers = min(self.pool.workers, len(files) or 1)
        pool = replace(self.pool, progress=False, workers=workers)
        for file in files if doubted else ():
            self.mirror.store.doubt(file)
        paths = self._local(files, report, pool, self.mirror)
        for failure in report.failures:
            logger.warning("Left empty: %s", failure.reason)
        report.warn("fetched, and left empty")
        return [paths.get(file.image_id) for file in files]

    def geometries(
        self, images: Sequence[Image], paths: Sequence[Path | None]
    ) -> tuple[list[Geometry | None], tuple[Failure, ...]]:
        """Read where the voxels of local files lie.

        Parameters
        ----------
        images : sequence of Image
            Whose files they are.
        paths : sequence of pathlib.Path or None
            The files, as `fetch` gives them.

        Returns
        -------
        geometries : list of Geometry or None
            One for each image; None where it cannot be had.
        failures : tuple of Failure
            Files that hold no 3-D map.

        Raises
        ------
        NeuroVaultError
            Under the policy ``raise``, the first failure.
        """
        report = self.pool.report()
        geometries: list[Geometry | None] = [None] * len(images)
        for place, (image, path) in enumerate(zip(images, paths, strict=True)):
            if path is None:
                continue
            try:
                read = partial(read_geometry, label=image.label)
                geometries[place] = self.mirror.read(image.file, path, read)
            except NeuroVaultError as error:
                where = str(path)
                failure = Failure(image.id, image.collection_id, where, str(error), 0)
                report.failed(failure, error)
        report.warn("read")
        return geometries, tuple(report.failures)

    def words(
        self, images: Sequence[tuple[Image, Collection]], url: str | None = None
    ) -> Words:
        """Give the Neurosynth words of images.

        Parameters
        ----------
        images : sequence of (Image, Collection)
            Whose words, each with the collection it is in.
        url : str, optional
            Where they come from; ``INTAKE_NEUROVAULT_WORDS_URL``, then Neurosynth's
            public address, if absent.

        Returns
        -------
        Words
            The weights in the order asked, and what failed. A failure never raises:
            words are an extra, and Neurosynth is often away.
        """
        return Decoder.parse(self.mirror.listings, self.pool, url).words(images)

    def _local(
        self,
        files: Sequence[ImageFile],
        report: Report,
        pool: Pool,
        supplier: Supplier,
    ) -> dict[int, Path]:
        paths: dict[int, Path] = {}
        advance = Lock()

        def local(file: ImageFile) -> Path:
            arrived = 0

            def show(size: int) -> None:
                nonlocal arrived
                arrived += size
                with advance:
                    bar.update(size)

            _check_hope(file, report, supplier)
            try:
                return supplier.local(file, show)
            finally:
                show((file.file_size or 0) - arrived)

        size = sum(file.file_size or 0 for file in files)
        fetching = pool.map(local, files, spare=_CHECKING)
        with pool.bar(size, "B") as bar, fetching as outcomes:
            for file, outcome in outcomes:
                if isinstance(outcome, NeuroVaultError):
                    report.failed(self._failure(file, outcome), outcome)
                else:
                    report.succeeded()
                    paths[file.image_id] = outcome
        return paths

    def _failure(self, file: ImageFile, error: NeuroVaultError) -> Failure:
        url = self.mirror.client.file_url(file, shown=True)
        ids = file.image_id, file.collection_id
        return Failure(*ids, url, str(error), error.attempts)


def _file(image: Image, report: Report) -> ImageFile | None:
    if image.file is None:
        msg = (
            f"{image.label} has no file on NeuroVault; leave it out of the query, or "
            "pass errors='warn' to go on without it."
        )
        failure = Failure(image.id, image.collection_id, "", msg, 0)
        report.failed(failure, MissingError(msg))
    return image.file


def _check_hope(file: ImageFile, report: Report, supplier: Supplier) -> None:
    """Refuse to ask for a file where too much has failed."""
    if report.exhausted:
        what = f"{MAX_FAILURES_IN_A_ROW} things in a row"
    elif report.given_up(file.collection_id):
        what = f"too many of collection {file.collection_id}"
    else:
        return
    if not supplier.kept(file):
        msg = (
            f"The file of image {file.image_id} was not asked for, since {what} had "
            "failed; try again later."
        )
        raise ServerError(msg)
