from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_neurovault import query as module
from intake_neurovault.errors import ArgumentError, FilterError, NeuroVaultWarning
from intake_neurovault.filters import parse_filter
from intake_neurovault.query import (
    BASIC_COLLECTION_TERMS,
    BASIC_IMAGE_TERMS,
    DEFAULT_MAX_IMAGES,
    Query,
)
from intake_neurovault.records import COLLECTION_KINDS, IMAGE_KINDS, Token

LETTERS = "ABCDEFGH"
NAME = Token(env="MY_TOKEN")
LITERAL = Token(secret=LETTERS)

BASIC_IMAGES = parse_filter(BASIC_IMAGE_TERMS, kinds=IMAGE_KINDS, where="x")
BASIC_COLLECTIONS = parse_filter(
    BASIC_COLLECTION_TERMS, kinds=COLLECTION_KINDS, where="x"
)

GOOD_MAP = {
    "not_mni": False,
    "is_thresholded": False,
    "map_type": "Z map",
    "image_type": "statistic_map",
}

IDS = st.lists(st.integers(1, 10**9), max_size=4)
TERMS = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "map_type": st.sampled_from(["Z map", ["T map", "Z map"], {"$ne": "other"}]),
        "number_of_subjects": st.fixed_dictionaries(
            {"$gte": st.integers(0, 50)}, optional={"$lt": st.integers(50, 99)}
        ),
        "name": st.text(max_size=8) | st.just({"$regex": "face", "$flags": "i"}),
        "age": st.floats(0, 99) | st.none() | st.just({"$null": False}),
        "custom field": st.booleans() | st.integers() | st.text(max_size=3),
        "$or": st.just([{"sex": "F"}, {"$not": {"is_valid": True}}]),
    },
)
COLLECTION_TERMS = st.none() | st.sampled_from(
    [{}, {"DOI": {"$null": False}}, {"name": ["a", "b"]}, dict(BASIC_COLLECTION_TERMS)]
)
CAPS = st.sampled_from([DEFAULT_MAX_IMAGES, None, 0, 1, 100, "7", -1, 1e3])
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "image_terms": TERMS,
        "collection_terms": COLLECTION_TERMS,
        "image_ids": st.none() | IDS,
        "collection_ids": st.none()
        | st.lists(st.integers(1, 999) | st.just("env:MY_TOKEN"), max_size=3),
        "max_images": CAPS,
        "fetch_neurosynth_words": st.booleans(),
    },
)


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


def test_a_bare_query_takes_the_basic_terms_and_a_hundred():
    query = Query.parse()
    assert query.image_filter == BASIC_IMAGES
    assert query.collection_filter == BASIC_COLLECTIONS
    assert query.max_images == 100
    assert type(query.max_images) is int
    assert query.max_images_is_default
    assert not query.explicit
    assert not query.words
    assert query.to_arguments() == {}


@pytest.mark.parametrize(
    ("change", "passes"),
    [
        ({}, True),
        ({"not_mni": True}, False),
        ({"not_mni": None}, False),
        ({"is_thresholded": True}, False),
        ({"is_thresholded": None}, False),
        ({"map_type": "ROI/mask"}, False),
        ({"map_type": "anatomical"}, False),
        ({"map_type": "parcellation"}, False),
        ({"map_type": None}, True),
        ({"image_type": "atlas"}, False),
    ],
)
def test_the_basic_image_terms_are_nilearns(change: dict[str, Any], passes: bool):
    assert Query.parse().image_filter.matches(GOOD_MAP | change) is passes


@pytest.mark.parametrize(
    ("number", "passes"), [(7, True), (1, True), (0, False), (None, False)]
)
def test_the_basic_collection_term_is_nilearns(number: int | None, passes: bool):
    collection = {"id": 1, "number_of_images": number}
    assert Query.parse().collection_filter.matches(collection) is passes


