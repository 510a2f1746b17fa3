"""The intake face: driver ``neurovault``, and the catalog that ships with it.

``import intake`` and ``open_catalog`` load this module, so it imports nothing
heavy; everything else is reached through the package's lazy door.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import intake
from intake.catalog import Catalog
from intake.source.base import DataSource, Schema

import intake_neurovault
from intake_neurovault.declared import Declared
from intake_neurovault.delegation import Delegation
from intake_neurovault.forwarding import Forwarding
from intake_neurovault.parameters import DEFAULTS

if TYPE_CHECKING:
    from intake_neurovault.result import SearchResult

_ARGUMENTS: Mapping[str, object] = {**DEFAULTS, "resample": None}


class NeuroVaultSource(Delegation, Forwarding, Declared, DataSource):
    """A query on NeuroVault as an intake source.

    It takes the arguments of `intake_neurovault.search`, which explains them,
    and hands everything on to the `intake_neurovault.SearchResult` that it
    makes. Opening an entry requests nothing.

    Calling a source gives another one, which differs in what the call says:
    arguments of `intake_neurovault.search`, or parameters that its entry in a
    catalog declares. A pickled copy has left its catalog and knows only the former.

    Parameters
    ----------
    metadata : mapping, optional
        What a catalog says about the entry.
    **arguments
        Those of `intake_neurovault.search`.

    Raises
    ------
    UnknownArgumentError
        If an argument is misspelt.
    ArgumentError
        If a value is not what its argument takes.

    Examples
    --------
    >>> import intake
    >>> source = intake.open_neurovault(image_ids=[10426], grid="mni152-2mm")
    >>> source.query.image_ids
    (10426,)
    >>> source(max_images=5)(nan="zero").result.to_arguments()["max_images"]
    5
    """

    name = "neurovault"
    name_of_driver = "neurovault"
    takes = _ARGUMENTS
    version = intake_neurovault.__version__
    container = "xarray"
    partition_access = True

    def _begin(self, metadata: dict[str, Any], arguments: dict[str, Any]) -> None:
        DataSource.__init__(self, metadata=metadata)
        self.result: SearchResult = intake_neurovault.search(**arguments)

    @property
    def _subject(self) -> SearchResult:
        return self.result

    def __bool__(self) -> bool:
        # NOTE: intake asks for the truth of sources; that must not cost a request.
        return True

    def search(self, **changes: Any) -> NeuroVaultSource:
        """Search within what this source gives; the server is asked nothing.

        Parameters
        ----------
        **changes
            Arguments of `intake_neurovault.SearchResult.search`, which explains them.

        Returns
        -------
        NeuroVaultSource
            A new source, with the conditions of both; its ``yaml()`` can be kept.

        Raises
        ------
        ArgumentError
            If a value is not what its argument takes, or a private collection's token
            was given literally.
        FilterError
            If a condition is a Python function: a source is made of what can be
            written down; ``.result.search()`` takes them.
        """
        return self._with(self.result.search(**changes))

    def sample(self, n: int, *, seed: int = 0) -> NeuroVaultSource:
        """Draw some images at random; the server is asked nothing.

        Parameters
        ----------
        n : int
            How many.
        seed : int
            Which of the many samples of that size.

        Returns
        -------
        NeuroVaultSource
            A new source, which names its images by their ids.

        Raises
        ------
        ArgumentError
            If there are not so many.
        """
        return self._with(self.result.sample(n, seed=seed))

    def _with(self, result: SearchResult) -> NeuroVaultSource:
        metadata = self._captured_init_kwargs["metadata"]
        new = type(self)(metadata=metadata, **result.to_arguments())
        new.name, new.description = self.name, self.description
        new.result = result
        return new

    def _get_schema(self) -> Schema:
        about = self.result.discover()
        about["extra_metadata"] = about.pop("metadata")
        return Schema(about)

    def _close(self) -> None:
        self.result.close()
        self._schema = None

    def __repr__(self) -> str:
        return f"<NeuroVaultSource {self.name!r}: {self.result!r}>"

    def _repr_html_(self) -> str:
        about = f": {escape(self.description)}" if self.description else ""
        return f"<p><b>{escape(self.name)}</b>{about}</p>{self.result._repr_html_()}"


def open_packaged_catalog(name: str = "neurovault") -> Catalog:
    """Open one of the catalogs that ship with the package.

    Parameters
    ----------
    name : str
        The name of the file, without ``.yaml``.

    Returns
    -------
    intake.catalog.Catalog
        The catalog; nothing is requested.

    Examples
    --------
    >>> "brainpedia" in list(open_packaged_catalog())
    True
    """
    path = files("intake_neurovault.catalogs") / f"{name}.yaml"
    return intake.open_catalog(str(path))


@cache
def __getattr__(name: str) -> Any:
    # NOTE: the entry point group `intake.catalogs` wants an instance; made here when
    # somebody asks for it, so that loading the driver opens no file.
    if name == "packaged_catalog":
        return open_packaged_catalog()
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
