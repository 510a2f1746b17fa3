"""Maps that were brought to a grid once: read from there, and never wrongly."""

from __future__ import annotations

import gc
import json
import logging
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import intake
import numpy as np
import pytest
import yaml
from gridded_maps import (
    GRID,
    IDS,
    LABELS,
    ODD,
    SLAB,
    archive_of_maps,
    content_of,
    forge,
    forge_all,
    gridded,
    states,
)

from intake_neurovault import SearchResult, layout, search
from intake_neurovault.atomic import DAY
from intake_neurovault.errors import CorruptFileError, NeuroVaultWarning, OfflineError
from intake_neurovault.nifti import read_geometry
from intake_neurovault.testing import PRIVATE_NAME, NeuroVaultServer

Ask = Callable[..., SearchResult]


@pytest.fixture
def small() -> Iterator[NeuroVaultServer]:
    """Serve small maps to one test, which may change them."""
    with NeuroVaultServer(archive_of_maps()) as running:
        yield running


@pytest.fixture
def ask(small: NeuroVaultServer, data_dir: Path) -> Ask:
    """Ask for three maps on a coarse grid."""

    def asked(**arguments: Any) -> SearchResult:
        settings: dict[str, Any] = {"image_ids": IDS, "grid": GRID, "retries": 0}
        where = {"url": small.url, "data_dir": data_dir}
        return search(**(settings | where | arguments))

    return asked


def maps(result: SearchResult) -> Any:
    return result.to_dask().maps.compute(scheduler="synchronous").values


def media(server: NeuroVaultServer) -> list[str]:
    """Tell which files were asked for since the last look."""
    found = [each.path for each in server.requests if "/media/" in each.path]
    server.clear_requests()
    return found


def originals(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "neurovault").glob("collection_*/image_*.nii.gz"))


def is_forged(data: Any) -> bool:
    return bool((data == 5).all())


# ---- the values --------------------------------------------------------------------


@pytest.mark.parametrize(
    "rules",
    [
        {},
        {"interpolation": "linear", "nan": "zero"},
        {"interpolation": "nearest", "fill_value": float("nan")},
        {"grid": "mni152-3mm", "fill_value": -1.5},
        {"grid": 6},
    ],
)
def test_kept_maps_are_the_readers_bit_by_bit(
    rules: dict[str, Any], ask: Ask, data_dir: Path
) -> None:
    result = ask(image_ids=[*IDS, LABELS], **rules)
    first, second = maps(result), maps(ask(image_ids=[*IDS, LABELS], **rules))
    paths = result.fetch()
    for row, number in enumerate([*IDS, LABELS]):
        reader = result.reader
        alone = reader(paths[number], discrete=number == LABELS, label="it")
        for found in (first, second):
            assert found[row].tobytes() == alone.tobytes()
    assert len(gridded(data_dir)) == 4
    forge_all(data_dir)
    assert is_forged(maps(ask(image_ids=[*IDS, LABELS], **rules)))


def test_each_way_to_read_has_its_own_maps(ask: Ask, data_dir: Path) -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"grid": 15},
        {"interpolation": "linear"},
        {"nan": "zero"},
        {"fill_value": 7},
        {"fill_value": -0.0},
    ]
    for number, way in enumerate(ways, 1):
        maps(ask(**way))
        assert len(gridded(data_dir)) == 3 * number
    # These are the ways of before under other names.
    for way in ({"interpolation": "continuous"}, {"fill_value": 0, "chunks": 1}):
        maps(ask(**way))
    assert len(gridded(data_dir)) == 3 * len(ways)


def test_an_image_to_match_is_known_by_its_numbers(
    ask: Ask, data_dir: Path, tmp_path: Path
) -> None:
    maps(ask())
    template = shutil.copy(gridded(data_dir)[0], tmp_path / "template.nii")
    before = states(data_dir)
    grid = read_geometry(template, label="it").grid
    forge_all(data_dir)
    assert is_forged(maps(ask(grid=str(template)))) == (grid == ask().reader.grid)
    assert len(states(data_dir)) == len(before)


def test_native_grids_are_not_kept(ask: Ask, data_dir: Path) -> None:
    maps(ask(grid=None))
    assert gridded(data_dir) == []


