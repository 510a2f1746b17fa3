"""Whether maps are any good: of results, sources and cubes, with planted faults."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import intake
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from maps import (
    COARSE,
    COLLECTIONS,
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

from intake_neurovault import SearchResult, search
from intake_neurovault.cube import Recipe, build
from intake_neurovault.errors import (
    ArgumentError,
    EmptyResultError,
    GeometryError,
    MissingError,
    NeuroVaultWarning,
    OfflineError,
)
from intake_neurovault.measures import MEASURES
from intake_neurovault.nifti import Reader
from intake_neurovault.testing import Archive, NeuroVaultServer, Volume

pytestmark = pytest.mark.filterwarnings("ignore:.*the field of view covers")

P = "P map (given null hypothesis)"


def content(data: Any, affine: Any) -> bytes:
    image = nib.Nifti1Image(np.asarray(data), affine)
    return gzip.compress(image.to_bytes(), 1, mtime=0)


def planted() -> Archive:
    """Some maps of each kind that one had better know of."""
    image = Volume("mni6", 1, "motor").image()
    data, affine = image.get_fdata(dtype=np.float32), image.affine
    draw = np.random.default_rng(0)
    noise, large, small, odd = draw.standard_normal((4, *data.shape), dtype="f4")
    inside = data != 0
    away, askew = affine.copy(), affine.copy()
    away[:3, 3] += 400
    askew[1, 3] += 66
    one_voxel = np.zeros_like(data)
    one_voxel[15, 20, 15] = 3.5
    uniform = np.random.default_rng(1).random(data.shape, dtype="f4") * inside
    labels = Volume("mni6", 7, kind="parcels", dtype="uint8")()
    missing = np.where(inside, data, np.nan)
    rows: list[tuple[str, str, bytes | None]] = [
        ("original", "Z map", content(data, affine)),
        ("same bytes", "Z map", content(data, affine)),
        ("flipped", "Z map", content(-data, affine)),
        ("with noise", "Z map", content(data + 0.03 * noise * inside, affine)),
        ("scaled", "univariate-beta map", content(1000 * data, affine)),
        ("nan background", "Z map", content(missing, affine)),
        ("another", "T map", Volume("mni6", 2, "fear")()),
        ("zeros", "Z map", content(0 * data, affine)),
        ("zeros again", "Z map", content(0 * data, affine)),
        ("only NaN", "Z map", content(np.full_like(data, np.nan), affine)),
        ("one value", "T map", content(inside.astype("f4") * 2.5, affine)),
        ("one voxel", "T map", content(one_voxel, affine)),
        ("elsewhere", "Z map", content(Volume("mni6", 3).image().dataobj, away)),
        ("askew", "Z map", content(Volume("mni6", 4).image().dataobj, askew)),
        ("labels", "T map", labels),
        ("right labels", "parcellation", Volume("mni6", 8, kind="parcels")()),
        ("one-sided", "Z map", content(np.abs(noise) * inside, affine)),
        ("p values", "Z map", content(uniform, affine)),
        ("p values, said", P, content(uniform, affine)),
        ("no p values", P, content(Volume("mni6", 5).image().dataobj, affine)),
        ("extreme", "T map", content(30 * large * inside, affine)),
        ("effect sizes", "T map", content(0.2 * small * inside, affine)),
        ("negative F", "F map", content(odd * inside, affine)),
        ("sparse", "Z map", content(noise * inside * (noise > 1.5), affine)),
        ("fine", "Z map", Volume("spm3", 6, "faces")()),
        ("four volumes", "Z map", Volume("mni6", 1, trailing=(4,))()),
        ("complex", "Z map", content(data.astype("c8"), affine)),
        ("lost", "Z map", None),
    ]
    archive = Archive()
    archive.add_collection("Faults", id=5)
    for number, (name, kind, raw) in enumerate(rows, start=501):
        archive.add_image(5, raw, id=number, name=name, map_type=kind)
    return archive


@pytest.fixture(scope="module")
def faults() -> Iterator[NeuroVaultServer]:
    with NeuroVaultServer(planted()) as running:
        yield running


@pytest.fixture(scope="module")
def result(
    faults: NeuroVaultServer, tmp_path_factory: pytest.TempPathFactory
) -> SearchResult:
    folder = tmp_path_factory.mktemp("faults")
    return search(collection_ids=5, url=faults.url, data_dir=folder, errors="skip")


@pytest.fixture(scope="module")
def table(result: SearchResult) -> pd.DataFrame:
    return result.quality().merge(result.df[["id", "name"]], on="id")


REMARKS = {
    "original": "",
    "nan background": "",
    "another": "",
    "fine": "",
    "right labels": "",
    "p values, said": "",
    "scaled": "",
    "zeros": "All voxels are zero.",
    "only NaN": "No voxel has a finite value.",
    "one value": "All values are equal: a mask rather than a statistic. All values are "
    "positive: one tail only, or no T map.",
    "one voxel": "Less than 1% of the mask has values: the map is thresholded, sparse "
    "or of a small field of view. All values are equal: a mask rather than a "
    "statistic. All values are positive: one tail only, or no T map.",
    "elsewhere": "All values are outside the mask: the map lies elsewhere.",
    "askew": "perhaps not in MNI space",
    "labels": "100% of the values are whole numbers",
    "one-sided": "All values are positive: one tail only, or no Z map.",
    "p values": "All values are between 0 and 1",
    "no p values": "probabilities are 0 to 1",
    "extreme": "reach beyond ±50: too far for a T map.",
    "effect sizes": "No value reaches ±1.96",
    "negative F": "no F map has any below 0",
    "sparse": "Only 7% of the mask has values",
    "four volumes": "The map could not be had; see .failures.",
    "complex": "The map could not be had; see .failures.",
    "lost": "The map could not be had; see .failures.",
}


@pytest.mark.parametrize(("name", "remark"), REMARKS.items())
def test_what_is_wrong_with_a_map_is_said(
    name: str, remark: str, table: pd.DataFrame
) -> None:
    (said,) = table.remarks[table.name == name]
    assert remark in said if remark else said == ""


def test_there_is_one_row_for_each_image_in_the_order_of_the_result(
    result: SearchResult,
) -> None:
    table = result.quality()
    assert table.columns.tolist() == ["id", *MEASURES, "remarks"]
    pd.testing.assert_series_equal(table.id, result.df.id)
    assert table[list(MEASURES)].dtypes.eq("float64").all()


def test_what_cannot_be_had_has_a_row_of_nan_and_is_among_the_failures(
    result: SearchResult, table: pd.DataFrame
) -> None:
    assert result.failures.id.tolist() == [528, 526, 527]
    lost = table.set_index("id").loc[[526, 527, 528], list(MEASURES)]
    assert lost.isna().all(axis=None)
    kept = table.set_index("id").loc[510]
    assert (kept.nan, kept.coverage) == (1, 0)
    again = result.quality()
    assert result.failures.id.tolist() == [528, 526, 527]
    pd.testing.assert_frame_equal(again, table.drop(columns="name"))


def test_numbers_are_those_of_neurovault(
    result: SearchResult, table: pd.DataFrame
) -> None:
    """As its server computes what it keeps of each image, in percent."""
    brain = load_mni152_brain_mask()
    paths = result.fetch()
    assert (table.outside[table.name == "elsewhere"] == 1).all()
    for row in table[(table.nan < 1) & (table.name != "elsewhere")].itertuples():
        image = nib.load(paths[row.id])
        data = np.asarray(image.dataobj)
        inside = resample_to_img(brain, image, "nearest").get_fdata() > 0
        valued = ~((data == 0) | np.isnan(data))
        assert row.zeros + row.nan == pytest.approx(1 - valued.mean())
        assert row.minimum == np.nanmin(data)
        assert row.maximum == np.nanmax(data)
        if valued.any():
            outside = (valued & ~inside).sum() / valued.sum()
            assert row.outside == pytest.approx(outside)
        # Of the mask, much is beyond the edges of what lies askew.
        if row.name != "askew":
            covered = (valued & inside).sum() / inside.sum()
            assert row.coverage == pytest.approx(covered, rel=0.03)


def test_a_mask_of_ones_own(result: SearchResult) -> None:
    box = np.zeros((61, 73, 61), dtype=bool)
    box[30:] = True
    affine = np.array([[3, 0, 0, -90], [0, 3, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]])
    half = nib.Nifti1Image(box.astype("u1"), affine)
    some = result.search(image_ids=[501, 525])
    whole, right = some.quality(), some.quality(half)
    assert (right.outside - whole.outside).between(0.4, 0.6).all()
    np.testing.assert_allclose(right.zeros, whole.zeros)
    with pytest.raises(GeometryError, match=r"shape \(61, 73, 61\) does not fit"):
        some.quality(box)
    with pytest.raises(ArgumentError, match="mask: int is not understood"):
        some.quality(7)


def test_files_are_measured_as_they_are_whatever_the_grid(
    result: SearchResult, table: pd.DataFrame
) -> None:
    some = result.search(image_ids=[515, 524], grid=10, interpolation="linear")
    expected = table[table.id.isin([515, 524])].drop(columns="name")
    pd.testing.assert_frame_equal(some.quality(), expected.reset_index(drop=True))
    brought = some.to_dask().nii.quality()
    assert (brought.zeros < some.quality().zeros).all()


# ---- pairs -----------------------------------------------------------------------


def as_rows(pairs: pd.DataFrame) -> dict[tuple[int, int], str]:
    return dict(zip(zip(pairs.id, pairs.other, strict=True), pairs.kind, strict=True))


ALIKE = {
    **dict.fromkeys([(501, 502), (508, 509), (518, 519)], "same file"),
    **{(i, 503): "sign-flipped" for i in (501, 502)},
    **{(503, i): "sign-flipped" for i in (504, 505)},
    **{
        (i, j): "near-duplicate"
        for i in (501, 502, 504, 505)
        for j in (504, 505)
        if i < j
    },
}


def test_duplicates_and_flipped_maps_are_found(result: SearchResult) -> None:
    pairs = result.duplicates()
    assert as_rows(pairs) == ALIKE
    assert pairs.columns.tolist() == ["id", "other", "correlation", "kind"]
    assert pairs.dtypes.astype(str).tolist() == ["Int64", "Int64", "float64", "str"]
    assert pairs.equals(pairs.sort_values(["id", "other"], ignore_index=True))
    left = result.df.id[~result.df.id.isin(pairs.other)]
    assert result.search(image_ids=left.tolist()).duplicates().empty


def test_correlations_are_those_of_numpy(result: SearchResult) -> None:
    pairs = result.duplicates(threshold=0.2)
    matrix = result.to_matrix().fillna(0).values.astype("f8")
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.corrcoef(matrix)
    place = {number: row for row, number in enumerate(result.keys())}
    ones, others = pairs.id.map(place), pairs.other.map(place)
    np.testing.assert_allclose(
        pairs.correlation, expected[ones, others], atol=1e-5, equal_nan=True
    )
    upper = np.abs(np.triu(np.nan_to_num(expected), 1)) >= 0.2
    assert upper.sum() == len(pairs) - pairs.correlation.isna().sum()
    assert as_rows(pairs)[508, 509] == "same file"


def test_a_higher_threshold_leaves_what_is_closer(result: SearchResult) -> None:
    noisy = {pair for pair in ALIKE if 504 in pair}
    assert set(ALIKE) - set(as_rows(result.duplicates(threshold=0.9999))) == noisy


def test_missing_voxels_count_as_zero(result: SearchResult) -> None:
    # Where they meet others they are extrapolated, 6 mm deep here.
    near = result.search(image_ids=[501, 506])
    assert as_rows(near.duplicates(0.95)) == {(501, 506): "near-duplicate"}
    assert as_rows(near.search(grid=None).duplicates(1)) == {
        (501, 506): "near-duplicate"
    }


def test_duplicates_need_one_grid(result: SearchResult) -> None:
    apart = result.search(image_ids=[501, 502, 525], grid=None)
    with pytest.raises(GeometryError, match=r"several grids.*grid=.mni152-3mm"):
        apart.duplicates()
    alone = result.search(image_ids=[501, 503], grid=None)
    assert as_rows(alone.duplicates()) == {(501, 503): "sign-flipped"}


@pytest.mark.parametrize("threshold", [0, -0.99, 1.01, float("nan"), "high", True])
def test_what_is_no_threshold_is_refused(threshold: Any, result: SearchResult) -> None:
    with pytest.raises(ArgumentError, match="must be a correlation above 0"):
        result.duplicates(threshold)


# ---- what cannot be had ----------------------------------------------------------


@pytest.mark.parametrize("method", ["quality", "duplicates"])
def test_a_missing_file_raises_where_it_should(
    method: str, faults: NeuroVaultServer, data_dir: Path
) -> None:
    strict = search(image_ids=[501, 528], url=faults.url, data_dir=data_dir)
    with pytest.raises(MissingError, match="528"):
        getattr(strict, method)()
    with pytest.raises(GeometryError, match=r"image 526 .*4 dimensions"):
        getattr(search(image_ids=526, url=faults.url, data_dir=data_dir), method)()


def test_one_that_cannot_be_read_raises_where_it_should(
    faults: NeuroVaultServer, data_dir: Path
) -> None:
    strict = search(image_ids=[501, 527], url=faults.url, data_dir=data_dir)
    with pytest.raises(GeometryError, match=r"image 527 .*complex64 values"):
        strict.quality()


@pytest.mark.parametrize("method", ["quality", "duplicates"])
def test_where_nothing_can_be_had_there_is_a_table_all_the_same(
    method: str, faults: NeuroVaultServer, data_dir: Path
) -> None:
    where: dict[str, Any] = {"url": faults.url, "data_dir": data_dir}
    lost = search(image_ids=528, errors="warn", **where)
    with pytest.warns(NeuroVaultWarning, match="1 thing could not be fetched"):
        found = getattr(lost, method)()
    assert found.columns[0] == "id"
    assert len(found) == (method == "quality")
    with pytest.raises(EmptyResultError, match="No image matched"):
        getattr(search(image_ids=[], **where), method)()


def test_maps_that_are_kept_on_the_grid_need_no_file(
    faults: NeuroVaultServer, data_dir: Path
) -> None:
    where: dict[str, Any] = {"url": faults.url, "data_dir": data_dir}
    usual = search(image_ids=[501, 503], **where)
    usual.read()
    for path in data_dir.glob("neurovault/collection_5/image_*.nii.gz"):
        path.unlink()
    offline = search(image_ids=[501, 503], mode="offline", **where)
    assert as_rows(offline.duplicates()) == {(501, 503): "sign-flipped"}
    with pytest.raises(OfflineError, match="501"):
        offline.quality()


def test_sources_have_them_too(result: SearchResult, faults: NeuroVaultServer) -> None:
    folder = result.vault.mirror.store.root.parent
    source = intake.open_neurovault(
        image_ids=[501, 502], url=faults.url, data_dir=str(folder)
    )
    assert source.quality().id.tolist() == [501, 502]
    assert as_rows(source.duplicates(0.9)) == {(501, 502): "same file"}


# ---- cubes -----------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path: Path) -> xr.Dataset:
    write_values(tmp_path, range(1, 6))
    write(tmp_path, 6, -2 * values(2))
    images = [record(number) for number in range(1, 7)]
    recipe = Recipe(Reader(COARSE), FolderOpener(tmp_path), 2, COLLECTIONS)
    return build(images, recipe)


def test_a_cube_can_be_asked_whether_it_is_read_or_not(dataset: xr.Dataset) -> None:
    lazy, loaded = dataset.nii, dataset.load().nii
    pd.testing.assert_frame_equal(lazy.quality(), loaded.quality())
    pd.testing.assert_frame_equal(lazy.duplicates(), loaded.duplicates())
    assert lazy.duplicates().values.tolist() == [[2, 6, -1.0, "sign-flipped"]]
    pd.testing.assert_frame_equal(dataset.maps.nii.quality(), lazy.quality())


def test_each_map_is_read_once_and_those_in_pairs_once_more(tmp_path: Path) -> None:
    write_values(tmp_path, range(1, 6))
    write(tmp_path, 6, -2 * values(2))
    opener = CountingOpener(tmp_path)
    images = [record(number) for number in range(1, 7)]
    maps = build(images, Recipe(Reader(COARSE), opener, 2, COLLECTIONS)).maps
    maps.nii.quality()
    assert opener.opened == [1, 2, 3, 4, 5, 6]
    opener.calls.clear()
    maps.nii.duplicates()
    assert opener.opened == [1, 2, 2, 3, 4, 5, 6, 6]


@pytest.mark.parametrize("read", [False, True])
def test_no_maps_give_empty_tables(read: bool, dataset: xr.Dataset) -> None:
    none = dataset.isel(image=[])
    none = none.load() if read else none
    quality, pairs = none.nii.quality(), none.nii.duplicates()
    assert quality.columns.tolist() == ["id", *MEASURES, "remarks"]
    assert pairs.columns.tolist() == ["id", "other", "correlation", "kind"]
    assert quality.empty
    assert pairs.empty


def test_a_mask_without_a_voxel_is_refused(dataset: xr.Dataset) -> None:
    none = np.zeros(COARSE.shape, dtype=bool)
    empty = nib.Nifti1Image(none.astype("u1"), COARSE.matrix)
    for mask in (none, empty):
        with pytest.raises(GeometryError, match=r"no voxel is inside the mask, where"):
            dataset.nii.quality(mask)


def test_the_order_of_axes_does_not_matter(dataset: xr.Dataset) -> None:
    turned = dataset.maps.transpose("z", "image", "x", "y")
    pd.testing.assert_frame_equal(turned.nii.quality(), dataset.nii.quality())
    pd.testing.assert_frame_equal(turned.nii.duplicates(), dataset.nii.duplicates())


def test_one_map_has_one_row(dataset: xr.Dataset) -> None:
    alone = dataset.maps.sel(image=3).nii
    expected = dataset.nii.quality().iloc[[2]].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone.quality(), expected)
    assert alone.duplicates().empty


def test_maps_along_another_dimension_keep_its_name(dataset: xr.Dataset) -> None:
    labels = ["a", "b", "a", "b", "a", "a"]
    means = dataset.maps.groupby(xr.DataArray(labels, dims="image", name="task")).mean()
    assert means.nii.quality().task.tolist() == ["a", "b"]
    unnamed = dataset.maps.drop_vars("image").rename(image="fold")
    assert unnamed.nii.duplicates().iloc[0, :2].tolist() == [1, 5]
    both = means.expand_dims(run=2)
    with pytest.raises(GeometryError, match="looked at along one dimension"):
        both.nii.quality()


def test_a_labelled_mask_and_oblique_maps(tmp_path: Path) -> None:
    write_values(tmp_path, [1, 2], OBLIQUE)
    recipe = Recipe(Reader(OBLIQUE), FolderOpener(tmp_path), 2, COLLECTIONS)
    maps = build([record(1), record(2)], recipe).maps
    mask = (maps[0] > 0).load()
    found = maps.nii.quality(mask)
    assert found.coverage.tolist() == [1, pytest.approx(1)]
    assert found.outside[0] == pytest.approx(1 - float(mask.mean()))
    assert maps.nii.duplicates(0.99, mask).empty
