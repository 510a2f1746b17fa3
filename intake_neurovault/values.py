"""What metadata values are to a filter: families, equality, dates, kinds.

- *null* is a missing field, ``None`` and NaN. Null spellings such as ``"n/a"``
  become ``None`` when records are read; here they are plain text.
- ``True`` and ``1`` differ, 20 and 20.0 do not.
- Text that is an ISO date counts as that date. Without a zone it is UTC,
  without a time it is its midnight.
- Values of any other type equal nothing and have no order. No value, however
  odd, makes one of these functions raise; a bound that makes no sense does.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
import reprlib
from collections.abc import Callable, Hashable, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from intake_neurovault.errors import FilterError

Value = tuple[str, Any]
"""Family of a value (null, bool, number, text, list, mapping, other), content."""

Scalar = bool | int | float | str | None
"""What JSON can hold at one place."""

_Exact = Callable[[Any], Any]

# Subclasses are cut back to the built-in type, so that none of their methods run.
_FAMILIES: Mapping[type, tuple[str, _Exact]] = {
    type(None): ("null", lambda _: None),
    bool: ("bool", bool),
    int: ("number", int.__index__),
    float: ("number", float.__float__),
    str: ("text", str.__str__),
    datetime: ("text", datetime.isoformat),
    date: ("text", date.isoformat),
    list: ("list", list.copy),
    tuple: ("list", lambda items: tuple.__getitem__(items, slice(None))),
    dict: ("mapping", dict.copy),
}
_OTHER: tuple[str, _Exact] = ("other", lambda value: value)

_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_PARTIAL_DATE = re.compile(r"(?P<year>\d{4})(?:-(?P<month>\d\d))?")

_BRACKETS = re.compile(r"\s*\[.*\]\s*", re.DOTALL)


def plain(value: object) -> Value:
    """Sort a value into its family, running no code of an unknown type.

    Parameters
    ----------
    value : object
        Anything found in a record.

    Returns
    -------
    tuple of (str, object)
        The family, and the value as the exact built-in type.

    Examples
    --------
    >>> plain(20), plain(float("nan")), plain([1, 2])
    (('number', 20), ('null', None), ('list', [1, 2]))
    >>> plain(object)[0]
    'other'
    """
    if type(value).__module__ == "numpy":
        value = unpack(value)
    family, exact = _FAMILIES.get(type(value)) or _inherited(type(value))
    content = exact(value)
    # NOTE: isinstance would ask a foreign value for its __class__, which may raise.
    if family == "number" and content != content:
        return "null", None
    return family, content


def _inherited(kind: type) -> tuple[str, _Exact]:
    known = (_FAMILIES[base] for base in kind.__mro__ if base in _FAMILIES)
    return next(known, _OTHER)


def unpack(value: object) -> object:
    """Turn sets, ranges, numpy and pandas values into lists and scalars.

    Parameters
    ----------
    value : object
        Part of a filter, from somebody who may run code here anyway.

    Returns
    -------
    object
        The value itself where it is none of these; sets come out sorted.

    Examples
    --------
    >>> unpack({3, 1}), unpack(range(2)), unpack("Z map")
    ([1, 3], [0, 1], 'Z map')
    """
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if isinstance(value, range):
        return list(value)
    tolist = getattr(value, "tolist", None)
    return tolist() if callable(tolist) else value


def listed(value: object) -> object:
    """Read a list back from the text that a template made of it.

    Parameters
    ----------
    value : object
        Part of a filter.

    Returns
    -------
    object
        The list, if the value is text such as ``"['Z map', 'T map']"`` with nothing
        but scalars in it; the value itself otherwise.

    Examples
    --------
    >>> listed("['Z map', 3]"), listed("[sic]"), listed(3)
    (['Z map', 3], '[sic]', 3)
    """
    if not (isinstance(value, str) and _BRACKETS.fullmatch(value)):
        return value
    try:
        found = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    scalars = all(isinstance(item, str | int | float | None) for item in found)
    return found if scalars else value


def instant(text: str) -> datetime | None:
    """Read an ISO date, or date and time.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    datetime or None
        With a zone, UTC where the text has none; None when it is not a date.

    Examples
    --------
    >>> instant("2016-01-21") == instant("2016-01-21T01:00:00+01:00")
    True
    >>> instant("Z map") is None
    True
    """
    if not _DATE.match(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def identity(value: Value) -> Hashable:
    """Make something hashable that is equal for values that count as equal.

    Parameters
    ----------
    value : tuple of (str, object)
        As :func:`plain` gives it.

    Returns
    -------
    hashable
        Equal to nothing else for a mapping, or a value of a foreign type.

    Examples
    --------
    >>> identity(plain(20)) == identity(plain(20.0))
    True
    >>> identity(plain(1)) == identity(plain(True))
    False
    """
    family, content = value
    if family == "list":
        return family, tuple(member_identity(item) for item in content)
    if family in ("mapping", "other"):
        return object()
    moment = instant(content) if family == "text" else None
    return ("date", moment) if moment else (family, content)


def member_identity(item: object) -> Hashable:
    """Make the identity of a member of a list.

    Parameters
    ----------
    item : object
        A list within a list is never looked into, as it may contain itself.

    Returns
    -------
    hashable
        As :func:`identity` has it.
    """
    value = plain(item)
    return object() if value[0] == "list" else identity(value)


def read_scalar(value: object, kind: str | None, where: str) -> Scalar:
    """Understand one bound, cast to the kind of its field.

    Parameters
    ----------
    value : object
        What the user wrote; text wherever templating delivered it.
    kind : {"int", "float", "bool", "text", "date"} or None
        Kind of the field. With None, text stays text.
    where : str
        Place in the user's filter, for messages.

    Returns
    -------
    bool, int, float, str or None
        In one spelling: 20.0 becomes 20, and a year or month, for a date,
        its first day.

    Raises
    ------
    FilterError
        When it is no scalar, not of the kind, or not finite.

    Examples
    --------
    >>> read_scalar("20", "int", "terms.number_of_subjects")
    20
    >>> read_scalar("2016", "date", "terms.add_date")
    '2016-01-01'
    """
    family, content = plain(value)
    if family in ("list", "mapping", "other"):
        msg = (
            f"{where}: a value of type {type(value).__name__} cannot be part of a "
            "filter; use text, a number, true, false, null or a list of these"
        )
        raise FilterError(msg)
    content = _finite(content, where)
    if family == "null" or kind is None:
        return content
    cast, wanted = _CASTS[kind]
    try:
        found = cast(content)
    except ValueError as error:
        msg = f"{where}: {reprlib.repr(content)} is not {wanted}"
        raise FilterError(msg) from error
    return _finite(found, where)


def _finite(content: Scalar, where: str) -> Scalar:
    """Give numbers one spelling; other scalars have only one."""
    if isinstance(content, bool) or not isinstance(content, int | float):
        return content
    try:
        finite = math.isfinite(content)
    except OverflowError:
        finite = False
    if not finite:
        msg = f"{where}: a bound must be a finite number; leave out the one that is not"
        raise FilterError(msg)
    return int(content) if content == int(content) else content


def _number(content: Scalar) -> Scalar:
    if isinstance(content, bool):
        raise ValueError
    if not isinstance(content, str):
        return content
    try:
        return int(content)
    except ValueError:
        return float(content)


def _boolean(content: Scalar) -> Scalar:
    if isinstance(content, str):
        content = {"true": True, "false": False}.get(content.strip().casefold())
    if not isinstance(content, bool):
        raise ValueError
    return content


def _text(content: Scalar) -> str:
    if isinstance(content, bool | float):
        raise ValueError
    return str(content)


def _iso_date(content: Scalar) -> str:
    text = _text(content).strip()
    partial = _PARTIAL_DATE.fullmatch(text)
    if partial:
        text = f"{partial['year']}-{partial['month'] or '01'}-01"
    if instant(text) is None:
        raise ValueError
    return text


_CASTS: Mapping[str, tuple[Callable[[Scalar], Scalar], str]] = {
    "int": (_number, "a number"),
    "float": (_number, "a number"),
    "bool": (_boolean, "true or false"),
    "text": (_text, "text; put it in quotes"),
    "date": (_iso_date, "a date such as 2016-05-31 or 2016-05-31T12:00:00Z"),
}


def suggest(word: str, known: Iterable[str]) -> str | None:
    """Find the known word that was probably meant, whatever its case.

    Parameters
    ----------
    word : str
        The word that is not known.
    known : iterable of str
        Words to choose from.

    Returns
    -------
    str or None
        None when nothing is close.

    Examples
    --------
    >>> suggest("doi", ["DOI", "name"]), suggest("zzz", ["DOI", "name"])
    ('DOI', None)
    """
    folded = {name.casefold(): name for name in sorted(known)}
    close = difflib.get_close_matches(word.casefold(), folded, n=1)
    return folded[close[0]] if close else None