def test_given_terms_replace_the_basic_ones():
    query = Query.parse(image_terms={"map_type": "ROI/mask"})
    assert query.image_filter.matches({"map_type": "ROI/mask", "not_mni": True})
    assert query.collection_filter == BASIC_COLLECTIONS
    query = Query.parse(collection_terms={"DOI": "10.1/x"})
    assert query.image_filter == BASIC_IMAGES
    assert query.collection_filter.matches({"DOI": "10.1/x", "number_of_images": 0})


@pytest.mark.parametrize("which", ["image_terms", "collection_terms"])
def test_an_empty_mapping_stands_for_no_condition(which: str):
    query = Query.parse(**{which: {}})
    assert getattr(query, which.replace("terms", "filter")).matches({})
    assert query.to_arguments() == {which: {}}


@pytest.mark.parametrize(
    "ids",
    [
        {"image_ids": [3]},
        {"collection_ids": [1]},
        {"image_ids": []},
        {"collection_ids": ()},
    ],
)
def test_ids_lift_the_basic_terms_and_the_default_cap(ids: dict[str, Any]):
    query = Query.parse(**ids)
    assert query.explicit
    assert query.image_filter.matches({"image_type": "atlas"})
    assert query.collection_filter.matches({})
    assert query.max_images is None
    assert not query.max_images_is_default
    assert Query.parse(**ids, max_images=100).max_images == 100
    with_terms = Query.parse(**ids, image_terms={"map_type": "Z map"})
    assert not with_terms.image_filter.matches({"map_type": "T map"})


def test_no_ids_at_all_is_not_every_image():
    query = Query.parse(image_ids=[])
    assert query.images_to_visit() == ()
    assert query.collections_to_visit() == ()
    assert query.to_arguments() == {"image_ids": []}
    assert query != Query.parse(image_terms={}, collection_terms={}, max_images=None)
    assert query == Query.parse(collection_ids=[])


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        ("123", (123,)),
        (123, (123,)),
        ([3, "1", 3.0], (3, 1)),
        ({3, 1, 20}, (1, 3, 20)),
        (range(2, 4), (2, 3)),
        (np.array([5, 4]), (5, 4)),
        (pd.Series([5.0, 4.0]), (5, 4)),
        ("[5, 4]", (5, 4)),
    ],
    ids=repr,
)
def test_image_ids(value: object, ids: tuple[int, ...]):
    assert Query.parse(image_ids=value).image_ids == ids
    assert Query.parse(collection_ids=value).collection_ids == ids


def test_collections_may_be_private():
    query = Query.parse(collection_ids=["env:MY_TOKEN", 7, LETTERS, NAME])
    assert query.collection_ids == (NAME, 7, LITERAL)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_ids": "x"}, "every item of image_ids must be a positive whole"),
        ({"image_ids": [1, True]}, "True is not an id: every item of image_ids"),
        ({"image_ids": {"id": 1}}, "image_ids takes ids, not a mapping"),
        ({"collection_ids": "x"}, "'x' does not name a collection"),
        ({"collection_ids": {"id": 1}}, "collection_ids takes ids, not a mapping"),
        ({"max_images": 2.5}, "max_images=2.5 is not a whole number"),
        ({"max_images": True}, "max_images=True is not a whole number"),
        ({"fetch_neurosynth_words": "maybe"}, "'maybe' is neither True nor False"),
    ],
)
def test_arguments_that_cannot_be_read(arguments: dict[str, Any], message: str):
    with pytest.raises(ArgumentError, match=message):
        Query.parse(**arguments)


@pytest.mark.parametrize("where", ["image_terms", "collection_terms"])
def test_a_bad_term_says_where_it_stands(where: str):
    with pytest.raises(FilterError, match=rf"{where}.*name.*\$regexp"):
        Query.parse(**{where: {"name": {"$regexp": "x"}}})


