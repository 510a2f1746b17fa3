"""What may be asked of the server, and how old an answer may be."""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

from intake_neurovault.errors import ArgumentError

Mode = Literal["download_new", "overwrite", "offline", "update"]
"""What may be asked of the server, and when.

``download_new`` never fetches again what is on disk; ``update`` lists anew and
fetches what changed; ``overwrite`` lists and fetches everything anew;
``offline`` makes no request of any kind.
"""

KEEPING: tuple[Mode, ...] = ("download_new", "offline")
"""The modes in which what is on disk is used as it is."""

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_mode(mode: object) -> Mode:
    """Check the name of a mode.

    Parameters
    ----------
    mode : str
        One of ``download_new``, ``overwrite``, ``offline``, ``update``.

    Returns
    -------
    str
        The mode.

    Raises
    ------
    ArgumentError
        If there is no such mode.

    Examples
    --------
    >>> parse_mode("offline")
    'offline'
    """
    if mode in get_args(Mode):
        return cast("Mode", mode)
    choices = ", ".join(repr(name) for name in get_args(Mode))
    msg = f"'mode' must be one of {choices}; got {mode!r}."
    raise ArgumentError(msg)


def parse_age(age: Any, name: str = "metadata_ttl") -> float:
    """Read an age limit.

    Parameters
    ----------
    age : float, str or None
        Seconds, or a number with a unit: ``"30min"``, ``"12h"``, ``"1d"``,
        ``"2w"``. None stands for no limit.
    name : str
        The argument, for the message.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    ArgumentError
        If it is not an age.

    Examples
    --------
    >>> parse_age("1d"), parse_age(90), parse_age(None)
    (86400.0, 90.0, inf)
    """
    if age is None:
        return float("inf")
    seconds = _seconds(age) if isinstance(age, str) else age
    number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    if not (number and seconds >= 0):
        msg = (
            f"{name}={age!r} is not an age: pass seconds, or a number with "
            f"one of the units {', '.join(_UNITS)}, such as '1d'; None for no limit."
        )
        raise ArgumentError(msg)
    return float(seconds)


def _seconds(age: str) -> float:
    text = age.strip().lower()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(digits) :].strip() or "s"
    try:
        return float(digits) * _UNITS[unit]
    except (ValueError, KeyError):
        return -1.0
