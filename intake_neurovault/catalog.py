"""The intake face of all collections: driver ``neurovault_catalog``.

``import intake`` and ``open_catalog`` may load this module, so it imports nothing
heavy; everything else is reached through the package's lazy door.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import yaml
from intake.catalog import Catalog
from intake.catalog.local import LocalCatalogEntry

import intake_neurovault
from intake_neurovault.declared import Declared
from intake_neurovault.driver import NeuroVaultSource
from intake_neurovault.parameters import DEFAULTS

if TYPE_CHECKING:
    import pandas as pd

    from intake_neurovault.directory import Directory
    from intake_neurovault.refs import CollectionRef

_OF_IMAGES = ("image_ids", "frozen")
_TAKES: Mapping[str, object] = {
    **{name: value for name, value in DEFAULTS.items() if name not in _OF_IMAGES},
    "max_images": None,
    "resample": None,
}
_SHOWN = 10  # names in a notebook


class NeuroVaultCatalog(Declared, Catalog):
    """The collections of NeuroVault as an intake catalog.

    Each entry is a `NeuroVaultSource` of the images of one collection:
    ``cat["1952"]``, ``cat[1952]``, or by the name that the list shows, such as
    ``cat.brainpedia_1952``, of which only the number counts. A private collection is
    ``cat["env:NAME"]``, with the environment variable that holds its token. None of
    this requests anything. The list of collections is asked for by ``list(cat)``,
    ``len(cat)``, ``in``, ``cat.df``, and whatever else looks at all entries.

    Its arguments are those of its entries. With conditions on images only those
    collections are listed in which an image matches; for this the images of all that
    fulfil `collection_terms` are listed once.

    Parameters
    ----------
    metadata : mapping, optional
        What a catalog says about this one.
    **arguments
        Those of `intake_neurovault.search` but `image_ids` and `frozen`.
        `collection_terms` chooses among the collections, those with images if absent;
        `collection_ids` names them, in their order, private ones too; `max_images`
        holds for each.

    Raises
    ------
    UnknownArgumentError
        If an argument is misspelt.
    ArgumentError
        If a value is not what its argument takes.

    Examples
    --------
    >>> import intake
    >>> cat = intake.open_neurovault_catalog(grid="mni152-2mm")
    >>> cat[1952].query.collection_ids
    (1952,)
    >>> cat.search("emotion", image_terms={"map_type": "Z map"})[1952].query.describe()
    'collections 1952; where map_type is "Z map"; in collections where ...'
    """

    name = "neurovault_catalog"
    name_of_driver = "neurovault_catalog"
    takes = _TAKES
    version = intake_neurovault.__version__
    # NOTE: a search of a catalog that holds this one would list all of a "catalog".
    container = "xarray"

    def _begin(self, metadata: dict[str, Any], arguments: dict[str, Any]) -> None:
        self.directory: Directory = intake_neurovault.Directory(**arguments)
        name = self.name_of_driver
        Catalog.__init__(self, metadata=metadata, name=name, ttl=None)

    @property
    def _subject(self) -> Directory:
        return self.directory

    def _make_entries_container(self) -> _Entries:
        return _Entries(self)

    @property
    def df(self) -> pd.DataFrame:
        """The collections as a table: one row each, the core metadata typed."""
        return self.directory.df

    @property
    def failures(self) -> pd.DataFrame:
        """What could not be had while the collections were listed, and why."""
        return self.directory.failures

    def search(
        self,
        text: str | None = None,
        depth: int = 2,  # noqa: ARG002  intake passes it
        *,
        collection_terms: Mapping[str, Any] | None = None,
        image_terms: Any = None,
    ) -> NeuroVaultCatalog:
        """Choose among the collections; nothing is requested.

        Parameters
        ----------
        text : str, optional
            Words, one of which must occur in title, description, authors, DOI, journal
            or owner of a collection, in small letters or capitals.
        depth : int
            Only for catalogs that hold others, which this one does not.
        collection_terms : mapping, optional
            Conditions on collections, which hold besides those there are.
        image_terms : mapping or callable, optional
            Conditions on images, which hold besides those there are: collections in
            which no image matches are left out, and of the others the images that do
            not match.

        Returns
        -------
        NeuroVaultCatalog
            The catalog of those that match.

        Raises
        ------
        ArgumentError
            If nothing is given by which to choose.
        FilterError
            If conditions cannot be understood.
        """
        narrowed = self.directory.narrowed(
            text, collection_terms=collection_terms, image_terms=image_terms
        )
        found = type(self)(metadata=self.metadata, **narrowed.arguments)
        found.name, found.description = f"{self.name}_search", self.description
        found.cat = self
        return found

    def __getitem__(self, key: Any) -> NeuroVaultSource:
        source: NeuroVaultSource = self._get_entry(key)
        return source

    def __contains__(self, key: object) -> bool:
        return key in self.directory

    def __bool__(self) -> bool:
        # NOTE: intake asks for the truth of catalogs; that must not cost a request.
        return True

    def __dir__(self) -> list[str]:
        names = self._ipython_key_completions_()
        return [*object.__dir__(self), *filter(str.isidentifier, names)]

    def _ipython_key_completions_(self) -> list[str]:
        # NOTE: a key pressed must not cost a request.
        return list(self.directory.names()) if self.directory.known else []

    def serialize(self) -> str:
        """Write all entries as one catalog, which the server is not asked for any more.

        Returns
        -------
        str
            YAML.

        Raises
        ------
        FilterError
            If a condition is a Python function.
        ArgumentError
            If a private collection's token is given literally.
        """
        sources: dict[str, Any] = {}
        for source in self.values():
            sources |= source._yaml()["sources"]
        metadata = {k: v for k, v in self.metadata.items() if k != "catalog_dir"}
        about = {"name": self.name, "description": self.description or ""}
        whole = {**about, "metadata": metadata, "sources": sources}
        return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True)

    def _close(self) -> None:
        self.directory.close()
        self._entries = self._make_entries_container()

    def __repr__(self) -> str:
        return f"<NeuroVaultCatalog {self.name!r}: {self.directory!r}>"

    def _repr_html_(self) -> str:
        about = f": {escape(self.description)}" if self.description else ""
        shown = f"<code>{escape(repr(self.directory))}</code>"
        names = self._ipython_key_completions_()
        more = f"<li>and {len(names) - _SHOWN:,} more</li>" if names[_SHOWN:] else ""
        rows = "".join(
            f"<li><code>{escape(name)}</code></li>" for name in names[:_SHOWN]
        )
        listed = f"<ul>{rows}{more}</ul>" if rows else ""
        return f"<p><b>{escape(self.name)}</b>{about}<br>{shown}</p>{listed}"


class _Entry(LocalCatalogEntry):
    """The entry of one collection.

    NOTE: intake fills templates into all that it opens an entry with. What stands here
    came through that already, or was never meant to.
    """

    def _create_open_args(
        self, user_parameters: dict[str, Any]
    ) -> tuple[type[NeuroVaultSource], dict[str, Any]]:
        given = {"metadata": dict(self._metadata), **self._open_args, **user_parameters}
        return NeuroVaultSource, given


class _Entries(Mapping[str, LocalCatalogEntry]):
    """The entries of a catalog, made when they are asked for."""

    def __init__(self, catalog: NeuroVaultCatalog) -> None:
        self._catalog = catalog
        self._made: dict[tuple[CollectionRef, bool], _Entry] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._catalog.directory.names())

    def __len__(self) -> int:
        return len(self._catalog.directory)

    def __contains__(self, key: object) -> bool:
        return key in self._catalog.directory

    def __getitem__(self, key: Any) -> _Entry:
        ref = self._catalog.directory.ref_of(key)
        place = ref, self._catalog.directory.about(ref) is not None
        # NOTE: one source for each collection, so that what it found is kept.
        if place not in self._made:
            self._made[place] = self._make(ref)
        return self._made[place]

    def _make(self, ref: CollectionRef) -> _Entry:
        entry = self._catalog.directory.entry(ref)
        return _Entry(
            entry.name,
            entry.description,
            NeuroVaultSource,
            args=dict(entry.arguments),
            # NOTE: no text of the server's, into which intake might fill templates.
            metadata={"url": entry.url} if entry.url else {},
            catalog=self._catalog,
        )
