"""JSON as every program reads it."""

from __future__ import annotations

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.strictness import strict, strict_json

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


def refuse(word: str) -> object:
    raise AssertionError(word)


@given(VALUES, st.sampled_from([None, 2]))
def test_every_program_reads_it(value: object, indent: int | None) -> None:
    text = strict_json(value, indent=indent)
    assert text.isascii()
    assert json.loads(text, parse_constant=refuse) == strict(value)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_what_is_json_already_stays(value: object) -> None:
    assert strict(value) == value


def test_what_json_has_no_word_for() -> None:
    assert strict(date(2020, 1, 31)) == "2020-01-31"
    assert strict({3: float("-inf")}) == {"3": None}
    assert strict(frozenset({1})) == [1]


def test_what_is_too_deep_ends() -> None:
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]
    assert strict_json(deep, indent=None).count("[") == pytest.approx(100, abs=1)
