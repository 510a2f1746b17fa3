"""Searches that need no request: answered from the index, exactly as without it.

Whatever the index cannot answer for certain it leaves to the listings: a list that is
too old, a private collection, a record without an id of usual size.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

from intake_neurovault.answers import (
    Answer,
    Row,
    by_home,
    clauses_of,
    failing,
    image_at,
    sums_of,
)
from intake_neurovault.errors import Failure
from intake_neurovault.garbage import uncollected
from intake_neurovault.index import index_of
from intake_neurovault.pieces import (
    COLLECTION_COLUMNS,
    EVERYTHING,
    IMAGE_COLUMNS,
    Home,
    Mark,
)
from intake_neurovault.pool import MAX_FAILURES_IN_A_ROW, Pool
from intake_neurovault.questions import collections
from intake_neurovault.records import Collection, Image
from intake_neurovault.segment import REFUSALS
from intake_neurovault.sieve import Sieve
from intake_neurovault.view import View

logger = logging.getLogger(__name__)

_FIRST = 8  # collections that are looked at before a cap is asked whether it is met
_SLACK = 10.0  # seconds by which clocks may differ


@dataclass(frozen=True)
class Scope:
    """Whose records may be used, and how old they may be."""

    root: Path
    """The store."""
    url: str
    """The server."""
    offline: bool
    """Whether every request is forbidden, and what is on disk counts as well."""
    is_young: Callable[[float], bool] = field(repr=False, compare=False)
    """Whether a list of that time will do."""


@dataclass(frozen=True)
class Warm:
    """Answers from the index what needs no request.

    Examples
    --------
    >>> from intake_neurovault.pool import Report
    >>> from intake_neurovault.query import Query
    >>> scope = Scope(Path("/no/such/store"), "https://neurovault.org", False, bool)
    >>> Warm(scope, Pool()).search(Sieve(Query.parse(), None, Report("raise")))
    False
    """

    scope: Scope
    """Whose records may be used."""
    pool: Pool
    """Shows progress."""

    def search(self, sieve: Sieve) -> bool:
        """Search, if no request is needed.

        Parameters
        ----------
        sieve : Sieve
            An empty one, to collect what is found.

        Returns
        -------
        bool
            False if it cannot be done; what is in the sieve is then worth nothing.

        Raises
        ------
        NeuroVaultError
            Under the policy ``raise``, if something is missing.
        """
        query = sieve.query
        images, refs = query.images_to_visit(), query.collections_to_visit()
        # NOTE: images that are named go before all others, and need no list.
        if images is not None and (images or not query.collection_ids):
            return False
        numbers = [ref for ref in refs or () if isinstance(ref, int)]
        if refs is not None and (tuple(numbers) != refs or _twice(numbers)):
            return False
        return self._search(sieve, None if refs is None else numbers)

    def _search(self, sieve: Sieve, numbers: list[int] | None) -> bool:
        scope = self.scope
        try:
            with index_of(scope.root, scope.url).look(offline=scope.offline) as view:
                walk = _Walk(scope, self.pool, sieve, view)
                # NOTE: somebody's function may leave any amount of garbage behind.
                with uncollected(sieve.predicate is None):
                    done = walk.through(numbers)
        except REFUSALS as error:
            logger.debug("The index of %s is of no use: %r", scope.root, error)
            return False
        if walk.raised is not None:
            raise walk.raised
        return done


@dataclass
class _Walk:
    """One search through the index."""

    scope: Scope
    pool: Pool
    sieve: Sieve
    view: View
    raised: Exception | None = None
    """What ended the search, and is no fault of the index."""
    named: bool = False
    """Whether collections are named, and not all looked through."""
    collections: dict[int, Collection] = field(default_factory=dict)
    """Those that were named, and those of which images were found."""
    verdicts: list[tuple[int, int]] = field(default_factory=list)
    """All that may hold images, and which conditions they fail."""
    names: dict[int, frozenset[str]] = field(default_factory=dict)
    """The names of the fields of those that SQL could not judge."""
    visited: int = 0
    """How many were looked through."""
    failed: Counter[int] = field(default_factory=Counter)
    """How many images that SQL cannot judge fail which conditions."""

    def __post_init__(self) -> None:
        self.terms = clauses_of(self.sieve.query.image_filter, IMAGE_COLUMNS)

    def through(self, numbers: list[int] | None) -> bool:
        """Look through some collections, or all; tell whether that could be done."""
        self.named = numbers is not None
        try:
            done = self._through(self._everything() if numbers is None else numbers)
        except _EndedError as ended:
            self.raised = ended.error
            return True
        if done and not self.named:
            self._count_collections()
        return done

    def _through(self, numbers: list[int] | None) -> bool:
        if numbers is None:
            return False
        for chunk in _chunks(numbers, capped=self.sieve.query.max_images is not None):
            self.view.refresh(chunk, self._bar)
            is_usable = partial(self._is_usable, self.view.homes)
            usable = list(takewhile(is_usable, chunk))
            if not self._look(usable):
                return False
            if self.sieve.full:
                return True
            if len(usable) < len(chunk):
                return False
        return True

    def _bar(self, number: int) -> AbstractContextManager[Any]:
        return self.pool.bar(number, "collection")

    def _is_usable(self, homes: Mapping[int, Home], number: int) -> bool:
        if not self._may_use(homes[number]):
            return False
        if self.named:
            about = self.view.about(number)
            if about is None:
                return False
            self.collections[number] = Collection.from_json(about)
        return True

    def _may_use(self, home: Home) -> bool:
        if self.scope.offline or not home.regular:
            return home.regular
        return home.complete and self.scope.is_young(home.fetched)

    # ---- which collections --------------------------------------------------

    def _everything(self) -> list[int] | None:
        """Give all collections that may hold images and fulfil the conditions."""
        view, offline = self.view, self.scope.offline
        mark = view.seen.listings.get(EVERYTHING, ())
        # NOTE: an old file is not read to learn that what is in it is old.
        if not offline and not self._may_be_young(mark):
            return None
        view.refresh([EVERYTHING])
        home = view.homes[EVERYTHING]
        if not self._may_use(home):
            return None
        loose = sorted(set(view.seen.folders) - view.listed)
        view.refresh(loose, self._bar)
        if not self._judge(loose):
            return None
        self.sieve.all_collections = bool(home.fetched)
        self._account(EVERYTHING, home, more=len(loose))
        return [number for number, failed in self.verdicts if not failed]

    def _may_be_young(self, mark: Mark) -> bool:
        saved = min(mark[0] / 1e9 + _SLACK, time.time()) if mark else 0.0
        return self.scope.is_young(saved)

    def _judge(self, loose: list[int]) -> bool:
        """Apply the conditions to each collection; tell whether all are known."""
        clauses = clauses_of(self.sieve.query.collection_filter, COLLECTION_COLUMNS)
        everything = self.view.segment(EVERYTHING)
        rows = list(everything.ask(collections(clauses, listed=True)))
        on_disk = collections(clauses, listed=False)
        for segment in self.view.parts(loose):
            rows += segment.ask(on_disk)
        condition = self.sieve.query.collection_filter
        unsure = self.view.collections(row[0] for row in rows if row[1])
        for number, odd, failed, may_hold in sorted(rows):
            if odd:
                metadata = unsure[number].metadata
                failed = failing(condition, metadata)
                may_hold = metadata.get("number_of_images") != 0
                self.names[number] = frozenset(metadata)
            if may_hold:
                self.verdicts.append((number, failed))
        known = {row[0] for row in rows}.issuperset(loose)
        return known and all(self.view.homes[number].regular for number in loose)

    def _count_collections(self) -> None:
        """Count those that a search without the index would have looked at."""
        counted = self.verdicts
        if self.sieve.full:
            passing = [number for number, failed in counted if not failed]
            last = passing[self.visited - 1]
            counted = [each for each in counted if each[0] <= last]
        if counted:
            terms = self.sieve.query.collection_filter
            tally = self.sieve.collection_tally
            failed = Counter(each[1] for each in counted)
            tally.count(terms, *sums_of(len(terms.terms()), failed))
            names = (self.names.get(number) for number, _ in counted)
            tally.fields.update(*filter(None, names))

    # ---- which images -------------------------------------------------------

    def _look(self, numbers: list[int]) -> bool:
        """Look through collections until enough is found, and count."""
        sieve = self.sieve
        if self.named:
            matches = sieve.query.collection_filter.matches
            holding = [n for n in numbers if matches(self.collections[n].metadata)]
        else:
            holding = numbers
        answer = Answer.of(self.view, holding, self.terms)
        homes = answer.homes - self.collections.keys()
        self.collections |= self.view.collections(homes)
        with closing(answer.rows()) as rows:
            visited = self._visit(numbers, rows, answer)
        if visited is None:
            return False
        self.visited += len(visited)
        if visited:
            if visited != holding:
                answer = Answer.of(self.view, visited, self.terms)
            terms = sieve.query.image_filter
            apart = sums_of(len(terms.terms()), self.failed)
            sieve.image_tally.count(terms, *apart, by="Python")
            if self.terms is not None:
                sieve.image_tally.count(terms, *answer.sums)
            self.failed.clear()
        return True

    def _visit(
        self, numbers: list[int], rows: Iterator[Row], answer: Answer
    ) -> list[int] | None:
        """Look at the images of collections; None if too much is missing."""
        visited = []
        holding, homes = answer.homes, self.view.homes
        groups = by_home(rows)
        for number in numbers:
            if self.named and not self.sieve.passes(self.collections[number]):
                continue
            visited.append(number)
            if not self._account(number, homes[number]):
                return None
            if number in holding:
                self._sift(number, next(groups), answer.apart)
                if self.sieve.full:
                    break
        return visited

    def _sift(self, number: int, rows: Iterator[Row], unsure: Set[int]) -> None:
        sieve = self.sieve
        if self.terms is None:
            images = [image_at(row) for row in rows]
            if images:
                with _ending():
                    sieve.sift(self.collections[number], images)
            return
        if not unsure and sieve.takes_all:
            sieve.take_all(self.collections[number], list(map(image_at, rows)))
            return
        for row in rows:
            if row[0] in unsure:
                self._judge_apart(number, image_at(row))
            elif not sieve.full:
                self._take(number, image_at(row))
            elif not unsure:
                return

    def _take(self, number: int, image: Image) -> None:
        # NOTE: a context would take longer than what it is about.
        try:
            self.sieve.take(self.collections[number], image)
        except Exception as error:
            raise _EndedError(error) from error

    def _judge_apart(self, number: int, image: Image) -> None:
        """Judge an image as the search without the index does."""
        sieve = self.sieve
        if image.id in sieve.images:
            return
        failed = failing(sieve.query.image_filter, image.metadata)
        self.failed[failed] += 1
        if not failed and not sieve.full:
            self._take(number, image)

    def _account(self, number: int, home: Home, more: int = 0) -> bool:
        """Tell how old a list is and what is missing; False ends the search."""
        sieve, fetched = self.sieve, home.fetched or None
        some = bool(home.listed or more or (home.loose and self.scope.offline))
        if number != EVERYTHING and fetched is None:
            sieve.unlisted_collections += 1
        if not home.trouble:
            sieve.take_account(fetched, (), some=some)
            return True
        with _ending():
            sieve.take_account(fetched, self._missing(number), some=some)
        return sieve.report.in_a_row < MAX_FAILURES_IN_A_ROW

    def _missing(self, number: int) -> list[Failure]:
        known = self.view.missing(number)
        if not self.scope.offline:
            return [*known.listing, *known.senseless]
        failures = [*known.listing, *known.lost, *known.senseless]
        return [*failures, *known.senseless_loose]


class _EndedError(BaseException):
    """What somebody's function, or the policy on errors, raised."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


@contextmanager
def _ending() -> Generator[None]:
    """Tell errors that are no fault of the index from those that are."""
    try:
        yield
    except Exception as error:
        raise _EndedError(error) from error


def _twice(numbers: Sequence[int]) -> bool:
    return len(set(numbers)) < len(numbers)


def _chunks(numbers: Sequence[int], *, capped: bool) -> Iterator[list[int]]:
    """Cut into ascending runs; short ones first, where few may be enough."""
    chunk: list[int] = []
    size = _FIRST
    for number in numbers:
        if chunk and (number < chunk[-1] or (capped and len(chunk) >= size)):
            yield chunk
            size, chunk = 2 * size, []
        chunk.append(number)
    if chunk:
        yield chunk
