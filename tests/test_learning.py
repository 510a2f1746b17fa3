"""scikit-learn on matrices, end to end: what was planted is found, and nothing else.

Chance is measured, not assumed: answers are shuffled within each group and the whole
cross-validation is repeated. Maps, shuffles and estimator are seeded or have no chance
in them, so that each number here is the same in every run. The bounds leave room for
other versions of what computes them: by chance one of four contrasts is right, or one
of three subjects, and with twelve maps a single map is a twelfth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from nilearn.maskers import NiftiSpheresMasker
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import (
    GroupKFold,
    LeaveOneGroupOut,
    cross_val_predict,
    permutation_test_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from intake_neurovault import search
from intake_neurovault.result import SearchResult
from intake_neurovault.testing import NeuroVaultServer

SHUFFLES = 19
PLANTED = [(42, -50, -20), (-40, -20, 55), (-32, -58, 46), (-56, -42, 4)]
"""A place of each pattern that the sample archive plants in collection 1952."""
ELSEWHERE = [(0, 56, 20), (-60, -10, -20), (10, 40, -10), (50, 30, 0)]
"""Places within the brain where nothing is planted there."""

Columns = Callable[[SearchResult, dict[str, Any]], xr.DataArray]


@pytest.fixture(scope="module")
def place(
    server: NeuroVaultServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    return {"url": server.url, "data_dir": tmp_path_factory.mktemp("store"), "grid": 6}


@pytest.fixture(scope="module")
def maps(place: dict[str, Any]) -> SearchResult:
    return search(collection_ids=[1952], **place)


@pytest.fixture(scope="module")
def rows(maps: SearchResult) -> pd.DataFrame:
    return maps.df.set_index("id").loc[maps.keys()]


def voxels(maps: SearchResult, place: dict[str, Any]) -> xr.DataArray:
    return maps.to_matrix()


def regions(maps: SearchResult, place: dict[str, Any]) -> xr.DataArray:
    return maps.to_matrix(search(image_ids=[1401], **place))


def spheres(maps: SearchResult, place: dict[str, Any]) -> xr.DataArray:
    return maps.to_matrix(NiftiSpheresMasker(PLANTED, radius=10))


def other_spheres(maps: SearchResult, place: dict[str, Any]) -> xr.DataArray:
    return maps.to_matrix(ELSEWHERE, radius=10)


def judged(
    matrix: xr.DataArray, answers: pd.Series[Any], groups: pd.Series[Any], folds: Any
) -> tuple[float, float, float]:
    """The score, the best one of shuffled answers, and the share that is as good."""
    score, shuffled, p = permutation_test_score(
        make_pipeline(StandardScaler(), RidgeClassifier()),
        matrix.values,
        answers.to_numpy(dtype=str),
        groups=groups.to_numpy(dtype=str),
        cv=folds,
        n_permutations=SHUFFLES,
        random_state=0,
    )
    return score, shuffled.max(), p


@pytest.mark.parametrize("columns", [voxels, spheres])
def test_contrasts_are_told_apart_in_subjects_never_seen(
    columns: Columns,
    maps: SearchResult,
    rows: pd.DataFrame,
    place: dict[str, Any],
) -> None:
    matrix = columns(maps, place)
    assert matrix.image.values.tolist() == rows.index.tolist()
    score, best, p = judged(matrix, rows.contrast, rows.subject, LeaveOneGroupOut())
    assert score > 0.7
    assert best < score
    assert p == pytest.approx(1 / (SHUFFLES + 1))


def test_regions_tell_them_apart_better_than_shuffled_ones(
    maps: SearchResult, rows: pd.DataFrame, place: dict[str, Any]
) -> None:
    matrix = regions(maps, place)
    assert matrix.shape == (12, 12)
    score, _, p = judged(matrix, rows.contrast, rows.subject, LeaveOneGroupOut())
    assert score > 0.45
    assert p < 0.1


@pytest.mark.parametrize("columns", [voxels, other_spheres])
def test_what_is_not_there_is_not_found(
    columns: Columns,
    maps: SearchResult,
    rows: pd.DataFrame,
    place: dict[str, Any],
) -> None:
    # Noise is drawn anew for each map, so that none tells whose it is.
    matrix = columns(maps, place)
    score, best, p = judged(matrix, rows.subject, rows.contrast, GroupKFold(4))
    assert score < best
    assert score < 0.6
    assert p > 0.1


def test_emotions_are_told_apart_in_laboratories_never_seen(
    place: dict[str, Any],
) -> None:
    # Four laboratories, each with its own grid and one map of each kind.
    maps = search(collection_ids=[3324], image_terms={"is_thresholded": False}, **place)
    rows = maps.df.set_index("id").loc[maps.keys()]
    matrix = maps.to_matrix()
    afraid = rows.index.isin([48000, 48003, 48005, 48006])
    decoder = make_pipeline(StandardScaler(), RidgeClassifier())
    found = cross_val_predict(
        decoder,
        matrix.values,
        afraid,
        groups=rows.number_of_subjects,
        cv=LeaveOneGroupOut(),
    )
    assert (found == afraid).sum() >= 7
    decoder.fit(matrix.values, afraid)
    weights = matrix[0].copy(data=decoder[-1].coef_.ravel().astype("f4")).nii.unmask()
    amygdala = weights.sel(x=24, y=-4, z=-20, method="nearest")
    fusiform = weights.sel(x=42, y=-50, z=-20, method="nearest")
    spread = float(np.abs(weights.values[weights.values != 0]).mean())
    assert amygdala > spread
    assert fusiform < -spread
