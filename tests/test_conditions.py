"""Filters as values: applied, combined, written back, described, explained."""

from __future__ import annotations

import json
import pickle
from collections import ChainMap, UserDict
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.conditions import Filter, Step, explain, unknown_fields
from intake_neurovault.filters import parse_filter

FIELDS = ["map_type", "number_of_subjects", "DOI", "name", "my own: field"]


def parse(terms: object) -> Filter:
    return parse_filter(terms, kinds={}, where="image_terms")


# Characters that JSON or YAML cannot hold by themselves stay out of bounds.
TEXT = st.one_of(
    st.sampled_from(
        ["", "Z map", "T map", "2016-01-21", "2016-01-21T00:00:00Z", "n/a"]
    ),
    st.text(st.characters(codec="utf-8"), max_size=6),
)
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXT)
LISTS = st.lists(SCALARS, max_size=4)
PATTERNS = st.sampled_from(["map", "^Z", "(?s).", r"\d+$", "[a-c]{2,}"])
FLAGS = st.text("imsx", max_size=3)


def one(key: str, bounds: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({key: bounds})


LIMITS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("$gt", "$gte", "$lt", "$lte"), st.one_of(NUMBERS, TEXT)),
).filter(bool)
TESTS = st.one_of(
    SCALARS,
    LISTS,
    LIMITS,
    *(one(key, st.one_of(SCALARS, LISTS)) for key in ("$eq", "$ne")),
    *(one(key, LISTS) for key in ("$in", "$nin")),
    *(one(key, st.one_of(SCALARS, LISTS)) for key in ("$contains", "$ncontains")),
    *(one(key, st.booleans()) for key in ("$null", "$truthy")),
    st.fixed_dictionaries(
        {"$regex": PATTERNS}, optional={"$match": PATTERNS, "$flags": FLAGS}
    ),
)


def grouped(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        *(one(key, several) for key in ("$and", "$or", "$xor")), one("$not", inner)
    )


OPERANDS = st.recursive(TESTS, grouped, max_leaves=4)
TERMS = st.recursive(
    st.dictionaries(st.sampled_from(FIELDS), OPERANDS, max_size=3),
    lambda inner: st.tuples(
        st.dictionaries(st.sampled_from(FIELDS), OPERANDS, max_size=2), grouped(inner)
    ).map(lambda parts: parts[0] | parts[1]),
    max_leaves=5,
)
FILTERS = TERMS.map(parse)
VALUES = st.one_of(
    SCALARS, LISTS, st.floats(), st.dictionaries(TEXT, SCALARS, max_size=2)
)
RECORDS = st.dictionaries(st.sampled_from(FIELDS), VALUES)


@given(FILTERS)
def test_a_filter_survives_being_written(wanted: Filter) -> None:
    mapping = wanted.to_mapping()
    assert parse(mapping) == wanted
    assert parse(json.loads(json.dumps(mapping, allow_nan=False))) == wanted
    assert parse(yaml.safe_load(yaml.safe_dump(mapping))) == wanted


@given(FILTERS, st.lists(RECORDS, max_size=5))
def test_what_is_written_accepts_the_same_records(
    wanted: Filter, records: list[dict[str, Any]]
) -> None:
    again = parse(wanted.to_mapping())
    assert [again(r) for r in records] == [wanted.matches(r) for r in records]


@given(FILTERS)
def test_a_filter_is_a_value(wanted: Filter) -> None:
    again = parse(wanted.to_mapping())
    copy = pickle.loads(pickle.dumps(wanted))
    assert copy == again == wanted
    assert hash(copy) == hash(again) == hash(wanted)
    assert again.canonical() == wanted.canonical()
    assert repr(copy) == repr(wanted)


@given(TERMS, st.randoms(use_true_random=False))
def test_order_has_no_meaning(terms: dict[str, Any], random: Any) -> None:
    def shuffled(part: Any) -> Any:
        if isinstance(part, dict):
            keys = list(part)
            random.shuffle(keys)
            return {key: shuffled_below(key, part[key]) for key in keys}
        return part

    def shuffled_below(key: str, part: Any) -> Any:
        if key in ("$and", "$or", "$xor"):
            members = [shuffled(member) for member in part]
            random.shuffle(members)
            return members
        return shuffled(part)

    assert parse(shuffled(terms)) == parse(terms)


