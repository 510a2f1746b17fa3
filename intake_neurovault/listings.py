"""Records of one server through one store: what is known is not asked again.

Whether a listing is young enough, and whether a request may be made at all, is
decided here and nowhere else.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from intake_neurovault.client import Client, Listing
from intake_neurovault.diagnosis import name_of
from intake_neurovault.errors import AnswerError, OfflineError, StoreError
from intake_neurovault.known import (
    Known,
    Listed,
    digest,
    is_foreign,
    made_up,
    merged,
    note,
    readable,
    recall,
    with_disk,
)
from intake_neurovault.ledger import StoredListing, warn_once
from intake_neurovault.lookup import Lookup
from intake_neurovault.modes import KEEPING, Mode, parse_age, parse_mode
from intake_neurovault.records import Collection, Image, ImageFile
from intake_neurovault.refs import CollectionRef, Token
from intake_neurovault.store import Store
from intake_neurovault.surfaces import SurfaceFile
from intake_neurovault.transfer import network

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Collection | Image)


@dataclass(frozen=True)
class Listings:
    """The records of one server, as far as the mode allows to ask."""

    client: Client
    """How the server is asked."""
    store: Store
    """Where the answers are kept."""
    mode: Mode = "download_new"
    """What may be asked, and when."""
    ttl: float = 86400.0
    """How old a listing may be, in seconds, before it is asked for again."""
    since: float = field(default_factory=time.time, compare=False)
    """When this view began (Unix time): what is fetched after it is not once more."""

    @classmethod
    def parse(
        cls, client: Client, store: Store, *, mode: object, metadata_ttl: object
    ) -> Listings:
        """Build listings from what a user may write.

        Parameters
        ----------
        client : Client
            How the server is asked.
        store : Store
            Where the answers are kept.
        mode : {"download_new", "overwrite", "offline", "update"}
            What may be asked, and when.
        metadata_ttl : float, str or None
            How old a listing may be; seconds, or text such as ``"1d"``.

        Returns
        -------
        Listings
            The value.

        Raises
        ------
        ArgumentError
            If the mode or the age is none.
        """
        if (known := parse_mode(mode)) == "offline":
            store = replace(store, read_only=True)
        else:
            # NOTE: the first request must not wait for what it is made with.
            network()
        return cls(client, store, known, parse_age(metadata_ttl))

    @property
    def offline(self) -> bool:
        """Whether every request is forbidden."""
        return self.mode == "offline"

    def is_young(self, moment: float) -> bool:
        """Tell whether what was fetched at a moment will do.

        Parameters
        ----------
        moment : float
            When (Unix time); what a wrong clock put into the future is fetched again.

        Returns
        -------
        bool
            For ``update`` and ``overwrite`` whether it was fetched by this view;
            else whether it is no older than the age limit.
        """
        age = time.time() - moment
        if self.mode in ("update", "overwrite"):
            return age >= 0 and moment >= self.since
        return 0 <= age <= self.ttl

    def collections(self, at_once: int = 1) -> Listed[Collection]:
        """List all public collections.

        Parameters
        ----------
        at_once : int
            Most pages of the list that are asked for at a time.

        Returns
        -------
        Listed of Collection
            In ascending order of their ids.

        Raises
        ------
        ServerError
            If the list is needed and the server does not give it.
        """
        stored = self._stored(None)
        if self.offline:
            stored = with_disk(stored, self.store.collections_on_disk())
            known = partial(made_up, self.store, self.client.url)
            stored = replace(stored, records=tuple(map(known, stored.records)))
        elif stored is None or not self._young(stored):
            return self._keep(
                None, partial(self.client.collections, at_once), Collection.from_json
            )
        return self._listed(stored, Collection.from_json, None)

    def collection(self, ref: CollectionRef) -> Collection:
        """Give the record of one collection.

        Parameters
        ----------
        ref : int or Token
            Its id, or the token of a private one.

        Returns
        -------
        Collection
            The record.

        Raises
        ------
        MissingError, PrivateError, ServerError, OfflineError
            If it cannot be had.
        """
        known = self._known_collection(ref)
        if known is not None:
            return known
        if self.offline:
            msg = (
                f"{name_of(ref)} is not in the store {self.store.root}; run once "
                "without mode='offline' to fetch it."
            )
            raise OfflineError(msg)
        token = ref if isinstance(ref, Token) else None
        found = Collection.from_json(self.client.collection(ref), token=token)
        note(self.client.url, found.id)[:] = [found]
        return found

    def images(self, collection: Collection, at_once: int = 1) -> Listed[Image]:
        """List the images of one collection.

        Parameters
        ----------
        collection : Collection
            Its record.
        at_once : int
            Most pages of the list that are asked for at a time.

        Returns
        -------
        Listed of Image
            In ascending order of their ids.

        Raises
        ------
        MissingError, PrivateError, ServerError, OfflineError
            If they cannot be had.
        """
        stored = self._stored(collection.id)
        read = partial(self._image, token=collection.token)
        if self.offline:
            stored = with_disk(stored, self.store.images_on_disk(collection.id))
        elif stored is None or not self._young(stored):
            ref = collection.token or collection.id
            ask = partial(self.client.images, ref, at_once)
            return self._keep(collection, ask, read)
        return self._listed(stored, read, collection.id)

    def kept_images(
        self, image_ids: Iterable[int], lookup: Lookup | None = None
    ) -> dict[int, tuple[Image, Collection]]:
        """Give those images on disk for which no request is needed.

        Parameters
        ----------
        image_ids : iterable of int
            Their ids on NeuroVault.
        lookup : Lookup, optional
            Where records are; with it, offline, those without images are given too.

        Returns
        -------
        dict of int to (Image, Collection)
            By id, without those that are not known; empty in a mode that asks anew.
        """
        if self.mode not in KEEPING:
            return {}
        wanted = set(image_ids)
        records = self.store.image_records(wanted, lookup)
        if lookup is not None and self.offline:
            missing = wanted - records.keys()
            records |= lookup.apart(missing) if missing else {}
        found = {}
        for image_id, (raw, about) in records.items():
            if self.offline:
                about = made_up(self.store, self.client.url, about)
            elif is_foreign(raw, self.client.url):
                continue
            try:
                found[image_id] = self._image(raw), Collection.from_json(about)
            except AnswerError as error:
                logger.warning("Passed over: image %d on disk. %s", image_id, error)
        return found

    def image(self, image_id: int, token: Token | None = None) -> Image:
        """Ask for the record of one image.

        Parameters
        ----------
        image_id : int
            Its id on NeuroVault.
        token : Token, optional
            The token of its collection, if that is private.

        Returns
        -------
        Image
            The record.

        Raises
        ------
        MissingError, PrivateError, ServerError, OfflineError
            If it cannot be had.
        """
        if self.offline:
            msg = (
                f"Image {image_id} is not in the store {self.store.root}; run once "
                "without mode='offline' to fetch it."
            )
            raise OfflineError(msg)
        image = self._image(self.client.image(image_id, token), token)
        if image.file is not None:
            note(self.client.url, image.file)[:] = [image]
        return image

    def record(
        self, file: ImageFile, image: Image | None = None
    ) -> tuple[Image, Collection]:
        """Give the records that belong to a file.

        Parameters
        ----------
        file : ImageFile
            The file.
        image : Image, optional
            The record that names it, if that is at hand.

        Returns
        -------
        tuple of (Image, Collection)
            The records of its image and of the collection of that.

        Raises
        ------
        MissingError, PrivateError, ServerError, OfflineError
            If they are not known and cannot be had.
        """
        if image is None or not (image.file == file or isinstance(file, SurfaceFile)):
            image = self._record_of(file) or self.image(file.image_id, file.token)
        known = note(self.client.url, file.collection_id)
        if known:
            collection: Collection = replace(known[0], token=file.token)
        else:
            collection = self.collection(file.token or file.collection_id)
        return replace(image, file=file), collection

    def _record_of(self, file: ImageFile) -> Image | None:
        # NOTE: a listing may be older than the file, and its record must not end up
        # beside bytes of which it knows nothing.
        parsed = self._parsed(file.collection_id)
        listed = parsed.by_id.get(file.image_id) if parsed else None
        found = [self._image(listed, file.token)] if listed else []
        found += note(self.client.url, file)
        for image in found:
            if image.file and image.file.same_bytes_as(file):
                return image
        return None

    def _young(self, stored: StoredListing) -> bool:
        return stored.complete and self.is_young(stored.fetched)

    def _keep(
        self,
        about: Collection | None,
        ask: Callable[[], Listing],
        read: Callable[[Mapping[str, Any]], R],
    ) -> Listed[R]:
        began, listing, base = time.time(), ask(), self.client.url
        token, collection_id = (about.token, about.id) if about else (None, None)
        if about is not None:
            note(base, about.id)[:] = [about]
        records, unreadable = readable(listing.records, read, base, collection_id)
        fresh = StoredListing(
            records=tuple(dict(record.raw) for record in records),
            collection=dict(about.raw) if about else None,
            count=listing.count,
            fetched=began,
            complete=listing.complete,
            failures=(*listing.failures, *unreadable),
        )
        records.sort(key=lambda record: record.id)
        listed = Listed(tuple(records), began, fresh.failures)
        before = self._stored(collection_id)
        # NOTE: of two lists that overlap, the one that began later knows more.
        if before and before.complete and began < before.fetched <= time.time():
            return listed
        # NOTE: what was known before an answer with gaps still serves offline.
        kept = merged(fresh, before.records) if before and not fresh.complete else fresh
        try:
            self.store.save_listing(base, collection_id, kept)
            if token is not None and about is not None:
                self.store.save_private_id(base, digest(token), about.id)
        except StoreError as error:
            meanwhile = "Until then each search asks the server for its lists anew."
            warn_once(self.store.root, error, meanwhile)
        return listed

    def _known_collection(self, ref: CollectionRef) -> Collection | None:
        token = ref if isinstance(ref, Token) else None
        number: int | None = None if isinstance(ref, Token) else ref
        if token is not None:
            number = self.store.private_id(self.client.url, digest(token))
        if number is None:
            return None
        own, everything = self._parsed(number), self._parsed(None)
        candidates: list[Mapping[str, Any] | None] = []
        if own is not None and self._may_use(own.listing):
            candidates.append(own.listing.collection)
        if everything is not None and self._may_use(everything.listing):
            candidates.append(everything.by_id.get(number))
        if self.offline:
            candidates.append(self.store.collection_record(number))
            if self.store.images_on_disk(number).records:
                lost = {"id": number}
                candidates.append(made_up(self.store, self.client.url, lost))
        found = next((raw for raw in candidates if raw), None)
        return Collection.from_json(found, token=token) if found else None

    def _may_use(self, stored: StoredListing) -> bool:
        return self.offline or self._young(stored)

    def _parsed(self, collection_id: int | None) -> Known | None:
        return recall(self.store, self.client.url, collection_id)

    def _stored(self, collection_id: int | None) -> StoredListing | None:
        parsed = self._parsed(collection_id)
        return parsed.listing if parsed else None

    def _image(self, raw: Mapping[str, Any], token: Token | None = None) -> Image:
        return Image.from_json(raw, base_url=self.client.url, token=token)

    def _listed(
        self,
        stored: StoredListing,
        read: Callable[[Mapping[str, Any]], R],
        collection_id: int | None,
    ) -> Listed[R]:
        items, bad = readable(stored.records, read, self.client.url, collection_id)
        items.sort(key=lambda item: item.id)
        return Listed(tuple(items), stored.fetched or None, (*stored.failures, *bad))
