"""The façade: one value that finds images and fetches their files."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from intake_neurovault.client import Client
from intake_neurovault.crew import sharing
from intake_neurovault.decoder import Decoder, Words
from intake_neurovault.downloads import Downloads, Item, Supplier
from intake_neurovault.errors import Failure, MissingError, NeuroVaultError
from intake_neurovault.finder import Finder
from intake_neurovault.found import Found, outcome
from intake_neurovault.gridded import Gridded
from intake_neurovault.listings import Listings
from intake_neurovault.locks import Lock
from intake_neurovault.mirror import Mirror
from intake_neurovault.nifti import Geometry, read_geometry
from intake_neurovault.parameters import parse_room
from intake_neurovault.pool import Pool, Report, parse_errors, parse_workers
from intake_neurovault.query import Query
from intake_neurovault.records import Collection, Image, ImageFile
from intake_neurovault.store import Store

logger = logging.getLogger(__name__)


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
    room: int = 0
    """Bytes of maps on their grid that are kept; with 0, none is kept or used."""
    lock: Lock | None = None
    """What was frozen, if nothing is to be searched for; see `FrozenVault`."""

    @property
    def gridded(self) -> Gridded | None:
        """What keeps maps on their grid, if any are kept."""
        return Gridded(self.mirror, self.room) if self.room else None

    @classmethod
    def parse(
        cls,
        *,
        url: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        keep_gridded: bool | str | int | None = None,
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
        keep_gridded : bool, str or int, optional
            Whether maps on their grid are kept, and how many bytes of them.
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
        return cls(Mirror(listings), pool, parse_room(keep_gridded))

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
        return repr((where, self.pool.errors, self.lock and self.lock.digest))

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
        return outcome(Finder(self.mirror.listings, self.pool).find(query, predicate))

    def gather(
        self, query: Query, predicate: Callable[[Mapping[str, Any]], bool] | None = None
    ) -> tuple[Found, Fetched]:
        """Find the images that match, and fetch their files meanwhile.

        Parameters
        ----------
        query : Query
            What to look for.
        predicate : callable, optional
            One more condition, on the cleaned metadata of an image.

        Returns
        -------
        found : Found
            As `search` gives it.
        fetched : Fetched
            As `fetch` gives it for the images found.

        Raises
        ------
        NeuroVaultError
            Under the policy ``raise``, the first failure; what was fetched
            before it is kept.
        """
        report = self.pool.report()
        ends: list[Found] = []

        def items() -> Generator[Item]:
            finder = Finder(self.mirror.listings, self.pool)
            with closing(finder.find(query, predicate)) as images:
                ends.append((yield from _items(images, report)))

        with sharing(self.pool.workers), closing(items()) as wanted:
            paths = Downloads(self.mirror, self.pool).run(wanted, report)
        report.warn("fetched")
        (found,) = ends
        ids = (image.id for image in found.images)
        return found, Fetched(tuple(map(paths.get, ids)), tuple(report.failures))

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
        items = list(_items(iter(images), report))
        size = sum(file.file_size or 0 for file, _ in items)
        paths = Downloads(self.mirror, self.pool, supplier).run(items, report, size)
        report.warn("fetched")
        found = tuple(paths.get(image.id) for image in images)
        return Fetched(found, tuple(report.failures))

    @contextmanager
    def open(
        self, files: Sequence[ImageFile], /, *, doubted: bool = False
    ) -> Generator[Iterator[Path | None]]:
        """Give local files to a computation, downloading what is missing.

        Parameters
        ----------
        files : sequence of ImageFile
            The files of one chunk.
        doubted : bool
            Whether what is stored is read to its end first, since it did not prove
            to be what was verified; and downloaded again where it is damaged.

        Yields
        ------
        iterator of pathlib.Path or None
            One for each file, as they arrive: while one is decoded, the next are
            downloaded. None, with a line in the log, where it cannot be had and the
            policy is not ``raise``.

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
        # NOTE: each of dask's threads is here with a chunk of its own, of which most
        # often all is on disk: other threads would only take its place on the machine.
        with sharing(self.pool.workers, everywhere=True):
            here = [self._ready(file) for file in files]
            pairs = zip(files, here, strict=True)
            items = ((file, None) for file, path in pairs if path is None)
            with Downloads(self.mirror, pool).arriving(items, report) as arrived:
                yield (path or next(arrived)[1] for path in here)
        for failure in report.failures:
            logger.warning("Left empty: %s", failure.reason)
        report.warn("fetched, and left empty")

    def _ready(self, file: ImageFile) -> Path | None:
        # NOTE: what fails is tried once more, where the policy on errors holds.
        with suppress(NeuroVaultError):
            return self.mirror.ready(file)
        return None

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


def _items(images: Iterator[Image], report: Report) -> Generator[Item, None, Any]:
    """Give the files of images, and in the end what their iterator returns."""
    while True:
        try:
            image = next(images)
        except StopIteration as end:
            return end.value
        if image.file is not None:
            yield image.file, image
            continue
        msg = (
            f"{image.label} has no file on NeuroVault; leave it out of the query, or "
            "pass errors='warn' to go on without it."
        )
        failure = Failure(image.id, image.collection_id, "", msg, 0)
        report.failed(failure, MissingError(msg))
