"""Conditions on metadata as they are typed on a command line.

Each is one piece of text, and becomes a mapping of the grammar of filters:

====================  =======================================================
``DOI``               there is a value
``!age``              there is none
``map_type=Z map``    equal; ``map_type=Z map,T map`` is any of these
``modality!=PET,EEG`` none of these
``age>=20``           an order: ``> >= < <=``; numbers, ISO dates, text
``name~(?i)faces?``   a regular expression, found anywhere; ``!~`` for not found
``name*=face,house``  text with all of these; ``!*=`` for none of them
``{…}``               anything, written as in YAML or JSON
====================  =======================================================

Blanks around the parts do not count. Values, and names of fields, that hold one of
the signs above or a comma stand in double quotes, which are doubled within:
``name="left, right"``. An unquoted ``null`` is a missing value. For a field outside
the core schema, nobody knows whether ``3`` is a number or text there, so it is
either; ``"3"`` is text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from intake_neurovault.errors import FilterError
from intake_neurovault.values import suggest

__all__ = ["OPERATORS", "joined", "parse_condition", "read_terms"]

OPERATORS: Mapping[str, str] = {
    "=": "equal, or any of several",
    "!=": "not equal, or none of several",
    ">=": "at least",
    "<=": "at most",
    ">": "more than",
    "<": "less than",
    "~": "a pattern found anywhere",
    "!~": "a pattern found nowhere",
    "*=": "text with all of these",
    "!*=": "text with none of these",
}
"""What may stand between field and value, and what it asks for."""

_ORDERS = {">=": "$gte", "<=": "$lte", ">": "$gt", "<": "$lt"}
_SIGNS = "|".join(re.escape(sign) for sign in sorted(OPERATORS, key=len)[::-1])
_FIELD = r"(?:\"(?P<quoted>(?:[^\"]|\"\")+)\"|(?P<bare>[^\s\"{!=<>~*][^\"!=<>~*]*?))"
_CONDITION = re.compile(
    rf"\s*(?P<not>!?)\s*{_FIELD}\s*(?:(?P<sign>{_SIGNS})(?P<value>.*))?", re.DOTALL
)
_ITEM = re.compile(
    r"\s*(?:\"(?P<quoted>(?:[^\"]|\"\")*)\"|(?P<bare>[^\",][^,]*?|))\s*(?:,|$)"
)
_STARTS = frozenset("=!<>~*")
_SWITCHES = {"yes": True, "no": False, "true": True, "false": False}
_ARGUMENTS = ("image_terms", "collection_terms")


def parse_condition(
    text: str, *, kinds: Mapping[str, str], where: str
) -> dict[str, Any]:
    """Understand one condition.

    Parameters
    ----------
    text : str
        The condition, in the grammar above.
    kinds : mapping of str to {"int", "float", "bool", "text", "date"}
        Kind of each core field.
    where : str
        The option, for messages.

    Returns
    -------
    dict
        Terms for `intake_neurovault.filters.parse_filter`.

    Raises
    ------
    FilterError
        If it is none, with what was probably meant.

    Examples
    --------
    >>> parse_condition("number_of_subjects >= 20", kinds={}, where="--where")
    {'number_of_subjects': {'$gte': 20}}
    >>> parse_condition("map_type=Z map,T map", kinds={}, where="--where")
    {'map_type': {'$in': ['Z map', 'T map']}}
    >>> parse_condition("!DOI", kinds={}, where="--where")
    {'DOI': {'$null': True}}
    """
    if text.lstrip().startswith("{"):
        return _mapping(text, where)
    found = _CONDITION.fullmatch(text)
    if found is None:
        msg = (
            f"{where} {text!r} is no condition; write it as 'map_type=Z map', "
            "'number_of_subjects>=20', 'name~faces?', 'DOI' or '!DOI'"
        )
        raise FilterError(msg)
    field, sign = _unquoted(found, "quoted") or found["bare"], found["sign"]
    if field.startswith("$"):
        msg = f"{where} {text!r}: combine conditions as in '{{$or: [{{…}}, {{…}}]}}'"
        raise FilterError(msg)
    if sign is None:
        return {field: {"$null": bool(found["not"])}}
    if found["not"]:
        near = f"'{field}!={found['value']}'" if sign == "=" else "'{$not: {…}}'"
        msg = f"{where} {text!r}: '!' stands before a field alone; write {near}"
        raise FilterError(msg)
    value = found["value"].strip()
    return {field: _test(sign, value, kinds.get(field), f"{where} {text!r}")}


def joined(conditions: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    """Join conditions that must all hold.

    Parameters
    ----------
    conditions : sequence of mapping or None
        Terms; None says nothing.

    Returns
    -------
    dict or None
        Terms; None if nothing was said.

    Examples
    --------
    >>> joined([None, {"age": 20}]), joined([])
    ({'age': 20}, None)
    >>> joined([{"age": 20}, {"age": 30}])
    {'$and': [{'age': 20}, {'age': 30}]}
    """
    said = [dict(each) for each in conditions if each is not None]
    if len(said) > 1:
        return {"$and": said}
    return said[0] if said else None


def read_terms(text: str, where: str) -> dict[str, Any]:
    """Read terms from a file.

    Parameters
    ----------
    text : str
        What is in it, YAML or JSON: a mapping with ``image_terms``,
        ``collection_terms`` or both.
    where : str
        The file, for messages.

    Returns
    -------
    dict
        These arguments of a search.

    Raises
    ------
    FilterError
        If it is no such mapping.

    Examples
    --------
    >>> read_terms("image_terms: {map_type: [Z map, T map]}", "x.yaml")
    {'image_terms': {'map_type': ['Z map', 'T map']}}
    """
    found = _mapping(text, where)
    for name in found:
        if name not in _ARGUMENTS:
            near = suggest(str(name), _ARGUMENTS)
            hint = f"did you mean {near}?" if near else "put conditions below these."
            msg = (
                f"{where} has {name!r} at its top, where image_terms and "
                f"collection_terms may stand; {hint}"
            )
            raise FilterError(msg)
        if not isinstance(found[name], Mapping):
            msg = f"{where}: {name} takes a mapping of fields to conditions."
            raise FilterError(msg)
    return found


def _test(sign: str, value: str, kind: str | None, where: str) -> dict[str, Any]:
    """Give what stands under a field."""
    if not value:
        msg = (
            f"{where}: a value is missing after {sign!r}; to ask for a field without "
            "one, write '!' before its name"
        )
        raise FilterError(msg)
    if sign in ("~", "!~"):
        pattern = {"$regex": value}
        return pattern if sign == "~" else {"$not": pattern}
    if value[0] in _STARTS:
        msg = (
            f"{where}: {sign + value[0]!r} is no comparison; write one of "
            f"{'  '.join(OPERATORS)}, and quote a value that begins with {value[0]!r}"
        )
        raise FilterError(msg)
    items = _items(value, where)
    if sign in ("*=", "!*="):
        return {"$contains" if sign == "*=" else "$ncontains": [t for t, _ in items]}
    if sign in _ORDERS:
        if len(items) > 1:
            msg = f"{where}: {sign!r} takes one value, without commas"
            raise FilterError(msg)
        return {_ORDERS[sign]: _meanings(*items[0], kind)[0]}
    equal = sign == "="
    meant = [each for item in items for each in _meanings(*item, kind)]
    if len(meant) == 1:
        return {"$eq" if equal else "$ne": meant[0]}
    return {"$in" if equal else "$nin": meant}


def _items(value: str, where: str) -> list[tuple[str, bool]]:
    """Split values at commas; each with whether it was quoted."""
    items, place = [], 0
    while place <= len(value):
        found = _ITEM.match(value, place)
        if found is None:
            msg = f"{where}: the quotes do not match; double them within a value"
            raise FilterError(msg)
        quoted = found["quoted"] is not None
        item = _unquoted(found, "quoted") if quoted else found["bare"]
        if not item and not quoted:
            msg = f"{where}: a value is missing beside a comma; quote a comma itself"
            raise FilterError(msg)
        items.append((item, quoted))
        if found.end() == len(value) and not found[0].endswith(","):
            return items
        place = found.end()
    return items


def _unquoted(found: re.Match[str], name: str) -> str:
    return (found[name] or "").replace('""', '"')


def _meanings(item: str, quoted: bool, kind: str | None) -> list[Any]:
    """Give the values that an item may stand for, the most likely first."""
    if quoted:
        return [item]
    if item == "null":
        return [None]
    if kind == "bool":
        return [_SWITCHES.get(item.lower(), item)]
    if kind is not None:
        return [item]
    try:
        found = json.loads(item)
    except (ValueError, RecursionError):
        return [item]
    plain = isinstance(found, int | float) and item not in ("NaN", "Infinity")
    return [found, item] if plain and item != "-Infinity" else [item]


def _mapping(text: str, where: str) -> dict[str, Any]:
    try:
        found = _loaded(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        msg = f"{where} is neither YAML nor JSON: {'; '.join(lines[:3])}"
        raise FilterError(msg) from error
    if not isinstance(found, dict):
        msg = f"{where} should hold a mapping, not a {type(found).__name__}"
        raise FilterError(msg)
    return found


def _loaded(text: str) -> Any:
    # NOTE: YAML reads nearly all JSON, but not each escape of a letter.
    try:
        return json.loads(text)
    except ValueError:
        return yaml.safe_load(text)
