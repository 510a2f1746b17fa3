"""Records whose fields are worked out when somebody looks at them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

D = TypeVar("D", bound="Deferred")

Source = Callable[[str], Mapping[str, Any]]
"""Gives a field by its name, and may give others with it; none if there is no such
field."""


class Deferred:
    """Base of values with slots, some of which may be filled at the first look.

    Equality, pictures in text, copies and pickles look at all of them, so that nobody
    can tell a value that came this way from any other.
    """

    __slots__ = ("_source",)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            # NOTE: Python asks here for slots that are empty, and what is no slot.
            if name == "_source":
                return _no_source
            if not name.startswith("__"):
                for field, value in self._source(name).items():
                    object.__setattr__(self, field, value)
            return object.__getattribute__(self, name)


def later(kind: type[D], source: Source, **known: Any) -> D:
    """Make a value of which only some fields are known yet.

    Parameters
    ----------
    kind : type
        What to make, with slots.
    source : callable
        Gives the other fields.
    **known
        The fields that are known.

    Returns
    -------
    object
        The value.

    Examples
    --------
    >>> class Point(Deferred):
    ...     __slots__ = ("x", "y")
    >>> point = later(Point, lambda name: {"y": 4} if name == "y" else {}, x=3)
    >>> point.x, point.y
    (3, 4)
    """
    value = object.__new__(kind)
    put = object.__setattr__
    put(value, "_source", source)
    for name, content in known.items():
        put(value, name, content)
    return value


def _no_source(_name: str) -> Mapping[str, Any]:
    return {}