def test_bounds_that_arrive_as_text_are_cast():
    query = Query.parse(
        image_terms={"number_of_subjects": {"$gte": "20"}, "not_mni": "false"},
        collection_terms={"id": "20"},
        image_ids=None,
        max_images="50",
        fetch_neurosynth_words="true",
    )
    assert query == Query.parse(
        image_terms={"number_of_subjects": {"$gte": 20}, "not_mni": False},
        collection_terms={"id": 20},
        max_images=50,
        fetch_neurosynth_words=True,
    )
    assert query.collections_to_visit() == (20,)


@pytest.mark.parametrize(
    ("arguments", "visit"),
    [
        ({}, None),
        ({"image_terms": {"map_type": "Z map"}}, None),
        ({"image_terms": {"collection_id": 20}}, (20,)),
        ({"image_terms": {"collection_id": "20"}}, (20,)),
        ({"image_terms": {"collection_id": [30, 20]}}, (20, 30)),
        ({"image_terms": {"collection_id": {"$eq": 20}}}, (20,)),
        ({"image_terms": {"collection_id": {"$in": [30, 20], "$gt": 5}}}, (20, 30)),
        ({"image_terms": {"collection_id": {"$gt": 5}}}, None),
        ({"image_terms": {"collection_id": {"$ne": 5}}}, None),
        ({"image_terms": {"collection_id": {"$nin": [5]}}}, None),
        ({"image_terms": {"collection_id": None}}, None),
        ({"image_terms": {"collection_id": []}}, ()),
        ({"image_terms": {"$or": [{"collection_id": 1}, {"id": 2}]}}, None),
        ({"image_terms": {"$not": {"collection_id": 1}}}, None),
        ({"collection_terms": {"id": 20}}, (20,)),
        ({"collection_terms": {"id": [20, -5]}}, (20,)),
        ({"collection_terms": {"id": {"$in": [30, 20]}}}, (20, 30)),
        (
            {
                "image_terms": {"collection_id": [20, 30]},
                "collection_terms": {"id": [40, 30]},
            },
            (30,),
        ),
        ({"collection_ids": [30, 20]}, (30, 20)),
        ({"collection_ids": [30, 20], "image_terms": {"collection_id": 20}}, (20,)),
        ({"collection_ids": [30, NAME], "collection_terms": {"id": 20}}, (NAME,)),
        ({"image_ids": [3]}, ()),
        ({"image_ids": [3], "image_terms": {"collection_id": 20}}, ()),
        ({"image_ids": [3], "collection_ids": [20]}, (20,)),
    ],
)
def test_collections_to_visit(arguments: dict[str, Any], visit: tuple[Any, ...] | None):
    assert Query.parse(**arguments).collections_to_visit() == visit


@pytest.mark.parametrize(
    ("arguments", "visit"),
    [
        ({}, None),
        ({"image_terms": {"map_type": "Z map"}}, None),
        ({"image_terms": {"id": 20}}, (20,)),
        ({"image_terms": {"id": ["30", 20]}}, (20, 30)),
        ({"image_terms": {"id": {"$gt": 20}}}, None),
        ({"image_ids": [30, 20]}, (30, 20)),
        ({"image_ids": [30, 20], "image_terms": {"id": 20}}, (30, 20)),
        ({"collection_ids": [7]}, ()),
        ({"collection_ids": [7], "image_terms": {"id": 20}}, ()),
    ],
)
def test_images_to_visit(arguments: dict[str, Any], visit: tuple[int, ...] | None):
    assert Query.parse(**arguments).images_to_visit() == visit


@pytest.mark.parametrize(
    "arguments",
    [
        {"image_terms": {"collection_id": 20}, "collection_terms": {"id": 30}},
        {
            "image_terms": {"collection_id": [20, 21]},
            "collection_terms": {"id": {"$in": [30]}},
        },
        {"image_terms": {"collection_id": 20}, "collection_ids": [30, 40]},
        {"collection_terms": {"id": 20}, "collection_ids": [30]},
    ],
)
def test_contradictory_collections_are_a_warning(arguments: dict[str, Any]):
    with pytest.warns(NeuroVaultWarning, match="Contradictory collection ids: .*20"):
        query = Query.parse(**arguments)
    assert query.collections_to_visit() == ()


