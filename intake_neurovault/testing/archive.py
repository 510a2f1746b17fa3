"""What the server holds: collections, images and files, and how they are edited.

Records are kept as the API answers them, except that links are paths with the
numeric collection id (``/media/images/1/map.nii.gz``, not percent-quoted); the
routes turn them into what a client sees.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Self
from urllib.parse import urlsplit

from intake_neurovault.testing.disk import (
    Content,
    StoredFile,
    flipped_path,
    free_path,
)
from intake_neurovault.testing.schema import (
    COLLECTION_DEFAULTS,
    COLLECTION_KEYS,
    IMAGE_DEFAULTS,
    IMAGE_KEYS,
    STATISTIC_MAP,
    arranged,
    rooted,
)

Record = dict[str, Any]

EPOCH = datetime(2024, 1, 15, 9, 30, tzinfo=timezone(timedelta(hours=1)))
"""Where an archive's clock starts; every change moves it on by one minute."""


class Archive:
    """Collections, images and their files: what a NeuroVault server knows.

    Safe to change while a server is answering from it. Each change moves the
    archive's own clock and the ``modify_date`` of what was changed. Editing,
    replacing and removing also move the collection to the end of the (unordered)
    list of collections, as an update moves a row in NeuroVault's database.

    Examples
    --------
    >>> archive = Archive()
    >>> archive.add_collection("Finger tapping", id=7)
    7
    >>> archive.add_image(7, b"not really NIfTI", filename="tapping.nii.gz", id=70)
    70
    >>> archive.images[70]["file"]
    '/media/images/7/tapping.nii.gz'
    >>> archive.replace_file(70, b"other bytes")
    >>> archive.images[70]["file"]
    '/media/images/7/tapping_1.nii.gz'
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.collections: dict[int, Record] = {}
        self.images: dict[int, Record] = {}
        self.packs: dict[int, Record] = {}
        self.files: dict[str, StoredFile] = {}
        self.tokens: dict[int, str] = {}
        self.order: list[int] = []
        self._now = EPOCH

    @classmethod
    def from_records(
        cls,
        *,
        collections: Iterable[Mapping[str, Any]],
        images: Iterable[Mapping[str, Any]] = (),
        packs: Iterable[Mapping[str, Any]] = (),
        contents: Mapping[int, bytes] | None = None,
    ) -> Self:
        """Rebuild an archive from answers of the API.

        Parameters
        ----------
        collections, images, packs : iterable of mapping
            Records as the API answers them; the collections keep their order.
        contents : mapping of int to bytes, optional
            The files by image id. The others are zeros of the recorded size, or
            lost where that is 0.

        Returns
        -------
        Archive
        """
        archive = cls()
        contents = contents or {}
        for record in collections:
            archive._restore_collection(record)
        for record in images:
            size = record["file_size"]
            content = contents.get(record["id"], bytes(size) if size else None)
            archive._restore_image(record, content)
        for record in packs:
            statmaps = [image["id"] for image in record["statmaps"]]
            links = archive._rooted(record, record["collection"])
            archive.packs[record["id"]] = {**links, "statmaps": statmaps}
        return archive

    def add_collection(
        self,
        name: str,
        *,
        id: int | None = None,
        token: str | None = None,
        **fields: Any,
    ) -> int:
        """Add a collection.

        Parameters
        ----------
        name : str
            Its name.
        id : int, optional
            Its id; the next free one when left out.
        token : str, optional
            Eight capitals: makes the collection private.
        **fields
            Further keys of the record, for instance ``DOI``.

        Returns
        -------
        int
        """
        with self.lock:
            new = id if id is not None else max(self.collections, default=0) + 1
            dates = dict.fromkeys(("add_date", "modify_date"), self._tick())
            given = {**COLLECTION_DEFAULTS, **dates, **fields, "name": name, "id": new}
            record = {**dict.fromkeys(COLLECTION_KEYS), **given}
            if token is not None:
                self.tokens[new] = token
                record["private"] = True
            self.collections[new] = record
            place = zlib.crc32(str(new).encode()) % (len(self.order) + 1)
            self.order.insert(place, new)
            return new

    def add_image(
        self,
        collection_id: int,
        content: Content | None,
        *,
        id: int | None = None,
        filename: str | None = None,
        image_type: str = STATISTIC_MAP,
        **fields: Any,
    ) -> int:
        """Add an image with its file.

        Parameters
        ----------
        collection_id : int
            The collection it goes to.
        content : bytes or callable or None
            The file: its bytes, a function that makes them when first asked, or
            None for a file that the server has lost.
        id : int, optional
            Its id; the next free one when left out.
        filename : str, optional
            Name of the file, unquoted; may have folders.
        image_type : str
            ``statistic_map``, ``atlas`` or ``NIDM results statistic map``.
        **fields
            Further keys of the record; those that NeuroVault's schema does not
            have become custom fields.

        Returns
        -------
        int
        """
        with self.lock:
            new = id if id is not None else max(self.images, default=0) + 1
            now = self._tick()
            keys = IMAGE_KEYS[image_type]
            defaults = {k: v for k, v in IMAGE_DEFAULTS.items() if k in keys}
            wanted = (
                f"/media/images/{collection_id}/{filename or f'image_{new}.nii.gz'}"
            )
            path = free_path(wanted, self.files)
            given = {
                "name": f"image {new}",
                "add_date": now,
                "modify_date": now,
                "file": path,
                **fields,
                "id": new,
                "collection_id": collection_id,
                "image_type": image_type,
            }
            self.images[new] = arranged({**dict.fromkeys(keys), **defaults, **given})
            self.files[path] = StoredFile(content, self._now)
            self.collections[collection_id]["number_of_images"] += 1
            self.collections[collection_id]["modify_date"] = now
            return new

    def add_pack(self, collection_id: int, name: str, image_ids: Iterable[int]) -> int:
        """Add a NIDM-Results pack that holds images of its collection.

        Parameters
        ----------
        collection_id : int
            The collection; its ``number_of_images`` counts the pack too.
        name : str
            Name of the pack, for instance ``group.nidm``.
        image_ids : iterable of int
            The maps inside it.

        Returns
        -------
        int
            The pack's id, which is no image's.
        """
        with self.lock:
            new = max((*self.images, *self.packs), default=0) + 1
            now = self._tick()
            path = f"/collections/{collection_id}/{name}"
            self.packs[new] = {
                "id": new,
                "zip_file": f"{path}.zip",
                "ttl_file": f"{path}.ttl",
                "statmaps": list(image_ids),
                "url": path,
                "name": name,
                "description": "",
                "add_date": now,
                "modify_date": now,
                "polymorphic_ctype": 12,
                "collection": collection_id,
            }
            self.collections[collection_id]["number_of_images"] += 1
            return new

    def add_file(
        self, path: str, content: Content, *, modified: datetime | None = None
    ) -> None:
        """Put a further file on the server, for instance a thumbnail.

        Parameters
        ----------
        path : str
            Unquoted path of its URL, below ``/media/images/<collection id>/``.
        content : bytes or callable
            The bytes, or a function that makes them when first asked.
        modified : datetime, optional
            When it was written; now, by the archive's clock, when left out.
        """
        with self.lock:
            self.files[path] = StoredFile(content, modified or self._now)

    def edit_image(self, id: int, **fields: Any) -> None:
        """Change keys of an image's record, its ``modify_date`` with them.

        Parameters
        ----------
        id : int
            The image.
        **fields
            New values. An absolute ``file`` URL leads clients to another host,
            where the file is said to have the size that it has here.
        """
        with self.lock:
            record = self.images[id]
            record["file_size"] = len(self.file_bytes(id))
            edited = {**record, "modify_date": self._tick(), **fields}
            self.images[id] = arranged(edited)
            self._touch(record["collection_id"])

    def edit_collection(self, id: int, **fields: Any) -> None:
        """Change keys of a collection's record, its ``modify_date`` with them.

        Parameters
        ----------
        id : int
            The collection.
        **fields
            New values.
        """
        with self.lock:
            self.collections[id].update(fields)
            self._tick()
            self._touch(id)

    def replace_file(self, id: int, content: Content | None) -> None:
        """Upload another file for an image: its URL changes, as on the real server.

        ``map.nii.gz`` becomes ``map_1.nii.gz``, and ``map.nii.gz`` again with the
        replacement after that; the URL left behind is a 404.

        Parameters
        ----------
        id : int
            The image.
        content : bytes or callable or None
            The new file.
        """
        with self.lock:
            old = self.images[id]["file"]
            path = flipped_path(old)
            self.edit_image(id, file=path)
            self.files.pop(old, None)
            self.files[path] = StoredFile(content, self._now)

    def remove_image(self, id: int) -> None:
        """Delete an image and its file.

        Parameters
        ----------
        id : int
            The image.
        """
        with self.lock:
            record = self.images.pop(id)
            self.files.pop(record["file"], None)
            self.collections[record["collection_id"]]["number_of_images"] -= 1
            self._tick()
            self._touch(record["collection_id"])

    def image_ids(self, collection_id: int) -> list[int]:
        """List the images of a collection, ascending.

        Parameters
        ----------
        collection_id : int
            The collection.

        Returns
        -------
        list of int
        """
        with self.lock:
            return sorted(
                number
                for number, record in self.images.items()
                if record["collection_id"] == collection_id
            )

    def public_collections(self) -> list[int]:
        """List the public collections in the order in which the server lists them.

        Returns
        -------
        list of int
        """
        with self.lock:
            return [number for number in self.order if number not in self.tokens]

    def shift(self) -> None:
        """Save the collection that is listed first again, so that its row moves."""
        with self.lock:
            self.edit_collection(self.public_collections()[0])

    def file_bytes(self, id: int) -> bytes:
        """Give the bytes of an image's file.

        Parameters
        ----------
        id : int
            The image.

        Returns
        -------
        bytes
            Empty for a lost file.
        """
        stored = self.files.get(self.images[id]["file"])
        return stored.read() if stored else b""

    def _restore_collection(self, raw: Mapping[str, Any]) -> None:
        identity = raw["id"]
        if raw["private"]:
            self.tokens[identity] = urlsplit(raw["url"]).path.split("/")[2]
        self.collections[identity] = self._rooted(raw, identity)
        self.order.append(identity)

    def _restore_image(self, raw: Mapping[str, Any], content: bytes | None) -> None:
        record = self._rooted(raw, raw["collection_id"])
        written = datetime.fromisoformat(raw["add_date"])
        self.images[raw["id"]] = record
        self.files[record["file"]] = StoredFile(content, written)

    def _rooted(self, raw: Mapping[str, Any], collection_id: int) -> Record:
        shown = self.tokens.get(collection_id, str(collection_id))
        return rooted(raw, shown, collection_id)

    def _tick(self) -> str:
        self._now += timedelta(minutes=1, microseconds=130299)
        return self._now.isoformat()

    def _touch(self, collection_id: int) -> None:
        self.collections[collection_id]["modify_date"] = self._now.isoformat()
        self.order.remove(collection_id)
        self.order.append(collection_id)
