"""NeuroVault as two filesystems of fsspec: straight from the server, and kept.

Both have the folders and names of nilearn's data directory::

    collection_<id>/collection_metadata.json
    collection_<id>/image_<id>.nii.gz
    collection_<id>/image_<id>_metadata.json
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar, cast

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.implementations.chained import ChainedFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import isfilelike

from intake_neurovault import atomic, layout
from intake_neurovault.client import Client, Listing
from intake_neurovault.copies import local_copy
from intake_neurovault.entries import (
    FOLDERS,
    Entry,
    check_home,
    file_at,
    file_of,
    record_bytes,
)
from intake_neurovault.errors import AnswerError, ArgumentError, Failure
from intake_neurovault.layout import Location
from intake_neurovault.listings import Listings
from intake_neurovault.mirror import Mirror
from intake_neurovault.modes import KEEPING
from intake_neurovault.parameters import reject_unknown
from intake_neurovault.pool import Pool, parse_workers
from intake_neurovault.records import Collection, Image
from intake_neurovault.store import Store
from intake_neurovault.tree import Content, Folder, Tree

__all__ = ["NeuroVaultCacheFileSystem", "NeuroVaultFileSystem"]

_OF_SERVER = ("url", "timeout", "retries", "trusted_hosts", "workers")
_OF_LISTINGS = ("use_listings_cache", "listings_expiry_time", "max_paths")
_OF_STORE = ("target_protocol", "target_options", "data_dir", "mode")


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
        **listing_options: Any,
    ) -> None:
        reject_unknown(
            listing_options,
            _OF_SERVER + _OF_LISTINGS,
            where="the filesystem 'neurovault'",
        )
        super().__init__(**listing_options)
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
        return self._read(file_at(self._strip_protocol(path)))[start:end]

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
        location = file_at(self._strip_protocol(rpath))
        sink = outfile or (lpath if isfilelike(lpath) else Path(lpath))
        if not isinstance(sink, Path) or location.kind != "image":
            with self._opened(location) as source:
                callback.set_size(source.seek(0, os.SEEK_END))
                callback.relative_update(_copy(source, sink))
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
            return self._folder(listing, Collection.from_json)
        about = self._collection(collection_id)
        read = partial(Image.from_json, base_url=self.client.url)
        folder = self._folder(self.client.images(collection_id), read)
        return replace(folder, about=about)

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

    def _find_collection(self, collection_id: int) -> Collection:
        return Collection.from_json(self.client.collection(collection_id))

    def _image(self, location: Location) -> Image:
        known = self._known_image(location)
        if known is not None:
            return known[0]
        raw = self.client.image(location.image_id or 0)
        image = Image.from_json(raw, base_url=self.client.url)
        check_home(image, location)
        return image


class NeuroVaultCacheFileSystem(Tree, ChainedFileSystem):
    """NeuroVault's collections as folders, each file downloaded once and kept.

    What is opened is a local file in nilearn's data directory, verified; nilearn
    finds it there, and what nilearn fetched is found here.

    Parameters
    ----------
    target_protocol : str, optional
        What it lies over, as a chained URL gives it: ``neurovault``, nothing else.
    target_options : mapping, optional
        The server and how hard to try, as `NeuroVaultFileSystem` takes them.
    fo : str, optional
        The path in a chained URL; every call names its own.
    data_dir : path, optional
        nilearn's data folder; files are kept in ``neurovault`` below it.
    mode : {"download_new", "overwrite", "offline", "update"}
        What may be asked of the server, and when.
    metadata_ttl : float or str
        How old a listing may be: seconds, or text such as ``"1d"``.
    workers : int
        How many files of a list are had at a time, 1 to 16.
    **listing_options
        ``use_listings_cache``, ``listings_expiry_time`` and ``max_paths``, as fsspec
        has them, for what is remembered between calls; the store keeps its own.

    Notes
    -----
    The record of an image that is not on disk is never put into nilearn's tree by
    itself, since nilearn stumbles over a record without its image; its local file
    is in a folder of ours beside the tree.

    Examples
    --------
    >>> import fsspec
    >>> from intake_neurovault.testing import NeuroVaultServer
    >>> with NeuroVaultServer() as server:
    ...     path = fsspec.open_local(
    ...         "neurovaultcache::neurovault://collection_658/image_10426.nii.gz",
    ...         neurovault={"url": server.url},
    ...         neurovaultcache={"data_dir": "maps"},
    ...     )
    >>> Path(path).relative_to(Path.cwd()).as_posix()
    'maps/neurovault/collection_658/image_10426.nii.gz'
    """

    protocol: ClassVar[str] = "neurovaultcache"
    local_file = True
    # NOTE: fsspec passes the path of each URL too; instances do not depend on it.
    _strip_tokenize_options = ("fo",)

    def __init__(
        self,
        target_protocol: str | None = None,
        target_options: Mapping[str, Any] | None = None,
        fo: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        mode: str = "download_new",
        metadata_ttl: float | str | None = "1d",
        workers: int = 8,
        **listing_options: Any,
    ) -> None:
        del fo
        known = (*_OF_STORE, "metadata_ttl", "workers", *_OF_LISTINGS)
        where = "the filesystem 'neurovaultcache'"
        reject_unknown(listing_options, known, where=where)
        if target_protocol not in (None, "neurovault"):
            msg = (
                f"neurovaultcache lies over neurovault, not over {target_protocol!r}; "
                "write the URL as 'neurovaultcache::neurovault://collection_1/…'."
            )
            raise ArgumentError(msg)
        super().__init__(**listing_options)
        self.fs = NeuroVaultFileSystem(**(target_options or {}))
        self.client = self.fs.client
        self.pool = Pool(parse_workers(workers))
        self._listings = Listings.parse(
            self.client, Store.parse(data_dir), mode=mode, metadata_ttl=metadata_ttl
        )
        self._renewed: dict[str, float] = {}

    @property
    def fsid(self) -> str:
        """Name of the filesystem: equal for equal servers and stores."""
        return f"neurovaultcache:{self.client.url}:{self._listings.store.root}"

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget what was listed, so that the server is asked again; keep all files."""
        super().invalidate_cache(path)
        folder = self._strip_protocol(path or "").partition("/")[0]
        self._renewed[folder] = time.time()

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """Read one file, or a slice of it."""
        with self._opened(file_at(self._strip_protocol(path))) as source:
            return source.read()[start:end]

    def get_file(
        self,
        rpath: str,
        lpath: Any,
        callback: Callback = DEFAULT_CALLBACK,
        outfile: IO[bytes] | None = None,
        **_: Any,
    ) -> None:
        """Copy one file to another local one, which appears whole or not at all."""
        if self._kind(rpath) in FOLDERS:
            Path(lpath).mkdir(parents=True, exist_ok=True)
            return
        sink = outfile or (lpath if isfilelike(lpath) else Path(lpath))
        with self._opened(file_at(self._strip_protocol(rpath))) as source:
            callback.set_size(source.seek(0, os.SEEK_END))
            callback.relative_update(_copy(source, sink))

    def open_many(self, open_files: Any, **__: Any) -> list[Any]:
        """Open a list of files; what is missing is fetched several at a time."""
        if "r" in open_files.mode:
            places = [file_at(self._strip_protocol(each.path)) for each in open_files]
            with self.pool.map(self._local, places) as outcomes:
                for _, outcome in outcomes:
                    if isinstance(outcome, Exception):
                        raise outcome
        return [each.__enter__() for each in open_files]

    def _opened(self, location: Location) -> IO[bytes]:
        found = self._local(location)
        if isinstance(found, Path):
            return cast("IO[bytes]", LocalFileSystem().open(found, "rb"))
        return Content(found)

    def _local(self, location: Location) -> Path | bytes:
        listings = self._asking(location.collection_id)
        if location.kind == "image":
            return Mirror(listings).local(file_of(self._image(location)))
        return local_copy(listings, location, lambda: self._record(location))

    def _asking(self, collection_id: int | None) -> Listings:
        folder = "" if collection_id is None else layout.collection_dir(collection_id)
        moment = max(self._renewed.get("", 0.0), self._renewed.get(folder, 0.0))
        ttl = min(self._listings.ttl, time.time() - moment)
        return replace(self._listings, ttl=ttl, since=max(self._listings.since, moment))

    def _list(self, collection_id: int | None) -> Folder:
        listings = self._asking(collection_id)
        about = None if collection_id is None else self._collection(collection_id)
        listed = listings.images(about) if about else listings.collections()
        until = math.inf
        if listings.mode == "download_new":
            until = (listed.fetched or 0.0) + self._listings.ttl
        known = {each.id: each for each in listed.items}
        return Folder(known, about, listed.failures, until)

    def _stamp(self, collection_id: int | None) -> object:
        store = self._listings.store
        listed = store.stamp(self.client.url, collection_id)
        if not self._listings.offline:
            return listed
        folder = "" if collection_id is None else layout.collection_dir(collection_id)
        with suppress(OSError):
            return listed, (store.root / folder).stat().st_mtime_ns
        return listed, None

    def _find_collection(self, collection_id: int) -> Collection:
        return self._asking(collection_id).collection(collection_id)

    def _image(self, location: Location) -> Image:
        known = self._known_image(location)
        if known is not None:
            return known[0]
        listings, number = self._asking(location.collection_id), location.image_id or 0
        kept = listings.kept_images([number]).get(number)
        image: Image | None = kept[0] if kept else None
        if image is None and listings.offline:
            # NOTE: of an image that was never fetched, a kept listing may still tell.
            image = self._listed(location.collection_id).records.get(number)
        image = image or listings.image(number)
        check_home(image, location)
        return image

    def _as_kept(self, entry: Entry) -> Entry:
        if self._listings.mode in KEEPING and entry["type"] == "file":
            with suppress(OSError):
                place = self._listings.store.root / entry["name"]
                entry["size"] = place.stat().st_size
        return entry


def _copy(source: IO[bytes], sink: Any) -> int:
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
