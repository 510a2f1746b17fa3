"""Neurosynth's decoder: addresses, and answers that are checked."""

from __future__ import annotations

import math

import pytest

from intake_neurovault.errors import AnswerError, ArgumentError
from intake_neurovault.neurosynth import check_words, words_request


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "motor",
        {},
        {"data": None},
        {"data": {"values": {}}},
        {"data": {"values": ["motor"]}},
        {"data": {"values": {"motor": None}}},
        {"data": {"values": {"motor": "0.3"}}},
        {"data": {"values": {"motor": True}}},
        {"data": {"values": {"motor": math.nan}}},
    ],
)
def test_what_is_no_answer(answer: object) -> None:
    with pytest.raises(AnswerError, match="image 7 holds no words; leave fetch_neuro"):
        check_words(answer, "image 7")


def test_numbers_become_floats() -> None:
    assert check_words({"data": {"values": {"motor": 1}}}, "image 7") == {"motor": 1.0}


def test_an_address_needs_a_scheme() -> None:
    with pytest.raises(ArgumentError, match=r"words_url='neurosynth.org' must begin"):
        words_request("neurosynth.org", 3)
