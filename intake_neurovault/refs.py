"""How images and collections are named: ids, and tokens of private collections."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TypeVar

from intake_neurovault.errors import ArgumentError

__all__ = [
    "CollectionRef",
    "Token",
    "parse_collection_ref",
    "parse_id",
    "parse_many",
    "shown",
    "unboxed",
]

R = TypeVar("R")

_LARGEST_ID = 2**63 - 1
_SECRET = re.compile(r"[A-Z]{8}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# NOTE: a token with a slip of the pen is still nearly the token.
_NEARLY_SECRET = re.compile(r"[A-Z]{6,}|(?<![A-Za-z])[A-Za-z]{8}(?![A-Za-z])")
_LONGEST_SHOWN = 60


def shown(value: object) -> str:
    """Give a value's repr for an error message, without what may be a token.

    Parameters
    ----------
    value : object
        What somebody passed for an id or a token.

    Returns
    -------
    str
        At most 60 characters of it.

    Examples
    --------
    >>> shown("abc")
    "'abc'"
    >>> shown("ABCDEFGH-12")
    "'***-12'"
    """
    text = _NEARLY_SECRET.sub("***", repr(value))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def unboxed(value: object) -> object:
    """Take a value out of an array without dimensions, numpy's scalars included.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    object
        Python's own number, or the value as it is.

    Examples
    --------
    >>> import numpy
    >>> unboxed(numpy.int64(3))
    3
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    return value


def parse_id(value: object, what: str = "an image id") -> int:
    """Read one id of an image or a collection.

    Parameters
    ----------
    value : object
        An integer, an integral float (as pandas makes them), one of numpy's, an
        array-like without dimensions, or text of digits.
    what : str
        What the value stands for, for the message.

    Returns
    -------
    int
        The id, positive.

    Raises
    ------
    ArgumentError
        If the value is none of these.

    Examples
    --------
    >>> parse_id(" 123 "), parse_id(123.0)
    (123, 123)
    """
    number = _integer(unboxed(value))
    if number is None or not 0 < number <= _LARGEST_ID:
        msg = f"{shown(value)} is not an id: {what} must be a positive whole number."
        raise ArgumentError(msg)
    return number


def _integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        number = float(value)
        return int(number) if number.is_integer() else None
    if isinstance(value, str):
        text = value.strip()
        # NOTE: Python refuses to read numbers of some thousand digits.
        readable = len(text) <= _LONGEST_SHOWN and text.isascii() and text.isdigit()
        return int(text) if readable else None
    return None


@dataclass(frozen=True)
class Token:
    """The token that stands for the id of a private collection.

    Exactly one of the two fields is given. The secret itself is never shown.

    Raises
    ------
    ArgumentError
        If neither or both are given, or if one cannot be what it should be.

    Examples
    --------
    >>> Token(env="MY_COLLECTION")
    Token(env='MY_COLLECTION')
    >>> Token(secret="ABCDEFGH")
    Token(secret=***)
    """

    env: str | None = None
    """Name of the environment variable that holds it, read when it is needed."""
    secret: str | None = field(default=None, repr=False)
    """The eight capitals themselves; cannot be written to a catalog."""

    def __post_init__(self) -> None:
        if (self.env is None) == (self.secret is None):
            msg = "A Token needs either env= or secret=, and not both."
            raise ArgumentError(msg)
        if self.env is not None and not _VARIABLE.fullmatch(self.env):
            msg = (
                f"{shown(self.env)} cannot be the name of an environment variable; "
                "write the token as 'env:NAME'."
            )
            raise ArgumentError(msg)
        if self.secret is not None and not _SECRET.fullmatch(self.secret):
            msg = (
                "The secret of a private collection's token must be eight capitals "
                "from A to Z; copy it from the collection's URL."
            )
            raise ArgumentError(msg)

    def __repr__(self) -> str:
        return "Token(secret=***)" if self.env is None else f"Token(env={self.env!r})"

    @classmethod
    def parse(cls, text: str) -> Token:
        """Read a token as it is written in an argument.

        Parameters
        ----------
        text : str
            ``env:NAME``, or eight capitals.

        Returns
        -------
        Token
            The token; the environment is not looked at yet.

        Raises
        ------
        ArgumentError
            If the text is neither.

        Examples
        --------
        >>> Token.parse("env:MY_COLLECTION")
        Token(env='MY_COLLECTION')
        """
        prefix, colon, name = text.strip().partition(":")
        if colon and prefix.lower() == "env":
            return cls(env=name.strip())
        return cls(secret=text.strip())

    def reveal(self) -> str:
        """Give the secret, for a request.

        Returns
        -------
        str
            Eight capitals.

        Raises
        ------
        ArgumentError
            If the environment variable is not set, or holds something else.

        Examples
        --------
        >>> Token(secret="ABCDEFGH").reveal()
        'ABCDEFGH'
        """
        if self.secret is not None:
            return self.secret
        # NOTE: not kept in a variable, which tracebacks may show.
        if not _variable(self.env):
            msg = (
                f"The environment variable {self.env}, which should hold the token of "
                "a private collection, is not set; set it or leave it out."
            )
            raise ArgumentError(msg)
        if not _SECRET.fullmatch(_variable(self.env)):
            msg = (
                f"The environment variable {self.env} does not hold the token of a "
                "private collection; set it to the eight capitals of its URL."
            )
            raise ArgumentError(msg)
        return _variable(self.env)

    def to_json(self) -> str:
        """Write the token so that it may stand in a file.

        Returns
        -------
        str
            ``env:NAME``.

        Raises
        ------
        ArgumentError
            If the token is literal: a secret does not belong in a file.

        Examples
        --------
        >>> Token(env="MY_COLLECTION").to_json()
        'env:MY_COLLECTION'
        """
        if self.env is None:
            msg = (
                "A literal token of a private collection cannot be written down; keep "
                "it in an environment variable and give 'env:NAME' in collection_ids."
            )
            raise ArgumentError(msg)
        return f"env:{self.env}"