@pytest.mark.parametrize(
    "terms", [{"id": 20}, {"id": [20, 30]}, {"id": {"$gt": 5}}, {"name": "x"}]
)
def test_collections_that_agree_are_no_warning(terms: dict[str, Any]):
    query = Query.parse(image_terms={"collection_id": 20}, collection_terms=terms)
    assert query.collections_to_visit() == (20,)


def test_a_warning_points_at_the_caller():
    with pytest.warns(NeuroVaultWarning, match="one of these") as caught:
        Query.parse(image_terms={"collection_id": 1}, collection_ids=[2])
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "arguments",
    [
        {"image_terms": {"map_type": "Z map"}},
        {"image_terms": {}, "collection_terms": {}},
        {"max_images": 50},
        {"max_images": 0},
        {"max_images": None},
        {"image_ids": [5, 3]},
        {"image_ids": []},
        {"collection_ids": [5, "env:MY_TOKEN"]},
        {"image_ids": [5], "collection_ids": [2], "max_images": 100},
        {"image_ids": [5], "image_terms": dict(BASIC_IMAGE_TERMS)},
        {"fetch_neurosynth_words": True},
    ],
)
def test_only_what_differs_from_the_defaults_is_written(arguments: dict[str, Any]):
    assert Query.parse(**arguments).to_arguments() == arguments


@pytest.mark.parametrize(
    "arguments",
    [
        {"image_terms": dict(BASIC_IMAGE_TERMS)},
        {"collection_terms": dict(BASIC_COLLECTION_TERMS)},
        {"max_images": 100},
        {"fetch_neurosynth_words": False},
    ],
)
def test_what_the_defaults_say_is_not_written(arguments: dict[str, Any]):
    assert Query.parse(**arguments) == Query.parse()
    assert Query.parse(**arguments).to_arguments() == {}


@given(ARGUMENTS)
@settings(max_examples=150)
def test_a_query_comes_back_from_its_arguments(arguments: dict[str, Any]):
    query = Query.parse(**arguments)
    written = query.to_arguments()
    for again in (
        Query.parse(**through_json(written)),
        Query.parse(**yaml.safe_load(yaml.safe_dump(written))),
        pickle.loads(pickle.dumps(query)),
        copy.deepcopy(query),
    ):
        assert again == query
        assert hash(again) == hash(query)
        assert again.fingerprint() == query.fingerprint()
    assert through_json(query.to_json()) == query.to_json()
    assert "\n" not in query.describe().replace(r"\n", "")


@given(ARGUMENTS, ARGUMENTS)
def test_fingerprints_are_equal_when_queries_are(
    one: dict[str, Any], other: dict[str, Any]
):
    first, second = Query.parse(**one), Query.parse(**other)
    assert (first == second) == (first.fingerprint() == second.fingerprint())


