"""Filters as SQL give the verdict that Python gives, whatever the records hold."""

from __future__ import annotations

import json
from contextlib import closing
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from intake_neurovault.clauses import PLACES, Clause, clause_of, holds
from intake_neurovault.errors import FilterError
from intake_neurovault.filters import Filter, explain, parse_filter
from intake_neurovault.pieces import IMAGE_COLUMNS, Marks, Piece
from intake_neurovault.questions import apart, tally
from intake_neurovault.records import Image
from intake_neurovault.schema import IMAGE_KINDS
from intake_neurovault.segment import Segment

SERVER = "https://neurovault.org"
FIELDS = [
    "id",
    "name",
    "map_type",
    "number_of_subjects",
    "age",
    "is_thresholded",
    "add_date",
]
DATES = [
    "2016-01-21",
    "2016-01-21T00:00:00Z",
    "2016-01-21T01:00:00+01:00",
    "2016-01-21T00:00:00.000001Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31",
    "2016-W03-4",
    "20160121",
    "2016-02-31",
]
TEXTS = ["Z map", "z map", "Z", "", " ", "n/a", "None / Other", "é", "ß", "\U0001f9e0"]
ODD = ["\0a", "a\0", "\ud800", "20", "20.0", "1e3", "true", "False", "NaN", "1_0"]
NUMBERS: list[Any] = [0, 1, -1, 20, 20.0, 20.5, -0.0, 1e308, 0.1, float("nan")]
LARGE: list[Any] = [2**53 + 1, 2.0**53, 2**63 - 1, -(2**63), 2**63, 2.0**63, 2**70]
OTHERS: list[Any] = [None, True, False, float("inf"), [1, "Z map"], {"a": 1}, []]
VALUES = st.sampled_from([*DATES, *TEXTS, *ODD, *NUMBERS, *LARGE, *OTHERS])
SCALARS = (
    VALUES.filter(lambda each: not isinstance(each, list | dict))
    | st.text(max_size=4)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)
RECORDS = st.dictionaries(
    st.sampled_from([*FIELDS[1:], "task"]), VALUES | SCALARS, max_size=6
)
BOUNDS: dict[str, Any] = {
    **dict.fromkeys(("$eq", "$ne", "$gt", "$gte", "$lt", "$lte"), SCALARS),
    **dict.fromkeys(("$in", "$nin"), st.lists(SCALARS, max_size=4)),
    **dict.fromkeys(("$contains", "$ncontains"), st.lists(SCALARS, max_size=2)),
    **dict.fromkeys(("$null", "$truthy"), st.booleans()),
    **dict.fromkeys(("$regex", "$match"), st.sampled_from(["^Z", "map$", "é|ß", ""])),
}


