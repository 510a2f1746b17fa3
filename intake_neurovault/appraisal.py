"""Maps, labelled, to tables of what they are like and which are like others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from intake_neurovault.errors import GeometryError
from intake_neurovault.grid import Grid
from intake_neurovault.imaging import mask_image
from intake_neurovault.likeness import (
    THRESHOLD,
    Pairs,
    Sides,
    among,
    correlated,
    groups_of,
    joined,
    pairs_above,
    parse_threshold,
    same_files,
    sketch,
)
from intake_neurovault.measures import MEASURES, measure
from intake_neurovault.regions import count_of, parse_mask
from intake_neurovault.remarks import remarks_on

__all__ = [
    "Appraisable",
    "find_pairs",
    "pair_table",
    "quality_table",
]

_IMAGE, _VOXEL, _MEASURE, _PART = "image", "voxel", "measure", "part"
_BYTES = 2**26  # of rows that are compared with as many others


class Appraisable(ABC):
    """An array whose maps can be appraised."""

    _array: xr.DataArray

    @abstractmethod
    def _grid(self) -> tuple[tuple[str, ...], Grid]:
        """Name the voxel axes, and tell where the voxels lie."""

    @abstractmethod
    def to_matrix(self, mask: Any = None) -> xr.DataArray:
        """Make a matrix with one row for each map, one column for each voxel."""

    def quality(self, mask: Any = None) -> pd.DataFrame:
        """Measure each map, and say what is suspicious about it.

        Each map is read once, a few at a time.

        Parameters
        ----------
        mask : path, NIfTI image, DataArray or ndarray of bool, optional
            The voxels that should have values; nilearn's MNI152 brain mask by default.

        Returns
        -------
        pandas.DataFrame
            One row for each map. A voxel *has a value* if that is finite and not 0.

            - ``id``: of the image, as in ``.df``; what tells the maps apart if they are
              along another dimension, under its name
            - ``minimum``, ``maximum``: of the finite voxels, in the map's own units
            - ``mean``, ``std``: of the voxels with a value, in the map's own units
            - ``zeros``, ``nan``: shares of all voxels, 0 to 1; infinite ones count as
              NaN
            - ``positive``: of the voxels with a value, the share above 0
            - ``whole``: of these, the share of whole numbers (within 0.01), such as
              labels are
            - ``outside``: of these, the share outside the mask
            - ``coverage``: of the mask, the share that has values; what of it lies
              beyond the edges of the maps has none
            - ``remarks``: sentences about what is suspicious; empty if nothing is

        Raises
        ------
        ArgumentError
            If the mask cannot be one.
        GeometryError
            If the mask does not fit or has no voxel, a voxel axis is missing, or there
            are several dimensions besides these.

        Notes
        -----
        Interpolation leaves small values where there was none, so that thresholded maps
        on another grid seem to cover more than they do; `SearchResult.quality` measures
        files as they are. NeuroVault keeps 100 × (``zeros`` + ``nan``) as
        ``perc_bad_voxels``, 100 × ``outside`` as ``perc_voxels_outside`` and 100 ×
        ``coverage`` as ``brain_coverage``. Where the rules of the remarks come from is
        said in `intake_neurovault.remarks.remarks_on`.

        Examples
        --------
        >>> import intake_neurovault.accessor
        >>> steps = {"image": [7], "x": [-2.0, 0.0], "y": [0.0, 2.0], "z": [4.0, 6.0]}
        >>> maps = xr.DataArray(np.zeros((1, 2, 2, 2)), steps)
        >>> maps.nii.quality()[["id", "zeros", "remarks"]].values.tolist()
        [[7, 1.0, 'All voxels are zero.']]
        """
        dims, grid = self._grid()
        maps = _along_one(self._array, dims)
        mask = mask_image(mask)
        inside = parse_mask(mask, grid, may_be_elsewhere=True)
        room = count_of(mask, grid, inside)
        if not room:
            msg = "no voxel is inside the mask, wherever it lies; check mask="
            raise GeometryError(msg)
        new = (_MEASURE, len(MEASURES))
        found = _each(measure, maps, dims, new, inside=inside, room=room)
        kinds, types = _texts(maps, "map_type"), _texts(maps, "image_type")
        return quality_table(*_labels(maps), found, kinds, types)

    def duplicates(
        self, threshold: float = THRESHOLD, mask: Any = None
    ) -> pd.DataFrame:
        """Find pairs of maps that are nearly the same, or the same with other signs.

        Parameters
        ----------
        threshold : float
            The least correlation, above 0 and at most 1, whatever its sign.
        mask : path, NIfTI image, DataArray or ndarray of bool, optional
            Which voxels are compared; nilearn's MNI152 brain mask by default.

        Returns
        -------
        pandas.DataFrame
            One row for each pair: ``id`` and ``other``, which comes later among the
            maps; ``correlation``, Pearson's, within 0.00001; and ``kind``,
            ``"near-duplicate"`` or ``"sign-flipped"``. Leaving out all that are
            ``other`` leaves no pair.

        Raises
        ------
        ArgumentError
            If the threshold or the mask cannot be one.
        GeometryError
            If the mask does not fit, a voxel axis is missing, or there are several
            dimensions besides these.

        Notes
        -----
        No pair is missed. Each map is read once, and those in pairs once more: of each,
        sums over some 1,300 cubes within the mask are kept, with which the correlation
        of two maps is bounded from above; only where that reaches the threshold are
        all voxels compared. What is not finite counts as 0. A map of one value has no
        correlation, and is in no pair. The threshold is that of Peraza et al. 2025
        (doi:10.1038/s41598-025-20328-8).

        Examples
        --------
        >>> import intake_neurovault.accessor
        >>> steps = {"x": [-2.0, 0.0], "y": [0.0, 2.0], "z": [4.0, 6.0]}
        >>> one = np.arange(8.0).reshape(2, 2, 2)
        >>> maps = xr.DataArray(np.stack([one, 3 - one]), {"image": [7, 8], **steps})
        >>> maps.nii.duplicates()[["id", "other", "kind"]].values.tolist()
        [[7, 8, 'sign-flipped']]
        """
        return find_pairs(self.to_matrix(mask), threshold)


def find_pairs(
    matrix: xr.DataArray, threshold: float, digests: Sequence[str | None] = ()
) -> pd.DataFrame:
    """Find the pairs of rows of a matrix that are nearly the same.

    Parameters
    ----------
    matrix : xarray.DataArray
        Of maps by voxels, as `to_matrix` makes it; may be lazy.
    threshold : float
        The least correlation, whatever its sign.
    digests : sequence of str or None, optional
        Of the file of each map: equal for equal files, None where that is not known.

    Returns
    -------
    pandas.DataFrame
        As `Appraisable.duplicates` gives it; of pairs of equal files, which are there
        in any case, the kind is ``"same file"``.

    Raises
    ------
    ArgumentError
        If the threshold cannot be one.
    GeometryError
        If there are several dimensions besides the voxels.
    """
    threshold = parse_threshold(threshold)
    rows = _along_one(matrix, (_VOXEL,))
    groups = groups_of(np.stack([matrix.coords[axis].values for axis in "xyz"]))
    part = (_PART, int(groups.max()) + 2)
    sketches = _each(sketch, rows, (_VOXEL,), part, groups=groups)
    at_once = max(1, _BYTES // (rows.sizes[_VOXEL] * rows.dtype.itemsize))

    def read(numbers: NDArray[np.intp]) -> NDArray[Any]:
        return rows[numbers].to_numpy()

    found = pairs_above(threshold, sketches, read, at_once=at_once)
    same = same_files(digests)
    lacking = ~among(same, (found.first, found.second))
    first, second = same[0][lacking], same[1][lacking]
    more = Pairs(first, second, correlated(read, first, second, at_once=at_once))
    return pair_table(*_labels(rows), joined([found, more]), same)


def quality_table(
    name: str,
    labels: NDArray[Any],
    found: NDArray[np.float64],
    kinds: Sequence[str] = (),
    types: Sequence[str] = (),
) -> pd.DataFrame:
    """Make a table of what was measured of maps.

    Parameters
    ----------
    name : str
        Of the column that tells the maps apart.
    labels : ndarray of shape (n_maps,)
        That column.
    found : ndarray of shape (n_maps, n_measures), float64
        What :func:`intake_neurovault.measures.measure` found.
    kinds, types : sequence of str
        Statistic and type of each, as its record has them.

    Returns
    -------
    pandas.DataFrame
        As `Appraisable.quality` gives it.

    Examples
    --------
    >>> quality_table("id", np.empty(0, int), np.empty((0, 10))).columns[:3].tolist()
    ['id', 'minimum', 'maximum']
    """
    table = pd.DataFrame(found, columns=list(MEASURES))
    numbers = (dict(zip(MEASURES, row, strict=True)) for row in found.tolist())
    said = [remarks_on(*row) for row in zip(numbers, kinds, types, strict=True)]
    table.insert(0, name, _column(name, labels))
    table["remarks"] = pd.Series(said, dtype="str")
    return table


def pair_table(
    name: str, labels: NDArray[Any], pairs: Pairs, same: Sides
) -> pd.DataFrame:
    """Make a table of pairs of maps.

    Parameters
    ----------
    name : str
        Of the column that tells the maps apart.
    labels : ndarray of shape (n_maps,)
        What is in it.
    pairs : Pairs
        The pairs.
    same : pair of ndarray of int
        Which of them are of equal files.

    Returns
    -------
    pandas.DataFrame
        As `Appraisable.duplicates` gives it.

    Examples
    --------
    >>> none = np.empty(0, int), np.empty(0, int)
    >>> pairs = Pairs(np.array([0]), np.array([1]), np.array([-0.999]))
    >>> pair_table("id", np.array([7, 9]), pairs, none).values.tolist()
    [[7, 9, -0.999, 'sign-flipped']]
    """
    kinds = np.where(pairs.correlation < 0, "sign-flipped", "near-duplicate")
    equal = among((pairs.first, pairs.second), same)
    kinds = np.where(equal, "same file", kinds)
    return pd.DataFrame(
        {
            name: _column(name, labels[pairs.first]),
            "other": _column(name, labels[pairs.second]),
            "correlation": pairs.correlation,
            "kind": pd.Series(kinds.tolist(), dtype="str"),
        }
    )


def _along_one(array: xr.DataArray, dims: Sequence[str]) -> xr.DataArray:
    """Put the one dimension first along which the maps are."""
    others = [dim for dim in array.dims if dim not in dims]
    if len(others) > 1:
        msg = (
            "maps are looked at along one dimension, this array has "
            f"{', '.join(map(str, others))}; select from or reduce all but one"
        )
        raise GeometryError(msg)
    array = array if others else array.expand_dims(_IMAGE)
    return array.transpose(..., *dims)


def _each(
    function: Any,
    array: xr.DataArray,
    dims: Sequence[str],
    new: tuple[str, int],
    **arguments: Any,
) -> NDArray[Any]:
    """Apply a function to each map, a few at a time, and give what it makes of all."""
    dim, size = new
    found = xr.apply_ufunc(
        function,
        array,
        kwargs=arguments,
        input_core_dims=[list(dims)],
        output_core_dims=[[dim]],
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {dim: size}, "allow_rechunk": True},
    )
    values: NDArray[Any] = found.to_numpy()
    return values


def _labels(array: xr.DataArray) -> tuple[str, NDArray[Any]]:
    """Name the column that tells the maps apart, and give its values."""
    dim = array.dims[0]
    known = array.coords[dim].to_numpy() if dim in array.coords else None
    labels = np.arange(array.sizes[dim]) if known is None else known
    return "id" if dim == _IMAGE else str(dim), labels


def _texts(array: xr.DataArray, name: str) -> list[str]:
    """Give what the maps' records say, as text; empty where they do not."""
    number = array.sizes[array.dims[0]]
    coord = array.coords.get(name)
    if coord is None or coord.dims not in ((), (array.dims[0],)):
        return [""] * number
    values = np.broadcast_to(coord.to_numpy(), number).tolist()
    return [value if isinstance(value, str) else "" for value in values]


def _column(name: str, labels: NDArray[Any]) -> pd.Series[Any]:
    # NOTE: as ids are in the table of metadata, so that both can be merged.
    whole = name == "id" and labels.dtype.kind in "iu"
    return pd.Series(labels, dtype="Int64") if whole else pd.Series(labels)
