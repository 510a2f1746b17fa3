"""The face for intake's second version: a type of data, its readers, and converters.

``import intake`` loads this module, so it imports nothing but intake, and reaches
everything else through the package's lazy door.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from intake.readers.convert import BaseConverter
from intake.readers.datatypes import BaseData, Service
from intake.readers.entry import ReaderDescription
from intake.readers.readers import BaseReader

import intake_neurovault
from intake_neurovault.templates import formatted

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from intake.readers.entry import Catalog

    from intake_neurovault.directory import Directory
    from intake_neurovault.result import SearchResult

_RESULT = "intake_neurovault:SearchResult"
_DATASET = "xarray:Dataset"
_TABLE = "pandas:DataFrame"
_CATALOG = "intake.readers.entry:Catalog"

_PAGE = re.compile(r"(.+?)(?:/api)?/(collection|image)s/([^/]+)(?:/.*)?")


class NeuroVaultService(Service):
    """A NeuroVault server, or a page of it about one collection or image.

    ``intake.recommend(address, head=False)`` names it for addresses of NeuroVault.

    Parameters
    ----------
    url : str, optional
        The server, or the page of a collection or an image, which then are meant;
        ``INTAKE_NEUROVAULT_URL``, then ``https://neurovault.org``, if absent.
    metadata : mapping, optional
        What is said about it.

    Raises
    ------
    ArgumentError
        If the address holds the token of a private collection.

    Examples
    --------
    >>> data = NeuroVaultService("https://neurovault.org/collections/1952/")
    >>> data.arguments
    {'url': 'https://neurovault.org', 'collection_ids': [1952]}
    >>> data.to_reader("pandas")
    NeuroVaultTable reader producing pandas:DataFrame
    """

    filepattern = r"^https?://(www\.)?neurovault\.org(/|$)"
    structure = frozenset({"array", "table", "catalog"})

    def __init__(
        self, url: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> None:
        # NOTE: not those of a service, which has options besides.
        BaseData.__init__(self, metadata=dict(metadata or {}))
        self.url = url
        self._arguments = _arguments_in(url)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `intake_neurovault.search` that the address stands for."""
        return dict(self._arguments)

    def to_reader_cls(self, outtype: Any = None, reader: Any = None) -> Any:
        """Choose a reader, that of images if nothing is said.

        Parameters
        ----------
        outtype : str, optional
            What it shall give, such as ``"pandas"``.
        reader : str, optional
            Its name.

        Returns
        -------
        type
            The class of the reader.
        """
        # NOTE: intake would take any of those that fit.
        if outtype is None and reader is None:
            return NeuroVaultImages
        return super().to_reader_cls(outtype, reader)


class NeuroVaultReader(BaseReader):
    """What the readers of NeuroVault share: the arguments of a search.

    Parameters
    ----------
    data : NeuroVaultService or str, optional
        The server, or a page of it.
    metadata : mapping, optional
        What is said about it.
    output_instance : str, optional
        The type of what it gives, as a catalog has it.
    **arguments
        Those of `intake_neurovault.search`; they go before what `data` says.

    Raises
    ------
    UnknownArgumentError
        If an argument is misspelt.
    ArgumentError
        If a value is not what its argument takes.
    """

    def __init__(
        self,
        data: NeuroVaultService | str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        output_instance: str | None = None,
        **arguments: Any,
    ) -> None:
        where = NeuroVaultService(data) if isinstance(data, str) else data
        given = {} if where is None else {"data": where}
        subject = self._describe(where, arguments)
        super().__init__(
            metadata=dict(metadata or {}),
            output_instance=output_instance,
            **given,
            **_settled(subject, where, arguments),
        )

    def __call__(self, **changes: Any) -> NeuroVaultReader:
        """Make another reader that differs in some arguments.

        Parameters
        ----------
        **changes
            Arguments of `intake_neurovault.search`.

        Returns
        -------
        NeuroVaultReader
            One of the same kind; nothing is requested.
        """
        return type(self)(**self.kwargs | changes, metadata=self.metadata)

    def __getattr__(self, name: str) -> Any:
        # NOTE: for other names intake may read all there is.
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return super().__getattr__(name)
        except KeyError as error:
            raise AttributeError(name) from error

    @property
    def data(self) -> NeuroVaultService:
        """The server."""
        return self.kwargs.get("data") or NeuroVaultService(self.kwargs.get("url"))

    def to_reader(
        self, outtype: Any = None, reader: Any = None, **changes: Any
    ) -> NeuroVaultReader:
        """Give another reader of the same query.

        Parameters
        ----------
        outtype : str, optional
            What it shall give, such as ``"pandas"``.
        reader : str, optional
            Its name.
        **changes
            Arguments of `intake_neurovault.search`.

        Returns
        -------
        NeuroVaultReader
            The reader; nothing is requested.
        """
        kind = self.data.to_reader_cls(outtype, reader)
        made: NeuroVaultReader = kind(**self.kwargs | changes, metadata=self.metadata)
        return made

    def to_entry(self) -> ReaderDescription:
        """Describe it as an entry of a catalog.

        Returns
        -------
        intake.readers.entry.ReaderDescription
            With plain values only; text that a catalog would fill in comes out as it
            is here.

        Raises
        ------
        FilterError
            If a condition is a Python function.
        ArgumentError
            If a private collection's token is given literally.
        """
        where, given = self._taken_apart()
        plain = _plain(self._describe(where, given), where, given)
        return ReaderDescription(
            reader=self.qname(),
            kwargs=({} if where is None else {"data": where}) | formatted(plain),
            output_instance=self.output_instance,
            metadata=self.metadata,
        )

    def _dic_for_comp(self) -> dict[str, Any]:
        # NOTE: intake makes a quick digest of this, from which a token, eight
        # capitals, could be found by trying them all.
        what = repr(self._describe(*self._taken_apart()).__dask_tokenize__())
        return {"what": what, "gives": self.output_instance}

    def _taken_apart(self) -> tuple[NeuroVaultService | None, dict[str, Any]]:
        given = dict(self.kwargs)
        return given.pop("data", None), given

    def _describe(
        self, data: NeuroVaultService | None, arguments: Mapping[str, Any]
    ) -> SearchResult | Directory:
        return intake_neurovault.search(**_joined(data, arguments))

    def _read(self, data: NeuroVaultService | None = None, **arguments: Any) -> Any:
        return self._give(self._describe(data, arguments))

    def _give(self, subject: Any) -> Any:
        raise NotImplementedError


