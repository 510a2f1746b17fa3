"""Titles of pictures: what they say, and that they fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.captions import drawable, fitted, folded, room_for, title_of
from intake_neurovault.lettering import width


@pytest.mark.parametrize(
    ("number", "name", "title"),
    [
        (3, "faces", "3: faces"),
        (3, None, "3"),
        (3, " \n ", "3"),
        (None, "faces", "faces"),
        (None, None, ""),
        ("run", "a\u202eb\x00", r"run: a\u202eb\x00"),
    ],
)
def test_a_title_is_number_and_name(number: object, name: object, title: str) -> None:
    assert title_of(number, name) == title


@given(st.text(), st.integers(0, 10**9))
def test_a_title_is_one_line_without_what_steers(name: str, number: int) -> None:
    title = title_of(number, name)
    assert title.startswith(str(number))
    assert len(title.splitlines()) == 1
    assert "  " not in title


@given(st.text(), st.sets(st.integers(0, 0x3000)))
def test_only_letters_of_the_typeface_are_drawn(text: str, letters: set[int]) -> None:
    shown = drawable(text, letters)
    assert {ord(each) for each in shown} <= letters | {ord("□"), ord("\\"), ord("$")}
    assert shown.count("$") == shown.count(r"\$")


@given(st.text(st.characters(categories=["L", "Nd"]), min_size=1), st.floats(0.5, 15))
def test_a_line_fits_its_place(text: str, inches: float) -> None:
    line, size = fitted(text, inches)
    assert 8 <= size <= 15
    assert width(line) <= room_for(inches, size)
    assert line.removesuffix("…").rstrip() in text


@given(st.text(), st.floats(0.5, 15), st.integers(1, 4))
def test_lines_are_no_more_than_there_may_be(
    text: str, inches: float, lines: int
) -> None:
    found = folded(title_of(1, text), inches, 8, lines=lines).split("\n")
    assert 1 <= len(found) <= lines


def test_what_does_not_fit_ends_in_an_ellipsis() -> None:
    text = "faces minus houses of twenty-four people"
    assert folded(text, 1, 8) == "faces minus\nhouses of twen…"
    assert folded(text, 9, 8) == text
