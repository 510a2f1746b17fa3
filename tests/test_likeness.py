"""Pairs of rows that are nearly equal: none missed, none made up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intake_neurovault.likeness import (
    Pairs,
    correlated,
    groups_of,
    pairs_above,
    sketch,
    standardised,
)

VOXELS = 60


def mixed(seed: int, rows: int, noise: float) -> NDArray[np.float32]:
    """Make rows that are mixtures of a few, with either sign, some of them constant."""
    rng = np.random.default_rng(seed)
    few = rng.standard_normal((3, VOXELS)).cumsum(axis=1)
    found = few[rng.integers(0, 3, rows)] * rng.choice([-3, -1, 1, 2], (rows, 1))
    found += noise * rng.standard_normal(found.shape)
    found[rng.random(rows) < 0.1] = rng.choice([0.0, 7.3])
    return found.astype("f4")


def brute_force(rows: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.corrcoef(np.nan_to_num(rows.astype("f8"), posinf=0, neginf=0))


def counting(rows: NDArray[Any]) -> tuple[Callable[[Any], NDArray[Any]], list[int]]:
    """Give rows, and remember which."""
    seen: list[int] = []

    def read(numbers: Any) -> NDArray[Any]:
        seen.extend(numbers.tolist())
        return rows[numbers]

    return read, seen


def beyond(limit: float, first: Any, second: Any, values: Any) -> set[tuple[int, int]]:
    these = values >= limit
    return set(zip(first[these].tolist(), second[these].tolist(), strict=True))


def as_set(pairs: Pairs) -> set[tuple[int, int]]:
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 25),
    noise=st.sampled_from([0.0, 0.01, 0.3, 3.0]),
    threshold=st.floats(0.05, 1),
    groups=st.integers(1, VOXELS),
    at_once=st.integers(1, 30),
)
def test_pairs_are_those_of_all_correlations(
    seed: int, rows: int, noise: float, threshold: float, groups: int, at_once: int
) -> None:
    data = mixed(seed, rows, noise)
    numbers = np.arange(VOXELS) % groups
    found = pairs_above(
        threshold, sketch(data, numbers), data.__getitem__, at_once=at_once
    )
    expected = brute_force(data) if rows > 1 else np.ones((1, 1))
    ones, others = np.triu_indices(rows, 1)
    values = np.abs(expected[ones, others])
    # Within rounding of the threshold either answer is right.
    assert beyond(threshold + 1e-4, ones, others, values) <= as_set(found)
    assert as_set(found) <= beyond(threshold - 1e-4, ones, others, values)
    np.testing.assert_allclose(
        found.correlation, expected[found.first, found.second], atol=1e-5
    )


@given(seed=st.integers(0, 2**32 - 1), groups=st.integers(1, VOXELS))
def test_what_sketches_say_is_never_less_than_the_correlation(
    seed: int, groups: int
) -> None:
    data = mixed(seed, 12, 0.5)
    sketches = sketch(data, np.arange(VOXELS) % groups).astype("f8")
    parts, rests = sketches[:, :-1], sketches[:, -1]
    bound = np.abs(parts @ parts.T) + np.outer(rests, rests)
    assert (bound >= np.abs(np.nan_to_num(brute_force(data))) - 1e-5).all()


def test_rows_that_cannot_be_in_a_pair_are_not_read() -> None:
    rng = np.random.default_rng(3)
    data = rng.standard_normal((200, VOXELS)).cumsum(axis=1)
    data[150] = -data[20]
    read, seen = counting(data)
    sketches = sketch(data, np.arange(VOXELS) // 4)
    found = pairs_above(0.99, sketches, read, at_once=50)
    assert as_set(found) == {(20, 150)}
    assert set(seen) >= {20, 150}
    assert len(set(seen)) < 20


def test_pairs_come_in_order_across_the_tiles_in_which_they_are_looked_for() -> None:
    rng = np.random.default_rng(4)
    few = rng.standard_normal((300, VOXELS))
    data = np.concatenate([few, few, -few[:100], few[:1]])
    read, _ = counting(data)
    found = pairs_above(0.99, sketch(data, np.arange(VOXELS) // 2), read, at_once=64)
    expected = [(i, i + 300) for i in range(300)]
    expected += [(i, i + 600) for i in range(100)]
    expected += [(i + 300, i + 600) for i in range(100)]
    expected += [(0, 700), (300, 700), (600, 700)]
    pairs = list(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert pairs == sorted(expected)
    flipped = (found.second >= 600) & (found.second < 700) | (found.first >= 600)
    np.testing.assert_allclose(found.correlation, np.where(flipped, -1, 1), atol=1e-5)


@pytest.mark.parametrize("at_once", [1, 2, 3, 10])
def test_given_pairs_are_correlated_a_few_at_a_time(at_once: int) -> None:
    data = mixed(5, 9, 1.0)
    data[4] = 2
    first, second = np.triu_indices(9, 1)
    found = correlated(data.__getitem__, first, second, at_once=at_once)
    np.testing.assert_allclose(found, brute_force(data)[first, second], atol=1e-5)
    assert np.isnan(found[(first == 4) | (second == 4)]).all()


def test_what_is_not_finite_counts_as_zero() -> None:
    rows = np.array([[1.0, np.nan, -1, np.inf], [1, 0, -1, 0]])
    one, other = standardised(rows)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(np.linalg.norm(one), 1, rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -7e30, 1e-30])
def test_a_constant_row_becomes_zero(value: float) -> None:
    assert not standardised(np.full((1, 1000), value, dtype="f4")).any()


def test_groups_are_cubes_of_places_that_lie_together() -> None:
    where = np.indices((20, 30, 10)).reshape(3, -1) * 2.0 - 17
    groups = groups_of(where)
    assert set(groups) == set(range(groups.max() + 1))
    assert 500 < groups.max() < 2500
    edge = 29 * 2 / 16
    for number in (0, 77, groups.max()):
        extent = np.ptp(where[:, groups == number], axis=1)
        assert (extent <= edge).all()


def test_one_place_is_a_group() -> None:
    assert groups_of(np.zeros((3, 1))).tolist() == [0]
