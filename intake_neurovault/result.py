"""What a user holds after a query: a table at once, voxels when asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from intake_neurovault import accessor, cube
from intake_neurovault.bunch import make_bunch
from intake_neurovault.checking import Checkable
from intake_neurovault.combining import Combinable
from intake_neurovault.cortex import Surfaced
from intake_neurovault.decoder import Words
from intake_neurovault.downloads import Supplier
from intake_neurovault.errors import NeuroVaultError, WordsError
from intake_neurovault.exploring import Explorable
from intake_neurovault.freezing import Freezable
from intake_neurovault.frozen import opener_of
from intake_neurovault.matches import Matches
from intake_neurovault.nifti import Geometry, resolve_grid
from intake_neurovault.pool import ErrorPolicy
from intake_neurovault.records import Image
from intake_neurovault.resampled import Resampler
from intake_neurovault.showing import Shown
from intake_neurovault.words import vectorise, word_frequencies

if TYPE_CHECKING:
    from intake_neurovault.bunch import Bunch

# NOTE: importing `accessor` registers `.nii`; whoever holds a result needs it.
__all__ = ["SearchResult", "accessor"]


class SearchResult(
    Matches, Explorable, Freezable, Checkable, Shown, Surfaced, Combinable
):
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
        both = zip(*self._originals(), strict=True)
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
        images = self._every()
        where = self._geometries(images)
        dataset = cube.build(images, self._recipe(images), geometries=where)
        return self._with_words(dataset) if self.query.words else dataset

    def to_datatree(self) -> xr.DataTree:
        """Build a tree of lazy cubes, one for each grid that occurs.

        Returns
        -------
        xarray.DataTree
            A node for each grid; with a named grid there is one.
        """
        tree = self._tree(self._every())
        if self.query.words:
            for node in tree.children.values():
                node.dataset = self._with_words(node.to_dataset())
        return tree

    def to_dataset_dict(self) -> dict[str, xr.Dataset]:
        """Build lazy cubes, one for each grid that occurs.

        Returns
        -------
        dict of str to xarray.Dataset
            What is in the nodes of `to_datatree`, under the names of the nodes.

        Raises
        ------
        EmptyResultError
            If nothing matched.
        GeometryError
            With ``grid=None``, if no file could be had.
        """
        nodes = self.to_datatree().children
        return {name: node.to_dataset() for name, node in nodes.items()}

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
            ``(image, voxel)`` or ``(image, region)``, as
            ``to_dask().nii.to_matrix(mask)`` gives it; ``.nii.unmask()`` makes maps of
            it.

        Raises
        ------
        EmptyResultError
            If nothing matched.
        GeometryError
            With ``grid=None``, if the maps lie on several grids; if the mask does
            not fit.
        ArgumentError
            If the mask is nothing that can be one.
        """
        matrix: xr.DataArray = self.to_dask().nii.to_matrix(mask, radius=radius)
        return matrix

    def read(self) -> xr.Dataset:
        """Load the whole cube into memory.

        Returns
        -------
        xarray.Dataset
            As `to_dask`, computed.
        """
        return cube.loaded(self.to_dask())

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
        recipe = self._recipe([image])
        dataset = cube.build([image], recipe, geometries=geometries)
        return cube.single(dataset, image)

    def read_chunked(self) -> Iterator[xr.DataArray]:
        """Load the maps one by one.

        Yields
        ------
        xarray.DataArray
            As `read_partition` gives them. On its own grid a map that cannot be had
            has no shape; with ``errors="warn"`` or ``"skip"`` it is left out.
        """
        for i, image in enumerate(self.found.images):
            if self.reader.grid is None and self._geometries([image]) == [None]:
                continue
            yield self.read_partition(i)

    def to_bunch(
        self,
        *,
        resample: bool = False,
        vectorize_words: bool = True,
        allow_neurosynth_failure: bool = True,
    ) -> Bunch:
        """Download what is missing, and describe it as nilearn's fetchers do.

        Parameters
        ----------
        resample : bool
            Whether to give files on nilearn's grid of 3 mm in place of the files as
            served.
        vectorize_words : bool
            Whether to put words into one matrix, where they were asked for.
        allow_neurosynth_failure : bool
            Whether images whose words cannot be had are given without.

        Returns
        -------
        sklearn.utils.Bunch
            ``images``, ``images_meta``, ``collections_meta`` and ``description``, and
            with words ``word_frequencies`` and ``vocabulary``; only of images whose
            file could be had. ``failures`` lists the others, one mapping for each,
            with the columns of ``.failures``.

        Raises
        ------
        WordsError
            Without `allow_neurosynth_failure`, if the words of an image cannot be had.
        NeuroVaultError
            With ``errors="raise"``, the first failure.
        """
        images, paths = self._resampled() if resample else self._originals()
        about = self.found.collections
        had = [(each, path) for each, path in zip(images, paths, strict=True) if path]
        wanted = self.query.words
        policy: ErrorPolicy | None = None if allow_neurosynth_failure else "skip"
        words = self._words([each for each, _ in had], policy) if wanted else None
        if words and words.failures and not allow_neurosynth_failure:
            raise WordsError(words.failures[0].reason)
        bunch = make_bunch(
            ((each, about[each.collection_id], path) for each, path in had),
            self.vault.mirror.store.root,
            resampled=resample,
            words=wanted,
        )
        rows = [*self.found.failures, *self._later.rows()]
        bunch.failures = [asdict(failure) for failure in rows]
        if words and vectorize_words:
            found = word_frequencies(words.weights)
            bunch.word_frequencies, bunch.vocabulary = found
        return bunch

    def _tree(self, images: Sequence[Image]) -> xr.DataTree:
        where = self._geometries(images)
        return cube.build_tree(images, self._recipe(images), geometries=where)

    def _originals(self) -> tuple[tuple[Image, ...], tuple[Path | None, ...]]:
        if self._found is None:
            return self._gather()
        return self.found.images, self._fetch(self.found.images)

    def _resampled(self) -> tuple[tuple[Image, ...], tuple[Path | None, ...]]:
        images = self.found.images
        by_id = {image.id: image for image in images}
        resampler = Resampler(self.vault.mirror, self.reader, by_id)
        return images, self._fetch(images, resampler)

    def _gather(self) -> tuple[tuple[Image, ...], tuple[Path | None, ...]]:
        """Search, and fetch what is found meanwhile."""
        with self._keeping_account():
            found, fetched = self.vault.gather(self.query, self._predicate)
        with self._lock.get():
            self._found = self._found or found
        self._tell_of_cap(found)
        self._later.note("files", found.images, fetched.failures)
        return found.images, fetched.paths

    def _fetch(
        self, images: Sequence[Image], supplier: Supplier | None = None
    ) -> tuple[Path | None, ...]:
        try:
            fetched = self.vault.fetch(images, supplier)
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

    def _recipe(self, images: Sequence[Image]) -> cube.Recipe:
        return cube.Recipe(
            reader=self.reader,
            opener=opener_of(self.vault, images, self.reader),
            chunks=self._chunks,
            collections=self.found.collections,
            query=self._written(),
            url=self.vault.mirror.client.url,
            token=self._token(),
            errors=self.vault.pool.errors,
            keeper=self.vault.gridded,
        )

    def _written(self) -> str:
        return json.dumps(self.query.to_json(), sort_keys=True)

    def _with_words(self, dataset: xr.Dataset) -> xr.Dataset:
        rows = set(dataset.image.values.tolist())
        words = self._words([each for each in self.found.images if each.id in rows])
        return cube.add_words(dataset, *vectorise(words.weights))

    def _words(
        self, images: Sequence[Image], errors: ErrorPolicy | None = None
    ) -> Words:
        pairs = [(each, self.found.collections[each.collection_id]) for each in images]
        pool = replace(self.vault.pool, errors=errors or self.vault.pool.errors)
        words = replace(self.vault, pool=pool).words(pairs, self._words_url)
        self._later.note("words", images, words.failures)
        return words
