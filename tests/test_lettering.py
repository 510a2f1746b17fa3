"""Text as a terminal shows it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.lettering import cut, pad, printable, width, wrapped

ANY_TEXT = st.text(st.characters(), max_size=60)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Émotion 脳", "Émotion 脳"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("two\nlines\tand\r\x07", "two\\nlines\\tand\\r\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202efdp.exe", "\\u202efdp.exe"),
        ("half \ud83d", "half \\ud83d"),
        ("\u2028", "\\u2028"),
        ("\U000e0041", "\\U000e0041"),
        ("👩\u200d🔬", "👩\u200d🔬"),
    ],
)
def test_nothing_steers_the_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(ANY_TEXT)
def test_what_is_printable_stays_so(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert not {unicodedata.category(letter) for letter in shown} & {"Cc", "Cs", "Zl"}
    assert shown.encode().decode() == shown


@given(ANY_TEXT, st.integers(1, 30))
def test_what_is_cut_fits(text: str, room: int) -> None:
    shown = printable(text)
    short = cut(shown, room)
    assert width(short) <= room
    if width(shown) <= room:
        assert short == shown
    else:
        assert short.endswith("…")
        assert shown.startswith(short[:-1])


@given(ANY_TEXT, st.integers(1, 30), st.booleans())
def test_what_is_padded_fills_the_room(text: str, room: int, right: bool) -> None:
    shown = printable(text)
    assert width(pad(shown, room, right=right)) == max(room, width(shown))


@given(ANY_TEXT, st.integers(2, 30))
def test_wrapping_loses_no_letter(text: str, room: int) -> None:
    shown = printable(text).replace("://", "")
    lines = wrapped(shown, room)
    assert lines
    assert max(map(width, lines)) <= room
    assert "".join("".join(lines).split()) == "".join(shown.split())


def test_wide_letters_count_twice_and_accents_not() -> None:
    assert width("脳地図") == 6
    assert width("e\u0301") == 1
    assert cut("脳地図", 4) == "脳…"
    assert wrapped("脳地図脳地図", 4) == ["脳地", "図脳", "地図"]


def test_addresses_stay_in_one_piece() -> None:
    url = "https://neurovault.org/media/images/658/image_10426.nii.gz"
    assert wrapped(f"see {url}", 20) == ["see", url]
