"""Lazy cubes: labels, laziness, files, schedulers."""

from __future__ import annotations

import pickle
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import dask.array
import distributed
import numpy as np
import pytest
import xarray as xr
from maps import (
    COARSE,
    COLLECTIONS,
    FLIPPED,
    OBLIQUE,
    CountingOpener,
    FolderOpener,
    StrictOpener,
    record,
    values,
    write,
    write_values,
)

from intake_neurovault.accessor import Nifti
from intake_neurovault.cube import (
    Recipe,
    add_words,
    build,
    build_tree,
    loaded,
    parse_chunks,
    single,
)
from intake_neurovault.errors import (
    ArgumentError,
    CorruptFileError,
    GeometryError,
    NeuroVaultWarning,
)
from intake_neurovault.grid import GRIDS, Grid, GridFile
from intake_neurovault.nifti import Reader, read_geometry
from intake_neurovault.records import Image

NUMBERS = range(1, 13)
SUBJECTS: Mapping[int, int | None] = {n: None if n == 4 else 5 * n for n in NUMBERS}


def made(number: int) -> Image:
    """One of a dozen images of two collections, with all kinds of fields."""
    return record(
        number,
        collection_id=1 + number % 2,
        map_type="T map" if number % 3 == 0 else "Z map",
        number_of_subjects=SUBJECTS[number],
        not_mni=number == 5,
        is_thresholded=None if number == 6 else False,
        description="é\n  β" * number if number != 7 else None,
        add_date=None if number == 8 else f"2024-01-{number:02d}T01:00:00.000250+01:00",
        **({"task": f"run {number}"} if number < 3 else {}),
    )


