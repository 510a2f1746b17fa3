"""NeuroVault as two filesystems of fsspec: straight from the server, and kept.

Both have the folders and names of nilearn's data directory::

    collection_<id>/collection_metadata.json
    collection_<id>/image_<id>.nii.gz
    collection_<id>/image_<id>_metadata.json
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, ClassVar, cast

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.implementations.chained import ChainedFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import isfilelike

from intake_neurovault.copies import local_copy
from intake_neurovault.direct import OF_LISTINGS, NeuroVaultFileSystem, copy_whole
from intake_neurovault.entries import (
    FOLDERS,
    Content,
    Entry,
    Folder,
    check_home,
    file_of,
    folder_at,
)
from intake_neurovault.errors import ArgumentError
from intake_neurovault.instances import parse_private
from intake_neurovault.layout import Location
from intake_neurovault.listings import Listings
from intake_neurovault.mirror import Mirror
from intake_neurovault.modes import KEEPING
from intake_neurovault.parameters import reject_unknown
from intake_neurovault.pool import Pool, parse_workers
from intake_neurovault.records import Collection, CollectionRef, Image, Token
from intake_neurovault.store import Store
from intake_neurovault.tree import Tree

__all__ = ["NeuroVaultCacheFileSystem", "NeuroVaultFileSystem"]

_OF_STORE = (
    "target_protocol",
    "target_options",
    "data_dir",
    "mode",
    "metadata_ttl",
    "workers",
    "private",
)


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
    private : str, Token or iterable of these
        Private collections to show as well: ``env:NAME`` for each, with the
        environment variable that holds its token.
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
        private: object = (),
        **listing_options: Any,
    ) -> None:
        del fo
        known = (*_OF_STORE, *OF_LISTINGS)
        where = "the filesystem 'neurovaultcache'"
        reject_unknown(listing_options, known, where=where)
        if target_protocol not in (None, "neurovault"):
            msg = (
                f"neurovaultcache lies over neurovault, not over {target_protocol!r}; "
                "write the URL as 'neurovaultcache::neurovault://collection_1/…'."
            )
            raise ArgumentError(msg)
        self.fs = NeuroVaultFileSystem(**(target_options or {}))
        own = parse_private(private)
        super().__init__((*self.fs.private, *own), **listing_options)
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
        with self._opened(self._locate(path)) as source:
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
        with self._opened(self._locate(rpath)) as source:
            callback.set_size(source.seek(0, os.SEEK_END))
            callback.relative_update(copy_whole(source, sink))

    def open_many(self, open_files: Any, **__: Any) -> list[Any]:
        """Open a list of files; what is missing is fetched several at a time."""
        if "r" in open_files.mode:
            places = [self._locate(each.path) for each in open_files]
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
            mirror, file = Mirror(listings), file_of(self._image(location))
            if self.private and mirror.kept(file) is None:
                # NOTE: a record on disk does not know the token.
                file = replace(file, token=self._token(file.collection_id))
            return mirror.local(file)
        return local_copy(listings, location, lambda: self._record(location))

    def _asking(self, collection_id: int | None) -> Listings:
        folder = folder_at(collection_id)
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
        known: dict[int, Any] = {each.id: each for each in listed.items}
        known = known if about else self._with_private(known)
        return Folder(known, about, listed.failures, until)

    def _stamp(self, collection_id: int | None) -> object:
        store = self._listings.store
        listed = store.stamp(self.client.url, collection_id)
        if not self._listings.offline:
            return listed
        folder = folder_at(collection_id)
        with suppress(OSError):
            return listed, (store.root / folder).stat().st_mtime_ns
        return listed, None

    def _ask(self, ref: CollectionRef) -> Collection:
        number = None if isinstance(ref, Token) else ref
        return self._asking(number).collection(ref)

    def _token(self, collection_id: int) -> Token | None:
        # NOTE: what is on disk is had without a token.
        return None if self._listings.offline else super()._token(collection_id)

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
        if image is None:
            token = self._token(location.collection_id or 0)
            image = listings.image(number, token)
        check_home(image, location)
        return image

    def _as_kept(self, entry: Entry) -> Entry:
        if self._listings.mode in KEEPING and entry["type"] == "file":
            with suppress(OSError):
                place = self._listings.store.root / entry["name"]
                entry["size"] = place.stat().st_size
        return entry
