"""Modes and ages as a user may write them."""

from __future__ import annotations

import math

import pytest

from intake_neurovault.errors import ArgumentError
from intake_neurovault.modes import parse_age, parse_mode


@pytest.mark.parametrize(
    ("age", "seconds"),
    [
        (0, 0),
        (90, 90),
        (0.5, 0.5),
        ("90", 90),
        ("30s", 30),
        ("5min", 300),
        ("12h", 43200),
        ("1d", 86400),
        (" 1.5 D ", 129600),
        ("2w", 1209600),
        (None, math.inf),
        (math.inf, math.inf),
    ],
)
def test_ages(age: object, seconds: float) -> None:
    assert parse_age(age) == seconds


@pytest.mark.parametrize("age", ["", "d", "soon", "1 month", -1, "-1d", True, math.nan])
def test_what_is_no_age(age: object) -> None:
    with pytest.raises(ArgumentError, match=r"metadata_ttl=.* is not an age: pass sec"):
        parse_age(age)


@pytest.mark.parametrize("mode", ["download_new", "overwrite", "offline", "update"])
def test_modes(mode: str) -> None:
    assert parse_mode(mode) == mode


@pytest.mark.parametrize("mode", ["bad", None, "", "OFFLINE", 3])
def test_what_is_no_mode(mode: object) -> None:
    with pytest.raises(ArgumentError, match=r"'mode' must be one of 'download_new'"):
        parse_mode(mode)