def test_that_maps_are_kept_changes_no_name(ask: Ask) -> None:
    kept, anew = ask().to_dask(), ask(keep_gridded=False).to_dask()
    assert kept.maps.data.name == anew.maps.data.name
    assert kept.maps.data._stack.fingerprint == anew.maps.data._stack.fingerprint


def test_a_map_that_covers_little_is_warned_of_each_time(
    ask: Ask, data_dir: Path
) -> None:
    said = []
    for _ in range(3):
        with pytest.warns(NeuroVaultWarning, match="the field of view covers") as seen:
            maps(ask(image_ids=[SLAB]))
        said.append([str(each.message) for each in seen])
    assert said[0] == said[1] == said[2]
    forge_all(data_dir)
    with pytest.warns(NeuroVaultWarning, match="of the grid") as seen:
        assert is_forged(maps(ask(image_ids=[SLAB])))
    assert [str(each.message) for each in seen] == said[0]


# ---- whether a map is still of the original ----------------------------------------


@pytest.mark.parametrize("mode", ["download_new", "offline", "update"])
def test_a_map_serves_when_the_original_is_gone(
    mode: str, ask: Ask, small: NeuroVaultServer, data_dir: Path
) -> None:
    first = maps(ask())
    for path in originals(data_dir):
        path.unlink()
    media(small)
    np.testing.assert_array_equal(maps(ask(mode=mode)), first)
    assert media(small) == []
    assert originals(data_dir) == []


def test_overwriting_is_not_spared(
    ask: Ask, small: NeuroVaultServer, data_dir: Path
) -> None:
    maps(ask())
    forge_all(data_dir)
    media(small)
    result = ask(mode="overwrite")
    for _ in range(2):
        # The same bytes have come again, so that what was made of them is right.
        assert is_forged(maps(result))
    assert len(media(small)) == 3
    for path in originals(data_dir):
        path.unlink()
    small.archive.replace_file(71, small.archive.file_bytes(81))
    small.archive.replace_file(72, small.archive.file_bytes(81))
    found = maps(ask(mode="overwrite"))
    assert not is_forged(found[0])
    np.testing.assert_array_equal(found[0], found[1])
    assert is_forged(found[2])
    assert len(media(small)) == 3


def test_a_file_that_was_uploaded_anew(
    ask: Ask, small: NeuroVaultServer, data_dir: Path
) -> None:
    old = maps(ask())
    small.archive.replace_file(71, small.archive.file_bytes(81))
    np.testing.assert_array_equal(maps(ask()), old)
    new = maps(ask(mode="update"))
    assert not np.array_equal(new[0], old[0])
    np.testing.assert_array_equal(new[1:], old[1:])
    # Now these are the bytes on disk, for all modes and later processes.
    np.testing.assert_array_equal(maps(ask()), new)
    np.testing.assert_array_equal(maps(ask(keep_gridded=False)), new)
    assert len(gridded(data_dir)) == 3


def test_a_new_upload_is_not_answered_by_the_map_of_one_that_is_gone(
    ask: Ask, small: NeuroVaultServer, data_dir: Path
) -> None:
    old = maps(ask())
    small.archive.replace_file(71, small.archive.file_bytes(81))
    originals(data_dir)[0].unlink()
    small.clear_requests()
    new = maps(ask(image_ids=None, collection_ids=[7], metadata_ttl=0, max_images=3))
    assert len(media(small)) == 1
    assert not np.array_equal(new[0], old[0])


def test_a_map_of_old_bytes_stays_of_old_bytes(
    ask: Ask, small: NeuroVaultServer, data_dir: Path
) -> None:
    """Whoever computes with a new record from old bytes keeps them as old ones."""
    ask().fetch()
    small.archive.replace_file(71, small.archive.file_bytes(81))
    anew = {"image_ids": None, "collection_ids": [7], "max_images": 3}
    old = maps(ask(**anew, metadata_ttl=0))
    assert len(gridded(data_dir)) == 3
    originals(data_dir)[0].unlink()
    new = maps(ask(**anew))
    assert not np.array_equal(new[0], old[0])


def test_a_record_that_was_edited_costs_no_computation(
    ask: Ask, small: NeuroVaultServer, data_dir: Path
) -> None:
    maps(ask())
    small.archive.edit_image(71, name="another name")
    forge_all(data_dir)
    media(small)
    for _ in range(2):
        assert is_forged(maps(ask(mode="update")))
    assert len(media(small)) == 1


