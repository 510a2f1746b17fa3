"""Resampling of arrays, held against nilearn's own pieces."""

from __future__ import annotations

import warnings

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from nilearn.image import resample_img
from nilearn.image.resampling import BoundingBoxError

from intake_neurovault.resampling import Method, resample

METHODS: tuple[Method, ...] = ("continuous", "linear", "nearest")
EIGHT = np.diag([8.0, 8, 8, 1])
TEN = np.array([[-10.0, 0, 0, 85], [0, 10, 0, 3], [0, 0, 10, -4], [0, 0, 0, 1]])

affines = st.builds(
    lambda steps, shift: np.block(
        [[np.diag(steps), np.array(shift)[:, None]], [np.zeros(3), 1]]
    ),
    st.tuples(*[st.sampled_from([-3, -2, -1.5, 0.7, 1, 2, 3.3])] * 3),
    st.tuples(*[st.sampled_from([-4, -0.5, 0, 1 / 3, 6])] * 3),
)


def cube(shape: tuple[int, ...] = (12, 11, 10)) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def nilearn_says(
    data: np.ndarray,
    affine: np.ndarray,
    target: np.ndarray,
    shape: tuple[int, ...],
    method: str,
) -> np.ndarray:
    image = nib.Nifti1Image(data, affine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = resample_img(image, target, shape, interpolation=method)
    return np.asanyarray(made.dataobj)


def filled(values: np.ndarray, outside: np.ndarray) -> np.ndarray:
    return np.where(outside, np.float32(0), values)


@pytest.mark.parametrize("method", METHODS)
@given(
    data=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=6),
        elements=st.floats(-8, 8, width=32) | st.sampled_from([np.nan, np.inf]),
    ),
    affine=affines,
    target=affines,
)
@settings(deadline=None, max_examples=60)
def test_agrees_with_nilearn(
    method: Method, data: np.ndarray, affine: np.ndarray, target: np.ndarray
) -> None:
    if not np.isfinite(data).any():
        data[0, 0, 0] = 1
    shape = (5, 6, 7)
    values, outside = resample(data, affine, target, shape, method)
    try:
        expected = nilearn_says(data, affine, target, shape, method)
    except BoundingBoxError:
        assert outside.all()
    else:
        np.testing.assert_allclose(filled(values, outside), expected, atol=8e-6)


class TestNonFinite:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_is_filled_before_and_missing_after(
        self, method: Method, value: float
    ) -> None:
        data = cube()
        data[:3] = value
        data[7, 5, 5] = value
        values, outside = resample(data, EIGHT, TEN, (9, 9, 9), method)
        expected = nilearn_says(data, EIGHT, TEN, (9, 9, 9), method)
        assert np.isnan(expected).any()
        assert np.isfinite(expected).any()
        np.testing.assert_allclose(filled(values, outside), expected, rtol=0, atol=4e-6)

    def test_everywhere(self) -> None:
        data = np.full((4, 4, 4), np.nan, "f4")
        values, outside = resample(data, np.eye(4), np.eye(4), (5, 4, 4), "continuous")
        assert np.isnan(values).all()
        assert outside.sum() == 16


class TestRange:
    def test_no_ringing_beyond_the_map(self) -> None:
        data = np.zeros((9, 9, 9), "f4")
        data[4:] = 5
        fine = np.diag([0.25, 1, 1, 1])
        values, _ = resample(data, np.eye(4), fine, (33, 9, 9), "continuous")
        assert (values.min(), values.max()) == (0, 5)

    def test_zero_belongs_to_the_range(self) -> None:
        data = np.full((4, 4, 4), 7, "f4")
        values, outside = resample(data, np.eye(4), np.eye(4), (6, 4, 4), "linear")
        assert np.isnan(values[4:]).all()
        assert outside[4:].all()
        assert (values[:4] == 7).all()
        assert not outside[:4].any()


class TestArrays:
    @pytest.mark.parametrize("method", METHODS)
    def test_memory_order_does_not_matter(self, method: Method) -> None:
        data = cube()
        first, _ = resample(data, EIGHT, TEN, (9, 9, 9), method)
        again, _ = resample(np.asfortranarray(data), EIGHT, TEN, (9, 9, 9), method)
        assert np.array_equal(first, again, equal_nan=True)
        assert again.flags.c_contiguous
        assert again.dtype == np.float32

    @pytest.mark.parametrize("value", [0, np.nan])
    def test_source_is_not_changed(self, value: float) -> None:
        data = cube()
        data[0] = value
        data.setflags(write=False)
        before = data.copy()
        resample(data, EIGHT, TEN, (9, 9, 9), "continuous")
        assert np.array_equal(data, before, equal_nan=True)

    def test_last_plane_is_inside(self) -> None:
        data = cube((4, 4, 4))
        affine = np.diag([-2.0, 2, 2, 1])
        affine[0, 3] = 6
        values, outside = resample(
            data, affine, np.diag([2.0, 2, 2, 1]), (4, 4, 4), "nearest"
        )
        assert np.array_equal(values, data[::-1])
        assert not outside.any()