@given(TERMS, RECORDS)
def test_not_is_the_complement(terms: dict[str, Any], record: dict[str, Any]) -> None:
    assert parse({"$not": terms}).matches(record) is not parse(terms).matches(record)


@given(st.lists(TERMS, min_size=1, max_size=4), RECORDS)
def test_combinations_follow_their_members(
    members: list[dict[str, Any]], record: dict[str, Any]
) -> None:
    verdicts = [parse(member).matches(record) for member in members]
    assert parse({"$and": members}).matches(record) is all(verdicts)
    assert parse({"$or": members}).matches(record) is any(verdicts)
    assert parse({"$xor": members}).matches(record) is (sum(verdicts) % 2 == 1)


@given(FILTERS, st.lists(RECORDS, max_size=6))
def test_the_terms_together_are_the_filter(
    wanted: Filter, records: list[dict[str, Any]]
) -> None:
    terms = wanted.terms()
    assert parse({"$and": [t.to_mapping() for t in terms] or [{}]}) == wanted
    for record in records:
        assert all(term(record) for term in terms) is wanted(record)


@given(FILTERS, st.lists(RECORDS, max_size=6))
def test_the_removed_add_up(wanted: Filter, records: list[dict[str, Any]]) -> None:
    steps = explain(wanted, records)
    assert sum(step.removed for step in steps) == sum(not wanted(r) for r in records)
    assert [s.alone for s in steps] == [
        sum(not term(r) for r in records) for term in wanted.terms()
    ]
    assert "; ".join(step.term for step in steps) == (
        "" if wanted == Filter() else wanted.describe()
    )


@given(FILTERS, RECORDS)
def test_fields_that_are_not_named_do_not_matter(
    wanted: Filter, record: dict[str, Any]
) -> None:
    named = {key: record[key] for key in record if key in wanted.fields()}
    assert wanted(named) is wanted(record)


