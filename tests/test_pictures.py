"""Pictures, as matplotlib and nilearn draw them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from maps import COARSE, FolderOpener, record, values, write
from matplotlib.figure import Figure
from nilearn import datasets
from PIL import Image as Picture

import intake_neurovault
from intake_neurovault import search
from intake_neurovault.cube import Recipe, build, single
from intake_neurovault.drawing import Order, usual
from intake_neurovault.driver import NeuroVaultSource
from intake_neurovault.errors import (
    ArgumentError,
    EmptyResultError,
    GeometryError,
    UnknownArgumentError,
)
from intake_neurovault.nifti import Reader
from intake_neurovault.panels import Panel, common_scale
from intake_neurovault.pictures import panel_of
from intake_neurovault.testing import NeuroVaultServer

HARD = "脳 $x_{ 5</script><script>window.hacked = 1</script>"
NAMES = {1: "map 1", 2: None, 3: "map 3", 4: HARD}
QUICK = {"display_mode": "z", "cut_coords": [0], "bg_img": None}
"""Slices that are drawn in a moment."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of four maps, a parcellation, and a map of zeros."""
    path = tmp_path_factory.mktemp("maps")
    for number in NAMES:
        write(path, number, values(number))
    write(path, 5, np.floor(3 * np.abs(values(5))))
    write(path, 6, np.zeros(COARSE.shape, dtype="f4"))
    return path


@pytest.fixture
def dataset(folder: Path) -> xr.Dataset:
    images = [record(number, name=name) for number, name in NAMES.items()]
    atlas = record(5, name="regions", image_type="atlas", map_type=None)
    recipe = Recipe(Reader(COARSE), FolderOpener(folder))
    return build([*images, atlas, record(6)], recipe)


@pytest.fixture
def array(dataset: xr.Dataset) -> xr.DataArray:
    """One map."""
    return dataset.maps.sel(image=1)


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """No picture that failed, or went into a file, is left in pyplot."""
    yield
    left = len(plt.get_fignums())
    assert left <= 1


def titles(display: Any) -> list[str]:
    texts = (text for axis in display.axes.values() for text in axis.ax.texts)
    return [t.get_text() for t in (*texts, *display.frame_axes.texts)]


def headings(grid: Any) -> list[str]:
    return [each.frame_axes.get_title(loc="left") for each in grid.displays]


def limits(display: Any) -> set[tuple[float, float]]:
    """The ends of the colours of all views of a map."""
    drawn = [cut.ax.images[-1].norm for cut in display.axes.values()]
    return {(round(norm.vmin, 4), round(norm.vmax, 4)) for norm in drawn}


def share_of_ink(picture: Any) -> float:
    """How much of a picture is not white."""
    with Picture.open(picture) as opened:
        return float((np.asarray(opened.convert("L")) < 250).mean())


# ---- one map ---------------------------------------------------------------------

PLOTS = pytest.mark.parametrize("plot", ["plot_stat_map", "plot_glass_brain"])


@PLOTS
def test_a_genuine_map_is_drawn_and_named(plot: str, tmp_path: Path) -> None:
    source = Path(datasets.__file__).with_name("data") / "image_10426.nii.gz"
    (tmp_path / "10426.nii.gz").write_bytes(source.read_bytes())
    recipe = Recipe(Reader.parse(), FolderOpener(tmp_path))
    dataset = build([record(10426, name="left vs right hand")], recipe)
    display = getattr(dataset.nii, plot)(threshold=3, colorbar=False)
    assert "10426: left vs right hand" in titles(display)
    target = tmp_path / "picture.png"
    display.savefig(target)
    assert target.read_bytes().startswith(b"\x89PNG")
    assert target.stat().st_size > 10_000
    assert 0.02 < share_of_ink(target) < 0.6


@pytest.mark.parametrize(
    ("work", "title"),
    [
        (lambda ds: ds.maps.sel(image=1), "1: map 1"),
        (lambda ds: ds.maps.sel(image=[2]), "2"),
        (lambda ds: ds.maps.sel(image=1) - ds.maps.sel(image=1).mean(), "1: map 1"),
        (lambda ds: single(ds, record(3)), "3: map 3"),
        (lambda ds: ds.sel(image=[6]), "6: map 6 (all zero)"),
        (lambda ds: ds.maps.sel(image=3) * np.nan, "3: map 3 (no values)"),
    ],
)
def test_the_title_is_what_is_known(
    work: Callable[..., xr.DataArray], title: str, dataset: xr.Dataset
) -> None:
    assert title in titles(work(dataset).nii.plot_stat_map(**QUICK))