IMAGES = [made(number) for number in NUMBERS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maps")
    write_values(path, NUMBERS)
    return path


def recipe_for(folder: Path, grid: Any = COARSE, **settings: Any) -> Recipe:
    usual = {"opener": FolderOpener(folder), "chunks": 4, "collections": COLLECTIONS}
    return Recipe(Reader(grid), **{**usual, **settings})


@pytest.fixture
def recipe(folder: Path) -> Recipe:
    return recipe_for(folder)


@pytest.fixture
def dataset(recipe: Recipe) -> xr.Dataset:
    return build(IMAGES, recipe)


@pytest.fixture(scope="module")
def whole() -> Any:
    return np.stack([values(number) for number in NUMBERS])


@pytest.fixture
def counted(folder: Path) -> tuple[xr.Dataset, CountingOpener]:
    opener = CountingOpener(folder)
    return build(IMAGES, recipe_for(folder, opener=opener)), opener


# ---- what is in it ---------------------------------------------------------------


def test_maps_are_float32_with_labels(dataset: xr.Dataset, whole: Any) -> None:
    assert dataset.maps.dims == ("image", "x", "y", "z")
    assert dataset.maps.dtype == np.float32
    assert dataset.image.dtype == np.int64
    assert dataset.image.values.tolist() == list(NUMBERS)
    assert dataset.x.values.tolist() == list(range(-90, 91, 10))
    assert dataset.y.attrs["units"] == "mm"
    np.testing.assert_array_equal(dataset.maps, whole)


def test_metadata_are_coordinates_on_image(dataset: xr.Dataset) -> None:
    assert dataset.number_of_subjects.dims == ("image",)
    assert dataset.collection_name.values[:2].tolist() == ["Motor", "Faces"]
    assert dataset.collection_doi.values[:2].tolist() == ["", "10.1000/faces"]
    assert dataset.extra.values[2] == "{}"
    assert "age" not in dataset.coords


def test_attributes_say_what_and_whence(folder: Path) -> None:
    made_by = {"query": '{"max_images": 3}', "url": "https://example.org"}
    dataset = build(IMAGES, recipe_for(folder, **made_by))
    assert dataset.attrs["query"] == made_by["query"]
    assert dataset.attrs["source"] == made_by["url"]
    assert dataset.attrs["license"] == "CC0-1.0"
    assert dataset.attrs["citation_dois"] == "10.1000/faces"
    assert dataset.maps.attrs["grid_mapping"] == "nifti"
    assert dataset.maps.attrs["interpolation"] == "auto"
    assert dataset.maps.attrs["nan"] == "keep"
    assert dataset.maps.attrs["fill_value"] == 0.0
    assert dataset.nifti.attrs["space"] == "GenericMNI"
    assert dataset.nifti.attrs["affine"] == list(COARSE.affine)


@pytest.mark.parametrize(
    ("map_types", "long_name", "units"),
    [
        (["Z map", "Z map"], "Z map", "1"),
        (["univariate-beta map"] * 2, "univariate-beta map", None),
        (["Z map", "T map"], "statistical brain map", None),
        ([None, None], "statistical brain map", None),
    ],
)
def test_maps_of_one_kind_say_which(
    map_types: list[str | None], long_name: str, units: str | None, recipe: Recipe
) -> None:
    images = [record(n, map_type=kind) for n, kind in enumerate(map_types, start=1)]
    attrs = build(images, recipe).maps.attrs
    assert (attrs["long_name"], attrs.get("units")) == (long_name, units)


def test_maps_of_another_space_are_named(recipe: Recipe) -> None:
    images = [*IMAGES, record(40, target_template_image="Dorr2008")]
    with pytest.warns(NeuroVaultWarning, match="1 of 13 maps.*image 40: Dorr2008"):
        dataset = build(images, recipe)
    assert dataset.nifti.attrs["space"] == "Dorr2008, GenericMNI"
    assert dataset.nifti.attrs["sform_code"] == 2


def test_the_grid_of_a_file_is_read_once_and_travels_as_numbers(
    folder: Path, whole: Any, tmp_path: Path
) -> None:
    like = write(tmp_path, 1, values(1))
    dataset = build(IMAGES, recipe_for(folder, GridFile(str(like))))
    like.unlink()
    np.testing.assert_array_equal(dataset.maps, whole)


def test_words_stand_beside_the_maps(dataset: xr.Dataset) -> None:
    weights = np.arange(24.0).reshape(12, 2)
    with_words = add_words(dataset, weights, ["face", "motor"])
    assert with_words.word_weights.dims == ("image", "word")
    assert with_words.word_weights.sel(image=2, word="motor") == 3


def test_one_map_has_its_metadata_as_attributes(dataset: xr.Dataset) -> None:
    one = single(dataset, IMAGES[0])
    assert one.dims == ("x", "y", "z")
    np.testing.assert_array_equal(one, values(1))
    assert one.attrs["name"] == "map 1"
    assert one.attrs["not_mni"] == 0
    assert one.attrs["extra"] == '{"task": "run 1"}'
    assert one.attrs["grid_mapping"] == "nifti"
    assert "age" not in one.attrs
    assert "extra" not in single(dataset, IMAGES[5]).attrs


# ---- laziness --------------------------------------------------------------------


def test_building_opens_nothing(counted: tuple[xr.Dataset, CountingOpener]) -> None:
    dataset, opener = counted
    assert isinstance(dataset.maps.data, dask.array.Array)
    dataset.maps.mean("image").sel(x=0, method="nearest")
    repr(dataset)
    assert opener.calls == []


def test_a_chunk_opens_all_its_files_in_one_call(
    counted: tuple[xr.Dataset, CountingOpener],
) -> None:
    dataset, opener = counted
    dataset.maps.mean("image").compute(scheduler="synchronous")
    assert sorted(opener.calls) == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]


