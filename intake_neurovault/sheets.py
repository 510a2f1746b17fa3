"""Sheets of facts: sections with rows of names and values, as text and as HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from intake_neurovault.lettering import pad, printable, width, wrapped

__all__ = ["Row", "Section", "sheet_html", "sheet_text"]

# NOTE: wide enough for a third column with what each field says.
_ROOMY = 120
_LEAST = 20  # columns of a value
_WEB = re.compile(r"https?://[^\s\"'<>]+")


@dataclass(frozen=True)
class Row:
    """One thing that is known."""

    name: str
    """The field, or what it is."""
    value: str
    """Its value, as people read it."""
    note: str = ""
    """What the field says, and in which unit."""
    whole: bool = False
    """Whether the value must stay in one piece, as a path does."""


@dataclass(frozen=True)
class Section:
    """What belongs together."""

    title: str
    """What it is about."""
    rows: tuple[Row, ...]
    """What is known."""


def sheet_text(sections: Sequence[Section], room: int = 80) -> str:
    """Write sections as text.

    Parameters
    ----------
    sections : sequence of Section
        The sections, each with a row at least.
    room : int
        Columns of a line; from 120 on, the notes stand beside the values. Addresses
        and what must stay in one piece may be longer.

    Returns
    -------
    str
        Lines; nothing in them steers a terminal.

    Examples
    --------
    >>> print(sheet_text([Section("Image 3", (Row("age", "31 years"),))]))
    Image 3
      age  31 years
    """
    lines: list[str] = []
    for part in sections:
        lines += [""] * bool(lines) + wrapped(printable(part.title), room)
        lines += _lines(part.rows, room)
    return "\n".join(lines)


def sheet_html(sections: Sequence[Section]) -> str:
    """Write sections as a table for a notebook.

    Parameters
    ----------
    sections : sequence of Section
        The sections.

    Returns
    -------
    str
        HTML, with all text escaped, web addresses as links, and the notes shown
        where the mouse points.

    Examples
    --------
    >>> "<td>" in sheet_html([Section("Image 3", (Row("task", "<td>"),))])
    False
    """
    body = "".join(map(_html, sections))
    return f'<table class="intake-neurovault-sheet"><tbody>{body}</tbody></table>'


def _lines(rows: Sequence[Row], room: int) -> Iterator[str]:
    widest = max(width(printable(row.name)) for row in rows)
    names = min(widest, max(room - 4 - _LEAST, _LEAST))
    left = max(room - names - 4, _LEAST)
    noted = room >= _ROOMY and any(row.note for row in rows)
    notes = left * 2 // 5 if noted else 0
    for row in rows:
        inside = left - notes - 2 * bool(notes)
        value = [printable(row.value)] if row.whole else _broken(row.value, inside)
        beside = wrapped(row.note, notes) if notes and row.note else []
        for number in range(max(len(value), len(beside))):
            first = pad(printable(row.name) if number == 0 else "", names)
            text = value[number] if number < len(value) else ""
            note = beside[number] if number < len(beside) else ""
            text = pad(text, inside + 2) if note else text
            yield f"  {first}  {text}{note}".rstrip()


def _broken(value: str, room: int) -> list[str]:
    """Break a value into lines, at its own line ends first."""
    lines = [wrapped(printable(line), room) for line in value.splitlines()]
    return [line for some in lines for line in some] or [""]


def _html(part: Section) -> str:
    rows = "".join(
        f'<tr title="{escape(printable(row.note))}"><th style="text-align: left">'
        f'{escape(printable(row.name))}</th><td style="text-align: left">'
        f"{_linked(row.value)}</td></tr>"
        for row in part.rows
    )
    title = escape(printable(part.title))
    return f'<tr><th colspan="2" style="text-align: left">{title}</th></tr>{rows}'


def _linked(value: str) -> str:
    """Escape a value for a page, with its web addresses as links."""
    done, pieces = 0, []
    for match in _WEB.finditer(value):
        url = escape(printable(match[0]))
        pieces += [_for_page(value[done : match.start()]), f'<a href="{url}">{url}</a>']
        done = match.end()
    return "".join([*pieces, _for_page(value[done:])])


def _for_page(text: str) -> str:
    lines = text.split("\n")
    return "<br>".join(escape(printable(line)) for line in lines)
