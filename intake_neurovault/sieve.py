"""What one search has found so far: it grows while lists of records come in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from intake_neurovault.errors import (
    CorruptFileError,
    Failure,
    NeuroVaultError,
    ServerError,
)
from intake_neurovault.filters import Step
from intake_neurovault.found import Found, Tally
from intake_neurovault.known import Listed
from intake_neurovault.pool import MAX_FAILURES_IN_A_ROW, Report
from intake_neurovault.query import Query
from intake_neurovault.records import Collection, Image

Predicate = Callable[[Mapping[str, Any]], bool]
"""A condition that only Python can express, on the cleaned metadata of an image."""


@dataclass
class Sieve:
    """What one search has found so far, and what passes its terms."""

    query: Query
    """What to look for."""
    predicate: Predicate | None
    """One more condition."""
    report: Report
    """What failed."""
    images: dict[int, Image] = field(default_factory=dict)
    """The images that matched, by id."""
    collections: dict[int, Collection] = field(default_factory=dict)
    """The collections that they are in, by id."""
    collection_tally: Tally = field(default_factory=Tally)
    """How many collections each term removed."""
    image_tally: Tally = field(default_factory=Tally)
    """How many images each term removed."""
    refused: int = 0
    """How many images the predicate removed."""
    fetched: list[float] = field(default_factory=list)
    """When each list that was used was given (Unix time)."""
    all_collections: bool = True
    """Whether there is a whole list of collections, if one was needed."""
    unlisted_collections: int = 0
    """How many collections have no whole list of images."""
    seen: set[int] = field(default_factory=set)
    """The collections that were counted."""
    unasked: Counter[str] = field(default_factory=Counter)
    """How many things were not asked for, of each kind."""
    promised: dict[int | None, int] = field(default_factory=dict)
    """How many images the collections say they have whose lists are on their way."""

    @property
    def full(self) -> bool:
        """Whether as much was found as was wanted."""
        cap = self.query.max_images
        return cap is not None and len(self.images) >= cap

    def unlisted(self) -> list[str]:
        """Name what was never listed completely.

        Returns
        -------
        list of str
            For a sentence; empty if all was.
        """
        things = [] if self.all_collections else ["the collections of the server"]
        if self.unlisted_collections:
            things.append(f"the images of {self.unlisted_collections} collection(s)")
        return things

    def take_account(self, listed: Listed[Any]) -> None:
        """Note how old a list is, and what is missing from it.

        Parameters
        ----------
        listed : Listed
            The list.

        Raises
        ------
        ServerError, CorruptFileError
            Under the policy ``raise``, what is missing first.
        """
        if listed.fetched is not None:
            self.fetched.append(listed.fetched)
        for failure in listed.failures:
            kind = ServerError if failure.attempts else CorruptFileError
            error = kind(failure.reason)
            error.attempts = failure.attempts
            self.report.failed(failure, error)
        if listed.items:
            self.report.succeeded()

    def failed(
        self,
        error: NeuroVaultError,
        url: str,
        *,
        image_id: int | None = None,
        collection_id: int | None = None,
    ) -> None:
        """Note that something cannot be had.

        Parameters
        ----------
        error : NeuroVaultError
            Why.
        url : str
            Where it was to be had.
        image_id, collection_id : int, optional
            What it is.

        Raises
        ------
        NeuroVaultError
            Under the policy ``raise``, the error.
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

    def passes(self, collection: Collection, *, listed: bool = False) -> bool:
        """Tell whether a collection matches; each is counted once.

        Parameters
        ----------
        collection : Collection
            Its record.
        listed : bool
            Whether the list of its images is asked for, if it matches.

        Returns
        -------
        bool
            Whether it passes the terms on collections.
        """
        if collection.id in self.seen:
            return self.query.collection_filter.matches(collection.metadata)
        self.seen.add(collection.id)
        records = [collection.metadata]
        passed = self.collection_tally.sift(self.query.collection_filter, records)
        if passed and listed:
            number = collection.metadata.get("number_of_images")
            self.promised[collection.id] = number or 0
        return bool(passed)

    def has_enough_ahead(self) -> bool:
        """Guess whether the lists that are on their way hold all that is wanted.

        Returns
        -------
        bool
            True if so, should as many of their images match as of those before;
            False while nothing is known.
        """
        cap, looked_at = self.query.max_images, self.image_tally.looked_at
        if cap is None or not looked_at:
            return False
        rate = len(self.images) / looked_at
        return len(self.images) + rate * sum(self.promised.values()) >= cap

    def sift(self, collection: Collection, images: Sequence[Image]) -> list[Image]:
        """Keep those of a collection's images that match, until it is enough.

        Parameters
        ----------
        collection : Collection
            The collection that lists them.
        images : sequence of Image
            The images.

        Returns
        -------
        list of Image
            Those that were not found before, match, and are still wanted.
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
            self.images[image.id] = image
            # NOTE: a record may name another collection than the one that lists it.
            self.collections[image.collection_id] = collection
        return some

    def _ask(self, images: Iterable[Image], predicate: Predicate) -> Generator[Image]:
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

    def found(self, *, truncated: bool) -> Found:
        """Sum up.

        Parameters
        ----------
        truncated : bool
            Whether the cap ended the search before everything was looked at.

        Returns
        -------
        Found
            The images, and an account of what was left out.
        """
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