SAME = [
    (
        {"image_terms": {"map_type": ["Z map", "T map"], "age": {"$gt": 1, "$lt": 9}}},
        {"image_terms": {"age": {"$lt": 9, "$gt": 1}, "map_type": ["T map", "Z map"]}},
    ),
    (
        {"image_terms": {"map_type": {"$in": ["Z map"]}}},
        {"image_terms": {"map_type": "Z map"}},
    ),
    (
        {"image_terms": {"$or": [{"sex": "F"}, {"age": 9}]}},
        {"image_terms": {"$or": [{"age": 9.0}, {"sex": {"$eq": "F"}}]}},
    ),
    ({"image_ids": "3"}, {"image_ids": [3, 3.0]}),
    ({"max_images": -1}, {"max_images": None}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_order_and_spelling_of_conditions_make_no_difference(
    one: dict[str, Any], other: dict[str, Any]
):
    assert Query.parse(**one) == Query.parse(**other)
    assert Query.parse(**one).fingerprint() == Query.parse(**other).fingerprint()


DIFFERENT = [
    ({"image_ids": [1, 2]}, {"image_ids": [2, 1]}),
    ({"image_ids": [1]}, {"collection_ids": [1]}),
    ({"image_ids": [1]}, {"image_ids": [1], "max_images": 1}),
    ({}, {"max_images": 99}),
    ({}, {"fetch_neurosynth_words": True}),
    ({"collection_ids": [NAME]}, {"collection_ids": [Token(env="OTHER")]}),
    ({"collection_ids": [LITERAL]}, {"collection_ids": [Token(secret=LETTERS[::-1])]}),
    ({"image_terms": {"x": True}}, {"image_terms": {"x": 1}}),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_what_asks_for_something_else_is_another_query(
    one: dict[str, Any], other: dict[str, Any]
):
    assert Query.parse(**one) != Query.parse(**other)
    assert Query.parse(**one).fingerprint() != Query.parse(**other).fingerprint()


def test_a_fingerprint_is_the_same_in_another_process(tmp_path: Path):
    query = Query.parse(
        image_terms={"map_type": ["Z map", "T map"], "name": {"$regex": "é"}},
        collection_ids=[1, NAME, LITERAL],
    )
    kept = tmp_path / "query.pickle"
    kept.write_bytes(pickle.dumps(query))
    code = (
        "import pathlib, pickle, sys; "
        "query = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()); "
        "print(query.fingerprint())"
    )
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(kept)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == query.fingerprint()


def test_a_literal_token_is_shown_nowhere():
    query = Query.parse(collection_ids=[LETTERS], image_terms={"name": "x"})
    shown = [repr(query), str(query), query.describe(), query.fingerprint()]
    assert LETTERS not in "".join([*shown, json.dumps(query.to_json())])
    with pytest.raises(ArgumentError, match="give 'env:NAME'") as caught:
        query.to_arguments()
    assert LETTERS not in str(caught.value)
    assert pickle.loads(pickle.dumps(query)) == query


def test_the_environment_is_not_needed_to_write_a_query(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("MY_TOKEN", raising=False)
    query = Query.parse(collection_ids="env:MY_TOKEN")
    assert query.to_arguments() == {"collection_ids": ["env:MY_TOKEN"]}
    assert query.to_json()["collection_ids"] == ["env:MY_TOKEN"]
    assert len(query.fingerprint()) == 40


def test_provenance_is_written_in_full():
    written = Query.parse().to_json()
    assert written["max_images"] == 100
    assert written["image_terms"].keys() == BASIC_IMAGE_TERMS.keys()
    assert written["collection_terms"] == dict(BASIC_COLLECTION_TERMS)
    query = Query.parse(**written)
    assert query == Query.parse()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"image_terms": {}, "collection_terms": {}}, "images; at most 100"),
        ({"image_ids": []}, "no images"),
        ({"image_ids": range(1, 9)}, "images 1, 2, 3, 4, 5, …"),
        (
            {"image_ids": 3, "collection_ids": [7, LETTERS, NAME]},
            "images 3; collections 7, (private), env:MY_TOKEN",
        ),
        (
            {"image_terms": {"map_type": "Z map"}, "max_images": None},
            'images; where map_type is "Z map"; in collections where '
            + BASIC_COLLECTIONS.describe(),
        ),
    ],
)
def test_a_query_in_words(arguments: dict[str, Any], words: str):
    assert Query.parse(**arguments).describe() == words


def test_ids_make_a_query_explicit_however_it_is_built():
    query = Query(BASIC_IMAGES, BASIC_COLLECTIONS, image_ids=(3,))
    assert query.explicit
    assert not Query(BASIC_IMAGES, BASIC_COLLECTIONS).explicit


def test_terms_may_be_parsed_already():
    query = Query.parse(image_terms=BASIC_IMAGES, collection_terms=BASIC_COLLECTIONS)
    assert query == Query.parse()


def test_everything_is_found_under_the_module():
    assert set(module.__all__) <= set(dir(module))