def _variable(name: str | None) -> str:
    return os.environ.get(name or "", "").strip()


CollectionRef = int | Token
"""What names a collection: its id, or the token of a private one."""


def parse_collection_ref(value: object) -> CollectionRef:
    """Read what names one collection.

    Parameters
    ----------
    value : object
        An id as :func:`parse_id` takes it, ``env:NAME``, eight capitals, or a
        :class:`Token`.

    Returns
    -------
    int or Token
        The id, or the token of a private collection.

    Raises
    ------
    ArgumentError
        If the value is none of these.

    Examples
    --------
    >>> parse_collection_ref("1952")
    1952
    >>> parse_collection_ref("env:MY_COLLECTION")
    Token(env='MY_COLLECTION')
    """
    if isinstance(value, Token):
        return value
    if isinstance(value, str):
        text = value.strip()
        if text[:4].lower() == "env:" or _SECRET.fullmatch(text):
            return Token.parse(text)
    try:
        return parse_id(value, "a collection id")
    except ArgumentError as error:
        msg = (
            f"{shown(value)} does not name a collection; give its id, or 'env:NAME' "
            "with the environment variable that holds a private one's token."
        )
        raise ArgumentError(msg) from error


def parse_many(
    value: object, read: Callable[[object], R], where: str
) -> tuple[R, ...] | None:
    """Read an argument that names one thing or several.

    Parameters
    ----------
    value : object
        One, or an iterable of them: a sequence, a set, an array, a Series; or text
        that lists them in brackets, as a template writes a list.
    read : callable
        Reads one.
    where : str
        The argument, for the message.

    Returns
    -------
    tuple, or None
        Each once, in the order given; those of a set in ascending order. None
        if the value is None.

    Raises
    ------
    ArgumentError
        If one of them, or the whole, cannot be read.

    Examples
    --------
    >>> parse_many("123", parse_id, "image_ids")
    (123,)
    >>> parse_many([3, "4", 3.0], parse_id, "image_ids")
    (3, 4)
    """
    if value is None:
        return None
    found = dict.fromkeys(read(item) for item in _items(value, where))
    if isinstance(value, set | frozenset):
        return tuple(sorted(found, key=_rank))
    return tuple(found)


def _items(value: object, where: str) -> list[object]:
    if isinstance(value, Mapping):
        msg = f"{where} takes ids, not a mapping; conditions belong in image_terms."
        raise ArgumentError(msg)
    if isinstance(value, str):
        return _split(value)
    listed = value.tolist() if hasattr(value, "tolist") else unboxed(value)
    if isinstance(listed, Iterable) and not isinstance(listed, str | bytes):
        return list(listed)
    return [listed]


def _split(text: str) -> list[object]:
    # NOTE: a template writes a list as text, "[1, 2]".
    bare = text.strip()
    if not (bare.startswith(("[", "(")) or "," in bare):
        return [text]
    parts = (part.strip(" '\"") for part in bare.strip("[]()").split(","))
    return [part for part in parts if part]


def _rank(ref: object) -> tuple[int, str]:
    if isinstance(ref, Token):
        return 0, ref.env or ref.secret or ""
    return _integer(ref) or 0, ""