EQUAL = [
    ({"a": 1}, {"a": {"$eq": 1.0}}),
    ({"a": ["x", "y"]}, {"a": {"$in": ["y", "x", "y"]}}),
    ({"a": ["x"]}, {"a": "x"}),
    ({"a": None}, {"a": {"$null": True}}),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"a": 1, "b": 2}, {"$and": [{"b": 2}, {"a": 1}]}),
    ({"a": {"$gt": 1, "$lt": 5}}, {"$and": [{"a": {"$gt": 1}}, {"a": {"$lt": 5}}]}),
    ({"a": {"$and": [{"$gt": 1}, {"$lt": 5}]}}, {"a": {"$gt": 1, "$lt": 5}}),
    ({"a": {"$or": [1, {"$gt": 5}]}}, {"$or": [{"a": 1}, {"a": {"$gt": 5}}]}),
    ({"$or": [{"a": 1}, {"$or": [{"b": 1}]}]}, {"$or": [{"b": 1}, {"a": 1}]}),
    ({"$or": [{"a": 1}, {"a": 1}]}, {"a": 1}),
    ({"$not": {"$not": {"a": 1}}}, {"a": 1}),
    ({"$not": {"a": 1}}, {"a": {"$ne": 1}}),
    ({"a": {"$not": ["x", "y"]}}, {"a": {"$nin": ["x", "y"]}}),
    ({"a": {"$not": None}}, {"a": {"$null": False}}),
    ({"a": {"$not": {"$truthy": True}}}, {"a": {"$truthy": False}}),
    ({"$xor": [{"a": 1}, {"b": 1}]}, {"$xor": [{"b": 1}, {"a": 1}]}),
    ({"$and": [{}, {"$and": [{}]}]}, {}),
    (
        {"a": {"$regex": "x", "$flags": "mi"}},
        {"a": {"$flags": "imm", "$regex": "x"}},
    ),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_filters_that_say_the_same_are_equal(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert parse(one) == parse(other)
    assert len({parse(one), parse(other)}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": True}),
        ({"a": 0}, {"a": False}),
        ({"a": 1}, {"a": "1"}),
        ({"a": 1}, {"b": 1}),
        ({"a": [1, 2]}, {"a": [True, 2]}),
        ({"a": {"$gt": 1}}, {"a": {"$gte": 1}}),
        ({"a": []}, {}),
        ({"$xor": [{"a": 1}, {"a": 1}]}, {"a": 1}),
        ({"$or": [{"a": 1}, {"b": 1}]}, {"$xor": [{"a": 1}, {"b": 1}]}),
        ({"a": {"$regex": "x"}}, {"a": {"$match": "x"}}),
        ({"a": {"$regex": "x"}}, {"a": {"$regex": "x", "$flags": "i"}}),
    ],
)
def test_filters_that_differ_are_not_equal(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert parse(one) != parse(other)


def test_a_filter_equals_no_other_thing() -> None:
    assert parse({"a": 1}) != {"a": 1}
    assert parse({}) != "$and"


def test_the_canonical_form_is_pinned() -> None:
    # What is stored under a fingerprint of it must be found again for years.
    wanted = parse({"b": ["y", "x"], "$not": {"a": 1, "b": {"$gt": 2.0}}})
    assert wanted.canonical() == (
        '["$and", ["$not", ["$and", ["a", "$eq", "1", ""], ["b", "$gt", "2", ""]]], '
        '["b", "$in", "[\\"x\\", \\"y\\"]", ""]]'
    )


@pytest.mark.parametrize(
    ("terms", "mapping"),
    [
        ({}, {}),
        (None, {}),
        ({"a": {"$eq": 20.0}}, {"a": 20}),
        ({"a": {"$in": ("x", "y")}}, {"a": ["x", "y"]}),
        ({"a": []}, {"a": []}),
        ({"a": {"$eq": ["x"]}}, {"a": {"$eq": ["x"]}}),
        ({"a": None}, {"a": {"$null": True}}),
        ({"a": {"$lt": 5, "$gt": 1}}, {"a": {"$lt": 5, "$gt": 1}}),
        (
            {"a": {"$gt": 1, "$or": [{"$lt": 3}, {"$gt": 5}]}},
            {"a": {"$gt": 1}, "$or": [{"a": {"$lt": 3}}, {"a": {"$gt": 5}}]},
        ),
        (
            {"$and": [{"a": {"$regex": "x", "$flags": "i"}}, {"a": {"$match": "y"}}]},
            {"a": {"$regex": "x", "$flags": "i"}, "$and": [{"a": {"$match": "y"}}]},
        ),
        (
            {"$and": [{"a": {"$gt": 1}}, {"a": {"$gt": 2}}]},
            {"a": {"$gt": 1}, "$and": [{"a": {"$gt": 2}}]},
        ),
        (
            {"$and": [{"$or": [{"a": 1}, {"b": 1}]}, {"$or": [{"a": 2}, {"b": 2}]}]},
            {
                "$or": [{"a": 1}, {"b": 1}],
                "$and": [{"$or": [{"a": 2}, {"b": 2}]}],
            },
        ),
    ],
)
def test_a_filter_is_written_in_the_short_form(
    terms: dict[str, Any] | None, mapping: dict[str, Any]
) -> None:
    assert parse(terms).to_mapping() == mapping
    assert repr(parse(terms)) == f"Filter({mapping!r})"


def test_what_is_written_is_the_callers_own() -> None:
    wanted = parse({"a": ["x", "y"]})
    wanted.to_mapping()["a"].append("z")
    assert wanted.to_mapping() == {"a": ["x", "y"]}


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({}, "everything"),
        (
            {"number_of_subjects": {"$gte": 20, "$lt": 500}},
            "number_of_subjects >= 20 and < 500",
        ),
        (
            {"map_type": ["Z map", "T map"], "DOI": {"$null": False}},
            'map_type is one of "T map", "Z map"; DOI is not null',
        ),
        (
            {"$or": [{"a": 1, "b": 2}, {"c": {"$gt": 3}}]},
            "(a is 1; b is 2) or (c > 3)",
        ),
        ({"$not": {"a": 1, "b": 2}}, "not (a is 1; b is 2)"),
        ({"$xor": [{"a": 1}, {"b": 2}]}, "an odd number of (a is 1), (b is 2)"),
        (
            {"name": {"$regex": "face", "$flags": "i", "$not": {"$match": "x"}}},
            'name matches "face" (flags i); not (name begins with a match of "x")',
        ),
        ({"a": {"$in": []}}, "a is one of nothing"),
        ({"$not": {}}, "not (everything)"),
        ({"a": "{}"}, 'a is "{}"'),
    ],
)
def test_a_filter_is_put_into_words(terms: dict[str, Any], words: str) -> None:
    assert parse(terms).describe() == words


