"""Maps as a matrix of the voxels of a mask, and back; spheres."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import dask.array
import nibabel
import numpy as np
import pytest
import xarray as xr
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
from nilearn.datasets import load_mni152_brain_mask
from nilearn.image import resample_to_img
from nilearn.maskers import NiftiMasker, NiftiSpheresMasker

from intake_neurovault import search
from intake_neurovault.cube import Recipe, build
from intake_neurovault.errors import ArgumentError, CorruptFileError, GeometryError
from intake_neurovault.grid import Grid, parse_grid
from intake_neurovault.nifti import Reader, read_geometry
from intake_neurovault.regions import ball, parse_mask
from intake_neurovault.testing import NeuroVaultServer

NUMBERS = range(1, 7)


def half(grid: Grid = COARSE) -> Any:
    """A mask with ragged edges."""
    return np.random.default_rng(0).random(grid.shape) > 0.5


def image_of(mask: Any, grid: Grid = COARSE) -> Any:
    return nibabel.Nifti1Image(np.asarray(mask, dtype="f4"), grid.matrix)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maps")
    write_values(path, NUMBERS)
    lacking = values(6)
    lacking[3:9, 4:12] = np.nan
    write(path, 6, lacking)
    return path


def cube(folder: Path, grid: Grid | None = COARSE, **settings: Any) -> xr.Dataset:
    images = [record(number) for number in NUMBERS]
    usual = {"opener": FolderOpener(folder), "chunks": 2, "collections": COLLECTIONS}
    return build(images, Recipe(Reader(grid), **{**usual, **settings}))


@pytest.fixture
def dataset(folder: Path) -> xr.Dataset:
    return cube(folder)


def extracted(masker: Any, maps: xr.DataArray) -> Any:
    """What a masker of nilearn makes of the same maps, with 0 for NaN."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?s).*(NaN|Non-finite) values")
        return masker.fit().transform(maps.nii.to_nifti())


def masked(mask: Any, maps: xr.DataArray) -> Any:
    return extracted(NiftiMasker(mask, standardize=None, reports=False), maps)


# ---- as nilearn has it -----------------------------------------------------------


def test_it_is_what_nilearn_gives(dataset: xr.Dataset) -> None:
    inside = half()
    matrix = dataset.maps.nii.to_matrix(inside)
    assert matrix.dims == ("image", "voxel")
    assert matrix.dtype == np.float32
    assert np.isnan(matrix.sel(image=6)).any()
    expected = masked(image_of(inside), dataset.maps)
    np.testing.assert_array_equal(matrix.fillna(0), expected)


def test_the_mask_is_that_of_the_brain_unless_given(dataset: xr.Dataset) -> None:
    matrix = dataset.nii.to_matrix()
    first = dataset.maps[0].nii.to_nifti()
    brain = resample_to_img(load_mni152_brain_mask(), first, "nearest")
    expected = masked(brain, dataset.maps)
    assert 1000 < matrix.sizes["voxel"] < 3000
    np.testing.assert_array_equal(matrix.fillna(0), expected)


@pytest.mark.parametrize("order", [("z", "image", "x", "y"), ("y", "z", "x", "image")])
def test_the_order_of_voxels_is_that_of_the_grid(
    order: tuple[str, ...], dataset: xr.Dataset
) -> None:
    inside = half()
    turned = dataset.maps.transpose(*order).nii.to_matrix(inside)
    xr.testing.assert_identical(turned, dataset.maps.nii.to_matrix(inside))


def test_voxels_know_where_they_are_and_rows_what_they_are(dataset: xr.Dataset) -> None:
    matrix = dataset.maps.nii.to_matrix(half())
    assert matrix.image.values.tolist() == list(NUMBERS)
    assert set(dataset.maps.coords) - {"x", "y", "z"} <= set(matrix.coords)
    assert matrix.attrs == dataset.maps.attrs
    one = matrix.isel(voxel=100)
    where = {axis: float(one[axis]) for axis in "xyz"}
    np.testing.assert_array_equal(one, dataset.maps.sel(where))
    assert matrix.x.attrs["units"] == "mm"


# ---- laziness --------------------------------------------------------------------


