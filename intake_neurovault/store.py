"""The local store: nilearn's tree of maps, with what makes it trustworthy beside it.

Files appear whole or not at all, in the order that keeps every state in between
harmless: the folder of a collection together with its record, the receipt of an
image, the image, its record last. What is read may have been left by any version of
nilearn, by a killed process or by a move to another disk.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from intake_neurovault import atomic, halt, layout, sidecars
from intake_neurovault.datadir import find_root
from intake_neurovault.errors import (
    ArgumentError,
    CorruptFileError,
    MissingError,
    StoreError,
)
from intake_neurovault.ledger import StoredListing, sweep_once
from intake_neurovault.lookup import Lookup
from intake_neurovault.receipts import Entry, Receipt, stamp_of
from intake_neurovault.records import Collection, Image, ImageFile
from intake_neurovault.shelf import Shelf, is_same, look
from intake_neurovault.sidecars import OnDisk
from intake_neurovault.surfaces import SurfaceFile

__all__ = ["OnDisk", "Receipt", "Store", "StoredListing"]

logger = logging.getLogger(__name__)

Records = tuple[dict[str, Any], dict[str, Any]]
"""The raw records of an image and of its collection, without paths."""


@dataclass(frozen=True)
class Store(Shelf):
    """A local tree of NeuroVault's maps, shared with nilearn.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store = Store.parse(folder)
    ...     store.root.name, store.image_record(3), len(store.collections_on_disk())
    ('neurovault', None, 0)
    """

    @classmethod
    def parse(cls, data_dir: str | os.PathLike[str] | None = None) -> Store:
        """Open the store that nilearn would use; nothing is created.

        Parameters
        ----------
        data_dir : path, optional
            nilearn's data folder; if absent, ``NILEARN_SHARED_DATA``,
            ``NILEARN_DATA`` or ``~/nilearn_data``.

        Returns
        -------
        Store
            The store in ``neurovault`` below it.

        Raises
        ------
        ArgumentError
            If `data_dir` is no path.
        """
        return cls(find_root(data_dir))

    def collections_on_disk(self) -> OnDisk:
        """Read the records of all collections that have a folder.

        Returns
        -------
        OnDisk
            Raw records without paths, by id. What cannot be read is in
            ``failures``; of a collection whose record is lost the id is there.
        """
        return sidecars.read_collections(self.root)

    def images_on_disk(self, collection_id: int) -> OnDisk:
        """Read the records of the images in the folder of a collection.

        Parameters
        ----------
        collection_id : int
            The collection; it need not be there.

        Returns
        -------
        OnDisk
            Raw records without paths, by id. What cannot be read is in
            ``failures``.
        """
        return sidecars.read_images(self.root, collection_id)

    def collection_record(self, collection_id: int) -> dict[str, Any] | None:
        """Read the record of one collection.

        Parameters
        ----------
        collection_id : int
            The collection.

        Returns
        -------
        dict or None
            Its raw record without paths; None if it is absent or damaged.
        """
        return _or_none(partial(sidecars.read_collection, self.root, collection_id))

    def image_record(self, image_id: int) -> Records | None:
        """Find the records of an image and of its collection.

        Parameters
        ----------
        image_id : int
            The image.

        Returns
        -------
        tuple of dict, or None
            Both raw records without paths; None if there is no readable record of
            the image. Of a collection whose record is lost only the id is there.
        """
        return self.image_records([image_id]).get(image_id)

    def image_records(
        self, image_ids: Iterable[int], lookup: Lookup | None = None
    ) -> dict[int, Records]:
        """Find the records of many images at once, which is quicker than singly.

        Parameters
        ----------
        image_ids : iterable of int
            The images.
        lookup : Lookup, optional
            Knows the folders they are in; without, all are looked through.

        Returns
        -------
        dict
            For each image that is there what `image_record` gives.
        """
        found: dict[int, Records] = {}
        collections: dict[int, dict[str, Any]] = {}
        wanted = set(image_ids)
        find = lookup.on_disk if lookup else partial(sidecars.find_images, self.root)
        for image_id, number in find(wanted):
            if image_id in found:
                continue
            image = _or_none(partial(sidecars.read_image, self.root, number, image_id))
            if image is None:
                continue
            if number not in collections:
                collections[number] = self.collection_record(number) or {"id": number}
            found[image_id] = image, collections[number]
        return found

    def add(
        self, image: Image, collection: Collection, write: Callable[[Path], Receipt]
    ) -> Path:
        """Add an image, or replace it.

        Any number of threads, processes and machines may add the same image at the
        same time.

        Parameters
        ----------
        image : Image
            Its record.
        collection : Collection
            The record of its collection.
        write : callable
            Writes a whole, verified ``.nii.gz`` to the path that it is given, where
            an empty file is; or raises. Its errors pass through, and nothing of the
            image is then left.

        Returns
        -------
        pathlib.Path
            The image.

        Raises
        ------
        MissingError
            If the image has no file.
        CorruptFileError
            If not all bytes reached the disk.
        StoreError
            If the store cannot be written, or is `read_only`.
        """
        if image.file is None:
            msg = f"Image {image.id} (collection {image.collection_id}) has no file."
            raise MissingError(msg)
        place = self.place(image.file)
        with atomic.store_errors(self.root):
            self._create_folder(image, collection)
            _refuse_folder(place)
            with atomic.temporary(place) as part:
                written = write(part)
                found = part.stat()
                entry = Entry.of_download(image.file, written, found)
                with halt.finishing():
                    # NOTE: before the image, so that no kill in between leaves bytes
                    # that an older receipt or record would describe.
                    self.remember(image.file, entry)
                    part.replace(place)
                    # NOTE: nilearn does not survive a record whose image is not there.
                    if not isinstance(image.file, SurfaceFile):
                        self._write_record(image)
                    self._insist(image.file, entry, found)
        return place

    def _write_record(self, image: Image) -> None:
        sidecar = self.root / layout.sidecar_path(image.collection_id, image.id)
        read = partial(sidecars.read_image, self.root, image.collection_id, image.id)
        record = sidecars.image_bytes(image.raw, image.collection_id, image.id)
        self._spare_damaged(sidecar, read)
        atomic.write_bytes(sidecar, record)

    def _insist(self, file: ImageFile, entry: Entry, written: os.stat_result) -> None:
        """Write the receipt again if that of another writer is beside our image."""
        # NOTE: of two writers, one may be the first to note and the last to rename.
        if is_same(written, look(self.place(file))):
            kept = self._entry(file)
            if kept is None or not kept.is_of(entry):
                self.remember(file, entry)

    def is_described(self, file: ImageFile) -> bool:
        """Tell whether the records of a file can be read.

        Parameters
        ----------
        file : ImageFile
            The file.

        Returns
        -------
        bool
            False if that of the image or that of its collection is absent or damaged.
        """
        try:
            sidecars.read_image(self.root, file.collection_id, file.image_id)
            sidecars.read_collection(self.root, file.collection_id)
        except (FileNotFoundError, CorruptFileError):
            return False
        return True

    def describe(self, image: Image, collection: Collection) -> None:
        """Write the records of an image and of its collection.

        Parameters
        ----------
        image : Image
            The record of an image whose file is in the store.
        collection : Collection
            The record of its collection.

        Raises
        ------
        StoreError
            If the store cannot be written, or is `read_only`.
        """
        with atomic.store_errors(self.root):
            self._create_folder(image, collection)
            self._write_record(image)

    def words(self, collection_id: int, image_id: int) -> dict[str, Any] | None:
        """Read the Neurosynth words of an image.

        Parameters
        ----------
        collection_id, image_id : int
            The image.

        Returns
        -------
        dict or None
            The answer as served; None if it is absent or damaged.
        """
        path = self.root / layout.words_path(collection_id, image_id)
        return _or_none(partial(sidecars.read_object, path))

    def save_words(
        self, image: Image, collection: Collection, answer: Mapping[str, Any]
    ) -> None:
        """Keep the Neurosynth words of an image.

        Parameters
        ----------
        image : Image
            Its record.
        collection : Collection
            The record of its collection.
        answer : mapping
            The answer as served, already found to be good.

        Raises
        ------
        StoreError
            If the store cannot be written, or is `read_only`.
        """
        path = self.root / layout.words_path(collection.id, image.id)
        with atomic.store_errors(self.root):
            self._create_folder(image, collection)
            atomic.write_bytes(path, json.dumps(answer).encode("utf-8"))

    def _create_folder(self, image: Image, collection: Collection) -> None:
        """Make sure that a collection has its folder and its record."""
        if self.read_only:
            msg = (
                f"The store {self.root} was opened for reading only; use another mode "
                "than mode='offline' to add to it."
            )
            raise StoreError(msg)
        if image.collection_id != collection.id:
            msg = (
                f"Image {image.id} is in collection {image.collection_id}, not in "
                f"{collection.id}; pass the record of its own collection."
            )
            raise ArgumentError(msg)
        path = self.root / layout.collection_metadata_path(collection.id)
        record = _record_of(collection)
        found = look(path)
        if found is None or not _holds(path, stamp_of(found), record):
            self._describe_collection(collection.id, path, record)
        sweep_once(self.root)
        sweep_once(path.parent)

    def _describe_collection(
        self, collection_id: int, path: Path, record: bytes
    ) -> None:
        """Write the record of a collection, and the folder where there is none."""
        if atomic.create_folder(path.parent, path.name, record):
            return
        read = partial(sidecars.read_collection, self.root, collection_id)
        self._spare_damaged(path, read)
        if not path.exists():
            logger.info("%s was missing and is made anew.", path)
        atomic.write_bytes(path, record)

    def _spare_damaged(self, path: Path, read: Callable[[], object]) -> None:
        """Move a record that cannot be read out of the way of the one to come."""
        found = look(path)
        if found is None:
            return
        try:
            read()
        except FileNotFoundError:
            return
        except CorruptFileError as error:
            # NOTE: by now it may be a good one, of another writer.
            if not is_same(found, look(path)):
                return
            if aside := self._quarantine(path):
                logger.warning("Made anew: %s What it held is in %s.", error, aside)


# NOTE: both are asked before each image of a collection, which may have thousands.
@lru_cache(maxsize=256)
def _record_of(collection: Collection) -> bytes:
    return sidecars.collection_bytes(collection.raw, collection.id)


@lru_cache(maxsize=256)
def _holds(path: Path, _stamp: tuple[int, int, int], record: bytes) -> bool:
    try:
        return path.read_bytes() == record
    except FileNotFoundError:
        return False


def _or_none(read: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    try:
        return read()
    except FileNotFoundError:
        return None
    except CorruptFileError as error:
        logger.warning("Passed over: %s", error)
        return None


def _refuse_folder(place: Path) -> None:
    if place.is_dir():
        msg = (
            f"A folder stands in the place of an image, {place}; move it away, or pass "
            "another data_dir=."
        )
        raise StoreError(msg)
