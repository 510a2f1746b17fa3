"""The array that reads what is indexed."""

from __future__ import annotations

import logging
import pickle
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from maps import (
    COARSE,
    FLIPPED,
    CountingOpener,
    FolderOpener,
    MendingOpener,
    StrictOpener,
    record,
    values,
    write,
    write_values,
)

from intake_neurovault.cuts import Cut, Picked
from intake_neurovault.errors import (
    CorruptFileError,
    GeometryError,
    MissingError,
    StoreError,
)
from intake_neurovault.nifti import Reader
from intake_neurovault.records import Image, ImageFile
from intake_neurovault.stack import MapList, MapStack, StackedMap

NUMBERS = range(1, 6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("maps")
    write_values(path, NUMBERS)
    return path


def stack_of(
    folder: Path, *images: Image, opener: Any = FolderOpener, **settings: Any
) -> MapStack:
    maps = MapList.of(map(StackedMap.of, images))
    usual = {"grid": COARSE, "reader": Reader(COARSE), "opener": opener(folder)}
    return MapStack(maps, **{**usual, **settings})


@pytest.fixture(scope="module")
def stack(folder: Path) -> MapStack:
    return stack_of(folder, *(record(n) for n in NUMBERS))


@pytest.fixture(scope="module")
def whole() -> Any:
    return np.stack([values(n) for n in NUMBERS])


def indices(size: int) -> st.SearchStrategy[Any]:
    whole_numbers = st.integers(-size, size - 1)
    return st.one_of(
        whole_numbers, st.slices(size), st.lists(whole_numbers, min_size=1, max_size=4)
    )


@given(key=st.tuples(indices(5), indices(19), indices(22), indices(19)), data=st.data())
def test_indexing_gives_what_numpy_gives_axis_by_axis(
    key: tuple[Any, ...], data: st.DataObject, stack: MapStack, whole: Any
) -> None:
    key = key[: data.draw(st.integers(1, 4))]
    expected = whole
    for axis in reversed(range(len(key))):
        rows = np.arange(whole.shape[axis])[key[axis]]
        expected = np.take(expected, rows, axis=axis)
    found = stack[key]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_it_has_what_an_array_has(stack: MapStack) -> None:
    assert (stack.shape, stack.ndim, stack.dtype) == ((5, 19, 22, 19), 4, np.float32)


@pytest.mark.parametrize(
    ("key", "opened"),
    [
        (2, [[3]]),
        (slice(1, 4), [[2, 3, 4]]),
        ([4, 0], [[5, 1]]),
        ((slice(None), 3, 4, 5), [[1, 2, 3, 4, 5]]),
        (slice(0, 0), []),
    ],
)
def test_one_call_opens_what_is_asked_for(
    key: Any, opened: list[list[int]], folder: Path
) -> None:
    stack = stack_of(folder, *map(record, NUMBERS), opener=CountingOpener)
    stack[key]
    assert stack.opener == CountingOpener(folder)
    assert stack.opener.calls == opened


def test_a_map_is_decoded_before_the_next_file_is_waited_for(folder: Path) -> None:
    order: list[str] = []

    class Telling(Reader):
        def __call__(self, path: Any, **names: Any) -> Any:
            order.append(f"decoded {Path(path).name}")
            return super().__call__(path, **names)

    class Slow(FolderOpener):
        def __call__(
            self, files: Sequence[ImageFile], /, *, doubted: bool = False
        ) -> AbstractContextManager[Iterator[Path | None]]:
            return nullcontext(map(self.arrived, files))

        def arrived(self, file: ImageFile) -> Path:
            order.append(f"arrived {file.image_id}.nii.gz")
            return self.folder / f"{file.image_id}.nii.gz"

    stack = stack_of(folder, *map(record, (2, 5, 1)), opener=Slow)
    replace(stack, reader=Telling(COARSE))[:]
    names = [f"{number}.nii.gz" for number in (2, 5, 1)]
    assert order == [f"{what} {n}" for n in names for what in ("arrived", "decoded")]


def test_memory_is_that_of_the_result_and_one_map(stack: MapStack) -> None:
    one_map = values(1).nbytes
    many = stack.take([0, 1, 2, 3, 4] * 20)
    many[:, 0, 0, 0]
    tracemalloc.start()
    try:
        many[:, 0, 0, 0]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # NOTE: the decoder needs a window and tables, which are as large as a few of
    # these small maps.
    assert peak < 10 * one_map


PARTS = (
    Cut(COARSE.shape, (slice(2, 9), 4, slice(None))),
    Cut(COARSE.shape, (3, 4, 5)),
    Picked(COARSE.shape, np.array([7000, 3, 512])),
)


@pytest.mark.parametrize("part", PARTS)
def test_it_is_read_to_where_it_is_wanted(part: Any, stack: MapStack) -> None:
    memory = np.full((7, *part.part), np.nan, dtype="f4")
    stack.fill(part, memory[1:6])
    expected = np.stack([part.take(values(n)) for n in NUMBERS])
    np.testing.assert_allclose(memory[1:6], expected, rtol=1e-6)
    assert np.isnan(memory[[0, 6]]).all()


@pytest.mark.parametrize("part", PARTS)
def test_maps_are_added_up_as_they_are_read(part: Any, stack: MapStack) -> None:
    expected = np.mean([part.take(values(n)) for n in NUMBERS], axis=0)
    found = stack.total(part).mean(skipna=False)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_adding_up_takes_no_memory_for_each_map(stack: MapStack) -> None:
    whole_map = Cut(COARSE.shape, (slice(None),) * 3)

    def peak(rounds: int) -> int:
        many = stack.take([0, 1, 2, 3, 4] * rounds)
        tracemalloc.start()
        try:
            many.total(whole_map)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)
    assert peak(20) < peak(4) + 2 * values(1).nbytes