class NeuroVaultCatalogReader(NeuroVaultReader):
    """Reads the list of collections as a catalog, an entry for each.

    It takes the arguments of `intake_neurovault.Directory`.

    Examples
    --------
    >>> reader = NeuroVaultCatalogReader(collection_terms={"DOI": {"$null": False}})
    >>> reader.kwargs
    {'collection_terms': {'DOI': {'$null': False}}}
    """

    implements = frozenset({NeuroVaultService})
    output_instance = _CATALOG
    func = "intake_neurovault.reader_catalogs:catalog_of_collections"

    def _describe(
        self, data: NeuroVaultService | None, arguments: Mapping[str, Any]
    ) -> Directory:
        return intake_neurovault.Directory(**_joined(data, arguments))

    def _give(self, subject: Directory) -> Catalog:
        return self._func(subject)


class NeuroVaultSearch(NeuroVaultReader):
    """Reads a query as a `intake_neurovault.SearchResult`, which is deferred.

    It takes the arguments of `intake_neurovault.search`.

    Examples
    --------
    >>> NeuroVaultSearch(image_ids=[10426]).read()
    <SearchResult: not searched yet; images 10426>
    """

    implements = frozenset({NeuroVaultService})
    output_instance = _RESULT

    def _give(self, subject: SearchResult) -> SearchResult:
        return subject


class NeuroVaultTable(NeuroVaultReader):
    """Reads the metadata of the images of a query as a table.

    It takes the arguments of `intake_neurovault.search`.

    Examples
    --------
    >>> NeuroVaultTable(image_ids=[]).read().columns[:2].tolist()
    ['id', 'collection_id']
    """

    implements = frozenset({NeuroVaultService})
    output_instance = _TABLE
    imports = frozenset({"pandas"})

    def _give(self, subject: SearchResult) -> pd.DataFrame:
        return subject.df


class NeuroVaultImages(NeuroVaultReader):
    """Reads the images of a query as a lazy cube.

    It takes the arguments of `intake_neurovault.search`.

    Examples
    --------
    >>> NeuroVaultImages(image_ids=[10426])(grid="mni152-2mm").kwargs
    {'image_ids': [10426], 'grid': 'mni152-2mm'}
    """

    implements = frozenset({NeuroVaultService})
    output_instance = _DATASET
    imports = frozenset({"xarray"})

    def _give(self, subject: SearchResult) -> xr.Dataset:
        return subject.to_dask()


class SearchResultToXarray(BaseConverter):
    """Makes a lazy cube of what was found."""

    instances: ClassVar[dict[str, str]] = {_RESULT: _DATASET}
    func = "intake_neurovault:SearchResult.to_dask"


class SearchResultToDataTree(BaseConverter):
    """Makes a tree of lazy cubes, one for each grid that occurs."""

    instances: ClassVar[dict[str, str]] = {_RESULT: "xarray:DataTree"}
    func = "intake_neurovault:SearchResult.to_datatree"


class SearchResultToPandas(BaseConverter):
    """Makes a table of what was found."""

    instances: ClassVar[dict[str, str]] = {_RESULT: _TABLE}
    func = "intake_neurovault:SearchResult.df.fget"


class SearchResultToCatalog(BaseConverter):
    """Makes a catalog of what was found, an entry for each image."""

    instances: ClassVar[dict[str, str]] = {_RESULT: _CATALOG}
    func = "intake_neurovault.reader_catalogs:catalog_of_images"


def _arguments_in(url: str | None) -> dict[str, Any]:
    """Give the arguments that an address stands for."""
    if url is None:
        return {}
    found = _PAGE.fullmatch(url.strip())
    if found is None:
        return {"url": url}
    server, kind, number = found.groups()
    if number.isascii() and number.isdigit():
        return {"url": server, f"{kind}_ids": [int(number)]}
    msg = (
        f"url= names no {kind} by its number; give the server as url=, and a private "
        "collection as collection_ids='env:NAME' with the environment variable that "
        "holds its token."
    )
    raise intake_neurovault.ArgumentError(msg)


def _joined(
    data: NeuroVaultService | None, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    return ({} if data is None else data.arguments) | dict(arguments)


def _plain(
    subject: SearchResult | Directory,
    data: NeuroVaultService | None,
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    """Give what was asked for as plain values, without what the data say."""
    said = {} if data is None else data.arguments
    plain = subject.to_arguments().items()
    return {k: each for k, each in plain if k in arguments or k not in said}


def _settled(
    subject: SearchResult | Directory,
    data: NeuroVaultService | None,
    arguments: Mapping[str, Any],
) -> dict[str, Any]:
    """Give what was asked for as plain values, as far as there are such."""
    try:
        return _plain(subject, data, arguments)
    except (intake_neurovault.FilterError, intake_neurovault.ArgumentError):
        given = dict(arguments)
        if given.get("collection_ids") is not None:
            # NOTE: parsed, so that no token is shown.
            given["collection_ids"] = list(subject.query.collection_ids)
        return given
