"""The grammar of filters: what is understood, what is refused, nilearn's terms."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from nilearn.datasets import neurovault

from intake_neurovault.errors import FilterError
from intake_neurovault.filters import (
    MAX_DEPTH,
    MAX_PARTS,
    Filter,
    parse_filter,
    split_terms,
)

KINDS = {
    "number_of_subjects": "int",
    "age_mean": "float",
    "is_thresholded": "bool",
    "name": "text",
    "add_date": "date",
}


def parse(terms: Any) -> Filter:
    return parse_filter(terms, kinds=KINDS, where="image_terms")


RECORD = {
    "name": "Emotional faces > house",
    "map_type": "Z map",
    "number_of_subjects": 31,
    "age_mean": 24.5,
    "is_thresholded": False,
    "add_date": "2016-01-21T13:02:05.123456Z",
    "modality": "None of the above",
    "tags": ["emotion", "faces"],
    "DOI": None,
}


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({}, True),
        (None, True),
        ({"map_type": "Z map"}, True),
        ({"map_type": ["T map", "Z map"]}, True),
        ({"map_type": ["T map", "F map"]}, False),
        ({"map_type": []}, False),
        ({"map_type": ("Z map",)}, True),
        ({"map_type": {"Z map", "T map"}}, True),
        ({"map_type": np.array(["Z map"])}, True),
        ({"DOI": None}, True),
        ({"DOI": {"$null": False}}, False),
        ({"missing": None}, True),
        ({"missing": {"$null": True}}, True),
        ({"missing": {"$ne": 1, "$nin": [1, 2]}}, True),
        ({"missing": {"$not": {"$gt": 1}}}, True),
        ({"missing": {"$ncontains": "x"}}, False),
        ({"modality": None}, False),
        ({"modality": "None of the above"}, True),
        ({"number_of_subjects": {"$gte": 20, "$lt": 500}}, True),
        ({"number_of_subjects": {"$gte": 20, "$lt": 31}}, False),
        ({"number_of_subjects": {"$gte": "20", "$lt": " 500 "}}, True),
        ({"number_of_subjects": ["30", "31"]}, True),
        ({"age_mean": {"$lte": "24.5"}}, True),
        ({"age_mean": {"$lt": 24.5}}, False),
        ({"is_thresholded": "false"}, True),
        ({"is_thresholded": {"$in": ["True", "False"]}}, True),
        ({"is_thresholded": {"$truthy": "true"}}, False),
        ({"add_date": {"$gte": "2016", "$lt": "2017"}}, True),
        ({"add_date": {"$gte": date(2016, 1, 21)}}, True),
        ({"add_date": {"$lt": datetime(2016, 1, 21, 13, tzinfo=UTC)}}, False),
        ({"add_date": {"$gt": "2016-01-21T14:02:06+01:00"}}, False),
        ({"add_date": "2016-01-21T14:02:05.123456+01:00"}, True),
        ({"tags": {"$contains": "faces"}}, True),
        ({"tags": {"$contains": ["faces", "words"]}}, False),
        ({"tags": {"$ncontains": ["words", "music"]}}, True),
        ({"tags": {"$eq": ["emotion", "faces"]}}, True),
        ({"tags": ["emotion", "faces"]}, False),
        ({"name": {"$contains": ["faces", "house"]}}, True),
        ({"name": {"$regex": r"FACES?\b", "$flags": "i"}}, True),
        ({"name": {"$match": "faces"}}, False),
        ({"name": {"$not": {"$regex": "faces"}}}, False),
        ({"name": {"$not": ["a", "b"]}}, True),
        ({"age_mean": {"$or": [None, {"$gt": 20}]}}, True),
        ({"age_mean": {"$xor": [{"$gt": 20}, {"$lt": 30}]}}, False),
        ({"$or": [{"map_type": "T map"}, {"age_mean": {"$gt": 20}}]}, True),
        ({"$and": [{"map_type": "Z map"}, {"age_mean": {"$gt": 30}}]}, False),
        ({"$xor": [{"map_type": "Z map"}, {"age_mean": {"$gt": 20}}]}, False),
        ({"$not": {"is_thresholded": True}}, True),
        ({"$not": {"map_type": "Z map", "DOI": {"$null": False}}}, True),
    ],
)
def test_terms_hold_for_a_record(terms: Any, expected: bool) -> None:
    assert parse(terms).matches(RECORD) is expected
    assert parse(terms)(RECORD) is expected


def test_a_filter_is_taken_as_it_is() -> None:
    wanted = parse({"map_type": "Z map"})
    assert parse(wanted) is wanted


def test_plain_yaml_holds_a_filter() -> None:
    text = """
    map_type: [Z map, T map]
    number_of_subjects: {$gte: 20, $lt: 500}
    add_date: {$gte: 2016-01-01, $lt: 2017}
    DOI: {$null: true}
    modality: {$nin: [Diffusion MRI, EEG]}
    name: {$regex: 'faces?\\b', $flags: i}
    $or:
      - {age_mean: {$gte: 18.0}}
      - {tags: {$contains: adults}}
    $not: {is_thresholded: true}
    """
    wanted = parse(yaml.safe_load(text))
    assert wanted.matches(RECORD)
    assert parse(yaml.safe_load(yaml.safe_dump(wanted.to_mapping()))) == wanted
    assert json.loads(json.dumps(wanted.to_mapping())) == wanted.to_mapping()


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (
            {"number_of_subjects": {"$gt3": 20}},
            "image_terms.number_of_subjects: unknown operator '$gt3'; "
            "did you mean '$gt'?",
        ),
        (
            {"name": {"gte": 20}},
            "image_terms.name: unknown operator 'gte'; did you mean '$gte'?",
        ),
        ({"name": {"$CONTAIN": "a"}}, "did you mean '$contains'?"),
        (
            {"name": {"zz": 20}},
            "image_terms.name: unknown operator 'zz'; the operators here are $and, ",
        ),
        ({"name": {3: 20}}, "image_terms.name: unknown operator 3; the operators"),
        (
            {"$nor": [{"a": 1}]},
            "image_terms: unknown operator '$nor'; did you mean '$or'?",
        ),
        (
            {"$where": "1"},
            "image_terms: unknown operator '$where'; the operators here are $and, ",
        ),
        (
            {"$gte": 20},
            "image_terms.$gte: an operator stands under a field: {field: {$gte: ...}}",
        ),
        ({"$flags": "i"}, "image_terms.$flags: an operator stands under a field"),
        ({1: 2}, "image_terms: 1 is not the name of a field; put it in quotes"),
        (
            "Z map",
            "image_terms: expected a mapping of fields to values, such as "
            "{map_type: Z map}, not a str",
        ),
        ([{"a": 1}], "image_terms: expected a mapping of fields to values"),
        ({"$or": [["a"]]}, "image_terms.$or[0]: expected a mapping of fields"),
        ({"$not": None}, "image_terms.$not: expected a mapping of fields to values"),
        ({"$or": []}, "image_terms.$or: $or takes a list of at least one condition"),
        ({"$and": {"a": 1}}, "image_terms.$and: $and takes a list of at least one"),
        ({"name": {"$xor": "a"}}, "image_terms.name.$xor: $xor takes a list of at"),
        ({"name": {}}, "image_terms.name: an empty mapping; give an operator"),
        ({"name": {"$not": {}}}, "image_terms.name.$not: an empty mapping; give an"),
        (
            {"number_of_subjects": {"$gte": "many"}},
            "image_terms.number_of_subjects.$gte: 'many' is not a number",
        ),
        (
            {"$or": [{"a": 1}, {"number_of_subjects": ["1", "x"]}]},
            "image_terms.$or[1].number_of_subjects[1]: 'x' is not a number",
        ),
        (
            {"is_thresholded": 1},
            "image_terms.is_thresholded: 1 is not true or false",
        ),
        (
            {"add_date": {"$not": {"$gt": "soon"}}},
            "image_terms.add_date.$not.$gt: 'soon' is not a date such as 2016-05-31",
        ),
        (
            {"name": {"$regex": "a(b"}},
            "image_terms.name.$regex: not a regular expression: missing ), "
            "unterminated subpattern at position 1",
        ),
        (
            {"name": {"$flags": "i", "$eq": "a"}},
            "image_terms.name.$flags: flags go with $regex or $match in the same",
        ),
        (
            {"name": {"$regex": "a", "$flags": "g"}},
            "image_terms.name.$flags: 'g' is not made of the letters i, m, s, x",
        ),
        ({"name": {"$regex": "a", "$flags": 2}}, "2 is not made of the letters"),
        (
            {"name": len},
            "image_terms.name: a value of type builtin_function_or_method cannot be",
        ),
        ({"name": re.compile("a")}, "a value of type Pattern cannot be part of a"),
        ({"name": neurovault.NotNull}, "a value of type type cannot be part of a"),
    ],
)
def test_an_error_says_where_and_what_to_write(terms: Any, message: str) -> None:
    with pytest.raises(FilterError, match=re.escape(message)):
        parse(terms)


# --- limits -----------------------------------------------------------------


def nested(levels: int) -> dict[str, Any]:
    """Alternate two kinds of group, so that none can be flattened away."""
    terms: dict[str, Any] = {"a": 0}
    for level in range(levels):
        group = "$or" if level % 2 else "$xor"
        terms = {group: [terms, {"a": level + 1}]}
    return terms


def test_the_deepest_filter_survives_being_written() -> None:
    wanted = parse(nested(MAX_DEPTH))
    assert parse(wanted.to_mapping()) == wanted
    assert wanted.matches({"a": MAX_DEPTH})


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 100, 5000])
def test_too_deep_a_filter_is_refused(levels: int) -> None:
    with pytest.raises(FilterError, match="image_terms: nested deeper than 32 levels"):
        parse(nested(levels))


def test_a_filter_within_itself_is_refused() -> None:
    terms: dict[str, Any] = {}
    terms["$or"] = [terms]
    with pytest.raises(FilterError, match="image_terms: nested deeper than 32 levels"):
        parse(terms)


def test_what_yaml_aliases_multiply_is_refused() -> None:
    terms: dict[str, Any] = {"a": 1}
    for _ in range(20):
        terms = {"$or": [terms] * 9}
    with pytest.raises(FilterError, match=f"more than {MAX_PARTS} mappings and lists"):
        parse(terms)


def test_a_long_list_of_values_is_no_great_filter() -> None:
    wanted = parse({"id": list(range(2 * MAX_PARTS))})
    assert wanted.matches({"id": 7})


def test_too_long_a_pattern_is_refused() -> None:
    message = r"image_terms.name.\$match: the pattern has 1001 characters; shorten it"
    with pytest.raises(FilterError, match=message):
        parse({"name": {"$match": "a" * 1001}})


# --- nilearn ----------------------------------------------------------------

SPECIAL = [
    (neurovault.IsNull(), {"$truthy": False}),
    (neurovault.NotNull(), {"$truthy": True}),
    (neurovault.NotEqual("a"), {"$ne": "a"}),
    (neurovault.NotEqual(None), {"$null": False}),
    (neurovault.GreaterOrEqual(3), {"$gte": 3}),
    (neurovault.GreaterThan(3.5), {"$gt": 3.5}),
    (neurovault.LessOrEqual("b"), {"$lte": "b"}),
    (neurovault.LessThan(np.int64(3)), {"$lt": 3}),
    (neurovault.IsIn("a", "b"), {"$in": ["a", "b"]}),
    (neurovault.IsIn(), {"$in": []}),
    (neurovault.NotIn("a", "b"), {"$nin": ["a", "b"]}),
    (neurovault.Contains("a", "b"), {"$contains": ["a", "b"]}),
    (neurovault.NotContains("a"), {"$ncontains": "a"}),
    (neurovault.Pattern("a+"), {"$match": "a+"}),
    (neurovault.Pattern("a+", re.I | re.M), {"$match": "a+", "$flags": "im"}),
    (neurovault.Pattern("a+", re.UNICODE), {"$match": "a+"}),
    (neurovault.Pattern("a+", "i"), {"$match": "a+", "$flags": "i"}),
]


@pytest.mark.parametrize(("special", "operators"), SPECIAL, ids=lambda v: repr(v))
def test_nilearns_terms_become_operators(special: Any, operators: Any) -> None:
    assert parse({"custom": special}) == parse({"custom": operators})
    assert parse({"custom": {"$not": special}}) == parse(
        {"custom": {"$not": operators}}
    )
    wanted = parse({"$or": [{"custom": special}, {"name": "a"}]})
    assert yaml.safe_load(yaml.safe_dump(wanted.to_mapping())) == wanted.to_mapping()


def test_terms_of_the_same_names_in_this_package_count_too() -> None:
    namesake = type("GreaterThan", (), {"__module__": "intake_neurovault.somewhere"})()
    namesake.bound_ = "3"
    assert parse({"age_mean": namesake}) == parse({"age_mean": {"$gt": 3}})


@pytest.mark.parametrize("module", ["somewhere", "nilearn_datasets", "intake"])
def test_namesakes_from_elsewhere_do_not(module: str) -> None:
    namesake = type("NotNull", (), {"__module__": module})()
    with pytest.raises(FilterError, match="a value of type NotNull cannot be part of"):
        parse({"custom": namesake})


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"name": neurovault.Pattern("a", re.A)}, "'a' is not made of the letters"),
        ({"name": neurovault.Pattern("(")}, r"image_terms.name.\$match: not a regular"),
        ({"name": neurovault.Pattern("a", None)}, "None is not made of the letters"),
        ({"name": neurovault.IsIn(neurovault.IsNull())}, "of type IsNull cannot be"),
        ({"age_mean": neurovault.LessThan("x")}, r"age_mean.\$lt: 'x' is not a number"),
        (neurovault.NotNull(), "expected a mapping of fields .*, not a NotNull"),
    ],
)
def test_nilearns_terms_are_checked_too(terms: Any, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        parse(terms)


def test_nilearn_need_not_be_imported(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    code = (
        "import sys; from intake_neurovault.filters import parse_filter as parse; "
        "assert parse({'a': [1]}, kinds={}, where='terms').matches({'a': 1}); "
        "loaded = {name.partition('.')[0] for name in sys.modules}; "
        "assert not loaded & {'nilearn', 'numpy', 'pandas', 'yaml'}, loaded"
    )
    assert run_python(code).returncode == 0


# Where both agree: JSON values without booleans among numbers, bounds of the type of
# the values, no dates (which are text to nilearn), numbers that a float can hold.
WORDS = st.sampled_from(["", "a", "ab", "b", "face vs house", "None of it", "Z"])
INTEGERS = st.integers(-(2**53), 2**53) | st.integers(-3, 3)
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, 2.5])
PLAIN = st.one_of(st.none(), WORDS, INTEGERS, FLOATS)
ANY = st.one_of(
    PLAIN, st.booleans(), st.lists(PLAIN, max_size=3), st.just({}), st.just({"a": 1})
)
ALIKE = st.one_of(PLAIN, st.lists(PLAIN, max_size=3), st.just({}), st.just({"c": 1}))
ORDERS = ["GreaterOrEqual", "GreaterThan", "LessOrEqual", "LessThan"]


def agrees(special: Any, value: Any) -> bool:
    ours = parse({"custom": special}).matches({"custom": value})
    return ours is bool(special == value)


@given(ANY, st.sampled_from(["IsNull", "NotNull"]))
def test_null_terms_agree_with_nilearn(value: Any, name: str) -> None:
    assert agrees(getattr(neurovault, name)(), value)


@given(PLAIN, ALIKE)
def test_not_equal_agrees_with_nilearn(bound: Any, value: Any) -> None:
    assert agrees(neurovault.NotEqual(bound), value)


@given(
    st.sampled_from(ORDERS),
    st.one_of(
        st.tuples(INTEGERS, INTEGERS),
        st.tuples(FLOATS, INTEGERS | FLOATS),
        st.tuples(WORDS, WORDS),
        st.tuples(INTEGERS | FLOATS, st.just("a") | st.just([]) | st.none()),
    ),
)
def test_order_terms_agree_with_nilearn(name: str, pair: tuple[Any, Any]) -> None:
    bound, value = pair
    assert agrees(getattr(neurovault, name)(bound), value)


@given(st.sampled_from(["IsIn", "NotIn"]), st.lists(PLAIN, max_size=4), ALIKE)
def test_choice_terms_agree_with_nilearn(name: str, bound: Any, value: Any) -> None:
    assert agrees(getattr(neurovault, name)(*bound), value)


@given(
    st.sampled_from(["Contains", "NotContains"]),
    st.one_of(
        st.tuples(st.lists(WORDS, max_size=3), WORDS | INTEGERS | st.none()),
        st.tuples(st.lists(PLAIN, max_size=3), st.lists(PLAIN, max_size=4)),
    ),
)
def test_content_terms_agree_with_nilearn(name: str, pair: tuple[Any, Any]) -> None:
    bound, value = pair
    assert agrees(getattr(neurovault, name)(*bound), value)


@given(st.sampled_from(["a", "b?a", "^Z$", "[a-f]+ vs", "$", "face|none"]), ANY)
def test_patterns_agree_with_nilearn(pattern: str, value: Any) -> None:
    assert agrees(neurovault.Pattern(pattern), value)
    assert agrees(neurovault.Pattern(pattern, re.IGNORECASE), value)


DIFFERENCES = [
    ("null has no order", neurovault.GreaterThan("2016"), None, False),
    ("numbers are not truncated", neurovault.GreaterThan(5), 5.9, True),
    ("numbers are not truncated", neurovault.LessOrEqual(7), 7.9, False),
    ("text is not cast to a number", neurovault.GreaterThan(5), "12", False),
    ("a number is not cast to text", neurovault.GreaterOrEqual("3"), 5, False),
    ("true is not 1", neurovault.GreaterThan(0), True, False),
    ("true is not 1", neurovault.NotEqual(1), True, True),
    ("true is not 1", neurovault.IsIn(0, 1), False, False),
    ("true is not 1", neurovault.NotIn(0, 1), False, True),
    ("true is not 1", neurovault.Contains(1), [True], False),
    ("NaN is null", neurovault.NotNull(), float("nan"), False),
    ("NaN is null", neurovault.IsIn(None), float("nan"), True),
    ("a mapping contains nothing", neurovault.Contains("a"), {"a": 1}, False),
    ("a mapping lacks nothing", neurovault.NotContains("b"), {"a": 1}, False),
    (
        "dates are no text",
        neurovault.GreaterThan("2016-01-21T12:00:00Z"),
        "2016-01-21T12:30:00+02:00",
        False,
    ),
    (
        "dates are no text",
        neurovault.NotEqual("2016-01-21T12:00:00Z"),
        "2016-01-21T12:00:00+00:00",
        False,
    ),
]


@pytest.mark.parametrize(
    ("special", "value", "ours"),
    [pytest.param(*case, id=f"{why}: {case[0]!r}") for why, *case in DIFFERENCES],
)
def test_where_nilearn_is_not_followed(special: Any, value: Any, ours: bool) -> None:
    assert parse({"custom": special}).matches({"custom": value}) is ours
    assert bool(special == value) is not ours


def test_nilearn_raises_where_text_is_searched_for_a_number() -> None:
    assert parse({"custom": neurovault.Contains(0)}).matches({"custom": "0"}) is False
    assert parse({"custom": neurovault.NotContains(0)}).matches({"custom": "0"}) is True
    with pytest.raises(TypeError, match="requires string as left operand"):
        bool(neurovault.Contains(0) == "0")


def test_nilearns_own_terms_can_be_parsed() -> None:
    images = parse(neurovault.basic_image_terms())
    collections = parse(neurovault.basic_collection_terms())
    kept = {"not_mni": False, "is_thresholded": False, "map_type": "Z map"}
    assert images.matches(kept)
    assert not images.matches(kept | {"map_type": "ROI/mask"})
    assert not images.matches(kept | {"image_type": "atlas"})
    assert collections.matches({"number_of_images": 3})
    assert not collections.matches({"number_of_images": 0})


# --- terms and functions ----------------------------------------------------


@dataclass(frozen=True)
class Longer:
    """A function of a record that can be pickled."""

    than: int

    def __call__(self, record: Mapping[str, Any]) -> bool:
        return len(record.get("name") or "") > self.than


@pytest.mark.parametrize("terms", [None, {}, {"map_type": "Z map"}])
def test_terms_alone_have_no_function(terms: Any) -> None:
    assert split_terms(terms, "image_terms") == (terms, None)


def test_a_filter_has_no_function() -> None:
    wanted = parse({"age_mean": {"$gt": 3}})
    assert split_terms(wanted, "x") == ({"age_mean": {"$gt": 3}}, None)


def test_a_function_has_no_terms() -> None:
    longer = Longer(3)
    assert split_terms(longer, "image_terms") == (None, longer)


@pytest.mark.parametrize(
    ("result_filter", "mapping"),
    [
        (neurovault.ResultFilter(), {}),
        (neurovault.ResultFilter({"a": 1}, b=2), {"a": 1, "b": 2}),
    ],
)
def test_a_result_filter_of_terms_is_a_mapping(
    result_filter: Any, mapping: Any
) -> None:
    assert split_terms(result_filter, "image_terms") == (mapping, None)


def test_the_terms_of_a_result_filter_are_a_copy() -> None:
    result_filter = neurovault.ResultFilter(a=1)
    mapping, _ = split_terms(result_filter, "image_terms")
    result_filter["a"] = 2
    assert mapping == {"a": 1}


def test_the_functions_of_a_result_filter_must_all_hold() -> None:
    result_filter = neurovault.ResultFilter({"a": 1}, callable_filter=Longer(3))
    assert split_terms(result_filter, "image_terms") == ({"a": 1}, Longer(3))
    result_filter.add_filter(Longer(5))
    mapping, predicate = split_terms(result_filter, "image_terms")
    assert mapping == {"a": 1}
    assert predicate is not None
    for test in (predicate, pickle.loads(pickle.dumps(predicate))):
        assert test({"name": "sixsix"})
        assert not test({"name": "five5"})


def test_an_added_function_needs_no_terms() -> None:
    result_filter = neurovault.ResultFilter()
    result_filter.add_filter(Longer(5))
    assert split_terms(result_filter, "image_terms") == (None, Longer(5))


@pytest.mark.parametrize(
    ("combine", "passing", "failing"),
    [
        ("OR", [{"a": 1}, {"b": 1}], [{}]),
        ("AND", [{"a": 1, "b": 1}], [{"a": 1}]),
        ("XOR", [{"a": 1}], [{"a": 1, "b": 1}, {}]),
    ],
)
def test_nilearns_combinations_are_functions(
    combine: str, passing: list[Any], failing: list[Any]
) -> None:
    one, other = neurovault.ResultFilter(a=1), neurovault.ResultFilter(b=1)
    mapping, predicate = split_terms(getattr(one, combine)(other), "image_terms")
    assert mapping is None
    assert predicate is not None
    assert all(predicate(record) for record in passing)
    assert not any(predicate(record) for record in failing)


@pytest.mark.parametrize("terms", ["Z map", 3, [1], neurovault.NotNull(), dict])
def test_what_is_neither_terms_nor_function_is_refused(terms: Any) -> None:
    kind = type(terms).__name__
    message = f"image_terms: expected a mapping of fields .*, not a {kind}"
    with pytest.raises(FilterError, match=message):
        split_terms(terms, "image_terms")


# --- real answers -----------------------------------------------------------


def test_real_records_can_be_filtered(recorded: Callable[[str], Any]) -> None:
    records = recorded("collection_4_images_every_map_type")["results"]
    records += recorded("collection_8_images_weird_values")["results"]
    wanted = parse({"map_type": ["Z map", "T map"], "file": {"$match": "http"}})
    kept = {record["map_type"] for record in records if wanted.matches(record)}
    assert kept == {"Z map", "T map"}
    for field in {name for record in records for name in record}:
        for operand in (None, {"$gt": 1}, {"$contains": "a"}, {"$regex": "a"}, [1]):
            terms = {"$xor": [{field: operand}, {field: {"$not": operand}}]}
            either = parse_filter(terms, kinds={}, where="image_terms")
            assert all(either.matches(record) for record in records)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"map_type": "['Z map', 'T map']"}, {"map_type": ["Z map", "T map"]}),
        ({"map_type": {"$in": "['Z map']"}}, {"map_type": "Z map"}),
        ({"id": {"$nin": "[3, 4]"}}, {"id": {"$nin": [3, 4]}}),
        ({"name": {"$contains": "['a', 'b']"}}, {"name": {"$contains": ["a", "b"]}}),
    ],
)
def test_lists_come_back_from_the_text_of_a_template(
    written: dict[str, Any], meant: dict[str, Any]
) -> None:
    kinds = {"map_type": "text", "id": "int", "name": "text"}
    read = [parse_filter(each, kinds=kinds, where="terms") for each in (written, meant)]
    assert read[0] == read[1]


@pytest.mark.parametrize("text", ["[sic]", "[1, 2]", "[]", "['a']", "[[1]]", "[1"])
def test_text_in_brackets_can_still_be_meant(text: str) -> None:
    exact = parse_filter({"name": {"$eq": text}}, kinds={"name": "text"}, where="t")
    assert exact.matches({"name": text})
    again = parse_filter(exact.to_mapping(), kinds={"name": "text"}, where="t")
    assert again == exact
