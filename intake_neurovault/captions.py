"""What stands on pictures: titles that fit, with letters that can be drawn."""

from __future__ import annotations

from collections.abc import Container

from intake_neurovault.lettering import cut, printable, width, wrapped

__all__ = ["drawable", "fitted", "folded", "title_of"]

_POINTS = 72  # in an inch
# NOTE: measured on matplotlib's own typeface, for names as they are on NeuroVault.
_BREADTH = 0.58  # of a letter, in its height


def title_of(number: object, name: object) -> str:
    r"""Name an image in one line.

    Parameters
    ----------
    number : object
        Its id; None where it is not known.
    name : object
        What somebody called it; None, or nothing but blanks, if nobody did.

    Returns
    -------
    str
        ``"id: name"``, or as much of it as there is; one line, and nothing in it that
        turns or hides text.

    Examples
    --------
    >>> title_of(10426, "left  vs\nright"), title_of(3, None)
    ('10426: left vs right', '3')
    """
    texts = (
        "" if part is None else " ".join(str(part).split()) for part in (number, name)
    )
    return ": ".join(printable(text) for text in texts if text)


def drawable(text: str, letters: Container[int]) -> str:
    r"""Write text so that matplotlib draws it as it is.

    Parameters
    ----------
    text : str
        One line.
    letters : container of int
        The code points that the typeface has.

    Returns
    -------
    str
        The text, where dollars begin no formula, and a box stands for each letter
        that the typeface lacks.

    Examples
    --------
    >>> drawable("脳: 5 $", range(128))
    '□: 5 \\$'
    """
    shown = "".join(each if ord(each) in letters else "□" for each in text)
    return shown.replace("$", r"\$")


def fitted(
    text: str, inches: float, *, largest: float = 15.0, smallest: float = 8.0
) -> tuple[str, float]:
    """Fit one line into its place.

    Parameters
    ----------
    text : str
        The line.
    inches : float
        How wide the place is.
    largest, smallest : float
        How high letters may be, in points.

    Returns
    -------
    text : str
        The line; its beginning and "…" where even small letters are too wide.
    size : float
        How high its letters are to be, in points.

    Examples
    --------
    >>> fitted("10426: left vs right hand", 7.0)
    ('10426: left vs right hand', 15.0)
    >>> fitted("faces " * 9, 2.0)
    ('faces faces faces faces faces…', 8.0)
    """
    size = inches * _POINTS / (_BREADTH * max(width(text), 1))
    size = min(max(size, smallest), largest)
    return cut(text, room_for(inches, size)), size


def folded(text: str, inches: float, size: float, *, lines: int = 2) -> str:
    """Fold text into few lines.

    Parameters
    ----------
    text : str
        The text.
    inches : float
        How wide the lines may be.
    size : float
        How high its letters are, in points.
    lines : int
        How many there may be.

    Returns
    -------
    str
        The lines; the last ends in "…" if there were more.

    Examples
    --------
    >>> print(folded("faces minus houses in the dark", 1.0, 8.0))
    faces minus
    houses in the…
    """
    room = room_for(inches, size)
    found = wrapped(text, room)
    if len(found) > lines:
        found = [*found[: lines - 1], cut(" ".join(found[lines - 1 :]), room)]
    return "\n".join(found)


def room_for(inches: float, size: float) -> int:
    """Count the letters for which there is room in a line.

    Parameters
    ----------
    inches : float
        How wide it is.
    size : float
        How high its letters are, in points.

    Returns
    -------
    int
        At least 4.

    Examples
    --------
    >>> room_for(7.0, 15.0)
    57
    """
    return max(int(inches * _POINTS / (_BREADTH * size)), 4)
