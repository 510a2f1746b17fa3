"""nilearn's page with a title, and nothing that is loaded."""

from __future__ import annotations

import re
from html import unescape

from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.framing import dressed, room_above

PAGE = """<html><head><title>Nilearn - Slice
viewer</title><link rel="icon" href="https://example.org/icon.ico" />
<link rel="stylesheet" href="data:text/css,"></head><body class="a"><p>map</p></body>"""


@given(st.text())
def test_any_title_is_text(title: str) -> None:
    page = dressed(PAGE, title)
    if title:
        assert unescape(page).count(title) >= 2
        assert unescape(re.findall("<p style=[^>]*>(.*?)</p>", page, re.DOTALL)[0])
    assert page.count("<") == dressed(PAGE, "title").count("<") - 2 * (not title)


def test_only_the_icon_is_taken_away() -> None:
    page = dressed(PAGE, "")
    assert "icon.ico" not in page
    assert 'rel="stylesheet"' in page
    assert "<title>NeuroVault</title>" in page
    assert page.index('<body class="a"><style>') < page.index("<p>map</p>")


@given(st.text(min_size=1), st.integers(200, 2000))
def test_a_title_has_room(title: str, pixels: int) -> None:
    assert room_above(title, pixels) >= 20
    assert room_above(title * 2, pixels) >= room_above(title, pixels)
