"""nilearn's page of a map: with a title, and with nothing that comes from elsewhere."""

from __future__ import annotations

import math
import re
from html import escape

from intake_neurovault.lettering import width

__all__ = ["dressed", "room_above"]

_STYLE = "html, body { background: #fff; color: #222; font-family: sans-serif }"
_TITLE_STYLE = "font-size: 15px; margin: 0 0 8px"
_LINE, _LETTER = 20, 8  # pixels
_TITLE = re.compile("<title>.*?</title>", re.DOTALL)
_BODY = re.compile("<body[^>]*>")
_ICON = re.compile(r'<link[^>]*\brel="[^"]*icon[^"]*"[^>]*>')


def dressed(html: str, title: str) -> str:
    """Put a title above the viewer, and let nothing be loaded.

    Parameters
    ----------
    html : str
        The page, without a title of nilearn's.
    title : str
        Any text; none if empty.

    Returns
    -------
    str
        The page.

    Notes
    -----
    nilearn cuts titles off after some twenty letters, and puts them into the page as
    they are, also what would run. A browser would fetch its icon. Without a ground of
    its own, a page in a dark notebook has dark letters on it.

    Examples
    --------
    >>> dressed("<title>Viewer</title><body>", "p<.05")[:28]
    '<title>p&lt;.05</title><body'
    """
    shown = escape(title)
    heading = f'<p style="{_TITLE_STYLE}">{shown}</p>' if title else ""
    start = f"<style>{_STYLE}</style>{heading}"
    html = _TITLE.sub(lambda _: f"<title>{shown or 'NeuroVault'}</title>", html, 1)
    return _BODY.sub(lambda body: body[0] + start, _ICON.sub("", html), 1)


def room_above(title: str, pixels: int) -> int:
    """Tell how much higher a page becomes by its title.

    Parameters
    ----------
    title : str
        The title.
    pixels : int
        How wide the page is.

    Returns
    -------
    int
        Pixels.

    Examples
    --------
    >>> room_above("faces", 600), room_above("", 600)
    (40, 0)
    """
    lines = math.ceil(width(title) * _LETTER / pixels)
    return _LINE * (lines + 1) if title else 0
