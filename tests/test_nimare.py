"""What NiMARE makes of our hand-over, against the same by hand; what is refused."""

from __future__ import annotations

import gc
import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from intake_neurovault import SearchResult, search
from intake_neurovault.errors import (
    ArgumentError,
    EmptyResultError,
    GridError,
    NeuroVaultWarning,
    StoreError,
    UnsuitableError,
)
from intake_neurovault.testing import Archive, NeuroVaultServer
from intake_neurovault.testing.volumes import SPACES, affine_of

pytest.importorskip("nimare")

from nimare.meta.ibma import (
    DerSimonianLaird,
    Fishers,
    SampleSizeBasedLikelihood,
    Stouffers,
)
from nimare.nimads import Studyset
from nimare.transforms import ImageTransformer

GRID = 6
SITES = [10410, 10411, 10412, 10413, 10414]
"""Group maps of one sample server's collection, each of another site: T, Z, Z, T, Z."""
SPACE = "mni6"
NOISE = 8
"""How many maps of noise there are, each in a collection of its own."""

Values = NDArray[np.float64]


@pytest.fixture(scope="module", autouse=True)
def nothing_imported_is_garbage() -> Iterator[None]:
    """Spare the tests what takes nilearn longest, which seeks garbage at each image."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def sites(server: NeuroVaultServer, data_dir: Path) -> SearchResult:
    """Five group maps on a coarse grid."""
    return search(image_ids=SITES, grid=GRID, url=server.url, data_dir=data_dir)


def hand_over(result: SearchResult, folder: Path, **arguments: Any) -> Studyset:
    return result.to_nimare(folder, study="id", **arguments)


def z_by_hand(result: SearchResult) -> Values:
    """Make Z values of what the cube holds, with scipy: maps × voxels of the mask."""
    matrix = result.to_matrix().fillna(0).astype("float64").compute()
    values = matrix.values
    for row, (kind, n) in enumerate(
        zip(matrix.map_type.values, matrix.number_of_subjects.values, strict=True)
    ):
        if kind == "T map":
            tail = stats.t.sf(np.abs(values[row]), n - 1)
            values[row] = np.sign(values[row]) * stats.norm.isf(tail)
    return values


def combined(z: Values, method: str, weights: Values) -> tuple[Values, Values]:
    """Combine by hand, at each voxel the maps that have a value there."""
    p, sign = np.full(z.shape[1], np.nan), np.zeros(z.shape[1])
    there = z != 0
    for pattern in np.unique(there, axis=1).T:
        voxels = (there == pattern[:, None]).all(axis=0)
        if pattern.sum() < 2:
            continue
        some, shares = z[pattern][:, voxels], weights[pattern][:, None]
        tails = [
            stats.combine_pvalues(
                stats.norm.sf(side * some),
                method,
                np.broadcast_to(shares, some.shape) if method == "stouffer" else None,
            ).pvalue
            for side in (1, -1)
        ]
        p[voxels] = np.minimum(1, 2 * np.minimum(*tails))
        sign[voxels] = np.where(tails[1] < tails[0], -1, 1)
    return p, sign * stats.norm.isf(p / 2)


# ---- Stouffer's and Fisher's ---------------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "method", "weighted"),
    [
        (Stouffers(), "stouffer", False),
        (Stouffers(use_sample_size=True), "stouffer", True),
        (Fishers(), "fisher", False),
    ],
    ids=["Stouffer's", "Stouffer's, weighted by sample size", "Fisher's"],
)
def test_it_equals_the_same_by_hand(
    sites: SearchResult, tmp_path: Path, estimator: Any, method: str, weighted: bool
) -> None:
    found = estimator.fit(hand_over(sites, tmp_path / "maps"))
    subjects = sites.df.number_of_subjects.to_numpy("float64")
    weights = np.sqrt(subjects) if weighted else np.ones(len(subjects))
    p, z = combined(z_by_hand(sites), method, weights)
    assert np.isfinite(z).sum() > 5000
    assert np.nanmax(np.abs(z)) > 5
    np.testing.assert_allclose(found.maps["z"], z, rtol=1e-4, atol=2e-4)
    np.testing.assert_allclose(found.maps["p"], p, rtol=5e-3, atol=1e-12)


def test_of_maps_on_the_grid_nothing_is_resampled_again(
    sites: SearchResult, tmp_path: Path
) -> None:
    studyset = hand_over(sites, tmp_path / "maps")
    mask = studyset.masker.mask_img_
    cube = sites.read().maps
    assert mask.shape == cube.shape[1:]
    np.testing.assert_allclose(mask.affine, cube.nii.affine)
    for path, number in zip(studyset.get_images("z"), SITES, strict=True):
        image = nibabel.load(path)
        np.testing.assert_array_equal(image.affine, mask.affine)
        if number in (10411, 10412, 10414):
            expected = np.nan_to_num(cube.sel(image=number))
            np.testing.assert_array_equal(image.get_fdata(dtype="f4"), expected)


def noise_archive() -> Archive:
    """Maps of nothing but noise: half of them Z values, half T values of 8 subjects."""
    archive = Archive()
    for number in range(1, NOISE + 1):
        draw, shape = np.random.default_rng(number), SPACES[SPACE][0]
        is_t = number % 2 == 1
        data = draw.standard_t(7, shape) if is_t else draw.standard_normal(shape)
        image = nibabel.Nifti1Image(data.astype("f4"), affine_of(SPACE))
        archive.add_collection(f"Noise {number}", id=number)
        archive.add_image(
            number,
            gzip.compress(image.to_bytes(), 1),
            id=100 + number,
            map_type="T map" if is_t else "Z map",
            number_of_subjects=8,
        )
    return archive


@pytest.fixture(scope="module")
def noise() -> Iterator[NeuroVaultServer]:
    with NeuroVaultServer(noise_archive()) as running:
        yield running


@pytest.mark.parametrize("estimator", [Stouffers(), Fishers()])
def test_of_noise_it_finds_as_little_as_it_should(
    noise: NeuroVaultServer, data_dir: Path, estimator: Any
) -> None:
    grid = {"affine": affine_of(SPACE).tolist(), "shape": list(SPACES[SPACE][0])}
    result = search(
        collection_ids=range(1, NOISE + 1), grid=grid, url=noise.url, data_dir=data_dir
    )
    p = estimator.fit(result.to_nimare()).maps["p"]
    assert p.size > 5000
    for level in (0.05, 0.01):
        assert np.mean(p < level) == pytest.approx(
            level, abs=4 * np.sqrt(level / p.size)
        )


# ---- what is handed over -------------------------------------------------------------


def test_each_map_comes_with_its_kind_and_sample_size(
    sites: SearchResult, tmp_path: Path
) -> None:
    studyset = hand_over(sites, tmp_path / "maps")
    frame = studyset.images.set_index("contrast_id")
    assert list(frame.index) == [str(number) for number in SITES]
    assert frame.t.notna().tolist() == [True, False, False, True, False]
    assert frame.z.notna().all()
    assert studyset.metadata.sample_sizes.tolist() == [[12], [16], [20], [24], [28]]
    assert studyset.metadata.smoothness_fwhm.tolist() == [8.0] * 5
    names = {path.name for path in (tmp_path / "maps").iterdir()}
    assert {"mask.nii", "image_10410_t.nii", "image_10410_z.nii"} < names


def test_a_study_is_a_collection_unless_said_otherwise(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    ids = [10411, 10412, 48001, 48002]
    result = search(image_ids=ids, grid=12, url=server.url, data_dir=data_dir)
    studyset = result.to_nimare()
    assert studyset.study_ids.tolist() == ["3324", "658"]
    # NiMARE counts studies, not images.
    assert np.nanmax(Stouffers().fit(studyset).maps["dof"]) == 1
    alone = result.to_nimare(study="id")
    assert np.nanmax(Stouffers().fit(alone).maps["dof"]) == 3
    by_task = result.to_nimare(study="contrast_definition")
    assert by_task.study_ids.tolist() == sorted(result.unique("contrast_definition"))


def test_one_study_alone_is_warned_of(sites: SearchResult) -> None:
    with pytest.warns(NeuroVaultWarning, match=r"All 5 contrasts .* study='id'"):
        studyset = sites.to_nimare()
    assert np.isnan(Stouffers().fit(studyset).maps["z"]).all()


def test_a_mask_may_be_given(sites: SearchResult, tmp_path: Path) -> None:
    cube = sites.to_dask()
    mask = (cube.x < 0) & (cube.y < 0) & (cube.z > 0) & (cube.maps.isel(image=0) < 99)
    studyset = hand_over(sites, tmp_path / "maps", mask=mask.astype("float32"))
    assert studyset.masker.mask_img_.get_fdata().sum() == mask.sum()


def test_the_page_runs_and_leaves_nothing_but_what_it_names(
    server: NeuroVaultServer, data_dir: Path, tmp_path: Path, run_python: Any
) -> None:
    page = (Path(__file__).parents[1] / "docs/meta_analysis.md").read_text("utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.M | re.S))
    code += "\nprint(studyset.get_images('z')[0])"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = run_python(
        code,
        env={
            "INTAKE_NEUROVAULT_URL": server.url,
            "NILEARN_DATA": str(data_dir),
            "TMPDIR": str(scratch),
        },
    )
    path = Path(done.stdout.splitlines()[-1])
    assert path.parents[1] == scratch
    assert list(scratch.glob("intake-neurovault-*")) == []
    made = {each.name for each in tmp_path.iterdir()}
    assert made == {"hand_maps", "nilearn_data", "scratch", "stouffer.png"}


def test_nothing_is_written_among_the_downloads(
    sites: SearchResult, data_dir: Path, tmp_path: Path
) -> None:
    sites.read()
    before = sorted(data_dir.rglob("*"))
    studyset = ImageTransformer("p").transform(hand_over(sites, tmp_path / "maps"))
    homes = {Path(path).parent for path in studyset.get_images("p")}
    assert homes == {tmp_path / "maps"}
    assert sorted(data_dir.rglob("*")) == before


def effects_archive() -> Archive:
    """Beta maps with their variance, three studies of two contrasts."""
    archive = Archive()
    for home in (1, 2, 3):
        archive.add_collection(f"Study {home}", id=home)
        for place, contrast in enumerate(("faces", "houses")):
            for offset, kind in enumerate(("univariate-beta map", "variance")):
                number = 100 * home + 10 * place + offset
                draw = np.random.default_rng(number)
                data = draw.uniform(0.5, 1.5, SPACES[SPACE][0])
                image = nibabel.Nifti1Image(data.astype("f4"), affine_of(SPACE))
                archive.add_image(
                    home,
                    gzip.compress(image.to_bytes(), 1),
                    id=number,
                    map_type=kind,
                    number_of_subjects=10 * home,
                    contrast_definition=contrast,
                )
    return archive


@pytest.fixture(scope="module")
def effects() -> Iterator[NeuroVaultServer]:
    with NeuroVaultServer(effects_archive()) as running:
        yield running


def test_beta_maps_find_their_variance(
    effects: NeuroVaultServer, data_dir: Path
) -> None:
    terms = {"contrast_definition": "faces"}
    result = search(
        collection_ids=[1, 2, 3],
        image_terms=terms,
        grid=12,
        url=effects.url,
        data_dir=data_dir,
    )
    studyset = result.to_nimare(contrast="contrast_definition")
    assert studyset.ids.tolist() == ["1-100_101", "2-200_201", "3-300_301"]
    found = DerSimonianLaird().fit(studyset).maps["est"]
    cube = result.to_matrix().fillna(0).values.reshape(3, 2, -1)
    there = (cube != 0).all(axis=(0, 1))
    assert there.sum() > 500
    low, high = cube[:, 0, there].min(axis=0), cube[:, 0, there].max(axis=0)
    assert np.all((low <= found[there]) & (found[there] <= high))


def test_beta_maps_alone_will_do_for_some_methods(
    effects: NeuroVaultServer, data_dir: Path
) -> None:
    result = search(
        image_ids=[100, 200, 300], grid=12, url=effects.url, data_dir=data_dir
    )
    found = SampleSizeBasedLikelihood().fit(result.to_nimare()).maps["est"]
    values = result.to_matrix().fillna(0).values
    there = (values != 0).all(axis=0)
    assert np.nanmax(np.abs(found[there] - 1)) < 0.6


# ---- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([1405, 10411], r"1 of 2 .*: 1405 \(map_type is 'anatomical'.*Z maps, T maps"),
        ([1401], r"1401 \(map_type is not given"),
        ([32015, 32016], r"32015, 32016 \(analysis_level is 'single-subject'"),
        ([48020], r"48020 \(is_thresholded is true"),
    ],
)
def test_what_cannot_be_combined_is_refused(
    server: NeuroVaultServer, data_dir: Path, ids: list[int], text: str
) -> None:
    result = search(image_ids=ids, url=server.url, data_dir=data_dir)
    with pytest.raises(UnsuitableError, match=text) as caught:
        result.to_nimare()
    refused = [number for number in ids if number != 10411]
    assert [failure.id for failure in caught.value.failures] == refused
    assert result.failures.id.tolist() == refused
    assert result.missing() == ids, "nothing is downloaded for that"


def test_missing_sample_sizes_are_refused(
    fresh_server: NeuroVaultServer, data_dir: Path, tmp_path: Path
) -> None:
    archive = fresh_server.archive
    archive.edit_image(10411, number_of_subjects=None)
    archive.edit_image(10413, number_of_subjects=0)
    archive.edit_image(10414, number_of_subjects=1)
    given = {"grid": 12, "url": fresh_server.url, "data_dir": data_dir}
    result = search(image_ids=SITES, **given)
    with pytest.raises(
        UnsuitableError,
        match=r"3 of 5 .*10411 \(number_of_subjects is not given; "
        r"give require_sample_sizes=False.*10413 \(.*T map becomes no Z map.*10414",
    ):
        result.to_nimare()
    some = result.search(image_ids=[10411, 10412])
    studyset = hand_over(some, tmp_path / "maps", require_sample_sizes=False)
    assert len(studyset) == 2
    assert len(studyset.metadata.sample_sizes.dropna()) == 1


def test_with_another_policy_the_rest_is_combined(
    server: NeuroVaultServer, data_dir: Path, tmp_path: Path
) -> None:
    given = {"grid": 12, "url": server.url, "data_dir": data_dir}
    ids = [1405, 2201, 10411, 10412]
    result = search(image_ids=ids, errors="skip", **given)
    studyset = hand_over(result, tmp_path / "maps")
    assert studyset.ids.tolist() == ["10411-10411", "10412-10412"]
    assert sorted(result.failures.id) == [1405, 2201]
    result = search(image_ids=[1405, 10411, 10412], errors="warn", **given)
    with pytest.warns(NeuroVaultWarning, match=r"1 thing .* NiMARE.*image 1405"):
        hand_over(result, tmp_path / "maps")


def test_maps_without_a_value_in_the_mask_are_refused(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    nothing = np.zeros(SPACES[SPACE][0], "f4")
    image = nibabel.Nifti1Image(nothing, affine_of(SPACE))
    fresh_server.archive.add_image(
        658,
        gzip.compress(image.to_bytes(), 1),
        id=5,
        number_of_subjects=20,
    )
    ids = [5, 10411]
    result = search(image_ids=ids, grid=12, url=fresh_server.url, data_dir=data_dir)
    with pytest.raises(UnsuitableError, match=r"5 \(no voxel inside the mask"):
        result.to_nimare()


def test_if_nothing_is_left_it_says_so(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    given = {"url": server.url, "data_dir": data_dir, "errors": "skip"}
    result = search(image_ids=[1405], **given)
    with pytest.raises(EmptyResultError, match=r"First: image 1405 .*'anatomical'"):
        result.to_nimare()
    result = search(image_ids=[2201], **given)
    with pytest.raises(EmptyResultError, match="no file could be had"):
        result.to_nimare()


def test_arguments_that_cannot_be_are_refused(
    sites: SearchResult, tmp_path: Path
) -> None:
    with pytest.raises(ArgumentError, match="study='site' is no field"):
        sites.to_nimare(study="site")
    with pytest.raises(UnsuitableError, match=r"several of the images .* of one kind"):
        sites.to_nimare(contrast="contrast_definition")
    with pytest.raises(GridError, match="grid='mni152-2mm'"):
        sites.search(grid=None).to_nimare()
    with pytest.raises(ArgumentError, match=r"fill_value=1\.0 would be taken"):
        sites.search(fill_value=1).to_nimare()
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="give another folder"):
        sites.to_nimare(tmp_path / "file" / "maps", study="id")
