"""What each process makes for itself, so that a fork does not hang on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """Something that all threads of a process share, and a forked one makes anew.

    A lock that another thread holds during a fork is never released in the child.

    Parameters
    ----------
    make : callable
        Makes it. Two threads that come at the same time may both call it; all get
        the same one.

    Examples
    --------
    >>> shared = PerProcess(list)
    >>> shared.get() is shared.get()
    True
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def get(self) -> T:
        """Give that of this process.

        Returns
        -------
        object
            The same one each time.
        """
        pid = os.getpid()
        # NOTE: no lock here, of all places; `setdefault` is atomic.
        if pid not in self._made:
            self._made.setdefault(pid, self._make())
        return self._made[pid]