def test_arguments_are_nilearns(array: xr.DataArray) -> None:
    display = array.nii.plot_stat_map(
        title="mine", display_mode="z", cut_coords=[0, 20], interpolation="bilinear"
    )
    assert "mine" in titles(display)
    assert not any("map 1" in text for text in titles(display))
    assert len(display.axes) == 2


def test_no_title_is_written_where_none_is_wanted(dataset: xr.Dataset) -> None:
    mean = dataset.maps.mean("image").nii.plot_stat_map(annotate=False, **QUICK)
    assert titles(mean) == []
    mean.close()
    bare = dataset.sel(image=[1]).nii.plot_stat_map(title=None, annotate=False, **QUICK)
    assert titles(bare) == []


def test_a_name_is_drawn_whatever_is_in_it(dataset: xr.Dataset) -> None:
    # Neither a formula that cannot be read, nor a warning of letters that lack.
    display = dataset.maps.sel(image=4).nii.plot_stat_map(**QUICK)
    display.frame_axes.figure.savefig(io.BytesIO())
    (title,) = [text for text in titles(display) if text.startswith("4")]
    assert title.startswith(r"4: □ \$x_{")


def test_a_long_title_stays_on_the_picture(array: xr.DataArray) -> None:
    array = array.assign_coords(name="faces and houses " * 20)
    display = array.nii.plot_stat_map(display_mode="x", cut_coords=[0, 1, 2])
    figure = display.frame_axes.figure
    figure.canvas.draw()
    texts = [text for axis in display.axes.values() for text in axis.ax.texts]
    (title,) = [text for text in texts if text.get_text().endswith("…")]
    assert title.get_window_extent().x1 < figure.bbox.x1
    assert title.get_window_extent().width > figure.bbox.width / 2


def test_it_is_drawn_where_one_wants_it(array: xr.DataArray, tmp_path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2)
    target = tmp_path / "both.png"
    display = array.nii.plot_stat_map(axes=left, output_file=target, **QUICK)
    assert display.frame_axes is left
    assert right.get_subplotspec() is not None
    # The figure is the user's, so it stays.
    assert plt.get_fignums() == [figure.number]
    assert target.read_bytes().startswith(b"\x89PNG")
    apart = Figure()
    assert array.nii.plot_stat_map(figure=apart, **QUICK).frame_axes.figure is apart


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_a_file_is_written_and_the_picture_given(
    suffix: str, start: bytes, array: xr.DataArray, tmp_path: Path
) -> None:
    target = tmp_path / f"map.{suffix}"
    display = array.nii.plot_stat_map(output_file=target, **QUICK)
    assert target.read_bytes().startswith(start)
    assert target.stat().st_size > 3000
    assert plt.get_fignums() == []
    # It can still be drawn on, saved and closed.
    display.add_contours(panel_of(array).image, levels=[1.0])
    display.savefig(tmp_path / "again.png")
    display.close()
    assert share_of_ink(tmp_path / "again.png") > 0.05


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("absent/map.png", r"there is no folder '.*absent'; make it, or pass another"),
        ("map", r"does not end in a format .* end in \.png, \.svg or \.pdf"),
        ("map.html", r"let it end in \.png"),
    ],
)
@pytest.mark.parametrize("plot", ["plot_glass_brain", "plot_roi", "plot_grid"])
def test_a_file_that_cannot_be_is_refused(
    plot: str, name: str, match: str, array: xr.DataArray, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match=match):
        getattr(array.nii, plot)(output_file=tmp_path / name)
    assert list(tmp_path.rglob("*.png")) == []


@pytest.mark.parametrize(
    ("plot", "given", "match"),
    [
        ("plot_stat_map", "treshold", r"plot_stat_map.. .*mean 'threshold'"),
        ("plot_glass_brain", "plotabs", r"plot_glass_brain.. .*mean 'plot_abs'"),
        ("view_img", "width", r"view_img.. .*mean 'width_view'"),
        ("plot_grid", "max_map", r"plot_grid.. .*mean 'max_maps'"),
        ("plot_grid", "treshold", r"plot_grid.. .*mean 'threshold'"),
    ],
)
def test_a_misspelt_argument_is_told_before_anything_is_read(
    plot: str, given: str, match: str, array: xr.DataArray
) -> None:
    with pytest.raises(UnknownArgumentError, match=match):
        getattr((array / 0).nii, plot)(**{given: 3})


