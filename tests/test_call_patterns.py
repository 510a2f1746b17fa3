"""The ten ways in which NeuroVault is used in public code, each to its next step.

The bodies are what people write; of their imports only ``nilearn.datasets`` has
become ``intake_neurovault``. None of them names a server or a folder: both come from
the environment, as do nilearn's.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nibabel
import numpy as np
import pandas as pd
import pytest
import requests
from joblib import Parallel, delayed
from nilearn import plotting
from nilearn.datasets import load_fsaverage, load_mni152_template
from nilearn.glm.second_level import SecondLevelModel
from nilearn.image import (
    concat_imgs,
    load_img,
    math_img,
    mean_img,
    new_img_like,
    resample_to_img,
    smooth_img,
)
from nilearn.maskers import NiftiMasker
from nilearn.surface import vol_to_surf
from scipy import stats
from sklearn.decomposition import FastICA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from studies import point_us_at

from intake_neurovault import (
    Contains,
    NeuroVaultWarning,
    Pattern,
    fetch_neurovault,
    fetch_neurovault_ids,
    fetch_neurovault_motor_task,
    search,
)
from intake_neurovault.testing import NeuroVaultServer, Volume, sample_archive

STOP_IDS = (151, 3041, 3042, 2676, 2675, 2818, 2834)
"""The maps of response inhibition of nilearn's example of a meta-analysis."""

pytestmark = [
    # Advice of nilearn's maskers, to whoever uses them.
    pytest.mark.filterwarnings("ignore:boolean values for 'standardize':FutureWarning"),
    pytest.mark.filterwarnings("ignore:imgs are being resampled to:UserWarning"),
]


@pytest.fixture(scope="module")
def public() -> Iterator[NeuroVaultServer]:
    """Serve the sample archive, with more of the collections that people name."""
    archive = sample_archive()
    archive.add_collection("stop signal", id=11)
    for place, number in enumerate(STOP_IDS):
        archive.add_image(
            11,
            Volume("spm3", number, "fear", height=5.0),
            id=number,
            name=f"stop vs go {place}",
            map_type="Z map" if place < 2 else "T map",
            number_of_subjects=14 + place,
        )
    archive.add_collection("HCP", id=4337)
    for subject in range(8):
        for place, task in enumerate(("LANGUAGE", "MOTOR")):
            archive.add_image(
                4337,
                Volume("mni6", 7000 + subject, ("language", "motor")[place], 4.0),
                id=51_000 + 2 * subject + place,
                name=f"{100_307 + subject}_tfMRI_{task}_STORY",
                map_type="Z map",
                task=task,
                cognitive_paradigm_cogatlas="language processing fMRI task paradigm",
                contrast_definition="STORY vs MATH" if place == 0 else "hand vs tongue",
                number_of_subjects=1,
            )
    with NeuroVaultServer(archive) as running:
        yield running


