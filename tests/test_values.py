"""Families, equality and dates of metadata values; how bounds are cast."""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta, timezone
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.errors import FilterError
from intake_neurovault.values import (
    identity,
    instant,
    plain,
    read_scalar,
    suggest,
    unpack,
)


class Level(IntEnum):
    GROUP = 2


class Modality(StrEnum):
    EEG = "EEG"


class Pair(NamedTuple):
    first: int
    second: int


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ("null", None)),
        (float("nan"), ("null", None)),
        (np.float64("nan"), ("null", None)),
        (np.datetime64("NaT", "s"), ("null", None)),
        (True, ("bool", True)),
        (np.True_, ("bool", True)),
        (1, ("number", 1)),
        (1.5, ("number", 1.5)),
        (float("inf"), ("number", float("inf"))),
        (np.int64(3), ("number", 3)),
        (np.float32(0.5), ("number", 0.5)),
        (Level.GROUP, ("number", 2)),
        ("", ("text", "")),
        ("None of the above", ("text", "None of the above")),
        (np.str_("Z map"), ("text", "Z map")),
        (Modality.EEG, ("text", "EEG")),
        (date(2016, 1, 21), ("text", "2016-01-21")),
        (datetime(2016, 1, 21, 13, tzinfo=UTC), ("text", "2016-01-21T13:00:00+00:00")),
        (pd.Timestamp("2016-01-21"), ("text", "2016-01-21T00:00:00")),
        ([1, 2], ("list", [1, 2])),
        ((1, 2), ("list", (1, 2))),
        (Pair(1, 2), ("list", (1, 2))),
        (np.array([1, 2]), ("list", [1, 2])),
        (OrderedDict(a=1), ("mapping", {"a": 1})),
    ],
)
def test_a_value_has_a_family(value: object, expected: tuple[str, Any]) -> None:
    found = plain(value)
    assert found == expected
    assert type(found[1]) is type(expected[1])


@pytest.mark.parametrize("value", [object(), b"Z map", 1j, int, {1, 2}, iter([])])
def test_foreign_values_have_none(value: object) -> None:
    assert plain(value) == ("other", value)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (20, 20.0, True),
        (True, 1, False),
        (False, 0, False),
        (0, 0.0, True),
        ("20", 20, False),
        ("Z map", "z map", False),
        ([1, "a"], (1.0, "a"), True),
        ([1], [True], False),
        ([1, 2], [2, 1], False),
        ([[1]], [[1]], False),
        ({}, {}, False),
        (None, float("nan"), True),
        ("", None, False),
        ("2016-01-21", "2016-01-21T00:00:00Z", True),
        ("2016-01-21T01:00:00+01:00", "2016-01-21T00:00:00Z", True),
        ("2016-01-21", "2016-01-22", False),
        (date(2016, 1, 21), "2016-01-21", True),
    ],
)
def test_values_count_as_equal(one: object, other: object, equal: bool) -> None:
    assert (identity(plain(one)) == identity(plain(other))) is equal


def test_a_list_that_contains_itself_has_an_identity() -> None:
    endless: list[object] = [1]
    endless.append(endless)
    assert identity(plain(endless)) != identity(plain(endless))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2016-01-21", datetime(2016, 1, 21, tzinfo=UTC)),
        ("2016-01-21T13:02:05.5Z", datetime(2016, 1, 21, 13, 2, 5, 500000, UTC)),
        ("2016-01-21 13:02", datetime(2016, 1, 21, 13, 2, tzinfo=UTC)),
        (
            "2016-01-21T13:02:05+02:00",
            datetime(2016, 1, 21, 13, 2, 5, tzinfo=timezone(timedelta(hours=2))),
        ),
        ("2016", None),
        ("2016-01", None),
        ("2016-13-01", None),
        ("2016-02-30", None),
        ("20160121", None),
        ("2016-01-21 and later", None),
        ("2016-01-21\ud800", None),
        ("٢٠١٦-٠١-٢١", None),
        (" 2016-01-21", None),
        ("", None),
    ],
)
def test_iso_dates_are_read(text: str, moment: datetime | None) -> None:
    assert instant(text) == moment