def test_what_fails_leaves_no_figure(array: xr.DataArray) -> None:
    with pytest.raises(ValueError, match="colormap"):
        array.nii.plot_stat_map(cmap="no such colours", **QUICK)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("plot", ["plot_stat_map", "plot_glass_brain", "view_img"])
@pytest.mark.parametrize(
    ("work", "match"),
    [
        (
            lambda ds: ds.maps,
            r"6 along 'image'; .*\.sel\(image=…\).*\.mean\(\"image\"\).*plot_grid",
        ),
        (lambda ds: ds.maps[:0], "0 along 'image'"),
        (lambda ds: ds.maps.expand_dims(run=2).isel(image=0), "2 along 'run'"),
    ],
)
def test_several_maps_are_not_one_picture(
    work: Callable[..., xr.DataArray], match: str, plot: str, dataset: xr.Dataset
) -> None:
    with pytest.raises(GeometryError, match=match):
        getattr(work(dataset).nii, plot)()


# ---- odd maps --------------------------------------------------------------------


def test_voxels_without_value_are_empty(array: xr.DataArray) -> None:
    holes = array.where(array > 0).where(array < 2, np.inf)
    image = panel_of(holes).image
    assert np.isfinite(image.get_fdata()).all()
    assert image.get_fdata().max() < 2


@pytest.mark.parametrize("factor", [0, 1e-9, 1e-30, 1e30, np.nan])
@pytest.mark.parametrize("plot", ["plot_stat_map", "plot_glass_brain", "plot_roi"])
def test_maps_of_any_size_are_drawn(
    plot: str, factor: float, array: xr.DataArray, tmp_path: Path
) -> None:
    target, empty = tmp_path / "map.png", tmp_path / "empty.png"
    told = {"title": None, "annotate": False, "colorbar": False}
    told |= {"display_mode": "x"} if plot == "plot_glass_brain" else QUICK
    map_ = (abs(array) if plot == "plot_roi" else array) * factor
    getattr(map_.nii, plot)(**told, output_file=target)
    getattr((array * 0).nii, plot)(**told, output_file=empty)
    more = share_of_ink(target) - share_of_ink(empty)
    assert (more > 0.2) == (np.isfinite(factor) and factor != 0)


def test_nothing_is_cut_in_the_middle_of_the_brain(dataset: xr.Dataset) -> None:
    display = dataset.sel(image=[6]).nii.plot_stat_map()
    lengths = [abs(cut.coord) for cut in display.axes.values()]
    assert max(lengths) < 30


@pytest.mark.parametrize("sign", [1, -1])
def test_a_map_of_one_sign_keeps_its_colours(sign: int, array: xr.DataArray) -> None:
    signed, peak = sign * abs(array), round(float(abs(array).max()), 4)
    slices = signed.nii.plot_stat_map(**QUICK)
    assert limits(slices) == {(-peak, peak)}
    slices.close()
    glass = signed.nii.plot_glass_brain(display_mode="x")
    assert limits(glass) == {(0, peak)}
    drawn = next(iter(glass.axes.values())).ax.images[-1].get_array()
    assert drawn.max() == pytest.approx(peak, rel=0.01)


def test_limits_that_are_given_are_kept(array: xr.DataArray) -> None:
    display = abs(array).nii.plot_stat_map(vmin=0.5, vmax=2, **QUICK)
    assert limits(display) == {(0.5, 2)}


def test_nilearns_choice_is_left_where_it_will_do() -> None:
    affine, data = np.eye(4), np.array([[[-3.0, 5.0]]])
    assert usual("plot_roi", data, affine, {}) == {}
    assert usual("plot_roi", data, affine, {}, labels=True) == {"cmap": "Paired"}
    many = usual("plot_roi", 99 * data, affine, {}, labels=True)
    assert many == {"cmap": "gist_rainbow"}
    assert usual("plot_stat_map", data, affine, {}) == {"threshold": 1e-6}
    assert usual("plot_glass_brain", data, affine, {"plot_abs": False}) == {}
    assert usual("plot_glass_brain", data, affine, {"vmax": 3}) == {}
    assert usual("plot_glass_brain", -data, affine, {}) == {"vmax": 5}


