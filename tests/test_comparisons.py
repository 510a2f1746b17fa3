"""Comparisons and filters of nilearn's names: as nilearn's, where that is right."""

from __future__ import annotations

import copy
import pickle
import re
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nilearn.datasets import neurovault as nilearn

from intake_neurovault import ResultFilter, comparisons
from intake_neurovault.errors import FilterError
from intake_neurovault.filters import parse_filter, split_terms

texts = st.text("abc ", max_size=4)
numbers = st.integers(-3, 3) | st.floats(-3, 3)
scalars = st.none() | texts | numbers
values = scalars | st.lists(texts | numbers, max_size=3)

QUESTIONS = {
    "IsNull": st.tuples(),
    "NotNull": st.tuples(),
    "NotEqual": st.tuples(scalars),
    "IsIn": st.lists(scalars, max_size=3),
    "NotIn": st.lists(scalars, max_size=3),
    "Contains": st.lists(texts, max_size=3),
    "NotContains": st.lists(texts, max_size=3),
    "Pattern": st.tuples(texts, st.sampled_from([0, re.IGNORECASE])),
}
ORDERS = ["GreaterOrEqual", "GreaterThan", "LessOrEqual", "LessThan"]


def both(name: str, arguments: Any) -> tuple[Any, Any]:
    ours, theirs = getattr(comparisons, name), getattr(nilearn, name)
    return ours(*arguments), theirs(*arguments)


@pytest.mark.parametrize("name", QUESTIONS)
@given(data=st.data())
def test_they_compare_as_nilearns_do(name: str, data: st.DataObject) -> None:
    ours, theirs = both(name, data.draw(QUESTIONS[name]))
    value = data.draw(values)
    assert (ours == value, ours != value) == (theirs == value, theirs != value)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("name", ORDERS)
@given(data=st.data())
def test_order_is_nilearns_among_floats_and_among_texts(
    name: str, data: st.DataObject
) -> None:
    kind = data.draw(st.sampled_from([st.floats(-3, 3), texts]))
    ours, theirs = both(name, [data.draw(kind)])
    value = data.draw(kind)
    assert (ours == value) == (theirs == value)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("name", ORDERS)
@given(bound=numbers | texts, value=values)
def test_what_is_no_number_has_no_order_among_numbers(
    name: str, bound: Any, value: Any
) -> None:
    comparison = getattr(comparisons, name)(bound)
    numeric = isinstance(value, int | float)
    if numeric != isinstance(bound, int | float) or isinstance(value, list | None):
        assert comparison != value


@given(name=st.sampled_from(sorted(QUESTIONS)), data=st.data(), value=values)
def test_they_mean_the_same_as_terms_of_a_filter(
    name: str, data: st.DataObject, value: Any
) -> None:
    ours, theirs = both(name, data.draw(QUESTIONS[name]))
    for term in (ours, theirs):
        terms = parse_filter({"field": term}, kinds={}, where="image_terms")
        assert terms.matches({"field": value}) == (ours == value)


def test_they_are_values() -> None:
    one, same = comparisons.IsIn("a", "b"), comparisons.IsIn("b", "a")
    assert one == same
    assert len({one, same, comparisons.NotIn("a", "b")}) == 2
    assert one != comparisons.NotIn("a", "b")
    for twin in (copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert (twin, hash(twin), repr(twin)) == (one, hash(one), "IsIn('a', 'b')")


@pytest.mark.parametrize("bound", [None, True, object(), [1]])
def test_a_bound_without_an_order_is_refused_where_it_is_written(bound: Any) -> None:
    with pytest.raises(FilterError, match=r"GreaterThan\.value"):
        comparisons.GreaterThan(bound)


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(FilterError, match="not a regular expression"):
        comparisons.Pattern("(")
    with pytest.raises(FilterError, match="is not made of the letters"):
        comparisons.Pattern("a", re.ASCII)


# ---- ResultFilter ---------------------------------------------------------------


def starts(record: Any) -> bool:
    return str(record["name"]).startswith("a")


def test_a_filter_can_be_sent_elsewhere() -> None:
    wanted = ResultFilter(kind="Z").OR(starts).AND(ResultFilter(id=1).NOT())
    sent = pickle.loads(pickle.dumps(wanted))
    for record in (
        {"name": "ab", "kind": "T", "id": 2},
        {"name": "b", "kind": "Z", "id": 1},
        {"name": "b", "kind": "T", "id": 2},
    ):
        assert sent(record) == wanted(record)


def test_a_function_is_shared_and_not_copied() -> None:
    """nilearn copies it, and fails where it holds a lock."""
    lock, seen = threading.Lock(), []

    class Counting:
        def __init__(self) -> None:
            self.lock = lock

        def __call__(self, record: Any) -> bool:
            seen.append(record)
            return True

    assert ResultFilter().AND(Counting())({"id": 1})
    assert seen == [{"id": 1}]


def test_terms_of_a_filter_stay_terms() -> None:
    wanted = ResultFilter({"kind": "Z"}, id=comparisons.GreaterThan(2))
    terms, function = split_terms(wanted, "image_filter")
    assert function is None
    assert terms == {"kind": "Z", "id": comparisons.GreaterThan(2)}
    wanted.add_filter(starts)
    assert split_terms(wanted, "image_filter") == (terms, starts)


def test_terms_follow_items() -> None:
    wanted = ResultFilter(kind="Z")
    wanted["kind"] = comparisons.IsIn("Z", "T")
    assert wanted({"kind": "T"})
    del wanted["kind"]
    del wanted["kind"]
    assert wanted({})
    with pytest.raises(FilterError, match=r"ResultFilter.*unknown operator '\$in_'"):
        wanted["kind"] = {"$in_": ["Z"]}
