"""Conditions as they are typed on a command line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.errors import FilterError
from intake_neurovault.filters import parse_filter
from intake_neurovault.schema import COLLECTION_KINDS, IMAGE_FIELDS, IMAGE_KINDS
from intake_neurovault.typed_terms import (
    OPERATORS,
    joined,
    parse_condition,
    read_terms,
)


def parse(text: str) -> dict[str, Any]:
    return parse_condition(text, kinds=IMAGE_KINDS, where="--where")


def meaning(terms: Any) -> Any:
    return parse_filter(terms, kinds=IMAGE_KINDS, where="image_terms")


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


# ---- the grammar ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("map_type=Z map", {"map_type": "Z map"}),
        ("map_type = Z map , T map", {"map_type": ["Z map", "T map"]}),
        ("modality!=MEG,EEG", {"modality": {"$nin": ["MEG", "EEG"]}}),
        ("modality!=EEG", {"modality": {"$ne": "EEG"}}),
        ("number_of_subjects>=20", {"number_of_subjects": {"$gte": 20}}),
        ("age<30.5", {"age": {"$lt": 30.5}}),
        ("add_date>2016-05", {"add_date": {"$gt": "2016-05-01"}}),
        ("is_thresholded=no", {"is_thresholded": False}),
        ("is_thresholded=True", {"is_thresholded": True}),
        ("figure=2", {"figure": "2"}),
        ("name~(?i)faces?", {"name": {"$regex": "(?i)faces?"}}),
        ("name~a, b=c", {"name": {"$regex": "a, b=c"}}),
        ("name!~faces", {"name": {"$not": {"$regex": "faces"}}}),
        ("name*=face,house", {"name": {"$contains": ["face", "house"]}}),
        ("name!*=rest", {"name": {"$ncontains": "rest"}}),
        ("DOI", {"DOI": {"$null": False}}),
        ("!age", {"age": None}),
        ("age=null", {"age": None}),
        ("map_type=null,Z map", {"map_type": [None, "Z map"]}),
        ('map_type="null"', {"map_type": "null"}),
        ('name="left, ""right"""', {"name": 'left, "right"'}),
        ("name=5\" disk", {"name": '5" disk'}),
        ("name=['a']", {"name": {"$eq": "['a']"}}),
        ('"odd=name">3', {"odd=name": {"$gt": 3}}),
        ("run=3", {"run": [3, "3"]}),
        ("run!=3", {"run": {"$nin": [3, "3"]}}),
        ("run=true", {"run": [True, "true"]}),
        ('run="3"', {"run": "3"}),
        ("run=NaN", {"run": "NaN"}),
        ("repetition time>2", {"repetition time": {"$gt": 2}}),
        ("{age: {$gte: 20}}", {"age": {"$gte": 20}}),
        (
            "{$or: [{age: 20}, {sex: F}]}",
            {"$or": [{"age": 20}, {"sex": "F"}]},
        ),
        ('{"name": "\\ud83e\\udde0"}', {"name": "🧠"}),
    ],
)  # fmt: skip
def test_what_is_typed_and_what_it_means(text: str, terms: Any) -> None:
    assert meaning(parse(text)) == meaning(terms)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--where '' is no condition; write it as 'map_type=Z map'"),
        ("=3", "is no condition"),
        ("map_type==Z map", "'==' is no comparison; write one of =  !=  >="),
        ("age>>20", "'>>' is no comparison; .* quote a value that begins with '>'"),
        ("modality=!PET", "'=!' is no comparison"),
        ("name=", "a value is missing after '='; to ask for a field without one"),
        ("name=a,,b", "a value is missing beside a comma"),
        ("name=a,", "a value is missing beside a comma"),
        ('name="a', "the quotes do not match"),
        ('name="a"b', "the quotes do not match"),
        ("age>20,30", "'>' takes one value, without commas"),
        ("!age=20", "'!' stands before a field alone; write 'age!=20'"),
        ("!age>20", r"'!' stands before a field alone; write '\{\$not: "),
        ("$or=3", r"combine conditions as in '\{\$or: "),
        ("{age: ", "is neither YAML nor JSON: while parsing a flow"),
        ("{" * 5000, "is neither YAML nor JSON"),
    ],
)
def test_what_is_not_understood(text: str, message: str) -> None:
    with pytest.raises(FilterError, match=message):
        parse(text)


# ---- round trips ------------------------------------------------------------------