# ---- a page ----------------------------------------------------------------------


def test_a_page_is_given_and_written(array: xr.DataArray, tmp_path: Path) -> None:
    target = tmp_path / "map.html"
    page = array.nii.view_img(output_file=target)
    assert "1: map 1" in page.html
    assert "<iframe" in page._repr_html_()
    assert 100_000 < target.stat().st_size < 5_000_000
    # Nothing that a browser would load from elsewhere.
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page.html) == []
    with pytest.raises(ArgumentError, match=r"end in \.html"):
        array.nii.view_img(output_file=tmp_path / "map.png")


def test_a_name_does_not_run_on_the_page(dataset: xr.Dataset) -> None:
    page = dataset.maps.sel(image=4).nii.view_img(bg_img=False)
    assert "<script>window.hacked" not in page.html
    assert page.html.count("&lt;/script&gt;&lt;script&gt;window.hacked") == 2


@pytest.mark.parametrize("factor", [0, 1e-9, -1, np.nan])
def test_pages_of_odd_maps(factor: float, array: xr.DataArray) -> None:
    page = (abs(array) * factor).nii.view_img(bg_img=False)
    assert len(page.html) > 50_000


def test_regions_have_colours_of_their_own(dataset: xr.Dataset) -> None:
    told = Order.parse("view_img", {})
    assert panel_of(dataset.maps.sel(image=5)).labels
    assert not panel_of(dataset.maps.sel(image=1)).labels
    assert not panel_of(dataset.maps.sel(image=5) / 2).labels
    values = panel_of(dataset.maps.sel(image=5)).values
    chosen = usual(told.function, values, np.eye(4), {}, labels=True)
    assert chosen["resampling_interpolation"] == "nearest"
    page = dataset.maps.sel(image=5).nii.view_img(bg_img=False)
    # Not from -vmax to vmax, as maps of two signs.
    peak = float(values.max())
    assert f'"max": {peak}' in page.html
    assert f'"min": {-peak}' not in page.html


# ---- many maps -------------------------------------------------------------------


def test_a_grid_shows_all_with_their_names(dataset: xr.Dataset, tmp_path: Path) -> None:
    target = tmp_path / "grid.png"
    grid = dataset.nii.plot_grid(title="All", output_file=target)
    assert [int(each[0]) for each in headings(grid)] == [1, 2, 3, 4, 5, 6]
    assert headings(grid)[0] == "1: map 1"
    assert headings(grid)[-1] == "6: map 6\n(all zero)"
    assert repr(grid) == "<MapGrid: 6 maps>"
    assert [text.get_text() for text in grid.figure.texts] == ["All"]
    # One scale for the statistical maps, none for regions and for nothing.
    peak = max(round(float(abs(dataset.maps[n]).max()), 4) for n in range(4))
    for display in grid.displays[:4]:
        assert limits(display) == {(-peak, peak)}
    assert limits(grid.displays[4]) != {(-peak, peak)}
    (bar,) = [axes for axes in grid.figure.axes if axes.get_ylabel() == "Z map"]
    assert bar.get_ylim() == pytest.approx((-peak, peak), rel=1e-4)
    with Picture.open(target) as picture:
        width, height = picture.size
    assert 500 < width < 1400
    assert 300 < height < 1400
    assert plt.get_fignums() == []


def test_a_grid_says_what_it_does_not_show(dataset: xr.Dataset) -> None:
    maps = xr.concat([dataset.maps] * 3, "image")
    maps = maps.isel(image=[n for n in range(18) if n % 6 < 4])
    grid = maps.nii.plot_grid(kind="stat_map", max_maps=3, **QUICK)
    assert len(grid.displays) == 3
    (said,) = [text.get_text() for text in grid.figure.texts]
    assert said == "The first 3 of 12 maps; max_maps=12 draws all."


def test_only_what_is_drawn_is_read(folder: Path) -> None:
    # The file of image 7 is not there.
    recipe = Recipe(Reader(COARSE), FolderOpener(folder), chunks=1)
    dataset = build([record(1), record(3), record(7)], recipe)
    grid = dataset.nii.plot_grid(max_maps=2, display_mode="x", colorbar=False)
    assert headings(grid) == ["1: map 1", "3: map 3"]