def conditions(fields: list[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Filters in the grammar that users write, combinations included."""
    tests = st.sampled_from(sorted(BOUNDS)).flatmap(
        lambda operator: st.tuples(st.sampled_from(fields), BOUNDS[operator]).map(
            lambda pair: {pair[0]: {operator: pair[1]}}
        )
    )
    return st.recursive(
        tests,
        lambda inner: st.one_of(
            st.tuples(
                st.sampled_from(["$and", "$or", "$xor"]),
                st.lists(inner, min_size=1, max_size=3),
            ).map(lambda pair: {pair[0]: pair[1]}),
            inner.map(lambda each: {"$not": each}),
        ),
        max_leaves=6,
    )


def parsed(terms: dict[str, Any], kinds: Any) -> Filter:
    try:
        return parse_filter(terms, kinds=kinds, where="image_terms")
    except FilterError:
        reject()


def images_of(records: list[dict[str, Any]]) -> list[Image]:
    raw = [
        {"id": place, "collection_id": 12} | each
        for place, each in enumerate(records, 1)
    ]
    # NOTE: what is in a store went through JSON.
    read = json.loads(json.dumps(raw))
    return [Image.from_json(each, base_url=SERVER) for each in read]


def ask(segment: Segment, clauses: list[Clause]) -> tuple[list[int], list[int]]:
    """What `tally` answers: the numbers, and the ids of the images that match."""
    ((*numbers, places),) = segment.ask(tally(clauses, alone=False, doubled=False))
    return numbers, [int(each) % PLACES for each in (places or "").split(",") if each]


def apart_of(segment: Segment) -> set[int]:
    """The ids of the images that SQL leaves to Python."""
    rows = segment.ask(apart(alone=False, doubled=False))
    return {place % PLACES for (place,) in rows}


@settings(max_examples=400)
@given(
    st.lists(RECORDS, min_size=1, max_size=8),
    conditions(FIELDS),
    st.sampled_from([{}, IMAGE_KINDS]),
)
def test_sql_and_python_agree(
    records: list[dict[str, Any]], terms: dict[str, Any], kinds: Any
) -> None:
    wanted = parsed(terms, kinds)
    images = images_of(records)
    clauses = [clause_of(term, IMAGE_COLUMNS) for term in wanted.terms()]
    known = [each for each in clauses if each is not None]
    whole = clause_of(wanted, IMAGE_COLUMNS) or Clause("1")
    with closing(Segment.create()) as segment:
        segment.add(Piece(12, Marks(), 0, listed=tuple(images)))
        segment.visit([12])
        strange = apart_of(segment)
        _, found = ask(segment, [whole])
        numbers, _ = ask(segment, known)
    usual = [image for image in images if image.id not in strange]
    right = [each.id for each in usual if wanted.matches(each.metadata)]
    assert found == ([each.id for each in usual] if whole.sql == "1" else right)
    if len(known) == len(clauses):
        steps = explain(wanted, [image.metadata for image in usual])
        removed = accumulate(step.removed for step in steps)
        passed = [len(usual) - each for each in removed]
        alone = [step.alone for step in steps]
        assert numbers == [len(usual), *passed[:-1], *alone[1:]]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "\0a"),
        ("name", "\ud800"),
        ("number_of_subjects", 2**63),
        ("number_of_subjects", -(2**63) - 1),
        ("add_date", "2016-W03-4"),
    ],
)
def test_what_sqlite_would_change_is_odd(field: str, value: Any) -> None:
    image = images_of([{field: value}])[0]
    with closing(Segment.create()) as segment:
        segment.add(Piece(12, Marks(), 0, listed=(image,)))
        segment.visit([12])
        strange = apart_of(segment)
    assert image.metadata[field] == value
    assert strange == {image.id}


@pytest.mark.parametrize(
    "terms",
    [
        {"task": "n-back"},
        {"description": {"$contains": "faces"}},
        {"$or": [{"name": "a"}, {"task": {"$null": False}}]},
        {"add_date": {"$regex": "^2016"}},
        {"name": {"$in": [f"name {number}" for number in range(500)]}},
        {"$or": [{"age": number} for number in range(500)]},
    ],
)
def test_what_columns_do_not_tell_is_left_to_python(terms: dict[str, Any]) -> None:
    wanted = parse_filter(terms, kinds={}, where="image_terms")
    assert clause_of(wanted, IMAGE_COLUMNS) is None


def test_no_text_of_a_user_is_part_of_the_sql() -> None:
    evil = "'; DROP TABLE images; --"
    terms = {"name": {"$in": [evil, "b"]}, "map_type": {"$regex": evil}}
    clause = clause_of(parse_filter(terms, kinds={}, where="terms"), IMAGE_COLUMNS)
    assert clause is not None
    assert "DROP" not in clause.sql
    assert evil in clause.values


def test_what_ends_a_test_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("intake_neurovault.segment.holds", interrupted)
    clause = clause_of(
        parse_filter({"name": {"$regex": "a"}}, kinds={}, where="terms"), IMAGE_COLUMNS
    )
    assert clause is not None
    with closing(Segment.create()) as segment:
        segment.add(Piece(12, Marks(), 0, listed=tuple(images_of([{"name": "a"}]))))
        segment.visit([12])
        with pytest.raises(KeyboardInterrupt):
            ask(segment, [clause])


def test_a_truth_value_is_one_again_in_python() -> None:
    test = json.dumps(["$eq", "true", ""])
    assert holds(test, "bool", 1)
    assert not holds(test, "int", 1)
