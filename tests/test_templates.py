"""Text survives intake's templates, whatever it holds."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from intake.catalog.utils import expand_templates
from intake.readers.entry import Catalog, ReaderDescription
from intake.readers.user_parameters import set_values

from intake_neurovault.errors import ArgumentError
from intake_neurovault.templates import formatted, templated

PIECES = (
    *("{{", "}}", "{%", "%}", "{#", "#}", "{", "}", "'", '"', "\\", "\n", "\r\n", "\t"),
    *("raw", "endraw", " env(HOME) ", "func(os:getcwd)", "data(x)", "a.b", "0", "!r"),
    *("🧠", "é", "\u2028", "\x00", "\x85", "-%}", "{{-"),
)
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3))).map("".join)
VALUES = st.recursive(
    st.one_of(
        TEXTS, st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)


def texts_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value
    return (
        [text for each in inner for text in texts_in(each)]
        if isinstance(inner, list | type({}.values()))
        else []
    )


@given(value=VALUES)
def test_the_first_version_gives_back_what_was_written(value: Any) -> None:
    assert expand_templates({"x": templated(value)}, {}) == {"x": value}


@given(value=VALUES)
def test_the_second_version_gives_back_what_was_written_or_refuses(value: Any) -> None:
    try:
        written = formatted(value)
    except ArgumentError:
        starts = [text.removeprefix("{")[:5] for text in texts_in(value)]
        assert "data(" in starts
        return
    assert set_values({}, {"x": written}) == {"x": value}
    entry = ReaderDescription("builtins:dict", kwargs={"x": written})
    cat = Catalog(entries={"mine": entry})
    rehydrated = cat._rehydrate(entry)
    assert set_values({}, rehydrated.kwargs) == {"x": value}


@pytest.mark.parametrize("text", ["a{2,3}", r"\d{4}", "plain", "{ x }", "50 %}"])
def test_ordinary_text_stays_readable_in_the_first_version(text: str) -> None:
    assert templated([text]) == [text]


@pytest.mark.parametrize("text", ["x\n", "{{ 7 * 7 }}", "{% raw %}", "{# no #}"])
def test_yaml_keeps_the_templates(text: str) -> None:
    written = yaml.safe_load(yaml.safe_dump({"x": templated(text)}))
    assert written["x"] != text
    assert expand_templates(written, {}) == {"x": text}
