from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.errors import ArgumentError, UnknownArgumentError
from intake_neurovault.parameters import (
    BASIC_COLLECTION_TERMS,
    BASIC_IMAGE_TERMS,
    DEFAULT_MAX_IMAGES,
    DEFAULTS,
    parse_cap,
    parse_room,
    parse_switch,
    reject_unknown,
)


def test_the_default_cap_is_a_hundred_that_nobody_typed():
    typed = 100
    assert typed == DEFAULT_MAX_IMAGES
    assert typed is not DEFAULT_MAX_IMAGES
    assert repr(DEFAULT_MAX_IMAGES) == "100"
    assert hash(DEFAULT_MAX_IMAGES) == hash(100)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_default_cap_stays_itself(protocol: int):
    assert pickle.loads(pickle.dumps(DEFAULT_MAX_IMAGES, protocol)) is (
        DEFAULT_MAX_IMAGES
    )
    assert copy.copy(DEFAULT_MAX_IMAGES) is DEFAULT_MAX_IMAGES
    assert copy.deepcopy({"max_images": DEFAULT_MAX_IMAGES})["max_images"] is (
        DEFAULT_MAX_IMAGES
    )


def test_defaults_are_complete_ordered_and_frozen():
    names = ", ".join(DEFAULTS)
    assert names == (
        "image_terms, collection_terms, image_ids, collection_ids, max_images, "
        "frozen, grid, interpolation, nan, fill_value, chunks, mode, data_dir, "
        "keep_gridded, metadata_ttl, url, trusted_hosts, timeout, retries, workers, "
        "errors, progress, fetch_neurosynth_words, words_url"
    )
    assert DEFAULTS["max_images"] is DEFAULT_MAX_IMAGES
    with pytest.raises(TypeError, match="does not support item assignment"):
        DEFAULTS["grid"] = None


@pytest.mark.parametrize("terms", [BASIC_IMAGE_TERMS, BASIC_COLLECTION_TERMS])
def test_basic_terms_are_plain_data(terms: dict[str, object]):
    assert yaml.safe_load(yaml.safe_dump(dict(terms))) == dict(terms)
    with pytest.raises(TypeError, match="does not support item assignment"):
        terms["name"] = "x"


@pytest.mark.parametrize("names", [[], list(DEFAULTS), ["grid"]])
def test_known_arguments_pass(names: list[str]):
    assert reject_unknown(names, where="search()") is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "max_image",
            r"^search\(\) has no argument 'max_image'; did you mean 'max_images'\?$",
        ),
        ("collection_id", "did you mean 'collection_ids'"),
        ("resample", "'resample'; choose the grid with grid="),
        ("image_filter", "'image_filter'; give conditions on images, or a function"),
        ("collection_filter", "give conditions on collections as collection_terms"),
        ("verbose", "use the logger 'intake_neurovault'"),
        ("vectorize_words", "words are always vectorised"),
        ("qqq", r"it has image_terms, collection_terms, .*words_url\.$"),
    ],
)
def test_unknown_arguments_are_refused(name: str, message: str):
    with pytest.raises(UnknownArgumentError, match=message):
        reject_unknown(["grid", name], where="search()")
    with pytest.raises(TypeError, match=name):
        reject_unknown([name], where="search()")


def test_other_arguments_may_be_known():
    known = ["url", "resample"]
    assert reject_unknown(["resample"], known, where="neurovault") is None
    with pytest.raises(UnknownArgumentError, match=r"^neurovault has .* mean 'url'\?"):
        reject_unknown(["urls"], iter(known), where="neurovault")


@pytest.mark.parametrize(
    ("value", "cap"),
    [
        (None, None),
        (-1, None),
        (-1.5, None),
        (math.inf, None),
        (-math.inf, None),
        (np.inf, None),
        ("none", None),
        (" None ", None),
        ("null", None),
        ("inf", None),
        ("-1", None),
        (0, 0),
        ("0", 0),
        (100, 100),
        (100.0, 100),
        (" 20 ", 20),
        (np.int64(5), 5),
        (np.float32(5), 5),
        (np.array(5), 5),
        (DEFAULT_MAX_IMAGES, 100),
    ],
    ids=repr,
)
def test_caps(value: object, cap: int | None):
    found = parse_cap(value)
    assert found == cap
    assert type(found) is type(cap)


@pytest.mark.parametrize(
    "value",
    [2.5, math.nan, True, False, np.True_, "", "abc", "2.5", "9" * 30, [5], b"5", {}],
    ids=repr,
)
def test_what_is_no_cap(value: object):
    with pytest.raises(ArgumentError, match=r"max_images=.* is not a whole number"):
        parse_cap(value)


@given(st.integers(0, 10**17))
def test_a_cap_is_read_from_number_and_text(number: int):
    assert parse_cap(number) == parse_cap(str(number)) == number
    assert parse_cap(-number - 1) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (False, False),
        ("true", True),
        (" FALSE ", False),
        (np.True_, True),
        (np.False_, False),
    ],
)
def test_switches(value: object, expected: bool):
    assert parse_switch(value, "on") is expected


@pytest.mark.parametrize("value", [None, 1, 0, "yes", "", [True], 1.0])
def test_what_is_no_switch(value: object):
    with pytest.raises(ArgumentError, match=r"^on=.* is neither True nor False\.$"):
        parse_switch(value, "on")


@pytest.mark.parametrize(
    ("given", "bytes_"),
    [
        (None, 20 * 10**9),
        (" ", 20 * 10**9),
        (True, 20 * 10**9),
        (" True ", 20 * 10**9),
        (np.True_, 20 * 10**9),
        (False, 0),
        ("false", 0),
        (0, 0),
        ("0 GB", 0),
        (1, 1),
        (5e9, 5 * 10**9),
        (np.int64(7), 7),
        ("1000", 1000),
        ("50 GB", 50 * 10**9),
        ("50gb", 50 * 10**9),
        ("1.5 kB", 1500),
        ("2 MiB", 2 * 2**20),
        ("1 TB", 10**12),
        ("12 B", 12),
    ],
)
def test_how_much_is_kept_is_understood(given: object, bytes_: int):
    assert parse_room(given) == bytes_


@pytest.mark.parametrize(
    "given",
    [-1, math.nan, math.inf, "much", "50 G", "-1 GB", "GB", [20], {}, b"1", "1e9"],
)
def test_sizes_that_make_no_sense_are_refused(given: object):
    with pytest.raises(ArgumentError, match=r"^keep_gridded=.* nor a size; write"):
        parse_room(given)


@pytest.mark.parametrize(
    ("variable", "bytes_"), [("2 GB", 2 * 10**9), ("false", 0), ("0", 0), (" ", 2e10)]
)
def test_the_environment_says_how_much_is_kept(
    variable: str, bytes_: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("INTAKE_NEUROVAULT_KEEP_GRIDDED", variable)
    assert parse_room(None) == bytes_
    assert parse_room(True) == 20 * 10**9
    assert parse_room("3 GB") == 3 * 10**9


def test_a_variable_that_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("INTAKE_NEUROVAULT_KEEP_GRIDDED", "lots")
    with pytest.raises(ArgumentError, match="INTAKE_NEUROVAULT_KEEP_GRIDDED='lots'"):
        parse_room(None)
