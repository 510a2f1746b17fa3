"""What a user asks of a result before its maps are used: whether they are any good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from intake_neurovault import cube
from intake_neurovault.appraisal import find_pairs, pair_table, quality_table
from intake_neurovault.errors import Failure, GeometryError, NeuroVaultError
from intake_neurovault.found import Aftermath
from intake_neurovault.likeness import THRESHOLD, Pairs, parse_threshold
from intake_neurovault.measures import MEASURES
from intake_neurovault.nifti import Geometry, Reader
from intake_neurovault.placement import place
from intake_neurovault.records import Image
from intake_neurovault.remarks import NOT_HAD
from intake_neurovault.stacked import StackedMap
from intake_neurovault.vault import Vault

_AS_THEY_ARE = Reader(None)
_NONE = np.empty(0, np.intp)


class _Result(Protocol):
    """What of a result is needed to check its maps."""

    reader: Reader
    vault: Vault
    _later: Aftermath

    def _every(self) -> tuple[Image, ...]: ...

    def _fetch(self, images: Sequence[Image]) -> tuple[Path | None, ...]: ...

    def _recipe(self, images: Sequence[Image]) -> cube.Recipe: ...


class Checkable:
    """What a result can do about maps that had better not be used."""

    def quality(self: _Result, mask: Any = None) -> pd.DataFrame:
        """Measure the file of each image, and say what is suspicious about it.

        What is missing is downloaded first. Each file is read once, a few at a time, on
        its own grid, whatever the grid of this result; ``to_dask().nii.quality()``
        measures maps as they were brought to a grid.

        Parameters
        ----------
        mask : path, NIfTI image, DataArray or ndarray of bool, optional
            The voxels that should have values; nilearn's MNI152 brain mask by default.
            It is brought to the grid of each file by the nearest voxel.

        Returns
        -------
        pandas.DataFrame
            One row for each image, in the order of the result; ``id`` is as in
            ``.df``, so that both can be merged. The columns are those of
            ``.nii.quality()``: ``minimum``, ``maximum``, ``mean`` and ``std`` in the
            units of the map; ``zeros``, ``nan``, ``positive``, ``whole``, ``outside``
            and ``coverage`` as shares from 0 to 1; and ``remarks``, empty if nothing is
            suspicious. A file that cannot be had or read has a row of NaN.

        Raises
        ------
        EmptyResultError
            If nothing matched.
        ArgumentError
            If the mask cannot be one.
        GeometryError
            If an array as mask does not fit all files, or the mask has no voxel.
        NeuroVaultError
            With ``errors="raise"``, the first file that cannot be had or read; else
            such files are listed in ``.failures``.

        Examples
        --------
        >>> from intake_neurovault import search
        >>> from intake_neurovault.testing import NeuroVaultServer
        >>> with NeuroVaultServer() as server:
        ...     found = search(image_ids=[2020], url=server.url, data_dir=".").quality()
        >>> found[["id", "zeros", "remarks"]].values.tolist()
        [[2020, 1.0, 'All voxels are zero.']]
        """
        images = self._every()
        paths = _paths(self, images)
        here, geometries = _placed(self, images, paths)
        recipe = replace(self._recipe(here), reader=_AS_THEY_ARE, keeper=None)
        tables = [quality_table("id", _NONE, np.empty((0, len(MEASURES))))]
        if here:
            tree = cube.build_tree(here, recipe, geometries=geometries)
            nodes = (node.to_dataset() for node in tree.children.values())
            tables = [dataset.nii.quality(mask) for dataset in nodes]
        table = pd.concat(tables).set_index("id")
        empty = set(table.index[table.nan == 1])
        doubtful = [image for image in here if image.id in empty]
        failures = _unreadable(self.vault, doubtful, paths)
        self._later.note("voxels", images, failures)
        table = table.drop(index=[each.id for each in failures])
        order = pd.Index([image.id for image in images], dtype="Int64", name="id")
        return table.reindex(order).fillna({"remarks": NOT_HAD}).reset_index()

    def duplicates(
        self: _Result, threshold: float = THRESHOLD, mask: Any = None
    ) -> pd.DataFrame:
        """Find pairs of maps that are nearly the same, or the same with other signs.

        What is missing is downloaded first. The maps are compared on the grid of this
        result, which needs to be one for all.

        Parameters
        ----------
        threshold : float
            The least correlation, above 0 and at most 1, whatever its sign.
        mask : path, NIfTI image, DataArray or ndarray of bool, optional
            Which voxels are compared; nilearn's MNI152 brain mask by default.

        Returns
        -------
        pandas.DataFrame
            One row for each pair: ``id`` and ``other``, which comes later in the
            result; ``correlation``, Pearson's, within 0.00001; and ``kind``: ``"same
            file"`` if both have the same bytes, else ``"near-duplicate"`` or
            ``"sign-flipped"``. Leaving out all that are ``other`` leaves no pair. Of
            equal files that hold one value only, the correlation is NaN. How pairs are
            found, and where the threshold comes from, is said at ``.nii.duplicates()``.

        Raises
        ------
        EmptyResultError
            If nothing matched.
        ArgumentError
            If the threshold or the mask cannot be one.
        GeometryError
            With ``grid=None``, if the maps lie on several grids; if the mask does not
            fit.
        NeuroVaultError
            With ``errors="raise"``, the first file that cannot be had or read; else
            such files are in no pair, and listed in ``.failures``.

        Examples
        --------
        >>> from intake_neurovault import search
        >>> from intake_neurovault.testing import NeuroVaultServer
        >>> with NeuroVaultServer() as server:
        ...     found = search(image_ids=[2001, 2007], url=server.url, data_dir=".")
        ...     pairs = found.duplicates()
        >>> pairs[["id", "other", "kind"]].values.tolist()
        [[2001, 2007, 'near-duplicate']]
        """
        parse_threshold(threshold)
        images = self._every()
        kept = _kept(self, images)
        lacking = [image for image in images if image.id not in kept]
        here, geometries = _placed(self, lacking, _paths(self, lacking))
        known = kept | {image.id for image in here}
        maps = [image for image in images if image.id in known]
        where = geometries if self.reader.grid is None else None
        if where and len(place(maps, None, where)) > 1:
            msg = (
                "the maps lie on several grids, and duplicates are looked for on one; "
                'use .search(grid="mni152-3mm").duplicates()'
            )
            raise GeometryError(msg)
        if not maps:
            nothing = Pairs(_NONE, _NONE, np.empty(0))
            return pair_table("id", _NONE, nothing, (_NONE, _NONE))
        dataset = cube.build(maps, self._recipe(maps), geometries=where)
        digests = [_digest(self.vault, image) for image in maps]
        return find_pairs(dataset.nii.to_matrix(mask), threshold, digests)


def _paths(result: _Result, images: Sequence[Image]) -> dict[int, Path]:
    """Fetch files, and give those that could be had."""
    both = zip(images, result._fetch(images), strict=True)
    return {image.id: path for image, path in both if path is not None}


def _placed(
    result: _Result, images: Sequence[Image], paths: Mapping[int, Path]
) -> tuple[list[Image], list[Geometry]]:
    """Give the images whose files hold maps, and where their voxels lie."""
    found = [paths.get(image.id) for image in images]
    geometries, failures = result.vault.geometries(images, found)
    result._later.note("geometry", images, failures)
    both = zip(images, geometries, strict=True)
    pairs = [(image, where) for image, where in both if where is not None]
    return [image for image, _ in pairs], [where for _, where in pairs]


def _unreadable(
    vault: Vault, images: Sequence[Image], paths: Mapping[int, Path]
) -> tuple[Failure, ...]:
    """Tell which files cannot be read, and why, of those that have no value."""
    report = vault.pool.report()
    for image in images:
        path = paths[image.id]
        read = partial(_AS_THEY_ARE, discrete=True, label=image.label)
        try:
            vault.mirror.read(image.file, path, read)
        except NeuroVaultError as error:
            ids, where = (image.id, image.collection_id), str(path)
            report.failed(Failure(*ids, where, str(error), 0), error)
    report.warn("read")
    return tuple(report.failures)


def _kept(result: _Result, images: Sequence[Image]) -> set[int]:
    """Tell which maps are kept on the grid, so that their files are not needed."""
    gridded, reader = result.vault.gridded, result.reader.resolve()
    if gridded is None or reader.grid is None:
        return set()
    load = gridded.load
    return {i.id for i in images if load(StackedMap.of(i), reader, ())}


def _digest(vault: Vault, image: Image) -> str | None:
    """Give the SHA-256 of a file, if it is known."""
    file = image.file
    if file is None or file.sha256 is not None:
        return None if file is None else file.sha256
    receipt = vault.mirror.store.receipt(file)
    return None if receipt is None else receipt.sha256