SELECTIONS: dict[str, tuple[Callable[[xr.Dataset], xr.DataArray], list[int]]] = {
    "one image": (lambda ds: ds.maps.sel(image=3), [3]),
    "one row": (lambda ds: ds.maps[6], [7]),
    "some images": (lambda ds: ds.maps.sel(image=[9, 2]), [2, 9]),
    "a slice": (lambda ds: ds.maps.isel(image=slice(2, 11, 4)), [3, 7, 11]),
    "a condition": (
        lambda ds: ds.maps.sel(image=ds.number_of_subjects > 45).mean("image"),
        [10, 11, 12],
    ),
    "text": (lambda ds: ds.maps.sel(image=ds.map_type == "T map"), [3, 6, 9, 12]),
    "a flag": (lambda ds: ds.maps.sel(image=ds.not_mni), [5]),
    "a voxel": (lambda ds: ds.maps.sel(image=[9, 2], x=0, y=-16, z=8), [2, 9]),
    "twice": (lambda ds: ds.maps[[1, 3, 5, 7]][[0, 2]], [2, 6]),
    "a whole dataset": (lambda ds: ds.sel(image=ds.image > 10).maps, [11, 12]),
    "a query": (lambda ds: ds.query(image="number_of_subjects < 15").maps, [1, 2]),
    "cut, then one": (lambda ds: ds.maps.isel(x=slice(3, 9)).isel(image=-1), [12]),
    "cut, then some": (
        lambda ds: ds.isel(x=slice(3, 9), y=4).isel(z=[1, 5]).maps.sel(image=[7, 1]),
        [1, 7],
    ),
    "some, then cut, then one": (
        lambda ds: ds.maps.sel(image=[8, 4, 2])[:, 1:, ::-1][1, 2:, ..., 0],
        [4],
    ),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_choosing_images_opens_no_others(
    name: str, counted: tuple[xr.Dataset, CountingOpener], whole: Any
) -> None:
    select, opened = SELECTIONS[name]
    dataset, opener = counted
    loaded = xr.Dataset({"maps": (dataset.maps.dims, whole)}, dataset.coords)
    found = select(dataset).compute(scheduler="synchronous")
    assert opener.opened == opened
    xr.testing.assert_allclose(found, select(loaded), rtol=1e-6)


def test_choosing_nothing_gives_an_empty_array(
    counted: tuple[xr.Dataset, CountingOpener],
) -> None:
    dataset, opener = counted
    found = dataset.maps.sel(image=dataset.number_of_subjects > 1000).compute()
    assert found.shape == (0, 19, 22, 19)
    assert opener.calls == []


def test_an_assignment_is_not_forgotten(dataset: xr.Dataset) -> None:
    array = dataset.maps.data
    array[0] = 5
    assert (array[[0, 1]].compute()[0] == 5).all()


def test_usual_work_on_labelled_arrays(dataset: xr.Dataset, whole: Any) -> None:
    kinds = dataset.maps.groupby("map_type").mean()
    expected = whole[dataset.map_type.values == "T map"].mean(axis=0)
    np.testing.assert_allclose(kinds.sel(map_type="T map"), expected, atol=1e-6)
    masked = dataset.where(dataset.number_of_subjects > 20)
    assert np.isnan(masked.maps.sel(image=3)).all()
    np.testing.assert_array_equal(masked.maps.sel(image=9), whole[8])
    near = dataset.maps.sel(x=3, y=1, z=2, method="nearest")
    np.testing.assert_array_equal(near, whole[:, 9, 13, 7])


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_memory_of_a_reduction_does_not_grow_with_the_maps(
    scheduler: str, folder: Path
) -> None:
    def peak(rounds: int) -> int:
        images = [
            replace(image, id=100 * i + image.id)
            for i in range(rounds)
            for image in IMAGES
        ]
        mean = build(images, recipe_for(folder)).maps.mean("image")
        tracemalloc.start()
        try:
            mean.compute(scheduler=scheduler, num_workers=2)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)
    maps = 12 * 12 * values(1).nbytes
    assert peak(16) < peak(4) + 0.25 * maps


# ---- chunks and names ------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "grid", "expected"),
    [
        ("auto", "mni152-3mm", (8, 4)),
        ("auto", "mni152-2mm", (8, 4)),
        ("auto", "mni152-1mm", (2, 2, 2, 2, 2, 2)),
        (5, "mni152-3mm", (5, 5, 2)),
        (100, "mni152-3mm", (12,)),
    ],
)
def test_a_chunk_is_several_whole_maps(
    chunks: Any, grid: str, expected: tuple[int, ...], folder: Path
) -> None:
    dataset = build(IMAGES, recipe_for(folder, GRIDS[grid], chunks=chunks))
    assert dataset.maps.chunks == (expected, *((n,) for n in GRIDS[grid].shape))


def test_automatic_chunks_hold_eight_maps_at_most(folder: Path) -> None:
    images = [replace(IMAGES[0], id=number) for number in range(100, 120)]
    dataset = build(images, recipe_for(folder, chunks="auto"))
    assert dataset.maps.chunks[0] == (8, 8, 4)


@pytest.mark.parametrize(
    ("given", "parsed"), [("auto", "auto"), (" Auto ", "auto"), (3, 3), ("8", 8)]
)
def test_chunks_are_understood(given: Any, parsed: Any) -> None:
    assert parse_chunks(given) == parsed


@pytest.mark.parametrize("given", [0, -1, 2.5, True, None, "many", [4], {"image": 4}])
def test_chunks_that_make_no_sense_are_refused(given: Any) -> None:
    with pytest.raises(ArgumentError, match=r"chunks=.* must be 'auto' or the number"):
        parse_chunks(given)