def test_it_is_lazy_in_blocks_of_images(folder: Path) -> None:
    opener = CountingOpener(folder)
    matrix = cube(folder, opener=opener).maps.nii.to_matrix(half())
    assert isinstance(matrix.data, dask.array.Array)
    assert matrix.chunks == ((2, 2, 2), (matrix.sizes["voxel"],))
    assert opener.calls == []
    matrix.sel(image=[3, 4]).compute(scheduler="synchronous")
    assert opener.opened == [3, 4]
    back = matrix.nii.unmask()
    assert back.chunks[0] == (2, 2, 2)
    assert opener.opened == [3, 4]


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_it_computes_on_local_schedulers(scheduler: str, dataset: xr.Dataset) -> None:
    matrix = dataset.maps.nii.to_matrix(half())
    found = matrix.mean("image").compute(scheduler=scheduler, num_workers=2)
    expected = np.nanmean(dataset.maps.values[:, half()], axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


ROWS: dict[str, tuple[Any, list[int]]] = {
    "one": (lambda matrix: matrix.sel(image=3), [3]),
    "some": (lambda matrix: matrix.sel(image=[6, 2]), [2, 6]),
    "a condition": (lambda matrix: matrix[np.arange(6) % 3 == 0], [1, 4]),
    "some, and voxels": (lambda matrix: matrix[[4, 1], 10:20:3], [2, 5]),
    "one voxel of one": (lambda matrix: matrix[-1, 5], [6]),
    "voxels": (lambda matrix: matrix[:, [7, 3]], [1, 2, 3, 4, 5, 6]),
    "a mean": (lambda matrix: matrix[:4].mean("image"), [1, 2, 3, 4]),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("way", ["values", "compute"])
def test_rows_that_are_not_chosen_are_not_read(
    name: str, way: str, folder: Path
) -> None:
    choose, numbers = ROWS[name]
    opener = CountingOpener(folder)
    matrix = cube(folder, opener=opener).maps.nii.to_matrix(half())
    found = choose(matrix)
    found = found.values if way == "values" else found.compute(scheduler="sync").values
    assert opener.opened == numbers
    np.testing.assert_allclose(found, choose(matrix.load()), atol=1e-6)


def test_an_assignment_to_a_matrix_is_not_forgotten(dataset: xr.Dataset) -> None:
    matrix = dataset.maps.nii.to_matrix(half())
    matrix[2, 5:9] = 0
    assert (matrix.values[2, 5:9] == 0).all()
    assert (matrix[[2]].compute()[0, 5:9] == 0).all()


def test_values_are_read_as_they_are_computed(dataset: xr.Dataset) -> None:
    matrix = dataset.maps.nii.to_matrix(half())
    np.testing.assert_array_equal(matrix.values, matrix.compute(scheduler="sync"))
    np.testing.assert_array_equal(matrix, dataset.maps.values[:, half()])


def test_loaded_maps_give_a_loaded_matrix(dataset: xr.Dataset) -> None:
    loaded = dataset.maps.load().nii.to_matrix(half())
    assert isinstance(loaded.data, np.ndarray)
    np.testing.assert_array_equal(loaded, dataset.maps.values[:, half()])


# ---- masks -----------------------------------------------------------------------


def as_array(mask: Any, _: Path) -> Any:
    return mask


def as_image(mask: Any, _: Path) -> Any:
    return image_of(mask)


def as_labels(mask: Any, _: Path) -> Any:
    return image_of(7.0 * mask)


def as_file(mask: Any, folder: Path) -> Any:
    image_of(mask).to_filename(folder / "mask.nii.gz")
    return folder / "mask.nii.gz"


def as_text(mask: Any, folder: Path) -> Any:
    return str(as_file(mask, folder))


def as_labelled_array(mask: Any, _: Path) -> Any:
    return xr.DataArray(mask, COARSE.coords()).transpose("z", "x", "y")


SPELLINGS = (as_array, as_image, as_labels, as_file, as_text, as_labelled_array)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_mask_may_be_spelled_in_many_ways(
    spelling: Any, dataset: xr.Dataset, tmp_path: Path
) -> None:
    found = dataset.maps[:2].nii.to_matrix(spelling(half(), tmp_path))
    np.testing.assert_array_equal(found, dataset.maps.values[:2, half()])


@pytest.mark.parametrize("spelling", [as_image, as_file])
def test_a_mask_on_another_grid_is_brought_to_that_of_the_maps(
    spelling: Any, dataset: xr.Dataset, tmp_path: Path
) -> None:
    fine = parse_grid(4)
    box = np.zeros(fine.shape)
    box[11:33, 9:40, 12:29] = 1
    mask = nibabel.Nifti1Image(box.astype("f4"), fine.matrix)
    mask.to_filename(tmp_path / "fine.nii.gz")
    given_mask = mask if spelling is as_image else tmp_path / "fine.nii.gz"
    first = dataset.maps[0].nii.to_nifti()
    near = resample_to_img(mask, first, "nearest")
    expected = masked(near, dataset.maps)
    matrix = dataset.maps.nii.to_matrix(given_mask)
    np.testing.assert_array_equal(matrix.fillna(0), expected)


def test_a_mask_fits_maps_that_were_cut(dataset: xr.Dataset) -> None:
    inside = half()
    cut = dataset.maps.isel(x=slice(2, 15), y=slice(None, None, 2), z=slice(4, None))
    part = inside[2:15, ::2, 4:]
    expected = dataset.maps.values[:, 2:15, ::2, 4:][:, part]
    np.testing.assert_array_equal(cut.nii.to_matrix(image_of(inside)), expected)
    np.testing.assert_array_equal(cut.nii.to_matrix(part), expected)


@pytest.mark.parametrize(
    ("mask", "error", "match"),
    [
        (half()[1:], GeometryError, r"shape \(18, 22, 19\) does not fit .* 19×22×19"),
        (half().astype(int), ArgumentError, "mask: ndarray is not understood"),
        ("no/such.nii", ArgumentError, "mask: no/such.nii cannot be read"),
        (7, ArgumentError, "mask: int is not understood; a mask or an atlas is"),
        (np.zeros(COARSE.shape, bool), GeometryError, "no voxel of the grid of 19×22"),
        (image_of(values(1)), GeometryError, "several values besides 0.*threshold"),
        (
            nibabel.Nifti1Image(np.ones((4, 4, 4, 3, 2), "f4"), np.eye(4)),
            GeometryError,
            r"a mask is 3-D, this image has the shape \(4, 4, 4, 3, 2\)",
        ),
        (
            nibabel.Nifti1Image(
                np.ones((4, 4, 4), "f4"), FLIPPED.matrix + 1e4 * np.eye(4, k=3)
            ),
            GeometryError,
            "check mask=, and whether both are in the same space",
        ),
        (xr.DataArray(np.ones((2, 2)), dims=["a", "b"]), GeometryError, "no x, y, z"),
    ],
)
def test_what_is_no_mask_is_refused(
    mask: Any, error: type[Exception], match: str, dataset: xr.Dataset
) -> None:
    with pytest.raises(error, match=match):
        dataset.maps.nii.to_matrix(mask)


def test_a_damaged_mask_is_named(dataset: xr.Dataset, tmp_path: Path) -> None:
    (tmp_path / "mask.nii.gz").write_bytes(b"no mask")
    with pytest.raises(CorruptFileError, match=r"the mask .*mask\.nii\.gz"):
        dataset.maps.nii.to_matrix(tmp_path / "mask.nii.gz")


def test_the_mask_of_the_brain_cannot_be_changed_by_accident() -> None:
    brain = parse_mask(None, COARSE)
    assert parse_mask(None, COARSE) is brain
    with pytest.raises(ValueError, match="read-only"):
        brain[0, 0, 0] = True


# ---- and back --------------------------------------------------------------------


def test_unmasking_gives_the_maps_with_zeros_outside(dataset: xr.Dataset) -> None:
    inside = half()
    maps = dataset.maps.nii.to_matrix(inside).nii.unmask()
    xr.testing.assert_identical(maps.compute(), dataset.maps.where(inside, 0).compute())
    np.testing.assert_array_equal(maps.nii.affine, COARSE.matrix)


def test_selections_and_arithmetic_survive(dataset: xr.Dataset) -> None:
    inside = half()
    matrix = dataset.maps.nii.to_matrix(inside)
    whole = dataset.maps.where(inside, 0)
    some = matrix.sel(image=[5, 2]).nii.unmask()
    np.testing.assert_array_equal(some, whole.sel(image=[5, 2]))
    scaled = (2 * matrix - matrix.mean("image")).isel(image=0).nii.unmask()
    np.testing.assert_allclose(
        scaled, 2 * whole[0] - whole.mean("image"), rtol=1e-4, atol=1e-5
    )
    left = matrix.isel(voxel=(matrix.x < 0).values).max("image").nii.unmask()
    np.testing.assert_array_equal(left, whole.max("image").where(whole.x < 0, 0))
    shuffled = matrix.isel(voxel=np.random.default_rng(1).permutation(inside.sum()))
    xr.testing.assert_identical(
        shuffled.nii.unmask().compute(), matrix.nii.unmask().compute()
    )
    kinds = matrix.groupby("collection_id").mean().nii.unmask()
    assert kinds.dims == ("collection_id", "x", "y", "z")


@pytest.mark.parametrize("grid", [FLIPPED, OBLIQUE])
def test_other_grids_come_back_too(grid: Grid, tmp_path: Path) -> None:
    write_values(tmp_path, NUMBERS, grid)
    where = read_geometry(tmp_path / "1.nii.gz", label="a map")
    images = [record(number) for number in NUMBERS]
    recipe = Recipe(Reader(None), FolderOpener(tmp_path), 2, COLLECTIONS)
    maps = build(images, recipe, geometries=[where] * len(images)).maps
    inside = half(grid)
    matrix = maps.nii.to_matrix(inside)
    np.testing.assert_array_equal(matrix, masked(image_of(inside, grid), maps))
    xr.testing.assert_identical(
        matrix.nii.unmask().compute(), maps.where(inside, 0).compute()
    )


def test_one_map_and_back(dataset: xr.Dataset) -> None:
    one = dataset.maps.sel(image=3)
    row = one.nii.to_matrix(half())
    assert row.dims == ("voxel",)
    np.testing.assert_array_equal(row, values(3)[half()])
    assert row.nii.unmask().dims == ("x", "y", "z")


@pytest.mark.parametrize("engine", ["netcdf4", "zarr"])
def test_a_matrix_in_a_file_can_be_unmasked(
    engine: Any, dataset: xr.Dataset, tmp_path: Path
) -> None:
    matrix = dataset.maps.nii.to_matrix(half())
    stored = matrix.to_dataset(name="matrix")
    if engine == "zarr":
        stored.to_zarr(tmp_path / "matrix", consolidated=False)
    else:
        stored.to_netcdf(tmp_path / "matrix", engine=engine)
    options = {"consolidated": False} if engine == "zarr" else {}
    with xr.open_dataset(tmp_path / "matrix", engine=engine, **options) as back:
        xr.testing.assert_identical(
            back["matrix"].nii.unmask().compute().rename(None),
            matrix.nii.unmask().compute().rename(None),
        )


def doubled(matrix: xr.DataArray) -> xr.DataArray:
    return matrix.isel(voxel=[0, 1, 1])


def moved(matrix: xr.DataArray) -> xr.DataArray:
    return matrix.assign_coords(x=matrix.x + 3)


def beyond(matrix: xr.DataArray) -> xr.DataArray:
    return matrix.assign_coords(x=matrix.x + 1000)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda matrix: matrix.mean("voxel"), "no dimension 'voxel' .*to_matrix"),
        (lambda matrix: matrix.drop_vars(["x", "nifti"]), "has lost nifti, x; keep"),
        (
            lambda matrix: matrix.assign_coords(nifti=0),
            r"has lost nifti \(with affine and shape\)",
        ),
        (doubled, "a voxel twice"),
        (moved, "are not those of voxels of its grid, 19×22×19"),
        (beyond, "are not those of voxels of its grid"),
    ],
)
def test_what_cannot_be_unmasked_says_why(
    change: Any, match: str, dataset: xr.Dataset
) -> None:
    matrix = dataset.maps.nii.to_matrix(half())
    with pytest.raises(GeometryError, match=match):
        change(matrix).nii.unmask()


