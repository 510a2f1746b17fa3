"""What a query found, and what to say when it found nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, groupby
from typing import Any, Literal

from intake_neurovault.errors import Failure
from intake_neurovault.filters import Filter, Step, explain, unknown_fields
from intake_neurovault.notices import warn
from intake_neurovault.pool import Pool
from intake_neurovault.records import Collection, Image
from intake_neurovault.schema import COLLECTION_KINDS, IMAGE_KINDS

_HOMES = {
    "image_terms": ("collections", "collection_terms"),
    "collection_terms": ("images", "image_terms"),
}
FUNCTION = "your function"
"""What judged the images that a Python function refused."""

_HANDFUL = 5  # lists that are asked for before there is a progress bar
_KINDS = {"image_terms": set(IMAGE_KINDS), "collection_terms": set(COLLECTION_KINDS)}


@dataclass
class Aftermath:
    """What failed after a search: a file, a geometry, the words of an image."""

    failures: dict[str, tuple[Failure, ...]] = field(default_factory=dict)
    """The failures of each kind of work."""

    def note(self, work: str, images: Iterable[Image], new: Iterable[Failure]) -> None:
        """Replace what is known of some images, and leave the others.

        Parameters
        ----------
        work : str
            The kind of work.
        images : iterable of Image
            What it was done on.
        new : iterable of Failure
            What failed this time.
        """
        asked = {image.id for image in images}
        old = [each for each in self.failures.get(work, ()) if each.id not in asked]
        self.failures[work] = (*old, *new)

    def rows(self) -> list[Failure]:
        """List what failed.

        Returns
        -------
        list of Failure
            All kinds of work, one after the other.
        """
        return list(chain.from_iterable(self.failures.values()))


@dataclass(frozen=True)
class Found:
    """What a query found."""

    images: tuple[Image, ...]
    """The matching images, in the order of the result."""
    collections: Mapping[int, Collection]
    """The collections they are in, by id."""
    failures: tuple[Failure, ...]
    """What could not be looked at."""
    steps: tuple[Step, ...]
    """How many records each term removed, those on collections first."""
    fetched: float | None
    """When the oldest listing used was given by the server (Unix time)."""
    truncated: bool
    """Whether the cap ended the search before everything was looked at."""

    @property
    def moment(self) -> datetime | None:
        """When the oldest listing used was given, in UTC."""
        return (
            None if self.fetched is None else datetime.fromtimestamp(self.fetched, UTC)
        )

    @property
    def listed(self) -> str | None:
        """When the oldest listing used was given, ISO 8601 in UTC."""
        return self.moment.isoformat(timespec="seconds") if self.moment else None

    @property
    def blame(self) -> int | None:
        """The place in `steps` of the term to blame if nothing was found.

        Of the terms among which the last records got lost, the one that would have
        removed most of them alone; None if something was found, or nothing removed.

        Examples
        --------
        >>> first = Step("DOI is not null", 7, 7, "collections", seen=9)
        >>> others = Step("age >= 20", 1, 1, seen=4), Step("age < 2", 3, 4, seen=3)
        >>> Found((), {}, (), (first, *others), None, truncated=False).blame
        2
        """
        if self.images:
            return None
        places = range(len(self.steps))
        stages = [list(stage) for _, stage in groupby(places, self._stage)]
        reached = (s for s in reversed(stages) if self.steps[s[0]].seen)
        worst = max(next(reached, ()), key=lambda i: self.steps[i].alone, default=None)
        return worst if worst is not None and self.steps[worst].alone else None

    def _stage(self, place: int) -> tuple[str, bool]:
        # NOTE: numbers of collections and of images cannot be compared, and a function
        # is asked only of the images that fulfil all terms.
        step = self.steps[place]
        return step.of, step.by == FUNCTION

    def why_empty(self) -> str:
        """Say why nothing was found, and what to do about it.

        Returns
        -------
        str
            One sentence that names the term to blame.
        """
        if self.blame is not None:
            blame = self.steps[self.blame]
            return (
                f"No image matched: the term {blame.term!r} alone removed "
                f"{blame.alone} records; relax it, or look at .explain()."
            )
        if self.failures:
            return f"No image could be had: {self.failures[0].reason}"
        return (
            "No image matched, and there was nothing to filter: check image_ids and "
            "collection_ids, and with mode='offline' whether the store was filled."
        )


def outcome(search: Generator[Image, None, Found]) -> Found:
    """Run a search to its end.

    Parameters
    ----------
    search : generator
        As `Finder.find` makes it.

    Returns
    -------
    Found
        What it found.

    Examples
    --------
    >>> def search():
    ...     yield from ()
    ...     return Found((), {}, (), (), None, truncated=False)
    >>> outcome(search()).images
    ()
    """
    while True:
        try:
            next(search)
        except StopIteration as end:
            found: Found = end.value
            return found


@dataclass
class Tally:
    """How many records each term of one filter removed so far.

    Examples
    --------
    >>> from intake_neurovault.filters import parse_filter
    >>> tally = Tally()
    >>> terms = parse_filter({"name": "a"}, kinds={}, where="image_terms")
    >>> tally.sift(terms, [{"name": "a"}, {"name": "b"}])
    [0]
    >>> tally.steps[0].removed, tally.looked_at
    (1, 2)
    """

    steps: list[Step] = field(default_factory=list)
    """One for each term."""
    fields: set[str] = field(default_factory=set)
    """The names of all fields of the records."""
    looked_at: int = 0
    """How many records."""
    judges: set[str] = field(default_factory=set)
    """What judged them."""

    def account(
        self, terms: Filter, of: Literal["collections", "images"]
    ) -> list[Step]:
        """Give what each term did, with how many records it saw.

        Parameters
        ----------
        terms : Filter
            The filter, which need not have been applied to anything.
        of : {"collections", "images"}
            What the records are of.

        Returns
        -------
        list of Step
            One for each term, in order.
        """
        by = " and ".join(sorted(self.judges)) or "Python"
        steps, left = [], self.looked_at
        for step in self.steps or _untouched(terms):
            steps.append(replace(step, of=of, seen=left, by=by))
            left -= step.removed
        return steps

    def sift(self, terms: Filter, records: Sequence[Mapping[str, Any]]) -> list[int]:
        """Count, and give the places of the records that match.

        Parameters
        ----------
        terms : Filter
            The filter, the same each time.
        records : sequence of mapping
            Cleaned metadata.

        Returns
        -------
        list of int
            Where in `records` those are that match.
        """
        more = explain(terms, records)
        before = self.steps or _untouched(terms)
        self.steps = [
            Step(old.term, old.removed + new.removed, old.alone + new.alone)
            for old, new in zip(before, more, strict=True)
        ]
        self.looked_at += len(records)
        self.judges.add("Python")
        for record in records:
            self.fields.update(record)
        return [place for place, record in enumerate(records) if terms.matches(record)]

    def count(
        self,
        terms: Filter,
        number: int,
        removed: Sequence[int],
        alone: Sequence[int],
        *,
        by: str = "index",
    ) -> None:
        """Count records that were looked at elsewhere.

        Parameters
        ----------
        terms : Filter
            The filter, the same each time.
        number : int
            How many records.
        removed, alone : sequence of int
            How many of them each term removed, and would remove if it were alone.
        by : str
            What judged them.

        Examples
        --------
        >>> from intake_neurovault.filters import parse_filter
        >>> tally = Tally()
        >>> terms = {"name": "a", "age": 3}
        >>> wanted = parse_filter(terms, kinds={}, where="image_terms")
        >>> tally.count(wanted, 8, [1, 2], [1, 3])
        >>> [(step.removed, step.alone) for step in tally.steps], tally.looked_at
        ([(1, 1), (2, 3)], 8)
        """
        before = self.steps or _untouched(terms)
        self.steps = [
            Step(step.term, step.removed + first, step.alone + each)
            for step, first, each in zip(before, removed, alone, strict=True)
        ]
        self.looked_at += number
        if number:
            self.judges.add(by)

    def warn_of_unknown_fields(
        self, where: Literal["image_terms", "collection_terms"], terms: Filter
    ) -> None:
        """Warn of the fields of a filter that no record has.

        Parameters
        ----------
        where : {"image_terms", "collection_terms"}
            The argument with the filter.
        terms : Filter
            The filter.

        Warns
        -----
        NeuroVaultWarning
            Once for each of those fields; with none if no record was looked at.
        """
        if not self.looked_at:
            return
        kind, place = _HOMES[where]
        known = _KINDS[where] | self.fields
        for name, suggestion in unknown_fields(terms, known, ()).items():
            hint = f"; did you mean {suggestion!r}?" if suggestion else "."
            if name in _KINDS[place]:
                hint = f"; it is a field of {kind}: use {place}."
            msg = f"{where}: no record has a field {name!r}{hint}"
            warn(msg)


def _untouched(terms: Filter) -> list[Step]:
    return [Step(term.describe(), 0, 0) for term in terms.terms()]


@dataclass
class Watch:
    """Shows how many lists were looked through, once some had to be asked for.

    Examples
    --------
    >>> watch = Watch(Pool(progress=False), number=20)
    >>> watch.note(asked=True)
    >>> watch.done, watch.asked
    (1, 1)
    """

    pool: Pool
    """Makes the progress bar."""
    number: int
    """How many lists there are."""
    done: int = 0
    """How many were looked through."""
    asked: int = 0
    """For how many of these the server was asked."""
    bar: Any = None
    """The bar, once there is one."""
    stack: ExitStack = field(default_factory=ExitStack)
    """What ends the bar."""

    def note(self, *, asked: bool) -> None:
        """Count one list.

        Parameters
        ----------
        asked : bool
            Whether the server was asked for it.
        """
        self.done += 1
        self.asked += asked
        if self.bar is not None:
            self.bar.update(1)
        elif self.asked > _HANDFUL:
            self.bar = self.stack.enter_context(
                self.pool.bar(self.number, "collection")
            )
            self.bar.update(self.done)

    def close(self) -> None:
        """End the bar."""
        self.stack.close()
