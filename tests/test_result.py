"""The main job through ``search``: table, files, cube, and what a copy knows."""

from __future__ import annotations

import json
import logging
import multiprocessing
import pickle
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.base
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from nilearn.datasets.neurovault import (
    GreaterOrEqual,
    IsIn,
    NotNull,
    Pattern,
    ResultFilter,
)
from nilearn.image import resample_img

import intake_neurovault
from intake_neurovault import SearchResult, search
from intake_neurovault.errors import (
    ArgumentError,
    EmptyResultError,
    FilterError,
    GeometryError,
    MissingError,
    NeuroVaultWarning,
    OfflineError,
    PrivateError,
    StoreError,
    UnknownArgumentError,
    UnreachableError,
)
from intake_neurovault.testing import Fault, NeuroVaultServer

MOTOR = {
    "cognitive_paradigm_cogatlas": {"$contains": ["motor"]},
    "is_thresholded": False,
    "not_mni": False,
}
SOME = [10426, 10410, 10413]
ODD = {"four_d", "mouse", "small_field_of_view"}
"""Of collection 20: what is no map, of another species, or hardly on the grid."""


def media(server: NeuroVaultServer) -> list[str]:
    return [each.path for each in server.requests if each.path.startswith("/media/")]


@pytest.fixture
def ask(fresh_server: NeuroVaultServer, data_dir: Path) -> Callable[..., SearchResult]:
    """Ask a server of one's own, quickly, into an empty store."""
    fresh_server.clear_requests()

    def asked(**arguments: Any) -> SearchResult:
        settings = {"url": fresh_server.url, "data_dir": data_dir, "retries": 1}
        return search(**(settings | arguments))

    return asked


# ---- deferred -------------------------------------------------------------------


