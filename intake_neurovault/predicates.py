"""Predicates on one metadata value: what each operator of a filter means.

A predicate is parsed once, with its bound cast to the kind of the field, and
then holds nothing but text: it is hashable, picklable and JSON all through.
"""

from __future__ import annotations

import json
import operator as compare
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from intake_neurovault.errors import FilterError
from intake_neurovault.values import (
    Value,
    identity,
    instant,
    listed,
    member_identity,
    plain,
    read_scalar,
    unpack,
)

MAX_PATTERN = 1000
"""Longest regular expression that is accepted, in characters."""

FLAGS: Mapping[str, re.RegexFlag] = MappingProxyType(
    {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}
)
"""The letters that ``$flags`` may hold."""

PATTERNS = frozenset({"$regex", "$match"})
"""Operators that take a regular expression, and with it ``$flags``."""

_OPPOSITES = {"$eq": "$ne", "$ne": "$eq", "$in": "$nin", "$nin": "$in"}


@dataclass(frozen=True)
class Predicate:
    """A test of one value.

    Examples
    --------
    >>> adults = Predicate.parse("$gte", "18", kind="float", where="terms.age_mean")
    >>> adults.holds(30.5), adults.holds(17.9), adults.holds(None)
    (True, False, False)
    >>> adults.to_mapping()
    {'$gte': 18}
    """

    operator: str
    """A key of :data:`OPERATORS`."""
    bound: str
    """What to compare with, as canonical JSON: equal bounds are equal text."""
    flags: str = ""
    """Letters of ``$flags``, sorted; only with a pattern."""

    @classmethod
    def parse(
        cls,
        operator: str,
        bound: object,
        *,
        kind: str | None,
        where: str,
        flags: str = "",
    ) -> Predicate:
        """Understand one operator and its bound.

        Parameters
        ----------
        operator : str
            A key of :data:`OPERATORS`.
        bound : object
            A JSON value, a date, or a numpy or pandas spelling of one.
        kind : {"int", "float", "bool", "text", "date"} or None
            Kind of the field; None leaves text as it is.
        where : str
            Place in the user's filter, for messages.
        flags : str
            Letters of :data:`FLAGS`, sorted, for patterns.

        Returns
        -------
        Predicate
            Equal to any that says the same: ``$in`` of one value is ``$eq``,
            and ``$eq`` of null is ``$null``.

        Raises
        ------
        FilterError
            When the bound does not suit the operator or the field.
        """
        found = OPERATORS[operator].read(unpack(bound), kind, where)
        if operator in PATTERNS:
            _check_pattern(found, flags, where)
            return cls(operator, json.dumps(found), flags)
        operator, found = _simplify(operator, found)
        return cls(operator, json.dumps(found))

    @property
    def value(self) -> Any:
        """The bound: a JSON scalar, or a list of them."""
        return json.loads(self.bound)

    def holds(self, value: object) -> bool:
        """Tell whether a metadata value, of any type at all, passes."""
        return _compiled(self)(plain(value))

    def to_mapping(self) -> dict[str, Any]:
        """Write the predicate as it may stand under a field."""
        flags = {"$flags": self.flags} if self.flags else {}
        return {self.operator: self.value, **flags}

    def describe(self) -> str:
        """Put the predicate into words that may follow the name of a field."""
        text = OPERATORS[self.operator].phrase(self.value)
        return f"{text} (flags {self.flags})" if self.flags else text

    def negated(self) -> Predicate | None:
        """Return the predicate that says the opposite, None where there is none."""
        if self.operator in _OPPOSITES:
            return Predicate(_OPPOSITES[self.operator], self.bound)
        if self.operator in ("$null", "$truthy"):
            return Predicate(self.operator, json.dumps(not self.value))
        return None


def _simplify(operator: str, bound: Any) -> tuple[str, Any]:
    if operator in ("$in", "$nin") and len(bound) == 1:
        operator, bound = {"$in": "$eq", "$nin": "$ne"}[operator], bound[0]
    if operator in ("$eq", "$ne") and bound is None:
        return "$null", operator == "$eq"
    return operator, bound


