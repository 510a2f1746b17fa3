"""What a user holds after a query: a table at once, voxels when asked for."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from intake_neurovault import accessor, cube
from intake_neurovault.errors import (
    EmptyResultError,
    FilterError,
    NeuroVaultError,
)
from intake_neurovault.found import Aftermath, Found
from intake_neurovault.nifti import Geometry, Reader, resolve_grid
from intake_neurovault.query import Query
from intake_neurovault.records import Image
from intake_neurovault.refs import parse_id
from intake_neurovault.tables import failure_table, image_table, step_table
from intake_neurovault.vault import Vault
from intake_neurovault.words import vectorise

# NOTE: importing `accessor` registers `.nii`; whoever holds a result needs it.
__all__ = ["SearchResult", "accessor"]

logger = logging.getLogger(__name__)

Predicate = Callable[[Mapping[str, Any]], bool]

_CAPPED = "Stopped at the first %d images; max_images=None gives all that match."


class SearchResult:
    """The images that match a query: deferred, countable, loadable.

    Made by `search`. Metadata is requested when somebody looks at the first
    time, voxels when something is computed.

    Parameters
    ----------
    query : Query
        What to look for.
    reader : Reader
        How to read a map.
    vault : Vault
        Where from, where to, how hard to try.
    chunks : int or "auto"
        How many maps one dask task reads.
    predicate : callable, optional
        A condition that only Python can express; it can not be written down.
    settings : tuple of (str, value)
        The arguments of `search` about chunks and vault that are not defaults.

    Examples
    --------
    >>> from intake_neurovault import search
    >>> search(image_ids=[10426])
    <SearchResult: not searched yet; images 10426>
    """

    def __init__(
        self,
        query: Query,
        reader: Reader,
        vault: Vault,
        *,
        chunks: cube.Chunks = "auto",
        predicate: Predicate | None = None,
        settings: tuple[tuple[str, Any], ...] = (),
    ) -> None:
        self.query = query
        self.reader = reader
        self.vault = vault
        self._chunks = chunks
        self._predicate = predicate
        self._settings = settings
        self._words_url = dict(settings).get("words_url") or None
        self._locks: dict[int, threading.Lock] = {}
        self._found: Found | None = None
        self._later = Aftermath()

    @property
    def found(self) -> Found:
        """The outcome of the search, which runs at the first look."""
        with self._lock:
            if self._found is None:
                self._found = self.vault.search(self.query, self._predicate)
                if self._found.truncated and self.query.max_images_is_default:
                    logger.warning(_CAPPED, len(self._found.images))
            return self._found

    def __len__(self) -> int:
        return len(self.found.images)

    def __bool__(self) -> bool:
        # NOTE: truth must not cost a request; `len(result)` counts.
        return True

    def __iter__(self) -> Iterator[Image]:
        return iter(self.found.images)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self.keys()

    def __getitem__(self, image_id: object) -> Image:
        found = {image.id: image for image in self.found.images}
        if (wanted := parse_id(image_id)) in found:
            return found[wanted]
        msg = f"Image {wanted} is not in this result; .keys() lists what is."
        raise KeyError(msg)

    def keys(self) -> list[int]:
        """List the ids of the images.

        Returns
        -------
        list of int
            In the order of the result.
        """
        return [image.id for image in self.found.images]

    @property
    def df(self) -> pd.DataFrame:
        """The images as a table: one row each, the core metadata typed.

        The columns of the core schema come first and are always there, whole
        numbers as ``Int64``, truth values as ``boolean``, dates in UTC; custom
        fields of the images follow as they came.
        """
        return image_table(self.found.images, self.found.collections)

    @property
    def failures(self) -> pd.DataFrame:
        """What could not be had, and why: one row for each image or page."""
        return failure_table([*self.found.failures, *self._later.rows()])

    def explain(self) -> pd.DataFrame:
        """Tell how many records each term removed.

        Returns
        -------
        pandas.DataFrame
            One row for each term, in the order in which they are applied:
            ``term``, how many it ``removed`` of those that were left, and how
            many it would remove ``alone``.
        """
        return step_table(self.found.steps)

    def discover(self) -> dict[str, Any]:
        """Tell size and kind of the data; only metadata is requested.

        Returns
        -------
        dict
            ``dtype``, ``shape`` (None where a map's own grid is not known yet),
            ``npartitions`` (the number of images), ``metadata``.
        """
        found = self.found
        grid = resolve_grid(self.reader.grid)
        spatial = grid.shape if grid else (None, None, None)
        return {
            "dtype": "float32",
            "shape": (len(found.images), *spatial),
            "npartitions": len(found.images),
            "metadata": {
                "dims": ["image", "x", "y", "z"],
                "collections": sorted(found.collections),
                "failures": len(self.failures),
                "listed": found.listed,
            },
        }

    def fetch(self) -> dict[int, Path]:
        """Download what is missing: several at a time, verified, each once.

        Returns
        -------
        dict of int to pathlib.Path
            The local file of each image that could be had, by id; the others
            stand in ``.failures``.

        Raises
        ------
        NeuroVaultError
            With ``errors="raise"``, the first failure; what was fetched before
            it is kept.
        """
        images = self.found.images
        both = zip(images, self._fetch(images), strict=True)
        return {image.id: path for image, path in both if path is not None}

    def to_dask(self) -> xr.Dataset:
        """Build the lazy cube.

        With a named grid no voxel file is requested before something is
        computed. With ``grid=None`` the files are fetched first, since a map's
        geometry is inside its file.

        Returns
        -------
        xarray.Dataset
            ``maps(image, x, y, z)``, float32, with the metadata as coordinates
            on ``image`` and millimetres on ``x``, ``y`` and ``z``.

        Raises
        ------
        EmptyResultError
            If nothing matched.
        GeometryError
            With ``grid=None``, if the maps lie on several grids.
        """
        images = self._images()
        where = self._geometries(images)
        dataset = cube.build(images, self._recipe(), geometries=where)
        return self._with_words(dataset) if self.query.words else dataset

    def to_datatree(self) -> xr.DataTree:
        """Build a tree of lazy cubes, one for each grid that occurs.

        Returns
        -------
        xarray.DataTree
            A node for each grid; with a named grid there is one.
        """
        images = self._images()
        geometries = self._geometries(images)
        tree = cube.build_tree(images, self._recipe(), geometries=geometries)
        if self.query.words:
            for node in tree.children.values():
                node.dataset = self._with_words(node.to_dataset())
        return tree

    def read(self) -> xr.Dataset:
        """Load the whole cube into memory.

        Returns
        -------
        xarray.Dataset
            As `to_dask`, computed.
        """
        return self.to_dask().load()

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

        Raises
        ------
        IndexError
            If there is no such place.
        """
        images = self.found.images
        if not 0 <= i < len(images):
            msg = f"Partition {i} does not exist: the result has {len(images)} images."
            raise IndexError(msg)
        image = images[i]
        geometries = self._geometries([image])
        dataset = cube.build([image], self._recipe(), geometries=geometries)
        return cube.single(dataset, image)

    def read_chunked(self) -> Iterator[xr.DataArray]:
        """Load the maps one by one.

        Yields
        ------
        xarray.DataArray
            As `read_partition` gives them.
        """
        yield from map(self.read_partition, range(len(self)))

    def close(self) -> None:
        """Forget what was found; the next look searches again."""
        with self._lock:
            self._found, self._later = None, Aftermath()
            self.vault = self.vault.renewed()

    def to_arguments(self) -> dict[str, Any]:
        """Give the arguments of `search` that describe this result.

        Returns
        -------
        dict
            Plain values that YAML and JSON can hold; defaults are left out.

        Raises
        ------
        FilterError
            If a condition is a Python function.
        ArgumentError
            If a private collection's token is given literally.
        """
        if self._predicate is not None:
            msg = (
                "A Python function cannot be written down; express image_terms with "
                "the operators of the filter grammar, such as {'$gte': 20}."
            )
            raise FilterError(msg)
        settings = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self._settings
        }
        return {**self.query.to_arguments(), **self.reader.to_arguments(), **settings}

    @property
    def _lock(self) -> threading.Lock:
        # NOTE: what another thread holds during a fork is never released in the child.
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def _identity(self) -> tuple[object, ...]:
        predicate = None if self._predicate is None else id(self._predicate)
        how = (self._chunks, self._words_url, predicate)
        return (self.query, self.reader, self.vault, *how)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchResult) and (
            self._identity() == other._identity()
        )

    def __hash__(self) -> int:
        return hash(self._identity())

    def __getstate__(self) -> dict[str, Any]:
        # NOTE: whoever receives a copy finds again, in the store, what was found.
        return {**vars(self), "_locks": {}, "_found": None}

    def __dask_tokenize__(self) -> tuple[object, ...]:
        pool = self.vault.pool
        return ("SearchResult", self._token(), self._words_url, pool, self._predicate)

    def __repr__(self) -> str:
        number = len(self._found.images) if self._found else None
        count = {None: "not searched yet", 1: "1 image"}.get(number, f"{number} images")
        return f"<SearchResult: {count}; {self.query.describe()}>"

    def _images(self) -> tuple[Image, ...]:
        found = self.found
        if found.images:
            return found.images
        raise EmptyResultError(found.why_empty())

    def _fetch(self, images: Sequence[Image]) -> tuple[Path | None, ...]:
        try:
            fetched = self.vault.fetch(images)
        except NeuroVaultError as error:
            self._later.note("files", images, error.failures)
            raise
        self._later.note("files", images, fetched.failures)
        return fetched.paths

    def _geometries(self, images: Sequence[Image]) -> list[Geometry | None] | None:
        if self.reader.grid is not None:
            return None
        paths = self._fetch(images)
        geometries, failures = self.vault.geometries(images, paths)
        self._later.note("geometry", images, failures)
        return geometries

    def _token(self) -> str:
        what = (self.query.fingerprint(), self.reader, self._chunks)
        return f"{what!r} {self.vault.place()}"

    def _recipe(self) -> cube.Recipe:
        return cube.Recipe(
            reader=self.reader,
            opener=self.vault.open,
            chunks=self._chunks,
            collections=self.found.collections,
            query=json.dumps(self.query.to_json(), sort_keys=True),
            url=self.vault.mirror.client.url,
            token=self._token(),
            errors=self.vault.pool.errors,
        )

    def _with_words(self, dataset: xr.Dataset) -> xr.Dataset:
        rows = set(dataset.image.values.tolist())
        images = [each for each in self.found.images if each.id in rows]
        pairs = [(each, self.found.collections[each.collection_id]) for each in images]
        words = self.vault.words(pairs, self._words_url)
        self._later.note("words", images, words.failures)
        return cube.add_words(dataset, *vectorise(words.weights))