def test_one_term_for_each_field_and_combination() -> None:
    wanted = parse(
        {
            "a": {"$gt": 1},
            "b": "x",
            "$and": [{"a": {"$lt": 5}}, {"$or": [{"c": 1}, {"d": 1}]}],
            "$not": {"a": 3, "b": 4},
        }
    )
    assert [term.to_mapping() for term in wanted.terms()] == [
        {"a": {"$gt": 1, "$lt": 5}},
        {"b": "x"},
        {"$or": [{"c": 1}, {"d": 1}]},
        {"$not": {"a": 3, "b": 4}},
    ]
    assert wanted.fields() == {"a", "b", "c", "d"}


@pytest.mark.parametrize(
    "record",
    [None, [], "a", 3, {"a"}, [("a", 1)], type("R", (), {"a": 1})(), dict],
)
@pytest.mark.parametrize("terms", [{}, {"a": None}, {"a": {"$ne": 1}}, {"$not": {}}])
def test_what_is_no_record_never_matches(terms: dict[str, Any], record: Any) -> None:
    assert parse(terms).matches(record) is False


@pytest.mark.parametrize("kind", [dict, MappingProxyType, UserDict, ChainMap])
def test_any_mapping_is_a_record(kind: Any) -> None:
    wanted = parse({"a": 1, "b": None})
    assert wanted(kind({"a": 1, 3: "x"})) is True
    assert wanted(kind({"a": 1, "b": 0})) is False


def test_explain_counts_in_order_and_alone() -> None:
    records = [
        {"map_type": "Z map", "number_of_subjects": 30},
        {"map_type": "Z map", "number_of_subjects": None},
        {"map_type": "T map"},
        {},
    ]
    terms = {"map_type": "Z map", "number_of_subjects": {"$gte": 20}}
    assert explain(parse(terms), records) == [
        Step('map_type is "Z map"', removed=2, alone=2),
        Step("number_of_subjects >= 20", removed=1, alone=3),
    ]
    assert explain(parse({}), records) == []


@pytest.mark.parametrize(
    ("terms", "known", "records", "expected"),
    [
        ({"map_type": "Z map"}, ["map_type"], [], {}),
        ({"maptype": "Z map"}, ["map_type"], [], {"maptype": "map_type"}),
        ({"doi": {"$null": False}}, ["DOI"], [], {"doi": "DOI"}),
        ({"zzz": 1, "custom": 2}, ["DOI"], [{"custom": None}], {"zzz": None}),
        ({"Cust0m": 2}, ["DOI"], [{"custom": 1}, {}], {"Cust0m": "custom"}),
        ({"b": 1, "$or": [{"a": 1}, {"c": 1}]}, ["c"], [], {"a": None, "b": None}),
        ({"a": 1}, [], [None, "a", {3: 1}], {"a": None}),
        ({}, [], [], {}),
    ],
)
def test_fields_that_nothing_has_are_found(
    terms: dict[str, Any],
    known: list[str],
    records: list[Any],
    expected: dict[str, str | None],
) -> None:
    found = unknown_fields(parse(terms), known, records)
    assert found == expected
    assert list(found) == sorted(found)
