"""Regions on a grid: which voxels make each, and how much each counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from intake_neurovault.errors import ArgumentError, GeometryError
from intake_neurovault.grid import Grid
from intake_neurovault.maskers import Fitted
from intake_neurovault.notices import warn
from intake_neurovault.regions import Inside, ball, parse_mask

__all__ = ["Parcels", "Weights", "parcels_of"]

_LINEAR = ("mean", "sum")
_WELL_POSED = 1e-8
"""The least ratio of eigenvalues at which equations of maps are solved as they are."""


@dataclass(frozen=True, eq=False)
class Weights:
    """A sparse matrix of regions by voxels, as the three arrays of a CSR matrix.

    Examples
    --------
    >>> weights = Weights.of(scipy.sparse.csr_array([[0.5, 0.5, 0], [0, 0, 1]]))
    >>> weights.take([1]).matrix().toarray()
    array([[0., 0., 1.]])
    """

    values: NDArray[np.float64]
    """What voxels count."""
    columns: NDArray[Any]
    """Which voxels these are."""
    starts: NDArray[Any]
    """Where the voxels of each region begin, and the last ends."""
    voxels: int
    """How many voxels there are."""

    @classmethod
    def of(cls, matrix: Any) -> Weights:
        """Take a sparse matrix, or a dense one, apart.

        Parameters
        ----------
        matrix : sparse array or ndarray
            Regions by voxels.

        Returns
        -------
        Weights
            The same.
        """
        csr = scipy.sparse.csr_array(matrix, dtype=np.float64)
        return cls(csr.data, csr.indices, csr.indptr, csr.shape[1])

    def matrix(self) -> Any:
        """Put the matrix together.

        Returns
        -------
        scipy.sparse.csr_array
            Float64, regions by voxels.
        """
        parts = (self.values, self.columns, self.starts)
        return scipy.sparse.csr_array(parts, (len(self.starts) - 1, self.voxels))

    def take(self, regions: Any) -> Weights:
        """Choose regions.

        Parameters
        ----------
        regions : sequence of int
            Their places.

        Returns
        -------
        Weights
            Of these alone, in this order.
        """
        return Weights.of(self.matrix()[np.asarray(regions, dtype=np.intp)])


@dataclass(frozen=True, eq=False)
class Parcels:
    """Regions on a grid."""

    grid: Grid
    """Where the voxels lie."""
    inside: Inside
    """Which voxels belong to any region, of the grid's shape."""
    numbers: NDArray[Any]
    """The value of each region in the atlas; its place from 0 where that has none."""
    names: tuple[str, ...]
    """What each region is called."""
    painted: Weights
    """What a region gives to each of the voxels inside, on the way back to maps."""
    weights: Weights
    """What each of the voxels inside gives to a region."""
    mixing: NDArray[np.float64] | None = None
    """By what regions are multiplied after that, where regions overlap."""
    strategy: str = "mean"
    """What is taken of the voxels of a region; all but mean and sum are functions of
    :mod:`scipy.ndimage`, and need no weights."""
    places: Mapping[str, NDArray[np.float64]] | None = None
    """``x``, ``y`` and ``z`` of each region, in millimetres, where it has a centre."""

    @property
    def linear(self) -> bool:
        """Whether weights say it all."""
        return self.strategy in _LINEAR


def parcels_of(fitted: Fitted, names: tuple[str, ...] = ()) -> Parcels:
    """Find the regions of a masker on its grid.

    Parameters
    ----------
    fitted : Fitted
        A masker of labels, maps or spheres.
    names : tuple of str
        What the regions are called, where the masker does not know.

    Returns
    -------
    Parcels
        In nilearn's order: labels ascending, maps and spheres as given.

    Raises
    ------
    ArgumentError
        If maps or spheres overlap where that is forbidden.
    GeometryError
        If no region is left within the mask, or a sphere is outside the grid.

    Examples
    --------
    >>> from nilearn.maskers import NiftiSpheresMasker
    >>> from intake_neurovault.grid import parse_grid
    >>> from intake_neurovault.maskers import fit_masker
    >>> masker = NiftiSpheresMasker([(0, 0, 0), (30, 0, 0)], radius=8)
    >>> parcels = parcels_of(fit_masker(masker, parse_grid(6)))
    >>> parcels.names, int(parcels.inside.sum())
    (('0, 0, 0', '30, 0, 0'), 14)
    """
    makers = {"labels": _labels, "maps": _maps, "spheres": _spheres}
    return makers[fitted.kind](fitted, names)


def _labels(fitted: Fitted, names: tuple[str, ...]) -> Parcels:
    """Find the regions of an image of labels."""
    masker = fitted.masker
    values = _finite(masker.labels_img_).reshape(fitted.grid.shape)
    before = np.unique(values)
    if masker.mask_img_ is not None:
        mask = _finite(masker.mask_img_).astype(bool)
        values = np.where(mask, values, masker.background_label)
    inside = values != masker.background_label
    found = values[inside]
    kept = before if masker.keep_masked_labels else np.unique(found)
    numbers = kept[kept != masker.background_label]
    _need(inside, "the labels")
    known = _names_of(masker)
    lost = np.setdiff1d(before, [masker.background_label, *numbers])
    _warn_of_lost([known.get(number, number) for number in lost])
    if (numbers == np.rint(numbers)).all():
        numbers = numbers.astype(np.int64)
    region = np.searchsorted(numbers, found)
    columns = np.arange(len(found))
    shape = (len(numbers), len(found))
    members = scipy.sparse.csr_array((np.ones(len(found)), (region, columns)), shape)
    return Parcels(
        fitted.grid,
        inside,
        numbers,
        names or tuple(str(known.get(number, number)) for number in numbers),
        Weights.of(members),
        Weights.of(_mean(members) if masker.strategy == "mean" else members),
        strategy=masker.strategy,
    )