TEXTS = st.text(min_size=1, max_size=20)
FIELDS = st.sampled_from([each.name for each in IMAGE_FIELDS if each.kind == "text"])
CUSTOM = TEXTS.filter(lambda name: not name.startswith("$"))


@given(FIELDS | CUSTOM, st.lists(TEXTS, min_size=1, max_size=4), st.booleans())
def test_quoted_text_comes_through(name: str, values: list[str], equal: bool) -> None:
    sign, operator = ("=", "$in") if equal else ("!=", "$nin")
    text = f"{quoted(name)}{sign}{','.join(map(quoted, values))}"
    assert meaning(parse(text)) == meaning({name: {operator: values}})


PLAIN = st.text("abcXYZ éß脳-_.:;/()[]'", min_size=1, max_size=12).map(str.strip)
WORDS = PLAIN.filter(lambda text: text and not text.startswith('"'))


@given(FIELDS, st.lists(WORDS, min_size=1, max_size=4), st.sampled_from(["", " "]))
def test_plain_text_needs_no_quotes(name: str, values: list[str], blank: str) -> None:
    text = f"{blank}{name}{blank}={blank}{','.join(values)}{blank}"
    assert meaning(parse(text)) == meaning({name: {"$in": values}})


@given(
    st.sampled_from(["number_of_subjects", "age", "my_own"]),
    st.sampled_from([(">", "$gt"), (">=", "$gte"), ("<", "$lt"), ("<=", "$lte")]),
    st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False),
)
def test_numbers_are_numbers(name: str, signs: tuple[str, str], bound: float) -> None:
    sign, operator = signs
    wanted = meaning({name: {operator: bound}})
    assert meaning(parse(f"{name}{sign}{bound!r}")) == wanted


JSON_TERMS = st.dictionaries(
    CUSTOM,
    TEXTS
    | st.integers()
    | st.lists(TEXTS, min_size=1, max_size=3)
    | st.fixed_dictionaries({"$gte": st.integers()}),
    max_size=3,
)


@given(JSON_TERMS)
def test_the_mapping_form_comes_through(terms: dict[str, Any]) -> None:
    assert parse(json.dumps(terms)) == terms


@given(st.text(max_size=30))
def test_any_text_is_a_condition_or_an_error(text: str) -> None:
    try:
        terms = parse(text)
    except FilterError as error:
        terms, said = None, str(error)
    if terms is None:
        assert said.startswith("--where ")
        return
    assert isinstance(terms, dict)
    if not text.lstrip().startswith("{"):
        ((name, test),) = terms.items()
        assert name
        assert set(test) < {
            *("$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", "$regex"),
            *("$not", "$contains", "$ncontains", "$null"),
        }


@given(st.sampled_from(sorted(OPERATORS)), st.sampled_from(["name", "my_own"]))
def test_every_sign_is_understood(sign: str, name: str) -> None:
    assert meaning(parse(f"{name}{sign}text")).fields() == {name}


# ---- several, and files -----------------------------------------------------------


def test_several_must_all_hold() -> None:
    both = joined([parse("age>=20"), None, parse("age<30")])
    assert meaning(both) == meaning({"age": {"$gte": 20, "$lt": 30}})
    assert joined([None]) is None


def test_terms_from_a_file() -> None:
    text = "image_terms: {age: {$gte: 20}}\ncollection_terms:\n  DOI: {$null: false}\n"
    terms = read_terms(text, "x.yaml")
    assert terms == {
        "image_terms": {"age": {"$gte": 20}},
        "collection_terms": {"DOI": {"$null": False}},
    }
    assert read_terms(json.dumps(terms), "x.json") == terms
    for name, kinds in (("image", IMAGE_KINDS), ("collection", COLLECTION_KINDS)):
        terms_of = terms[f"{name}_terms"]
        assert parse_filter(terms_of, kinds=kinds, where=name).fields()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("map_type: Z map", "x.yaml has 'map_type' at its top, where image_terms and"),
        ("image_term: {}", "did you mean image_terms?"),
        ("image_terms: [Z map]", "image_terms takes a mapping of fields"),
        ("- Z map", "x.yaml should hold a mapping, not a list"),
        ("", "x.yaml should hold a mapping, not a NoneType"),
        ("a: [", "x.yaml is neither YAML nor JSON: while parsing"),
        ("a: !!python/object/apply:os.system [ls]", "is neither YAML nor JSON"),
    ],
)
def test_files_that_are_not_understood(text: str, message: str) -> None:
    with pytest.raises(FilterError, match=message.replace("?", r"\?")):
        read_terms(text, "x.yaml")