# ---- spheres ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "radius"), [((0, 0, 0), 20), ((-31, 22, 5), 15.5), ((40, -60, 8), 0)]
)
def test_a_sphere_is_that_of_nilearn(
    seed: tuple[float, float, float], radius: float, dataset: xr.Dataset
) -> None:
    found = dataset.maps.nii.sphere(*seed, radius=radius)
    masker = NiftiSpheresMasker([seed], radius=radius, standardize=None, reports=False)
    expected = extracted(masker, dataset.maps)
    np.testing.assert_allclose(
        found.fillna(0).mean("voxel"), expected[:, 0], rtol=1e-5, atol=1e-7
    )


@given(
    fractions=st.tuples(*(st.floats(0, 1) for _ in range(3))),
    radius=st.floats(0, 40),
    grid=st.sampled_from([COARSE, FLIPPED, OBLIQUE]),
)
def test_a_ball_holds_what_is_near(
    fractions: tuple[float, float, float], radius: float, grid: Grid
) -> None:
    place = np.append(np.multiply(fractions, np.subtract(grid.shape, 1)), 1)
    centre = (grid.matrix @ place)[:3]
    inside = ball(grid, centre, radius)
    ends = np.array([*np.nonzero(inside), np.ones(inside.sum())])
    away = np.linalg.norm((grid.matrix @ ends)[:3].T - centre, axis=1)
    step = np.linalg.norm(grid.matrix[:3, :3].sum(axis=1))
    assert (away <= max(radius + 1e-6, step)).all()
    others = np.array([*np.nonzero(~inside), np.ones((~inside).sum())])
    away = np.linalg.norm((grid.matrix @ others)[:3].T - centre, axis=1)
    assert (away > radius - 1e-6).all()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"x": 0, "y": 0, "z": 0, "radius": -1}, ArgumentError, "radius=-1"),
        ({"x": np.nan, "y": 0, "z": 0}, ArgumentError, "three coordinates"),
        ({"x": 0, "y": 500, "z": 0}, GeometryError, r"0\.0, 500\.0, 0\.0.*check x, y"),
    ],
)
def test_a_sphere_that_makes_no_sense_is_refused(
    arguments: Any, error: type[Exception], match: str, dataset: xr.Dataset
) -> None:
    with pytest.raises(error, match=match):
        dataset.maps.nii.sphere(**arguments)


