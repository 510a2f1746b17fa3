"""The arguments of a search: names, defaults, and how odd spellings are read."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from intake_neurovault.errors import ArgumentError, UnknownArgumentError
from intake_neurovault.refs import shown, unboxed

__all__ = [
    "BASIC_COLLECTION_TERMS",
    "BASIC_IMAGE_TERMS",
    "DEFAULTS",
    "DEFAULT_MAX_IMAGES",
    "check_choice",
    "parse_cap",
    "parse_fill",
    "parse_room",
    "parse_switch",
    "reject_unknown",
]


class _DefaultCap(int):
    """A number that stays the same object when it is copied or pickled."""

    def __reduce__(self) -> str:
        return "DEFAULT_MAX_IMAGES"


DEFAULT_MAX_IMAGES = _DefaultCap(100)
"""The cap that nobody asked for; a 100 that somebody typed is another object."""

BASIC_IMAGE_TERMS: Mapping[str, object] = MappingProxyType(
    {
        "not_mni": False,
        "is_thresholded": False,
        "map_type": {"$nin": ["ROI/mask", "anatomical", "parcellation"]},
        "image_type": {"$ne": "atlas"},
    }
)
"""What ``nilearn.datasets.neurovault.basic_image_terms()`` asks of images."""

BASIC_COLLECTION_TERMS: Mapping[str, object] = MappingProxyType(
    {"number_of_images": {"$truthy": True}}
)
"""What ``nilearn.datasets.neurovault.basic_collection_terms()`` asks of collections."""

DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "image_terms": None,
        "collection_terms": None,
        "image_ids": None,
        "collection_ids": None,
        "max_images": DEFAULT_MAX_IMAGES,
        "frozen": None,
        "grid": "mni152-3mm",
        "interpolation": "auto",
        "nan": "keep",
        "fill_value": 0.0,
        "chunks": "auto",
        "mode": "download_new",
        "data_dir": None,
        "keep_gridded": None,
        "metadata_ttl": "1d",
        "url": None,
        "trusted_hosts": (),
        "timeout": 30,
        "retries": 4,
        "workers": 8,
        "errors": None,
        "progress": None,
        "fetch_neurosynth_words": False,
        "words_url": None,
    }
)
"""Every argument of a search, and its default."""

_NILEARNS = MappingProxyType(
    {
        "resample": "choose the grid with grid=, None for each map's own",
        "image_filter": "give conditions on images, or a function, as image_terms",
        "collection_filter": "give conditions on collections as collection_terms",
        "verbose": "use the logger 'intake_neurovault', and progress= for bars",
        "vectorize_words": "words are always vectorised; fetch_neurosynth_words=True "
        "asks for them",
    }
)
"""Arguments of nilearn's that have other names here."""

_ENDLESS = frozenset({"none", "null", "inf"})

_LARGEST = (2 - 2**-23) * 2.0**127  # of float32

_ROOM_VARIABLE = "INTAKE_NEUROVAULT_KEEP_GRIDDED"
_USUAL_ROOM = 20 * 10**9
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]*)?)\s*(?:([kmgt]?)(i?)b)?", re.I)


def reject_unknown(
    names: Iterable[str], known: Iterable[str] = DEFAULTS, *, where: str
) -> None:
    """Refuse arguments that do not exist.

    Parameters
    ----------
    names : iterable of str
        What was given.
    known : iterable of str
        What there is; the arguments of a search by default.
    where : str
        To what it was given, for the message.

    Raises
    ------
    UnknownArgumentError
        If a name is not known; with a suggestion where there is one.

    Examples
    --------
    >>> reject_unknown(["max_images"], where="search()")
    >>> reject_unknown(["max_image"], where="search()")
    Traceback (most recent call last):
        ...
    intake_neurovault.errors.UnknownArgumentError: search() has no argument \
'max_image'; did you mean 'max_images'?
    """
    known = list(known)
    for name in names:
        if name in known:
            continue
        near = get_close_matches(str(name), known, n=1)
        if name in _NILEARNS:
            advice = f"; {_NILEARNS[name]}."
        elif near:
            advice = f"; did you mean {near[0]!r}?"
        else:
            advice = f"; it has {', '.join(known)}."
        msg = f"{where} has no argument {name!r}{advice}"
        raise UnknownArgumentError(msg)


