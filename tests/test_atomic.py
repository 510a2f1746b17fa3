"""Whole files or none, also when writers meet or die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from intake_neurovault import atomic


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def umask():
    old = os.umask(0o027)
    yield 0o027
    os.umask(old)


def test_temporary_lies_beside_its_place_and_keeps_the_suffixes(tmp_path):
    with atomic.temporary(tmp_path / "image_1.nii.gz") as part:
        assert part.parent == tmp_path
        assert part.name.startswith(".part-")
        assert part.name.endswith("-image_1.nii.gz")
        assert names(tmp_path) == [part.name]
    assert names(tmp_path) == []


def test_two_temporaries_of_one_file_differ(tmp_path):
    place = tmp_path / "a"
    with atomic.temporary(place) as first, atomic.temporary(place) as second:
        assert first != second


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_temporary_is_removed_after_an_error(tmp_path, error):
    def write_half():
        with atomic.temporary(tmp_path / "a") as part:
            part.write_bytes(b"half")
            raise error(part.name)

    with pytest.raises(error, match=r"-a$"):
        write_half()
    assert names(tmp_path) == []


def test_write_bytes_replaces(tmp_path):
    place = tmp_path / "a.json"
    atomic.write_bytes(place, b"1")
    atomic.write_bytes(place, b"2")
    assert place.read_bytes() == b"2"
    assert names(tmp_path) == ["a.json"]


def test_write_bytes_makes_folders_only_when_asked(tmp_path):
    place = tmp_path / "b" / "c" / "a.json"
    with pytest.raises(FileNotFoundError, match=r"a\.json"):
        atomic.write_bytes(place, b"1")
    atomic.write_bytes(place, b"1", parents=True)
    assert place.read_bytes() == b"1"


def test_failed_write_leaves_what_was_there(tmp_path):
    place = tmp_path / "a"
    place.mkdir()
    (place / "kept").touch()
    with pytest.raises(OSError, match="a"):
        atomic.write_bytes(place, b"1")
    assert names(tmp_path) == ["a"]
    assert names(place) == ["kept"]


def test_permissions_follow_the_umask(tmp_path, umask):
    atomic.create_folder(tmp_path / "c", "m.json", b"{}")
    atomic.write_bytes(tmp_path / "c" / "a", b"")
    modes = {
        name: (tmp_path / name).stat().st_mode & 0o777
        for name in ("c", "c/m.json", "c/a")
    }
    assert modes == {"c": 0o750, "c/m.json": 0o640, "c/a": 0o640}


def test_folder_comes_with_its_file(tmp_path):
    place = tmp_path / "deep" / "collection_1"
    assert atomic.create_folder(place, "m.json", b"first") is True
    assert atomic.create_folder(place, "m.json", b"second") is False
    assert (place / "m.json").read_bytes() == b"first"
    assert names(place.parent) == ["collection_1"]


def test_folder_below_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        atomic.create_folder(tmp_path / "file" / "c", "m.json", b"{}")


def test_folder_in_place_of_a_file(tmp_path):
    (tmp_path / "c").touch()
    with pytest.raises(OSError, match="c"):
        atomic.create_folder(tmp_path / "c", "m.json", b"{}")
    assert names(tmp_path) == ["c"]


def test_one_of_many_threads_creates_the_folder(tmp_path):
    for attempt in range(20):
        place = tmp_path / f"collection_{attempt}"
        with ThreadPoolExecutor(8) as pool:
            made = list(
                pool.map(
                    lambda i, place=place: atomic.create_folder(
                        place, "m.json", b"%d" % i
                    ),
                    range(8),
                )
            )
        assert made.count(True) == 1
        assert (place / "m.json").read_bytes() == b"%d" % made.index(True)
    assert len(names(tmp_path)) == 20


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_sweep_removes_only_old_strays(tmp_path):
    part = ".part-" + "0" * 32 + "-image_1.nii.gz"
    staging = ".new-" + "0" * 32 + "-collection_1"
    young = ".part-" + "1" * 32 + "-image_1.nii.gz"
    kept = ["image_1.nii.gz", ".part-mine", ".hidden", ".new-x-y", young]
    for name in [part, *kept]:
        (tmp_path / name).touch()
    (tmp_path / staging).mkdir()
    (tmp_path / staging / "collection_metadata.json").touch()
    for name in [part, staging, *kept[:-1]]:
        age(tmp_path / name, 2 * atomic.DAY)
    age(tmp_path / young, atomic.DAY / 2)
    assert atomic.sweep(tmp_path) == 2
    assert names(tmp_path) == sorted(kept)
    assert atomic.sweep(tmp_path) == 0


def test_sweep_never_enters_folders(tmp_path):
    staging = tmp_path / (".new-" + "0" * 32 + "-collection_1")
    (staging / "inner").mkdir(parents=True)
    (staging / "inner" / "data").touch()
    age(staging, 2 * atomic.DAY)
    assert atomic.sweep(tmp_path) == 0
    assert (staging / "inner" / "data").exists()


def test_sweep_removes_a_link_and_not_its_target(tmp_path):
    target = tmp_path / "data"
    target.touch()
    link = tmp_path / (".part-" + "0" * 32 + "-a")
    link.symlink_to(target)
    assert atomic.sweep(tmp_path, older_than=-1) == 1
    assert names(tmp_path) == ["data"]


def test_sweep_of_nothing(tmp_path):
    assert atomic.sweep(tmp_path / "absent") == 0


def test_killed_writer_leaves_only_a_stray(tmp_path):
    place = tmp_path / "image_1.nii.gz"
    place.write_bytes(b"old")
    script = (
        "import sys, time; from pathlib import Path\n"
        "from intake_neurovault.atomic import temporary\n"
        "with temporary(Path(sys.argv[1])) as part:\n"
        "    part.write_bytes(b'half')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(place)], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGKILL)
    assert place.read_bytes() == b"old"
    assert len(names(tmp_path)) == 2
    assert atomic.sweep(tmp_path, older_than=-1) == 1
    assert names(tmp_path) == ["image_1.nii.gz"]
