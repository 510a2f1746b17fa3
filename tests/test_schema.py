from __future__ import annotations

import json
import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.schema import (
    COLLECTION_FIELDS,
    COLLECTION_KINDS,
    IMAGE_FIELDS,
    IMAGE_KINDS,
    Field,
    Kind,
    caster,
    clean,
    finite,
)

PYTHON = {"int": int, "float": float, "bool": bool, "text": str, "date": str}

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.sampled_from(["n/a", " NONE ", "12", "1e5", "True", "2015-03-04", "1_000"]),
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@pytest.mark.parametrize(
    "fields", [IMAGE_FIELDS, COLLECTION_FIELDS], ids=["image", "collection"]
)
def test_each_field_is_named_once_and_described_in_a_line(fields: tuple[Field, ...]):
    names = [field.name for field in fields]
    assert len(set(names)) == len(names)
    for field in fields:
        assert field.kind in get_args(Kind)
        assert field.description.strip() == field.description
        assert "\n" not in field.description
        assert len(field.description.split()) > 1


@pytest.mark.parametrize(
    ("kinds", "fields"),
    [(IMAGE_KINDS, IMAGE_FIELDS), (COLLECTION_KINDS, COLLECTION_FIELDS)],
)
def test_kinds_say_what_the_fields_say(
    kinds: dict[str, Kind], fields: tuple[Field, ...]
):
    assert list(kinds.items()) == [(field.name, field.kind) for field in fields]
    with pytest.raises(TypeError, match="does not support item assignment"):
        kinds["new"] = "int"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("id", "int"),
        ("file_size", "int"),
        ("number_of_subjects", "int"),
        ("is_thresholded", "bool"),
        ("not_mni", "bool"),
        ("age", "float"),
        ("BMI", "float"),
        ("statistic_parameters", "float"),
        ("tanner_stage", "text"),
        ("label_description_file", "text"),
        ("nidm_results", "text"),
        ("nidm_results_ttl", "text"),
        ("add_date", "date"),
        ("modify_date", "date"),
    ],
)
def test_kind_of_an_image_field(name: str, kind: str):
    assert IMAGE_KINDS[name] == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("number_of_images", "int"),
        ("private", "bool"),
        ("length_of_trials", "text"),
        ("length_of_blocks", "float"),
        ("matrix_size", "int"),
        ("group_repeated_measures", "bool"),
        ("doi_add_date", "date"),
    ],
)
def test_kind_of_a_collection_field(name: str, kind: str):
    assert COLLECTION_KINDS[name] == kind


def test_image_fields_begin_with_what_one_looks_at_first():
    assert [field.name for field in IMAGE_FIELDS[:5]] == [
        "id",
        "collection_id",
        "name",
        "description",
        "map_type",
    ]
    assert IMAGE_FIELDS[-1].name == "image_type"


@pytest.mark.parametrize(
    "spelling",
    [
        "",
        "  \n\t",
        "none",
        "None",
        "NONE",
        " none ",
        "None / Other",
        "none / other",
        "n/a",
        "N/A",
        "na",
        "NA",
        "null",
        "NULL\n",
        " " * 500,
        float("nan"),
    ],
)
def test_null_spellings_are_none(spelling: object):
    assert clean(spelling) is None


@pytest.mark.parametrize(
    "value",
    [
        "None of the above",
        "Nonedible items > food",
        "nullification - baseline",
        "null hypothesis map",
        "nan",
        "n / a",
        "none/other",
        "nada",
        "0",
        0,
        0.0,
        False,
        [],
        {},
        [None],
        ["none"],
        float("inf"),
        "<script>alert(1)</script>",
        "\u202eltr",
        "../../etc/passwd",
        "  leading and trailing spaces  ",
    ],
)
def test_what_says_something_is_left_alone(value: object):
    assert clean(value) is value


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, "n/a"])
def test_finite_leaves_nothing_that_json_cannot_hold(value: object):
    assert finite(value) is None


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("int", 20, 20),
        ("int", 20.0, 20),
        ("int", "20", 20),
        ("int", " 20 ", 20),
        ("int", "20.0", 20),
        ("int", 0, 0),
        ("int", -3, -3),
        ("int", 10**30, 10**30),
        ("int", 20.5, None),
        ("int", "20.5", None),
        ("int", "1_000", None),
        ("int", "twenty", None),
        ("int", "9" * 5000, None),
        ("int", True, None),
        ("int", [20], None),
        ("int", math.inf, None),
        ("int", "inf", None),
        ("float", 7.9, 7.9),
        ("float", 3, 3.0),
        ("float", "7.9", 7.9),
        ("float", "1e5", 100000.0),
        ("float", "nan", None),
        ("float", "NaN", None),
        ("float", "-Infinity", None),
        ("float", math.nan, None),
        ("float", -math.inf, None),
        ("float", 10**400, None),
        ("float", False, None),
        ("float", {"value": 1}, None),
        ("bool", True, True),
        ("bool", False, False),
        ("bool", "true", True),
        ("bool", " False ", False),
        ("bool", 1, True),
        ("bool", 0.0, False),
        ("bool", 2, None),
        ("bool", "yes", None),
        ("bool", [True], None),
        ("bool", math.nan, None),
        ("text", "Z map", "Z map"),
        ("text", "  kept as it is ", "  kept as it is "),
        ("text", "None / Other", None),
        ("text", 12, "12"),
        ("text", 1.5, "1.5"),
        ("text", True, None),
        ("text", ["a"], None),
        ("text", {"a": 1}, None),
        ("text", math.inf, None),
        ("date", "2015-07-01T02:00:00+02:00", "2015-07-01T02:00:00+02:00"),
        ("date", " 2015-07-01T00:00:00Z ", "2015-07-01T00:00:00Z"),
        ("date", "2015-07-01", "2015-07-01"),
        ("date", "yesterday", None),
        ("date", "2015-13-01", None),
        ("date", "n/a", None),
        ("date", 20150701, None),
        ("date", [], None),
    ],
)
def test_cast(kind: Kind, value: object, expected: object):
    result = caster(kind)(value)
    assert result == expected
    assert type(result) is type(expected)


@given(JSON)
@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_cast_gives_its_type_or_none_and_does_nothing_twice(kind: Kind, value: Any):
    cast = caster(kind)
    result = cast(value)
    assert result is None or type(result) is PYTHON[kind]
    assert result is None or cast(result) == result
    json.dumps(result, allow_nan=False)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers())
def test_numbers_survive_a_visit_to_text(number: float, whole: int):
    assert caster("float")(repr(number)) == number
    assert caster("int")(str(whole)) == whole


@given(SCALARS)
def test_cleaning_twice_changes_nothing_more(value: object):
    once = clean(value)
    assert clean(once) is once
