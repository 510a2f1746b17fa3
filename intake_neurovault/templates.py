"""Text in intake's catalogs that comes out as it went in.

Both versions of catalogs fill templates into text: the first one with jinja, the second
one with Python's formats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from intake_neurovault.errors import ArgumentError

_TEMPLATE = re.compile(r"\{[{%#]|[\r\n]")
_REFERENCE = re.compile(r"\{?data\(")


def templated(value: Any) -> Any:
    """Write a value so that intake's first version, filling templates, reads it.

    Parameters
    ----------
    value : object
        JSON.

    Returns
    -------
    object
        The same, with text that its templates would change as a template that gives
        this text.

    Examples
    --------
    >>> templated({"$regex": "a{2,3}", "$eq": "{{ a }}"})
    {'$regex': 'a{2,3}', '$eq': '{{ "{{ a }}" }}'}
    """
    return _mapped(value, _as_template)


def formatted(value: Any) -> Any:
    """Write a value so that intake's second version, formatting text, reads it.

    Parameters
    ----------
    value : object
        JSON.

    Returns
    -------
    object
        The same, with braces doubled.

    Raises
    ------
    ArgumentError
        If a text begins as a reference to data does, which cannot be avoided there.

    Examples
    --------
    >>> formatted({"$regex": "a{2,3}"})
    {'$regex': 'a{{2,3}}'}
    """
    return _mapped(value, _as_format)


def without_reference(text: str) -> str:
    """Refuse text that intake's second version takes for a reference to data.

    Parameters
    ----------
    text : str
        What is to stand in a catalog.

    Returns
    -------
    str
        The same.

    Raises
    ------
    ArgumentError
        If it begins as a reference does.

    Examples
    --------
    >>> without_reference("data of 20 people")
    'data of 20 people'
    """
    if _REFERENCE.match(text):
        msg = (
            f"{text[:40]!r} cannot stand in a catalog of version 2, where it would be "
            "a reference to data; give version=1, or change how the text begins."
        )
        raise ArgumentError(msg)
    return text


def _mapped(value: Any, write: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return write(value)
    if isinstance(value, Mapping):
        return {name: _mapped(each, write) for name, each in value.items()}
    if isinstance(value, list):
        return [_mapped(each, write) for each in value]
    return value


def _as_template(text: str) -> str:
    if _TEMPLATE.search(text) is None:
        return text
    # NOTE: a template's literals have the escapes of JSON, but one for characters
    # beyond the first 65,536.
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}"


def _as_format(text: str) -> str:
    return without_reference(text).replace("{", "{{").replace("}", "}}")