def test_labels_are_read_as_labels(folder: Path) -> None:
    labels = np.zeros(FLIPPED.shape, dtype="f4")
    labels[4:12, 5:14, 4:12] = 7
    write(folder, 20, labels, FLIPPED)
    mask, statistic = record(20, map_type="ROI/mask"), record(20)
    assert set(np.unique(stack_of(folder, mask)[0])) == {0, 7}
    assert len(np.unique(stack_of(folder, statistic)[0])) > 100


def test_what_the_opener_does_not_give_is_nan(folder: Path) -> None:
    stack = stack_of(folder, record(1), record(99), record(2))
    block = stack[:]
    assert np.isnan(block[1]).all()
    np.testing.assert_array_equal(block[2], values(2))


def test_what_the_opener_raises_is_raised(folder: Path) -> None:
    stack = stack_of(folder, record(1), record(99), opener=StrictOpener)
    with pytest.raises(CorruptFileError, match="image 99 is truncated"):
        stack[:]


def broken(folder: Path, number: int) -> None:
    write(folder, number, values(number))
    path = folder / f"{number}.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])


def four_dimensional(folder: Path, number: int) -> None:
    write(folder, number, np.zeros((19, 22, 19, 3), dtype="f4"))


def a_folder(folder: Path, number: int) -> None:
    (folder / f"{number}.nii.gz").mkdir()


def another_grid(folder: Path, number: int) -> None:
    write_values(folder, [number], FLIPPED)


FAULTS = [
    (broken, CorruptFileError, r"image 9 \(collection 1\)"),
    (four_dimensional, GeometryError, r"image 9 \(collection 1\).*4 dimensions"),
    (a_folder, StoreError, r"stored file of image 9 \(collection 1\)"),
    (another_grid, GeometryError, r"image 9 \(collection 1\).*16×19×16.*19×22×19"),
]


@pytest.mark.parametrize(("spoil", "error", "match"), FAULTS)
def test_a_file_that_cannot_be_read_is_named(
    spoil: Any, error: type[Exception], match: str, tmp_path: Path
) -> None:
    spoil(tmp_path, 9)
    stack = stack_of(tmp_path, record(9), reader=Reader(None))
    with pytest.raises(error, match=match):
        stack[:]


