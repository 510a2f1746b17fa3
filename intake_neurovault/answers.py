"""What the index says of the images of some collections."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import cached_property
from heapq import merge
from itertools import chain, groupby
from operator import add, itemgetter, sub
from typing import Any, NamedTuple

from intake_neurovault.bodies import Shape, image_of
from intake_neurovault.clauses import PLACES, Clause, clause_of
from intake_neurovault.filters import Filter
from intake_neurovault.questions import MOST_TERMS, apart, tally
from intake_neurovault.records import Image
from intake_neurovault.schema import Kind
from intake_neurovault.segment import Segment
from intake_neurovault.view import View

Row = tuple[int, int, Shape, bytes]
"""The place of an image, the number of the collection that it names, the shape of its
record, and that."""


class Sums(NamedTuple):
    """How many records there are, and what the terms of a filter remove of them."""

    number: int
    """All of them."""
    removed: list[int]
    """Those that pass all terms before this one, but not this one."""
    alone: list[int]
    """Those that each term would remove if it were alone."""

    def plus(self, other: Sums) -> Sums:
        """Add other records.

        Parameters
        ----------
        other : Sums
            Of the same filter.

        Returns
        -------
        Sums
            Of both.

        Examples
        --------
        >>> Sums(2, [1], [2]).plus(Sums(1, [0], [0]))
        Sums(number=3, removed=[1], alone=[2])
        """
        removed = list(map(add, self.removed, other.removed))
        alone = list(map(add, self.alone, other.alone))
        return Sums(self.number + other.number, removed, alone)


@dataclass
class Answer:
    """Which images match, or may, and how many do not."""

    sums: Sums
    """Of those that SQL can judge."""
    places: list[tuple[Segment, list[int]]] = field(default_factory=list)
    """Where those are that match, or may; in ascending order."""
    apart: set[int] = field(default_factory=set)
    """Where those are that SQL cannot judge."""

    @classmethod
    def of(
        cls, view: View, numbers: Sequence[int], terms: Sequence[Clause] | None
    ) -> Answer:
        """Ask the index.

        Parameters
        ----------
        view : View
            The index.
        numbers : sequence of int
            The collections, ascending, which must have been refreshed.
        terms : sequence of Clause or None
            The conditions; all images are given if they cannot be written in SQL.

        Returns
        -------
        Answer
            The answer.
        """
        terms, alone, doubled = terms or (), view.seen.offline, bool(view.doubled)
        answer = cls(sums_of(len(terms), {}))
        for segment in view.parts(numbers):
            how = {"alone": alone, "doubled": doubled}
            asked = tally(terms, **how, whole=segment.whole)
            ((*counts, text),) = segment.ask(asked)
            sure = [int(place) for place in text.split(",")] if text else []
            answer.sums = answer.sums.plus(_sums(counts, len(sure), len(terms)))
            others = segment.ask(apart(**how))
            unsure = [place for (place,) in others]
            answer.apart.update(unsure)
            answer.places.append((segment, sorted([*sure, *unsure])))
        return answer

    @cached_property
    def homes(self) -> set[int]:
        """The collections in which the images are."""
        return {place // PLACES for _, some in self.places for place in some}

    def rows(self) -> Generator[Row]:
        """Give the records of the images that match, or may.

        Yields
        ------
        Row
            In ascending order of places.
        """
        with ExitStack() as stack:
            rows = [
                stack.enter_context(closing(segment.bodies("image_bodies", some)))
                for segment, some in self.places
            ]
            # NOTE: there is most often one segment, and nothing to merge.
            yield from merge(*rows, key=itemgetter(0)) if rows[1:] else chain(*rows)


def _sums(counts: Sequence[int], matching: int, terms: int) -> Sums:
    """Read the answer to `questions.tally`."""
    if not terms:
        return Sums(counts[0], [], [])
    total, *passed = *counts[:terms], matching
    removed = list(map(sub, [total, *passed], passed))
    return Sums(total, removed, [removed[0], *counts[terms:]])


def by_home(rows: Iterator[Row]) -> Iterator[Iterator[Row]]:
    """Part images by the collections they are in.

    Parameters
    ----------
    rows : iterator of Row
        Images, in ascending order of places.

    Yields
    ------
    iterator of Row
        The images of one collection, until those of the next are asked for.

    Examples
    --------
    >>> rows = [(home * PLACES + 7, home, Shape((), ()), b"") for home in (1, 2, 2)]
    >>> [len(list(some)) for some in by_home(iter(rows))]
    [1, 2]
    """
    for _, images in groupby(rows, key=_home):
        yield images


def _home(row: Row) -> int:
    return row[0] // PLACES


def image_at(row: Row) -> Image:
    """Give the image of a row.

    Parameters
    ----------
    row : Row
        As `Answer.rows` gives it.

    Returns
    -------
    Image
        The image.

    Examples
    --------
    >>> image_at((2 * PLACES + 7, 2, Shape((), ()), b"[null,null]")).id
    7
    """
    place, home, shape, text = row
    return image_of(place % PLACES, home, shape, text)


def clauses_of(condition: Filter, columns: Mapping[str, Kind]) -> list[Clause] | None:
    """Write the terms of a filter in SQL.

    Parameters
    ----------
    condition : Filter
        The filter.
    columns : mapping of str to Kind
        The columns there are.

    Returns
    -------
    list of Clause or None
        None if one cannot be written, or there are too many.

    Examples
    --------
    >>> clauses_of(Filter(), {})
    []
    """
    found = [clause_of(term, columns) for term in condition.terms()]
    known = [each for each in found if each is not None]
    return known if len(known) == len(found) <= MOST_TERMS else None


def failing(condition: Filter, metadata: Mapping[str, Any]) -> int:
    """Tell which terms of a filter a record fails.

    Parameters
    ----------
    condition : Filter
        The filter.
    metadata : mapping
        The cleaned metadata.

    Returns
    -------
    int
        With the bit of each of these terms set.

    Examples
    --------
    >>> failing(Filter(), {"id": 3})
    0
    """
    terms = enumerate(condition.terms())
    return sum(1 << place for place, term in terms if not term.matches(metadata))


def sums_of(terms: int, failed: Mapping[int, int]) -> Sums:
    """Count what the terms of a filter remove.

    Parameters
    ----------
    terms : int
        How many there are.
    failed : mapping of int to int
        How many records fail just those terms whose bits are set; 0 for all that
        match.

    Returns
    -------
    Sums
        The numbers.

    Examples
    --------
    >>> sums_of(2, {0b00: 5, 0b10: 2, 0b11: 1})
    Sums(number=8, removed=[1, 2], alone=[1, 3])
    """
    bits = [1 << place for place in range(terms)]
    removed = [sum(n for f, n in failed.items() if f & -f == bit) for bit in bits]
    alone = [sum(n for f, n in failed.items() if f & bit) for bit in bits]
    return Sums(sum(failed.values()), removed, alone)
