"""Interpolation along one axis after the other, held against scipy and nilearn."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from nilearn.image import resample_img
from nilearn.image.resampling import BoundingBoxError
from scipy import linalg, ndimage

from intake_neurovault.axes import LONGEST, ORDERS, Axis, Method, axis_weights
from intake_neurovault.resampling import Resampled, resample
from intake_neurovault.separable import align

METHODS: tuple[Method, ...] = ("continuous", "linear", "nearest")
CLOSE = {"continuous": 1e-5, "linear": 1e-6, "nearest": 0}
"""How far values may be from scipy's, in parts of the map's range."""
IDENTITY = np.eye(4)

every_method = pytest.mark.parametrize("method", METHODS)
sides = st.sampled_from([1, 2, 3, 5, 8, 13])
shapes = st.tuples(sides, sides, sides)


def matrix(
    order: tuple[int, ...], steps: tuple[float, ...], shift: tuple[float, ...]
) -> np.ndarray:
    """Make the affine of a grid whose axes run along x, y and z in some order."""
    affine = np.eye(4)
    affine[:3, :3] = np.diag(steps)[list(order)]
    affine[:3, 3] = shift
    return affine


aligned = st.builds(
    matrix,
    st.permutations(range(3)).map(tuple),
    st.tuples(*[st.sampled_from([1, -1, 2, -2, 0.5, -1.5, 3, 0.7, -3.3, 1 / 3])] * 3),
    st.tuples(*[st.sampled_from([0, 0.5, -0.5, 1, 0.25, 1 / 3, -4, 6, 7.5])] * 3),
)


def maps(*special: float) -> st.SearchStrategy[np.ndarray]:
    usual = st.floats(-8, 8, width=32)
    elements = usual | st.sampled_from(special) if special else usual
    return shapes.flatmap(
        lambda shape: hnp.arrays(np.float32, shape, elements=elements)
    )


def transform(affine: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give what nilearn hands to scipy."""
    both = linalg.inv(affine) @ target
    square = both[:3, :3]
    diagonal = np.diag(square)
    alone = np.array_equal(np.diag(diagonal), square)
    return (diagonal if alone else square), both[:3, 3]


def scipy_says(
    data: np.ndarray,
    affine: np.ndarray,
    target: np.ndarray,
    shape: tuple[int, ...],
    method: Method,
) -> np.ndarray:
    if np.array_equal(affine, target):
        affine = target = IDENTITY
    given_back: np.ndarray = ndimage.affine_transform(
        data,
        *transform(affine, target),
        output_shape=shape,
        order=ORDERS[method],
        cval=np.nan,
    )
    return np.clip(given_back, min(data.min(), 0), max(data.max(), 0))


def check(made: Resampled, expected: np.ndarray, method: Method, span: float) -> None:
    assert np.array_equal(made.outside, np.isnan(expected))
    assert np.array_equal(np.isnan(made.values), made.outside)
    np.testing.assert_allclose(
        made.values, expected, rtol=0, atol=CLOSE[method] * span, equal_nan=True
    )


@every_method
@given(data=maps(), affine=aligned, target=aligned, shape=shapes)
@settings(max_examples=150)
def test_agrees_with_scipy(
    method: Method,
    data: np.ndarray,
    affine: np.ndarray,
    target: np.ndarray,
    shape: tuple[int, int, int],
) -> None:
    assert align(*transform(affine, target), data.shape, shape) is not None
    made = resample(data, affine, target, shape, method)
    span = max(data.max(), 0) - min(data.min(), 0)
    check(made, scipy_says(data, affine, target, shape, method), method, span)


@every_method
@given(data=maps(np.nan, np.inf, -np.inf), affine=aligned, target=aligned, shape=shapes)
@settings(max_examples=50)
def test_agrees_with_nilearn_on_what_is_missing(
    method: Method,
    data: np.ndarray,
    affine: np.ndarray,
    target: np.ndarray,
    shape: tuple[int, int, int],
) -> None:
    # nilearn gives back the image itself, infinite voxels included.
    assume(data.shape != shape or not np.array_equal(affine, target))
    data[0, 0, 0] = 1
    made = resample(data, affine, target, shape, method)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = resample_img(
                nib.Nifti1Image(data, affine), target, shape, interpolation=method
            )
    except BoundingBoxError:
        assert made.outside.all()
        return
    expected = np.asanyarray(image.dataobj)
    ours = np.where(made.outside, np.float32(0), made.values)
    assert np.array_equal(np.isnan(ours), np.isnan(expected))
    np.testing.assert_allclose(ours, expected, rtol=0, atol=CLOSE[method] * 16)


