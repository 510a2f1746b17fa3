from __future__ import annotations

import copy
import pickle
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.errors import ArgumentError
from intake_neurovault.refs import (
    CollectionRef,
    Token,
    parse_collection_ref,
    parse_id,
    parse_many,
    shown,
    unboxed,
)

EIGHT = "ABCDEFGH"


@pytest.mark.parametrize(
    "value",
    [
        123,
        123.0,
        "123",
        " 123\n",
        "0123",
        np.int64(123),
        np.uint8(123),
        np.float32(123),
        np.array(123),
        xr.DataArray(123),
    ],
)
def test_ids_in_all_their_spellings(value: object):
    found = parse_id(value)
    assert found == 123
    assert type(found) is int


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.True_,
        None,
        0,
        -1,
        2**63,
        123.5,
        float("nan"),
        float("inf"),
        np.nan,
        "",
        "abc",
        "12.0",
        "1e3",
        "+5",
        "-5",
        "１２",
        "1,2",
        "9" * 5000,
        b"123",
        [1],
        np.array([1]),
        Decimal(3),
        pd.NA,
        {"id": 1},
    ],
    ids=repr,
)
def test_what_is_no_id_is_refused(value: object):
    with pytest.raises(ArgumentError, match="is not an id: an image id must be"):
        parse_id(value)


def test_a_refusal_names_the_value_and_what_it_is_for():
    with pytest.raises(ArgumentError, match=r"^'abc' is not an id: this must be a "):
        parse_id("abc", "this")


def test_an_argument_error_is_a_value_error():
    with pytest.raises(ValueError, match="'x' is not an id"):
        parse_id("x")


@given(st.integers(1, 2**63 - 1))
def test_every_id_is_read_from_number_and_text(number: int):
    assert parse_id(number) == parse_id(str(number)) == number


@pytest.mark.parametrize("value", [3, "3", None, [3], np.array([3])])
def test_unboxed_leaves_alone_what_is_in_no_box(value: object):
    assert unboxed(value) is value


@pytest.mark.parametrize(
    "text",
    [
        EIGHT,
        f"{EIGHT}-8",
        f"https://neurovault.org/collections/{EIGHT}/",
        "abcdefgh",
    ],
)
def test_a_message_shows_nothing_like_a_token(text: str):
    assert "bcdefg" not in shown(text).lower()
    for parse in (parse_id, Token.parse, parse_collection_ref):
        if parse is not parse_id and text == EIGHT:
            continue
        with pytest.raises(ArgumentError, match=r"\w") as caught:
            parse(text)
        assert "bcdefg" not in str(caught.value).lower()
        assert "bcdefg" not in str(caught.value.__context__).lower()


def test_a_long_value_is_cut_short_in_a_message():
    assert len(shown("1 " * 1000)) == 60


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("env:NAME", Token(env="NAME")),
        (" ENV: my_name2 ", Token(env="my_name2")),
        (EIGHT, Token(secret=EIGHT)),
        (f" {EIGHT}\n", Token(secret=EIGHT)),
    ],
)
def test_a_token_is_read_from_text(text: str, token: Token):
    assert Token.parse(text) == token
    assert parse_collection_ref(text) == token


@pytest.mark.parametrize("text", ["env:", "env:two words", "env:1ST", "env:A-B"])
def test_a_name_that_no_variable_can_have(text: str):
    with pytest.raises(ArgumentError, match="cannot be the name of an environment"):
        Token.parse(text)


@pytest.mark.parametrize("text", ["", "SHORT", "ABCDEFGHI", "ABCDEFG1", "ÄBCDEFGH"])
def test_a_secret_is_eight_capitals(text: str):
    with pytest.raises(ArgumentError, match="must be eight capitals"):
        Token(secret=text)


@pytest.mark.parametrize("given_fields", [{}, {"env": "NAME", "secret": EIGHT}])
def test_a_token_has_one_origin(given_fields: dict[str, str]):
    with pytest.raises(ArgumentError, match="either env= or secret="):
        Token(**given_fields)


