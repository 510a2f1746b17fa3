"""Filters as SQL: the same verdict on typed columns as Python gives on records.

A column holds what :mod:`intake_neurovault.schema` makes of a core field: null, or a
value of the type of the field; a date as microseconds since 1970 in UTC. Every
expression made here is 1 or 0, never null, so that they combine as in Python.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType

from intake_neurovault.conditions import Filter
from intake_neurovault.predicates import PATTERNS, Predicate
from intake_neurovault.schema import Kind
from intake_neurovault.values import instant, plain

__all__ = ["PLACES", "Clause", "clause_of", "holds", "microseconds", "storable"]

PLACES = 2**32
"""How many images a collection has place for in the table ``images``."""

Columns = Mapping[str, Kind]
"""The columns of a table that stand for core fields, with the types of these."""

_MOST_PARTS = 400  # SQLite refuses expressions of a thousand levels
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LARGEST = 2**63
_ORDERS = MappingProxyType({"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="})
_FAMILIES: Mapping[Kind, str] = MappingProxyType(
    {"int": "number", "float": "number", "bool": "bool", "text": "text", "date": "text"}
)


@dataclass(frozen=True)
class Clause:
    """A condition in SQL.

    Examples
    --------
    >>> from intake_neurovault.filters import parse_filter
    >>> terms = parse_filter({"name": "a", "age": 3}, kinds={}, where="image_terms")
    >>> clause_of(terms, {"name": "text", "age": "int"})
    Clause(sql='(("name" IS ?) AND ("age" IS ?))', values=('a', 3))
    """

    sql: str
    """An expression that is 1 or 0; it may call `holds`."""
    values: tuple[object, ...] = ()
    """What its question marks stand for."""


_TRUE, _FALSE = Clause("1"), Clause("0")


def clause_of(condition: Filter, columns: Columns) -> Clause | None:
    """Write a filter in SQL.

    Parameters
    ----------
    condition : Filter
        The filter.
    columns : mapping of str to {"int", "float", "bool", "text", "date"}
        The columns there are, by the name of their field.

    Returns
    -------
    Clause or None
        None if the columns do not tell: the filter looks at another field, asks of a
        date what only its text says, or has hundreds of parts.

    Examples
    --------
    >>> clause_of(Filter(), {})
    Clause(sql='1', values=())
    """
    try:
        found = _clause(condition, columns)
    except LookupError:
        return None
    return found if found.sql.count('"') + found.sql.count("?") < _MOST_PARTS else None


def holds(test: str, kind: str, value: int | float | str | None) -> bool:
    """Apply a predicate to the value of a column; SQL calls this.

    Parameters
    ----------
    test : str
        The predicate, as a clause of this module writes it.
    kind : str
        The type of the field.
    value : int, float, str or None
        The value of its column.

    Returns
    -------
    bool
        Whether it passes.

    Examples
    --------
    >>> holds('["$gt", "3", ""]', "int", 5)
    True
    """
    if kind == "bool" and value is not None:
        value = bool(value)
    return _predicate(test).holds(value)


def microseconds(moment: datetime) -> int:
    """Give what stands for a moment in a column.

    Parameters
    ----------
    moment : datetime
        With its zone.

    Returns
    -------
    int
        Microseconds since 1970 in UTC.

    Examples
    --------
    >>> microseconds(datetime(1970, 1, 1, 1, tzinfo=UTC))
    3600000000
    """
    return (moment - _EPOCH) // _MICROSECOND


def storable(value: object) -> bool:
    """Tell whether SQLite keeps and compares a value as Python does.

    Parameters
    ----------
    value : object
        A number, text, or a truth value.

    Returns
    -------
    bool
        False for integers of more than 64 bits, for text with a null character, and
        for text that UTF-8 cannot write.

    Examples
    --------
    >>> storable(2**70), storable("Z map")
    (False, True)
    """
    if isinstance(value, str):
        if "\0" in value:
            return False
        try:
            return value.isascii() or bool(value.encode("utf-8"))
        except UnicodeEncodeError:
            return False
    return not isinstance(value, int) or -_LARGEST <= value < _LARGEST


def _clause(condition: Filter, columns: Columns) -> Clause:
    if condition.predicate is None:
        members = [_clause(member, columns) for member in condition.members]
        return _combined(condition.operator, members)
    kind = columns[condition.field]
    return _test(condition.predicate, _quoted(condition.field), kind)


def _combined(operator: str, members: list[Clause]) -> Clause:
    if operator == "$not":
        return _negated(_combined("$or", members))
    if not members:
        return _TRUE if operator == "$and" else _FALSE
    joint = {"$and": " AND ", "$or": " OR ", "$xor": " + "}[operator]
    sql = f"({joint.join(member.sql for member in members)})"
    values = tuple(value for member in members for value in member.values)
    return Clause(f"({sql} % 2)" if operator == "$xor" else sql, values)


def _negated(clause: Clause) -> Clause:
    return Clause(f"(NOT {clause.sql})", clause.values)


def _quoted(field: str) -> str:
    return f'"{field}"'


def _test(predicate: Predicate, column: str, kind: Kind) -> Clause:
    operator, bound = predicate.operator, predicate.value
    if operator in PATTERNS or operator in ("$contains", "$ncontains"):
        found = _of_text(predicate, column, kind)
    elif operator in _ORDERS:
        found = _order(_ORDERS[operator], bound, column, kind)
    else:
        found = _PLAIN[operator](bound, column, kind)
    return _called(predicate, column, kind) if found is None else found


def _called(predicate: Predicate, column: str, kind: Kind) -> Clause:
    """Leave the test to Python, which needs the text of a date as it came."""
    if kind == "date":
        raise LookupError(column)
    test = json.dumps([predicate.operator, predicate.bound, predicate.flags])
    return Clause(f"holds(?, ?, {column})", (test, kind))


@lru_cache(maxsize=256)
def _predicate(test: str) -> Predicate:
    return Predicate(*json.loads(test))


def _of_text(predicate: Predicate, column: str, kind: Kind) -> Clause | None:
    if _FAMILIES[kind] != "text":
        return _FALSE
    if kind == "date" or predicate.operator in PATTERNS:
        return None
    items = [item for item in predicate.value if isinstance(item, str)]
    if not all(map(storable, items)):
        return None
    found = [Clause(f"(instr({column}, ?) > 0)", (item,)) for item in items]
    if predicate.operator == "$ncontains":
        verdict = _negated(_combined("$or", found))
    else:
        verdict = _combined("$and", found)
        verdict = verdict if len(items) == len(predicate.value) else _FALSE
    return _where(f"{column} IS NOT NULL", verdict)


def _order(sign: str, bound: object, column: str, kind: Kind) -> Clause | None:
    family, limit = plain(bound)
    if family != _FAMILIES[kind]:
        return _FALSE
    if family == "text":
        moment = instant(limit)
        if (moment is None) == (kind == "date"):
            return None
        limit = limit if moment is None else microseconds(moment)
    if not storable(limit):
        return None
    return _where(f"{column} IS NOT NULL", Clause(f"({column} {sign} ?)", (limit,)))


def _where(condition: str, clause: Clause) -> Clause:
    # NOTE: SQLite's "0 AND null" is 0.
    return Clause(f"({condition} AND {clause.sql})", clause.values)


def _equal(bound: object, column: str, kind: Kind) -> Clause | None:
    return _among([bound], column, kind)


def _among(bound: object, column: str, kind: Kind) -> Clause | None:
    found = []
    for item in bound if isinstance(bound, list) else []:
        family, content = plain(item)
        if family == "null":
            found.append(Clause(f"({column} IS NULL)"))
        if family != _FAMILIES[kind]:
            continue
        if family == "text":
            moment = instant(content)
            if moment is not None and kind != "date":
                return None
            if moment is None and kind == "date":
                continue
            content = content if moment is None else microseconds(moment)
        if not storable(content):
            return None
        found.append(Clause(f"({column} IS ?)", (content,)))
    return found[0] if len(found) == 1 else _combined("$or", found)


def _null(bound: object, column: str, _kind: Kind) -> Clause:
    return Clause(f"({column} IS {'' if bound else 'NOT '}NULL)")


def _truthy(bound: object, column: str, kind: Kind) -> Clause:
    # NOTE: blank text is null already.
    numeric = _FAMILIES[kind] != "text"
    full = f"{column} IS NOT NULL" + (f" AND {column} != 0" if numeric else "")
    return Clause(f"({'' if bound else 'NOT '}({full}))")


def _opposite(make: _Maker) -> _Maker:
    def negate(bound: object, column: str, kind: Kind) -> Clause | None:
        found = make(bound, column, kind)
        return None if found is None else _negated(found)

    return negate


_Maker = Callable[[object, str, Kind], Clause | None]
_PLAIN: Mapping[str, _Maker] = MappingProxyType(
    {
        "$eq": _equal,
        "$ne": _opposite(_equal),
        "$in": _among,
        "$nin": _opposite(_among),
        "$null": _null,
        "$truthy": _truthy,
    }
)
