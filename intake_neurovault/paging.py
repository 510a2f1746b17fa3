"""A whole list from a server that gives pages, some of which fail or shift.

Pure but for the function that asks for a page. A page that fails is taken apart
until the one record that spoils it is found; a list that moved while it was read
is read again. Behind the first page, several pages may be asked for at a time; what
they hold is put together as if they had come one after the other.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any

from intake_neurovault.errors import Failure, NeuroVaultError
from intake_neurovault.pages import SMALLEST, Ask, Cursor, Page
from intake_neurovault.pool import Pool
from intake_neurovault.retry import Policy, Trouble

PAGES_AT_ONCE = 4
"""Most pages of one list that are worth asking for at a time."""

_MOST_IN_A_ROW = 100  # failed requests, as many as nilearn allows
_MOST_LOST = 100  # records of one list that may be missing before it is given up
_MOST_RECORDS = 1_000_000  # of one list; all of NeuroVault has about half as many
_MOST_PAGES = 500  # whole pages, besides one for each `SMALLEST` records
_MOST_SENSELESS = 1000  # records without an id, where none has one
_SLOW_COUNTS = 10  # failed requests for which one that timed out stands
_PROBES = 8  # records tried when the first of a list cannot be had


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
class _Step:
    """One request for a page, and what came of it."""

    cursor: Cursor
    outcome: Page | Trouble
    following: Cursor | None

    @property
    def rest(self) -> Cursor | None:
        """Where whole pages follow; None while a bad record is looked for."""
        page, cursor = self.outcome, self.following
        if isinstance(page, Trouble) or cursor is None or cursor.until is not None:
            return None
        # NOTE: a server may give shorter pages than it is asked for.
        received = len(page.rows)
        return (
            cursor if received >= self.cursor.limit else replace(cursor, size=received)
        )


@dataclass
class _Pace:
    """What the readers of one list tell each other."""

    size: int
    least: int
    halted: bool = False


@dataclass
class _Scan:
    """What one pass through a list brought, while it goes on."""

    size: int
    least: int
    shown: str = ""
    collection_id: int | None = None
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    stale: int = 0
    spent: int = 0
    pages: int = 0
    endless: bool = False
    trouble: Trouble | None = None
    over: bool = False

    @property
    def count(self) -> int | None:
        return self.counts[-1] if self.counts else None

    @property
    def moved(self) -> bool:
        # NOTE: a record that is deleted while the list is read moves the rest up,
        # and one is never seen though the numbers agree in the end. Where a later
        # page came earlier, one that is added does the same.
        return any(later < earlier for earlier, later in pairwise(self.counts))

    @property
    def whole(self) -> bool:
        if self.trouble is not None or self.endless or self.moved:
            return False
        return self.count is None or len(self.rows) + len(self.failures) >= self.count

    @property
    def hopeless(self) -> bool:
        return self.spent > _MOST_IN_A_ROW or len(self.failures) > _MOST_LOST

    @property
    def stuck(self) -> bool:
        # NOTE: a server that ignores the offset gives the same page for ever.
        enough = min(self.size, len(self.rows)) or _MOST_SENSELESS
        return self.stale >= enough

    @property
    def excessive(self) -> bool:
        # NOTE: a server may give far shorter pages than it is asked for, but not for
        # ever: with one new record on each, a list could go on for years.
        due = _MOST_PAGES + len(self.rows) / self.least
        return self.pages > due or len(self.rows) > _MOST_RECORDS

    def note(self, step: _Step) -> None:
        outcome, offset = step.outcome, step.cursor.offset
        if isinstance(outcome, Page):
            self.take(outcome, offset)
            self.pages += step.cursor.until is None
            self.over = outcome.last or not outcome.rows or self.stuck
            self.endless = not self.over and self.excessive
            self.over |= self.endless
            return
        attempts = outcome.error.attempts
        self.spent += attempts * (_SLOW_COUNTS if outcome.kind == "slow" else 1)
        if step.following is None or self.hopeless:
            self.trouble, self.over = outcome, True
        elif step.following.offset > offset:
            self.lose(offset, str(outcome.error), attempts)

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
        if page.count is not None:
            self.counts.append(page.count)
        self.stale = 0 if len(self.rows) > known else self.stale + len(page.rows)
        self.spent = 0


def collect(
    ask: Ask,
    policy: Policy,
    *,
    sizes: Sequence[int],
    shown: str,
    collection_id: int | None = None,
    at_once: int = 1,
) -> Listing | Trouble:
    """Read a whole list.

    Parameters
    ----------
    ask : callable
        Asks for one page; from several threads if `at_once` is more than 1.
    policy : Policy
        How often to ask for a page that must not fail.
    sizes : sequence of int
        Records of a page in the first pass, and in each further one that is made
        if the list turns out short or moved meanwhile.
    shown : str
        The address of the list, for the report.
    collection_id : int, optional
        The collection that is listed, for the report.
    at_once : int
        Most pages that are asked for at a time, once the first has come.

    Returns
    -------
    Listing or Trouble
        The list, the same whatever `at_once`; trouble only if no record at all
        could be had.

    Examples
    --------
    >>> def ask(offset, limit, policy):
    ...     rows = [{"id": i} for i in range(offset, min(offset + limit, 5))]
    ...     return Page(tuple(rows), 5, offset + limit >= 5)
    >>> len(collect(ask, Policy(), sizes=(2,), shown="", at_once=2).records)
    5
    """
    merged: dict[int, dict[str, Any]] = {}
    for size in sizes:
        scan = _Scan(size, min(size, SMALLEST), shown, collection_id)
        _read_through(ask, policy, scan, at_once)
        if scan.trouble and not (scan.rows or merged):
            return scan.trouble
        merged.update(scan.rows)
        if scan.whole or scan.trouble or scan.endless:
            break
    found = scan.rows if scan.whole else merged
    failures = list(scan.failures)
    if not scan.whole:
        reason, attempts = _shortfall(scan, len(found))
        failures.append(Failure(None, collection_id, shown, reason, attempts))
    records = tuple(found[number] for number in sorted(found))
    return Listing(records, scan.count, tuple(failures))


def _read_through(ask: Ask, policy: Policy, scan: _Scan, at_once: int) -> None:
    pace = _Pace(scan.size, scan.least)
    rest = _begin(ask, policy, scan, pace, at_once)
    if rest is None:
        return
    stretches = _stretches(rest, scan.count or 0)
    with closing(_ahead(ask, policy, pace, stretches, at_once)) as steps:
        for step in steps:
            scan.note(step)
            if scan.over:
                return


def _begin(
    ask: Ask, policy: Policy, scan: _Scan, pace: _Pace, at_once: int
) -> Cursor | None:
    """Read the first page, or the whole list if one page is asked for at a time."""
    for step in _steps(ask, policy, Cursor(size=scan.size), pace):
        scan.note(step)
        if scan.over:
            break
        if at_once > 1 and step.rest is not None:
            return step.rest
    return None


def _steps(ask: Ask, policy: Policy, cursor: Cursor, pace: _Pace) -> Iterator[_Step]:
    following: Cursor | None = cursor
    while following is not None and not (following.done or pace.halted):
        cursor = following
        page = ask(cursor.offset, cursor.limit, cursor.patience(policy))
        if isinstance(page, Trouble):
            following = cursor.failed(page.kind)
            if following is not None and following.offset > cursor.offset == 0:
                following = following if _serves(ask, policy) else None
            elif following is not None:
                pace.size = min(pace.size, following.size)
        else:
            following = cursor.after(len(page.rows))
        yield _Step(cursor, page, following)


def _serves(ask: Ask, policy: Policy) -> bool:
    """Tell whether a list whose first record cannot be had is worth going on with."""
    # NOTE: a page behind the end is empty, and needs no record to be served.
    count = ask(_MOST_RECORDS, 1, replace(policy, attempts=min(2, policy.attempts)))
    if isinstance(count, Trouble):
        return False
    if count.rows or count.count is None:
        return True
    stride = max(1, (count.count - 1) // _PROBES)
    places = range(count.count - 1, 0, -stride)[:_PROBES]
    once = replace(policy, attempts=1)
    return any(isinstance(ask(place, 1, once), Page) for place in places)


def _stretches(rest: Cursor, count: int) -> Iterator[Cursor]:
    """Divide what is behind the first page; the last stretch has no end."""
    for offset in range(rest.offset, max(count, rest.offset + 1), rest.size):
        end = offset + rest.size
        yield replace(rest, offset=offset, end=end if end < count else None)


def _ahead(
    ask: Ask, policy: Policy, pace: _Pace, stretches: Iterator[Cursor], at_once: int
) -> Generator[_Step]:
    """Read several stretches at a time, and give their steps in order."""
    read = partial(_read, ask, policy, pace)
    with Pool(at_once).map(read, stretches) as outcomes:
        try:
            for _, steps in outcomes:
                if isinstance(steps, NeuroVaultError):
                    raise steps
                yield from steps
        finally:
            # NOTE: whoever still reads would only make the end wait.
            pace.halted = True


def _read(ask: Ask, policy: Policy, pace: _Pace, stretch: Cursor) -> list[_Step]:
    scan, steps = _Scan(stretch.size, pace.least), []
    cursor = replace(stretch, size=min(stretch.size, pace.size))
    for step in _steps(ask, policy, cursor, pace):
        steps.append(step)
        scan.note(step)
        if scan.over:
            break
    return steps


def _shortfall(scan: _Scan, found: int) -> tuple[str, int]:
    if scan.trouble is not None:
        error = scan.trouble.error
        return f"{error} The list was read no further.", error.attempts
    if scan.endless:
        reason = (
            f"The list comes to no end: after {found:,} records on {scan.pages:,} "
            "pages it was read no further; check url=."
        )
        return reason, 1
    if scan.moved:
        return "The list changed each time it was read; ask again later.", 1
    return f"The server counts {scan.count} records, but listed only {found}.", 1
