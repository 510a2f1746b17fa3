"""``.nii``: affine, NIfTI and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from maps import (
    COARSE,
    FLIPPED,
    OBLIQUE,
    FolderOpener,
    record,
    values,
    write,
    write_values,
)

import intake_neurovault.accessor  # noqa: F401  registers .nii
from intake_neurovault.cube import Recipe, build
from intake_neurovault.errors import GeometryError
from intake_neurovault.grid import Grid
from intake_neurovault.nifti import Reader, read_geometry

SHEARED = Grid((3, 1, 0, -9, 0, 3, 0, -9, 0, 0, 3, -9, 0, 0, 0, 1), (5, 6, 7))
THIRDS = Grid(
    (-10 / 3, 0, 0, 70.1, 0, 10 / 3, 0, -0.1, 0, 0, 2.2, 1 / 7, 0, 0, 0, 1), (5, 6, 7)
)


def native(tmp_path: Path, grid: Grid, **header: Any) -> tuple[Path, xr.DataArray]:
    """Write a map and open it on its own grid."""
    path = write(tmp_path, 1, values(1, grid), grid, **header)
    geometry = read_geometry(path, label="the map")
    recipe = Recipe(Reader(None), FolderOpener(tmp_path))
    dataset = build([record(1)], recipe, geometries=[geometry])
    return path, dataset.maps.isel(image=0)


@pytest.fixture
def dataset(tmp_path: Path) -> xr.Dataset:
    write_values(tmp_path, [1, 2, 3])
    recipe = Recipe(Reader(COARSE), FolderOpener(tmp_path))
    return build([record(1), record(2, name=None), record(3)], recipe)


@pytest.fixture
def array(dataset: xr.Dataset) -> xr.DataArray:
    """One map."""
    return dataset.maps.sel(image=1)


# ---- round trips -----------------------------------------------------------------


def in_memory(array: xr.DataArray, path: Path) -> xr.DataArray:
    return array


def through_netcdf(array: xr.DataArray, path: Path) -> xr.DataArray:
    array.to_netcdf(path, engine="netcdf4")
    return xr.load_dataarray(path, engine="netcdf4")


def through_zarr(array: xr.DataArray, path: Path) -> xr.DataArray:
    array.to_dataset().to_zarr(path, consolidated=False)
    return xr.open_zarr(path, consolidated=False).maps.load()


WAYS = pytest.mark.parametrize("way", [in_memory, through_netcdf, through_zarr])


@WAYS
@pytest.mark.parametrize(
    ("grid", "header"),
    [
        (COARSE, {}),
        (FLIPPED, {"description": "FSL5.0 é"}),
        (THIRDS, {"sform_code": 2, "qform_code": 3, "xyzt_units": "mm unknown"}),
        (THIRDS, {"sform_code": 0, "qform_code": 1}),
        (OBLIQUE, {"qform_code": 0}),
        (SHEARED, {"sform_code": 1, "qform_code": 0}),
    ],
)
def test_nifti_comes_back_as_it_was(
    way: Callable[..., xr.DataArray], grid: Grid, header: Any, tmp_path: Path
) -> None:
    path, array = native(tmp_path, grid, **header)
    before = nibabel.load(path)
    array = way(array, tmp_path / "kept")
    array.nii.to_nifti(tmp_path / "again.nii.gz")
    after = nibabel.load(tmp_path / "again.nii.gz")
    np.testing.assert_array_equal(after.dataobj, before.dataobj)
    np.testing.assert_array_equal(after.affine, before.affine)
    assert after.get_data_dtype() == np.float32
    for name in ("sform_code", "qform_code", "xyzt_units", "descrip", "dim"):
        assert after.header[name].tolist() == before.header[name].tolist(), name


@WAYS
def test_the_mean_of_a_cube_is_still_an_image(
    way: Callable[..., xr.DataArray], dataset: xr.Dataset, tmp_path: Path
) -> None:
    mean = way(dataset.maps.mean("image"), tmp_path / "kept")
    image = mean.nii.to_nifti()
    expected = np.mean([values(n) for n in (1, 2, 3)], axis=0)
    np.testing.assert_allclose(image.get_fdata(), expected, atol=1e-6)
    np.testing.assert_array_equal(image.affine, COARSE.matrix)
    assert image.header["sform_code"] == 4


@pytest.mark.parametrize(
    "work",
    [
        lambda maps: maps.max("image"),
        lambda maps: maps.std("image"),
        lambda maps: maps.sel(image=2) - maps.sel(image=1),
        lambda maps: maps.isel(image=0).where(maps.isel(image=0) > 0),
        lambda maps: maps.groupby("map_type").mean().isel(map_type=0),
        lambda maps: (maps**2).sum("image").transpose("z", "x", "y"),
    ],
)
def test_work_on_maps_keeps_the_header(
    work: Callable[..., xr.DataArray], dataset: xr.Dataset
) -> None:
    image = work(dataset.maps).nii.to_nifti()
    assert image.shape == COARSE.shape
    np.testing.assert_array_equal(image.affine, COARSE.matrix)
    assert image.header["qform_code"] == 4


def test_several_maps_become_volumes(dataset: xr.Dataset) -> None:
    image = dataset.maps.nii.to_nifti()
    assert image.shape == (*COARSE.shape, 3)
    np.testing.assert_array_equal(image.dataobj[..., 1], values(2))


def test_a_dataset_stands_for_its_maps(dataset: xr.Dataset) -> None:
    np.testing.assert_array_equal(dataset.nii.affine, COARSE.matrix)
    assert dataset.nii.to_nifti().shape == (*COARSE.shape, 3)


@pytest.mark.parametrize(
    ("work", "dtype"),
    [
        (lambda array: array > 0, np.uint8),
        (lambda array: array.astype("float64"), np.float64),
        (lambda array: array.astype("int16"), np.int16),
        (lambda array: array.astype("int64"), np.int32),
    ],
)
def test_every_dtype_can_be_written(
    work: Callable[..., xr.DataArray], dtype: Any, array: xr.DataArray
) -> None:
    found = work(array)
    image = found.nii.to_nifti()
    assert image.get_data_dtype() == dtype
    np.testing.assert_array_equal(image.get_fdata(), found)


# ---- affine ----------------------------------------------------------------------


def cuts(size: int) -> st.SearchStrategy[slice]:
    return st.slices(size).filter(lambda cut: len(range(*cut.indices(size))) > 0)


@given(x=cuts(5), y=cuts(6), z=cuts(7), oblique=st.booleans())
def test_the_affine_follows_cuts_strides_and_reversals(
    x: slice, y: slice, z: slice, oblique: bool
) -> None:
    grid = SHEARED if oblique else THIRDS
    dims = "ijk" if oblique else "xyz"
    axes = {d: np.arange(float(n)) for d, n in zip(dims, grid.shape, strict=True)}
    steps = axes if oblique else grid.coords()
    header = xr.Variable((), 0, {"affine": list(grid.affine)})
    coords = {**steps, "nifti": header}
    array = xr.DataArray(np.zeros(grid.shape), coords, list(dims))
    found = array[x, y, z]
    ranges = [range(n)[cut] for n, cut in zip(grid.shape, (x, y, z), strict=True)]
    for corner in ([0, 0, 0], [len(each) - 1 for each in ranges]):
        voxel = [each[i] for each, i in zip(ranges, corner, strict=True)]
        np.testing.assert_allclose(
            found.nii.affine @ [*corner, 1], grid.matrix @ [*voxel, 1], atol=1e-9
        )


def test_a_slice_as_wide_as_the_axis_keeps_the_numbers(tmp_path: Path) -> None:
    _, array = native(tmp_path, THIRDS)
    affine = array.nii.affine
    whole = array.isel(x=slice(None), z=slice(0, 9))
    np.testing.assert_array_equal(whole.nii.affine, affine)
    cut = array.isel(x=slice(2, 3), y=slice(None, None, -1))
    steps = affine[:3, :3] @ np.diag([1, -1, 1])
    np.testing.assert_array_equal(cut.nii.affine[:3, :3], steps)


def test_coarser_and_interpolated_maps_have_their_own_affine(
    array: xr.DataArray,
) -> None:
    coarse = array.coarsen(x=2, y=2, z=2, boundary="trim").mean()
    expected = COARSE.matrix @ [
        [2, 0, 0, 0.5],
        [0, 2, 0, 0.5],
        [0, 0, 2, 0.5],
        [0, 0, 0, 1],
    ]
    np.testing.assert_allclose(coarse.nii.affine, expected)
    finer = array.interp(x=np.arange(-30, 30, 2.5))
    np.testing.assert_allclose(finer.nii.affine[0], [2.5, 0, 0, -30])


def test_an_axis_without_coordinates_is_whole(array: xr.DataArray) -> None:
    np.testing.assert_array_equal(array.drop_vars("y").nii.affine, COARSE.matrix)


def test_arrays_of_other_makers_need_millimetres_only() -> None:
    steps = {"x": [10.0, 8, 6], "y": [0.0, 1], "z": [5.0, 9]}
    array = xr.DataArray(np.zeros((3, 2, 2), dtype="f4"), steps)
    image = array.nii.to_nifti()
    assert image.affine.tolist() == [
        [-2, 0, 0, 10],
        [0, 1, 0, 0],
        [0, 0, 4, 5],
        [0, 0, 0, 1],
    ]
    assert (image.header["sform_code"], image.header["qform_code"]) == (2, 0)


@pytest.mark.parametrize(
    ("work", "match"),
    [
        (lambda a: a.isel(z=0), "has no z .it has x, y.; .* select with a list"),
        (lambda a: a.isel(x=0, y=0, z=0), "has no x, y, z .it has none"),
        (lambda a: a.rename(x="left"), "has no x .it has left, y, z"),
        (lambda a: a.isel(x=[0, 1, 5]), "along 'x' are not evenly spaced"),
        (lambda a: a.isel(y=[3, 3]), "along 'y' are not evenly spaced"),
        (lambda a: a.sel(z=slice(200, 300)), "no voxel is left along 'z'"),
        (
            lambda a: a.drop_vars("nifti").isel(x=[0]),
            "large a voxel is along 'x'.* no 'nifti' coordinate",
        ),
        (
            lambda a: a.drop_vars(["nifti", "x"]),
            "large a voxel is along 'x'.* no 'nifti' coordinate",
        ),
        (
            lambda a: a.drop_vars("nifti").rename(x="i", y="j", z="k"),
            "voxel indices as coordinates, but no 'nifti'",
        ),
    ],
)
def test_what_no_affine_can_say_is_an_error(
    work: Callable[..., xr.DataArray], match: str, array: xr.DataArray
) -> None:
    with pytest.raises(GeometryError, match=match):
        work(array).nii.to_nifti()


def test_five_dimensions_are_too_many(dataset: xr.Dataset) -> None:
    with pytest.raises(
        GeometryError, match="besides x, y, z, this array has run, image"
    ):
        dataset.maps.expand_dims(run=2).nii.to_nifti()


def test_a_dataset_without_maps_names_what_it_has() -> None:
    with pytest.raises(GeometryError, match=r"no variable 'maps'.*: contrast"):
        _ = xr.Dataset({"contrast": 1}).nii