# ---- one read for what is asked --------------------------------------------------


def keys_of_reads(array: xr.DataArray) -> list[Any]:
    """How the stack is indexed, after dask has merged what it can."""
    data = array.data
    graph = data.__dask_optimize__(data.__dask_graph__(), data.__dask_keys__())
    found = []
    for task in dict(graph).values():
        parts = getattr(task, "args", ())
        inner = parts[0] if parts and isinstance(parts[0], dict) else {}
        for each in (task, *inner.values()):
            if getattr(getattr(each, "func", None), "__name__", "") == "getter":
                found.append(each.args[1])
    return found


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (
            lambda maps: maps.sel(x=0, y=1, z=-2, method="nearest"),
            (slice(0, None, None), 9, 13, 7),
        ),
        (
            lambda maps: maps.isel(x=slice(3, 9), y=4),
            (slice(0, None, None), slice(3, 9, None), 4, slice(0, None, None)),
        ),
    ],
)
def test_a_cut_is_one_with_reading(
    select: Any, expected: Any, dataset: xr.Dataset
) -> None:
    assert keys_of_reads(select(dataset.maps)) == [expected] * 3


# ---- from a search ---------------------------------------------------------------


def test_a_result_gives_the_matrix_too(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    result = search(image_ids=[32015, 32016], grid=6, url=server.url, data_dir=data_dir)
    inside = half(parse_grid(6))
    matrix = result.to_matrix(inside)
    expected = result.to_dask().maps.values[:, inside]
    np.testing.assert_array_equal(matrix, expected)
    assert matrix.image.values.tolist() == [32015, 32016]