def test_equal_queries_have_equal_names(recipe: Recipe) -> None:
    first, second = build(IMAGES, recipe), build([made(n) for n in NUMBERS], recipe)
    assert first.maps.data.name == second.maps.data.name
    assert dask.base.tokenize(first.maps.data) == dask.base.tokenize(second.maps.data)
    chosen = [each.sel(image=[3, 4]).maps.data.name for each in (first, second)]
    assert chosen[0] == chosen[1] != first.maps.data.name


@pytest.mark.parametrize(
    "change",
    [
        {"token": "another query"},
        {"chunks": 3},
        {"reader": Reader(FLIPPED)},
        {"reader": Reader(COARSE, "nearest")},
    ],
)
def test_other_queries_have_other_names(change: Any, recipe: Recipe) -> None:
    other = build(IMAGES, replace(recipe, **change))
    assert other.maps.data.name != build(IMAGES, recipe).maps.data.name


def test_the_graph_is_small_and_holds_no_metadata(folder: Path) -> None:
    long = record(50, description="a long text " * 10_000)
    images = [replace(long, id=number) for number in range(200)]
    dataset = build(images, recipe_for(folder, chunks=4))
    assert len(dataset.maps.__dask_graph__()) == 50
    assert len(pickle.dumps(dataset.maps.data)) < 100_000


# ---- schedulers ------------------------------------------------------------------


def expected_mean(whole: Any) -> Any:
    return whole[4:].mean(axis=0)


def mean_of_large_studies(dataset: xr.Dataset) -> xr.DataArray:
    return dataset.maps.sel(image=dataset.number_of_subjects > 20).mean("image")


@pytest.mark.parametrize("name", SELECTIONS)
def test_values_are_those_of_any_scheduler(name: str, dataset: xr.Dataset) -> None:
    selected = SELECTIONS[name][0](dataset)
    expected = selected.compute(scheduler="synchronous")
    np.testing.assert_array_equal(selected.values, expected)