@pytest.mark.parametrize("policy", ["warn", "skip"])
@pytest.mark.parametrize("spoil", [fault[0] for fault in FAULTS])
def test_a_file_that_cannot_be_read_is_nan_and_logged(
    spoil: Any, policy: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_values(tmp_path, [1])
    spoil(tmp_path, 9)
    images = record(1), record(9)
    stack = stack_of(tmp_path, *images, reader=Reader(None), errors=policy)
    with caplog.at_level(logging.WARNING, logger="intake_neurovault.stack"):
        block = stack[:]
    np.testing.assert_array_equal(block[0], values(1))
    assert np.isnan(block[1]).all()
    assert [r.getMessage().partition(" is NaN")[0] for r in caplog.records] == [
        "All of image 9 (collection 1)"
    ]


def gone(folder: Path, number: int) -> None:
    (folder / f"{number}.nii.gz").unlink()


@dataclass(frozen=True)
class SpoiltOpener(MendingOpener):
    """Gives a file that is spoilt before it is read."""

    spoil: Callable[[Path, int], object] = broken

    def __call__(
        self, files: Sequence[ImageFile], /, *, doubted: bool = False
    ) -> AbstractContextManager[Iterator[Path | None]]:
        paths = super().__call__(files, doubted=doubted)
        if not doubted:
            self.spoil(self.folder, 2)
        return paths


@pytest.mark.parametrize("spoil", [broken, gone])
def test_a_file_that_is_not_whole_is_opened_once_more(
    spoil: Any, tmp_path: Path
) -> None:
    write_values(tmp_path, NUMBERS)
    opener = SpoiltOpener(tmp_path, spoil=spoil)
    stack = stack_of(tmp_path, *map(record, NUMBERS), opener=lambda _: opener)
    block = stack[0:3]
    np.testing.assert_array_equal(block, [values(n) for n in (1, 2, 3)])
    assert opener.calls == [[1, 2, 3], [2]]


@pytest.mark.parametrize("policy", ["raise", "warn"])
@pytest.mark.parametrize("mend", [broken, gone])
def test_a_file_that_stays_broken_is_opened_twice_at_most(
    mend: Any, policy: Any, tmp_path: Path
) -> None:
    write_values(tmp_path, NUMBERS)
    opener = SpoiltOpener(tmp_path, mend=mend)
    images = map(record, NUMBERS)
    stack = stack_of(tmp_path, *images, opener=lambda _: opener, errors=policy)
    if mend is broken and policy == "raise":
        with pytest.raises(CorruptFileError, match="image 2"):
            stack[0:3]
    else:
        block = stack[0:3]
        assert np.isnan(block[1]).all()
        np.testing.assert_array_equal(block[2], values(3))
    assert opener.calls == [[1, 2, 3], [2]]


def test_a_record_without_file_is_named_or_nan(folder: Path) -> None:
    images = record(1), record(30, file=None)
    with pytest.raises(MissingError, match=r"image 30 .* has no file.*errors=\"warn\""):
        stack_of(folder, *images)[:]
    block = stack_of(folder, *images, errors="warn")[:]
    np.testing.assert_array_equal(block[0], values(1))
    assert np.isnan(block[1]).all()


def test_without_any_file_the_opener_is_left_alone(folder: Path) -> None:
    image = record(30, file=None)
    stack = stack_of(folder, image, opener=CountingOpener, errors="skip")
    assert np.isnan(stack[:]).all()
    assert stack.opener == CountingOpener(folder, [])
    assert stack.opener.calls == []


@pytest.mark.parametrize(
    ("positions", "numbers"),
    [
        ([3, 0], [4, 1]),
        ([-1], [5]),
        (np.array([True, False, True, False, False]), [1, 3]),
    ],
)
def test_taking_keeps_the_order_asked_for(
    positions: Any, numbers: list[int], stack: MapStack
) -> None:
    assert [each.image_id for each in stack.take(positions).maps] == numbers


def test_equal_stacks_have_equal_fingerprints_in_any_process(stack: MapStack) -> None:
    copy = pickle.loads(pickle.dumps(stack))
    assert copy == stack
    assert copy.fingerprint == stack.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"modify_date": "2025-01-01"},
        {"file_size": 7},
        {"file": "http://neurovault.org/media/images/1/other.nii.gz"},
        {"map_type": "ROI/mask"},
    ],
)
def test_other_bytes_or_kinds_have_other_fingerprints(
    change: dict[str, Any], folder: Path
) -> None:
    before, after = stack_of(folder, record(1)), stack_of(folder, record(1, **change))
    assert before.fingerprint != after.fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"reader": Reader(COARSE, "linear")},
        {"reader": Reader(COARSE, nan="zero")},
        {"reader": Reader(COARSE, fill_value=float("nan"))},
        {"reader": Reader(None)},
        {"grid": FLIPPED},
        {"errors": "warn"},
    ],
)
def test_other_rules_have_other_fingerprints(
    change: dict[str, Any], stack: MapStack
) -> None:
    assert replace(stack, **change).fingerprint != stack.fingerprint