def test_a_file_that_was_edited_in_place(
    ask: Ask, small: NeuroVaultServer, data_dir: Path
) -> None:
    old, path = maps(ask()), originals(data_dir)[0]
    path.write_bytes(small.archive.file_bytes(81))
    new = maps(ask())
    assert not np.array_equal(new[0], old[0])
    np.testing.assert_array_equal(new[1:], old[1:])
    np.testing.assert_array_equal(maps(ask(keep_gridded=False)), new)


def test_a_file_that_was_edited_and_removed(
    ask: Ask, small: NeuroVaultServer, data_dir: Path
) -> None:
    first, path = maps(ask()), originals(data_dir)[0]
    receipt = data_dir / "neurovault" / layout.receipt_path(7, 71)
    content = json.loads(receipt.read_text())
    # Until a day after it was downloaded, another download is taken to be at work.
    receipt.write_text(json.dumps(content | {"added": time.time() - 2 * DAY}))
    path.write_bytes(small.archive.file_bytes(81))
    edited = maps(ask())
    assert not np.array_equal(edited[0], first[0])
    forge_all(data_dir)
    assert is_forged(maps(ask()))
    path.unlink()
    np.testing.assert_array_equal(maps(ask(image_ids=[71])), first[:1])


def test_what_others_brought_serves_when_it_is_gone(
    ask: Ask, small: NeuroVaultServer, data_dir: Path
) -> None:
    ask().fetch()
    for path in (data_dir / "neurovault").rglob("receipts/collection_7/*.json"):
        path.unlink()
    first = maps(ask())
    for path in originals(data_dir):
        path.unlink()
    media(small)
    np.testing.assert_array_equal(maps(ask()), first)
    assert media(small) == []


def test_a_file_that_was_copied_is_known_by_its_bytes(ask: Ask, data_dir: Path) -> None:
    maps(ask())
    forge_all(data_dir)
    for path in originals(data_dir):
        os.utime(path, (1, 1))
    before = states(data_dir)
    for _ in range(2):
        assert is_forged(maps(ask()))
    assert states(data_dir) == before


@pytest.mark.filterwarnings("ignore:.*is cut off")
@pytest.mark.parametrize("mode", ["download_new", "offline"])
def test_a_damaged_original_is_as_good_as_gone(
    mode: str, ask: Ask, small: NeuroVaultServer, data_dir: Path
) -> None:
    first = maps(ask())
    for path in originals(data_dir):
        path.write_bytes(path.read_bytes()[:-100])
    media(small)
    np.testing.assert_array_equal(maps(ask(mode=mode)), first)
    assert media(small) == []


def test_the_file_of_another_server_is_no_answer(
    ask: Ask, small: NeuroVaultServer, data_dir: Path
) -> None:
    old = maps(ask())
    with NeuroVaultServer(archive_of_maps()) as other:
        for number in IDS:
            other.archive.replace_file(number, other.archive.file_bytes(81))
        new = maps(ask(url=other.url))
        assert not np.array_equal(new, old)
        assert len({each.tobytes() for each in new}) == 1


def test_the_original_is_replaced_while_it_is_read(
    ask: Ask, small: NeuroVaultServer, data_dir: Path
) -> None:
    stack = ask().to_dask().maps.data._stack
    keeper, wanted = stack.keeper, stack.maps[0]
    with stack.opener([wanted.file]) as opened:
        [path] = opened
    other = small.archive.file_bytes(81)

    class Meddler(type(stack.reader)):  # type: ignore[misc]
        def read(self, *args: Any, **kwargs: Any) -> Any:
            found = super().read(*args, **kwargs)
            path.write_bytes(other)
            return found

    reader = Meddler(stack.reader.grid)
    keeper.read(wanted, reader, path)
    assert gridded(data_dir) == []
    keeper.read(wanted, stack.reader, path)
    assert gridded(data_dir) == []


# ---- what is damaged ---------------------------------------------------------------


def cut(data: bytes) -> bytes:
    return data[:-1000]


def emptied(data: bytes) -> bytes:
    return b""


def zeroed(data: bytes) -> bytes:
    return bytes(len(data))