def _check_pattern(pattern: str, flags: str, where: str) -> None:
    try:
        re.compile(pattern, _bits(flags))
    except re.error as error:
        place = "" if error.pos is None else f" at position {error.pos}"
        msg = f"{where}: not a regular expression: {error.msg}{place}"
        raise FilterError(msg) from error
    except (OverflowError, RecursionError) as error:
        msg = f"{where}: the pattern is too large for Python's re module; simplify it"
        raise FilterError(msg) from error


def _bits(flags: str) -> int:
    return sum(FLAGS[letter] for letter in flags)


# Readers: (bound, kind, where) to a JSON scalar or list.


def _read_value(value: object, kind: str | None, where: str) -> Any:
    family, content = plain(value)
    if family != "list":
        return read_scalar(value, kind, where)
    return [read_scalar(item, None, f"{where}[{i}]") for i, item in enumerate(content)]


def _read_items(items: Iterable[object], kind: str | None, where: str) -> list[Any]:
    read = (read_scalar(item, kind, f"{where}[{i}]") for i, item in enumerate(items))
    return sorted({json.dumps(item): item for item in read}.values(), key=_rank)


def _rank(item: Any) -> tuple[str, Any]:
    # Within a family all contents can be compared, between them none need be.
    return plain(item)[0], 0 if item is None else item


def _read_list(value: object, kind: str | None, where: str) -> Any:
    family, content = plain(listed(value))
    if family != "list":
        msg = f"{where}: expected a list; for one value use $eq or $ne"
        raise FilterError(msg)
    return _read_items(content, kind, where)


def _read_contents(value: object, kind: str | None, where: str) -> Any:
    family, content = plain(listed(value))
    # Members of a list have no kind of their own: only text is cast to be found.
    kind = kind if kind == "text" else None
    return _read_items(content if family == "list" else [value], kind, where)


def _read_limit(value: object, kind: str | None, where: str) -> Any:
    limit = read_scalar(value, kind, where)
    if plain(limit)[0] not in ("number", "text"):
        msg = f"{where}: {json.dumps(limit)} has no order; use a number, a date or text"
        raise FilterError(msg)
    return limit


def _read_switch(value: object, _kind: str | None, where: str) -> Any:
    switch = read_scalar(value, "bool", where)
    if switch is None:
        msg = f"{where}: null is not true or false"
        raise FilterError(msg)
    return switch


def _read_pattern(value: object, _kind: str | None, where: str) -> Any:
    pattern = read_scalar(value, None, where)
    if not isinstance(pattern, str):
        msg = f"{where}: {json.dumps(pattern)} is not a regular expression; use text"
        raise FilterError(msg)
    if len(pattern) > MAX_PATTERN:
        msg = (
            f"{where}: the pattern has {len(pattern)} characters; "
            f"shorten it to at most {MAX_PATTERN}"
        )
        raise FilterError(msg)
    return pattern


# Makers: a predicate to the function that tests a value.

Test = Callable[[Value], bool]
"""A test of a value that :func:`intake_neurovault.values.plain` has sorted."""

Maker = Callable[[Predicate], Test]
"""Makes the test of a predicate."""


@lru_cache(maxsize=1024)
def _compiled(predicate: Predicate) -> Test:
    return OPERATORS[predicate.operator].make(predicate)


def _equal(predicate: Predicate) -> Test:
    wanted = identity(plain(predicate.value))
    return lambda value: identity(value) == wanted


def _among(predicate: Predicate) -> Test:
    wanted = frozenset(identity(plain(item)) for item in predicate.value)
    return lambda value: identity(value) in wanted


def _opposite(make: Maker) -> Maker:
    def negate(predicate: Predicate) -> Test:
        test = make(predicate)
        return lambda value: not test(value)

    return negate


