"""JSON as every program reads it: no NaN, no infinity, names that are text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

__all__ = ["strict", "strict_json"]

_DEEPEST = 100


def strict(value: object) -> Any:
    """Make a value of what JSON has a word for.

    Parameters
    ----------
    value : object
        A value of a record, or a mapping or list of such.

    Returns
    -------
    object
        The same, with None in place of numbers that are not finite, with names as
        text, and anything of another type as text. What is nested deeper than a
        hundred levels is None.

    Examples
    --------
    >>> strict({"a": float("nan"), 2: (1, float("inf"))})
    {'a': None, '2': [1, None]}
    """
    return _strict(value, _DEEPEST)


def strict_json(value: object, *, indent: int | None = 2) -> str:
    """Write a value as JSON that every program reads.

    Parameters
    ----------
    value : object
        As `strict` takes it.
    indent : int, optional
        Blanks a level; None for a single line.

    Returns
    -------
    str
        JSON in ASCII.

    Examples
    --------
    >>> strict_json({"weight": float("nan")}, indent=None)
    '{"weight": null}'
    """
    return json.dumps(strict(value), indent=indent, allow_nan=False)


def _strict(value: object, deeper: int) -> Any:
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if deeper == 0:
        return None
    if isinstance(value, Mapping):
        return {str(name): _strict(each, deeper - 1) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_strict(each, deeper - 1) for each in value]
    return str(value)
