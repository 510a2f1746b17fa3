"""Entries of catalogs by name: what a command line calls them."""

from __future__ import annotations

from pathlib import Path

import intake
import yaml
from intake.catalog.exceptions import CatalogException

from intake_neurovault.driver import NeuroVaultSource, open_packaged_catalog
from intake_neurovault.errors import ArgumentError, NeuroVaultError
from intake_neurovault.readers import (
    NeuroVaultCatalogReader,
    NeuroVaultReader,
    NeuroVaultSearch,
)
from intake_neurovault.result import SearchResult
from intake_neurovault.values import suggest

# NOTE: what intake raises at files and entries that it cannot make sense of.
_SENSELESS = (
    *(CatalogException, yaml.YAMLError, OSError, ImportError),
    *(AttributeError, KeyError, TypeError, ValueError),
)


def open_entry(entry: str) -> SearchResult:
    """Open an entry of a catalog as a search.

    Parameters
    ----------
    entry : str
        The name of an entry of the catalog that ships with the package; or
        ``FILE:NAME`` for another catalog, of intake's first version or its second,
        whose name may be left out where there is one entry only. Open catalogs of
        people you trust only: intake evaluates templates in them.

    Returns
    -------
    SearchResult
        The search, with the defaults of the entry's parameters; nothing is requested.

    Raises
    ------
    ArgumentError
        If there is no such catalog or entry, or it is none of NeuroVault's.

    Examples
    --------
    >>> open_entry("motor_task")
    <SearchResult: not searched yet; images 10426>
    """
    place, _, name = entry.rpartition(":")
    if name.lower().endswith((".yaml", ".yml")):
        place, name = entry, ""
    what = f"The catalog {place}" if place else "The catalog of this package"
    if place and "://" not in place and not Path(place).is_file():
        msg = f"There is no catalog {place}; write FILE.yaml:ENTRY, or ENTRY alone."
        raise ArgumentError(msg)
    try:
        catalog = intake.open_catalog(place) if place else open_packaged_catalog()
        names = list(catalog)
        name = names[0] if place and not name and len(names) == 1 else name
        found = _search(catalog[name]) if name in names else None
    except NeuroVaultError:
        raise
    except _SENSELESS as error:
        msg = f"{what} cannot be read: {type(error).__name__}: {error}"
        raise ArgumentError(msg) from error
    if name not in names:
        near = suggest(name, names) if name else None
        hint = f"did you mean {near!r}?" if near else f"it has {', '.join(names)}."
        msg = f"{what} has no entry {name!r}; {hint}"
        raise ArgumentError(msg)
    if found is None:
        msg = f"{what}: the entry {name!r} is no query on NeuroVault."
        raise ArgumentError(msg)
    return found


def _search(source: object) -> SearchResult | None:
    if isinstance(source, NeuroVaultSource):
        return source.result
    lists = isinstance(source, NeuroVaultCatalogReader)
    if not isinstance(source, NeuroVaultReader) or lists:
        return None
    found: SearchResult = source.to_reader(reader=NeuroVaultSearch.__name__).read()
    return found
