"""Files of one server through one store: each is downloaded once, and verified."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from intake_neurovault import frozen_files, halt
from intake_neurovault.client import Client
from intake_neurovault.errors import (
    ChangedError,
    CorruptFileError,
    MissingError,
    NeuroVaultError,
    OfflineError,
    StoreError,
)
from intake_neurovault.forks import PerProcess
from intake_neurovault.listings import Listings
from intake_neurovault.lookup import copy_path
from intake_neurovault.modes import KEEPING
from intake_neurovault.records import Image, ImageFile
from intake_neurovault.shelf import look
from intake_neurovault.sidecars import image_bytes
from intake_neurovault.store import Receipt, Store
from intake_neurovault.surfaces import SurfaceFile

logger = logging.getLogger(__name__)

Content = TypeVar("Content")

_GONE = (
    "The frozen file of {} cannot be had: it {} on the server, and is not in the "
    "store; .changes() lists all that changed."
)
_REPLACED = (
    "The frozen file of {} cannot be had: another one was uploaded in its place, and "
    "the store does not have it; .changes() lists all that changed."
)

# NOTE: a lock for a file only saves a second download of it; correctness rests on
# unique temporary files and renames.
_LOCKS = PerProcess(lambda: tuple(threading.Lock() for _ in range(1024)))


@dataclass(frozen=True)
class Mirror:
    """The files of one server, as far as the mode allows to ask."""

    listings: Listings
    """The records of the same server through the same store."""

    @property
    def client(self) -> Client:
        """How the server is asked."""
        return self.listings.client

    @property
    def store(self) -> Store:
        """Where the files are kept."""
        return self.listings.store

    @property
    def offline(self) -> bool:
        """Whether every request is forbidden."""
        return self.listings.offline

    def kept(self, file: ImageFile) -> Path | None:
        """Tell where a file is kept, if what is kept will do in this mode.

        Parameters
        ----------
        file : ImageFile
            The file.

        Returns
        -------
        pathlib.Path or None
            The verified local file, or None when it must be fetched. Of a frozen
            file only its bytes count, in any mode.
        """
        if file.sha256 is not None:
            return frozen_files.find(self.store, file)
        path = self.store.local_path(file)
        if path is None or self.listings.mode in KEEPING:
            return path
        if self.listings.mode == "update":
            return path if self.store.is_current(file) else None
        stored = self.store.added(file)
        return path if stored is not None and self.listings.is_young(stored) else None

    def has(self, file: ImageFile) -> bool:
        """Tell whether a file is on disk, without a look inside.

        Parameters
        ----------
        file : ImageFile
            The file.

        Returns
        -------
        bool
            Whether there is one; of a frozen file, whether there are its bytes.
        """
        if file.sha256 is not None:
            return self.kept(file) is not None
        return self.store.place(file).is_file()

    def ready(self, file: ImageFile) -> Path | None:
        """Give the verified local file, if the server need not be asked for it.

        Parameters
        ----------
        file : ImageFile
            The file.

        Returns
        -------
        pathlib.Path or None
            As of `local`; None when it must be fetched.
        """
        path = self.kept(file)
        if path is not None:
            self.complete(file)
            if file.sha256 is not None:
                frozen_files.keep(self.store, file, path)
        return path

    def local(
        self,
        file: ImageFile,
        progress: Callable[[int], None] | None = None,
        image: Image | None = None,
    ) -> Path:
        """Give the verified local file, downloading it if need be.

        Parameters
        ----------
        file : ImageFile
            The file.
        progress : callable, optional
            Called with the number of bytes of every piece received.
        image : Image, optional
            The record that names it, if that is at hand.

        Returns
        -------
        pathlib.Path
            A whole, verified ``.nii.gz``, or GIFTI file for a surface.

        Raises
        ------
        OfflineError, MissingError, PrivateError, ServerError
            If it is not on disk and cannot be fetched.
        ChangedError
            If it is frozen, and the server has its bytes no more.
        CorruptFileError
            If what the server sends is damaged or not NIfTI.
        StoreError
            If it cannot be written.
        """
        path = self.ready(file)
        if path is not None:
            return path
        if self.offline:
            raise OfflineError(self._lacking(file))
        locks = _LOCKS.get()
        which = hash((self.client.url, self.store.root, file)) % len(locks)
        with halt.holding(locks[which]):
            path = self.kept(file)
            download = self._download if file.sha256 is None else self._restore
            return path or download(file, progress, image)

    def read(
        self, file: ImageFile | None, path: Path, read: Callable[[Path], Content]
    ) -> Content:
        """Read a local file; one that turns out to be damaged is had again, once.

        Parameters
        ----------
        file : ImageFile or None
            What it should be; None if it can be had from nowhere.
        path : pathlib.Path
            Where it is, as `local` gave it.
        read : callable
            Gives what is wanted of the file at a path.

        Returns
        -------
        object
            What `read` gives.

        Raises
        ------
        CorruptFileError
            As `read`, if the file is damaged still.
        OfflineError, MissingError, PrivateError, ServerError, StoreError
            If it is damaged and cannot be had again.
        """
        try:
            return read(path)
        except CorruptFileError:
            if file is None:
                raise
            self.store.doubt(file)
            again = self.local(file)
        return read(again)

    def _lacking(self, file: ImageFile) -> str:
        """Say why there is no file offline, and what to do."""
        surface = isinstance(file, SurfaceFile)
        what = f"The {file.label}" if surface else f"The file of {file.label}"
        if file.sha256 is not None and look(self.store.place(file)) is not None:
            return (
                f"{what} in the store {self.store.root} is another one than that which "
                "was frozen; run once without mode='offline' to fetch that beside it."
            )
        if self.store.is_unusable(file):
            return (
                f"{what} in the store {self.store.root} is damaged or cannot be read; "
                "run once without mode='offline' to fetch it again, or run "
                "`neurovault cache repair`."
            )
        return (
            f"{what} is not in the store {self.store.root}; run once without "
            "mode='offline' to fetch it."
        )

    def complete(self, file: ImageFile) -> None:
        """Write the records of a kept file anew, where a crash left none or half.

        Parameters
        ----------
        file : ImageFile
            The file.
        """
        # NOTE: the record of a frozen file is in its lock, that of a surface belongs
        # to the image.
        bare = file.sha256 is not None or isinstance(file, SurfaceFile)
        if bare or self.offline or self.store.is_described(file):
            return
        try:
            self.store.describe(*self.listings.record(file))
        except NeuroVaultError as error:
            logger.warning("Image %d stays without a record: %s", file.image_id, error)

    def _download(
        self,
        file: ImageFile,
        progress: Callable[[int], None] | None,
        image: Image | None,
    ) -> Path:
        image, collection = self.listings.record(file, image)
        if self._is_unmodified(file):
            self.store.confirm(file)
            if not isinstance(file, SurfaceFile):
                self.store.describe(image, collection)
            return self.store.place(file)
        path = self.store.add(
            image,
            collection,
            lambda target: self.client.download(file, target, progress),
        )
        if isinstance(file, SurfaceFile):
            self._keep_record(image)
        return path

    def _keep_record(self, image: Image) -> None:
        """Keep the record of a surface, so that it is known offline by its number."""
        ids = image.collection_id, image.id
        try:
            self.store.save_bytes(copy_path(*ids), image_bytes(image.raw, *ids))
        except StoreError as error:
            logger.warning("Image %d is not known offline by its id: %s", ids[1], error)

    def _restore(
        self,
        file: ImageFile,
        progress: Callable[[int], None] | None,
        image: Image | None,
    ) -> Path:
        """Download the bytes of a frozen file, wherever the server has them now."""
        try:
            return self._bring(file, file, progress, image)
        except (MissingError, CorruptFileError, ChangedError) as error:
            try:
                now = self.listings.image(file.image_id, file.token).file
            except MissingError as gone:
                raise ChangedError(_GONE.format(file.label, "was deleted")) from gone
            same_place = now is not None and now.path == file.path
            if now is None or (same_place and isinstance(error, MissingError)):
                msg = _GONE.format(file.label, "has no file any more")
                raise ChangedError(msg) from error
            if same_place and now.file_size == file.file_size:
                raise
            if now.file_size not in (None, file.file_size):
                raise ChangedError(_REPLACED.format(file.label)) from error
        return self._bring(file, now, progress, None)

    def _bring(
        self,
        file: ImageFile,
        source: ImageFile,
        progress: Callable[[int], None] | None,
        image: Image | None,
    ) -> Path:
        """Download a frozen file from where its bytes may be."""

        def write(target: Path) -> Receipt:
            receipt = self.client.download(source, target, progress)
            if not frozen_files.has_bytes(target, file, receipt.sha256):
                raise ChangedError(_REPLACED.format(file.label))
            return receipt

        # NOTE: nilearn's tree is for what the server has now.
        if source is not file or look(self.store.place(file)) is not None:
            return frozen_files.add(self.store, file, write)
        plain = replace(file, sha256=None)
        known = None if image is None else replace(image, file=plain)
        path = self.store.add(*self.listings.record(plain, known), write)
        frozen_files.keep(self.store, file, path)
        return path

    def _is_unmodified(self, file: ImageFile) -> bool:
        # NOTE: the server dates a file anew whenever somebody edits its record.
        if self.listings.mode != "update":
            return False
        since = self.store.last_modified(file)
        return since is not None and self.client.is_unmodified(file, since)
