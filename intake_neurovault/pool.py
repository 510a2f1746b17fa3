"""Many jobs at a time, in a fixed order, with one policy on what fails."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypeVar, cast, get_args

from tqdm import tqdm

from intake_neurovault import halt
from intake_neurovault.crew import MAX_WORKERS, Crew
from intake_neurovault.errors import (
    ArgumentError,
    ChangedError,
    Failure,
    MissingError,
    NeuroVaultError,
    OfflineError,
    PrivateError,
    StoreError,
)
from intake_neurovault.notices import warn

A = TypeVar("A")
B = TypeVar("B")

ErrorPolicy = Literal["raise", "warn", "skip"]
"""``raise`` stops at the first failure; ``warn`` goes on and warns once at the
end; ``skip`` goes on and only reports in ``.failures``."""

MAX_FAILURES_IN_A_ROW = 100
"""So many failures one after the other, and no more is asked for: the server is down.

The figure is that of ``nilearn.datasets.fetch_neurovault``.
"""

MAX_FAILURES_IN_COLLECTION = 30
"""So many failures in one collection, and no more of it is asked for.

The figure is that of ``nilearn.datasets.fetch_neurovault``.
"""

HARMLESS = (MissingError, PrivateError, OfflineError, ChangedError)
"""What says nothing about the next job: it does not count as a failure in a row."""


def parse_workers(workers: object) -> int:
    """Check a number of workers.

    Parameters
    ----------
    workers : int
        From 1 to 16.

    Returns
    -------
    int
        The number.

    Raises
    ------
    ArgumentError
        If it is none, or out of range.

    Examples
    --------
    >>> parse_workers("8")
    8
    """
    try:
        number = int(str(workers))
    except ValueError:
        number = 0
    if not 1 <= number <= MAX_WORKERS:
        msg = f"workers={workers!r} must be a whole number from 1 to {MAX_WORKERS}."
        raise ArgumentError(msg)
    return number


def parse_errors(errors: object) -> ErrorPolicy:
    """Check the name of a policy on errors.

    Parameters
    ----------
    errors : {"raise", "warn", "skip"}
        What a failure does.

    Returns
    -------
    str
        The policy.

    Raises
    ------
    ArgumentError
        If there is no such policy.

    Examples
    --------
    >>> parse_errors("warn")
    'warn'
    """
    if errors in get_args(ErrorPolicy):
        return cast("ErrorPolicy", errors)
    choices = ", ".join(repr(name) for name in get_args(ErrorPolicy))
    msg = f"'errors' must be one of {choices}, or None for the default; got {errors!r}."
    raise ArgumentError(msg)


class Unwatched:
    """In place of a progress bar, where nobody watches.

    A bar of tqdm starts a thread and takes a lock that forked processes share, even
    if it is not shown: whoever is killed while holding it stops all the others.

    Examples
    --------
    >>> with Unwatched() as bar:
    ...     bar.update(1)
    """

    total: float | None = None
    """How much there is to do, as far as it is known."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End without a trace."""

    def update(self, _count: float) -> None:
        """Show nothing."""


