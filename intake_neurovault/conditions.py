"""Conditions on a record: the filter as a value, applied, described, written back.

How a filter is read from what a user writes is the matter of
:mod:`intake_neurovault.filters`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

from intake_neurovault.predicates import PATTERNS, Predicate
from intake_neurovault.values import (
    listed,
    suggest,
)

Record: TypeAlias = Mapping[str, Any]
"""Metadata of one image or collection."""


@dataclass(frozen=True, eq=False, repr=False)
class Filter:
    """A test of a record, as a value: hashable, picklable, JSON all through.

    Filters are equal when they say the same, in whatever order. They are made by
    :func:`intake_neurovault.filters.parse_filter`; ``Filter()`` matches everything.

    Examples
    --------
    >>> from intake_neurovault.filters import parse_filter
    >>> terms = {"map_type": ["Z map", "T map"], "number_of_subjects": {"$gte": 20}}
    >>> wanted = parse_filter(terms, kinds={}, where="image_terms")
    >>> wanted.matches({"map_type": "T map", "number_of_subjects": 31})
    True
    >>> wanted.describe()
    'map_type is one of "T map", "Z map"; number_of_subjects >= 20'
    >>> parse_filter(wanted.to_mapping(), kinds={}, where="image_terms") == wanted
    True
    """

    operator: str = "$and"
    """``$and``, ``$or``, ``$xor`` or ``$not``; ``$field`` for a test of one field."""
    members: tuple[Filter, ...] = ()
    """What the operator combines."""
    field: str = ""
    """Name of the field that is tested."""
    predicate: Predicate | None = None
    """The test of the field's value."""

    def __call__(self, record: Record) -> bool:
        """Tell whether a record passes, as :meth:`matches` does."""
        return self.matches(record)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Filter):
            return NotImplemented
        return self.canonical() == other.canonical()

    def __hash__(self) -> int:
        return hash(self.canonical())

    def __repr__(self) -> str:
        return f"Filter({self.to_mapping()!r})"

    def matches(self, record: Record) -> bool:
        """Tell whether a record passes; what is not a mapping never does."""
        return issubclass(type(record), Mapping) and self._holds(record)

    def _holds(self, record: Record) -> bool:
        if self.predicate is not None:
            return self.predicate.holds(record.get(self.field))
        return VERDICTS[self.operator](member._holds(record) for member in self.members)

    def canonical(self) -> str:
        """Write the filter as JSON that is the same for all equal filters.

        It does not depend on order, process or version of Python, and so suits a
        fingerprint; :meth:`to_mapping` is what can be read back.
        """
        if self.predicate is not None:
            test = self.predicate
            return json.dumps([self.field, test.operator, test.bound, test.flags])
        members = sorted(member.canonical() for member in self.members)
        return f"[{', '.join([json.dumps(self.operator), *members])}]"

    def to_mapping(self) -> dict[str, Any]:
        """Write the filter as a mapping for JSON or YAML that parses to an equal one.

        Returns
        -------
        dict
            New, with the shorthands for ``$eq`` and ``$in``.
        """
        mapping: dict[str, Any] = {}
        rest = [
            written
            for written in (part._written() for part in self._conjuncts())
            if not _merged(mapping, written)
        ]
        short = {key: _shorthand(value) for key, value in mapping.items()}
        if rest:
            short["$and"] = [
                {key: _shorthand(value) for key, value in part.items()} for part in rest
            ]
        return short

    def _conjuncts(self) -> tuple[Filter, ...]:
        return self.members if self.operator == "$and" else (self,)

    def _written(self) -> dict[str, Any]:
        if self.predicate is not None:
            return {self.field: self.predicate.to_mapping()}
        members = [member.to_mapping() for member in self.members]
        return {self.operator: members[0] if self.operator == "$not" else members}

    def terms(self) -> tuple[Filter, ...]:
        """Split into what must all hold: one filter per field, one per combination.

        Returns
        -------
        tuple of Filter
            In the order given by the user; none when everything matches.
        """
        return self._terms

    @cached_property
    def _terms(self) -> tuple[Filter, ...]:
        parts: dict[tuple[str, str], list[Filter]] = {}
        for part in self._conjuncts():
            key = (part.field, "" if part.predicate else part.canonical())
            parts.setdefault(key, []).append(part)
        return tuple(combine("$and", members) for members in parts.values())

    def __reduce__(self) -> tuple[Any, ...]:
        content = self.operator, self.members, self.field, self.predicate
        return Filter, content

    def fields(self) -> frozenset[str]:
        """Name every field that the filter looks at."""
        own = {self.field} if self.predicate else set()
        return frozenset(own.union(*(member.fields() for member in self.members)))

    def describe(self) -> str:
        """Put the filter into words."""
        return "; ".join(term._words() for term in self.terms()) or "everything"

    def _words(self) -> str:
        tests = [t.predicate.describe() for t in self._conjuncts() if t.predicate]
        if tests:
            return f"{self._conjuncts()[0].field} {' and '.join(tests)}"
        members = [f"({member.describe()})" for member in self.members]
        return _WORDS[self.operator].format(_JOINTS[self.operator].join(members))


@dataclass(frozen=True)
class Step:
    """What one term of a filter did to some records."""

    term: str
    """The term in words."""
    removed: int
    """Records that passed all terms before this one, but not this one."""
    alone: int
    """Records that would not pass this term if it were the only one."""
    of: Literal["collections", "images"] = "images"
    """What the records are of."""
    seen: int = 0
    """Records that passed all terms before this one."""
    by: str = field(default="Python", compare=False)
    """What judged them: Python, the index, or a function of the user's."""


