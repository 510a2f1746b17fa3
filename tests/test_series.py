"""The axes behind the three of space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.errors import GeometryError, NeuroVaultWarning
from intake_neurovault.series import arranged, further_axes, times_of


@pytest.mark.parametrize(
    ("shape", "times", "sizes"),
    [
        ((4, 5, 6), None, {}),
        ((4, 5), None, {}),
        ((4, 5, 6, 1, 1), (0.0, 2.0), {}),
        ((4, 5, 6, 7), (0.0, 2.0), {"time": 7}),
        ((4, 5, 6, 7), None, {"volume": 7}),
        ((4, 5, 6, 1, 3), (0.0, 2.0), {"component": 3}),
        ((4, 5, 6, 7, 3, 1, 2), None, {"volume": 7, "component": 3, "dim_7": 2}),
        ((4, 5, 6, 1, 1, 2), None, {"dim_6": 2}),
    ],
)
def test_names(shape: Any, times: Any, sizes: dict[str, int]) -> None:
    found, columns = further_axes(shape, times)
    assert found == sizes
    assert set(columns) == {"time", "volume"} & set(sizes)
    for name, column in columns.items():
        assert column.values.shape == (sizes[name],)


def array(**coords: Any) -> xr.DataArray:
    dims = ["time", "x", "y", "z"] if "time" in coords else ["x", "y", "z"]
    size = len(coords["time"][1]) if "time" in coords else 0
    return xr.DataArray(np.zeros((size, 2, 3, 4)[-len(dims) :]), coords, dims)


@given(
    start=st.floats(0, 100, width=32),
    step=st.floats(0.125, 100, width=32),
    stride=st.integers(1, 3),
)
def test_times_go_there_and_back(start: float, step: float, stride: int) -> None:
    _, columns = further_axes((1, 1, 1, 50), (start, step))
    seconds = columns["time"].values[::stride]
    found = times_of(array(time=("time", seconds, columns["time"].attrs)))
    assert found is not None
    assert np.float32(found[0]) == np.float32(start)
    assert np.float32(found[1]) == np.float32(step * stride)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (("time", [1.0, 3.0, 5.0], {"units": "s"}), (1.0, 2.0)),
        (("time", [1000, 3000], {"units": "ms"}), (1.0, 2.0)),
        (("time", [1.0, 3.0]), (1.0, 2.0)),
        (("time", np.array([500, 1500], "m8[ms]")), (0.5, 1.0)),
        (("time", [1.0, 3.0], {"units": "fortnights"}), None),
        (("time", np.array(["2020-01-01"], "M8[ns]")), None),
        (("time", ["rest", "task"]), None),
        (("time", [0.0, np.nan]), None),
    ],
)
def test_what_is_time(time: Any, expected: Any) -> None:
    assert times_of(array(time=time)) == expected


def test_one_volume_has_no_step() -> None:
    start, step = times_of(array(time=("time", [4.0]))) or (0, 0)
    assert start == 4
    assert np.isnan(step)


def test_volumes_left_out_are_told() -> None:
    with pytest.warns(NeuroVaultWarning, match=r"not evenly .* median step of 2 s"):
        found = times_of(array(time=("time", [0.0, 2.0, 4.0, 8.0])))
    assert found == (0, 2)


@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        (tuple("zyx"), (2, 3, 4)),
        (("image", "z", "y", "x"), (2, 3, 4, 5)),
        (("component", "x", "y", "z"), (2, 3, 4, 1, 5)),
        (("component", "x", "y", "z", "time"), (2, 3, 4, 6, 5)),
        (("dim_6", "x", "y", "z"), (2, 3, 4, 1, 1, 5)),
    ],
)
def test_order(dims: Any, shape: Any) -> None:
    sizes = {"x": 2, "y": 3, "z": 4, "time": 6}
    array = xr.DataArray(np.zeros([sizes.get(dim, 5) for dim in dims]), dims=dims)
    assert arranged(array, ("x", "y", "z")).shape == shape


def test_a_scalar_volume_does_not_stand_in_the_way() -> None:
    array = xr.DataArray(
        np.zeros((2, 3, 4, 2)), {"volume": 7}, dims=["x", "y", "z", "component"]
    )
    assert arranged(array, ("x", "y", "z")).shape == (2, 3, 4, 1, 2)


def test_two_for_the_fourth_place() -> None:
    array = xr.DataArray(np.zeros((2, 2, 2, 2, 2)), dims=["x", "y", "z", "a", "b"])
    with pytest.raises(GeometryError, match=r"has a, b; select from or reduce"):
        arranged(array, ("x", "y", "z"))