def parse_cap(value: object) -> int | None:
    """Read how many images are wanted at most.

    Parameters
    ----------
    value : object
        A whole number, also as float, numpy's or text; None, a negative number or
        infinity for all.

    Returns
    -------
    int or None
        The number; None for all.

    Raises
    ------
    ArgumentError
        If it is none of these.

    Examples
    --------
    >>> parse_cap("20"), parse_cap(-1)
    (20, None)
    """
    number = unboxed(value)
    if isinstance(number, str):
        text = number.strip().lower()
        readable = re.fullmatch("-?[0-9]{1,18}", text)
        number = int(text) if readable else None if text in _ENDLESS else number
    if number is None:
        return None
    if isinstance(number, int | float) and not isinstance(number, bool):
        if number < 0 or number == float("inf"):
            return None
        if number == number // 1:
            return int(number)
    msg = f"max_images={shown(value)} is not a whole number; give None for all."
    raise ArgumentError(msg)


def parse_switch(value: object, name: str) -> bool:
    """Read an argument that is on or off.

    Parameters
    ----------
    value : object
        A boolean, also numpy's or text.
    name : str
        The argument, for the message.

    Returns
    -------
    bool
        The value.

    Raises
    ------
    ArgumentError
        If it is none.

    Examples
    --------
    >>> parse_switch(" True ", "fetch_neurosynth_words")
    True
    """
    plain = unboxed(value)
    if isinstance(plain, str):
        plain = {"true": True, "false": False}.get(plain.strip().lower())
    if not isinstance(plain, bool):
        msg = f"{name}={shown(value)} is neither True nor False."
        raise ArgumentError(msg)
    return plain


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse what is not among the choices, and suggest what is.

    Parameters
    ----------
    name : str
        The argument, for the message.
    value : object
        What was given.
    choices : tuple of str
        What there is.

    Raises
    ------
    ArgumentError
        If it is none of them.

    Examples
    --------
    >>> check_choice("nan", "keep", ("keep", "zero"))
    """
    if value in choices:
        return
    close = get_close_matches(str(value).lower(), choices, n=1)
    hint = f"did you mean {close[0]!r}? It" if close else "it"
    msg = f"{name}={value!r} is unknown; {hint} is one of {', '.join(choices)}."
    raise ArgumentError(msg)


def parse_fill(value: Any) -> float:
    """Read what stands outside a map's field of view.

    Parameters
    ----------
    value : object
        A number, also as text; it may be infinite or NaN.

    Returns
    -------
    float
        The number.

    Raises
    ------
    ArgumentError
        If it is none, or one that float32 cannot hold.

    Examples
    --------
    >>> parse_fill("-1.5")
    -1.5
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = None
    if number is None or isinstance(value, bool) or _LARGEST < abs(number) < math.inf:
        msg = f"fill_value={value!r} must be a number that float32 can hold"
        raise ArgumentError(msg)
    return number


def parse_room(value: object) -> int:
    """Read how many bytes of maps on their grid are kept.

    Parameters
    ----------
    value : object
        True for 20 GB, False for none; a number of bytes; text such as ``"50 GB"``
        or ``"16 GiB"``; None for what ``INTAKE_NEUROVAULT_KEEP_GRIDDED`` says, and
        True where it is not set.

    Returns
    -------
    int
        Bytes; 0 for none.

    Raises
    ------
    ArgumentError
        If it is none of these.

    Examples
    --------
    >>> parse_room(False), parse_room("1.5 GB"), parse_room("1 KiB")
    (0, 1500000000, 1024)
    """
    name, plain = "keep_gridded", unboxed(value)
    # NOTE: a template is empty where its variable is not set.
    if plain is None or (isinstance(plain, str) and not plain.strip()):
        plain = os.environ.get(_ROOM_VARIABLE, "").strip() or True
        name = name if plain is True else _ROOM_VARIABLE
    given = plain
    if isinstance(plain, str):
        text = plain.strip().lower()
        plain = {"true": True, "false": False}.get(text, _bytes_in(text))
    if isinstance(plain, bool):
        return _USUAL_ROOM if plain else 0
    if isinstance(plain, int | float) and 0 <= plain < float("inf"):
        return int(plain)
    msg = (
        f"{name}={shown(given)} is neither True nor False nor a size; write one as "
        "'50 GB', or as a number of bytes."
    )
    raise ArgumentError(msg)


def _bytes_in(text: str) -> int | None:
    """Read a number of bytes, with or without a unit."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    number, power, binary = match.groups()
    step = 1024 if binary else 1000
    return int(float(number) * step ** " kmgt".index(power or " "))
