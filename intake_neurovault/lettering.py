"""Text as a terminal shows it: nothing that steers it, and how wide it is."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

__all__ = ["cut", "pad", "printable", "width", "wrapped"]

# NOTE: what joins letters and parts of an emoji is meant to be invisible.
_JOINERS = "\u200c\u200d"
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_NO_ROOM = frozenset({"Mn", "Me", "Cf"})
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_PLAIN = re.compile(r"[ -~]*")


def printable(text: str) -> str:
    r"""Write out what a terminal would obey instead of show.

    Parameters
    ----------
    text : str
        Any text, such as somebody's metadata.

    Returns
    -------
    str
        The same, with control characters, marks that turn the direction of writing
        and halves of characters as Python escapes, so that one line stays one line.

    Examples
    --------
    >>> printable("\x1b[31mred\n")
    '\\x1b[31mred\\n'
    """
    if _PLAIN.fullmatch(text):
        return text
    return "".join(map(_shown, text))


def width(text: str) -> int:
    """Count the columns that printable text takes on a terminal.

    Parameters
    ----------
    text : str
        Printable text.

    Returns
    -------
    int
        Chinese, Japanese and Korean letters and emoji count as two, accents that
        stand above another letter as none.

    Examples
    --------
    >>> width("map"), width("脳"), width("é")
    (3, 2, 1)
    """
    if _PLAIN.fullmatch(text):
        return len(text)
    return sum(map(_columns, text))


def cut(text: str, room: int) -> str:
    """Shorten text to what there is room for.

    Parameters
    ----------
    text : str
        Printable text.
    room : int
        Columns, at least 1.

    Returns
    -------
    str
        The text, or its beginning and "…".

    Examples
    --------
    >>> cut("a long name", 6), cut("short", 6)
    ('a lon…', 'short')
    """
    if width(text) <= room:
        return text
    return text[: _fitting(text, room - 1)].rstrip() + "…"


def pad(text: str, room: int, *, right: bool = False) -> str:
    """Fill text up with blanks.

    Parameters
    ----------
    text : str
        Printable text.
    room : int
        Columns.
    right : bool
        Whether the text stands at the right, as numbers do.

    Returns
    -------
    str
        The text; as it is if there is no room to fill.

    Examples
    --------
    >>> pad("脳", 4), pad("12", 4, right=True)
    ('脳  ', '  12')
    """
    blanks = " " * (room - width(text))
    return blanks + text if right else text + blanks


def wrapped(text: str, room: int) -> list[str]:
    """Break printable text into lines, between words where that is possible.

    Parameters
    ----------
    text : str
        Printable text.
    room : int
        Columns of each line, at least 2.

    Returns
    -------
    list of str
        At least one line. An address without blanks stays in one piece, so that it
        can be copied; any other word that is too long is broken.

    Examples
    --------
    >>> wrapped("faces and houses", 9)
    ['faces and', 'houses']
    >>> wrapped("https://neurovault.org", 9)
    ['https://neurovault.org']
    """
    lines, line, used = [], "", 0
    for word in text.split():
        needed = width(word)
        if line and used + 1 + needed > room:
            lines.append(line)
            line, used = "", 0
        while needed > room and "://" not in word:
            head = word[: max(_fitting(word, room), 1)]
            lines.append(head)
            word = word[len(head) :]
            needed = width(word)
        line = f"{line} {word}" if line else word
        used = width(line)
    return [*lines, line] if line or not lines else lines


def _fitting(text: str, room: int) -> int:
    """Count the characters, from the first on, for which there is room."""
    left = room
    for number, letter in enumerate(text):
        left -= _columns(letter)
        if left < 0:
            return number
    return len(text)


@lru_cache(maxsize=4096)
def _shown(letter: str) -> str:
    if unicodedata.category(letter) not in _HIDDEN or letter in _JOINERS:
        return letter
    code = ord(letter)
    if code < 0x100:
        return _SHORT.get(letter, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@lru_cache(maxsize=4096)
def _columns(letter: str) -> int:
    if unicodedata.category(letter) in _NO_ROOM:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