def test_the_environment_is_read_when_the_secret_is_revealed(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("NV_TOKEN", raising=False)
    token = Token.parse("env:NV_TOKEN")
    with pytest.raises(ArgumentError, match=r"NV_TOKEN, which should hold .* not set"):
        token.reveal()
    monkeypatch.setenv("NV_TOKEN", f" {EIGHT} ")
    assert token.reveal() == EIGHT
    monkeypatch.setenv("NV_TOKEN", "wrongone")
    with pytest.raises(ArgumentError, match="does not hold the token") as caught:
        token.reveal()
    assert "wrongone" not in str(caught.value)


def test_a_token_never_shows_its_secret():
    token = Token(secret=EIGHT)
    for text in (repr(token), str(token), f"{token}", f"{[token]}", f"{token!a}"):
        assert EIGHT not in text


def test_only_a_name_can_be_written_down():
    assert Token(env="NAME").to_json() == "env:NAME"
    with pytest.raises(ArgumentError, match="give 'env:NAME' in collection_ids"):
        Token(secret=EIGHT).to_json()


@pytest.mark.parametrize("token", [Token(env="NAME"), Token(secret=EIGHT)])
def test_tokens_are_values(token: Token):
    for other in (pickle.loads(pickle.dumps(token)), copy.deepcopy(token)):
        assert other == token
        assert hash(other) == hash(token)
    assert token != Token(secret=EIGHT[::-1])


@pytest.mark.parametrize(
    ("value", "ref"),
    [
        (1952, 1952),
        ("1952", 1952),
        (1952.0, 1952),
        (np.int32(1952), 1952),
        (Token(env="NAME"), Token(env="NAME")),
    ],
)
def test_what_names_a_collection(value: object, ref: CollectionRef):
    assert parse_collection_ref(value) == ref


@pytest.mark.parametrize("value", ["abc", True, None, -1, 1.5, "", "1,2", [1]])
def test_what_names_no_collection(value: object):
    with pytest.raises(ArgumentError, match="does not name a collection; give its id"):
        parse_collection_ref(value)


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (None, None),
        ([], ()),
        ((), ()),
        ("[]", ()),
        (123, (123,)),
        ("123", (123,)),
        (123.0, (123,)),
        ([3, 1, "2", 3.0, 1], (3, 1, 2)),
        ((5, 4), (5, 4)),
        ({30, 4, 200}, (4, 30, 200)),
        (frozenset({"30", 4}), (4, 30)),
        (range(3, 6), (3, 4, 5)),
        (iter([2, 1]), (2, 1)),
        ({7: "a", 6: "b"}.keys(), (7, 6)),
        (np.array([3, 1]), (3, 1)),
        (np.array(5), (5,)),
        (np.array([3.0, 1.0]), (3, 1)),
        (pd.Series([3, 1, 3]), (3, 1)),
        (pd.Index([3, 1]), (3, 1)),
        (xr.DataArray([3, 1], dims="image"), (3, 1)),
        ("[3, 1]", (3, 1)),
        ("3, 1", (3, 1)),
        ("['3', \"1\"]", (3, 1)),
        ("(3,)", (3,)),
    ],
    # NOTE: some have another repr in each process.
    ids=lambda value: type(value).__name__,
)
def test_one_or_many(value: object, ids: tuple[int, ...] | None):
    found = parse_many(value, parse_id, "image_ids")
    assert found == ids
    assert all(type(one) is int for one in found or ())


@pytest.mark.parametrize(
    "value",
    ["1 2", b"12", [1, None], [[1, 2]], ["abc"], [True], pd.Series([1.0, np.nan])],
    ids=repr,
)
def test_many_of_which_one_is_wrong(value: object):
    with pytest.raises(ArgumentError, match="is not an id"):
        parse_many(value, parse_id, "image_ids")


def test_a_mapping_names_nothing():
    with pytest.raises(ArgumentError, match="image_ids takes ids, not a mapping"):
        parse_many({"id": 3}, parse_id, "image_ids")


def test_a_set_of_collections_has_an_order_of_its_own():
    refs: set[Any] = {Token(env="B"), 7, Token(env="A"), 30}
    found = parse_many(refs, parse_collection_ref, "collection_ids")
    assert found == (Token(env="A"), Token(env="B"), 7, 30)


@given(st.lists(st.integers(1, 50)))
def test_each_once_in_order(numbers: list[int]):
    found = parse_many(numbers, parse_id, "image_ids")
    assert list(found or ()) == sorted(set(numbers), key=numbers.index)
    assert parse_many(str(numbers), parse_id, "image_ids") == found
