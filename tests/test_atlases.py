"""Matrices of regions: nilearn's maskers and atlases, and the way back."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path
from typing import Any

import dask.array
import nibabel
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from hypothesis import given
from hypothesis import strategies as st
from maps import (
    COARSE,
    COLLECTIONS,
    FLIPPED,
    OBLIQUE,
    CountingOpener,
    FolderOpener,
    record,
    values,
    write,
    write_values,
)
from nilearn import maskers
from nilearn.image import index_img, math_img
from sklearn.utils import Bunch

from intake_neurovault import search
from intake_neurovault.cube import Recipe, build
from intake_neurovault.driver import NeuroVaultSource
from intake_neurovault.errors import ArgumentError, CorruptFileError, GeometryError
from intake_neurovault.grid import Grid, parse_grid
from intake_neurovault.nifti import Reader
from intake_neurovault.parcels import Weights
from intake_neurovault.testing import NeuroVaultServer

NUMBERS = range(1, 6)
FINE = parse_grid(6)
NAMES = [f"area {letter}" for letter in "abcdefg"]


def box(grid: Grid, seed: int, steps: int) -> Any:
    """Smooth blobs on a grid: the same place in space whatever the grid."""
    indices = np.indices(grid.shape).reshape(3, -1)
    where = grid.matrix[:3, :3] @ indices + grid.matrix[:3, 3:]
    rng = np.random.default_rng(seed)
    centres = rng.uniform((-50, -80, -40), (50, 50, 60), (steps, 3))
    away = ((where[:, None] - centres.T[..., None]) ** 2).sum(axis=0)
    return away.reshape(steps, *grid.shape)


def label_image(grid: Grid = COARSE, dtype: Any = np.int32) -> Any:
    """Seven regions with the labels 2, 4, … 14, around their centres."""
    away = box(grid, 0, len(NAMES))
    labels = np.where(away.min(axis=0) < 45**2, 2 * away.argmin(axis=0) + 2, 0)
    return nibabel.Nifti1Image(labels.astype(dtype), grid.matrix)


def map_image(grid: Grid = COARSE) -> Any:
    """Five maps of weights that overlap, with negative ones in some."""
    weights = np.exp(-box(grid, 1, 5) / (2 * 20**2))
    weights[weights < 0.01] = 0
    weights[2] -= 0.2 * (weights[2] > 0) * (weights[3] > 0.3)
    return nibabel.Nifti1Image(np.moveaxis(weights, 0, 3).astype("f4"), grid.matrix)


def mask_image(grid: Grid = COARSE) -> Any:
    """Half of the brain, about."""
    return nibabel.Nifti1Image(
        (box(grid, 2, 1)[0] < 70**2).astype("u1"), grid.matrix
    )


def lut() -> pd.DataFrame:
    rows = [(0, "Background"), *((2 * i + 2, name) for i, name in enumerate(NAMES))]
    return pd.DataFrame(rows, columns=["index", "name"])


SEEDS = [(-30.0, -20.0, 40.0), (20.5, -60.2, 10.3), (0.0, 0.0, 0.0), (25.0, -50.0, 5.0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maps")
    write_values(path, NUMBERS)
    lacking = values(5)
    lacking[3:9, 4:12] = np.nan
    lacking[10, 10, 10] = np.inf
    write(path, 5, lacking)
    return path


def cube(folder: Path, grid: Grid | None = COARSE, **settings: Any) -> xr.DataArray:
    images = [record(number) for number in NUMBERS]
    usual = {"opener": FolderOpener(folder), "chunks": 2, "collections": COLLECTIONS}
    return build(images, Recipe(Reader(grid), **{**usual, **settings})).maps


@pytest.fixture
def maps(folder: Path) -> xr.DataArray:
    return cube(folder)


def by_nilearn(masker: Any, maps: xr.DataArray) -> Any:
    """What a masker of nilearn makes of the same maps, whatever it warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return masker.fit_transform(maps.nii.to_nifti())


def same(found: xr.DataArray, expected: Any, tolerance: float = 2e-5) -> None:
    assert found.shape == expected.shape
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=tolerance * scale)


def labels_masker(**options: Any) -> Any:
    return maskers.NiftiLabelsMasker(**{"labels_img": label_image(), **options})


def maps_masker(**options: Any) -> Any:
    return maskers.NiftiMapsMasker(**{"maps_img": map_image(), **options})


def spheres_masker(**options: Any) -> Any:
    return maskers.NiftiSpheresMasker(**{"seeds": SEEDS, "radius": 12, **options})


