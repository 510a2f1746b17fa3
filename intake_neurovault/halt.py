"""Calling off work that runs in other threads: at once, and without leftovers.

Whoever starts threads gives them a `Halt`. What runs in them looks for it at the
places where it would wait or begin something, and says what ends the rest: a
connection that is cut, a half-written file that is removed.
"""

from __future__ import annotations

import atexit
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Protocol
from weakref import WeakSet

POLL = 0.1
"""Seconds after which who waits for something asks whether to go on."""

_LIVE: WeakSet[Halt] = WeakSet()
_ENDED = threading.Event()


class CalledOffError(Exception):
    """The work that a thread was doing is no longer wanted; nobody waits for it."""


class Lock(Protocol):
    """What can be waited for: a lock, or a semaphore."""

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take it; False if that took longer than the timeout."""

    def release(self) -> None:
        """Give it back."""


class Halt:
    """Whether some work has been called off, and what ends it.

    Parameters
    ----------
    *ends : callable
        What is called when the work is called off.

    Examples
    --------
    >>> work = Halt()
    >>> work.call_off()
    >>> work.is_called_off
    True
    """

    def __init__(self, *ends: Callable[[], object]) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._ends = set(ends)
        _LIVE.add(self)
        if _ENDED.is_set():
            self._event.set()

    @property
    def is_called_off(self) -> bool:
        """Whether the work is no longer wanted."""
        return self._event.is_set()

    def call_off(self) -> None:
        """End the work: waking what waits, and undoing what is half done."""
        with self._lock:
            self._event.set()
            ends, self._ends = self._ends, set()
        for end in ends:
            # NOTE: what is to be ended may have ended by itself in this moment.
            with suppress(OSError, ValueError, RuntimeError):
                end()

    def wait(self, seconds: float) -> None:
        """Sleep, unless the work is called off.

        Parameters
        ----------
        seconds : float
            How long.

        Raises
        ------
        CalledOffError
            If it is called off, at once.
        """
        if self._event.wait(seconds):
            raise CalledOffError

    @contextmanager
    def ending(self, end: Callable[[], object]) -> Iterator[None]:
        """Say what ends the statements within, if the work is called off.

        Parameters
        ----------
        end : callable
            Called at most once, in the thread that calls off.

        Yields
        ------
        None
            To the statements.

        Raises
        ------
        CalledOffError
            If the work has been called off before.
        """
        with self._lock:
            self.wait(0)
            self._ends.add(end)
        try:
            yield
        finally:
            with self._lock:
                self._ends.discard(end)


_CURRENT: ContextVar[Halt | None] = ContextVar("halt", default=None)


def enter(halt: Halt) -> None:
    """Make this thread work under a halt from now on.

    Parameters
    ----------
    halt : Halt
        What may call it off.
    """
    _CURRENT.set(halt)


def check() -> None:
    """Go on only if this thread's work is still wanted.

    Raises
    ------
    CalledOffError
        If it has been called off.

    Examples
    --------
    >>> check()
    """
    halt = _CURRENT.get()
    if halt is not None:
        halt.wait(0)


def pause(seconds: float) -> None:
    """Sleep, unless this thread's work is called off.

    Parameters
    ----------
    seconds : float
        How long.

    Raises
    ------
    CalledOffError
        If it is called off, at once.

    Examples
    --------
    >>> pause(0.001)
    """
    halt = _CURRENT.get()
    if halt is None:
        time.sleep(seconds)
    else:
        halt.wait(seconds)


@contextmanager
def ending(end: Callable[[], object]) -> Iterator[None]:
    """Say what ends the statements within, if this thread's work is called off.

    Parameters
    ----------
    end : callable
        Called at most once, in the thread that calls off.

    Yields
    ------
    None
        To the statements.

    Raises
    ------
    CalledOffError
        If the work has been called off before.

    Examples
    --------
    >>> with ending(lambda: print("called off")):
    ...     pass
    """
    halt = _CURRENT.get()
    if halt is None:
        yield
        return
    with halt.ending(end):
        yield


@contextmanager
def finishing() -> Iterator[None]:
    """Let what is all but done come to its end, though it may be called off.

    Yields
    ------
    None
        To statements that must not wait for anybody.

    Raises
    ------
    CalledOffError
        If the work has been called off before.

    Examples
    --------
    >>> with finishing():
    ...     check()
    """
    check()
    token = _CURRENT.set(None)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@contextmanager
def holding(lock: Lock) -> Iterator[None]:
    """Hold a lock, waiting for it only as long as this thread's work is wanted.

    Parameters
    ----------
    lock : Lock
        A lock or a semaphore.

    Yields
    ------
    None
        To the statements that need it.

    Raises
    ------
    CalledOffError
        If the work is called off before the lock is free.

    Examples
    --------
    >>> lock = threading.Lock()
    >>> with holding(lock):
    ...     lock.locked()
    True
    """
    while not lock.acquire(timeout=POLL):
        check()
    try:
        yield
    finally:
        lock.release()


def _end() -> None:
    """Call everything off when Ctrl-C ends the interpreter.

    Threads of others, such as dask's, may wait for our work; the interpreter waits
    for them before it ends, and would do so until all that they asked for is here.
    """
    # NOTE: a main thread that simply came to its end leaves others at their work.
    if getattr(sys, "last_type", None) is KeyboardInterrupt:
        _ENDED.set()
        for halt in list(_LIVE):
            halt.call_off()


# NOTE: `atexit` comes too late, after all threads have been waited for; what comes
# before is not public. Where it is missing, the end takes longer, and that is all.
getattr(threading, "_register_atexit", atexit.register)(_end)
