"""A query as a file that intake opens, of its first version or its second.

Both versions fill templates into the text of a file; here text is written so that it
comes out as it went in, whatever it holds.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from intake_neurovault import atomic
from intake_neurovault.errors import ArgumentError, StoreError

_TEMPLATE = re.compile(r"\{[{%#]|[\r\n]")
_REFERENCE = re.compile(r"\{?data\(")
_CLASSES = "intake_neurovault.readers"

OUTPUT = "xarray:Dataset"
"""What the reader in a file of version 2 gives."""


def write_catalog(
    path: str | os.PathLike[str],
    arguments: Mapping[str, Any],
    *,
    version: int = 1,
    name: str,
    description: str = "",
) -> Path:
    """Write a query down as the only entry of a catalog.

    Parameters
    ----------
    path : path
        A local file, whose name ends in ``.yaml`` or ``.yml``; one that is there is
        replaced.
    arguments : mapping
        The arguments of `intake_neurovault.search`, as plain values.
    version : {1, 2}
        Of intake's catalogs.
    name : str
        The name of the entry.
    description : str
        What is said about it.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ArgumentError
        If an argument cannot be that, or a text cannot be written in a catalog of
        version 2.
    StoreError
        If the file cannot be written.

    Examples
    --------
    >>> path = write_catalog("mine.yaml", {"grid": "mni152-2mm"}, name="hands")
    >>> print(path.read_text().rstrip())
    sources:
      hands:
        driver: neurovault
        args:
          grid: mni152-2mm
    """
    file = Path(path)
    if file.suffix not in (".yaml", ".yml"):
        msg = (
            f"path={os.fspath(path)!r} must end in .yaml, or intake takes it for a "
            "folder of catalogs."
        )
        raise ArgumentError(msg)
    if version not in _WRITERS:
        msg = f"version={version!r} is no version of intake's catalogs; give 1 or 2."
        raise ArgumentError(msg)
    if not (isinstance(name, str) and name.strip()):
        msg = f"name={name!r} is no name of an entry; give some text."
        raise ArgumentError(msg)
    content = _WRITERS[version](name, description, arguments)
    text = yaml.safe_dump(content, sort_keys=version == 2, allow_unicode=True)
    try:
        atomic.write_bytes(file.absolute(), text.encode())
    except OSError as error:
        msg = f"The catalog {file} cannot be written ({error}); give another path."
        raise StoreError(msg) from error
    return file


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


def described_reader(
    reader: str, arguments: Mapping[str, Any], output: str, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """Describe a reader as catalogs of version 2 do.

    Parameters
    ----------
    reader : str
        The name of the class in `intake_neurovault.readers`.
    arguments : mapping
        The arguments of `intake_neurovault.search`, as plain values.
    output : str
        The type of what it gives.
    metadata : mapping
        What is said about it.

    Returns
    -------
    dict
        With all keys that intake expects.

    Examples
    --------
    >>> described_reader("NeuroVaultTable", {}, "pandas:DataFrame", {})["reader"]
    'intake_neurovault.readers:NeuroVaultTable'
    """
    return {
        "kwargs": formatted(arguments),
        "metadata": dict(metadata),
        "output_instance": output,
        "reader": f"{_CLASSES}:{reader}",
        "user_parameters": {},
    }


def _first_version(
    name: str, description: str, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    about = {"description": description} if description else {}
    entry = {"driver": "neurovault", **about, "args": templated(dict(arguments))}
    return {"sources": {name: entry}}


def _second_version(
    name: str, description: str, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    metadata = {"description": _without_reference(description)} if description else {}
    reader = described_reader("NeuroVaultImages", arguments, OUTPUT, metadata)
    return {
        # NOTE: intake lists aliases only.
        "aliases": {name: name},
        "data": {},
        "entries": {name: reader},
        "metadata": {},
        "user_parameters": {},
        "version": 2,
    }


_WRITERS: Mapping[int, Callable[[str, str, Mapping[str, Any]], dict[str, Any]]] = {
    1: _first_version,
    2: _second_version,
}


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
    return _without_reference(text).replace("{", "{{").replace("}", "}}")


def _without_reference(text: str) -> str:
    if _REFERENCE.match(text):
        msg = (
            f"{text[:40]!r} cannot stand in a catalog of version 2, where it would be "
            "a reference to data; give version=1, or change how the text begins."
        )
        raise ArgumentError(msg)
    return text