def half_zeroed(data: bytes) -> bytes:
    half = len(data) // 2
    return data[:half] + bytes(len(data) - half)


def garbled(data: bytes) -> bytes:
    return os.urandom(352) + data[352:]


def replaced(data: bytes) -> bytes:
    return b"<html>not a map</html>" * 1000


@pytest.mark.parametrize(
    "spoil", [cut, emptied, zeroed, half_zeroed, garbled, replaced]
)
def test_damage_is_computed_anew(spoil: Any, ask: Ask, data_dir: Path) -> None:
    first = maps(ask())
    for path in gridded(data_dir):
        path.write_bytes(spoil(path.read_bytes()))
    before = states(data_dir)
    np.testing.assert_array_equal(maps(ask()), first)
    assert all(one != two for one, two in zip(before, states(data_dir), strict=True))
    forge_all(data_dir)
    assert is_forged(maps(ask()))


def test_the_map_of_another_image_or_grid_is_not_believed(
    ask: Ask, data_dir: Path
) -> None:
    first = maps(ask())
    second = maps(ask(grid=15))
    folders = sorted({path.parent for path in gridded(data_dir)})
    for name in ("image_71.nii", "image_72.nii"):
        one, two = (folder / name for folder in folders)
        data = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(data)
    shutil.copy(folders[0] / "image_72.nii", folders[0] / "image_73.nii")
    np.testing.assert_array_equal(maps(ask()), first)
    np.testing.assert_array_equal(maps(ask(grid=15)), second)


