"""Parts of a volume: what is read of its file, and what comes of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.cuts import Cut, Picked, Window

SHAPE = (7, 9, 5)
VOLUME = np.random.default_rng(0).standard_normal(SHAPE, dtype="f4")
FILE = VOLUME.tobytes(order="F")


def read(cut: Cut | Picked, file: bytes) -> tuple[Any, int]:
    """Read a part twice through one window; give it, and the bytes read once."""
    block, window, taken = cut.empty(2), Window(cut), 0
    for row in (block[0, ...], block[1, ...]):
        row[...] = np.nan
        taken = 0
        for first, memory in window.stretches(row):
            memory[:] = file[4 * first : 4 * first + len(memory)]
            taken += len(memory)
        window.settle(row)
    np.testing.assert_array_equal(block[0], block[1])
    return block[1], taken


def indices(size: int) -> st.SearchStrategy[Any]:
    places = st.integers(-size, size - 1)
    several = st.lists(places, min_size=1, max_size=4)
    return st.one_of(places, st.slices(size), several, several.map(np.array))


@given(key=st.tuples(*map(indices, SHAPE)))
def test_what_is_read_is_what_is_taken(key: tuple[Any, ...]) -> None:
    cut = Cut(SHAPE, key)
    part, _ = read(cut, FILE)
    expected = VOLUME
    for axis in (2, 1, 0):
        expected = np.take(expected, np.arange(SHAPE[axis])[key[axis]], axis=axis)
    np.testing.assert_array_equal(part, expected)
    np.testing.assert_array_equal(cut.take(VOLUME), expected)
    assert part.shape == cut.part


LARGE = (61, 73, 61)
PLANE = 61 * 73 * 4
ALL = slice(None)


@pytest.mark.parametrize(
    ("key", "most"),
    [
        ((30, 40, 20), 4),
        ((slice(30, 36), slice(40, 46), slice(20, 26)), 6 * (5 * 61 + 6) * 4),
        (([5, 8], [40], [3, 60, 3]), 2 * 4 * 4),
        ((ALL, ALL, 20), PLANE),
        ((ALL, ALL, slice(0, 60, 20)), 3 * PLANE),
        ((ALL, ALL, slice(60, 57, -1)), 3 * PLANE),
        ((ALL, 40, 20), 61 * 4),
        ((slice(0, 0), ALL, ALL), 0),
        ((ALL, ALL, ALL), 61 * PLANE),
    ],
)
def test_no_more_is_read_than_lies_between(key: tuple[Any, ...], most: int) -> None:
    volume = np.random.default_rng(1).standard_normal(LARGE, dtype="f4")
    cut = Cut(LARGE, key)
    part, taken = read(cut, volume.tobytes(order="F"))
    assert taken == most
    np.testing.assert_array_equal(part, cut.take(volume))


def test_adjoining_parts_are_read_at_once() -> None:
    cut = Cut(LARGE, (ALL, slice(1, 72), slice(3, 9)))
    [(first, memory)] = Window(cut).stretches(cut.empty(1)[0, ...])
    assert first == 61 + 3 * 61 * 73
    assert len(memory) == 5 * PLANE + 61 * 71 * 4


def test_a_whole_volume_is_read_into_its_place() -> None:
    cut = Cut(LARGE, (ALL, slice(0, 73), slice(None, None, 1)))
    assert cut.whole
    row = cut.empty(1)[0, ...]
    [(first, memory)] = Window(cut).stretches(row)
    assert first == 0
    assert np.shares_memory(np.frombuffer(memory, "f4"), row)


@pytest.mark.parametrize(
    "key", [(0, ALL, ALL), (slice(1, 61), ALL, ALL), (slice(None, None, -1), ALL, ALL)]
)
def test_a_part_is_not_the_whole(key: tuple[Any, ...]) -> None:
    assert not Cut(LARGE, key).whole


# ---- single voxels ---------------------------------------------------------------

NUMBERS = st.lists(st.integers(0, VOLUME.size - 1), min_size=1, max_size=20)


@given(numbers=NUMBERS)
def test_picked_voxels_are_read_and_taken_in_their_order(numbers: list[int]) -> None:
    picked = Picked(SHAPE, np.array(numbers))
    expected = VOLUME.ravel()[numbers]
    part, _ = read(picked, FILE)
    np.testing.assert_array_equal(part, expected)
    for volume in (VOLUME, np.asfortranarray(VOLUME), VOLUME[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(picked.take(volume), expected)
    assert part.shape == picked.part


def test_no_more_than_the_box_of_the_picked_is_read() -> None:
    volume = np.random.default_rng(1).standard_normal(LARGE, dtype="f4")
    inside = np.zeros(LARGE, dtype=bool)
    inside[30:36, 40:46, 20:26] = volume[30:36, 40:46, 20:26] > 0
    picked = Picked(LARGE, np.flatnonzero(inside))
    part, taken = read(picked, volume.tobytes(order="F"))
    assert taken == 6 * (5 * 61 + 6) * 4
    np.testing.assert_array_equal(part, volume[inside])


def test_all_voxels_may_be_picked() -> None:
    picked = Picked(SHAPE, np.arange(VOLUME.size))
    part, taken = read(picked, FILE)
    assert taken == len(FILE)
    np.testing.assert_array_equal(part, VOLUME.ravel())