def test_nothing_is_requested_until_somebody_looks(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    result = ask(image_terms=MOTOR)
    assert bool(result)
    assert repr(result).startswith("<SearchResult: not searched yet; images; where")
    assert hash(result) == hash(ask(image_terms=MOTOR))
    assert result.to_arguments()["image_terms"] == MOTOR
    assert fresh_server.requests == []
    assert list(data_dir.iterdir()) == []


def test_looking_requests_metadata_only(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    result = ask(image_terms=MOTOR)
    assert len(result) == 16
    assert result.keys() == [*range(10410, 10425), 10426]
    assert result.discover()["shape"] == (16, 61, 73, 61)
    assert result.failures.empty
    assert media(fresh_server) == []
    assert all(each.path.startswith("/api/") for each in fresh_server.requests)


def test_one_search_serves_all_looks(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    result = ask(image_terms=MOTOR)
    assert len(result) == 16
    fresh_server.clear_requests()
    assert len(result.df) == len(result.keys()) == len(list(result)) == 16
    assert 10426 in result
    assert result[10426].metadata["number_of_subjects"] == 66
    assert fresh_server.requests == []


def test_a_later_process_needs_no_request(
    ask: Callable[..., SearchResult],
    fresh_server: NeuroVaultServer,
    data_dir: Path,
    run_python: Callable[..., Any],
) -> None:
    expected = ask(image_terms=MOTOR, max_images=3).read()
    fresh_server.clear_requests()
    code = """
import sys, json
import intake_neurovault
url, data_dir, terms = sys.argv[1:]
result = intake_neurovault.search(
    url=url, data_dir=data_dir, image_terms=json.loads(terms), max_images=3)
print(result.keys(), float(result.to_dask().maps.sum().compute()))
"""
    done = run_python(code, fresh_server.url, str(data_dir), json.dumps(MOTOR))
    keys, total = done.stdout.rsplit(" ", 1)
    assert keys == str(expected.image.values.tolist())
    assert float(total) == pytest.approx(float(expected.maps.sum()), rel=1e-5)
    assert fresh_server.requests == []


# ---- the table ------------------------------------------------------------------


def test_the_table_is_typed(ask: Callable[..., SearchResult]) -> None:
    table = ask(collection_ids=[1952]).df
    assert table.columns[:3].tolist() == ["id", "collection_id", "collection_name"]
    assert table["number_of_subjects"].dtype == "Int64"
    assert table["is_thresholded"].dtype == "boolean"
    assert table["smoothness_fwhm"].dtype == "float64"
    assert isinstance(table["add_date"].dtype, pd.DatetimeTZDtype)
    assert str(table["add_date"].dt.tz) == "UTC"
    assert set(table["study"]) == {
        "localizer_sample",
        "objects_sample",
        "reading_sample",
    }
    assert table["repetition"].map(type).nunique() == 2


def test_an_empty_table_has_the_same_columns(ask: Callable[..., SearchResult]) -> None:
    full = ask(image_terms=MOTOR).df
    empty = ask(image_terms={"name": "no such name"}).df
    assert empty.empty
    assert empty.columns.tolist() == full.columns.tolist()
    assert empty.dtypes.tolist() == full.dtypes.tolist()


def test_atlases_have_no_map_type(ask: Callable[..., SearchResult]) -> None:
    table = ask(collection_ids=[262]).df.set_index("id")
    assert table.loc[1401, "image_type"] == "atlas"
    assert pd.isna(table.loc[1401, "map_type"])
    assert table.loc[1404, "map_type"] == "ROI/mask"


# ---- terms ----------------------------------------------------------------------


def test_the_default_terms_are_nilearns(ask: Callable[..., SearchResult]) -> None:
    table = ask(max_images=None).df
    assert not table["not_mni"].any()
    assert not table["is_thresholded"].any()
    assert not set(table["map_type"]) & {"ROI/mask", "anatomical", "parcellation"}
    assert "atlas" not in set(table["image_type"])


def test_explicit_ids_have_no_default_terms(ask: Callable[..., SearchResult]) -> None:
    assert set(ask(collection_ids=[262]).df["image_type"]) == {"atlas", "statistic_map"}


def test_explain_accounts_for_every_record(ask: Callable[..., SearchResult]) -> None:
    result = ask(collection_ids=[658], image_terms={"number_of_subjects": {"$lt": 20}})
    everything = ask(collection_ids=[658])
    steps = result.explain()
    assert steps.columns.tolist() == [
        "term",
        "applied_to",
        "judged_by",
        "seen",
        "removed",
        "alone",
        "to_blame",
    ]
    assert len(result) + steps["removed"].sum() == len(everything) == 20
    assert steps["term"].str.contains("number_of_subjects").any()


def test_explain_counts_on_past_the_first_collection(
    ask: Callable[..., SearchResult],
) -> None:
    both = ask(collection_ids=[658, 3324], image_terms={"map_type": "Z map"})
    single = [
        ask(collection_ids=[number], image_terms={"map_type": "Z map"}).explain()
        for number in (658, 3324)
    ]
    assert both.explain()["removed"].sum() == sum(t["removed"].sum() for t in single)


@pytest.mark.parametrize("honour", [False, True])
def test_a_server_that_filters_changes_nothing(data_dir: Path, honour: bool) -> None:
    terms = {"name": "Émotion: faces and scenes in four laboratories"}
    with NeuroVaultServer(honour_filters=honour) as server:
        result = search(
            url=server.url, data_dir=data_dir, collection_terms=terms, image_terms={}
        )
        assert set(result.df["collection_id"]) == {3324}
        assert len(result) == 9


def test_nilearns_filters_are_understood(ask: Callable[..., SearchResult]) -> None:
    theirs = ask(
        image_terms={
            "number_of_subjects": GreaterOrEqual(40),
            "map_type": IsIn("T map", "Z map"),
            "name": Pattern(r".*button press"),
        },
        collection_terms={"DOI": NotNull()},
    )
    ours = ask(
        image_terms={
            "number_of_subjects": {"$gte": 40},
            "map_type": ["T map", "Z map"],
            "name": {"$match": ".*button press"},
        },
        collection_terms={"DOI": {"$truthy": True}},
    )
    assert theirs == ours
    assert theirs.keys() == ours.keys() != []


def test_a_python_function_travels_beside_the_query(
    ask: Callable[..., SearchResult],
) -> None:
    result = ask(
        collection_ids=[658],
        image_terms=ResultFilter(map_type="T map").AND(
            lambda image: image["number_of_subjects"] > 40
        ),
    )
    table = result.df
    assert set(table["map_type"]) == {"T map"}
    assert table["number_of_subjects"].min() > 40
    assert result.explain()["term"].iloc[-1] == "a Python function"
    with pytest.raises(FilterError, match="Python function cannot be written down"):
        result.to_arguments()


def test_a_function_on_collections_is_refused() -> None:
    with pytest.raises(FilterError, match="given as image_terms only"):
        search(collection_terms=lambda _: True)  # type: ignore[arg-type]


def test_an_unknown_field_is_told(ask: Callable[..., SearchResult]) -> None:
    result = ask(collection_ids=[658], image_terms={"map_typ": "Z map"})
    text = r"image_terms: no record has a field 'map_typ'; did you mean 'map_type'\?"
    with pytest.warns(NeuroVaultWarning, match=text):
        assert len(result) == 0


def test_a_field_in_the_wrong_place_is_told(ask: Callable[..., SearchResult]) -> None:
    result = ask(collection_ids=[658], image_terms={"DOI": {"$null": False}})
    text = r"'DOI'; it is a field of collections: use collection_terms\."
    with pytest.warns(NeuroVaultWarning, match=text):
        assert len(result) == 0


def test_a_custom_field_is_known_where_it_occurs(
    ask: Callable[..., SearchResult],
) -> None:
    result = ask(collection_ids=[1952], image_terms={"task": "arithmetic"})
    assert set(result.df["task"]) == {"arithmetic"}


def test_contradictory_ids_warn(ask: Callable[..., SearchResult]) -> None:
    with pytest.warns(NeuroVaultWarning, match="ontradictory"):
        ask(image_terms={"collection_id": 658}, collection_terms={"id": 3324})


# ---- order and limits -----------------------------------------------------------


def test_images_come_by_collection_and_number(ask: Callable[..., SearchResult]) -> None:
    table = ask(max_images=None).df
    order = list(zip(table["collection_id"], table["id"], strict=True))
    assert order == sorted(order)


def test_explicit_ids_come_as_asked(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    assert ask(image_ids=[10413, "10410", 10426.0, 10410]).keys() == [
        10413,
        10410,
        10426,
    ]
    asked = [each.path for each in fresh_server.requests]
    assert len(asked) == len(set(asked)) == 4


def test_explicit_collections_come_as_asked(ask: Callable[..., SearchResult]) -> None:
    table = ask(collection_ids=["3324", 658]).df
    assert table["collection_id"].drop_duplicates().tolist() == [3324, 658]


def test_images_and_collections_together_count_once(
    ask: Callable[..., SearchResult],
) -> None:
    keys = ask(image_ids=[32015, 10410], collection_ids=[658]).keys()
    assert keys[:3] == [32015, 10410, 10411]
    assert len(keys) == len(set(keys)) == 21


@pytest.mark.parametrize(
    ("limit", "count"), [(0, 0), (1, 1), (7, 7), ("5", 5), (-1, 16), (None, 16)]
)
def test_limits(
    ask: Callable[..., SearchResult], limit: Any, count: int, caplog: Any
) -> None:
    assert len(ask(image_terms=MOTOR, max_images=limit)) == count
    assert caplog.text == ""


def test_the_cap_is_the_same_cold_and_warm(ask: Callable[..., SearchResult]) -> None:
    first = ask(image_terms={}, max_images=7).keys()
    everything = ask(image_terms={}, max_images=None).keys()
    assert ask(image_terms={}, max_images=7).keys() == first == everything[:7]


def test_the_default_cap_is_announced(
    fresh_server: NeuroVaultServer, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    archive = fresh_server.archive
    archive.add_collection("Many maps", id=5)
    for number in range(120):
        archive.add_image(5, b"never asked for", id=500_000 + number)
    with caplog.at_level(logging.WARNING):
        result = search(url=fresh_server.url, data_dir=data_dir)
        assert len(result) == 100
    assert "max_images=None gives all" in caplog.text
    explicit = search(url=fresh_server.url, data_dir=data_dir, collection_ids=[5])
    assert len(explicit) == 120


def test_a_cap_that_the_user_gave_holds_for_explicit_ids(
    ask: Callable[..., SearchResult],
) -> None:
    assert len(ask(collection_ids=[658], max_images=3)) == 3


@pytest.mark.parametrize("limit", [2.5, "many", float("nan"), True, [3]])
def test_limits_that_are_no_limits(limit: Any) -> None:
    with pytest.raises(ArgumentError, match="max_images"):
        search(max_images=limit)


@pytest.mark.parametrize("bad", ["abc", 2.5, True, -3, [1, None], {"id": 1}])
def test_ids_that_are_no_ids(bad: Any) -> None:
    with pytest.raises(ArgumentError, match="image_ids"):
        search(image_ids=bad)


def test_an_id_in_the_terms_leads_straight_to_the_image(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    assert ask(image_terms={"id": [10410, 10426]}).keys() == [10410, 10426]
    assert sorted(each.path for each in fresh_server.requests) == [
        "/api/collections/658/",
        "/api/images/10410/",
        "/api/images/10426/",
    ]


def test_a_collection_in_the_terms_narrows_the_visit(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    assert len(ask(image_terms={"collection_id": 658})) == 20
    assert {each.path for each in fresh_server.requests} == {
        "/api/collections/658/",
        "/api/collections/658/images/",
    }


# ---- the cube -------------------------------------------------------------------


def test_a_named_grid_requests_no_voxel_before_compute(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    dataset = ask(image_terms=MOTOR).to_dask()
    large = dataset.maps.sel(image=dataset.number_of_subjects > 60)
    mean = large.mean("image")
    assert media(fresh_server) == []
    values = mean.compute()
    assert sorted(media(fresh_server)) == sorted(set(media(fresh_server)))
    assert len(media(fresh_server)) == large.sizes["image"] == 3
    assert values.shape == (61, 73, 61)
    assert float(values.max()) > 3


def test_each_file_is_downloaded_once(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    result = ask(image_ids=SOME)
    first = result.read()
    assert len(media(fresh_server)) == 3
    fresh_server.clear_requests()
    again = ask(image_ids=SOME).read()
    assert fresh_server.requests == []
    assert first.identical(again)


def test_the_files_are_what_the_server_holds(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    paths = ask(image_ids=SOME).fetch()
    assert list(paths) == SOME
    for image_id, path in paths.items():
        assert path == data_dir / "neurovault/collection_658" / path.name
        assert path.read_bytes() == fresh_server.file_bytes(image_id)


@pytest.mark.parametrize("interpolation", ["continuous", "linear", "nearest"])
def test_the_values_are_nilearns(
    ask: Callable[..., SearchResult], interpolation: Any
) -> None:
    result = ask(image_ids=SOME, interpolation=interpolation)
    cube = result.read()
    affine = cube.maps.nii.affine
    for image_id, path in result.fetch().items():
        expected = resample_img(
            nib.load(path),
            affine,
            (61, 73, 61),
            interpolation=interpolation,
            force_resample=True,
            copy_header=True,
        ).get_fdata()
        values = cube.maps.sel(image=image_id).values
        np.testing.assert_allclose(values, expected, atol=2e-5, rtol=1e-5)


def test_every_geometry_stands_on_one_grid(ask: Callable[..., SearchResult]) -> None:
    everything = ask(collection_ids=[20], grid=3)
    names = dict(zip(everything.df["id"], everything.df["name"], strict=True))
    ids = [number for number, name in names.items() if name not in ODD]
    assert len(ids) == 19
    result = ask(image_ids=ids, grid=3)
    cube = result.read()
    assert cube.maps.shape == (19, 61, 73, 61)
    for image_id, path in result.fetch().items():
        image = nib.load(path)
        voxels = image.get_fdata().reshape(image.shape[:3])
        expected = resample_img(
            nib.Nifti1Image(voxels, image.affine),
            cube.maps.nii.affine,
            (61, 73, 61),
            interpolation="nearest" if names[image_id] == "mni_1mm" else "continuous",
            force_resample=True,
            copy_header=True,
        ).get_fdata()
        values = cube.maps.sel(image=image_id).values
        scale = np.nanmax(np.abs(expected))
        np.testing.assert_allclose(
            values, expected, atol=4e-6 * scale, err_msg=names[image_id]
        )


def test_masks_and_atlases_keep_their_labels(ask: Callable[..., SearchResult]) -> None:
    cube = ask(image_ids=[1401, 1404], grid="mni152-2mm").read()
    assert set(np.unique(cube.maps[0])) <= set(range(13))
    assert set(np.unique(cube.maps[1])) == {0.0, 1.0}


def test_metadata_stands_on_the_images(ask: Callable[..., SearchResult]) -> None:
    dataset = ask(image_ids=SOME).to_dask()
    assert dataset.image.values.tolist() == SOME
    assert dataset.number_of_subjects.values.tolist() == [66, 12, 24]
    assert dataset.collection_doi.values.tolist() == ["10.5555/sample.658"] * 3
    assert json.loads(dataset.attrs["query"])["image_ids"] == SOME
    assert dataset.attrs["license"] == "CC0-1.0"


def test_equal_queries_have_equal_dask_names(ask: Callable[..., SearchResult]) -> None:
    one, two = (ask(image_ids=SOME).to_dask().maps.data.name for _ in range(2))
    other = ask(image_ids=SOME, grid="mni152-2mm").to_dask().maps.data.name
    assert one == two != other


def test_one_native_grid_gives_a_cube(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    dataset = ask(image_ids=SOME, grid=None).to_dask()
    assert len(media(fresh_server)) == 3
    assert dataset.maps.shape == (3, 53, 63, 46)


def test_several_native_grids_give_a_tree(ask: Callable[..., SearchResult]) -> None:
    result = ask(image_ids=[10426, 48000], resample=False)
    with pytest.raises(GeometryError, match=r"grid=.*to_datatree\(\)"):
        result.to_dask()
    tree = result.to_datatree()
    shapes = {node.maps.shape for node in tree.children.values()}
    assert shapes == {(1, 53, 63, 46), (1, 91, 109, 91)}


def test_the_maps_of_many_grids_come_apart_by_grid(
    ask: Callable[..., SearchResult],
) -> None:
    result = ask(collection_ids=[20], grid=None, errors="skip")
    with pytest.warns(NeuroVaultWarning, match="left out of the tree: 2015"):
        tree = result.to_datatree()
    with pytest.warns(NeuroVaultWarning, match="left out of the tree: 2015"):
        cubes = result.to_dataset_dict()
    assert list(cubes) == list(tree.children)
    assert len(cubes) > 4
    assert "mni152_3mm" in cubes
    there = [int(number) for each in cubes.values() for number in each.image]
    assert sorted([*there, 2015]) == sorted(result.keys())
    for name, each in cubes.items():
        xr.testing.assert_identical(each, tree[name].to_dataset())
        assert dask.is_dask_collection(each.maps)
        path = result.vault.mirror.store.place(result[int(each.image[-1])].file)
        image = nib.squeeze_image(nib.load(path))
        assert each.maps.shape[1:] == image.shape
        axes = ["i", "j", "k"] if "i" in each.dims else ["x", "y", "z"]
        values = each.maps[-1].transpose(*axes).values
        np.testing.assert_allclose(values, image.get_fdata(dtype="f4"))


def test_on_a_common_grid_there_is_one_cube(ask: Callable[..., SearchResult]) -> None:
    (name, dataset), *rest = ask(image_ids=SOME).to_dataset_dict().items()
    assert (name, rest) == ("mni152_3mm", [])
    assert dataset.image.values.tolist() == SOME
    with pytest.raises(EmptyResultError, match="No image matched"):
        ask(image_ids=[]).to_dataset_dict()


def test_a_true_4d_file_is_named(ask: Callable[..., SearchResult]) -> None:
    with pytest.raises(GeometryError, match=r"image 2015 \(collection 20\).*4 dimens"):
        ask(image_ids=[2015]).read()


def test_native_grids_leave_out_what_is_no_map(
    ask: Callable[..., SearchResult],
) -> None:
    result = ask(image_ids=[2001, 2015], grid=None, errors="skip")
    assert result.to_dask().maps.sizes["image"] == 2
    assert result.failures["id"].tolist() == [2015]
    with pytest.raises(GeometryError, match="image 2015"):
        ask(image_ids=[2001, 2015], grid=None).to_dask()


def test_partitions_are_single_maps(ask: Callable[..., SearchResult]) -> None:
    result = ask(image_ids=SOME)
    one = result.read_partition(1)
    assert one.dims == ("x", "y", "z")
    assert one.attrs["name"] == "left vs right button press, site A"
    assert one.attrs["number_of_subjects"] == 12
    assert [int(each.image) for each in result.read_chunked()] == SOME
    np.testing.assert_array_equal(one, result.read().maps[1])
    with pytest.raises(IndexError, match=r"Partition 3 does not exist: .* 3 images"):
        result.read_partition(3)


def test_an_empty_result_names_the_term_to_blame(
    ask: Callable[..., SearchResult],
) -> None:
    result = ask(collection_ids=[658], image_terms={"number_of_subjects": {"$gt": 999}})
    with pytest.raises(EmptyResultError, match=r"number_of_subjects.* removed 20 rec"):
        result.to_dask()


def test_words_become_a_matrix(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    words_url = f"{fresh_server.url}/api/decode/"
    arguments = {
        "image_ids": SOME,
        "fetch_neurosynth_words": True,
        "words_url": words_url,
    }
    dataset = ask(**arguments).to_dask()
    weights = dataset.word_weights
    assert weights.dims == ("image", "word")
    assert weights.sizes["image"] == 3
    assert np.isfinite(weights.values).all()
    assert media(fresh_server) == []
    fresh_server.clear_requests()
    again = ask(**arguments).to_dask()
    assert again.word_weights.identical(weights)
    assert [each for each in fresh_server.requests if "decode" in each.path] == []


def test_words_stand_in_each_cube_of_a_tree(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    tree = ask(
        image_ids=[10426, 48000],
        grid=None,
        fetch_neurosynth_words=True,
        words_url=f"{fresh_server.url}/api/decode/",
    ).to_datatree()
    weights = [node.word_weights for node in tree.children.values()]
    assert [each.image.item() for each in weights] == [10426, 48000]
    assert all(np.isfinite(each.values).all() for each in weights)


def test_missing_words_block_nothing(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    fresh_server.faults.append(Fault(match="neurovault=10410", kind="html"))
    result = ask(
        image_ids=SOME,
        fetch_neurosynth_words=True,
        words_url=f"{fresh_server.url}/api/decode/",
        retries=0,
    )
    with pytest.warns(NeuroVaultWarning, match="1 thing could not be fetched from Neu"):
        dataset = result.to_dask()
    missing = np.isnan(dataset.word_weights.values).all(axis=1)
    assert missing.tolist() == [False, True, False]
    assert result.failures["id"].tolist() == [10410]


# ---- failures -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "error", "text"),
    [
        ({"image_ids": [99999999]}, MissingError, "no public image 99999999"),
        ({"image_ids": [658]}, MissingError, r"pass collection_ids=\[658\]"),
        ({"collection_ids": [10426]}, MissingError, r"pass image_ids=\[10426\]"),
        ({"collection_ids": [777777]}, MissingError, "no collection 777777"),
        ({"collection_ids": [9001]}, PrivateError, "is private: pass its token"),
    ],
)
def test_what_cannot_be_had_says_why(
    ask: Callable[..., SearchResult], ids: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        ask(**ids).keys()


def test_skip_keeps_the_rest_and_reports(ask: Callable[..., SearchResult]) -> None:
    result = ask(image_ids=[10426, 99999999, 658, 1401], errors="skip")
    assert result.keys() == [10426, 1401]
    failures = result.failures
    assert failures["id"].tolist() == [99999999, 658]
    assert failures["url"].str.contains("/api/images/").all()
    assert (failures["attempts"] >= 1).all()


def test_warn_keeps_the_rest_and_warns(ask: Callable[..., SearchResult]) -> None:
    result = ask(image_ids=[10426, 99999999], errors="warn")
    with pytest.warns(NeuroVaultWarning, match=r"1 thing could not be listed; see \.f"):
        assert result.keys() == [10426]


def test_a_file_that_cannot_be_had(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    fresh_server.faults.append(Fault(match="/media/images/658/", kind="500"))
    with pytest.raises(OSError, match="10426"):
        ask(image_ids=[10426]).read()
    result = ask(image_ids=[10426], errors="skip")
    assert result.fetch() == {}
    assert result.failures["id"].tolist() == [10426]
    assert result.read().maps.isnull().all()
    fresh_server.faults.clear()
    assert list(result.fetch()) == [10426]
    assert result.failures.empty


def test_failures_outlive_an_error_and_other_work(
    ask: Callable[..., SearchResult],
) -> None:
    strict = ask(image_ids=[2202, 10426])
    with pytest.raises(OSError, match="2202"):
        strict.fetch()
    assert strict.failures["id"].tolist() == [2202]
    lenient = ask(image_ids=[2202, 10426], grid=None, errors="skip")
    lenient.fetch()
    lenient.read_partition(1)
    assert lenient.failures["id"].tolist() == [2202]


def test_offline_makes_no_request(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    expected = ask(image_ids=SOME[:2]).read()
    ask(collection_ids=[658]).keys()
    fresh_server.clear_requests()
    assert ask(image_ids=SOME[:2], mode="offline").read().identical(expected)
    offline = ask(collection_ids=[658], mode="offline")
    assert len(offline) == 20
    assert offline.discover()["metadata"]["listed"] is not None
    with pytest.raises(OfflineError, match=r"image 104\d\d .*mode='offline'"):
        offline.read()
    with pytest.raises(OfflineError, match="Collection 3324 is not in the store"):
        ask(collection_ids=[3324], mode="offline").keys()
    with pytest.raises(OfflineError, match="Image 48000 is not in the store"):
        ask(image_ids=[48000], mode="offline").keys()
    assert fresh_server.requests == []


def test_offline_with_an_empty_store_finds_nothing(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    result = ask(mode="offline", errors="skip")
    assert len(result) == 0
    assert fresh_server.requests == []
    assert list(data_dir.iterdir()) == []
    with pytest.raises(EmptyResultError, match="whether the store was filled"):
        result.to_dask()


def test_update_sees_what_changed(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    old = ask(image_ids=[10426, 10410]).fetch()
    before = old[10426].read_bytes()
    fresh_server.archive.replace_file(10426, fresh_server.file_bytes(10413))
    assert ask(image_ids=[10426]).fetch()[10426].read_bytes() == before
    fresh_server.clear_requests()
    new = ask(image_ids=[10426, 10410], mode="update").fetch()
    assert new[10426].read_bytes() == fresh_server.file_bytes(10413) != before
    assert len(media(fresh_server)) == 1


def test_overwrite_fetches_everything_once_more(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    ask(image_ids=SOME).fetch()
    fresh_server.clear_requests()
    result = ask(image_ids=SOME, mode="overwrite")
    result.fetch()
    assert len(media(fresh_server)) == 3
    result.read()
    assert len(media(fresh_server)) == 3


def test_an_old_listing_is_asked_for_again(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    assert len(ask(collection_ids=[658])) == 20
    fresh_server.archive.add_image(658, b"", id=777_001)
    assert len(ask(collection_ids=[658])) == 20
    assert len(ask(collection_ids=[658], metadata_ttl=0)) == 21


def test_one_kept_image_does_not_hide_its_collection(
    ask: Callable[..., SearchResult],
) -> None:
    ask(image_ids=[10426]).fetch()
    assert len(ask(collection_ids=[658])) == 20


@pytest.mark.parametrize("left", [None, "{"], ids=["no record", "half a record"])
@pytest.mark.parametrize(
    "record", ["image_10426_metadata.json", "collection_metadata.json"]
)
def test_a_record_that_a_crash_left_out_is_made_again(
    ask: Callable[..., SearchResult],
    fresh_server: NeuroVaultServer,
    record: str,
    left: str | None,
) -> None:
    image = ask(image_ids=[10426]).fetch()[10426]
    path = image.parent / record
    whole = path.read_bytes()
    if left is None:
        path.unlink()
    else:
        path.write_text(left)
    ask(image_ids=[10426]).fetch()
    assert path.read_bytes() == whole
    fresh_server.clear_requests()
    ask(image_ids=[10426]).fetch()
    assert fresh_server.requests == []


def test_offline_a_damaged_record_hides_no_collection(
    ask: Callable[..., SearchResult], data_dir: Path
) -> None:
    ask(image_ids=[10426, 10410]).fetch()
    path = data_dir / "neurovault/collection_658/collection_metadata.json"
    path.write_text("{")
    result = ask(collection_ids=[658], mode="offline", errors="skip")
    assert result.keys() == [10410, 10426]
    assert len(result.fetch()) == 2


def test_a_corrupt_file_on_disk_is_replaced(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    path = ask(image_ids=[10426]).fetch()[10426]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(NeuroVaultWarning, match="10426"):
        again = ask(image_ids=[10426]).fetch()[10426]
    assert again == path
    assert path.read_bytes() == whole


def test_a_corrupt_file_offline_is_told_and_left_alone(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    path = ask(image_ids=[10426]).fetch()[10426]
    half = path.read_bytes()[:5000]
    path.write_bytes(half)
    result = ask(image_ids=[10426], mode="offline")
    with (
        pytest.warns(NeuroVaultWarning, match="10426"),
        pytest.raises(OfflineError, match="mode='offline'"),
    ):
        result.fetch()
    assert path.read_bytes() == half


def test_what_is_not_nifti_is_not_kept(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    fresh_server.faults.append(Fault(match="/media/images/658/", kind="html"))
    with pytest.raises(OSError, match=r"10426|NIfTI"):
        ask(image_ids=[10426]).fetch()
    assert list(data_dir.rglob("*.nii.gz")) == []
    assert list(data_dir.rglob("image_*")) == []


def test_an_unwritable_store_is_told(
    fresh_server: NeuroVaultServer, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder is needed")
    result = search(url=fresh_server.url, data_dir=blocked, image_ids=[10426])
    with pytest.raises(StoreError, match="pass data_dir="):
        result.fetch()
    assert blocked.read_text() == "a file where a folder is needed"


def test_a_listing_that_cannot_be_kept_is_used_all_the_same(
    fresh_server: NeuroVaultServer, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder is needed")
    result = search(url=fresh_server.url, data_dir=blocked, collection_ids=[658])
    with pytest.warns(NeuroVaultWarning, match="pass data_dir="):
        assert len(result) == 20


def test_an_unwritable_store_ends_a_run_under_any_policy(
    fresh_server: NeuroVaultServer, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder is needed")
    result = search(
        url=fresh_server.url, data_dir=blocked, image_ids=SOME, errors="skip"
    )
    with pytest.raises(StoreError, match="pass data_dir="):
        result.fetch()


def test_a_compute_that_leaves_maps_empty_warns(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    dataset = ask(image_ids=[10426, 10410], errors="warn").to_dask()
    fresh_server.faults.append(Fault(match="/media/images/658/", kind="500"))
    with pytest.warns(NeuroVaultWarning, match="could not be fetched, and left empty"):
        assert dataset.maps.isnull().all().compute()


def test_an_unreachable_server_is_told(data_dir: Path) -> None:
    result = search(
        url="http://127.0.0.1:9", data_dir=data_dir, retries=0, image_ids=[10426]
    )
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"):
        result.keys()


# ---- arguments ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"grid": "mni152-3m"}, "did you mean 'mni152-3mm'"),
        ({"interpolation": "cubic"}, "interpolation='cubic' is unknown"),
        ({"nan": "drop"}, "nan='drop' is unknown"),
        ({"chunks": 0}, "chunks=0 must be 'auto' or"),
        ({"mode": "online"}, "'mode' must be one of"),
        ({"errors": "ignore"}, "'errors' must be one of"),
        ({"workers": 99}, "workers=99 must be a whole number"),
        ({"metadata_ttl": "soon"}, "metadata_ttl='soon' is not an age"),
        ({"timeout": -1}, "timeout"),
        ({"retries": -1}, "retries"),
        ({"url": "neurovault.org"}, "url"),
        ({"grid": 2, "resample": True}, "say the same thing twice"),
    ],
)
def test_values_that_are_not_understood(arguments: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        search(**arguments)


def test_a_misspelt_argument_gets_a_suggestion() -> None:
    with pytest.raises(UnknownArgumentError, match=r"'max_image'.*'max_images'"):
        search(max_image=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"image_terms": MOTOR, "max_images": 7, "grid": "mni152-2mm"},
        {"image_ids": SOME, "interpolation": "nearest", "nan": "zero"},
        {"collection_ids": [658], "grid": None, "chunks": 3, "fill_value": -1.0},
        {"mode": "update", "workers": 2, "errors": "skip", "timeout": 5},
        {"trusted_hosts": ["example.org"], "metadata_ttl": "2h", "progress": False},
    ],
)
def test_a_result_says_how_to_make_it_again(arguments: Any) -> None:
    result = search(**arguments)
    written = json.loads(json.dumps(result.to_arguments()))
    assert written == arguments
    assert search(**written) == result


def test_copies_are_equal(ask: Callable[..., SearchResult]) -> None:
    result = ask(image_ids=SOME)
    assert len(result) == 3
    copy = pickle.loads(pickle.dumps(result))
    assert copy == result
    assert hash(copy) == hash(result)
    assert dask.base.tokenize(copy) == dask.base.tokenize(result)
    assert copy.keys() == SOME
    assert result != ask(image_ids=SOME[:2])
    assert result != "something else"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_search_does_not_wait_for_ever(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    result = ask(image_ids=SOME)
    fresh_server.latency = 0.3
    background = threading.Thread(target=len, args=(result,))
    background.start()
    while not fresh_server.requests:
        time.sleep(0.01)
    child = multiprocessing.get_context("fork").Process(target=len, args=(result,))
    child.start()
    child.join(60)
    child.kill()
    child.join()
    background.join()
    assert child.exitcode == 0


def test_close_forgets_what_was_found(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    result = ask(collection_ids=[658], metadata_ttl=0)
    assert len(result) == 20
    fresh_server.archive.add_image(658, b"", id=777_001)
    assert len(result) == 20
    result.close()
    assert len(result) == 21


def test_close_begins_an_update_anew(
    ask: Callable[..., SearchResult], fresh_server: NeuroVaultServer
) -> None:
    result = ask(collection_ids=[658], mode="update")
    assert len(result) == 20
    fresh_server.archive.add_image(658, b"", id=777_001)
    result.close()
    assert len(result) == 21
    assert result == ask(collection_ids=[658], mode="update")


def test_the_door_offers_what_it_names() -> None:
    assert intake_neurovault.search is search
    assert sorted(intake_neurovault.__all__) == sorted(set(intake_neurovault.__all__))
