"""Making what lasts, while nobody looks for garbage among it.

As the number of objects grows, Python looks through all of them again and again for
cycles that nobody refers to. Where a hundred thousand records are made, or large
libraries loaded, that is a third of the time, and finds nothing.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

_PAUSED: list[tuple[int, int, int]] = []


@contextmanager
def uncollected(wanted: bool = True) -> Iterator[None]:
    """Have no garbage looked for in the statements within; also a decorator.

    What nobody refers to is still freed, unless it refers to itself in a circle. It is
    for statements that make many lasting objects and run nobody else's functions: what
    these leave in circles would stay until the end.

    Parameters
    ----------
    wanted : bool
        False changes nothing.

    Yields
    ------
    None
        To the statements. Nothing changes where garbage is not looked for anyway: the
        program has said so, or another thread is in such statements. What a program
        says of it meanwhile is forgotten afterwards.

    Examples
    --------
    >>> import gc
    >>> usual = gc.get_threshold()
    >>> with uncollected():
    ...     gc.get_threshold()[0]
    0
    >>> gc.get_threshold() == usual
    True
    """
    usual = gc.get_threshold()
    if not (wanted and usual[0] and gc.isenabled()):
        yield
        return
    _PAUSED.append(usual)
    try:
        # NOTE: not `disable`: dask remembers what `isenabled` says when it is imported,
        # and would never again let garbage be looked for.
        gc.set_threshold(0)
        yield
    finally:
        gc.set_threshold(*usual)
        if _PAUSED:
            _PAUSED.pop()


def settle() -> None:
    """Have all that there is count as old, so that it is not looked through as new.

    It is for what is done once in a process, as libraries are loaded: Python counts
    anew how long ago it has looked, and if that were done again and again, would never
    look.

    Examples
    --------
    >>> with uncollected():
    ...     made = [[number] for number in range(10_000)]
    ...     settle()
    """
    # NOTE: what the program has frozen shall stay so.
    if not gc.get_freeze_count():
        gc.freeze()
        gc.unfreeze()


def _go_on() -> None:
    """Look for garbage in a forked process, where nobody would end the pause."""
    if _PAUSED:
        gc.set_threshold(*_PAUSED[0])
        _PAUSED.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_go_on)
