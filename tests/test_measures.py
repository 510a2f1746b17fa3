"""Numbers of single volumes, and the sentences that they give rise to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from intake_neurovault.measures import MEASURES, measure
from intake_neurovault.remarks import remarks_on

SHAPE = (3, 4, 2)
VALUES = st.sampled_from([0.0, 0.5, 1.0, -2.0, 3.004, 70000.0, np.nan, np.inf, -np.inf])


def measured(volume: Any, inside: Any, room: float | None = None) -> dict[str, float]:
    room = float(np.count_nonzero(inside)) if room is None else room
    return dict(zip(MEASURES, measure(volume, inside, room).tolist(), strict=True))


def slowly(volume: Any, inside: Any) -> dict[str, float]:
    """Measure voxel by voxel."""
    voxels = [float(v) for v in volume.ravel()]
    finite = [v for v in voxels if np.isfinite(v)]
    valued = [v for v in finite if v != 0]
    whole = [v for v in valued if abs(v - round(v)) <= 0.01 and 0 < abs(v) < 2**16]
    within = [
        v
        for v, there in zip(voxels, inside.ravel(), strict=True)
        if there and np.isfinite(v) and v != 0
    ]

    def share(some: list[float], of: int) -> float:
        return len(some) / of if of else np.nan

    return {
        "minimum": min(finite, default=np.nan),
        "maximum": max(finite, default=np.nan),
        "mean": float(np.mean(valued)) if valued else np.nan,
        "std": float(np.std(valued)) if valued else np.nan,
        "zeros": share([v for v in voxels if v == 0], len(voxels)),
        "nan": 1 - share(finite, len(voxels)),
        "positive": share([v for v in valued if v > 0], len(valued)),
        "whole": share(whole, len(valued)),
        "outside": 1 - share(within, len(valued)),
        "coverage": share(within, int(inside.sum())),
    }


@given(
    volume=arrays("f4", SHAPE, elements=VALUES),
    inside=arrays(bool, SHAPE),
    order=st.sampled_from("CF"),
)
def test_numbers_are_those_counted_voxel_by_voxel(
    volume: Any, inside: Any, order: Any
) -> None:
    found = measured(np.array(volume, order=order), inside)
    expected = slowly(volume, inside)
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-9, nan_ok=True)


def test_each_of_many_volumes_is_measured_for_itself() -> None:
    volumes = np.random.default_rng(0).standard_normal((5, 2, *SHAPE), dtype="f4")
    inside = np.random.default_rng(1).random(SHAPE) > 0.5
    found = measure(volumes, inside, 10)
    assert found.shape == (5, 2, len(MEASURES))
    np.testing.assert_array_equal(found[3, 1], measure(volumes[3, 1], inside, 10))


def test_what_of_a_mask_is_beyond_the_edges_is_not_covered() -> None:
    inside = np.ones(SHAPE, bool)
    assert measured(np.ones(SHAPE), inside, room=48)["coverage"] == 0.5


USUAL = {
    "minimum": -4.0,
    "maximum": 6.0,
    "mean": 0.1,
    "std": 1.0,
    "zeros": 0.7,
    "nan": 0.0,
    "positive": 0.5,
    "whole": 0.01,
    "outside": 0.02,
    "coverage": 0.98,
}
P, INVERTED = "P map (given null hypothesis)", '1-P map ("inverted" probability)'
LOW = {"minimum": 0.0, "maximum": 1.0, "positive": 1.0}
SAYINGS: list[tuple[dict[str, float], str, str]] = [
    ({}, "Z map", ""),
    ({}, "univariate-beta map", ""),
    ({"zeros": 1.0, "std": np.nan}, "Z map", "All voxels are zero."),
    ({"nan": 1.0, "std": np.nan}, "Z map", "No voxel has a finite value."),
    ({"nan": 0.3, "std": np.nan}, "Z map", "All voxels are zero or NaN."),
    (
        {"coverage": 0.394},
        "Z map",
        "Only 39% of the mask has values: the map is thresholded, sparse or of a small "
        "field of view.",
    ),
    ({"coverage": 0.4}, "Z map", ""),
    ({"coverage": 0.004}, "ROI/mask", ""),
    (
        {"coverage": 0.004},
        "T map",
        "Less than 1% of the mask has values: the map is thresholded, sparse or of a "
        "small field of view.",
    ),
    (
        {"coverage": 0.0, "outside": 1.0},
        "Z map",
        "All values are outside the mask: the map lies elsewhere.",
    ),
    # As NeuroVault decides whether a map is in MNI space.
    ({"coverage": 0.95, "outside": 0.7}, "Z map", ""),
    ({"coverage": 0.8, "outside": 0.19}, "Z map", ""),
    (
        {"coverage": 0.8, "outside": 0.21},
        "Z map",
        "21% of the values are outside the mask: the map is perhaps not in MNI space.",
    ),
    ({"coverage": 0.45, "outside": 0.5}, "Z map", ""),
    (
        {"coverage": 0.45, "outside": 0.51},
        "Z map",
        "51% of the values are outside the mask: the map is perhaps not in MNI space.",
    ),
    (
        {"std": 0.0},
        "univariate-beta map",
        "All values are equal: a mask rather than a statistic.",
    ),
    ({"std": 0.0, "whole": 1.0}, "ROI/mask", ""),
    (
        {"whole": 0.93},
        "other",
        "93% of the values are whole numbers: labels or counts rather than a "
        "statistic.",
    ),
    ({"whole": 1.0}, "parcellation", ""),
    ({"whole": 1.0}, "anatomical", ""),
    (
        {"maximum": 51.25},
        "T map",
        "Values from -4 to 51.25 reach beyond ±50: too far for a T map.",
    ),
    ({"maximum": 51.25}, "univariate-beta map", ""),
    (
        {"minimum": -1.9, "maximum": 1.9},
        "Z map",
        "No value reaches ±1.96: effect sizes, correlations or p values rather than a "
        "Z map.",
    ),
    (
        LOW,
        "Z map",
        "All values are between 0 and 1: a map of p values rather than a Z map.",
    ),
    (LOW, P, ""),
    (LOW, INVERTED, ""),
    ({}, P, "Values from -4 to 6: probabilities are 0 to 1."),
    ({**LOW, "maximum": 1.0000001}, P, ""),
    (
        {"minimum": 0.0, "positive": 1.0},
        "Z map",
        "All values are positive: one tail only, or no Z map.",
    ),
    (
        {"maximum": 0.0, "positive": 0.0},
        "T map",
        "All values are negative: one tail only, or no T map.",
    ),
    ({"minimum": 0.0, "positive": 1.0}, "F map", ""),
    ({}, "F map", "Values down to -4: no F map has any below 0."),
    ({}, "variance", "Values down to -4: no variance has any below 0."),
    (
        {"coverage": 0.1, "minimum": 0.0, "positive": 1.0},
        "T map",
        "Only 10% of the mask has values: the map is thresholded, sparse or of a small "
        "field of view. All values are positive: one tail only, or no T map.",
    ),
]


@pytest.mark.parametrize(("change", "kind", "expected"), SAYINGS)
def test_what_is_suspicious_is_said(
    change: dict[str, float], kind: str, expected: str
) -> None:
    assert remarks_on({**USUAL, **change}, kind) == expected


def test_an_atlas_may_be_of_whole_numbers_whatever_it_is_called() -> None:
    assert remarks_on({**USUAL, "whole": 1.0}, None, "atlas") == ""
    assert "whole numbers" in remarks_on({**USUAL, "whole": 1.0}, None)
