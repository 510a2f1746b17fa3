"""From a query to the images that match it, with an account of what was left out."""

from __future__ import annotations

import warnings
from collections.abc import (
    Callable,
    Container,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from intake_neurovault.errors import (
    CorruptFileError,
    Failure,
    NeuroVaultError,
    NeuroVaultWarning,
    ServerError,
)
from intake_neurovault.filters import Filter, Step, explain, unknown_fields
from intake_neurovault.found import Found
from intake_neurovault.listings import Listed, Listings
from intake_neurovault.pool import Pool, Report
from intake_neurovault.query import Query
from intake_neurovault.records import Collection, Image
from intake_neurovault.refs import CollectionRef, Token
from intake_neurovault.schema import COLLECTION_KINDS, IMAGE_KINDS

Predicate = Callable[[Mapping[str, Any]], bool]

Batch = tuple[Collection, tuple[Image, ...]]

_HOMES = {
    "image_terms": ("collections", "collection_terms"),
    "collection_terms": ("images", "image_terms"),
}


@dataclass(frozen=True)
class Finder:
    """Answers queries from the listings of one server."""

    listings: Listings
    """The records of the server."""
    pool: Pool
    """How many requests at a time, and what a failure does."""

    def find(self, query: Query, predicate: Predicate | None = None) -> Found:
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
        sieve = _Sieve(query, predicate, self.pool.report())
        if query.max_images == 0:
            return sieve.found(truncated=False)
        with closing(self._batches(query, sieve)) as batches:
            for collection, images in batches:
                sieve.sift(collection, images)
                if sieve.full:
                    break
        sieve.warn_of_unknown_fields()
        sieve.report.warn("listed")
        self._warn_of_unlisted(sieve)
        return sieve.found(truncated=sieve.full)

    def _batches(self, query: Query, sieve: _Sieve) -> Generator[Batch]:
        """Give collections with images of theirs, in the order of the result."""
        ids = query.images_to_visit()
        if ids is not None:
            yield from self._by_image(ids, sieve, in_order=query.explicit)
        if ids is None or query.collection_ids:
            yield from self._by_collection(self._to_look_through(query, sieve), sieve)

    def _by_image(
        self, ids: Sequence[int], sieve: _Sieve, *, in_order: bool
    ) -> Generator[Batch]:
        known = self.listings.kept_images(ids)
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
        self, ids: Sequence[int], known: Container[int], sieve: _Sieve
    ) -> dict[int, tuple[Image, Collection]]:
        images = self._asked_for([each for each in ids if each not in known], sieve)
        homes = dict.fromkeys(image.collection_id for image in images)
        about = {each.id: each for each in self._records(homes, sieve)}
        return {
            image.id: (image, about[image.collection_id])
            for image in images
            if image.collection_id in about
        }

    def _asked_for(self, ids: Sequence[int], sieve: _Sieve) -> list[Image]:
        images = []
        with self.pool.map(self.listings.image, ids) as outcomes:
            for image_id, outcome in outcomes:
                if isinstance(outcome, NeuroVaultError):
                    place = f"{self.listings.client.url}/api/images/{image_id}/"
                    sieve.failed(outcome, place, image_id=image_id)
                else:
                    sieve.report.succeeded()
                    images.append(outcome)
        return images

    def _by_collection(
        self, items: Iterable[Collection | CollectionRef], sieve: _Sieve
    ) -> Generator[Batch]:
        with self.pool.map(partial(self._look, sieve.query), items) as outcomes:
            for item, outcome in outcomes:
                if isinstance(outcome, NeuroVaultError):
                    number = _number(item)
                    sieve.failed(outcome, self._place(number), collection_id=number)
                    continue
                collection, listed = outcome
                if not sieve.passes(collection):
                    continue
                if isinstance(listed, NeuroVaultError):
                    place = f"{self._place(collection.id)}images/"
                    sieve.failed(listed, place, collection_id=collection.id)
                    continue
                sieve.take_account(listed)
                if listed.items:
                    sieve.report.succeeded()
                sieve.unlisted_collections += listed.fetched is None
                yield collection, listed.items

    def _look(
        self, query: Query, item: Collection | CollectionRef
    ) -> tuple[Collection, Listed[Image] | NeuroVaultError]:
        """Give a collection and its images, in a thread."""
        ask = self.listings.collection
        collection = item if isinstance(item, Collection) else ask(item)
        if not query.collection_filter.matches(collection.metadata):
            return collection, Listed((), None)
        try:
            return collection, self.listings.images(collection)
        except NeuroVaultError as error:
            return collection, error

    def _to_look_through(
        self, query: Query, sieve: _Sieve
    ) -> Iterator[Collection | CollectionRef]:
        refs = query.collections_to_visit()
        if refs is not None:
            yield from refs
            return
        listed = self.listings.collections()
        sieve.take_account(listed)
        sieve.all_collections = listed.fetched is not None
        for each in listed.items:
            if _may_hold_images(each) and sieve.passes(each):
                yield each

    def _records(
        self, refs: Iterable[CollectionRef], sieve: _Sieve
    ) -> Iterator[Collection]:
        with self.pool.map(self.listings.collection, refs) as outcomes:
            for ref, outcome in outcomes:
                if isinstance(outcome, NeuroVaultError):
                    number = _number(ref)
                    sieve.failed(outcome, self._place(number), collection_id=number)
                else:
                    sieve.report.succeeded()
                    yield outcome

    def _place(self, number: int | None) -> str:
        return f"{self.listings.client.url}/api/collections/{number or '(private)'}/"

    def _warn_of_unlisted(self, sieve: _Sieve) -> None:
        if not self.listings.offline or self.pool.errors == "skip":
            return
        if things := sieve.unlisted():
            msg = (
                f"Offline, only what is on disk is known: {' and '.join(things)} were "
                "never listed completely; run the query once without mode='offline'."
            )
            warnings.warn(msg, NeuroVaultWarning, stacklevel=2)