class TestWholeSteps:
    @every_method
    @pytest.mark.parametrize("fine", [0.1, 0.7, 1, 3.3])
    def test_are_exact_though_they_were_rounded(
        self, method: Method, fine: float
    ) -> None:
        data = np.random.default_rng(0).normal(size=(13, 12, 11)).astype("f4")
        affine = matrix((0, 1, 2), (fine, -fine, fine), (fine, 3 * fine, 0))
        target = matrix((0, 1, 2), (3 * fine, fine, -2 * fine), (4 * fine, 0, 6 * fine))
        values, outside = resample(data, affine, target, (4, 3, 4), method)
        expected = data[3::3, 3:0:-1, 6::-2]
        found = ~outside
        assert found[:3, :, :3].all()
        assert np.array_equal(values[found], expected[found])

    @every_method
    def test_give_an_array_of_its_own(self, method: Method) -> None:
        data = np.ones((4, 5, 6), "f4")
        values, _ = resample(data, IDENTITY, IDENTITY, data.shape, method)
        assert not np.shares_memory(values, data)
        assert values.flags.c_contiguous
        assert np.array_equal(values, data)


class TestRange:
    @pytest.mark.parametrize("method", ["continuous", "linear"])
    @pytest.mark.parametrize("size", [3.4e38, 2e37, 1e-32, 1e-36])
    def test_very_large_and_very_small_values(
        self, method: Method, size: float
    ) -> None:
        noise = np.random.default_rng(0).uniform(-1, 1, (9, 8, 7))
        data = (noise * size).astype("f4")
        target = matrix((1, 0, 2), (0.7, -0.7, 1.5), (6, 0, 0.3))
        made = resample(data, IDENTITY, target, (9, 9, 4), method)
        expected = scipy_says(noise, IDENTITY, target, (9, 9, 4), method)
        assert np.array_equal(made.outside, np.isnan(expected))
        np.testing.assert_allclose(made.values / size, expected, rtol=0, atol=2e-5)

    @every_method
    def test_a_map_of_zeros(self, method: Method) -> None:
        data = np.zeros((4, 5, 6), "f4")
        target = matrix((0, 1, 2), (0.5, 0.5, 0.5), (0, 0, 0))
        values, outside = resample(data, IDENTITY, target, (4, 4, 4), method)
        assert not outside.any()
        assert not values.any()


class TestAlign:
    def test_axes_are_told_apart(self) -> None:
        target = matrix((2, 0, 1), (2, -3, 4), (9, 8, 7))
        alignment = align(*transform(IDENTITY, target), (10, 11, 12), (5, 6, 7))
        assert alignment is not None
        assert alignment.order == (1, 2, 0)
        assert alignment.axes == (
            Axis(11, 2, 8, 5, False),
            Axis(12, -3, 7, 6, False),
            Axis(10, 4, 9, 7, False),
        )

    def test_oblique_axes_are_not_parallel(self) -> None:
        target = np.eye(4)
        target[0, 1] = 0.01
        assert align(*transform(IDENTITY, target), (9, 9, 9), (9, 9, 9)) is None

    @every_method
    def test_very_long_axes_need_no_weights(self, method: Method) -> None:
        data = np.random.default_rng(0).normal(size=(LONGEST + 1, 2, 3)).astype("f4")
        target = matrix((0, 1, 2), (1.5, 1, 1), (0.25, 0, 0))
        made = resample(data, IDENTITY, target, (700, 2, 3), method)
        check(made, scipy_says(data, IDENTITY, target, (700, 2, 3), method), method, 9)


class TestWeights:
    def test_are_made_once(self) -> None:
        axis = Axis(21, 1.5, 0.5, 13, True)
        assert axis_weights(axis, "continuous") is axis_weights(axis, "continuous")

    def test_a_cubic_spline_reaches_as_far_as_float32_does(self) -> None:
        blocks = axis_weights(Axis(91, 1.5, 0.0, 61, True), "continuous").blocks
        assert [block.rows.stop for block in blocks] == [21, 41, 61]
        for _, columns, weights in blocks:
            assert weights.dtype == np.float32
            assert weights.shape[1] == columns.stop - columns.start < 64
            assert np.abs(weights[weights != 0]).min() >= 1e-8
            np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=0, atol=1e-6)

    def test_threads_may_ask_at_the_same_time(self) -> None:
        rng = np.random.default_rng(0)
        data = rng.normal(size=(20, 21, 22)).astype("f4")
        targets = [
            matrix((0, 1, 2), (step, -step, 1.1), (0, 20, 0))
            for step in rng.uniform(0.8, 1.2, 6)
        ]

        def run(target: np.ndarray) -> np.ndarray:
            return resample(data, IDENTITY, target, (15, 16, 17), "continuous").values

        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(run, targets * 4))
        alone = [run(target) for target in targets] * 4
        assert all(map(np.array_equal, together, alone))

    @pytest.mark.parametrize("method", ["continuous", "linear"])
    def test_many_lines_are_done_in_parts(self, method: Method) -> None:
        data = np.random.default_rng(0).normal(size=(400, 80, 2)).astype("f4")
        target = matrix((0, 1, 2), (1, 0.3, 1), (0, 0.1, 0))
        made = resample(data, IDENTITY, target, (400, 263, 2), method)
        expected = scipy_says(data, IDENTITY, target, (400, 263, 2), method)
        check(made, expected, method, 9)