def test_a_folder_in_the_place_of_a_map(
    ask: Ask, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = maps(ask())
    path = gridded(data_dir)[0]
    path.unlink()
    (path / "inside").mkdir(parents=True)
    np.testing.assert_array_equal(maps(ask()), first)
    assert path.is_dir()


def test_what_the_reader_refuses_is_not_kept(ask: Ask, data_dir: Path) -> None:
    with pytest.raises(CorruptFileError, match="looks like an HTML"):
        maps(ask(image_ids=[ODD, 71]))
    with pytest.warns(NeuroVaultWarning, match="left empty"):
        found = maps(ask(image_ids=[ODD, 71], errors="warn"))
    assert np.isnan(found[0]).all()
    assert [path.name for path in gridded(data_dir)] == ["image_71.nii"]


# ---- where nothing can be kept -----------------------------------------------------


def test_a_store_that_refuses_is_told_of_once(
    ask: Ask, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file in place of our folder refuses all that a read-only disk would."""
    ask().fetch()
    place = data_dir / "neurovault" / ".intake_neurovault" / "gridded"
    place.write_text("not a folder")
    with caplog.at_level(logging.WARNING):
        first, second = maps(ask()), maps(ask())
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, maps(ask(keep_gridded=False)))
    said = [each.getMessage() for each in caplog.records]
    assert len(said) == 1
    assert said[0].startswith("Maps on their grid are not kept: The store ")
    assert place.read_text() == "not a folder"


def test_a_full_disk(
    ask: Ask, small: NeuroVaultServer, data_dir: Path, run_python: Callable[..., Any]
) -> None:
    """Receipts and records fit, maps do not."""
    expected = maps(ask(keep_gridded=False))
    code = f"""
import resource, sys, numpy, logging
from intake_neurovault import search
logging.basicConfig(stream=sys.stdout, level="WARNING", format="said: %(message)s")
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
for _ in range(2):
    result = search(image_ids={IDS}, grid={GRID}, url=sys.argv[1], data_dir=sys.argv[2])
    maps = result.to_dask().maps.compute(scheduler="synchronous").values
print(maps.astype(float).sum())
"""
    done = run_python(code, small.url, str(data_dir))
    *said, total = done.stdout.splitlines()
    assert float(total) == pytest.approx(float(expected.astype(float).sum()))
    assert len(said) == 1
    assert "File too large" in said[0]
    assert gridded(data_dir) == []
    folder = data_dir / "neurovault" / ".intake_neurovault" / "gridded"
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("off", [False, "false", 0, "0 GB"])
def test_switched_off_nothing_is_read_or_written(
    off: Any, ask: Ask, data_dir: Path
) -> None:
    maps(ask(keep_gridded=off))
    assert gridded(data_dir) == []
    maps(ask())
    forge_all(data_dir)
    before = states(data_dir)
    assert not is_forged(maps(ask(keep_gridded=off)))
    assert states(data_dir) == before


def test_a_small_limit_keeps_what_was_used_last(ask: Ask, data_dir: Path) -> None:
    maps(ask())
    size = gridded(data_dir)[0].stat().st_size
    for path in gridded(data_dir):
        path.unlink()
    limit = 2 * size + size // 2
    result = ask(keep_gridded=limit).to_dask().maps
    for number in (71, 72):
        result.sel(image=number).compute(scheduler="synchronous")
    for hours, path in zip((2, 3), gridded(data_dir), strict=True):
        then = time.time() - hours * 3600
        os.utime(path, (then, then))
    result.sel(image=72).compute(scheduler="synchronous")
    result.sel(image=73).compute(scheduler="synchronous")
    assert [path.name for path in gridded(data_dir)] == ["image_72.nii", "image_73.nii"]
    maps(ask(keep_gridded=size - 1))
    assert len(gridded(data_dir)) == 2


# ---- reading no more than is asked for ---------------------------------------------


def bytes_read() -> int:
    text = Path("/proc/self/io").read_text()
    return int(text.partition("rchar: ")[2].partition("\n")[0])


def bytes_read_by(work: Callable[[], object]) -> int:
    before = bytes_read()
    work()
    return bytes_read() - before


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/io").exists(), reason="this system does not count bytes"
)


@needs_proc
@pytest.mark.parametrize(
    ("part", "most"),
    [
        ((slice(None), 30, 40, 20), 4),
        ((slice(None), slice(30, 36), slice(40, 46), slice(20, 26)), 6 * 311 * 4),
        ((slice(None), slice(None), slice(None), 20), 61 * 73 * 4),
    ],
)
def test_a_part_of_all_maps_reads_no_more_of_each(
    part: tuple[Any, ...], most: int, ask: Ask, small: NeuroVaultServer
) -> None:
    whole = maps(ask(grid="mni152-3mm"))
    array = ask(grid="mni152-3mm").to_dask().maps.data[part]
    media(small)
    found = array.compute(scheduler="synchronous")
    np.testing.assert_array_equal(found, whole[part])
    # The head of a file, 4 KiB, was read before. Other threads may read a little.
    nothing = min(bytes_read_by(lambda: None) for _ in range(5))
    taken = min(
        bytes_read_by(lambda: array.compute(scheduler="synchronous")) for _ in range(5)
    )
    assert taken - nothing == len(IDS) * most
    assert media(small) == []


@needs_proc
def test_no_file_stays_open(ask: Ask, data_dir: Path) -> None:
    dataset = ask().to_dask()
    dataset.maps.compute(scheduler="synchronous")
    gc.collect()
    folder = Path("/proc/self/fd")
    before = len(list(folder.iterdir()))
    kept = [dataset.maps[:, 3, 4, 5].compute() for _ in range(50)]
    kept += [dataset.maps.compute() for _ in range(10)]
    assert len(list(folder.iterdir())) <= before
    assert len(kept) == 60


def test_a_map_that_was_read_outlives_its_file(ask: Ask, data_dir: Path) -> None:
    first = maps(ask())
    found = maps(ask())
    for path in gridded(data_dir):
        with path.open("r+b") as file:
            file.write(bytes(1000))
        path.unlink()
    np.testing.assert_array_equal(found, first)


def test_only_what_is_not_kept_is_opened(
    ask: Ask, small: NeuroVaultServer, data_dir: Path
) -> None:
    maps(ask(image_ids=[72]))
    originals(data_dir)[0].unlink()
    media(small)
    maps(ask(image_ids=[71, 72, 73]))
    assert len(media(small)) == 2
    assert [path.name for path in originals(data_dir)] == [
        "image_71.nii.gz",
        "image_73.nii.gz",
    ]


def test_offline_without_map_and_original(ask: Ask, data_dir: Path) -> None:
    maps(ask())
    for path in (*originals(data_dir), *gridded(data_dir, 71)):
        path.unlink()
    with pytest.raises(OfflineError, match="image 71"):
        maps(ask(mode="offline"))
    assert np.isfinite(maps(ask(mode="offline", image_ids=[72, 73]))).all()


# ---- several at a time -------------------------------------------------------------


def test_many_threads_at_once(ask: Ask, data_dir: Path) -> None:
    expected = maps(ask(keep_gridded=False))
    barrier = threading.Barrier(6)

    def compute(_: int) -> Any:
        barrier.wait(60)
        return maps(ask())

    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(compute, range(6)):
            np.testing.assert_array_equal(found, expected)
    assert len(gridded(data_dir)) == 3
    assert list(data_dir.rglob(".part-*")) == []


def test_maps_vanish_while_they_are_read(ask: Ask, data_dir: Path) -> None:
    expected, stop = maps(ask()), threading.Event()

    def remove() -> None:
        while not stop.wait(0.001):
            for path in gridded(data_dir):
                path.unlink(missing_ok=True)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(remove)
        try:
            for _ in range(20):
                np.testing.assert_array_equal(maps(ask()), expected)
        finally:
            stop.set()


def test_it_computes_in_other_processes(ask: Ask, data_dir: Path) -> None:
    dataset = ask(chunks=1).to_dask()
    mean = dataset.maps.mean("image").compute(scheduler="processes", num_workers=2)
    assert len(gridded(data_dir)) == 3
    np.testing.assert_allclose(mean, maps(ask()).mean(axis=0), atol=1e-6)
    stack = pickle.loads(pickle.dumps(dataset.maps.data._stack))
    assert stack.keeper == dataset.maps.data._stack.keeper
    assert len(pickle.dumps(stack)) < 10_000


def test_what_a_killed_writer_left_is_cleared_when_maps_are_read(
    ask: Ask, data_dir: Path
) -> None:
    maps(ask())
    kept = gridded(data_dir)[0]
    old, young = (kept.with_name(f".part-{n * 32}-{kept.name}") for n in "0f")
    for path in (old, young):
        path.write_bytes(kept.read_bytes()[:100])
    os.utime(old, (0, 0))
    # Nothing is written, in processes that have not looked there before.
    dataset = ask(chunks=1).to_dask()
    dataset.maps.mean("image").compute(scheduler="processes", num_workers=1)
    assert not old.exists()
    assert young.exists()


# ---- what is written down ----------------------------------------------------------


def test_a_file_bears_no_token(
    small: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", PRIVATE_NAME)
    where = {"url": small.url, "data_dir": data_dir}
    result = search(collection_ids=["env:MY_TOKEN"], grid=GRID, retries=0, **where)
    maps(result)
    [path] = gridded(data_dir)
    assert PRIVATE_NAME.encode() not in path.read_bytes()
    source = content_of(path).origin.source
    assert source.file is not None
    assert (source.file.image_id, source.file.token) == (91, None)


def test_a_map_says_of_which_bytes_it_was_made(
    ask: Ask, small: NeuroVaultServer, data_dir: Path
) -> None:
    result = ask()
    maps(result)
    for image, path in zip(result, gridded(data_dir), strict=True):
        source = content_of(path).origin.source
        receipt = result.vault.mirror.store.receipt(image.file)
        assert source == receipt
        assert json.loads(json.dumps(source.to_json())) == source.to_json()


def test_forging_is_noticed_by_its_sum_alone(ask: Ask, data_dir: Path) -> None:
    maps(ask())
    [path, *_] = gridded(data_dir)
    forge(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert not is_forged(maps(ask())[0])


@pytest.mark.parametrize("keep", [False, "1 GB", 10**9])
def test_a_catalog_entry_says_what_is_kept(
    keep: Any, small: NeuroVaultServer, data_dir: Path, tmp_path: Path
) -> None:
    args = {"image_ids": IDS, "grid": GRID, "data_dir": str(data_dir)}
    args |= {"url": small.url, "keep_gridded": keep}
    entry = {"sources": {"maps": {"driver": "neurovault", "args": args}}}
    path = tmp_path / "maps.yaml"
    path.write_text(yaml.safe_dump(entry), encoding="utf-8")
    source = intake.open_catalog(str(path)).maps
    written = yaml.safe_load(source.yaml())["sources"]["maps"]["args"]
    assert written["keep_gridded"] == keep
    assert source.result == search(**args)
    assert source.result.vault.room == (10**9 if keep else 0)
    source.read()
    assert len(gridded(data_dir)) == (3 if keep else 0)
    assert source(keep_gridded="2 GB").result.vault.room == 2 * 10**9
