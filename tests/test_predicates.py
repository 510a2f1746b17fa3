"""What each operator says about one value."""

from __future__ import annotations

import json
import pickle
import re
import sys
from datetime import date
from typing import Any

import numpy as np
import pytest

from intake_neurovault.errors import FilterError
from intake_neurovault.predicates import OPERATORS, Predicate


class Hostile:
    """Raises whatever is done to it."""

    def _refuse(self, *_: object) -> Any:
        msg = "hands off"
        raise RuntimeError(msg)

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __hash__ = __bool__ = __len__ = __iter__ = __contains__ = _refuse
    __str__ = __repr__ = __float__ = __int__ = __index__ = _refuse
    __class__ = property(_refuse)


class HostileText(str):
    """Text whose methods raise."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        msg = "hands off"
        raise RuntimeError(msg)

    __hash__ = __bool__ = __len__ = __contains__ = __str__ = __eq__


def endless() -> list[object]:
    items: list[object] = ["Z map"]
    items.append(items)
    return items


ODD_VALUES = {
    "object": object(),
    "hostile": Hostile(),
    "hostile text": HostileText("Z map"),
    "class": dict,
    "bytes": b"Z map",
    "complex": 1j,
    "set": {1},
    "mapping": {"Z map": 1},
    "list of lists": [[1], {"a": []}, Hostile()],
    "endless list": endless(),
    "array": np.zeros((2, 2)),
    "array of objects": np.array([Hostile()], dtype=object),
    "structured": np.zeros(1, dtype=[("a", int)])[0],
    "huge": 10**5000,
    "infinite": float("inf"),
    "lone surrogate": "2016-01-01\ud800",
    "function": len,
}
BOUNDS: dict[str, list[object]] = {
    "$eq": ["Z map", 1, None, [1], "2016-01-01"],
    "$ne": ["Z map", 1, None, [1]],
    "$in": [["Z map", 1, None], []],
    "$nin": [["Z map", 1, None], []],
    **{name: [1, 0.5, "a", "2016-01-01"] for name in ("$gt", "$gte", "$lt", "$lte")},
    "$contains": ["Z", ["Z", 1], []],
    "$ncontains": ["Z", ["Z", 1], []],
    "$regex": ["Z.*"],
    "$match": ["Z.*"],
    "$null": [True, False],
    "$truthy": [True, False],
}


def make(operator: str, bound: object, **options: Any) -> Predicate:
    return Predicate.parse(
        operator, bound, **({"kind": None, "where": "terms.field"} | options)
    )


EXAMPLES: list[tuple[str, object, list[object], list[object]]] = [
    (
        "$eq",
        20,
        [20, 20.0, np.int64(20)],
        [21, "20", True, None, [20]],
    ),
    ("$eq", 1, [1], [True, "1"]),
    ("$eq", True, [True, np.True_], [1, "true", None]),
    ("$eq", "Z map", ["Z map"], ["z map", "Z map ", None, ["Z map"]]),
    ("$eq", "", [""], [None, 0, False, []]),
    ("$eq", "none of the above", ["none of the above"], [None]),
    ("$eq", ["a", 1], [["a", 1], ("a", 1.0)], [["a"], [1, "a"], "a", None]),
    ("$eq", None, [None, float("nan")], ["", 0, False, [], "n/a"]),
    ("$ne", "Z map", ["T map", None, 1, []], ["Z map"]),
    ("$ne", 0, [False, None, "", 1], [0, 0.0]),
    ("$ne", None, ["", 0, "n/a"], [None, float("nan")]),
    ("$gt", 5, [5.9, 6, float("inf")], [5, 4, "6", True, None, [6], float("nan")]),
    ("$gte", 5, [5, 5.0], [4.999, None]),
    ("$lt", 7, [6, -1.5], [7, 7.5, None, "1", False, "a"]),
    ("$lte", 7, [7, 6.5], [7.9, None]),
    ("$gt", "abc", ["abd", "b"], ["abc", "Z", 5, None]),
    ("$lte", "b", ["b", "a", "2016-01-01"], ["c", None, 1]),
    (
        "$gte",
        "2016-01-21",
        ["2016-01-21", "2016-01-21T00:00:00Z", "2017-05-05T10:00:00.5+02:00"],
        ["2016-01-20", "2016-01-21T00:30:00+01:00", "unknown", "2017", 2017, None],
    ),
    (
        "$lt",
        "2016-01-21T12:00:00+02:00",
        ["2016-01-21T09:59:59Z", "2016-01-21", date(2016, 1, 1)],
        ["2016-01-21T10:00:00Z", "2016-01-21T10:00:00", "", None],
    ),
    (
        "$in",
        ["Z map", "T map", 3],
        ["Z map", 3.0],
        ["F map", None, ["Z map"], {"Z map": 1}],
    ),
    ("$in", [], [], [None, "", 0, []]),
    ("$in", [None, False], [None, False, float("nan")], [0, "", True]),
    ("$nin", ["Z map", 3], [None, "F map", ["Z map"], True], ["Z map", 3]),
    ("$nin", [None, "a"], ["b", 0], [None, "a"]),
    ("$nin", [], [None, "", 0], []),
    (
        "$contains",
        ["house", "face"],
        ["face vs house", ["house", "x", "face"]],
        ["smiling face", ["house"], None, 3, {"house": 1, "face": 2}],
    ),
    ("$contains", "a", ["cat", ["a"]], ["", [], ["cat"], None]),
    ("$contains", ["a", 0], [["b", 0.0, "a"]], ["a0", ["a", False], 10, None]),
    ("$contains", [None], [[1, None]], ["None", [1], None]),
    ("$contains", [], ["", [], "x"], [None, 1]),
    (
        "$ncontains",
        ["bad", "test"],
        ["good image", [], ["badly"]],
        ["test image", ["test"], None, 5, {}],
    ),
    ("$ncontains", [0], ["abc", [False, "0"]], [[0], None]),
    ("$regex", "faces?$", ["my faces", "face"], ["facet", None, 3, ["face"]]),
    ("$match", "faces?", ["facet"], ["my faces", None, 3, ["face"]]),
    ("$null", True, [None, float("nan"), np.nan], ["", 0, False, [], "None", {}]),
    ("$null", False, ["", 0, False, []], [None, float("nan")]),
    ("$truthy", True, ["a", 1, True, [0], {"a": 0}, -0.5], [None, 0, 0.0, "", [], {}]),
    ("$truthy", False, [None, 0, False, "", float("nan")], ["a", 1, "0", [None]]),
]


@pytest.mark.parametrize(("operator", "bound", "passing", "failing"), EXAMPLES)
def test_an_operator_holds(
    operator: str, bound: object, passing: list[object], failing: list[object]
) -> None:
    predicate = make(operator, bound)
    assert [value for value in passing if not predicate.holds(value)] == []
    assert [value for value in failing if predicate.holds(value)] == []


def test_every_operator_has_examples() -> None:
    assert {example[0] for example in EXAMPLES} == set(OPERATORS) == set(BOUNDS)


@pytest.mark.parametrize("name", ODD_VALUES)
@pytest.mark.parametrize("operator", BOUNDS)
def test_no_value_makes_a_predicate_raise(operator: str, name: str) -> None:
    for bound in BOUNDS[operator]:
        assert make(operator, bound).holds(ODD_VALUES[name]) in (True, False)


@pytest.mark.parametrize("name", ["object", "hostile", "class", "bytes", "set"])
@pytest.mark.parametrize(
    ("operator", "bound", "expected"),
    [
        ("$eq", "Z map", False),
        ("$ne", "Z map", True),
        ("$in", [1, None], False),
        ("$gt", 0, False),
        ("$contains", [], False),
        ("$ncontains", "x", False),
        ("$match", "", False),
        ("$null", True, False),
        ("$truthy", True, True),
    ],
)
def test_foreign_values_are_something_but_nothing_known(
    operator: str, bound: object, expected: bool, name: str
) -> None:
    assert make(operator, bound).holds(ODD_VALUES[name]) is expected


def test_text_of_a_subclass_is_text() -> None:
    assert make("$eq", "Z map").holds(HostileText("Z map"))


@pytest.mark.parametrize(
    ("flags", "text", "expected"),
    [
        ("", "FACES", False),
        ("i", "FACES", True),
        ("i", "a\nfaces", False),
        ("im", "a\nFaces", True),
    ],
)
def test_flags_go_with_a_pattern(flags: str, text: str, expected: bool) -> None:
    assert make("$regex", "^faces", flags=flags).holds(text) is expected


def test_a_predicate_is_a_value() -> None:
    one, same = make("$in", ["b", "a", "b"]), make("$in", ("a", "b"))
    assert one == same
    assert hash(one) == hash(same)
    assert pickle.loads(pickle.dumps(one)) == one
    assert one.value == ["a", "b"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("$eq", 1), ("$eq", True)),
        (("$eq", 1), ("$eq", "1")),
        (("$in", [1, 2]), ("$in", [True, 2])),
        (("$eq", 0), ("$eq", None)),
        (("$eq", ["a"]), ("$eq", "a")),
    ],
)
def test_bounds_that_python_takes_for_equal_differ(
    one: tuple[str, object], other: tuple[str, object]
) -> None:
    assert make(*one) != make(*other)


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (("$eq", 20), ("$eq", 20.0)),
        (("$eq", None), ("$null", True)),
        (("$ne", None), ("$null", False)),
        (("$in", ["a"]), ("$eq", "a")),
        (("$in", [None]), ("$null", True)),
        (("$nin", ["a", "a"]), ("$ne", "a")),
        (("$nin", [None]), ("$null", False)),
        (("$in", [3, 1, None]), ("$in", [None, 1.0, 3])),
        (("$contains", "a"), ("$contains", ["a"])),
        (("$null", "True"), ("$null", True)),
    ],
)
def test_what_says_the_same_is_equal(
    one: tuple[str, object], same: tuple[str, object]
) -> None:
    assert make(*one) == make(*same)


@pytest.mark.parametrize(("operator", "bound"), [(o, b[0]) for o, b in BOUNDS.items()])
def test_the_opposite_holds_for_all_other_values(operator: str, bound: object) -> None:
    predicate = make(operator, bound)
    opposite = predicate.negated()
    if opposite is None:
        assert operator not in ("$eq", "$ne", "$in", "$nin", "$null", "$truthy")
        return
    for value in [*ODD_VALUES.values(), None, 1, "Z map", ""]:
        assert opposite.holds(value) is not predicate.holds(value)
    assert opposite.negated() == predicate


@pytest.mark.parametrize(
    ("operator", "bound", "words"),
    [
        ("$eq", "Z map", 'is "Z map"'),
        ("$eq", "é", 'is "é"'),
        ("$ne", False, "is not false"),
        ("$gte", 20, ">= 20"),
        ("$in", ["b", "a"], 'is one of "a", "b"'),
        ("$in", [], "is one of nothing"),
        ("$nin", ["a", 1], 'is none of 1, "a"'),
        ("$contains", ["a", "b"], 'contains "a" and "b"'),
        ("$ncontains", ["a", "b"], 'contains neither "a" nor "b"'),
        ("$ncontains", "a", 'does not contain "a"'),
        ("$regex", "a+", 'matches "a+"'),
        ("$match", "a+", 'begins with a match of "a+"'),
        ("$null", True, "is null"),
        ("$null", False, "is not null"),
        ("$truthy", True, "is neither null, zero nor empty"),
        ("$truthy", False, "is null, zero or empty"),
    ],
)
def test_a_predicate_is_put_into_words(
    operator: str, bound: object, words: str
) -> None:
    assert make(operator, bound).describe() == words


@pytest.mark.parametrize(
    ("operator", "bound", "options", "message"),
    [
        ("$in", "Z map", {}, r"terms.field: expected a list; for one value use \$eq"),
        ("$in", [1, [2]], {}, r"terms.field\[1\]: a value of type list cannot be"),
        ("$in", ["1", "x"], {"kind": "int"}, r"terms.field\[1\]: 'x' is not a number"),
        ("$gt", None, {}, "terms.field: null has no order; use a number, a date"),
        ("$gt", True, {}, "terms.field: true has no order; use a number, a date"),
        ("$lt", [1], {}, "terms.field: a value of type list cannot be part"),
        ("$null", None, {}, "terms.field: null is not true or false"),
        ("$null", 1, {}, "terms.field: 1 is not true or false"),
        ("$regex", 3, {}, "terms.field: 3 is not a regular expression; use text"),
        ("$regex", "(a", {}, "terms.field: not a regular expression: .* at position 0"),
        ("$regex", "a" * 1001, {}, "has 1001 characters; shorten it to at most 1000"),
        ("$match", "a{99999999999}", {}, "too large for Python's re module"),
    ],
)
def test_a_bound_that_makes_no_sense_is_refused(
    operator: str, bound: object, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(FilterError, match=message):
        make(operator, bound, **options)


def test_a_pattern_too_deep_for_the_stack_is_refused() -> None:
    deep = "(" * 499 + ")" * 499
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(600)
    try:
        with pytest.raises(FilterError, match="too large for Python's re module"):
            make("$regex", deep)
    finally:
        sys.setrecursionlimit(limit)


def test_many_values_are_looked_up_not_searched() -> None:
    ids = make("$in", range(100_000))
    assert [i for i in (-1, 0, 99_999, 100_000) if ids.holds(i)] == [0, 99_999]
    assert re.fullmatch(r"\[0, 1, .*99999\]", ids.bound)
    assert json.loads(ids.bound) == list(range(100_000))
