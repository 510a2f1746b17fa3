"""Surface maps of a result as nilearn's images, and as a labelled array."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from nibabel.gifti.gifti import GiftiDataArray, GiftiImage
from nilearn.datasets import load_fsaverage, load_fsaverage_data
from nilearn.maskers import SurfaceMasker
from nilearn.plotting import plot_surf_stat_map
from nilearn.surface import PolyMesh, SurfaceImage, load_surf_data
from trees import gzipped

from intake_neurovault import SearchResult, search
from intake_neurovault.errors import (
    ArgumentError,
    EmptyResultError,
    GeometryError,
    NeuroVaultWarning,
    OfflineError,
)
from intake_neurovault.testing import (
    Archive,
    NeuroVaultServer,
    Surface,
    add_surfaces,
    gifti_bytes,
)

FULL = 163_842
SAMPLE = [48004, 48005]
Ask = Callable[..., SearchResult]


def ramp(count: int, *, start: float = 0) -> bytes:
    return gifti_bytes(np.arange(start, start + count, dtype="f4"))


def two_maps() -> bytes:
    values = np.arange(10242, dtype="f4")
    arrays = [GiftiDataArray(each) for each in (values, -values)]
    return GiftiImage(darrays=arrays).to_bytes()


def a_mesh() -> bytes:
    points = np.zeros((10242, 3), "f4")
    return GiftiImage(darrays=[GiftiDataArray(points)]).to_bytes()


def archive_of_densities() -> Archive:
    archive = Archive()
    archive.add_collection("On many meshes", id=1)
    contents = {
        11: {"left": ramp(FULL), "right": ramp(FULL, start=1)},
        12: {"left": ramp(10242), "right": ramp(10242)},
        13: {"right": ramp(10242)},
        14: {"left": ramp(642)},
        15: {"left": two_maps()},
        16: {"left": a_mesh()},
        17: {},
    }
    for number, sides in contents.items():
        archive.add_image(1, gzipped(number), id=number)
        if sides:
            add_surfaces(archive, number, **sides)
    return archive


@pytest.fixture(scope="module")
def densities() -> Iterator[NeuroVaultServer]:
    with NeuroVaultServer(archive_of_densities()) as running:
        yield running


@pytest.fixture
def ask(densities: NeuroVaultServer, data_dir: Path) -> Ask:
    def query(*image_ids: int, **arguments: Any) -> SearchResult:
        settings = {"image_ids": list(image_ids), "url": densities.url}
        return search(**{**settings, "data_dir": data_dir, "retries": 0, **arguments})

    return query


@pytest.fixture
def sample(server: NeuroVaultServer, data_dir: Path) -> SearchResult:
    return search(image_ids=SAMPLE, url=server.url, data_dir=data_dir)


# ---- nilearn --------------------------------------------------------------------


def test_nilearn_has_the_values_that_were_uploaded(sample: SearchResult) -> None:
    images = sample.to_surface_images()
    assert list(images) == SAMPLE
    for number, image in images.items():
        assert isinstance(image, SurfaceImage)
        for side in ("left", "right"):
            values = image.data.parts[side]
            expected = Surface(number, "faces", side).values()
            np.testing.assert_array_equal(values, expected)
            path = sample.fetch_surfaces()[number][side]
            np.testing.assert_array_equal(load_surf_data(path), expected)
    pial = load_fsaverage("fsaverage5")["pial"]
    np.testing.assert_array_equal(
        images[48004].mesh.parts["left"].coordinates, pial.parts["left"].coordinates
    )


def test_nilearns_masker_takes_them(sample: SearchResult) -> None:
    images = list(sample.to_surface_images().values())
    matrix = SurfaceMasker(standardize=None).fit_transform(images)
    maps = sample.to_surface_dataset().maps
    np.testing.assert_allclose(matrix, maps.values.reshape(2, -1), rtol=1e-6)


def test_nilearn_draws_them(sample: SearchResult, tmp_path: Path) -> None:
    image = sample.to_surface_images()[48004]
    figure = plot_surf_stat_map(
        stat_map=image,
        surf_mesh=load_fsaverage("fsaverage5")["inflated"],
        bg_map=load_fsaverage_data(mesh="fsaverage5", data_type="sulcal"),
        hemi="right",
        threshold=3.0,
    )
    figure.savefig(tmp_path / "right.png")
    assert (tmp_path / "right.png").stat().st_size > 10_000


def test_full_resolution_is_brought_to_the_mesh_that_ships(ask: Ask) -> None:
    image = ask(11).to_surface_images()[11]
    np.testing.assert_array_equal(image.data.parts["left"], np.arange(10242))
    np.testing.assert_array_equal(image.data.parts["right"], np.arange(1, 10243))


def test_fsaverage5_begins_with_the_vertices_of_coarser_meshes() -> None:
    # NOTE: the coarser meshes are even on the sphere, so that the vertices that they
    # share with this one are those with the largest gaps between them.
    sphere = load_fsaverage("fsaverage5")["sphere"].parts["left"].coordinates
    sphere = sphere / np.linalg.norm(sphere, axis=1, keepdims=True)
    for count in (12, 42, 162, 642):
        nearest = np.sort(sphere[:count] @ sphere[:count].T, axis=1)[:, -2]
        angle = np.degrees(np.arccos(nearest))
        assert angle.max() / angle.min() < 1.3
        assert angle.min() > 0.9 * np.degrees(np.sqrt(4 * np.pi / count) / 1.2)


def test_one_hemisphere_is_an_image_with_one(ask: Ask) -> None:
    image = ask(13).to_surface_images()[13]
    assert list(image.data.parts) == list(image.mesh.parts) == ["right"]


def test_several_maps_in_a_file_are_columns(ask: Ask) -> None:
    image = ask(15).to_surface_images()[15]
    assert image.shape == (10242, 2)
    with pytest.raises(GeometryError, match="has 2 values at each vertex; leave the"):
        ask(15).to_surface_dataset()


@pytest.mark.parametrize("spelling", ["poly", "mapping", "paths"])
def test_other_meshes_may_be_given(ask: Ask, spelling: str, tmp_path: Path) -> None:
    flat = load_fsaverage("fsaverage5")["inflated"]
    given: Any = {
        "poly": flat,
        "mapping": dict(flat.parts),
        "paths": {side: part.file_path for side, part in flat.parts.items()},
    }[spelling]
    image = ask(12).to_surface_images(given)[12]
    np.testing.assert_array_equal(
        image.mesh.parts["left"].coordinates, flat.parts["left"].coordinates
    )


def test_a_mesh_of_other_sides_leaves_out_what_it_has_not(ask: Ask) -> None:
    left = PolyMesh(left=load_fsaverage("fsaverage5")["pial"].parts["left"])
    with pytest.raises(
        GeometryError, match=r"Right surface of image 12.*the mesh 0; pass"
    ):
        ask(12).to_surface_images(left)


def test_what_does_not_fit_is_told(ask: Ask) -> None:
    with pytest.raises(
        GeometryError, match="642 vertices and the mesh 10,242; pass one"
    ):
        ask(14).to_surface_images()
    with pytest.raises(GeometryError, match="such as 'fsaverage3'"):
        ask(14).to_surface_dataset()
    assert ask(14).to_surface_dataset("fsaverage3").sizes["vertex"] == 642
    with pytest.raises(GeometryError, match="something else than values at vertices"):
        ask(16).to_surface_images()


@pytest.mark.parametrize("mesh", ["fsaverage2", "pial", None, 5, {}, {"top": 1}])
def test_what_is_no_mesh_is_refused(ask: Ask, mesh: Any) -> None:
    with pytest.raises(ArgumentError, match="is no mesh of the cortex; choose one of"):
        ask(12).to_surface_images(mesh)


def test_offline_no_mesh_is_downloaded(ask: Ask) -> None:
    result = ask(12)
    result.fetch()
    result.fetch_surfaces()
    offline = ask(12, mode="offline")
    assert list(offline.to_surface_images()) == [12]
    with pytest.raises(
        OfflineError, match=r"'fsaverage6', which mode='offline' forbids"
    ):
        offline.to_surface_images("fsaverage6")


def test_failures_leave_the_others(ask: Ask) -> None:
    result = ask(12, 14, 17, errors="skip")
    assert list(result.to_surface_images()) == [12]
    (row,) = result.failures.to_dict("records")
    assert row["id"] == 14
    with pytest.raises(EmptyResultError, match=r"\.failures says why"):
        ask(14, errors="skip").to_surface_images()
    with (
        pytest.warns(NeuroVaultWarning, match="No image of this result has surf"),
        pytest.raises(EmptyResultError, match="search for maps that were made on the"),
    ):
        ask(17).to_surface_images()


# ---- xarray ---------------------------------------------------------------------


def test_the_dataset_is_labelled(sample: SearchResult, tmp_path: Path) -> None:
    dataset = sample.to_surface_dataset()
    assert dataset.maps.dims == ("image", "hemisphere", "vertex")
    assert dataset.maps.dtype == np.float32
    left = dataset.maps.sel(image=48004, hemisphere="left")
    np.testing.assert_array_equal(left, Surface(48004, "faces", "left").values())
    assert left.number_of_subjects == 46
    assert dataset.attrs["mesh"] == "fsaverage5"
    assert dataset.attrs["citation_dois"] == "10.5555/sample.3324"
    dataset.to_netcdf(tmp_path / "maps.nc")
    with xr.open_dataset(tmp_path / "maps.nc") as again:
        xr.testing.assert_identical(again.load(), dataset)


def test_a_missing_hemisphere_is_nan(ask: Ask) -> None:
    maps = ask(11, 13).to_surface_dataset().maps
    assert np.isnan(maps.sel(image=13, hemisphere="left")).all()
    assert np.isfinite(maps.sel(image=11)).all()
    assert ask(11).to_surface_dataset("fsaverage").sizes["vertex"] == FULL


def test_intake_sources_hand_them_on(server: NeuroVaultServer, data_dir: Path) -> None:
    import intake

    source = intake.open_neurovault(
        image_ids=SAMPLE[:1], url=server.url, data_dir=str(data_dir)
    )
    assert list(source.fetch_surfaces()[48004]) == ["left", "right"]
    assert source.to_surface_images()[48004].shape == (20484,)
    assert source.to_surface_dataset().sizes["image"] == 1
