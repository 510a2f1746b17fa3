"""Records whose fields are worked out when somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

D = TypeVar("D", bound="Deferred")

put = object.__setattr__
"""Fills a slot, whether the value is frozen or not."""

_new = object.__new__

Source = Callable[[Any, str], Mapping[str, Any]]
"""Called with a value and the name of a field: gives that, and may give others with it;
none if there is no such field."""


class Deferred:
    """Base of values with slots, some of which may be filled at the first look.

    Equality, pictures in text, copies and pickles look at all of them, so that nobody
    can tell a value that came this way from any other.
    """

    __slots__ = ("_source", "_text")

    _source: Source
    """Gives what is not there."""
    _text: bytes
    """What it gives it of."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # NOTE: Python asks here for slots that are empty, and what is no slot.
            if name == "_source":
                return _no_source
            if not name.startswith("__"):
                for field, value in self._source(self, name).items():
                    put(self, field, value)
            return object.__getattribute__(self, name)


def later(kind: type[D], source: Source, text: bytes) -> D:
    """Make a value of which nothing is worked out yet.

    Parameters
    ----------
    kind : type
        What to make, with slots.
    source : callable
        Gives the fields.
    text : bytes
        What the source gives them of.

    Returns
    -------
    object
        The value; what is known of it at once may be put there by `put`.

    Examples
    --------
    >>> class Point(Deferred):
    ...     __slots__ = ("x", "y")
    >>> point = later(Point, lambda of, name: {name: int(of._text)}, b"4")
    >>> put(point, "x", 3)
    >>> point.x, point.y
    (3, 4)
    """
    # NOTE: made for each of a hundred thousand records.
    value = _new(kind)
    put(value, "_source", source)
    put(value, "_text", text)
    return value


def _no_source(_value: object, _name: str) -> Mapping[str, Any]:
    return {}
