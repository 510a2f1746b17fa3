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
from hypothesis import given, settings
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
from nilearn.image import resample_to_img
from sklearn.utils import Bunch

from intake_neurovault import search
from intake_neurovault.cube import Recipe, build
from intake_neurovault.driver import NeuroVaultSource
from intake_neurovault.errors import ArgumentError, CorruptFileError, GeometryError
from intake_neurovault.grid import Grid, parse_grid
from intake_neurovault.nifti import Reader
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
    return nibabel.Nifti1Image((box(grid, 2, 1)[0] < 70**2).astype("u1"), grid.matrix)


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
    "spheres apart": lambda: spheres_masker(seeds=SEEDS[:3], smoothing_fwhm=9),
    "single voxels": lambda: maskers.NiftiSpheresMasker(SEEDS),
    **{
        strategy: lambda strategy=strategy: labels_masker(strategy=strategy)
        for strategy in (
            "sum", "median", "minimum", "maximum", "variance", "standard_deviation"
        )
    },
}  # fmt: skip


LOSING = "ignore:.*within the mask:intake_neurovault.NeuroVaultWarning"
"""Of regions that a mask takes away; nilearn warns of them too."""


@pytest.mark.filterwarnings(LOSING)
@pytest.mark.parametrize("name", REGIONS)
def test_regions_are_those_of_nilearn(name: str, maps: xr.DataArray) -> None:
    found = maps.nii.to_matrix(REGIONS[name]())
    assert found.dims == ("image", "region")
    assert found.dtype == np.float32
    assert found.chunks[0] == (2, 2, 1)
    same(found, by_nilearn(REGIONS[name](), maps))