def test_each_map_may_have_its_own_scale(dataset: xr.Dataset) -> None:
    maps = dataset.maps[:2] * xr.DataArray([1.0, 100.0], dims="image")
    grid = maps.nii.plot_grid(kind="stat_map", common_scale=False, **QUICK)
    first, second = (next(iter(limits(each))) for each in grid.displays)
    assert second[1] > 50 * first[1]
    # The frame, the cut and the bar of each.
    assert len(grid.figure.axes) == 6


@pytest.mark.parametrize(
    ("work", "given", "ends"),
    [
        (abs, {}, (0, 1)),
        (lambda maps: -abs(maps), {}, (-1, 0)),
        (lambda maps: maps, {}, (-1, 1)),
        (lambda maps: -abs(maps), {"plot_abs": True}, (0, 1)),
    ],
)
def test_the_colour_bar_is_of_the_values_there_are(
    work: Callable[..., Any],
    given: dict[str, Any],
    ends: tuple[float, float],
    dataset: xr.Dataset,
) -> None:
    maps = work(dataset.maps[:2])
    grid = maps.nii.plot_grid(display_mode="x", max_maps=None, **given)
    peak = float(abs(maps).max())
    assert grid.figure.axes[-1].get_ylim() == pytest.approx(
        (ends[0] * peak, ends[1] * peak), rel=1e-4
    )
    assert len(limits(grid.displays[0])) == 1


def test_a_map_of_another_unit_does_not_take_all_colours() -> None:
    maps = [Panel(str(n), panel_of(map_of(n)).image) for n in (1.0, 2.0, 3.0, 500.0)]
    assert common_scale("glass_brain", maps, {})["vmax"] == pytest.approx(5)
    assert common_scale("glass_brain", maps[:3], {})["vmax"] == pytest.approx(3)


def map_of(value: float) -> xr.DataArray:
    return xr.DataArray(np.full(COARSE.shape, value), COARSE.coords(), ["x", "y", "z"])


@pytest.mark.parametrize(
    "given", [{}, {"display_mode": "z"}, {"display_mode": "x", "cut_coords": 2}]
)
def test_slices_are_cut_at_one_place(
    given: dict[str, Any], dataset: xr.Dataset
) -> None:
    maps = dataset.maps[:2]
    grid = maps.nii.plot_grid(kind="stat_map", bg_img=None, vmax=2, **given)
    cuts = {tuple(cut.coord for cut in each.axes.values()) for each in grid.displays}
    assert {len(each) for each in cuts} == {given.get("cut_coords", 7 if given else 3)}
    assert len(cuts) == 1
    assert limits(grid.displays[1]) == {(-2, 2)}


def test_a_grid_goes_where_one_wants_it(dataset: xr.Dataset) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    grid = dataset.maps[:3].nii.plot_grid(
        kind="stat_map", axes=left, ncols=1, max_maps=2, title="left", **QUICK
    )
    assert grid.figure is figure
    frame = left.get_position()
    for axes in set(figure.axes) - {left, right}:
        place = axes.get_position()
        assert frame.x0 <= place.x0 + 1e-6
        assert place.x1 <= frame.x1 + 1e-6
        assert frame.y0 <= place.y0 + 1e-6
        assert place.y1 <= frame.y1 + 1e-6
    one, two = (each.frame_axes.get_position() for each in grid.displays)
    assert one.x0 == two.x0
    assert one.y0 > two.y1


def test_maps_along_another_dimension_are_named_by_it(dataset: xr.Dataset) -> None:
    kinds = dataset.maps[:2].rename(image="word").drop_vars(["name", "map_type"])
    kinds = kinds.assign_coords(word=["pain", "touch"])
    grid = kinds.nii.plot_grid(kind="stat_map", **QUICK)
    assert headings(grid) == ["pain", "touch"]
    grid.close()
    one = dataset.maps[0].nii.plot_grid(kind="stat_map", **QUICK)
    assert headings(one) == ["1: map 1"]