@pytest.mark.parametrize("skipna", [True, False])
@pytest.mark.parametrize("scheduler", ["threads", "synchronous", "processes"])
def test_means_are_taken_map_by_map(
    skipna: bool, scheduler: str, folder: Path, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        lacking = values(number)
        lacking[number:5, 2] = np.nan
        write(tmp_path, number, lacking)
    images = [made(number) for number in (1, 2, 3)]
    maps = build(images, recipe_for(tmp_path, chunks=2)).maps
    mean = maps.isel(y=slice(1, 4)).mean("image", skipna=skipna)
    expected = maps.load().isel(y=slice(1, 4)).mean("image", skipna=skipna)
    assert np.isnan(expected).any()
    xr.testing.assert_allclose(mean.compute(scheduler=scheduler), expected, rtol=1e-5)
    np.testing.assert_allclose(mean.values, expected, rtol=1e-5)


def test_what_follows_a_mean_is_lazy_too(dataset: xr.Dataset, whole: Any) -> None:
    spread = dataset.maps.std("image") + dataset.maps.mean("image")
    assert spread.chunks is not None
    expected = whole.std(axis=0) + whole.mean(axis=0)
    np.testing.assert_allclose(spread, expected, atol=1e-5)


WITHOUT_CLUSTER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from maps import COARSE, FolderOpener, record
from intake_neurovault.cube import Recipe, build
from intake_neurovault import accessor
from intake_neurovault.nifti import Reader

recipe = Recipe(Reader(COARSE), FolderOpener(Path(sys.argv[1])))
maps = build([record(1), record(2)], recipe).maps
inside = (COARSE.coords()["x"] > 0)[:, None, None].repeat(22, 1).repeat(19, 2)
for array in (
    maps, maps[0], maps.mean("image"), maps.sel(x=0), maps.std("image"),
    maps.nii.to_matrix(inside), maps.nii.sphere(0, 0, 0, radius=9).mean("voxel"),
):
    array.values
    assert "distributed" not in sys.modules
maps.compute()
print("distributed" in sys.modules)
"""


def test_values_do_not_load_what_runs_clusters(folder: Path, run_python: Any) -> None:
    done = run_python(WITHOUT_CLUSTER, str(folder), str(Path(__file__).parent))
    assert done.stdout.split() == ["True"]


def test_a_scheduler_that_was_set_is_used(dataset: xr.Dataset) -> None:
    asked = []

    def get(graph: Any, keys: Any, **given: Any) -> Any:
        asked.append(keys)
        return dask.get(graph, keys, **given)

    with dask.config.set(scheduler=get):
        found = dataset.maps.values
        matrix = Nifti(dataset.maps).sphere(0, 0, 0, radius=20).values
    assert len(asked) == 2
    np.testing.assert_array_equal(found, dataset.maps.values)
    assert matrix.shape[0] == 12


def test_loading_takes_one_copy(folder: Path) -> None:
    images = [
        replace(image, id=100 * i + image.id) for i in range(8) for image in IMAGES
    ]
    dataset = build(images, recipe_for(folder))
    size = len(images) * values(1).nbytes
    loaded(dataset.isel(image=slice(8)))
    tracemalloc.start()
    try:
        found = loaded(dataset)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(found.maps.data, np.ndarray)
    assert peak < 1.5 * size
    xr.testing.assert_identical(found, dataset.compute())


@pytest.mark.parametrize("scheduler", ["threads", "processes"])
def test_it_computes_on_local_schedulers(
    scheduler: str, dataset: xr.Dataset, whole: Any
) -> None:
    mean = mean_of_large_studies(dataset).compute(scheduler=scheduler, num_workers=2)
    np.testing.assert_allclose(mean, expected_mean(whole), atol=1e-6)


@pytest.fixture(scope="module")
def cluster_client() -> Iterator[Any]:
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_it_computes_on_a_cluster(
    cluster_client: Any, recipe: Recipe, whole: Any
) -> None:
    sent = pickle.loads(pickle.dumps(build(IMAGES, recipe)))
    future = cluster_client.compute(mean_of_large_studies(sent))
    np.testing.assert_allclose(future.result(), expected_mean(whole), atol=1e-6)


# ---- failures --------------------------------------------------------------------


def test_a_map_that_cannot_be_had_is_named(folder: Path) -> None:
    dataset = build(
        [*IMAGES, record(99)], recipe_for(folder, opener=StrictOpener(folder))
    )
    with pytest.raises(CorruptFileError, match="image 99 is truncated"):
        dataset.maps.mean("image").compute()


def test_a_map_that_cannot_be_had_is_nan_where_that_is_no_error(recipe: Recipe) -> None:
    maps = build([*IMAGES, record(99)], recipe).maps.compute()
    assert np.isnan(maps.sel(image=99)).all()
    assert np.isfinite(maps.sel(image=12)).all()


def test_a_damaged_map_is_nan_where_that_is_no_error(tmp_path: Path) -> None:
    write_values(tmp_path, [1])
    (tmp_path / "2.nii.gz").write_bytes(b"no map")
    dataset = build([record(1), record(2)], recipe_for(tmp_path, errors="warn"))
    assert dataset.maps.isnull().all(["x", "y", "z"]).values.tolist() == [False, True]


# ---- native grids ----------------------------------------------------------------


def native(
    tmp_path: Path, grids: Mapping[int, Grid], **header: Any
) -> tuple[list[Image], Recipe, list[Any]]:
    """Write maps on grids of their own; read what is needed to build."""
    images = [record(number) for number in grids]
    paths = [
        write(tmp_path, number, values(number, grid), grid, **header)
        for number, grid in grids.items()
    ]
    geometries = [read_geometry(path, label="a map") for path in paths]
    return images, recipe_for(tmp_path, None), geometries


def test_maps_on_one_native_grid_stay_on_it(tmp_path: Path) -> None:
    images, recipe, geometries = native(tmp_path, {1: FLIPPED, 2: FLIPPED})
    dataset = build(images, recipe, geometries=geometries)
    assert dataset.x.values.tolist() == [90 - 12 * i for i in range(16)]
    np.testing.assert_array_equal(dataset.maps.sel(image=2), values(2, FLIPPED))
    assert dataset.nifti.attrs["affine"] == list(FLIPPED.affine)
    assert dataset.nifti.attrs["qform_code"] == 1
    assert dataset.maps.attrs["interpolation"] == "none"


def test_an_oblique_grid_has_voxel_indices(tmp_path: Path) -> None:
    images, recipe, geometries = native(tmp_path, {1: OBLIQUE})
    dataset = build(images, recipe, geometries=geometries)
    assert dataset.maps.dims == ("image", "i", "j", "k")
    np.testing.assert_array_equal(dataset.maps[0], values(1, OBLIQUE))


def test_a_file_that_could_not_be_had_keeps_its_row(tmp_path: Path) -> None:
    images, recipe, geometries = native(tmp_path, {1: FLIPPED, 2: FLIPPED})
    (tmp_path / "1.nii.gz").unlink()
    dataset = build(images, recipe, geometries=[None, geometries[1]])
    assert dataset.maps.isnull().all(["x", "y", "z"]).values.tolist() == [True, False]


def test_several_native_grids_are_refused_with_both_ways_out(tmp_path: Path) -> None:
    images, recipe, geometries = native(tmp_path, {1: FLIPPED, 2: COARSE})
    with pytest.raises(GeometryError, match=r"2 different grids.*grid=.*to_datatree"):
        build(images, recipe, geometries=geometries)


def test_a_tree_has_a_node_for_each_grid(tmp_path: Path) -> None:
    grids = {1: FLIPPED, 2: COARSE, 3: FLIPPED, 4: OBLIQUE}
    images, recipe, geometries = native(tmp_path, grids)
    tree = build_tree(images, recipe, geometries=geometries)
    assert [node.image.values.tolist() for node in tree.children.values()] == [
        [1, 3],
        [2],
        [4],
    ]
    for node in tree.children.values():
        for number in node.image.values.tolist():
            found = node.maps.sel(image=number)
            np.testing.assert_array_equal(found, values(number, grids[number]))
    assert tree.attrs["license"] == "CC0-1.0"


def test_a_tree_on_a_named_grid_has_one_node_of_that_name(folder: Path) -> None:
    tree = build_tree(IMAGES, recipe_for(folder, GRIDS["mni152-3mm"]))
    assert list(tree.children) == ["mni152_3mm"]
    assert tree["mni152_3mm"].maps.sizes["image"] == 12


def test_a_tree_names_images_without_a_known_grid(tmp_path: Path) -> None:
    images, recipe, geometries = native(tmp_path, {1: FLIPPED, 2: FLIPPED})
    with pytest.warns(NeuroVaultWarning, match="1 images is not known.*: 1;"):
        tree = build_tree(images, recipe, geometries=[None, geometries[1]])
    (node,) = tree.children.values()
    assert node.image.values.tolist() == [2]


# ---- files of cubes --------------------------------------------------------------


def to_netcdf(dataset: xr.Dataset, path: Path) -> xr.Dataset:
    dataset.to_netcdf(path, engine="netcdf4")
    return xr.open_dataset(path, engine="netcdf4")


def to_zarr(dataset: xr.Dataset, path: Path) -> xr.Dataset:
    # Consolidated metadata are no part of zarr 3, and zarr warns of them.
    dataset.to_zarr(path, consolidated=False)
    return xr.open_zarr(path, consolidated=False)


FORMATS = pytest.mark.parametrize("there_and_back", [to_netcdf, to_zarr])


@FORMATS
def test_a_cube_comes_back_from_a_file_as_it_was(
    there_and_back: Callable[..., xr.Dataset], dataset: xr.Dataset, tmp_path: Path
) -> None:
    with there_and_back(dataset, tmp_path / "cube") as back:
        xr.testing.assert_identical(dataset.compute(), back.compute())
        assert set(back.coords) == set(dataset.coords)
        for name in ("not_mni", "is_thresholded", "add_date", "image", "x"):
            assert back[name].dtype == dataset[name].dtype


@FORMATS
def test_one_image_comes_back_too(
    there_and_back: Callable[..., xr.Dataset], recipe: Recipe, tmp_path: Path
) -> None:
    reader = Reader(COARSE, fill_value=float("nan"))
    dataset = build(IMAGES[:1], replace(recipe, reader=reader))
    one = single(dataset, IMAGES[0]).to_dataset()
    with there_and_back(one, tmp_path / "map") as back:
        xr.testing.assert_identical(one, back.compute())


@FORMATS
def test_words_come_back_too(
    there_and_back: Callable[..., xr.Dataset], dataset: xr.Dataset, tmp_path: Path
) -> None:
    words = add_words(dataset, np.ones((12, 2)), ["face", "motor"])
    with there_and_back(words, tmp_path / "cube") as back:
        xr.testing.assert_identical(words.compute(), back.compute())


def test_a_tree_comes_back_from_zarr(tmp_path: Path) -> None:
    images, recipe, geometries = native(tmp_path, {1: FLIPPED, 2: OBLIQUE})
    tree = build_tree(images, recipe, geometries=geometries)
    tree.to_zarr(tmp_path / "tree", consolidated=False)
    with xr.open_datatree(tmp_path / "tree", engine="zarr", consolidated=False) as back:
        xr.testing.assert_identical(tree.compute(), back.compute())


def test_nothing_warns_on_the_way(dataset: xr.Dataset) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert dataset._repr_html_()
        assert dataset.image.to_index().size == 12