@pytest.fixture
def settings(
    public: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """What a user has in the environment: a server, and nilearn's folder."""
    point_us_at(public.url, monkeypatch)
    monkeypatch.setenv("NILEARN_DATA", str(data_dir))
    return data_dir / "neurovault"


@pytest.fixture(scope="module")
def brain() -> Any:
    """A mask of the brain, as maskers take it; coarse, to be quick."""
    template = load_mni152_template(resolution=5)
    return new_img_like(template, (template.get_fdata() > 0).astype("uint8"))


def test_1_the_motor_map_is_drawn_and_projected(settings: Path) -> None:
    motor_images = fetch_neurovault_motor_task()
    stat_img = motor_images.images[0]

    display = plotting.plot_stat_map(stat_img, threshold=3, title="motor")
    assert len(display.axes) == 3
    plotting.plot_glass_brain(stat_img, threshold=3)
    template = load_mni152_template(resolution=4)
    resampled = resample_to_img(stat_img, template, force_resample=True)
    assert resampled.shape == template.shape
    fsaverage = load_fsaverage("fsaverage5")
    texture = vol_to_surf(stat_img, fsaverage["pial"].parts["right"])
    assert texture.shape == (10242,)
    assert np.nanmax(texture) > 3


def test_2_a_collection_is_fetched_and_read_back_by_glob(
    settings: Path, brain: Any
) -> None:
    fetch_neurovault(max_images=np.inf, mode="download_new", collection_id=1952)
    fetch_neurovault_ids(collection_ids=[1952])

    paths = sorted(settings.glob("collection_1952/image_*.nii.gz"))
    assert len(paths) == 12
    masker = NiftiMasker(mask_img=brain).fit()
    rows = Parallel(n_jobs=2, prefer="threads")(
        delayed(masker.transform)(str(path)) for path in paths
    )
    maps = np.vstack([np.atleast_2d(row) for row in rows])
    assert maps.shape == (12, int(brain.get_fdata().sum()))
    assert np.isfinite(maps).all()
    assert (maps.std(axis=1) > 0.1).all()


def test_3_studies_become_a_table_and_a_classifier(settings: Path, brain: Any) -> None:
    nv_ids = {"hcp": 4337, "brainpedia": "1952"}
    rows = []
    for study, collection_id in nv_ids.items():
        data = fetch_neurovault_ids(collection_ids=[collection_id], verbose=10)
        for z_map, meta in zip(data["images"], data["images_meta"], strict=True):
            contrast = meta["contrast_definition"]
            subject = re.search(r"sub-\d+|^\d+", meta["name"])
            assert subject is not None
            rows.append([z_map, study, subject[0], meta["task"], contrast])
    frame = pd.DataFrame(
        rows, columns=["z_map", "study", "subject", "task", "contrast"]
    )
    assert frame.groupby("study").size().to_dict() == {"brainpedia": 12, "hcp": 16}

    hcp = frame[frame.study == "hcp"]
    masker = NiftiMasker(mask_img=brain)
    maps = masker.fit().transform(list(hcp.z_map))
    classifier = make_pipeline(StandardScaler(), LogisticRegression())
    scores = cross_val_score(classifier, maps, hcp.task, cv=4)
    assert scores.mean() > 0.9


def test_4_a_few_maps_are_compared(settings: Path) -> None:
    images = fetch_neurovault_ids(image_ids=[10411, 10414, 10430]).images
    assert [Path(path).name for path in images] == [
        "image_10411.nii.gz",
        "image_10414.nii.gz",
        "image_10430.nii.gz",
    ]
    maps = [load_img(path).get_fdata() for path in images]

    def dice(one: np.ndarray, other: np.ndarray) -> float:
        first, second = one > 2.5, other > 2.5
        return 2 * (first & second).sum() / (first.sum() + second.sum())

    assert dice(maps[0], maps[1]) > 2 * dice(maps[0], maps[2])
    similar = np.corrcoef([each.ravel() for each in maps])
    assert similar[0, 1] > similar[0, 2]
    hand = maps[0] > 3
    assert maps[1][hand].mean() > maps[2][hand].mean()


def test_5_maps_are_combined_by_stouffers_method(settings: Path) -> None:
    nv_data = fetch_neurovault_ids(image_ids=STOP_IDS)
    images_meta = nv_data["images_meta"]
    assert tuple(meta["id"] for meta in images_meta) == STOP_IDS

    z_imgs = []
    for this_meta, path in zip(images_meta, nv_data["images"], strict=True):
        t_img = load_img(path)
        if this_meta["map_type"] == "Z map":
            z_imgs.append(t_img)
            continue
        deg_of_freedom = this_meta["number_of_subjects"] - 2
        p_vals = stats.t.cdf(t_img.get_fdata(), df=deg_of_freedom)
        p_vals[p_vals > 1 - 1e-16] = 1 - 1e-16
        z_imgs.append(new_img_like(t_img, stats.norm.isf(1 - p_vals)))
    plotting.plot_glass_brain(z_imgs[0], title="one of the IMA maps")
    meta_analysis_img = math_img(
        f"np.sum(imgs, axis=3) / np.sqrt({len(z_imgs)})", imgs=concat_imgs(z_imgs)
    )
    display = plotting.plot_stat_map(
        meta_analysis_img, display_mode="z", threshold=6, cut_coords=1, vmax=12
    )
    assert len(display.axes) == 1
    combined = meta_analysis_img.get_fdata()
    assert combined.max() > max(np.nanmax(each.get_fdata()) for each in z_imgs)


def test_6_components_of_many_maps_get_words(settings: Path, brain: Any) -> None:
    nv_data = fetch_neurovault(max_images=30, fetch_neurosynth_words=True)
    images = nv_data["images"]
    term_weights = nv_data["word_frequencies"]
    vocabulary = nv_data["vocabulary"]
    assert term_weights.shape == (len(images), len(vocabulary)) == (30, len(vocabulary))
    term_weights[term_weights < 0] = 0
    total_scores = np.mean(term_weights, axis=0)
    assert vocabulary[np.argsort(total_scores)[::-1]][0] in vocabulary

    masker = NiftiMasker(mask_img=brain, memory=None, memory_level=0, verbose=0).fit()
    n_voxels = masker.n_elements_
    X, is_usable = [], np.ones(len(images), dtype=bool)  # noqa: N806
    for index, image_path in enumerate(images):
        image = smooth_img(image_path, fwhm=None)
        try:
            X.append(masker.transform(image).reshape(n_voxels))
        except Exception:  # noqa: BLE001
            is_usable[index] = False
    X = np.vstack(X)  # noqa: N806
    term_weights = term_weights[is_usable, :]
    assert is_usable.sum() > 25

    fast_ica = FastICA(n_components=4, random_state=0, max_iter=1000, tol=0.01)
    ica_maps = fast_ica.fit_transform(X.T).T
    term_weights_for_components = np.dot(fast_ica.components_, term_weights)
    assert ica_maps.shape == (4, X.shape[1])
    for component, ic_map in enumerate(ica_maps):
        ic_img = masker.inverse_transform(ic_map)
        ic_threshold = stats.scoreatpercentile(np.abs(ic_map), 90)
        important = vocabulary[np.argsort(term_weights_for_components[component])[-3:]]
        title = f"{', '.join(important[::-1])}"
        plotting.plot_stat_map(ic_img, threshold=ic_threshold, title=title)
    assert len(plt.get_fignums()) == 4


def test_7_the_whole_archive_becomes_a_table(
    settings: Path, public: NeuroVaultServer, tmp_path: Path
) -> None:
    whole = {"max_images": None, "collection_terms": {}, "image_terms": {}}
    with pytest.warns(NeuroVaultWarning, match="could not be fetched"):
        data = fetch_neurovault(**whole, mode="download_new", retries=0)
    table = pd.DataFrame(data.images_meta)
    table[table.collection_id != 2138].to_csv(tmp_path / "metadata.csv")
    again = pd.read_csv(tmp_path / "metadata.csv", index_col=0)
    whole_files = [
        number
        for number, record in public.archive.images.items()
        if record["collection_id"] != 22 and record["collection_id"] != 9001
    ]
    assert set(whole_files) <= set(again.id) | {2138}
    assert set(again.id) < set(public.archive.images)
    public.clear_requests()
    offline = fetch_neurovault(**whole, mode="offline")
    assert public.requests == []
    assert pd.DataFrame(offline.images_meta).id.tolist() == table.id.tolist()


def test_8_one_task_goes_into_a_second_level_model(settings: Path) -> None:
    hcp = fetch_neurovault(
        collection_id=4337,
        cognitive_paradigm_cogatlas=Contains("language"),
        contrast_definition=Contains("STORY"),
        map_type="Z map",
        task="LANGUAGE",
        max_images=788,
    )
    assert len(hcp.images) == 8
    design = pd.DataFrame({"intercept": np.ones(len(hcp.images))})
    model = SecondLevelModel().fit(hcp.images, design_matrix=design)
    z_map = model.compute_contrast(output_type="z_score")
    average = mean_img(hcp.images, copy_header=True)
    assert z_map.shape == average.shape
    peak = np.unravel_index(np.argmax(average.get_fdata()), average.shape)
    x, y, z = nibabel.affines.apply_affine(average.affine, peak)
    # The largest of the spots that language leaves in the sample maps.
    assert abs(x + 56) < 10
    assert abs(y + 42) < 10
    assert abs(z - 4) < 10


def test_9_group_maps_of_a_name_are_combined_by_hand(settings: Path) -> None:
    """NiMARE chooses by a pattern in the name, and turns T maps into Z maps first."""
    chosen = fetch_neurovault(
        collection_terms={"id": 3324},
        image_terms={"analysis_level": "group", "name": Pattern("(?i).*fearful faces")},
        is_thresholded=False,
        resample=True,
        max_images=None,
    )
    assert len(chosen.images) == 3
    z_maps = []
    for path, meta in zip(chosen.images, chosen.images_meta, strict=True):
        data = load_img(path).get_fdata()
        if meta["map_type"] == "T map":
            tail = stats.t.sf(data, meta["number_of_subjects"] - 1)
            data = stats.norm.isf(tail.clip(1e-300, 1 - 1e-16))
        z_maps.append(data)
    assert {each.shape for each in z_maps} == {(61, 73, 61)}
    stouffer = np.sum(z_maps, axis=0) / np.sqrt(len(z_maps))
    x, y, z = nibabel.affines.apply_affine(
        load_img(chosen.images[0]).affine,
        np.unravel_index(np.argmax(stouffer), stouffer.shape),
    )
    # The amygdala.
    assert 14 < abs(x) < 34
    assert abs(y + 4) < 10
    assert abs(z + 20) < 10


def test_10_requests_alone_gives_the_same_files(
    settings: Path, public: NeuroVaultServer
) -> None:
    """What is written without nilearn, and what it becomes here."""
    address = f"{public.url}/api/collections/658/images/?format=json"
    by_hand = {}
    for image in requests.get(address, timeout=10).json()["results"]:
        by_hand[image["id"]] = requests.get(image["file"], timeout=10).content

    result = search(collection_ids=[658])
    files = {number: path.read_bytes() for number, path in result.fetch().items()}
    assert files == by_hand
    assert result.df.id.tolist() == list(by_hand)
    for path in result.fetch().values():
        assert nibabel.load(path).shape == (53, 63, 46)
        assert gzip.decompress(path.read_bytes())
