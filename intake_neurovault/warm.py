"""Searches that need no request: answered from the index, exactly as without it.

Whatever the index cannot answer for certain it leaves to the listings: a list that is
too old, a private collection, a record without an id of usual size.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from heapq import merge
from itertools import groupby, takewhile
from operator import itemgetter
from pathlib import Path
from typing import Any

from intake_neurovault.clauses import Clause, clause_of
from intake_neurovault.filters import Filter
from intake_neurovault.index import View, index_of
from intake_neurovault.pieces import (
    COLLECTION_COLUMNS,
    EVERYTHING,
    IMAGE_COLUMNS,
    Home,
    Mark,
    Missing,
    collection_of,
)
from intake_neurovault.pool import MAX_FAILURES_IN_A_ROW, Pool
from intake_neurovault.questions import (
    MOST_TERMS,
    collection,
    collections,
    counts,
    matching,
    odd,
)
from intake_neurovault.records import Collection, Image
from intake_neurovault.schema import Kind
from intake_neurovault.segment import REFUSALS
from intake_neurovault.sieve import Sieve

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
    verdicts: list[tuple[int, int, frozenset[str]]] = field(default_factory=list)
    """All that may hold images, the conditions they fail, the names of their fields."""
    visited: int = 0
    """How many were looked through."""

    def __post_init__(self) -> None:
        self.terms = _clauses(self.sieve.query.image_filter, IMAGE_COLUMNS)
        self.read = partial(Image.from_json, base_url=self.scope.url)

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
            usable = list(takewhile(self._is_usable, chunk))
            if self.view.doubled or not self._look(usable):
                return False
            if self.sieve.full:
                return True
            if len(usable) < len(chunk):
                return False
        return True

    def _bar(self, number: int) -> AbstractContextManager[Any]:
        return self.pool.bar(number, "collection")

    def _is_usable(self, number: int) -> bool:
        home = self.view.home(number)
        if home is None or not self._may_use(home):
            return False
        if self.named:
            about = self.view.segment(number).about(number)
            if about is None:
                return False
            self.collections[number] = Collection.from_json(about)
        return True

    def _may_use(self, home: Home) -> bool:
        young = home.complete and self.scope.is_young(home.fetched)
        return home.regular and (self.scope.offline or young)

    # ---- which collections --------------------------------------------------

    def _everything(self) -> list[int] | None:
        """Give all collections that may hold images and fulfil the conditions."""
        view, offline = self.view, self.scope.offline
        mark = view.seen.listings.get(EVERYTHING, ())
        # NOTE: an old file is not read to learn that what is in it is old.
        if not offline and not self._may_be_young(mark):
            return None
        view.refresh([EVERYTHING])
        home = view.home(EVERYTHING)
        if home is None or not self._may_use(home):
            return None
        loose = sorted(set(view.seen.folders) - view.listed)
        view.refresh(loose, self._bar)
        if not self._judge(loose):
            return None
        self.sieve.all_collections = bool(home.fetched)
        self._account(EVERYTHING, home, more=len(loose))
        return [number for number, failed, _ in self.verdicts if not failed]

    def _may_be_young(self, mark: Mark) -> bool:
        saved = min(mark[0] / 1e9 + _SLACK, time.time()) if mark else 0.0
        return self.scope.is_young(saved)

    def _judge(self, loose: list[int]) -> bool:
        """Apply the conditions to each collection; tell whether all are known."""
        clauses = _clauses(self.sieve.query.collection_filter, COLLECTION_COLUMNS)
        everything = self.view.segment(EVERYTHING)
        rows = list(everything.ask(collections(clauses, listed=True)))
        on_disk = collections(clauses, listed=False)
        for segment in self.view.parts(loose):
            rows += segment.ask(on_disk)
        homes = map(self.view.home, loose)
        known = {row[0] for row in rows}.issuperset(loose)
        for number, body, failed, may_hold in sorted(rows):
            names: frozenset[str] = frozenset()
            if body is not None:
                metadata = collection_of(body).metadata
                failed = _failed(self.sieve.query.collection_filter, metadata)
                may_hold = metadata.get("number_of_images") != 0
                names = frozenset(metadata)
            if may_hold:
                self.verdicts.append((number, failed, names))
        return known and all(home and home.regular for home in homes)

    def _count_collections(self) -> None:
        """Count those that a search without the index would have looked at."""
        passing = [number for number, failed, _ in self.verdicts if not failed]
        counted = self.verdicts
        if self.sieve.full:
            last = passing[self.visited - 1]
            counted = [each for each in counted if each[0] <= last]
        if counted:
            failed = Counter(each[1] for each in counted)
            tally = self.sieve.collection_tally
            tally.count(self.sieve.query.collection_filter, failed)
            tally.fields.update(*(each[2] for each in counted))

    # ---- which images -------------------------------------------------------

    def _look(self, numbers: list[int]) -> bool:
        """Look through collections until enough is found, and count."""
        sieve, terms = self.sieve, self.terms
        if self.named:
            matches = sieve.query.collection_filter.matches
            holding = [n for n in numbers if matches(self.collections[n].metadata)]
        else:
            holding = numbers
        visited = []
        with closing(self._rows(holding)) as rows:
            for number, images in _grouped(numbers, rows):
                if self.named and not sieve.passes(self.collections[number]):
                    continue
                home = self.view.home(number)
                visited.append(number)
                if home is None or not self._account(number, home):
                    return False
                self._sift(number, map(self.read, map(json.loads, images)))
                if sieve.full:
                    break
        self.visited += len(visited)
        if terms is not None and visited:
            failed = self._counts(visited, terms)
            sieve.image_tally.count(sieve.query.image_filter, failed)
        return True

    def _rows(self, numbers: list[int]) -> Generator[tuple[int, int, str]]:
        question = matching(_all(self.terms or ()), alone=self.scope.offline)
        with ExitStack() as stack:
            answers = [segment.ask(question) for segment in self.view.parts(numbers)]
            for each in answers:
                stack.enter_context(closing(each))
            yield from merge(*answers)

    def _sift(self, number: int, images: Iterator[Image]) -> None:
        sieve = self.sieve
        with _ending():
            if self.terms is None:
                sieve.sift(self._collection(number), list(images))
                return
            for image in images:
                # NOTE: odd records are here, too, whether they match or not.
                if sieve.query.image_filter.matches(image.metadata):
                    sieve.take(self._collection(number), image)
                    if sieve.full:
                        return

    def _counts(self, numbers: list[int], terms: Sequence[Clause]) -> Counter[int]:
        alone = self.scope.offline
        found: Counter[int] = Counter()
        for segment in self.view.parts(numbers):
            found.update(dict(segment.ask(counts(terms, alone=alone))))
            for (body,) in segment.ask(odd(alone=alone)):
                metadata = self.read(json.loads(body)).metadata
                found[_failed(self.sieve.query.image_filter, metadata)] += 1
        return found

    def _collection(self, number: int) -> Collection:
        if number not in self.collections:
            listed = number in self.view.listed
            home = EVERYTHING if listed else number
            question = collection(number, listed=listed)
            (body,) = next(self.view.segment(home).ask(question))
            self.collections[number] = collection_of(body)
        return self.collections[number]

    def _account(self, number: int, home: Home, more: int = 0) -> bool:
        """Tell how old a list is and what is missing; False ends the search."""
        sieve, offline = self.sieve, self.scope.offline
        known = self.view.segment(number).missing(number) if home.trouble else Missing()
        failures = [*known.listing, *known.senseless]
        if offline:
            failures = [*known.listing, *known.lost, *known.senseless]
            failures += known.senseless_loose
        some = home.listed + more + (home.loose if offline else 0)
        with _ending():
            sieve.take_account(home.fetched or None, failures, some=some > 0)
        if number != EVERYTHING:
            sieve.unlisted_collections += not home.fetched
        return sieve.report.in_a_row < MAX_FAILURES_IN_A_ROW


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


def _clauses(condition: Filter, columns: Mapping[str, Kind]) -> list[Clause] | None:
    found = [clause_of(term, columns) for term in condition.terms()]
    known = [each for each in found if each is not None]
    return known if len(known) == len(found) <= MOST_TERMS else None


def _all(clauses: Sequence[Clause]) -> Clause:
    values = tuple(value for each in clauses for value in each.values)
    return Clause(" AND ".join(each.sql for each in clauses) or "1", values)


def _failed(condition: Filter, metadata: Mapping[str, Any]) -> int:
    terms = enumerate(condition.terms())
    return sum(1 << place for place, term in terms if not term.matches(metadata))


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


def _grouped(
    numbers: Iterable[int], rows: Iterator[tuple[int, int, str]]
) -> Iterator[tuple[int, Iterator[str]]]:
    """Give to each collection the records of its images."""
    groups = groupby(rows, key=itemgetter(0))
    home, images = next(groups, (None, None))
    for number in numbers:
        if home != number or images is None:
            yield number, iter(())
            continue
        yield number, (row[2] for row in images)
        home, images = next(groups, (None, None))
