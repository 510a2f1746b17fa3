"""Tables as text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.lettering import printable, width
from intake_neurovault.text_tables import fitted, tabbed

TEXTS = st.text(max_size=30)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
TABLES = st.integers(1, 5).flatmap(
    lambda columns: st.tuples(
        st.lists(TEXTS, min_size=columns, max_size=columns),
        st.lists(st.lists(VALUES, min_size=columns, max_size=columns), max_size=5),
    )
)


@given(TABLES, st.integers(60, 200))
def test_a_fitted_table_fits(table: tuple[Any, Any], room: int) -> None:
    names, rows = table
    lines, left_out = fitted(names, rows, room)
    assert len(lines) == len(rows) + 1
    assert 0 <= left_out < len(names)
    if left_out < len(names) - 1:
        assert max(map(width, lines)) <= room
    assert [line for line in lines if line != printable(line)] == []


def test_numbers_stand_at_the_right_and_whole() -> None:
    names = ["id", "number_of_subjects", "name"]
    lines, _ = fitted(names, [[3, 20, "faces " * 9], [10426, None, "rest"]], 40)
    assert lines == [
        "   id  number_of…  name",
        "    3          20  faces faces faces fa…",
        "10426              rest",
    ]


def test_what_fits_is_not_cut() -> None:
    lines, left_out = fitted(["number_of_subjects"], [[20]], 18)
    assert (lines, left_out) == (["number_of_subjects", "                20"], 0)


def test_wide_letters_are_counted() -> None:
    lines, _ = fitted(["name", "id"], [["脳の地図", 3], ["map", 12]], 80)
    assert lines == ["name      id", "脳の地図   3", "map       12"]


def test_columns_without_room_are_counted() -> None:
    names = [f"a long name {number}" for number in range(9)]
    lines, left_out = fitted(names, [["x"] * 9], 34)
    assert (lines[0].count("a long na…"), left_out) == (3, 6)


@pytest.mark.parametrize(
    ("value", "shown", "written"),
    [
        (None, "", ""),
        (True, "yes", "true"),
        (0.1 + 0.2, "0.3", "0.30000000000000004"),
        ("two\nlines", "two lines", "two\\nlines"),
        ("\x1b[31mred", "\\x1b[31mred", "\\x1b[31mred"),
        ([1, float("nan")], "[1, null]", "[1, null]"),
        ({"a": "b"}, '{"a": "b"}', '{"a": "b"}'),
    ],
)
def test_values(value: object, shown: str, written: str) -> None:
    assert fitted(["x"], [[value]], 80)[0][1].strip() == shown
    assert list(tabbed([[value]])) == [written]


@given(TABLES)
def test_another_program_reads_the_same_table(table: tuple[Any, Any]) -> None:
    names, rows = table
    lines = list(tabbed([names, *rows]))
    assert [line.count("\t") + 1 for line in lines] == [len(names)] * (len(rows) + 1)
    assert lines[0].split("\t") == [printable(name) for name in names]
    assert [line for line in lines if len(line.splitlines()) > 1] == []