def _ordered(holds: Callable[[Any, Any], bool]) -> Maker:
    def make(predicate: Predicate) -> Test:
        family, limit = plain(predicate.value)
        moment = instant(limit) if family == "text" else None

        def test(value: Value) -> bool:
            if value[0] != family:
                return False
            if moment is None:
                return holds(value[1], limit)
            # A date has no order among other texts ("unknown" is not after it).
            other = instant(value[1])
            return other is not None and holds(other, moment)

        return test

    return make


def _containing(verdict: Callable[[Iterable[bool]], bool]) -> Maker:
    def make(predicate: Predicate) -> Test:
        items = predicate.value
        wanted = [identity(plain(item)) for item in items]

        def test(value: Value) -> bool:
            family, content = value
            if family == "text":
                return verdict(isinstance(i, str) and i in content for i in items)
            if family == "list":
                present = {member_identity(item) for item in content}
                return verdict(member in present for member in wanted)
            return False

        return test

    return make


def _none(found: Iterable[bool]) -> bool:
    return not any(found)


def _matching(find: Callable[[re.Pattern[str], str], object]) -> Maker:
    def make(predicate: Predicate) -> Test:
        pattern = re.compile(predicate.value, _bits(predicate.flags))
        return lambda v: v[0] == "text" and find(pattern, v[1]) is not None

    return make


def _null(predicate: Predicate) -> Test:
    wanted = predicate.value
    return lambda value: (value[0] == "null") == wanted


def _truthy(predicate: Predicate) -> Test:
    wanted = predicate.value
    return lambda value: (value[0] == "other" or bool(value[1])) == wanted


# Phrases: a bound to words.


def _listed(bound: Any, joint: str = ", ") -> str:
    items = bound if isinstance(bound, list) else [bound]
    return joint.join(json.dumps(i, ensure_ascii=False) for i in items) or "nothing"


def _say(words: str, joint: str = ", ") -> Callable[[Any], str]:
    return lambda bound: f"{words} {_listed(bound, joint)}"


def _say_either(yes: str, no: str) -> Callable[[Any], str]:
    return lambda bound: yes if bound else no


def _say_lacking(bound: Any) -> str:
    if len(bound) < 2:
        return f"does not contain {_listed(bound)}"
    return f"contains neither {_listed(bound, ' nor ')}"


@dataclass(frozen=True)
class Operator:
    """How one operator is read, applied and put into words."""

    read: Callable[[object, str | None, str], Any]
    """(bound, kind, where) to a JSON scalar or list."""
    make: Maker
    """Predicate to the function that tests a value."""
    phrase: Callable[[Any], str]
    """Bound to words that may follow the name of a field."""


OPERATORS: Mapping[str, Operator] = MappingProxyType(
    {
        "$eq": Operator(_read_value, _equal, _say("is")),
        "$ne": Operator(_read_value, _opposite(_equal), _say("is not")),
        "$gt": Operator(_read_limit, _ordered(compare.gt), _say(">")),
        "$gte": Operator(_read_limit, _ordered(compare.ge), _say(">=")),
        "$lt": Operator(_read_limit, _ordered(compare.lt), _say("<")),
        "$lte": Operator(_read_limit, _ordered(compare.le), _say("<=")),
        "$in": Operator(_read_list, _among, _say("is one of")),
        "$nin": Operator(_read_list, _opposite(_among), _say("is none of")),
        "$contains": Operator(
            _read_contents, _containing(all), _say("contains", " and ")
        ),
        "$ncontains": Operator(_read_contents, _containing(_none), _say_lacking),
        "$regex": Operator(
            _read_pattern, _matching(re.Pattern.search), _say("matches")
        ),
        "$match": Operator(
            _read_pattern, _matching(re.Pattern.match), _say("begins with a match of")
        ),
        "$null": Operator(_read_switch, _null, _say_either("is null", "is not null")),
        "$truthy": Operator(
            _read_switch,
            _truthy,
            _say_either("is neither null, zero nor empty", "is null, zero or empty"),
        ),
    }
)
"""Every operator that tests one value."""
