"""Threads for many jobs at a time, and the turns that their requests take."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from queue import SimpleQueue
from typing import Any, TypeVar

from intake_neurovault import halt
from intake_neurovault.forks import PerProcess

A = TypeVar("A")
B = TypeVar("B")

MAX_WORKERS = 16
"""More connections than this would not be polite to a small public server."""

_LAST = 19  # the least that Linux gives
_PATIENCE = 0.5  # seconds that threads have to end when they are called off
_AFTER_YOU = 2e-4  # seconds, in which a thread that waited is awake and has asked


class _Turns:
    """So many turns at a time; who comes first in the order of the work goes first.

    A plain semaphore lets anybody go, and the one whose outcome is waited for may be
    the last. A turn is handed on to one thread; waking all that wait, to see who is
    the first, would cost more than the requests.
    """

    def __init__(self, number: int) -> None:
        self._free = number
        self._lock = threading.Lock()
        self._waiting: list[tuple[tuple[int, ...], int, threading.Lock]] = []
        self._ticket = count()

    @contextmanager
    def one(self, place: tuple[int, ...]) -> Iterator[None]:
        self._take(place)
        try:
            yield
        finally:
            self._hand_on()

    def _take(self, place: tuple[int, ...]) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine = place, next(self._ticket), threading.Lock()
            mine[2].acquire()
            heappush(self._waiting, mine)
        try:
            while not mine[2].acquire(timeout=halt.POLL):
                halt.check()
        except BaseException:
            self._give_up(mine)
            raise

    def _give_up(self, mine: tuple[tuple[int, ...], int, threading.Lock]) -> None:
        with self._lock:
            waits = mine in self._waiting
            if waits:
                self._waiting.remove(mine)
                heapify(self._waiting)
        if not waits:  # it was handed on in this moment
            self._hand_on()

    def _hand_on(self) -> None:
        with self._lock:
            if not self._waiting:
                self._free += 1
                return
            heappop(self._waiting)[2].release()
        # NOTE: what this thread does next can wait, while the interpreter would let
        # it go on for milliseconds before the other one's request is made.
        time.sleep(_AFTER_YOU)


@dataclass(frozen=True)
class _Place:
    """Where in all the work a thread stands."""

    turns: _Turns
    number: tuple[int, ...] = ()


_PLACE: ContextVar[_Place | None] = ContextVar("place", default=None)
_ALL = PerProcess(partial(threading.Semaphore, MAX_WORKERS))
_COMMON: PerProcess[dict[int, _Turns]] = PerProcess(dict)


@contextmanager
def turn() -> Iterator[None]:
    """Wait until this thread may make one more request.

    Yields
    ------
    None
        To the statements that make it.

    Raises
    ------
    CalledOffError
        If the work is called off before.

    Notes
    -----
    The threads of a crew make as many at a time as it has workers, whatever they
    do besides; all crews of a process together `MAX_WORKERS`.

    Examples
    --------
    >>> with turn():
    ...     pass
    """
    here = _PLACE.get()
    with (
        here.turns.one(here.number) if here else nullcontext(),
        halt.holding(_ALL.get()),
    ):
        yield


@contextmanager
def sharing(workers: int, *, everywhere: bool = False) -> Iterator[None]:
    """Let crews that work side by side make so many requests at a time in all.

    Parameters
    ----------
    workers : int
        How many, unless the statements are part of a job of a crew, whose number
        then holds.
    everywhere : bool
        Whether together with all threads of this process that say so with the same
        number; by default those crews only that are made in the statements.

    Yields
    ------
    None
        To the statements in which the crews are made.

    Examples
    --------
    >>> with sharing(2):
    ...     one, other = Crew(workers=2), Crew(workers=2)
    >>> one.dismiss(), other.dismiss()
    (None, None)
    """
    turns = _Turns(workers)
    if everywhere:
        turns = _COMMON.get().setdefault(workers, turns)
    token = _PLACE.set(_PLACE.get() or _Place(turns))
    try:
        yield
    finally:
        _PLACE.reset(token)


class Crew:
    """Threads that work until they are dismissed, and can be left behind.

    `concurrent.futures` has executors, but the interpreter does not end before each
    of their threads has: after Ctrl-C that may be minutes, if a server is silent.

    Parameters
    ----------
    workers : int
        How many requests its jobs make at a time, if they are not part of a job of
        another crew, whose number then holds.
    spare : int
        Threads beyond that.
    behind : bool
        Whether its threads let all others go first, where the system knows how.

    Examples
    --------
    >>> crew = Crew(workers=2)
    >>> crew.submit(str.upper, "a").result()
    'A'
    >>> crew.dismiss()
    """

    def __init__(self, workers: int, spare: int = 0, *, behind: bool = False) -> None:
        self._behind = behind
        self.size = workers + spare
        """How many threads work at most."""
        self._place = _PLACE.get() or _Place(_Turns(workers))
        self._submitted = 0
        self._halt = halt.Halt(self._abandon)
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._open: set[Future[Any]] = set()

    def submit(self, function: Callable[[A], B], item: A) -> Future[B]:
        """Have a job done, after those that were submitted before it.

        Parameters
        ----------
        function : callable
            What to do, in one of the threads.
        item : object
            With what.

        Returns
        -------
        concurrent.futures.Future
            The outcome; `CalledOffError` if there will be none.
        """
        future: Future[B] = Future()
        self._open.add(future)
        if self._halt.is_called_off:
            self._abandon()

        number = (*self._place.number, self._submitted)
        self._submitted += 1

        def job() -> None:
            _PLACE.set(replace(self._place, number=number))
            # NOTE: whatever a job raises is for the one who asks for its outcome;
            # nobody does any more where that was settled by calling it off.
            with suppress(InvalidStateError):
                try:
                    future.set_result(function(item))
                except BaseException as error:  # noqa: BLE001
                    future.set_exception(error)
            self._open.discard(future)

        self._jobs.put(job)
        if len(self._threads) < self.size:
            name = "neurovault-behind" if self._behind else "neurovault"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def call_off(self) -> None:
        """End what runs, and begin nothing more."""
        self._halt.call_off()

    def _abandon(self) -> None:
        """Tell whoever waits for an outcome that there will be none."""
        for future in list(self._open):
            with suppress(InvalidStateError):
                future.set_exception(halt.CalledOffError())

    def finish(self) -> None:
        """Wait for all that was submitted.

        What was looked up ahead is kept by who did it: the same question again must
        not cost a request more.
        """
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def dismiss(self) -> None:
        """End all threads, the busy ones too; one that hangs is not waited for."""
        self.call_off()
        for _ in self._threads:
            self._jobs.put(None)
        end = time.monotonic() + _PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        halt.enter(self._halt)
        if self._behind:
            _step_back()
        while (job := self._jobs.get()) is not None:
            if self._halt.is_called_off:
                return
            job()
            del job


def _step_back() -> None:
    """Give this thread less of a busy machine than others have."""
    # NOTE: only Linux gives each thread a priority of its own.
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LAST)
