"""Which options make which instance of a filesystem: tokens, and the environment.

fsspec hands out the same instance for the same options, compares them by their
text, and lets anybody read them; so a secret must be in none of them as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from intake_neurovault.errors import ArgumentError
from intake_neurovault.known import digest
from intake_neurovault.refs import Token, parse_collection_ref, parse_many, shown

__all__ = ["Secret", "Surroundings", "check_writable", "guarded", "parse_private"]

_VARIABLES = (
    "INTAKE_NEUROVAULT_URL",
    "NILEARN_SHARED_DATA",
    "NILEARN_DATA",
    "HOME",
)


class Secret(Token):
    """A literal token that two texts tell apart and neither shows.

    Notes
    -----
    The text holds the first digits of `intake_neurovault.known.digest`, which is too
    slow to be tried for every eight letters.

    Examples
    --------
    >>> Secret(secret="ABCDEFGH")
    Token(secret=***, 3a6e598b)
    """

    def __repr__(self) -> str:
        return f"Token(secret=***, {digest(self)[:8]})"


class Surroundings:
    """The environment variables that stand in for options, as a class attribute."""

    def __get__(self, instance: object, owner: type) -> tuple[str | None, ...]:
        return tuple(os.environ.get(name) for name in _VARIABLES)


def parse_private(value: object) -> tuple[Token, ...]:
    """Read which private collections a filesystem is to show.

    Parameters
    ----------
    value : str, Token or iterable of these, or None
        ``env:NAME``, with the environment variable that holds the token of a
        collection; a token itself only in Python.

    Returns
    -------
    tuple of Token
        Each once.

    Raises
    ------
    ArgumentError
        If one is neither; the environment is not looked at.

    Examples
    --------
    >>> parse_private("env:MY_MAPS")
    (Token(env='MY_MAPS'),)
    >>> parse_private(None)
    ()
    """
    return parse_many(value, _token, "private") or ()


def _token(value: object) -> Token:
    if isinstance(value, Token | str):
        try:
            ref = parse_collection_ref(value)
        except ArgumentError:
            ref = None
        if isinstance(ref, Token):
            return ref if ref.secret is None else Secret(secret=ref.secret)
    msg = (
        f"private={shown(value)} is no token of a private collection; give 'env:NAME' "
        "with the environment variable that holds its eight letters."
    )
    raise ArgumentError(msg)


def guarded(value: Any) -> Any:
    """Put the tokens among options into a form that shows none of them.

    Parameters
    ----------
    value : mapping or other object
        The options of a filesystem, those of what it lies over included.

    Returns
    -------
    mapping or other object
        A copy of a mapping in which each ``private`` is a tuple of ``env:NAME`` and,
        for literal tokens, `Secret`; anything else as it is.

    Raises
    ------
    ArgumentError
        If a ``private`` holds something else.

    Examples
    --------
    >>> guarded({"target_options": {"private": "ABCDEFGH"}})
    {'target_options': {'private': (Token(secret=***, 3a6e598b),)}}
    """
    if not isinstance(value, Mapping):
        return value
    return {
        name: _written(item) if name == "private" else guarded(item)
        for name, item in value.items()
    }


def _written(value: object) -> tuple[str | Token, ...]:
    tokens = parse_private(value)
    return tuple(token if token.env is None else token.to_json() for token in tokens)


def check_writable(tokens: Iterable[Token]) -> None:
    """Make sure that options may be written down.

    Parameters
    ----------
    tokens : iterable of Token
        The tokens among them.

    Raises
    ------
    ArgumentError
        If one is literal.

    Examples
    --------
    >>> check_writable(parse_private(["env:MY_MAPS"]))
    """
    if any(token.env is None for token in tokens):
        msg = (
            "A filesystem with a literal token of a private collection cannot be "
            "written down; keep the token in an environment variable and pass "
            "private=['env:NAME']."
        )
        raise ArgumentError(msg)
