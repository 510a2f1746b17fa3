"""From a query to the images that match it, with an account of what was left out."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Container, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from intake_neurovault.errors import NeuroVaultError, NeuroVaultWarning
from intake_neurovault.found import Found, Watch
from intake_neurovault.known import Listed
from intake_neurovault.listings import Listings
from intake_neurovault.lookup import Lookup
from intake_neurovault.paging import PAGES_AT_ONCE
from intake_neurovault.pool import MAX_FAILURES_IN_A_ROW, Pool
from intake_neurovault.query import Query
from intake_neurovault.records import Collection, Image
from intake_neurovault.refs import CollectionRef, Token
from intake_neurovault.sieve import Predicate, Sieve
from intake_neurovault.warm import Scope, Warm
from intake_neurovault.whereabouts import IndexedLookup

A = TypeVar("A")
B = TypeVar("B")

Batch = tuple[Collection, tuple[Image, ...]]
Job = tuple[Collection, Listed[Image] | NeuroVaultError] | NeuroVaultError


@dataclass(frozen=True)
class Finder:
    """Answers queries from the listings of one server."""

    listings: Listings
    """The records of the server."""
    pool: Pool
    """How many requests at a time, and what a failure does."""

    def find(
        self, query: Query, predicate: Predicate | None = None
    ) -> Generator[Image, None, Found]:
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

        Yields
        ------
        Image
            Each that matches, in the order of the result, once it is known.

        Raises
        ------
        NeuroVaultError
            Under the policy ``raise``, the first thing that cannot be had.
        """
        sieve = Sieve(query, predicate, self.pool.report())
        if query.max_images == 0:
            return sieve.found(truncated=False)
        if self._warm().search(sieve):
            yield from sieve.images.values()
        else:
            sieve = Sieve(query, predicate, self.pool.report())
            yield from self._search(query, sieve)
        sieve.image_tally.warn_of_unknown_fields("image_terms", query.image_filter)
        terms = query.collection_filter
        sieve.collection_tally.warn_of_unknown_fields("collection_terms", terms)
        self._account_for(sieve)
        return sieve.found(truncated=sieve.full)

    def find_collections(self, query: Query) -> Found:
        """Find the collections that fulfil the conditions on them.

        Parameters
        ----------
        query : Query
            The conditions, and the collections where it names them; what it says of
            images is passed over.

        Returns
        -------
        Found
            The collections, in the order of the result, and no images.

        Raises
        ------
        NeuroVaultError
            Under the policy ``raise``, the first thing that cannot be had.
        """
        sieve = Sieve(query, None, self.pool.report())
        refs, terms = query.collections_to_visit(), query.collection_filter
        records = list(
            self._everything(sieve) if refs is None else self._records(refs, sieve)
        )
        tally = sieve.collection_tally
        kept = tally.sift(terms, [each.metadata for each in records])
        sieve.collections |= {records[place].id: records[place] for place in kept}
        tally.warn_of_unknown_fields("collection_terms", terms)
        self._account_for(sieve)
        return sieve.found(truncated=False)

    def _account_for(self, sieve: Sieve) -> None:
        sieve.note_unasked(self.listings.client.url)
        sieve.report.warn("listed")
        self._warn_of_unlisted(sieve)

    def known(self, query: Query) -> Found | None:
        """Find the images that match, if no request is needed for it.

        Parameters
        ----------
        query : Query
            What to look for.

        Returns
        -------
        Found or None
            None if something would have to be asked for.

        Raises
        ------
        NeuroVaultError
            Under the policy ``raise``, the first thing that cannot be had.
        """
        sieve = Sieve(query, None, self.pool.report())
        if not self._warm().search(sieve):
            return None
        return sieve.found(truncated=sieve.full)

    def _lookup(self) -> Lookup:
        known = self.listings
        return IndexedLookup(known.store, known.client.url, self.pool)

    def _warm(self) -> Warm:
        known = self.listings
        place = known.store.root, known.client.url
        return Warm(Scope(*place, known.offline, known.is_young), self.pool)

    def _search(self, query: Query, sieve: Sieve) -> Generator[Image]:
        with closing(self._batches(query, sieve)) as batches:
            for collection, images in batches:
                yield from sieve.sift(collection, images)
                if sieve.full:
                    break

    def _batches(self, query: Query, sieve: Sieve) -> Generator[Batch]:
        """Give collections with images of theirs, in the order of the result."""
        ids = query.images_to_visit()
        if ids is not None:
            yield from self._by_image(ids, sieve, in_order=query.explicit)
        if ids is None or query.collection_ids:
            number, items = self._to_look_through(query, sieve)
            yield from self._by_collection(number, items, sieve)

    def _by_image(
        self, ids: Sequence[int], sieve: Sieve, *, in_order: bool
    ) -> Generator[Batch]:
        known = self.listings.kept_images(ids, self._lookup())
        cap = sieve.query.max_images
        # NOTE: sorting needs all of them; in the order asked for, a cap ends it early.
        step = max(cap, self.pool.workers) if cap and in_order else len(ids)
        for start in range(0, len(ids), step or 1):
            some = ids[start : start + step]
            known |= self._asked_with_homes(some, known, sieve)
            found = [known[image_id] for image_id in some if image_id in known]
            if not in_order:
                found.sort(key=lambda pair: (pair[1].id, pair[0].id))
            for image, collection in found:
                if sieve.passes(collection):
                    yield collection, (image,)

    def _asked_with_homes(
        self, ids: Sequence[int], known: Container[int], sieve: Sieve
    ) -> dict[int, tuple[Image, Collection]]:
        images = self._asked_for([each for each in ids if each not in known], sieve)
        homes = list(dict.fromkeys(image.collection_id for image in images))
        about = {each.id: each for each in self._records(homes, sieve)}
        return {
            image.id: (image, about[image.collection_id])
            for image in images
            if image.collection_id in about
        }

    def _asked_for(self, ids: Sequence[int], sieve: Sieve) -> list[Image]:
        images = []
        asking = self._outcomes(self.listings.image, ids, len(ids), "image", sieve)
        with closing(asking) as outcomes:
            for image_id, outcome in outcomes:
                if isinstance(outcome, NeuroVaultError):
                    place = f"{self.listings.client.url}/api/images/{image_id}/"
                    sieve.failed(outcome, place, image_id=image_id)
                else:
                    sieve.report.succeeded()
                    images.append(outcome)
        return images

    def _records(
        self, refs: Sequence[CollectionRef], sieve: Sieve
    ) -> Generator[Collection]:
        ask = self.listings.collection
        asking = self._outcomes(ask, refs, len(refs), "collection", sieve)
        with closing(asking) as outcomes:
            for ref, outcome in outcomes:
                if isinstance(outcome, NeuroVaultError):
                    number = _number(ref)
                    sieve.failed(outcome, self._place(number), collection_id=number)
                else:
                    sieve.report.succeeded()
                    yield outcome

    def _outcomes(
        self,
        function: Callable[[A], B],
        items: Iterable[A],
        number: int,
        what: str,
        sieve: Sieve,
    ) -> Generator[tuple[A, B | NeuroVaultError]]:
        """Ask until too much failed in a row, and count what was not asked for."""
        done = 0
        if what not in sieve.unasked:
            spare = self.pool.workers if sieve.coming else 0
            enough = partial(self._is_enough, sieve)
            mapping = self.pool.map(function, items, spare=spare, enough=enough)
            with mapping as outcomes:
                for pair in outcomes:
                    yield pair
                    done += 1
                    if sieve.report.in_a_row >= MAX_FAILURES_IN_A_ROW:
                        break
                else:
                    return
        # NOTE: the images found so far need their collections: counting begins anew.
        sieve.report.in_a_row = 0
        sieve.unasked[what] += number - done

    def _is_enough(self, sieve: Sieve) -> bool:
        """Tell whether to wait for a list before asking for one more."""
        # NOTE: before the first has come, twice as many are asked for, so that the
        # workers find something to do while all the first ones are being read.
        many = len(sieve.promised) > self.pool.workers
        return sieve.has_enough_ahead(hopeful=many) or (many and bool(sieve.seen))

    def _by_collection(
        self, number: int, items: Iterable[Collection | CollectionRef], sieve: Sieve
    ) -> Generator[Batch]:
        # NOTE: where workers are left over, the pages of one list share them.
        at_once = min(PAGES_AT_ONCE, max(1, self.pool.workers // max(1, number)))
        look = partial(self._look, sieve.query, at_once)
        asking = self._outcomes(look, items, number, "collection", sieve)
        watch, began = Watch(self.pool, number), time.time()
        with closing(watch), closing(asking) as outcomes:
            for item, outcome in outcomes:
                watch.note(asked=_was_asked(outcome, began))
                sieve.reached(_number(item))
                batch = self._looked_at(item, outcome, sieve)
                if batch is not None:
                    yield batch
        if not sieve.unasked["collection"]:
            sieve.reached()

    def _looked_at(
        self, item: Collection | CollectionRef, outcome: Job, sieve: Sieve
    ) -> Batch | None:
        number = _number(item)
        sieve.promised.pop(number, None)
        if isinstance(outcome, NeuroVaultError):
            sieve.failed(outcome, self._place(number), collection_id=number)
            return None
        collection, listed = outcome
        if not sieve.passes(collection):
            return None
        if isinstance(listed, NeuroVaultError):
            place = f"{self._place(collection.id)}images/"
            sieve.failed(listed, place, collection_id=collection.id)
            return None
        sieve.take_account(listed.fetched, listed.failures, some=bool(listed.items))
        sieve.unlisted_collections += listed.fetched is None
        return collection, listed.items

    def _look(
        self, query: Query, at_once: int, item: Collection | CollectionRef
    ) -> tuple[Collection, Listed[Image] | NeuroVaultError]:
        """Give a collection and its images, in a thread."""
        ask = self.listings.collection
        collection = item if isinstance(item, Collection) else ask(item)
        if not query.collection_filter.matches(collection.metadata):
            return collection, Listed((), None)
        try:
            return collection, self.listings.images(collection, at_once)
        except NeuroVaultError as error:
            return collection, error

    def _to_look_through(
        self, query: Query, sieve: Sieve
    ) -> tuple[int, Iterable[Collection | CollectionRef]]:
        """Give the collections to look through, and tell how many they are."""
        refs = query.collections_to_visit()
        if refs is not None:
            return len(refs), refs
        listed = self._everything(sieve)
        some = [each for each in listed if _may_hold_images(each)]
        sieve.coming.extend(some)
        matches = query.collection_filter.matches
        wanted = [each for each in some if matches(each.metadata)]
        return len(wanted), sieve.promised_of(wanted)

    def _everything(self, sieve: Sieve) -> Sequence[Collection]:
        """Give all public collections."""
        try:
            listed = self.listings.collections(min(PAGES_AT_ONCE, self.pool.workers))
        except NeuroVaultError as error:
            sieve.failed(error, f"{self.listings.client.url}/api/collections/")
            return ()
        sieve.take_account(listed.fetched, listed.failures, some=bool(listed.items))
        sieve.all_collections = listed.fetched is not None
        return listed.items

    def _place(self, number: int | None) -> str:
        return f"{self.listings.client.url}/api/collections/{number or '(private)'}/"

    def _warn_of_unlisted(self, sieve: Sieve) -> None:
        if not self.listings.offline or self.pool.errors == "skip":
            return
        if things := sieve.unlisted():
            msg = (
                f"Offline, only what is on disk is known: {' and '.join(things)} were "
                "never listed completely; run the query once without mode='offline'."
            )
            warnings.warn(msg, NeuroVaultWarning, stacklevel=2)


def _was_asked(outcome: Job, began: float) -> bool:
    listed = outcome if isinstance(outcome, NeuroVaultError) else outcome[1]
    if isinstance(listed, NeuroVaultError):
        return listed.attempts > 0
    return (listed.fetched or 0.0) >= began


def _may_hold_images(collection: Collection) -> bool:
    # NOTE: the server counts packs of NIDM results as images too, so the number
    # may be too high; zero is certain, and an empty list is not worth a request.
    return collection.metadata.get("number_of_images") != 0


def _number(item: Collection | CollectionRef) -> int | None:
    if isinstance(item, Collection):
        return item.id
    return None if isinstance(item, Token) else item
