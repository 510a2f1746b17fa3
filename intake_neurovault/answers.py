"""What the index says of the images of some collections."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from heapq import merge
from itertools import chain, groupby
from operator import add, itemgetter
from typing import Any

from intake_neurovault.bodies import Body, image_of
from intake_neurovault.clauses import PLACES, Clause, clause_of
from intake_neurovault.filters import Filter
from intake_neurovault.questions import MOST_TERMS, apart, tally
from intake_neurovault.records import Image
from intake_neurovault.schema import Kind
from intake_neurovault.segment import Segment
from intake_neurovault.view import View

Row = tuple[int, int, Body]
"""The place of an image, the number of the collection that it names, its record."""


@dataclass
class Answer:
    """Which images match, or may, and how many do not."""

    counts: list[int]
    """Of those that SQL can judge, as `questions.tally` gives them."""
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
        answer = cls([0] * (1 + 2 * len(terms)))
        for segment in view.parts(numbers):
            asked = tally(terms, alone=alone, doubled=doubled)
            ((*counts, text),) = segment.ask(asked)
            answer.counts = list(map(add, answer.counts, counts))
            others = segment.ask(apart(alone=alone, doubled=doubled))
            unsure = [place for (place,) in others]
            answer.apart.update(unsure)
            sure = map(int, text.split(",")) if text else ()
            answer.places.append((segment, sorted([*sure, *unsure])))
        return answer

    def homes(self) -> set[int]:
        """Tell in which collections the images are.

        Returns
        -------
        set of int
            Their ids.
        """
        return {place // PLACES for _, some in self.places for place in some}

    def rows(self, url: str) -> Generator[Row]:
        """Give the records of the images that match, or may.

        Parameters
        ----------
        url : str
            The server.

        Yields
        ------
        Row
            In ascending order of places.
        """
        with ExitStack() as stack:
            rows = [
                stack.enter_context(closing(segment.bodies("image_bodies", some, url)))
                for segment, some in self.places
            ]
            # NOTE: there is most often one segment, and nothing to merge.
            yield from merge(*rows, key=itemgetter(0)) if rows[1:] else chain(*rows)


def by_home(
    numbers: Iterable[int], rows: Iterator[Row]
) -> Iterator[tuple[int, Iterator[Row]]]:
    """Give to each collection its images.

    Parameters
    ----------
    numbers : iterable of int
        The collections, ascending.
    rows : iterator of Row
        Images of some of these, in ascending order of places.

    Yields
    ------
    number : int
        Each of the collections.
    rows : iterator of Row
        Its images, until the next collection is asked for.

    Examples
    --------
    >>> rows = iter([(2 * PLACES + 7, 2, Body((), b"[{}]"))])
    >>> [(number, len(list(some))) for number, some in by_home([1, 2], rows)]
    [(1, 0), (2, 1)]
    """
    groups = groupby(rows, key=_home)
    home, images = next(groups, (None, None))
    for number in numbers:
        if home != number or images is None:
            yield number, iter(())
            continue
        yield number, images
        home, images = next(groups, (None, None))


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
    >>> image_at((2 * PLACES + 7, 2, Body((), b"[{}]"))).id
    7
    """
    place, home, body = row
    return image_of(place % PLACES, home, body)


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


def sums_of(
    condition: Filter, failed: Mapping[int, int]
) -> tuple[int, list[int], list[int]]:
    """Count what the terms of a filter remove.

    Parameters
    ----------
    condition : Filter
        The filter.
    failed : mapping of int to int
        How many records fail just those terms whose bits are set; 0 for all that
        match.

    Returns
    -------
    number : int
        How many records there are.
    removed, alone : list of int
        How many each term removed, and would remove if it were alone.

    Examples
    --------
    >>> from intake_neurovault.filters import parse_filter
    >>> terms = {"name": "a", "age": 3}
    >>> wanted = parse_filter(terms, kinds={}, where="image_terms")
    >>> sums_of(wanted, {0b00: 5, 0b10: 2, 0b11: 1})
    (8, [1, 2], [1, 3])
    """
    bits = [1 << place for place in range(len(condition.terms()))]
    removed = [sum(n for f, n in failed.items() if f & -f == bit) for bit in bits]
    alone = [sum(n for f, n in failed.items() if f & bit) for bit in bits]
    return sum(failed.values()), removed, alone