VOXELS: dict[str, Any] = {
    "a mask": lambda: maskers.NiftiMasker(mask_image()),
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


@pytest.mark.parametrize("name", VOXELS)
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


# ---- and back --------------------------------------------------------------------

PAINTED = [
    name for name in REGIONS if "spheres" not in name and name != "single voxels"
]


@pytest.mark.filterwarnings(LOSING)
@pytest.mark.parametrize("name", [*PAINTED, "spheres in a mask"])
def test_painting_is_nilearns_inverse(name: str, maps: xr.DataArray) -> None:
    masker = REGIONS[name]()
    matrix = maps[:3].nii.to_matrix(masker)
    found = matrix.nii.unmask(masker)
    if name == "spheres in a mask":  # which alone says where nilearn shall paint
        mask = resample_to_img(mask_image(FINE), maps[0].nii.to_nifti(), "nearest")
        masker = spheres_masker(allow_overlap=True, mask_img=mask)
    by_nilearn(masker, maps[:3])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        back = masker.inverse_transform(matrix.values)
    np.testing.assert_allclose(found.nii.affine, back.affine, atol=1e-6)
    expected = np.moveaxis(np.asanyarray(back.dataobj), 3, 0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dims == ("image", "x", "y", "z")
    assert found.image.values.tolist() == [1, 2, 3]


def test_chosen_regions_and_others_values_are_painted(maps: xr.DataArray) -> None:
    masker = labels_masker(labels=list(NAMES))
    matrix = maps.nii.to_matrix(masker)
    some = matrix.isel(region=[5, 1], image=2).copy(data=[7.0, -3.0])
    labels = np.asanyarray(label_image().dataobj)
    painted = some.nii.unmask(masker)
    assert painted.dims == ("x", "y", "z")
    np.testing.assert_array_equal(painted, 7.0 * (labels == 12) - 3.0 * (labels == 4))
    kinds = matrix.groupby("collection_id").mean().nii.unmask(masker)
    assert kinds.dims == ("collection_id", "x", "y", "z")


def other_names(matrix: xr.DataArray) -> Any:
    return matrix.nii.unmask(labels_masker(labels=NAMES[::-1]))


@pytest.mark.parametrize(
    ("unmask", "error", "match"),
    [
        (
            lambda m: m.nii.unmask(),
            ArgumentError,
            r"as in matrix\.nii\.unmask\(atlas\)",
        ),
        (lambda m: m.nii.unmask(mask_image()), ArgumentError, "a mask has no regions"),
        (
            lambda m: m.nii.unmask(maskers.NiftiMasker(mask_image())),
            ArgumentError,
            "a mask has no regions",
        ),
        (lambda m: m.nii.unmask(map_image()), ArgumentError, "has no region 'area a'"),
        (other_names, ArgumentError, "no region 'area a' as the matrix has it"),
        (
            lambda m: m.isel(region=[1, 1]).nii.unmask(labels_masker(labels=NAMES)),
            GeometryError,
            "a region twice",
        ),
        (
            lambda m: m.drop_vars("label").nii.unmask(label_image()),
            GeometryError,
            "has lost 'label' or 'region'",
        ),
        (
            lambda m: m.drop_vars("nifti").nii.unmask(label_image()),
            GeometryError,
            r"has lost nifti \(with affine and shape\)",
        ),
    ],
)
def test_what_cannot_be_painted_says_why(
    unmask: Any, error: type[Exception], match: str, maps: xr.DataArray
) -> None:
    matrix = maps.nii.to_matrix(labels_masker(labels=list(NAMES)))
    with pytest.raises(error, match=match):
        unmask(matrix)


@pytest.mark.parametrize("extra", [{"atlas": label_image()}, {"radius": 3}])
def test_voxels_need_no_atlas(extra: Any, maps: xr.DataArray) -> None:
    matrix = maps.nii.to_matrix(mask_image())
    with pytest.raises(ArgumentError, match="knows where they lie"):
        matrix.nii.unmask(**extra)


# ---- what may stand for an atlas -------------------------------------------------


def a_file(image: Any, folder: Path) -> Path:
    path = folder / "atlas.nii.gz"
    image.to_filename(path)
    return path


EVEN = [str(2 * i + 2) for i in range(len(NAMES))]
ATLASES: dict[str, tuple[Any, Any, list[str]]] = {
    "an image": (lambda _: label_image(), labels_masker, EVEN),
    "a path": (
        lambda folder: a_file(label_image(), folder),
        labels_masker,
        EVEN,
    ),
    "text": (
        lambda folder: str(a_file(map_image(), folder)),
        maps_masker,
        ["0", "1", "2", "3", "4"],
    ),
    "maps": (lambda _: map_image(), maps_masker, ["0", "1", "2", "3", "4"]),
    "fetched, with a table": (
        lambda folder: Bunch(maps=str(a_file(label_image(), folder)), lut=lut()),
        labels_masker,
        NAMES,
    ),
    "fetched, with labels": (
        lambda _: Bunch(
            maps=label_image(),
            labels=[name.encode() for name in ["Background", *NAMES]],
            atlas_type="deterministic",
        ),
        labels_masker,
        NAMES,
    ),
    "fetched, with a dimension of one": (
        lambda _: Bunch(
            maps=nibabel.Nifti1Image(
                np.asanyarray(label_image().dataobj)[..., None], COARSE.matrix
            )
        ),
        labels_masker,
        EVEN,
    ),
    "fetched maps": (
        lambda _: Bunch(maps=map_image(), labels=NAMES[:5], region_coords=[]),
        maps_masker,
        NAMES[:5],
    ),
    "fetched maps, with a background": (
        lambda _: {"maps": map_image(), "labels": ["Background", *NAMES[:5]]},
        maps_masker,
        NAMES[:5],
    ),
    "fetched maps, with a table": (
        lambda _: Bunch(
            maps=map_image(), labels=pd.DataFrame({"difumo_names": NAMES[:5]})
        ),
        maps_masker,
        NAMES[:5],
    ),
    "fetched maps without names": (
        lambda _: Bunch(maps=map_image()), maps_masker, ["0", "1", "2", "3", "4"]
    ),
    "places": (
        lambda _: SEEDS,
        lambda: spheres_masker(radius=None),
        ["-30, -20, 40", "20.5, -60.2, 10.3", "0, 0, 0", "25, -50, 5"],
    ),
    "places in an array": (
        lambda _: np.array([(-30, -20, 40), (0, 0, 0)]),
        lambda: spheres_masker(seeds=[(-30, -20, 40), (0, 0, 0)], radius=None),
        ["-30, -20, 40", "0, 0, 0"],
    ),
    "fetched places": (
        lambda _: Bunch(
            rois=pd.DataFrame(SEEDS, columns=["x", "y", "z"]).assign(roi=range(4))
        ),
        lambda: spheres_masker(radius=None),
        ["-30, -20, 40", "20.5, -60.2, 10.3", "0, 0, 0", "25, -50, 5"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATLASES)
def test_an_atlas_may_be_given_in_many_ways(
    name: str, maps: xr.DataArray, tmp_path: Path
) -> None:
    spell, masker, names = ATLASES[name]
    atlas = spell(tmp_path)
    found = maps[:2].nii.to_matrix(atlas)
    assert found.region.values.tolist() == names
    same(found, by_nilearn(masker(), maps[:2]))
    painted = found.nii.unmask(atlas)
    again = painted.nii.to_matrix(atlas)
    np.testing.assert_allclose(again, found, rtol=1e-4, atol=1e-5)


def labelled_array(names: list[str] | None = None) -> xr.DataArray:
    """An atlas of NeuroVault as a cube has it."""
    if names is None:
        return xr.DataArray(np.asanyarray(label_image().dataobj), COARSE.coords())
    data = np.moveaxis(np.asanyarray(map_image().dataobj), 3, 0)
    coords = {"image": range(5), "name": ("image", names), **COARSE.coords()}
    return xr.DataArray(data, coords, ("image", "x", "y", "z"))


def test_an_array_or_a_dataset_may_be_an_atlas(maps: xr.DataArray) -> None:
    expected = maps.nii.to_matrix(label_image())
    whole = labelled_array()
    for atlas in (whole, whole.expand_dims("image"), whole.to_dataset(name="maps")):
        xr.testing.assert_identical(
            maps.nii.to_matrix(atlas).compute(), expected.compute()
        )
    several = labelled_array(NAMES[:5])
    found = maps.nii.to_matrix(several)
    assert found.region.values.tolist() == NAMES[:5]
    np.testing.assert_array_equal(found, maps.nii.to_matrix(map_image()))
    assert found.nii.unmask(several).shape == maps.shape


def test_columns_say_what_they_are(maps: xr.DataArray) -> None:
    matrix = maps.nii.to_matrix(labels_masker(lut=lut()))
    assert matrix.region.values.tolist() == NAMES
    assert matrix.label.values.tolist() == [2, 4, 6, 8, 10, 12, 14]
    assert matrix.label.dtype == np.int64
    assert set(maps.coords) - {"x", "y", "z"} <= set(matrix.coords)
    assert matrix.attrs == maps.attrs
    spheres = maps.nii.to_matrix(SEEDS, radius=12)
    np.testing.assert_array_equal(
        np.column_stack([spheres[axis] for axis in "xyz"]), SEEDS
    )
    one = maps.nii.sphere(*SEEDS[1], radius=12).fillna(0).mean("voxel")
    np.testing.assert_allclose(
        spheres.sel(region="20.5, -60.2, 10.3")[:4], one[:4], rtol=1e-5, atol=1e-6
    )


def test_an_atlas_goes_into_a_file_and_comes_back(
    maps: xr.DataArray, tmp_path: Path
) -> None:
    matrix = maps.nii.to_matrix(labels_masker(labels=list(NAMES)))
    matrix.to_dataset(name="matrix").to_netcdf(tmp_path / "matrix.nc")
    with xr.open_dataset(tmp_path / "matrix.nc") as stored:
        xr.testing.assert_identical(
            stored["matrix"].nii.unmask(labels_masker(labels=NAMES)).rename(None),
            matrix.nii.unmask(labels_masker(labels=NAMES)).compute().rename(None),
        )


WRONG: dict[str, tuple[Any, type[Exception], str]] = {
    "standardize": (
        lambda: labels_masker(standardize="zscore_sample"),
        ArgumentError,
        r"NiftiLabelsMasker\(standardize='zscore_sample'\) works across maps.*Scaler",
    ),
    "standardize as before": (
        lambda: maskers.NiftiMasker(mask_image(), standardize=True),
        ArgumentError,
        r"standardize=True\).*StandardScaler\(\) before the estimator",
    ),
    "detrend": (
        lambda: maps_masker(detrend=True), ArgumentError, r"detrend=True.*signal\.clean"
    ),
    "filters": (
        lambda: spheres_masker(low_pass=0.1, t_r=2), ArgumentError, "low_pass=0.1"
    ),
    "t_r": (lambda: labels_masker(t_r=2.0), ArgumentError, "t_r=2.0"),
    "runs": (
        lambda: maskers.NiftiMasker(mask_image(), runs=[0, 0, 1, 1, 1]),
        ArgumentError,
        "runs=",
    ),
    "confounds": (
        lambda: labels_masker(high_variance_confounds=True),
        ArgumentError,
        "high_variance_confounds=True",
    ),
    "a mask of all maps": (
        lambda: maskers.NiftiMasker(),
        ArgumentError,
        "would read all maps to find one; give it mask_img",
    ),
    "surfaces": (
        lambda: maskers.SurfaceMasker(), ArgumentError, "SurfaceMasker cannot make"
    ),
    "maps that overlap": (
        lambda: maps_masker(allow_overlap=False), ArgumentError, "allow_overlap=True"
    ),
    "spheres that overlap": (
        lambda: spheres_masker(radius=40), ArgumentError, "spheres overlap; set"
    ),
    "a place outside": (lambda: [(0, 500, 0)], GeometryError, "check x, y and z"),
    "a sphere outside the mask": (
        lambda: maskers.NiftiSpheresMasker([(80, -120, -60)], 1, mask_image()),
        GeometryError,
        "no voxel of the sphere around 80, -120, -60 mm is inside the mask",
    ),
    "another field of view": (
        lambda: labels_masker(labels_img=label_image(FINE), resampling_target=None),
        ArgumentError,
        "NiftiLabelsMasker cannot be used on the grid of 19×22×19",
    ),
    "no atlas": (
        lambda: labels_masker(labels_img="no/such.nii"), ArgumentError, "cannot be used"
    ),
    "names that do not fit": (
        lambda: Bunch(maps=map_image(), labels=NAMES),
        ArgumentError,
        "7 labels for 5 maps",
    ),
    "an atlas on surfaces": (
        lambda: Bunch(map_left="a", map_right="b"), ArgumentError, "has surfaces, no"
    ),
    "an atlas without maps": (
        lambda: {"labels": NAMES}, ArgumentError, r"'maps' \(it has labels\)"
    ),
    "an atlas of numbers": (
        lambda: {"maps": 7}, ArgumentError, "a NIfTI image or a path, not"
    ),
    "several parcellations": (
        lambda: Bunch(maps=map_image(), atlas_type="deterministic"),
        GeometryError,
        r"holds 5 parcellations.*index_img",
    ),
    "one place": (lambda: (0, 0, 0), ArgumentError, "a list of places in millimetres"),
    "places of two numbers": (
        lambda: [(0, 0), (1, 1)], ArgumentError, "mask: list is not understood"
    ),
    "ragged places": (
        lambda: [(0, 0), (1, 1, 1)], ArgumentError, "mask: list is not understood"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_done_is_refused(name: str, maps: xr.DataArray) -> None:
    make, error, match = WRONG[name]
    with pytest.raises(error, match=match):
        maps.nii.to_matrix(make())


@pytest.mark.parametrize(
    ("mask", "match"),
    [
        (None, "is for places"),
        (label_image(), "is for places"),
        (spheres_masker(), "the masker has its own radius"),
    ],
)
def test_a_radius_without_places_is_refused(
    mask: Any, match: str, maps: xr.DataArray
) -> None:
    with pytest.raises(ArgumentError, match=match):
        maps.nii.to_matrix(mask, radius=4)


def test_a_damaged_atlas_is_named(maps: xr.DataArray, tmp_path: Path) -> None:
    whole = a_file(label_image(), tmp_path).read_bytes()
    (tmp_path / "atlas.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptFileError, match=r"the mask .*atlas\.nii\.gz.*damaged"):
        maps.nii.to_matrix(tmp_path / "atlas.nii.gz")


# ---- the caller's masker ---------------------------------------------------------


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.parametrize(
    "make", [lambda: labels_masker(labels=["background", *NAMES]), maps_masker]
)
def test_the_callers_masker_is_not_changed(
    make: Any, fitted: bool, maps: xr.DataArray
) -> None:
    masker = make()
    if fitted:
        masker.fit(FLIPPED_MAP)
    before = pickle.dumps(masker)
    matrix = maps.nii.to_matrix(masker)
    matrix.compute()
    matrix.nii.unmask(masker).compute()
    assert pickle.dumps(masker) == before


FLIPPED_MAP = nibabel.Nifti1Image(values(1, FLIPPED), FLIPPED.matrix)


def test_a_fitted_masker_gives_what_it_learnt(maps: xr.DataArray) -> None:
    rough = nibabel.Nifti1Image(values(1, FLIPPED), FLIPPED.matrix)
    for masker in (labels_masker(labels=list(NAMES)), maps_masker()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            masker.fit(rough)
            expected = masker.transform(maps.nii.to_nifti())
        same(maps.nii.to_matrix(masker), expected)
    found = maskers.NiftiMasker(mask_strategy="background")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = found.fit(maps[:4].nii.to_nifti()).transform(maps[:4].nii.to_nifti())
    np.testing.assert_array_equal(maps[:4].nii.to_matrix(found), expected)


@pytest.mark.parametrize(
    ("asked", "dtype"), [("auto", "f4"), (np.float64, "f8"), (np.int32, "i4")]
)
def test_a_type_that_was_asked_for_is_given(
    asked: Any, dtype: str, maps: xr.DataArray
) -> None:
    masker = labels_masker(dtype=asked, strategy="maximum")
    found = maps[:2].nii.to_matrix(masker)
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_allclose(found, by_nilearn(masker, maps[:2]))


# ---- NaN, laziness, workers ------------------------------------------------------


def test_a_map_that_could_not_be_had_is_not_a_row_of_zeros(
    folder: Path, tmp_path: Path
) -> None:
    write_values(tmp_path, [1, 2, 4])
    maps = cube(tmp_path).isel(image=slice(0, 4))
    for masker in (labels_masker(), maps_masker(smoothing_fwhm=15), SEEDS):
        found = maps.nii.to_matrix(masker)
        lost = np.isnan(found.values)
        assert lost[2].all()
        assert not lost[[0, 1, 3]].any()


def test_only_the_voxels_of_regions_are_read(folder: Path) -> None:
    opener = CountingOpener(folder)
    maps = cube(folder, opener=opener)
    matrix = maps.nii.to_matrix(label_image())
    assert isinstance(matrix.data, dask.array.Array)
    assert opener.calls == []
    matrix[3:].compute(scheduler="synchronous")
    assert opener.opened == [3, 4, 5]
    (numbers,) = (
        layer for name, layer in matrix.data.dask.layers.items() if "voxels-" in name
    )
    (picked,) = numbers.values()
    assert len(picked) == np.count_nonzero(label_image().dataobj)


def test_equal_matrices_have_equal_names(maps: xr.DataArray) -> None:
    for make in (labels_masker, lambda: maps_masker(smoothing_fwhm=9)):
        first, second = (maps.nii.to_matrix(make()) for _ in range(2))
        assert first.data.name == second.data.name


def test_regions_are_computed_in_threads_and_after_a_journey(
    maps: xr.DataArray,
) -> None:
    matrix = maps.nii.to_matrix(maps_masker(smoothing_fwhm=12))
    expected = matrix.compute(scheduler="sync")
    found = matrix.compute(scheduler="threads", num_workers=4)
    xr.testing.assert_identical(found, expected)
    xr.testing.assert_identical(pickle.loads(pickle.dumps(matrix)).compute(), expected)


def test_regions_are_computed_on_a_cluster(maps: xr.DataArray) -> None:
    matrix = maps.nii.to_matrix(labels_masker(strategy="median", smoothing_fwhm=12))
    expected = matrix.compute(scheduler="sync")
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as cluster,
        Client(cluster),
    ):
        xr.testing.assert_identical(matrix.compute(), expected)


def test_loaded_maps_of_doubles_give_loaded_regions_of_doubles() -> None:
    data = np.random.default_rng(3).standard_normal((3, *COARSE.shape))
    maps = xr.DataArray(
        data, COARSE.coords() | {"image": range(3)}, ("image", "x", "y", "z")
    )
    found = maps.nii.to_matrix(label_image())
    assert isinstance(found.data, np.ndarray)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, by_nilearn(labels_masker(), maps), rtol=1e-12)
    one = maps[1].nii.to_matrix(label_image())
    assert one.dims == ("region",)
    np.testing.assert_array_equal(one, found[1])


@pytest.mark.parametrize("grid", [FLIPPED, OBLIQUE])
def test_other_grids_have_regions_too(grid: Grid) -> None:
    axes = "xyz" if grid.axis_aligned else "ijk"
    known = {"affine": list(grid.affine)}
    maps = xr.DataArray(
        np.stack([values(number, grid) for number in (1, 2)]),
        dims=("image", *axes),
        coords={"nifti": ((), 0, known)},
    )
    found = maps.nii.to_matrix(label_image())
    same(found, by_nilearn(labels_masker(), maps))
    assert found.nii.unmask(label_image()).dims == ("image", *axes)


@settings(max_examples=25)
@given(
    labels=st.lists(st.integers(-2, 5), min_size=8, max_size=8).filter(any),
    numbers=st.lists(st.floats(-9, 9, width=32), min_size=8, max_size=8),
)
def test_means_of_labels_are_means(labels: list[int], numbers: list[float]) -> None:
    grid = Grid.from_affine(np.diag([2.0, 2, 2, 1]), (2, 2, 2))
    data = np.array(numbers, dtype="f4").reshape(grid.shape)
    image = nibabel.Nifti1Image(
        np.array(labels, dtype="i2").reshape(grid.shape), grid.matrix
    )
    masker = maskers.NiftiLabelsMasker(image)
    found = xr.DataArray(data, grid.coords()).nii.to_matrix(masker)
    expected = {
        label: np.mean([n for n, other in zip(numbers, labels, strict=True)
                        if other == label])
        for label in sorted(set(labels) - {0})
    }  # fmt: skip
    assert found.label.values.tolist() == list(expected)
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-5, atol=1e-6)
    back = found.nii.unmask(masker).values
    np.testing.assert_allclose(
        back.ravel(), [expected.get(label, 0) for label in labels], rtol=1e-5, atol=1e-6
    )


# ---- from a search ---------------------------------------------------------------


def test_atlases_of_neurovault_give_regions_of_its_maps(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    place = {"url": server.url, "data_dir": data_dir, "grid": 6}
    atlas = search(image_ids=[1401], **place)
    result = search(image_ids=[32015, 32016], **place)
    matrix = result.to_matrix(atlas)
    assert matrix.shape == (2, 12)
    maps = result.to_dask().maps
    image = atlas.to_dask().maps[0].nii.to_nifti()
    same(matrix, by_nilearn(maskers.NiftiLabelsMasker(image), maps))
    source = NeuroVaultSource(
        image_ids=[32015, 32016], url=server.url, data_dir=str(data_dir), grid=6
    )
    np.testing.assert_array_equal(source.to_matrix(atlas), matrix)
    spheres = source.to_matrix([(-38, -24, 56), (40, -22, 54)], radius=10)
    assert spheres.shape == (2, 2)
    assert matrix.nii.unmask(atlas).shape == maps.shape
