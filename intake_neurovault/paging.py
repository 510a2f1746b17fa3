"""A whole list from a server that gives pages, some of which fail or shift.

Pure but for the function that asks for a page. A page that fails is taken apart
until the one record that spoils it is found; a list that moved while it was read
is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from intake_neurovault.errors import AnswerError, Failure
from intake_neurovault.resource import Resource
from intake_neurovault.retry import Kind, Policy, Trouble

SMALLEST = 25
"""Records below which a page that times out is not halved any more."""

_MOST_IN_A_ROW = 100  # failed requests, as many as nilearn allows
_MOST_LOST = 100  # records of one list that may be missing before it is given up
_MOST_RECORDS = 10_000_000
_SLOW_COUNTS = 10  # failed requests for which one that timed out stands


@dataclass(frozen=True)
class Listing:
    """A list, as far as the server gave it."""

    records: tuple[dict[str, Any], ...]
    """The records as served, ascending by id, each id once."""
    count: int | None
    """How many there should be; None when the server does not say."""
    failures: tuple[Failure, ...] = ()
    """What could not be had."""

    @property
    def complete(self) -> bool:
        """Whether nothing is missing.

        Examples
        --------
        >>> Listing(({"id": 1},), count=2).complete
        False
        """
        enough = self.count is None or len(self.records) >= self.count
        return enough and not self.failures


@dataclass(frozen=True)
class Page:
    """One page of a list."""

    rows: tuple[object, ...]
    """Its records."""
    count: int | None
    """How many records the whole list has."""
    last: bool
    """Whether no page follows."""

    @classmethod
    def parse(cls, answer: object, resource: Resource) -> Page | Trouble:
        """Read a page of the API.

        Parameters
        ----------
        answer : object
            What the JSON says.
        resource : Resource
            What was asked.

        Returns
        -------
        Page or Trouble
            The page, or that this is none.

        Examples
        --------
        >>> asked = Resource("http://a.org/", "http://a.org/", "The list")
        >>> Page.parse({"count": 1, "next": None, "results": [{"id": 7}]}, asked)
        Page(rows=({'id': 7},), count=1, last=True)
        """
        if isinstance(answer, Mapping):
            rows, count = answer.get("results"), answer.get("count")
            if isinstance(rows, list) and (count is None or type(count) is int):
                return cls(tuple(rows), count, not answer.get("next"))
        msg = (
            f"{resource.what}: {resource.shown} answered JSON that is not a page of "
            "NeuroVault's lists; check url=."
        )
        return Trouble(AnswerError(msg))


@dataclass(frozen=True)
class Cursor:
    """Where in a list the next page begins, and how long it may be."""

    offset: int = 0
    """Records before it."""
    size: int = 200
    """Records of a page while all goes well."""
    until: int | None = None
    """End of a stretch that is known to hold a record which cannot be served."""

    @property
    def limit(self) -> int:
        """How many records to ask for.

        Examples
        --------
        >>> Cursor(100, 50).limit, Cursor(100, 50, until=110).limit
        (50, 5)
        """
        if self.until is None:
            return self.size
        return max(1, (self.until - self.offset) // 2)

    def after(self, received: int) -> Cursor:
        """Move behind records that were received.

        Parameters
        ----------
        received : int
            How many.

        Returns
        -------
        Cursor
            The next place.

        Examples
        --------
        >>> Cursor(100, 50, until=102).after(1)
        Cursor(offset=101, size=50, until=102)
        """
        offset = self.offset + received
        done = self.until is None or offset >= self.until
        return replace(self, offset=offset, until=None if done else self.until)

    def failed(self, kind: Kind) -> Cursor | None:
        """Decide how to go on after a page that could not be had.

        Parameters
        ----------
        kind : str
            What may help.

        Returns
        -------
        Cursor or None
            A smaller page at the same place, or, if the page was a single record,
            the place behind it; None if a smaller page would not help.

        Examples
        --------
        >>> Cursor(0, 200).failed("broken").limit, Cursor(0, 200).failed("slow").limit
        (100, 100)
        >>> Cursor(7, 200, until=8).failed("broken")
        Cursor(offset=8, size=200, until=None)
        """
        if kind == "broken" or (kind == "slow" and self.until is not None):
            if self.limit == 1:
                return replace(self, offset=self.offset + 1, until=None)
            return replace(self, until=self.offset + self.limit)
        if kind == "slow" and self.size > SMALLEST:
            return replace(self, size=max(SMALLEST, self.size // 2))
        return None

    def patience(self, policy: Policy) -> Policy:
        """Give the policy for this page: hasty where a smaller page is tried next.

        Parameters
        ----------
        policy : Policy
            The policy for a request that must not fail.

        Returns
        -------
        Policy
            The policy for this page.

        Examples
        --------
        >>> Cursor(0, 200).patience(Policy(attempts=5)).broken
        2
        """
        if self.limit == 1:
            return policy
        halved = self.until is not None or self.size > SMALLEST
        return replace(policy, broken=2, slow=1 if halved else None)


Ask = Callable[[int, int, Policy], Page | Trouble]
"""Asks for a page: offset, limit, and how often."""


@dataclass
class _Scan:
    """What one pass through a list brought, while it goes on."""

    size: int
    shown: str
    collection_id: int | None
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    count: int | None = None
    shrunk: bool = False
    stale: int = 0
    spent: int = 0
    trouble: Trouble | None = None

    @property
    def whole(self) -> bool:
        if self.trouble is not None or self.shrunk:
            return False
        return self.count is None or len(self.rows) + len(self.failures) >= self.count

    @property
    def hopeless(self) -> bool:
        return self.spent > _MOST_IN_A_ROW or len(self.failures) > _MOST_LOST

    @property
    def stuck(self) -> bool:
        # NOTE: a server that ignores the offset gives the same page for ever.
        again = self.stale >= min(self.size, len(self.rows)) > 0
        return again or len(self.rows) > _MOST_RECORDS

    def lose(self, offset: int, reason: str, attempts: int) -> None:
        url = f"{self.shown}?limit=1&offset={offset}"
        failure = Failure(None, self.collection_id, url, reason, attempts)
        self.failures.append(failure)

    def take(self, page: Page, offset: int) -> None:
        known = len(self.rows)
        for place, row in enumerate(page.rows, offset):
            if isinstance(row, dict) and type(row.get("id")) is int:
                self.rows.setdefault(row["id"], row)
            else:
                self.lose(place, "The server listed a record without an id.", 1)
        # NOTE: a record that is deleted while the list is read moves the rest up,
        # and one is never seen though the numbers agree in the end.
        if page.count is not None:
            self.shrunk = self.shrunk or page.count < (self.count or 0)
            self.count = page.count
        self.stale = 0 if len(self.rows) > known else self.stale + len(page.rows)
        self.spent = 0


def collect(
    ask: Ask,
    policy: Policy,
    *,
    sizes: Sequence[int],
    shown: str,
    collection_id: int | None = None,
) -> Listing | Trouble:
    """Read a whole list.

    Parameters
    ----------
    ask : callable
        Asks for one page.
    policy : Policy
        How often to ask for a page that must not fail.
    sizes : sequence of int
        Records of a page in the first pass, and in each further one that is made
        if the list turns out short or moved meanwhile.
    shown : str
        The address of the list, for the report.
    collection_id : int, optional
        The collection that is listed, for the report.

    Returns
    -------
    Listing or Trouble
        The list; trouble only if nothing at all could be had.

    Examples
    --------
    >>> def ask(offset, limit, policy):
    ...     rows = [{"id": i} for i in range(offset, min(offset + limit, 5))]
    ...     return Page(tuple(rows), 5, offset + limit >= 5)
    >>> len(collect(ask, Policy(), sizes=(2,), shown="").records)
    5
    """
    merged: dict[int, dict[str, Any]] = {}
    for size in sizes:
        scan = _scan(ask, policy, _Scan(size, shown, collection_id))
        if scan.trouble and not (scan.rows or scan.failures or merged):
            return scan.trouble
        merged.update(scan.rows)
        if scan.whole or scan.trouble:
            break
    found = scan.rows if scan.whole else merged
    failures = list(scan.failures)
    if not scan.whole:
        reason, attempts = _shortfall(scan, len(found))
        failures.append(Failure(None, collection_id, shown, reason, attempts))
    records = tuple(found[number] for number in sorted(found))
    return Listing(records, scan.count, tuple(failures))


def _scan(ask: Ask, policy: Policy, scan: _Scan) -> _Scan:
    cursor = Cursor(size=scan.size)
    while True:
        page = ask(cursor.offset, cursor.limit, cursor.patience(policy))
        if isinstance(page, Trouble):
            attempts = page.error.attempts
            scan.spent += attempts * (_SLOW_COUNTS if page.kind == "slow" else 1)
            following = cursor.failed(page.kind)
            if following is None or scan.hopeless:
                scan.trouble = page
                return scan
            if following.offset > cursor.offset:
                scan.lose(cursor.offset, str(page.error), attempts)
            cursor = following
            continue
        scan.take(page, cursor.offset)
        cursor = cursor.after(len(page.rows))
        if page.last or not page.rows or scan.stuck:
            return scan


def _shortfall(scan: _Scan, found: int) -> tuple[str, int]:
    if scan.trouble is not None:
        error = scan.trouble.error
        return f"{error} The list was read no further.", error.attempts
    if scan.shrunk:
        return "The list shrank each time it was read; ask again later.", 1
    return f"The server counts {scan.count} records, but listed only {found}.", 1
