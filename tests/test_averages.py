"""Means of volumes that are added up one by one."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from intake_neurovault.averages import Total

VALUES = st.floats(-100, 100, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])
VOLUMES = arrays(np.float32, st.tuples(st.integers(1, 9), st.just(3)), elements=VALUES)


def total_of(volumes: Any) -> Total:
    """Add up volumes that all pass through one row of memory."""
    row = np.empty(volumes.shape[1:], dtype="f4")
    total = Total(row.shape)
    for volume in volumes:
        row[...] = volume
        total.add(row)
    row[...] = 7
    return total


@pytest.mark.parametrize("skipna", [True, False])
@given(volumes=VOLUMES, at=st.integers(0, 9))
def test_it_is_what_numpy_says_wherever_they_are_parted(
    skipna: bool, volumes: Any, at: int
) -> None:
    joined = total_of(volumes[:at]).join(total_of(volumes[at:]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        expected = (np.nanmean if skipna else np.mean)(volumes, axis=0)
    found = joined.mean(skipna=skipna)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_joining_changes_neither() -> None:
    volumes = np.array([[1, np.nan], [3, 4], [np.nan, 6]], dtype="f4")
    one, other = total_of(volumes[:1]), total_of(volumes[1:])
    before = [each.mean(skipna=True) for each in (one, other)]
    assert one.join(other).mean(skipna=True).tolist() == [2, 5]
    after = [each.mean(skipna=True) for each in (one, other)]
    np.testing.assert_array_equal(after, before)


def test_the_mean_of_nothing_is_nan() -> None:
    assert np.isnan(Total((2, 3)).mean(skipna=True)).all()


def test_one_number_of_each_volume_will_do() -> None:
    total = Total(())
    for number in (1, np.nan, 5):
        total.add(np.array(number, dtype="f4"))
    assert total.mean(skipna=True) == 3
    assert np.isnan(total.mean(skipna=False))
