"""What one search has found so far: what passed, what was removed, what failed."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from intake_neurovault.bodies import folded
from intake_neurovault.errors import (
    CorruptFileError,
    Failure,
    NeuroVaultError,
    ServerError,
)
from intake_neurovault.fieldwise import Images
from intake_neurovault.filters import Step
from intake_neurovault.found import FUNCTION, Found, Tally
from intake_neurovault.pool import MAX_FAILURES_IN_A_ROW, Report
from intake_neurovault.query import Query
from intake_neurovault.records import Collection, Image

Predicate = Callable[[Mapping[str, Any]], bool]
"""One more condition, on the cleaned metadata of an image."""


@dataclass
class Sieve:
    """What one search has found so far.

    Examples
    --------
    >>> sieve = Sieve(Query.parse(max_images=1, image_terms={}), None, Report("skip"))
    >>> about = Collection.from_json({"id": 12})
    >>> raw = {"id": 3, "collection_id": 12}
    >>> image = Image.from_json(raw, base_url="https://neurovault.org")
    >>> sieve.sift(about, [image]) == [image]
    True
    >>> sieve.full, [image.id for image in sieve.found(truncated=True).images]
    (True, [3])
    """

    query: Query
    """What is looked for."""
    predicate: Predicate | None
    """One more condition."""
    report: Report
    """What failed."""
    images: dict[int, Image] = field(default_factory=dict)
    """What passed, by id."""
    collections: dict[int, Collection] = field(default_factory=dict)
    """The collections that these are in, by id."""
    collection_tally: Tally = field(default_factory=Tally)
    """What the conditions on collections removed."""
    image_tally: Tally = field(default_factory=Tally)
    """What the conditions on images removed."""
    refused: int = 0
    """How many images the function removed."""
    asked: int = 0
    """How many images the function was asked about."""
    fetched: list[float] = field(default_factory=list)
    """When the lists that were looked through were given (Unix time)."""
    all_collections: bool = True
    """Whether the list of all collections is complete."""
    unlisted_collections: int = 0
    """Of how many collections that were looked through no complete list is known."""
    seen: set[int] = field(default_factory=set)
    """The collections that were counted."""
    unasked: Counter[str] = field(default_factory=Counter)
    """How many things were not asked for, by what they are."""
    coming: deque[Collection] = field(default_factory=deque)
    """The collections that are to be looked through, in order, also those that fail
    the conditions on them."""
    promised: dict[int | None, int] = field(default_factory=dict)
    """How many images the collections say they have whose lists are on their way."""

    @property
    def full(self) -> bool:
        """Whether as much was found as was wanted."""
        cap = self.query.max_images
        return cap is not None and len(self.images) >= cap

    def unlisted(self) -> list[str]:
        """Say of what no complete list is known.

        Returns
        -------
        list of str
            In words.
        """
        things = [] if self.all_collections else ["the collections of the server"]
        if self.unlisted_collections:
            things.append(f"the images of {self.unlisted_collections} collection(s)")
        return things

    def take_account(
        self, fetched: float | None, failures: Iterable[Failure], *, some: bool
    ) -> None:
        """Note how old a list is, and what is missing from it.

        Parameters
        ----------
        fetched : float or None
            When the server gave it (Unix time); None if it never did.
        failures : iterable of Failure
            What is missing.
        some : bool
            Whether anything is in it.

        Raises
        ------
        NeuroVaultError
            Under the policy ``raise``, if something is missing.
        """
        if fetched is not None:
            self.fetched.append(fetched)
        for failure in failures:
            kind = ServerError if failure.attempts else CorruptFileError
            error = kind(failure.reason)
            error.attempts = failure.attempts
            self.report.failed(failure, error)
        if some:
            self.report.succeeded()

    def failed(
        self,
        error: NeuroVaultError,
        url: str,
        *,
        image_id: int | None = None,
        collection_id: int | None = None,
    ) -> None:
        """Note that something could not be had.

        Parameters
        ----------
        error : NeuroVaultError
            Why.
        url : str
            Where it was asked for.
        image_id, collection_id : int, optional
            What it was.

        Raises
        ------
        NeuroVaultError
            The error itself, under the policy ``raise``.
        """
        failure = Failure(image_id, collection_id, url, str(error), error.attempts)
        self.report.failed(failure, error)

    def note_unasked(self, url: str) -> None:
        """Report what was not looked at, since too much had failed.

        Parameters
        ----------
        url : str
            The server.
        """
        things = [
            f"{number:,} {what}{'' if number == 1 else 's'}"
            for what, number in self.unasked.items()
            if number
        ]
        if things:
            reason = (
                f"{' and '.join(things)} were not looked at any more, since "
                f"{MAX_FAILURES_IN_A_ROW} requests in a row had failed; try again "
                "later."
            )
            self.report.failures.append(Failure(None, None, url, reason, 0))

    def passes(self, collection: Collection) -> bool:
        """Tell whether a collection fulfils the conditions, and count it once.

        Parameters
        ----------
        collection : Collection
            Its record.

        Returns
        -------
        bool
            Whether it does.
        """
        if collection.id in self.seen:
            return self.query.collection_filter.matches(collection.metadata)
        self.seen.add(collection.id)
        records = [collection.metadata]
        return bool(self.collection_tally.sift(self.query.collection_filter, records))

    def reached(self, number: int | None = None) -> None:
        """Count the collections that were to be looked through before another.

        Those that fail the conditions are not looked through, but are counted when
        their turn has come: how far ahead is looked must not change an account.

        Parameters
        ----------
        number : int, optional
            The id of the one that was looked through now; all that are to come if
            absent.
        """
        while self.coming:
            collection = self.coming.popleft()
            self.passes(collection)
            if collection.id == number:
                return

    def promised_of(self, collections: Iterable[Collection]) -> Iterator[Collection]:
        """Note how many images collections say they have, when each is asked for.

        Parameters
        ----------
        collections : iterable of Collection
            Their records.

        Yields
        ------
        Collection
            Each of them.
        """
        for collection in collections:
            number = collection.metadata.get("number_of_images")
            self.promised[collection.id] = number or 0
            yield collection

    def has_enough_ahead(self, *, hopeful: bool = False) -> bool:
        """Guess whether the lists that are on their way hold all that is wanted.

        Parameters
        ----------
        hopeful : bool
            Whether to expect that all images match, as long as nothing is known.

        Returns
        -------
        bool
            True if so, should as many of their images match as of those before.
        """
        cap, looked_at = self.query.max_images, self.image_tally.looked_at
        if cap is None or not (looked_at or hopeful):
            return False
        rate = len(self.images) / looked_at if looked_at else 1.0
        return len(self.images) + rate * sum(self.promised.values()) >= cap

    def sift(self, collection: Collection, images: Sequence[Image]) -> list[Image]:
        """Keep the images that match, as many as are wanted, and count the others.

        Parameters
        ----------
        collection : Collection
            Where they are.
        images : sequence of Image
            Their records.

        Returns
        -------
        list of Image
            Those that are kept.
        """
        new = [image for image in images if image.id not in self.images]
        records = [image.metadata for image in new]
        kept = self.image_tally.sift(self.query.image_filter, records)
        matching: Iterable[Image] = [new[place] for place in kept]
        if self.predicate is not None:
            matching = self._ask(matching, self.predicate)
        cap = self.query.max_images
        room = None if cap is None else cap - len(self.images)
        some = list(islice(matching, room))
        for image in some:
            # NOTE: whoever takes them goes on with what was read already.
            self._keep(collection, folded(image))
        return some

    def take(self, collection: Collection, image: Image) -> None:
        """Keep an image that fulfils the conditions, unless the function refuses it.

        Parameters
        ----------
        collection : Collection
            Where it is.
        image : Image
            Its record, which is counted elsewhere.
        """
        if self.predicate is None or list(self._ask([image], self.predicate)):
            self._keep(collection, image)

    @property
    def takes_all(self) -> bool:
        """Whether all are kept that fulfil the conditions."""
        return self.predicate is None and self.query.max_images is None

    def take_all(self, collection: Collection, images: Sequence[Image]) -> None:
        """Keep images that fulfil the conditions, where all are kept.

        Parameters
        ----------
        collection : Collection
            Where they are.
        images : sequence of Image
            Their records, which are counted elsewhere.
        """
        self.images.update({image.id: image for image in images})
        homes = (image.collection_id for image in images)
        self.collections.update(dict.fromkeys(homes, collection))

    def _keep(self, collection: Collection, image: Image) -> None:
        self.images[image.id] = image
        # NOTE: a record may name another collection than the one that lists it.
        self.collections[image.collection_id] = collection

    def _ask(self, images: Iterable[Image], predicate: Predicate) -> Generator[Image]:
        for image in images:
            self.asked += 1
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

    def found(self, *, truncated: bool) -> Found:
        """Give the outcome.

        Parameters
        ----------
        truncated : bool
            Whether the cap ended the search before everything was looked at.

        Returns
        -------
        Found
            What was found.
        """
        query = self.query
        steps = [
            *self.collection_tally.account(query.collection_filter, "collections"),
            *self.image_tally.account(query.image_filter, "images"),
        ]
        if self.predicate is not None:
            refused = Step("a Python function", self.refused, self.refused)
            steps.append(replace(refused, seen=self.asked, by=FUNCTION))
        return Found(
            Images(self.images.values()),
            dict(self.collections),
            tuple(self.report.failures),
            tuple(steps),
            min(self.fetched, default=None),
            truncated,
        )