@pytest.mark.parametrize(
    ("work", "given", "error", "match"),
    [
        (
            lambda ds: ds.maps.expand_dims(run=2),
            {},
            GeometryError,
            "one dimension, this array has run, image",
        ),
        (lambda ds: ds.maps[:0], {}, GeometryError, "no map along 'image'"),
        (lambda ds: ds, {"kind": "glas_brain"}, ArgumentError, "mean 'glass_brain'"),
        (lambda ds: ds, {"max_maps": 0}, ArgumentError, "max_maps=0 must be"),
        (lambda ds: ds, {"ncols": 2.5}, ArgumentError, "ncols=2.5 must be"),
        (lambda ds: ds, {"axes": [0, 0, 1, 1]}, ArgumentError, "must be Axes"),
        (lambda ds: ds, {"vmin": 0}, ArgumentError, "chooses vmin itself"),
    ],
)
def test_what_is_no_grid_is_refused(
    work: Callable[..., Any],
    given: dict[str, Any],
    error: type[Exception],
    match: str,
    dataset: xr.Dataset,
) -> None:
    with pytest.raises(error, match=match):
        work(dataset).nii.plot_grid(**given)


# ---- results ---------------------------------------------------------------------


@pytest.fixture
def result(server: NeuroVaultServer, data_dir: Path) -> intake_neurovault.SearchResult:
    return search(
        url=server.url, data_dir=data_dir, image_ids=[2001, 2002, 2009], grid=10
    )


def test_a_result_draws_the_map_that_is_chosen(
    result: intake_neurovault.SearchResult, tmp_path: Path
) -> None:
    display = result.plot_stat_map(image="2009", **QUICK)
    assert "2009: rounded_affine" in titles(display)
    display.close()
    single = result.search(image_ids=2001)
    assert "2001: mni_3mm" in titles(single.plot_stat_map(**QUICK))
    page = single.view_img(bg_img=False, output_file=tmp_path / "map.html")
    assert "2001: mni_3mm" in page.html


@pytest.mark.parametrize(
    "plot", ["plot_stat_map", "plot_glass_brain", "plot_roi", "view_img"]
)
def test_a_result_says_how_to_choose(
    plot: str, result: intake_neurovault.SearchResult, server: NeuroVaultServer
) -> None:
    assert len(result) == 3
    with pytest.raises(ArgumentError, match=r"has 3: .*image=2001 .*2009.*plot_grid"):
        getattr(result, plot)()
    with pytest.raises(ArgumentError, match=r"image=7 is not in this result"):
        getattr(result, plot)(7)
    with pytest.raises(UnknownArgumentError, match="mean 'threshold'"):
        getattr(result, plot)(2001, treshold=3)
    empty = result.search(image_terms={"map_type": "Z map"})
    with pytest.raises(EmptyResultError, match="map_type"):
        getattr(empty, plot)()


def test_a_result_draws_all_its_maps(result: intake_neurovault.SearchResult) -> None:
    grid = result.plot_grid(kind="stat_map", max_maps=2, **QUICK)
    assert headings(grid) == ["2001: mni_3mm", "2002: fsl_2mm"]
    assert grid.figure.texts[0].get_text().startswith("The first 2 of 3 maps")


def test_maps_on_grids_of_their_own_are_drawn_together(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    mixed = search(
        url=server.url,
        data_dir=data_dir,
        image_ids=[2002, 2203, 2008],
        grid=None,
        errors="skip",
    )
    with pytest.warns(intake_neurovault.NeuroVaultWarning, match="2203"):
        grid = mixed.plot_grid(kind="stat_map", **QUICK)
    assert [each.split(":")[0] for each in headings(grid)] == ["2002", "2203", "2008"]
    assert headings(grid)[1].endswith("\n(not to be had)")


def test_a_source_draws_what_its_result_does(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    source = NeuroVaultSource(
        url=server.url, data_dir=str(data_dir), image_ids=[2001], grid=10
    )
    for plot in ("plot_stat_map", "plot_roi"):
        display = getattr(source, plot)(**QUICK)
        assert "2001: mni_3mm" in titles(display)
        display.close()
    assert "2001: mni_3mm" in titles(source.plot_glass_brain(display_mode="x"))
    assert "2001: mni_3mm" in source.view_img(bg_img=False).html
    plt.close("all")
    assert headings(source.plot_grid(kind="stat_map", **QUICK)) == ["2001: mni_3mm"]