def _odd(verdicts: Iterable[bool]) -> bool:
    return sum(verdicts) % 2 == 1


def _not_any(verdicts: Iterable[bool]) -> bool:
    return not any(verdicts)


VERDICTS: Mapping[str, Callable[[Iterable[bool]], bool]] = MappingProxyType(
    {"$and": all, "$or": any, "$xor": _odd, "$not": _not_any}
)
"""How each combination decides from what its members say."""

_JOINTS = {"$or": " or ", "$xor": ", ", "$not": ""}
_WORDS = {"$or": "{}", "$xor": "an odd number of {}", "$not": "not {}"}


def _shorthand(written: Any) -> Any:
    if isinstance(written, dict) and len(written) == 1:
        operator, bound = next(iter(written.items()))
        plain_value = operator == "$eq" and not isinstance(listed(bound), list)
        return bound if plain_value or operator == "$in" else written
    return written


def _merged(mapping: dict[str, Any], written: dict[str, Any]) -> bool:
    """Add a term to a mapping, if both can stand in it side by side."""
    ((key, value),) = written.items()
    if key not in mapping:
        mapping[key] = value
        return True
    if key in VERDICTS:
        return False
    present = mapping[key]
    # Two patterns would have to share their flags.
    patterns = PATTERNS & present.keys() and PATTERNS & value.keys()
    if patterns or present.keys() & value.keys():
        return False
    mapping[key] = present | value
    return True


def combine(operator: str, members: Sequence[Filter]) -> Filter:
    """Join filters, so that equal meanings come out as equal filters.

    Parameters
    ----------
    operator : {"$and", "$or", "$xor", "$not"}
        How; ``$not`` takes one member.
    members : sequence of Filter
        What.

    Returns
    -------
    Filter
        Without groups of one, groups within a group of the same kind,
        repetitions and double negations.

    Examples
    --------
    >>> combine("$not", [combine("$not", [Filter()])])
    Filter({})
    """
    if operator == "$not":
        return _negate(members[0])
    if operator != "$xor":
        flat = chain.from_iterable(
            m.members if m.operator == operator else (m,) for m in members
        )
        members = list({member.canonical(): member for member in flat}.values())
    return members[0] if len(members) == 1 else Filter(operator, tuple(members))


def _negate(member: Filter) -> Filter:
    if member.operator == "$not":
        return member.members[0]
    opposite = member.predicate and member.predicate.negated()
    if opposite:
        return field_test(member.field, opposite)
    return Filter("$not", (member,))


def field_test(field: str, predicate: Predicate) -> Filter:
    """Make the filter that tests one field.

    Parameters
    ----------
    field : str
        Name of the field.
    predicate : Predicate
        Test of its value.

    Returns
    -------
    Filter
        For :func:`combine`.

    Examples
    --------
    >>> is_null = Predicate.parse("$null", True, kind=None, where="terms.DOI")
    >>> field_test("DOI", is_null)
    Filter({'DOI': {'$null': True}})
    """
    return Filter("$field", field=field, predicate=predicate)


def depth(condition: Filter) -> int:
    """Count the levels of combinations within each other.

    Parameters
    ----------
    condition : Filter
        The filter.

    Returns
    -------
    int
        0 for the test of one field.

    Examples
    --------
    >>> depth(Filter())
    1
    """
    if condition.predicate is not None:
        return 0
    return 1 + max(map(depth, condition.members), default=0)


def explain(condition: Filter, records: Sequence[Record]) -> list[Step]:
    """Count the records that each term of a filter removes.

    Parameters
    ----------
    condition : Filter
        The filter.
    records : sequence of mapping
        Metadata, one mapping per image or collection.

    Returns
    -------
    list of Step
        One per term, in order. The numbers removed add up to the number of
        records that do not match.

    Examples
    --------
    >>> from intake_neurovault.filters import parse_filter
    >>> terms = {"map_type": "Z map", "age_mean": {"$gte": 18}}
    >>> wanted = parse_filter(terms, kinds={}, where="image_terms")
    >>> for step in explain(wanted, [{"map_type": "T map"}, {"map_type": "Z map"}]):
    ...     print(step.term, step.removed, step.alone)
    map_type is "Z map" 1 1
    age_mean >= 18 1 2
    """
    terms = condition.terms()
    removed, alone = [0] * len(terms), [0] * len(terms)
    for record in records:
        failed = [place for place, term in enumerate(terms) if not term(record)]
        for place in failed[:1]:
            removed[place] += 1
        for place in failed:
            alone[place] += 1
    return [
        Step(term.describe(), first, each)
        for term, first, each in zip(terms, removed, alone, strict=True)
    ]


def unknown_fields(
    condition: Filter, known: Iterable[str], records: Iterable[Record]
) -> dict[str, str | None]:
    """Find the fields of a filter that nothing has.

    Parameters
    ----------
    condition : Filter
        The filter.
    known : iterable of str
        Names of core fields.
    records : iterable of mapping
        Metadata that may hold custom fields besides.

    Returns
    -------
    dict
        Each field that is neither known nor on any record, in alphabetical order,
        with the name that was probably meant, or None.

    Examples
    --------
    >>> from intake_neurovault.filters import parse_filter
    >>> wanted = parse_filter({"maptype": "Z map"}, kinds={}, where="image_terms")
    >>> unknown_fields(wanted, ["map_type", "name"], [])
    {'maptype': 'map_type'}
    """
    names = set(known)
    if condition.fields() <= names:
        return {}
    names.update(*(record for record in records if isinstance(record, Mapping)))
    missing = sorted(condition.fields() - names)
    return {
        field: suggest(field, (name for name in names if isinstance(name, str)))
        for field in missing
    }