@dataclass(frozen=True)
class Pool:
    """How many jobs run at a time, and what a failure does."""

    workers: int = 8
    """How many at a time."""
    errors: ErrorPolicy = "raise"
    """What a failure does."""
    progress: bool | None = None
    """Whether to show progress bars; None: only where somebody watches."""

    @contextmanager
    def map(
        self,
        function: Callable[[A], B],
        items: Iterable[A],
        *,
        spare: int = 0,
        ahead: Callable[[], int] = lambda: 0,
        enough: Callable[[], bool] = lambda: False,
    ) -> Generator[Iterator[tuple[A, B | NeuroVaultError]]]:
        """Run a function on every item, a few at a time.

        No more items are taken ahead of the one that is given out than there are
        threads, and ``ahead()``, so that stopping early wastes little. All together
        make no more than ``workers`` requests at a time, also where a job maps in turn.

        Parameters
        ----------
        function : callable
            What to do with one item, in a thread.
        items : iterable
            The items.
        spare : int
            Threads beyond ``workers``, for jobs that go on after their request.
        ahead : callable
            Tells how many items to take beyond one for each thread, so that a thread
            whose outcome waits for that of an item before finds something to do.
        enough : callable
            Tells that what was taken ahead will probably do; no more is then taken
            before that turns out to be wrong.

        Yields
        ------
        iterator of (item, outcome)
            The items in their order, each with what the function returned, or with
            the error of this package's tree that it raised; any other exception is
            raised. Leaving the context waits for what was taken ahead; leaving it by
            an error, or by Ctrl-C, calls that off.

        Examples
        --------
        >>> with Pool(workers=2).map(str.upper, "ab") as outcomes:
        ...     list(outcomes)
        [('a', 'A'), ('b', 'B')]
        """
        # NOTE: a context, not a bare generator: the garbage collector would end that
        # in whatever thread it runs in, and one of the crew's own cannot wait for
        # itself.
        crew = Crew(self.workers, spare)
        with halt.ending(crew.call_off):
            try:
                yield self._outcomes(crew, function, items, ahead, enough)
                crew.finish()
            except GeneratorExit:
                # NOTE: so a generator within is told that enough is had.
                crew.finish()
                raise
            finally:
                crew.dismiss()

    def _outcomes(
        self,
        crew: Crew,
        function: Callable[[A], B],
        items: Iterable[A],
        ahead: Callable[[], int],
        enough: Callable[[], bool],
    ) -> Iterator[tuple[A, B | NeuroVaultError]]:
        pending: deque[tuple[A, Future[B]]] = deque()

        def settled() -> tuple[A, B | NeuroVaultError]:
            item, future = pending.popleft()
            try:
                return item, future.result()
            except NeuroVaultError as error:
                return item, error

        for item in items:
            pending.append((item, crew.submit(function, item)))
            while pending and (len(pending) > crew.size + ahead() or enough()):
                yield settled()
        while pending:
            yield settled()

    def bar(
        self, total: int, unit: str, *, enabled: bool = True
    ) -> tqdm[Any] | Unwatched:
        """Make a progress bar, invisible where nobody watches.

        Parameters
        ----------
        total : int
            How much there is to do.
        unit : str
            Of what; ``"B"`` for bytes.
        enabled : bool
            False makes it invisible in any case.

        Returns
        -------
        tqdm.tqdm or Unwatched
            A context manager with ``update(n)``.
        """
        watched = "ipykernel" in sys.modules or sys.stderr.isatty()
        shown = watched if self.progress is None else self.progress
        if not (shown and enabled):
            return Unwatched()
        return tqdm(
            total=total or None,
            unit=unit,
            unit_scale=unit == "B",
            desc="NeuroVault",
            delay=0 if self.progress else 0.5,
        )

    def report(self) -> Report:
        """Begin an empty report under this policy.

        Returns
        -------
        Report
            Collects the failures of one run.
        """
        return Report(self.errors)


@dataclass
class Report:
    """The failures of one run; grows while the run goes on."""

    errors: ErrorPolicy
    """What a failure does."""
    failures: list[Failure] = field(default_factory=list)
    """What failed so far."""
    in_a_row: int = 0
    """How many failed one after the other, up to now."""
    patience: int = MAX_FAILURES_IN_A_ROW
    """How many may, before asking for more is hopeless."""
    spent: Counter[int | None] = field(default_factory=Counter)
    """How many failed in each collection."""
    exhausted: bool = False
    """Whether so much failed in a row that asking for more is hopeless."""

    def given_up(self, collection_id: int) -> bool:
        """Tell whether asking for more of a collection is hopeless.

        Parameters
        ----------
        collection_id : int
            The collection.

        Returns
        -------
        bool
            Whether too much of it has failed.
        """
        return self.spent[collection_id] >= MAX_FAILURES_IN_COLLECTION

    def succeeded(self) -> None:
        """Note that something went well."""
        self.in_a_row = 0

    def failed(self, failure: Failure, error: NeuroVaultError) -> None:
        """Note one failure.

        Parameters
        ----------
        failure : Failure
            What goes into the table.
        error : NeuroVaultError
            Why.

        Raises
        ------
        NeuroVaultError
            The error itself under the policy ``raise``; under any policy if the
            store cannot be written.
        """
        self.failures.append(failure)
        error.failures = tuple(self.failures)
        # NOTE: what the store refuses once it refuses for every file.
        if self.errors == "raise" or isinstance(error, StoreError):
            raise error
        if isinstance(error, HARMLESS):
            self.in_a_row = 0
        elif failure.attempts:
            self.in_a_row += 1
            self.spent[failure.collection_id] += 1
            self.exhausted |= self.in_a_row >= self.patience

    def warn(self, what: str) -> None:
        """Say once, at the end of a run, how much failed.

        Parameters
        ----------
        what : str
            What the run did, in the past tense: ``"listed"``, ``"fetched"``.
        """
        if self.failures and self.errors == "warn":
            first = self.failures[0]
            count = len(self.failures)
            what_failed = "1 thing" if count == 1 else f"{count} things"
            msg = (
                f"{what_failed} could not be {what}; see .failures. "
                f"First: {first.reason}"
            )
            warn(msg)
