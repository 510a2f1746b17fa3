"""NeuroVault as a filesystem of fsspec, straight from the server."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.utils import isfilelike

from intake_neurovault import atomic
from intake_neurovault.client import Client, Listing
from intake_neurovault.entries import (
    FOLDERS,
    Content,
    Folder,
    check_home,
    file_of,
    record_bytes,
)
from intake_neurovault.errors import AnswerError, Failure
from intake_neurovault.layout import Location
from intake_neurovault.parameters import reject_unknown
from intake_neurovault.pool import Pool, parse_workers
from intake_neurovault.records import Collection, CollectionRef, Image, Token
from intake_neurovault.tree import Tree

__all__ = ["OF_LISTINGS", "OF_SERVER", "NeuroVaultFileSystem", "copy_whole"]

OF_SERVER = ("url", "timeout", "retries", "trusted_hosts", "workers", "private")
"""The options that say which server, and how hard to try."""

OF_LISTINGS = ("use_listings_cache", "listings_expiry_time", "max_paths")
"""The options that fsspec has for what is remembered."""


class NeuroVaultFileSystem(Tree):
    """NeuroVault's collections as folders, read straight from the server.

    Parameters
    ----------
    url : str, optional
        Base URL of the server; ``INTAKE_NEUROVAULT_URL``, then
        ``https://neurovault.org``, if absent.
    timeout : float
        Seconds to wait for a connection, and for each piece of an answer.
    retries : int
        How often a failed request is tried again.
    trusted_hosts : iterable of str
        Hosts besides the server's own from which files are accepted.
    workers : int
        How many files of a list are had at a time, 1 to 16.
    private : str, Token or iterable of these
        Private collections to show as well: ``env:NAME`` for each, with the
        environment variable that holds its token.
    **listing_options
        ``use_listings_cache``, ``listings_expiry_time`` and ``max_paths``, as fsspec
        has them.

    Notes
    -----
    A file is fetched whole and verified whenever it is opened, and nothing is kept;
    ``neurovaultcache::neurovault://…`` keeps what it fetches.

    Examples
    --------
    >>> import fsspec
    >>> from intake_neurovault.testing import NeuroVaultServer
    >>> with NeuroVaultServer() as server:
    ...     fs = fsspec.filesystem("neurovault", url=server.url)
    ...     fs.glob("collection_658/image_104[12]6.nii.gz")
    ['collection_658/image_10416.nii.gz', 'collection_658/image_10426.nii.gz']
    """

    protocol = "neurovault"

    def __init__(
        self,
        url: str | None = None,
        timeout: float = 30,
        retries: int = 4,
        trusted_hosts: str | Iterable[str] = (),
        workers: int = 8,
        private: object = (),
        **listing_options: Any,
    ) -> None:
        reject_unknown(
            listing_options,
            OF_SERVER + OF_LISTINGS,
            where="the filesystem 'neurovault'",
        )
        super().__init__(private, **listing_options)
        self.client = Client.parse(
            url=url, timeout=timeout, retries=retries, trusted_hosts=trusted_hosts
        )
        self.pool = Pool(parse_workers(workers))

    @property
    def fsid(self) -> str:
        """Name of the filesystem: equal for equal servers."""
        return f"neurovault:{self.client.url}"

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """Read one file, or a slice of it."""
        return self._read(self._locate(path))[start:end]

    def get_file(
        self,
        rpath: str,
        lpath: Any,
        callback: Callback = DEFAULT_CALLBACK,
        outfile: IO[bytes] | None = None,
        **_: Any,
    ) -> None:
        """Copy one file to a local one, which appears whole or not at all."""
        if self._kind(rpath) in FOLDERS:
            Path(lpath).mkdir(parents=True, exist_ok=True)
            return
        location = self._locate(rpath)
        sink = outfile or (lpath if isfilelike(lpath) else Path(lpath))
        if not isinstance(sink, Path) or location.kind != "image":
            with self._opened(location) as source:
                callback.set_size(source.seek(0, os.SEEK_END))
                callback.relative_update(copy_whole(source, sink))
            return
        file = file_of(self._image(location))
        callback.set_size(file.file_size)
        sink.parent.mkdir(parents=True, exist_ok=True)
        with atomic.temporary(sink) as part:
            self.client.download(file, part, callback.relative_update)
            part.replace(sink)

    def _opened(self, location: Location) -> IO[bytes]:
        return Content(self._read(location))

    def _read(self, location: Location) -> bytes:
        record = self._record(location)
        if not isinstance(record, Image) or location.kind != "image":
            return record_bytes(record)
        with tempfile.TemporaryDirectory(prefix="neurovault-") as folder:
            part = Path(folder, "image.nii.gz")
            self.client.download(file_of(record), part)
            return part.read_bytes()

    def _list(self, collection_id: int | None) -> Folder:
        if collection_id is None:
            listing = self.client.collections()
            folder = self._folder(listing, Collection.from_json)
            return replace(folder, records=self._with_private({**folder.records}))
        about = self._collection(collection_id)
        read = partial(Image.from_json, base_url=self.client.url, token=about.token)
        listing = self.client.images(about.token or collection_id)
        return replace(self._folder(listing, read), about=about)

    def _folder(
        self, listing: Listing, read: Callable[[object], Collection | Image]
    ) -> Folder:
        known, failures = {}, list(listing.failures)
        for raw in listing.records:
            try:
                known[raw["id"]] = read(raw)
            except AnswerError as error:
                reason = f"Record {raw['id']}: {error}"
                failures.append(Failure(raw["id"], None, self.client.url, reason, 1))
        return Folder(known, failures=failures)

    def _ask(self, ref: CollectionRef) -> Collection:
        token = ref if isinstance(ref, Token) else None
        return Collection.from_json(self.client.collection(ref), token=token)

    def _image(self, location: Location) -> Image:
        known = self._known_image(location)
        if known is not None:
            return known[0]
        token = self._token(location.collection_id or 0)
        raw = self.client.image(location.image_id or 0, token)
        image = Image.from_json(raw, base_url=self.client.url, token=token)
        check_home(image, location)
        return image


def copy_whole(source: IO[bytes], sink: Any) -> int:
    """Copy a file to another, which appears whole or not at all.

    Parameters
    ----------
    source : binary file
        What to copy, from its beginning.
    sink : pathlib.Path or binary file
        Where to; the folders above a path are created.

    Returns
    -------
    int
        How many bytes.

    Examples
    --------
    >>> import io
    >>> copy_whole(Content(b"..."), io.BytesIO())
    3
    """
    size = source.seek(0, os.SEEK_END)
    source.seek(0)
    if not isinstance(sink, Path):
        shutil.copyfileobj(source, sink)
        return size
    sink.parent.mkdir(parents=True, exist_ok=True)
    with atomic.temporary(sink) as part:
        with part.open("wb") as target:
            shutil.copyfileobj(source, target)
        part.replace(sink)
    return size