@given(st.text())
def test_no_text_is_too_odd_to_be_no_date(text: str) -> None:
    for candidate in (text, f"2016-01-21{text}"):
        moment = instant(candidate)
        assert moment is None or moment.tzinfo is not None


def test_dates_at_the_ends_of_time_can_be_told_apart() -> None:
    early = identity(plain("0001-01-01T00:00:00+14:00"))
    late = identity(plain("9999-12-31T23:59:59-14:00"))
    assert early != late
    assert len({early, late}) == 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b", "a"}, ["a", "b"]),
        (frozenset({2, 1}), [1, 2]),
        (range(3), [0, 1, 2]),
        (np.array([1.5]), [1.5]),
        (np.array(3), 3),
        (pd.Series(["a", "b"]), ["a", "b"]),
        (pd.Series(["a", "a"]).unique(), ["a"]),
        ("abc", "abc"),
        (None, None),
    ],
)
def test_collections_of_others_become_lists(value: object, expected: object) -> None:
    assert unpack(value) == expected


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("20", "int", 20),
        (" 20 ", "int", 20),
        ("-3", "float", -3),
        ("20.5", "int", 20.5),
        ("1e3", "float", 1000),
        (20.0, "int", 20),
        (2.5, "float", 2.5),
        (-0.0, "float", 0),
        ("true", "bool", True),
        (" False ", "bool", False),
        (True, "bool", True),
        ("Z map", "text", "Z map"),
        (17, "text", "17"),
        (date(2016, 1, 21), "date", "2016-01-21"),
        ("2016", "date", "2016-01-01"),
        (2016, "date", "2016-01-01"),
        ("2016-05", "date", "2016-05-01"),
        (" 2016-05-31T12:00:00Z ", "date", "2016-05-31T12:00:00Z"),
        (None, "int", None),
        (float("nan"), "float", None),
        ("20", None, "20"),
        (20.0, None, 20),
        (1e300, None, int(1e300)),
        (True, None, True),
    ],
)
def test_bounds_are_cast_to_the_kind(
    value: object, kind: str | None, expected: object
) -> None:
    found = read_scalar(value, kind, "terms.field")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("many", "int", "terms.field: 'many' is not a number"),
        ("", "float", "terms.field: '' is not a number"),
        (True, "int", "terms.field: True is not a number"),
        (1, "bool", "terms.field: 1 is not true or false"),
        ("yes", "bool", "terms.field: 'yes' is not true or false"),
        (False, "text", "terms.field: False is not text; put it in quotes"),
        (10.10, "text", "terms.field: 10.1 is not text; put it in quotes"),
        ("soon", "date", "terms.field: 'soon' is not a date such as 2016-05-31"),
        ("2016-13", "date", "'2016-13' is not a date such as"),
        (True, "date", "True is not a date such as"),
        (float("inf"), None, "terms.field: a bound must be a finite number"),
        ("inf", "float", "terms.field: a bound must be a finite number"),
        ("nan", "float", "terms.field: a bound must be a finite number"),
        pytest.param("9" * 5000, "int", "must be a finite number", id="long text"),
        pytest.param(10**5000, None, "must be a finite number", id="huge"),
        pytest.param(10**5000, "bool", "must be a finite number", id="huge, not bool"),
        (object(), None, "terms.field: a value of type object cannot be part of a"),
        ([1], "int", "terms.field: a value of type list cannot be part of a"),
        ({"a": 1}, "text", "terms.field: a value of type dict cannot be part of a"),
        (b"Z map", "text", "terms.field: a value of type bytes cannot be part of a"),
    ],
)
def test_a_bound_that_does_not_fit_says_so(
    value: object, kind: str | None, message: str
) -> None:
    with pytest.raises(FilterError, match=message):
        read_scalar(value, kind, "terms.field")


def test_a_long_bound_does_not_fill_the_message() -> None:
    with pytest.raises(FilterError, match="is not true or false") as caught:
        read_scalar("x" * 10_000, "bool", "terms.field")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("word", "meant"),
    [("doi", "DOI"), ("maptype", "map_type"), ("$gt3", None), ("zzz", None)],
)
def test_the_word_that_was_meant_is_found(word: str, meant: str | None) -> None:
    assert suggest(word, ["DOI", "map_type", "name"]) == meant
