"""The stack and what keeps maps: kept ones first, one call for all other files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from maps import (
    COARSE,
    CountingOpener,
    FolderOpener,
    MendingOpener,
    record,
    values,
    write,
    write_values,
)

from intake_neurovault.cuts import Stretch
from intake_neurovault.errors import GeometryError, MissingError
from intake_neurovault.nifti import Reader
from intake_neurovault.stack import MapList, MapStack, StackedMap

NUMBERS = range(1, 6)


@dataclass(frozen=True)
class MemoryKeeper:
    """Keeps maps in memory, each as the bytes of a file."""

    kept: dict[int, bytes] = field(default_factory=dict)
    """The maps, by image."""
    lost: set[int] = field(default_factory=set)
    """Images whose maps break off in the middle."""

    def load(
        self, wanted: StackedMap, reader: Reader, stretches: Sequence[Stretch], /
    ) -> bool:
        data = self.kept.get(wanted.image_id)
        for first, memory in stretches if data else ():
            memory[:] = data[4 * first : 4 * first + len(memory)]
        return data is not None and wanted.image_id not in self.lost

    def read(self, wanted: StackedMap, reader: Reader, path: Path, /) -> Any:
        found = reader(path, discrete=wanted.discrete, label=wanted.label)
        self.kept[wanted.image_id] = found.tobytes(order="F")
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_values(tmp_path, NUMBERS)
    return tmp_path


def stack_of(opener: FolderOpener, keeper: MemoryKeeper, **more: Any) -> MapStack:
    maps = MapList.of(StackedMap.of(record(number)) for number in NUMBERS)
    usual: dict[str, Any] = {"grid": COARSE, "reader": Reader(COARSE)}
    return MapStack(maps, opener=opener, keeper=keeper, **{**usual, **more})


@pytest.mark.parametrize(
    "key", [slice(None), (slice(None), 3, 4, 5), ([4, 0], slice(2, 9, 3), [5, 1])]
)
def test_only_what_is_not_kept_is_opened_at_once(key: Any, folder: Path) -> None:
    opener = CountingOpener(folder)
    keeper = MemoryKeeper({2: values(2).tobytes("F"), 5: values(5).tobytes("F")})
    stack = stack_of(opener, keeper)
    expected = stack_of(FolderOpener(folder), MemoryKeeper())[key]
    np.testing.assert_array_equal(stack[key], expected)
    rows = np.arange(5)[key[0] if isinstance(key, tuple) else key] + 1
    assert opener.calls == [[n for n in rows if n not in (2, 5)]]
    np.testing.assert_array_equal(stack[key], expected)
    assert len(opener.calls) == 1


def test_a_map_that_breaks_off_is_made_from_its_file(folder: Path) -> None:
    opener = CountingOpener(folder)
    keeper = MemoryKeeper({2: values(1).tobytes("F")}, lost={2})
    found = stack_of(opener, keeper)[:]
    np.testing.assert_array_equal(found, np.stack([values(n) for n in NUMBERS]))


def test_a_file_that_is_mended_is_kept(folder: Path) -> None:
    (folder / "3.nii.gz").write_bytes(b"<html>")
    keeper = MemoryKeeper()
    stack = stack_of(MendingOpener(folder), keeper)
    np.testing.assert_array_equal(stack[2], values(3))
    assert keeper.kept == {3: values(3).tobytes("F")}


def test_what_has_no_file_is_not_looked_for(folder: Path) -> None:
    maps = MapList.of(map(StackedMap.of, (record(1, file=None), record(2))))
    keeper = MemoryKeeper({1: values(1).tobytes("F")})
    given: dict[str, Any] = {"grid": COARSE, "reader": Reader(COARSE)}
    given |= {"opener": FolderOpener(folder), "keeper": keeper}
    with pytest.raises(MissingError, match=r"image 1 .* has no file on the server"):
        MapStack(maps, **given)[:]
    found = MapStack(maps, **given, errors="warn")[:]
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[1], values(2))


def test_a_map_of_another_shape_is_refused(folder: Path) -> None:
    write(folder, 1, np.zeros((2, 3, 4), dtype="f4"))
    stack = stack_of(FolderOpener(folder), MemoryKeeper(), reader=Reader(None))
    with pytest.raises(GeometryError, match="2×3×4 voxels instead of"):
        stack[0]


def test_the_keeper_does_not_change_what_a_stack_is_called(folder: Path) -> None:
    opener = FolderOpener(folder)
    one, two = (
        stack_of(opener, MemoryKeeper()),
        stack_of(opener, MemoryKeeper({1: b""})),
    )
    assert one.fingerprint == two.fingerprint
    assert one.take([0, 1]).keeper is one.keeper


def test_rows_lie_in_memory_as_in_a_file(folder: Path) -> None:
    for keeper in (MemoryKeeper(), MemoryKeeper({1: values(1).tobytes("F")})):
        block = stack_of(FolderOpener(folder), keeper)[:2]
        assert block[0].flags.f_contiguous
        assert block[1].flags.f_contiguous