@dataclass
class _Sieve:
    """What one search has found so far."""

    query: Query
    predicate: Predicate | None
    report: Report
    images: dict[int, Image] = field(default_factory=dict)
    collections: dict[int, Collection] = field(default_factory=dict)
    collection_tally: _Tally = field(default_factory=lambda: _Tally())
    image_tally: _Tally = field(default_factory=lambda: _Tally())
    refused: int = 0
    fetched: list[float] = field(default_factory=list)
    all_collections: bool = True
    unlisted_collections: int = 0
    seen: set[int] = field(default_factory=set)

    @property
    def full(self) -> bool:
        cap = self.query.max_images
        return cap is not None and len(self.images) >= cap

    def unlisted(self) -> list[str]:
        things = [] if self.all_collections else ["the collections of the server"]
        if self.unlisted_collections:
            things.append(f"the images of {self.unlisted_collections} collection(s)")
        return things

    def take_account(self, listed: Listed[Any]) -> None:
        if listed.fetched is not None:
            self.fetched.append(listed.fetched)
        for failure in listed.failures:
            kind = ServerError if failure.attempts else CorruptFileError
            error = kind(failure.reason)
            error.attempts = failure.attempts
            self.report.failed(failure, error)

    def failed(
        self,
        error: NeuroVaultError,
        url: str,
        *,
        image_id: int | None = None,
        collection_id: int | None = None,
    ) -> None:
        failure = Failure(image_id, collection_id, url, str(error), error.attempts)
        self.report.failed(failure, error)

    def passes(self, collection: Collection) -> bool:
        if collection.id in self.seen:
            return self.query.collection_filter.matches(collection.metadata)
        self.seen.add(collection.id)
        records = [collection.metadata]
        return bool(self.collection_tally.sift(self.query.collection_filter, records))

    def sift(self, collection: Collection, images: Sequence[Image]) -> None:
        new = [image for image in images if image.id not in self.images]
        records = [image.metadata for image in new]
        kept = self.image_tally.sift(self.query.image_filter, records)
        matching: Iterable[Image] = [new[place] for place in kept]
        if self.predicate is not None:
            matching = self._ask(matching, self.predicate)
        cap = self.query.max_images
        room = None if cap is None else cap - len(self.images)
        for image in islice(matching, room):
            self.images[image.id] = image
            # NOTE: a record may name another collection than the one that lists it.
            self.collections[image.collection_id] = collection

    def _ask(self, images: Iterable[Image], predicate: Predicate) -> Iterator[Image]:
        for image in images:
            try:
                wanted = predicate(image.metadata)
            except Exception as error:
                error.add_note(
                    f"The function given as image_terms failed at {image.label}."
                )
                raise
            if wanted:
                yield image
            else:
                self.refused += 1

    def warn_of_unknown_fields(self) -> None:
        images, collections = set(IMAGE_KINDS), set(COLLECTION_KINDS)
        query = self.query
        for where, tally, terms, own, other in (
            ("image_terms", self.image_tally, query.image_filter, images, collections),
            (
                "collection_terms",
                self.collection_tally,
                query.collection_filter,
                collections,
                images,
            ),
        ):
            if not tally.looked_at:
                continue
            known = own | tally.fields
            for name, suggestion in unknown_fields(terms, known, ()).items():
                hint = f"; did you mean {suggestion!r}?" if suggestion else "."
                if name in other:
                    kind, place = _HOMES[where]
                    hint = f"; it is a field of {kind}: use {place}."
                msg = f"{where}: no record has a field {name!r}{hint}"
                warnings.warn(msg, NeuroVaultWarning, stacklevel=2)

    def found(self, *, truncated: bool) -> Found:
        steps = [*self.collection_tally.steps, *self.image_tally.steps]
        if self.predicate is not None:
            steps.append(Step("a Python function", self.refused, self.refused))
        return Found(
            tuple(self.images.values()),
            dict(self.collections),
            tuple(self.report.failures),
            tuple(steps),
            min(self.fetched, default=None),
            truncated,
        )


@dataclass
class _Tally:
    """How many records each term of one filter removed so far."""

    steps: list[Step] = field(default_factory=list)
    fields: set[str] = field(default_factory=set)
    looked_at: int = 0

    def sift(self, terms: Filter, records: Sequence[Mapping[str, Any]]) -> list[int]:
        """Count, and give the places of the records that match."""
        more = explain(terms, records)
        before = self.steps or [Step(step.term, 0, 0) for step in more]
        self.steps = [
            Step(old.term, old.removed + new.removed, old.alone + new.alone)
            for old, new in zip(before, more, strict=True)
        ]
        self.looked_at += len(records)
        for record in records:
            self.fields.update(record)
        return [place for place, record in enumerate(records) if terms.matches(record)]


def _may_hold_images(collection: Collection) -> bool:
    # NOTE: the server counts packs of NIDM results as images too, so the number
    # may be too high; zero is certain, and an empty list is not worth a request.
    return collection.metadata.get("number_of_images") != 0


def _number(item: Collection | CollectionRef) -> int | None:
    if isinstance(item, Collection):
        return item.id
    return None if isinstance(item, Token) else item