REGIONS: dict[str, Any] = {
    "labels": labels_masker,
    "labels by name": lambda: labels_masker(labels=list(NAMES)),
    "labels by table": lambda: labels_masker(lut=lut()),
    "labels as floats": lambda: labels_masker(labels_img=label_image(dtype="f4")),
    "labels of 64 bits": lambda: labels_masker(
        labels_img=nibabel.Nifti1Image(
            np.asanyarray(label_image().dataobj), COARSE.matrix, dtype="int64"
        )
    ),
    "another background": lambda: labels_masker(background_label=4),
    "labels in a mask": lambda: labels_masker(mask_img=mask_image(), strategy="mean"),
    "labels on another grid": lambda: labels_masker(labels_img=label_image(FINE)),
    "labels, sideways": lambda: labels_masker(labels_img=label_image(OBLIQUE)),
    "labels and mask elsewhere": lambda: labels_masker(
        labels_img=label_image(FINE), mask_img=mask_image(FLIPPED)
    ),
    "maps on the labels' grid": lambda: labels_masker(
        labels_img=label_image(FLIPPED), resampling_target="labels"
    ),
    "no resampling": lambda: labels_masker(resampling_target=None),
    "smoothed": lambda: labels_masker(smoothing_fwhm=15),
    "smoothed, elsewhere": lambda: labels_masker(
        labels_img=label_image(FLIPPED), resampling_target="labels", smoothing_fwhm=15
    ),
    "several subjects' labels": lambda: maskers.MultiNiftiLabelsMasker(label_image()),
    "maps": maps_masker,
    "maps in a mask": lambda: maps_masker(mask_img=mask_image()),
    "maps on another grid": lambda: maps_masker(maps_img=map_image(FINE)),
    "maps by the mask": lambda: maps_masker(
        maps_img=map_image(FINE), mask_img=mask_image(), resampling_target="mask"
    ),
    "maps on the maps' grid": lambda: maps_masker(
        maps_img=map_image(FLIPPED), resampling_target="maps", smoothing_fwhm=12
    ),
    "a single map twice": lambda: maps_masker(
        maps_img=nibabel.Nifti1Image(
            np.asanyarray(map_image().dataobj)[..., [0, 1, 0]], COARSE.matrix
        )
    ),
    "several subjects' maps": lambda: maskers.MultiNiftiMapsMasker(map_image()),
    "spheres": lambda: spheres_masker(allow_overlap=True),
    "spheres in a mask": lambda: spheres_masker(
        allow_overlap=True, mask_img=mask_image(FINE)
    ),
    "spheres apart": lambda: spheres_masker(seeds=SEEDS[:3], smoothing_fwhm=[9, 9, 3]),
    "single voxels": lambda: maskers.NiftiSpheresMasker(SEEDS),
    **{
        strategy: lambda strategy=strategy: labels_masker(strategy=strategy)
        for strategy in (
            "sum", "median", "minimum", "maximum", "variance", "standard_deviation"
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", REGIONS)
def test_regions_are_those_of_nilearn(name: str, maps: xr.DataArray) -> None:
    found = maps.nii.to_matrix(REGIONS[name]())
    assert found.dims == ("image", "region")
    assert found.dtype == np.float32
    assert found.chunks[0] == (2, 2, 1)
    same(found, by_nilearn(REGIONS[name](), maps))


VOXELS: dict[str, Any] = {
    "a mask": lambda: maskers.NiftiMasker(mask_image()),
    "a file": lambda folder: maskers.NiftiMasker(str(folder)),
    "smoothed": lambda: maskers.NiftiMasker(mask_image(), smoothing_fwhm=15),
    "on another grid": lambda: maskers.NiftiMasker(mask_image(FINE)),
    "on a target": lambda: maskers.NiftiMasker(
        mask_image(), target_affine=FLIPPED.matrix, target_shape=FLIPPED.shape
    ),
    "of the template": lambda: maskers.NiftiMasker(
        mask_strategy="whole-brain-template"
    ),
    "several subjects": lambda: maskers.MultiNiftiMasker(mask_image()),
}


@pytest.mark.parametrize("name", sorted(set(VOXELS) - {"a file"}))
def test_voxels_are_those_of_nilearn(name: str, maps: xr.DataArray) -> None:
    maps = maps[:4]
    found = maps.nii.to_matrix(VOXELS[name]())
    assert found.dims == ("image", "voxel")
    masker = VOXELS[name]()
    same(found, np.squeeze(by_nilearn(masker, maps)))
    back = masker.inverse_transform(found.values)
    unmasked = found.nii.unmask()
    np.testing.assert_allclose(unmasked.nii.affine, back.affine, atol=1e-6)
    expected = np.moveaxis(np.asanyarray(back.dataobj), 3, 0)
    np.testing.assert_allclose(unmasked, expected, atol=1e-6)
