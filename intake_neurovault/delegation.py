"""What an intake source hands on to its result: the search, the table, the maps."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd
    import xarray as xr

    from intake_neurovault.about import About
    from intake_neurovault.query import Query
    from intake_neurovault.records import Image
    from intake_neurovault.result import SearchResult


class Delegation:
    """Hands on to a result what a user asks of a source.

    Examples
    --------
    >>> from intake_neurovault import search
    >>> class Source(Delegation):
    ...     result = search(image_ids=[])
    >>> Source().keys(), len(Source())
    ([], 0)
    """

    result: SearchResult
    """What it stands for."""

    @property
    def query(self) -> Query:
        """What the entry looks for."""
        return self.result.query

    @property
    def df(self) -> pd.DataFrame:
        """The images as a table: one row each, the core metadata typed."""
        return self.result.df

    @property
    def failures(self) -> pd.DataFrame:
        """What could not be had, and why."""
        return self.result.failures

    @property
    def listed(self) -> datetime | None:
        """When the server gave the oldest listing that was used, in UTC."""
        return self.result.listed

    def __len__(self) -> int:
        return len(self.result)

    def __iter__(self) -> Iterator[Image]:
        return iter(self.result)

    def __getitem__(self, image_id: object) -> About:
        return self.result[image_id]

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.result

    def keys(self) -> list[int]:
        """List the ids of the images, in the order of the result.

        Returns
        -------
        list of int
            The ids.
        """
        return self.result.keys()

    def missing(self) -> list[int]:
        """List the images whose file is not on disk; nothing is requested.

        Returns
        -------
        list of int
            Their ids, in the order of the result.
        """
        return self.result.missing()

    def explain(self) -> pd.DataFrame:
        """Tell what each term did, and which to blame if nothing is left.

        Returns
        -------
        pandas.DataFrame
            ``term``, ``applied_to``, ``judged_by``, ``seen``, ``removed``, ``alone``
            and ``to_blame``.
        """
        return self.result.explain()

    def unique(self, column: str | None = None) -> pd.Series[Any] | list[Any]:
        """List what occurs in the columns of the table.

        Parameters
        ----------
        column : str, optional
            One column of ``.df``; all if absent.

        Returns
        -------
        list or pandas.Series
            The values of that column, each once; or such a list for each column.
        """
        return self.result.unique(column)

    def nunique(self) -> pd.Series[int]:
        """Count the different values in each column of the table.

        Returns
        -------
        pandas.Series
            Whole numbers, by column.
        """
        return self.result.nunique()

    def matched(self) -> int:
        """Count the images that match, also those beyond ``max_images``.

        Returns
        -------
        int
            How many.
        """
        return self.result.matched()

    def fetch(self) -> dict[int, Path]:
        """Download what is missing: several at a time, verified, each once.

        Returns
        -------
        dict of int to pathlib.Path
            The local file of each image that could be had.
        """
        return self.result.fetch()

    def to_intake(
        self,
        path: str | PathLike[str],
        *,
        version: Literal[1, 2] = 1,
        name: str | None = None,
        description: str = "",
    ) -> Path:
        """Write the query down as a catalog that intake opens.

        Parameters
        ----------
        path : path
            A local file, whose name ends in ``.yaml`` or ``.yml``; one that is there
            is replaced.
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
        """
        return self.result.to_intake(
            path, version=version, name=name, description=description
        )

    def freeze(
        self, path: str | Path, name: str | None = None, overwrite: bool = False
    ) -> Path:
        """Write a catalog entry that gives the same maps and table for good.

        Parameters
        ----------
        path : path
            The catalog, such as ``"maps.yaml"``; its lock is put beside it.
        name : str, optional
            Of its entry; that of the file if absent.
        overwrite : bool
            Whether to replace what was frozen there before.

        Returns
        -------
        pathlib.Path
            The catalog.
        """
        return self.result.freeze(path, name, overwrite)

    def thaw(self) -> SearchResult:
        """Ask the frozen query anew, for what the server has now.

        Returns
        -------
        SearchResult
            As `SearchResult.thaw` gives it.
        """
        return self.result.thaw()

    def changes(self) -> pd.DataFrame:
        """Ask the server what changed since this was frozen.

        Returns
        -------
        pandas.DataFrame
            As `SearchResult.changes` gives it.
        """
        return self.result.changes()

    def to_dask(self) -> xr.Dataset:
        """Build the lazy cube.

        Returns
        -------
        xarray.Dataset
            ``maps(image, x, y, z)`` with the metadata as coordinates.
        """
        return self.result.to_dask()

    def to_datatree(self) -> xr.DataTree:
        """Build a tree of lazy cubes, one for each grid that occurs.

        Returns
        -------
        xarray.DataTree
            A node for each grid.
        """
        return self.result.to_datatree()

    def to_dataset_dict(self) -> dict[str, xr.Dataset]:
        """Build lazy cubes, one for each grid that occurs.

        Returns
        -------
        dict of str to xarray.Dataset
            What is in the nodes of `to_datatree`, under the names of the nodes.
        """
        return self.result.to_dataset_dict()

    def to_matrix(
        self, mask: Any = None, *, radius: float | None = None
    ) -> xr.DataArray:
        """Build the lazy matrix of images by voxels or regions.

        Parameters
        ----------
        mask : optional
            What the columns are: a mask, an atlas, places or one of nilearn's maskers;
            nilearn's MNI152 brain mask by default.
        radius : float, optional
            Of the spheres around places, in millimetres.

        Returns
        -------
        xarray.DataArray
            As `SearchResult.to_matrix` gives it.
        """
        return self.result.to_matrix(mask, radius=radius)

    def read(self) -> xr.Dataset:
        """Load the whole cube into memory.

        Returns
        -------
        xarray.Dataset
            As `to_dask`, computed.
        """
        return self.result.read()

    def read_partition(self, i: int) -> xr.DataArray:
        """Load one map.

        Parameters
        ----------
        i : int
            Its place in the result, from 0.

        Returns
        -------
        xarray.DataArray
            ``(x, y, z)``; its attributes are the metadata of the image.
        """
        return self.result.read_partition(i)

    def read_chunked(self) -> Iterator[xr.DataArray]:
        """Load the maps one after the other.

        Yields
        ------
        xarray.DataArray
            As `read_partition` gives them.
        """
        return self.result.read_chunked()
