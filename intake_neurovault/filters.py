"""Filters on metadata: the grammar, and how what a user writes is parsed.

A filter is a mapping that plain YAML or JSON can hold; nothing in it is ever
executed::

    map_type: [Z map, T map]                   # a list: any of
    number_of_subjects: {$gte: 20, $lt: 500}   # all must hold
    DOI: {$null: false}
    name: {$regex: faces?, $flags: i}
    $not: {is_thresholded: true}

Under a field stands a scalar (``$eq``), a list (``$in``), null
(``$null: true``), or a mapping of these:

========================  ======================================================
``$eq $ne``               equal, or not; 20 equals 20.0, true is not 1
``$gt $gte $lt $lte``     order of numbers, of ISO dates, or of text
``$in $nin``              one of a list, or none; an empty ``$in`` matches nothing
``$contains $ncontains``  text has all these parts, or a list all these members;
                          or none of them
``$regex $match``         a regular expression, found anywhere or at the start
``$flags``                letters ``i m s x`` for either
``$null``                 missing, null or NaN
``$truthy``               neither null nor 0, false or empty
========================  ======================================================

``$and``, ``$or``, ``$xor`` (an odd number of them holds) take a list of mappings,
``$not`` takes a mapping; they may stand under a field as well. An empty mapping
matches everything.

Null passes ``$ne``, ``$nin`` and ``$not``, but no comparison, no pattern and neither
``$contains`` nor ``$ncontains``, which hold for text and lists alone. Records are
expected clean: a null spelling such as ``"n/a"`` is text here. A date without a zone
is UTC, without a time its midnight.

nilearn's twelve term classes (``NotNull()``, ``GreaterThan(3)``, …) may stand wherever
the bound of a field does and become the above at once. The results differ from
nilearn's in that no number is truncated, no value is cast to the type of the bound,
null has no order, true is not 1, and a mapping contains nothing.

Depth, size and length of patterns are limited. Within these limits a regular
expression can still take exponential time (``(a+)+$``): a filter from somebody else
cannot run code, but it can keep a process busy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from types import MappingProxyType
from typing import Any, TypeAlias

from intake_neurovault.conditions import (
    VERDICTS,
    Filter,
    Record,
    Step,
    combine,
    depth,
    explain,
    field_test,
    unknown_fields,
)
from intake_neurovault.errors import FilterError
from intake_neurovault.predicates import FLAGS, OPERATORS, PATTERNS, Predicate
from intake_neurovault.values import (
    listed,
    plain,
    suggest,
    unpack,
)

__all__ = [
    "MAX_DEPTH",
    "MAX_PARTS",
    "Every",
    "Filter",
    "Step",
    "explain",
    "parse_filter",
    "split_terms",
    "suggest",
    "unknown_fields",
]

MAX_DEPTH = 32
"""Most levels of ``$and``, ``$or``, ``$xor`` and ``$not`` within each other."""

MAX_PARTS = 100_000
"""Most mappings and lists in one filter (YAML aliases multiply them)."""

# One level takes a mapping, a list and perhaps a field: this much is ample.
_MAX_NESTING = 4 * MAX_DEPTH

_Parse: TypeAlias = Callable[[object, str], Filter]
_Test: TypeAlias = Callable[[Record], bool]


def parse_filter(
    terms: Mapping[str, Any] | Filter | None, *, kinds: Mapping[str, str], where: str
) -> Filter:
    """Understand the terms of a filter.

    Parameters
    ----------
    terms : mapping, Filter or None
        Terms in the grammar above; a Filter is returned as it is, and None
        matches everything.
    kinds : mapping of str to {"int", "float", "bool", "text", "date"}
        Kind of each core field. Bounds are cast to it, as templating delivers
        ``20`` and ``true`` as text; for other fields they are taken as they are.
    where : str
        Name of the argument, for messages.

    Returns
    -------
    Filter
        Equal to any other that says the same.

    Raises
    ------
    FilterError
        Saying where, what is wrong, and what was probably meant.

    Examples
    --------
    >>> terms = {"number_of_subjects": {"$gte": "20", "$lt": 500}}
    >>> kinds = {"number_of_subjects": "int"}
    >>> wanted = parse_filter(terms, kinds=kinds, where="image_terms")
    >>> wanted.matches({"number_of_subjects": 20})
    True
    >>> wanted
    Filter({'number_of_subjects': {'$gte': 20, '$lt': 500}})
    """
    if terms is None:
        return Filter()
    if isinstance(terms, Filter):
        return terms
    _check_size(terms, where)
    found = _parse_terms(terms, where, kinds=kinds)
    if depth(found) > MAX_DEPTH:
        raise _too_deep(where)
    return found


def _check_size(terms: object, where: str) -> None:
    """Refuse what would take for ever, or the whole stack, to parse."""
    level, seen = [terms], 0
    for _ in range(_MAX_NESTING):
        if not level:
            return
        below = chain.from_iterable(map(_inner, level))
        level = list(islice(below, MAX_PARTS + 1 - seen))
        seen += len(level)
        if seen > MAX_PARTS:
            msg = f"{where}: more than {MAX_PARTS} mappings and lists; use fewer terms"
            raise FilterError(msg)
    raise _too_deep(where)


def _inner(node: object) -> Iterable[object]:
    items = node.values() if isinstance(node, Mapping) else node
    if isinstance(items, Iterable) and not isinstance(items, str | bytes):
        return (item for item in items if isinstance(item, Mapping | list | tuple))
    return ()


def _too_deep(where: str) -> FilterError:
    return FilterError(f"{where}: nested deeper than {MAX_DEPTH} levels; flatten it")


def _parse_terms(terms: object, where: str, *, kinds: Mapping[str, str]) -> Filter:
    if not isinstance(terms, Mapping):
        raise _not_a_mapping(terms, where)
    return combine(
        "$and", [_parse_term(key, terms[key], where, kinds=kinds) for key in terms]
    )


def _not_a_mapping(terms: object, where: str) -> FilterError:
    msg = (
        f"{where}: expected a mapping of fields to values, such as "
        f"{{map_type: Z map}}, not a {type(terms).__name__}"
    )
    return FilterError(msg)


def _parse_term(
    key: object, operand: object, where: str, *, kinds: Mapping[str, str]
) -> Filter:
    if not isinstance(key, str):
        msg = f"{where}: {key!r} is not the name of a field; put it in quotes"
        raise FilterError(msg)
    place = f"{where}.{key}"
    if key in VERDICTS:
        return _parse_group(key, operand, place, partial(_parse_terms, kinds=kinds))
    if key in OPERATORS or key == "$flags":
        msg = f"{place}: an operator stands under a field: {{field: {{{key}: ...}}}}"
        raise FilterError(msg)
    if key.startswith("$"):
        raise _unknown_operator(key, where, VERDICTS)
    column = _Column(key, kinds.get(key))
    return _parse_field(operand, place, column=column)


def _parse_group(operator: str, operand: object, where: str, parse: _Parse) -> Filter:
    if operator == "$not":
        return combine(operator, [parse(operand, where)])
    family, members = plain(unpack(operand))
    if family != "list" or not members:
        msg = f"{where}: {operator} takes a list of at least one condition"
        raise FilterError(msg)
    parts = [parse(member, f"{where}[{i}]") for i, member in enumerate(members)]
    return combine(operator, parts)


@dataclass(frozen=True)
class _Column:
    """A field under which conditions stand."""

    name: str
    kind: str | None

    def test(self, operator: str, bound: object, where: str, flags: str = "") -> Filter:
        parsed = Predicate.parse(
            operator, bound, kind=self.kind, where=where, flags=flags
        )
        return field_test(self.name, parsed)


def _parse_field(operand: object, where: str, *, column: _Column) -> Filter:
    operand = listed(unpack(_translated(operand)))
    if isinstance(operand, Mapping):
        return _parse_operators(operand, where, column)
    operator = "$in" if plain(operand)[0] == "list" else "$eq"
    return column.test(operator, operand, where)


def _parse_operators(
    operators: Mapping[Any, object], where: str, column: _Column
) -> Filter:
    flags = _read_flags(operators, where)
    parts = []
    for operator, bound in operators.items():
        place = f"{where}.{operator}"
        if operator in VERDICTS:
            below = partial(_parse_field, column=column)
            parts.append(_parse_group(operator, bound, place, below))
        elif operator in OPERATORS:
            parts.append(column.test(operator, bound, place, flags))
        elif operator != "$flags":
            raise _unknown_operator(operator, where, {*OPERATORS, *VERDICTS, "$flags"})
    if not parts:
        msg = f"{where}: an empty mapping; give an operator, such as {{$null: false}}"
        raise FilterError(msg)
    return combine("$and", parts)


def _read_flags(operators: Mapping[Any, object], where: str) -> str:
    if "$flags" not in operators:
        return ""
    flags = operators["$flags"]
    if not PATTERNS & operators.keys():
        msg = f"{where}.$flags: flags go with $regex or $match in the same mapping"
        raise FilterError(msg)
    if not isinstance(flags, str) or not set(flags) <= FLAGS.keys():
        msg = f"{where}.$flags: {flags!r} is not made of the letters {', '.join(FLAGS)}"
        raise FilterError(msg)
    return "".join(sorted(set(flags)))


def _unknown_operator(key: object, where: str, known: Iterable[str]) -> FilterError:
    meant = suggest(str(key), known)
    listed = ", ".join(sorted(known))
    hint = f"did you mean {meant!r}?" if meant else f"the operators here are {listed}"
    return FilterError(f"{where}: unknown operator {key!r}; {hint}")


# What nilearn's users bring along. Their classes are known by module and name, so
# that nilearn need not be imported to recognise that there is nothing of it.


def _is_nilearns(value: object, names: Iterable[str]) -> bool:
    kind = type(value)
    homes = ("nilearn.datasets.", "intake_neurovault.")
    return kind.__name__ in names and f"{kind.__module__}.".startswith(homes)


_SPECIAL: Mapping[str, Callable[[Any], dict[str, object]]] = MappingProxyType(
    {
        "IsNull": lambda _: {"$truthy": False},
        "NotNull": lambda _: {"$truthy": True},
        "NotEqual": lambda special: {"$ne": special.negated_},
        "GreaterOrEqual": lambda special: {"$gte": special.bound_},
        "GreaterThan": lambda special: {"$gt": special.bound_},
        "LessOrEqual": lambda special: {"$lte": special.bound_},
        "LessThan": lambda special: {"$lt": special.bound_},
        "IsIn": lambda special: {"$in": list(special.accepted_)},
        "NotIn": lambda special: {"$nin": list(special.rejected_)},
        "Contains": lambda s: {"$contains": list(s.must_be_contained_)},
        "NotContains": lambda s: {"$ncontains": list(s.must_not_be_contained_)},
        "Pattern": lambda s: {"$match": s.pattern_, "$flags": _letters(s.flags_)},
    }
)


def _translated(operand: object) -> object:
    if _is_nilearns(operand, _SPECIAL):
        return _SPECIAL[type(operand).__name__](operand)
    return operand


def _letters(bits: object) -> object:
    if not isinstance(bits, int):
        return bits
    named = {**FLAGS, "a": re.ASCII, "L": re.LOCALE}
    return "".join(letter for letter, flag in named.items() if bits & flag)


@dataclass(frozen=True)
class Every:
    """A test that holds when all of several do; picklable when they are."""

    tests: tuple[_Test, ...]
    """What must hold."""

    def __call__(self, record: Record) -> bool:
        """Tell whether all of them hold."""
        return all(test(record) for test in self.tests)


def split_terms(
    terms: object, where: str
) -> tuple[Mapping[str, Any] | None, _Test | None]:
    """Part what can be written down from what is only a Python function.

    Parameters
    ----------
    terms : mapping, Filter, callable or None
        Terms, or a function of a record such as nilearn's ``ResultFilter``.
    where : str
        Name of the argument, for messages.

    Returns
    -------
    mapping or None
        Terms for :func:`parse_filter`. A ``ResultFilter`` gives its query terms.
    callable or None
        The function that must hold besides. nilearn's combinations (``AND``,
        ``OR``, ``XOR``, ``NOT``) are opaque functions, hence all here.

    Raises
    ------
    FilterError
        When the terms are neither a mapping nor a function.

    Examples
    --------
    >>> split_terms({"map_type": "Z map"}, "image_terms")
    ({'map_type': 'Z map'}, None)
    >>> split_terms(callable, "image_terms")
    (None, <built-in function callable>)
    """
    if terms is None or isinstance(terms, Mapping):
        return terms, None
    if isinstance(terms, Filter):
        return terms.to_mapping(), None
    if not callable(terms) or isinstance(terms, type):
        raise _not_a_mapping(terms, where)
    if not _is_nilearns(terms, ["ResultFilter"]):
        return None, terms
    return _taken_apart(terms)


def _taken_apart(result_filter: Any) -> tuple[Mapping[str, Any] | None, _Test | None]:
    mapping = dict(result_filter.query_terms_)
    # nilearn puts a function that accepts everything where none was given.
    tests = tuple(
        test
        for test in result_filter.callable_filters_
        if getattr(test, "__name__", "") != "_empty_filter"
    )
    if not tests:
        return mapping, None
    return mapping or None, tests[0] if len(tests) == 1 else Every(tests)
