"""Entries of catalogs by name: what a command line calls them."""

from __future__ import annotations

from pathlib import Path

import intake

from intake_neurovault.driver import NeuroVaultSource, open_packaged_catalog
from intake_neurovault.errors import ArgumentError
from intake_neurovault.values import suggest


def open_entry(entry: str) -> NeuroVaultSource:
    """Open an entry of a catalog.

    Parameters
    ----------
    entry : str
        The name of an entry of the catalog that ships with the package; or
        ``FILE:NAME`` for another catalog, whose name may be left out where there is
        one entry only. Open catalogs of people you trust only: intake evaluates
        templates in them.

    Returns
    -------
    NeuroVaultSource
        The entry, with the defaults of its parameters; nothing is requested.

    Raises
    ------
    ArgumentError
        If there is no such catalog or entry, or it is none of NeuroVault's.

    Examples
    --------
    >>> open_entry("motor_task").query.describe()[:6]
    'images'
    """
    place, _, name = entry.rpartition(":")
    if name.lower().endswith((".yaml", ".yml")):
        place, name = entry, ""
    if place and "://" not in place and not Path(place).is_file():
        msg = (
            f"There is no catalog {place}; write FILE.yaml:ENTRY, or one entry's name."
        )
        raise ArgumentError(msg)
    catalog = intake.open_catalog(place) if place else open_packaged_catalog()
    what = f"The catalog {place}" if place else "The catalog of this package"
    names = list(catalog)
    name = names[0] if place and not name and len(names) == 1 else name
    if name not in names:
        near = suggest(name, names) if name else None
        hint = f"did you mean {near!r}?" if near else f"it has {', '.join(names)}."
        msg = f"{what} has no entry {name!r}; {hint}"
        raise ArgumentError(msg)
    source = catalog[name]
    if not isinstance(source, NeuroVaultSource):
        msg = f"{what}: the entry {name!r} is no query on NeuroVault."
        raise ArgumentError(msg)
    return source
