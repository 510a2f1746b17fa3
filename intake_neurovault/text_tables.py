"""Tables of values as text: fitted to a terminal, or in full for another program."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from intake_neurovault.lettering import cut, pad, printable, width
from intake_neurovault.strictness import strict

__all__ = ["fitted", "tabbed"]

_GAP = 2
_LEAST = 10  # columns of text that is cut, or of the name above numbers


def fitted(
    names: Sequence[str], rows: Sequence[Sequence[object]], room: int
) -> tuple[list[str], int]:
    r"""Write a table that fits a terminal.

    Parameters
    ----------
    names : sequence of str
        The columns, at least one.
    rows : sequence of sequence
        A value for each column; None is left blank.
    room : int
        Columns of the terminal.

    Returns
    -------
    lines : list of str
        The head and the rows, each no wider than the terminal: numbers at the right
        and whole, text cut where it must be.
    left_out : int
        How many columns, from the last on, there was no room for at all.

    Examples
    --------
    >>> lines, _ = fitted(["id", "name"], [[3, "faces against houses"]], 16)
    >>> print("\n".join(lines))
    id  name
     3  faces again…
    """
    cells = [[_shown(value) for value in row] for row in rows]
    numeric = [_are_numbers(row[i] for row in rows) for i in range(len(names))]
    heads = [printable(name) for name in names]
    widest = [
        max(map(width, (head, *(row[i] for row in cells))))
        for i, head in enumerate(heads)
    ]
    least = [
        max(min(each, _LEAST), *(width(row[i]) for row in cells))
        if numeric[i] and cells
        else min(each, _LEAST)
        for i, each in enumerate(widest)
    ]
    kept = _kept(least, room)
    widths = _widths(widest[:kept], least[:kept], numeric, room)
    lines = [
        (" " * _GAP)
        .join(
            pad(cut(text, each), each, right=right)
            for text, each, right in zip(line, widths, numeric, strict=False)
        )
        .rstrip()
        for line in (heads, *cells)
    ]
    return lines, len(names) - kept


def tabbed(rows: Sequence[Sequence[object]]) -> Iterator[str]:
    r"""Write rows for another program: in full, between tabs.

    Parameters
    ----------
    rows : sequence of sequence
        The values; None is empty, truth values are true and false, and lists are
        JSON.

    Yields
    ------
    str
        One line for each row; a tab or line end within a value is written ``\t``,
        ``\n``.

    Examples
    --------
    >>> list(tabbed([[3, None, "a name", True]]))
    ['3\t\ta name\ttrue']
    """
    for row in rows:
        yield "\t".join(printable(_written(value)) for value in row)


def _are_numbers(values: Iterator[object]) -> bool:
    given = [value for value in values if value is not None]
    return bool(given) and all(
        isinstance(value, int | float) and not isinstance(value, bool)
        for value in given
    )


def _kept(least: Sequence[int], room: int) -> int:
    """Tell for how many columns there is room when all are as narrow as can be."""
    used = -_GAP
    for number, each in enumerate(least):
        used += each + _GAP
        if used > room:
            return max(number, 1)
    return len(least)


def _widths(
    widest: Sequence[int], least: Sequence[int], numeric: Sequence[bool], room: int
) -> list[int]:
    """Narrow names above numbers, then the widest texts, until the table fits."""
    free = max(room - _GAP * (len(widest) - 1), 1)
    if sum(widest) <= free:
        return list(widest)
    each = list(zip(widest, least, numeric, strict=False))
    wanted = [narrow if number else wide for wide, narrow, number in each]
    for most in range(max(wanted), 0, -1):
        widths = [
            max(min(wide, most), narrow)
            for wide, narrow in zip(wanted, least, strict=True)
        ]
        if sum(widths) <= free:
            return widths
    return [min(narrow, free) for narrow in least]


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return printable(" ".join(_written(value).split()))


def _written(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    plain = strict(value)
    return plain if isinstance(plain, str) else json.dumps(plain)