def _maps(fitted: Fitted, names: tuple[str, ...]) -> Parcels:
    """Find the regions of an image with a map of weights for each.

    nilearn fits maps as a sum of these, by least squares.
    """
    masker = fitted.masker
    weights = _finite(masker.maps_img_)
    if not masker.allow_overlap:
        weights = np.where(weights < np.finfo(weights.dtype).eps, 0, weights)
        if ((weights > 0).sum(axis=3) > 1).any():
            msg = (
                "the maps of the atlas overlap, perhaps since they were resampled; "
                "set allow_overlap=True"
            )
            raise ArgumentError(msg)
    numbers = np.arange(weights.shape[3])
    if masker.mask_img_ is not None:
        weights = weights * (_finite(masker.mask_img_) != 0)[..., None]
        if not masker.keep_masked_maps:
            there = weights.any(axis=(0, 1, 2))
            _warn_of_lost([names[n] if names else n for n in numbers[~there]])
            numbers, weights = numbers[there], weights[..., there]
    inside = np.asarray(weights.any(axis=3))
    _need(inside, "the maps")
    shares = weights[inside].T
    solved, mixing = _solved(shares)
    return Parcels(
        fitted.grid,
        inside,
        numbers,
        tuple(names[number] if names else str(number) for number in numbers),
        Weights.of(shares),
        Weights.of(solved),
        mixing,
    )


def _solved(shares: NDArray[Any]) -> tuple[Any, NDArray[np.float64] | None]:
    """Give weights, and by what to multiply after, that fit maps by least squares.

    Solving the normal equations keeps the weights as sparse as the atlas. Where its
    maps are nearly the same, or one is empty, they lose too many digits.
    """
    sparse = scipy.sparse.csr_array(shares, dtype=np.float64)
    products = (sparse @ sparse.T).toarray()
    eigenvalues = np.linalg.eigvalsh(products)
    if eigenvalues[0] > _WELL_POSED * eigenvalues[-1]:
        return sparse, np.linalg.inv(products)
    # NOTE: scipy.linalg.lstsq, which nilearn calls, passes over what is smaller.
    least = np.finfo(shares.dtype).eps
    return scipy.linalg.pinv(shares.T.astype(np.float64), rtol=least), None


def _spheres(fitted: Fitted, names: tuple[str, ...]) -> Parcels:
    """Find the voxels around places."""
    masker, grid = fitted.masker, fitted.grid
    mask = None if masker.mask_img_ is None else parse_mask(masker.mask_img_, grid)
    seeds = np.asarray(masker.seeds_, dtype=np.float64)
    balls = [_sphere(grid, seed, masker.radius or 0.0, mask) for seed in seeds]
    covered = np.sum(balls, axis=0)
    inside = covered > 0
    if not masker.allow_overlap and (covered > 1).any():
        msg = "spheres overlap; set allow_overlap=True, or choose a smaller radius"
        raise ArgumentError(msg)
    members = scipy.sparse.csr_array([each[inside] for each in balls], dtype=np.float64)
    # NOTE: nilearn gives voxels that several spheres share their mean.
    share = scipy.sparse.diags_array(1 / covered[inside])
    return Parcels(
        grid,
        inside,
        np.arange(len(seeds)),
        names or tuple(", ".join(f"{at:g}" for at in seed) for seed in seeds),
        Weights.of(members @ share),
        Weights.of(_mean(members)),
        places=dict(zip("xyz", seeds.T, strict=True)),
    )


def _sphere(
    grid: Grid, seed: NDArray[np.float64], radius: float, mask: Inside | None
) -> Inside:
    """Find the voxels around a place, as nilearn does."""
    found = ball(grid, seed, radius)
    # NOTE: nilearn adds the first voxel whose millimetres begin as those of the seed.
    steps = np.indices(grid.shape).reshape(3, -1)
    where = grid.matrix[:3, :3] @ steps + grid.matrix[:3, 3:]
    if mask is not None:
        where[:, ~mask.ravel()] = np.nan
        found &= mask
    same = (np.trunc(where) == np.trunc(seed)[:, None]).all(axis=0)
    if same.any():
        found.flat[same.argmax()] = True
    if not found.any():
        place = ", ".join(f"{at:g}" for at in seed)
        msg = f"no voxel of the sphere around {place} mm is inside the mask"
        raise GeometryError(msg)
    return found


def _mean(members: Any) -> Any:
    """Let the voxels of each region count the same, 1 in all."""
    sizes = np.maximum(members.sum(axis=1), 1)
    return scipy.sparse.diags_array(1 / sizes) @ members


def _finite(image: Any) -> NDArray[Any]:
    """Read an image as nilearn does, with 0 for what is not finite."""
    values = np.asanyarray(image.dataobj)
    finite: NDArray[Any] = np.nan_to_num(values, nan=0, posinf=0, neginf=0)
    return finite


def _names_of(masker: Any) -> dict[Any, str]:
    """Give the names of labels, where they have any."""
    if masker.labels is None and masker.lut is None:
        return {}
    return dict(zip(masker.lut_["index"], masker.lut_["name"], strict=True))


def _warn_of_lost(regions: Sequence[object]) -> None:
    if regions:
        msg = (
            f"{len(regions)} regions of the atlas have no voxel within the mask, and "
            f"are left out: {', '.join(map(str, regions))}"
        )
        warn(msg)


def _need(inside: Inside, what: str) -> None:
    if not inside.any():
        msg = f"nothing of {what} is inside the mask; check mask_img of the masker"
        raise GeometryError(msg)
