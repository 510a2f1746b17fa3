"""Room for files that can be made again: what goes, and how often somebody looks."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from intake_neurovault.room import Room, touch

RULES = "mni152-3mm_continuous_" + "0" * 16
HOUR = 3600


def put(folder: Path, number: int, size: int = 100, used: float = 0.0) -> Path:
    """Write a file that was used so many hours ago."""
    path = folder / RULES / "collection_1" / f"image_{number}.nii"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"0" * size)
    then = time.time() - used * HOUR
    os.utime(path, (then, then - 1000 * HOUR))
    return path


def left(folder: Path) -> list[int]:
    paths = folder.rglob("image_*.nii")
    return sorted(int(path.stem.removeprefix("image_")) for path in paths)


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    for number, used in ((1, 2), (2, 9), (3, 1), (4, 5)):
        put(tmp_path, number, used=used)
    assert Room(tmp_path, limit=400).claim(100)
    assert left(tmp_path) == [1, 3]


def test_nothing_goes_while_there_is_room(tmp_path: Path) -> None:
    for number in range(1, 4):
        put(tmp_path, number)
    assert Room(tmp_path, limit=400).claim(100)
    assert left(tmp_path) == [1, 2, 3]


def test_what_is_larger_than_all_room_has_none(tmp_path: Path) -> None:
    put(tmp_path, 1)
    assert not Room(tmp_path, limit=99).claim(100)
    assert left(tmp_path) == [1]


def test_only_maps_by_name_are_removed_and_links_not_followed(
    tmp_path: Path,
) -> None:
    folder, elsewhere = tmp_path / "gridded", tmp_path / "elsewhere"
    put(elsewhere, 1, used=9)
    notes = put(folder, 2, used=9).with_name("notes.nii")
    notes.write_bytes(b"0" * 500)
    (folder / ("link_" + "1" * 16)).symlink_to(elsewhere / RULES)
    other = folder / "mni152-3mm" / "collection_1" / "image_1.nii"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"0" * 500)
    assert Room(folder, limit=150).claim(100)
    assert left(elsewhere) == [1]
    assert notes.exists()
    assert other.exists()
    assert not (notes.parent / "image_2.nii").exists()


def test_the_folder_is_looked_at_again_after_some_while(tmp_path: Path) -> None:
    room = Room(tmp_path, limit=10_000)
    assert room.claim(100)
    for number in range(99):
        put(tmp_path, number + 1, used=100 - number)
    # Others have filled the folder; this process has not yet added enough to look.
    for number in range(100, 105):
        assert room.claim(100)
        put(tmp_path, number)
    assert len(left(tmp_path)) == 104
    assert room.claim(100)
    put(tmp_path, 105)
    assert len(left(tmp_path)) == 90
    assert left(tmp_path)[0] == 16


def test_use_is_noted_once_an_hour_and_changes_nothing_else(tmp_path: Path) -> None:
    path = put(tmp_path, 1, used=2)
    before = path.stat()
    touch(str(path), before)
    after = path.stat()
    assert after.st_mtime_ns == before.st_mtime_ns
    assert 0 <= time.time() - after.st_atime < HOUR
    touch(str(path), after)
    assert path.stat().st_atime_ns == after.st_atime_ns


def test_a_file_that_is_gone_is_not_touched(tmp_path: Path) -> None:
    path = put(tmp_path, 1, used=2)
    found = path.stat()
    path.unlink()
    touch(str(path), found)
    assert not path.exists()


@pytest.mark.parametrize("name", ["image_1.nii", "gridded"])
def test_a_folder_that_is_none_counts_as_empty(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"0" * 100)
    assert Room(tmp_path / name, limit=100).claim(100)
    assert (tmp_path / name).stat().st_size == 100
