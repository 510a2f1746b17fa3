"""A query as a file that intake opens, of its first version or its second.

Both versions fill templates into the text of a file; here text is written so that it
comes out as it went in, whatever it holds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from intake_neurovault import atomic
from intake_neurovault.errors import ArgumentError, StoreError
from intake_neurovault.templates import formatted, templated, without_reference


def write_catalog(
    path: str | os.PathLike[str],
    arguments: Mapping[str, Any],
    *,
    version: int = 1,
    name: str | None = None,
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
    name : str, optional
        The name of the entry; that of the file if absent.
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
    name = named_after(file) if name is None else name
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


def named_after(file: Path) -> str:
    """Name the entry of a catalog after its file.

    Parameters
    ----------
    file : pathlib.Path
        The catalog.

    Returns
    -------
    str
        A name that is also an attribute.

    Examples
    --------
    >>> named_after(Path("2026/hand maps.yaml"))
    'hand_maps'
    """
    name = re.sub(r"\W", "_", file.stem)
    return f"_{name}" if name[0].isdigit() else name


def _first_version(
    name: str, description: str, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    about = {"description": description} if description else {}
    entry = {"driver": "neurovault", **about, "args": templated(dict(arguments))}
    return {"sources": {name: entry}}


def _second_version(
    name: str, description: str, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    metadata = {"description": without_reference(description)} if description else {}
    reader = {
        "kwargs": formatted(dict(arguments)),
        "metadata": metadata,
        "output_instance": "xarray:Dataset",
        "reader": "intake_neurovault.readers:NeuroVaultImages",
        "user_parameters": {},
    }
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
