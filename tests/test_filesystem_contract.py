"""What fsspec promises of every filesystem, asked of both of ours."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from folders import (
    ABOUT,
    CHAIN,
    IMAGE,
    PLAIN,
    SIDECAR,
    both,
    cached,
    chained,
    paths_of,
    small_archive,
)
from fsspec.implementations.dirfs import DirFileSystem

from intake_neurovault.errors import MissingError, ServerError
from intake_neurovault.filesystem import NeuroVaultFileSystem
from intake_neurovault.testing import Fault, NeuroVaultServer, Volume

KINDS = ["direct", "kept"]
SECOND = "collection_7/image_72.nii.gz"
ABSENT = "collection_7/image_5555.nii.gz"


@pytest.fixture
def small() -> Iterator[NeuroVaultServer]:
    """Serve the small archive to one test."""
    with NeuroVaultServer(small_archive()) as running:
        yield running


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    """Name either filesystem."""
    return request.param


@pytest.fixture
def fs(kind: str, small: NeuroVaultServer, data_dir: Path) -> Any:
    """Either filesystem."""
    return both(small.url, data_dir)[kind]


# ---- reading, call by call: what fsspec gives, and what Python says of the bytes ----

READS: dict[str, tuple[Callable[[Any], Any], Callable[[bytes], Any]]] = {
    "cat_file": (lambda fs: fs.cat_file(IMAGE), lambda b: b),
    "cat_file to the end": (lambda fs: fs.cat_file(IMAGE, -9), lambda b: b[-9:]),
    "cat_file beyond": (lambda fs: fs.cat_file(IMAGE, 9, 10**9), lambda b: b[9:]),
    "cat_ranges": (
        lambda fs: fs.cat_ranges([IMAGE] * 4, [0, -9, None, 5], [4, None, 3, 10**9]),
        lambda b: [b[:4], b[-9:], b[:3], b[5:]],
    ),
    "cat_ranges of one": (
        lambda fs: fs.cat_ranges([IMAGE, IMAGE], 2, 4),
        lambda b: [b[2:4]] * 2,
    ),
    "read_block": (lambda fs: fs.read_block(IMAGE, 10, 20), lambda b: b[10:30]),
    "read_block whole": (lambda fs: fs.read_block(IMAGE, 0, None), lambda b: b),
    "read_block beyond": (lambda fs: fs.read_block(IMAGE, 5, 10**9), lambda b: b[5:]),
    "head": (lambda fs: fs.head(IMAGE, 7), lambda b: b[:7]),
    "tail": (lambda fs: fs.tail(IMAGE, 7), lambda b: b[-7:]),
    "read_bytes": (lambda fs: fs.read_bytes(IMAGE), lambda b: b),
    "read_bytes of a part": (
        lambda fs: fs.read_bytes(IMAGE, start=3, end=-3),
        lambda b: b[3:-3],
    ),
    "cat of a list": (lambda fs: fs.cat([IMAGE, IMAGE]), lambda b: {IMAGE: b}),
    "cat with a range": (lambda fs: fs.cat(IMAGE, start=1, end=3), lambda b: b[1:3]),
    "size": (lambda fs: fs.size(IMAGE), len),
    "sizes": (lambda fs: fs.sizes([IMAGE]), lambda b: [len(b)]),
    "du": (lambda fs: fs.du(IMAGE), len),
    "du of each": (lambda fs: fs.du(IMAGE, total=False), lambda b: {IMAGE: len(b)}),
}


@pytest.mark.parametrize(("ask", "expected"), READS.values(), ids=READS)
def test_bytes_are_read(
    fs: Any,
    small: NeuroVaultServer,
    ask: Callable[[Any], Any],
    expected: Callable[[bytes], Any],
) -> None:
    assert ask(fs) == expected(small.file_bytes(71))


def test_a_folder_is_as_large_as_its_files(fs: Any) -> None:
    sizes = {name: fs.info(name)["size"] for name in fs.find("collection_8")}
    assert len(sizes) == 3
    assert fs.du("collection_8") == sum(sizes.values())
    assert fs.du("collection_8", total=False) == sizes
    assert fs.du("collection_8", total=False, withdirs=True) == {
        "collection_8": 0,
        **sizes,
    }
    known = [size for size in fs.du("", total=False).values() if size is not None]
    assert fs.disk_usage("") == sum(known) > fs.du("collection_8", True, 1)


def test_a_file_of_unknown_size_counts_once_it_is_known(kind: str, fs: Any) -> None:
    assert fs.info(PLAIN)["size"] is None
    size = len(fs.cat_file(PLAIN))
    assert fs.info(PLAIN)["size"] == (size if kind == "kept" else None)


@pytest.mark.parametrize(
    ("mode", "options", "kind_of"),
    [
        ("rb", {}, bytes),
        ("r", {}, str),
        ("rt", {"encoding": "utf-8"}, str),
        ("r", {"encoding": "ascii", "errors": "replace", "newline": ""}, str),
    ],
)
def test_modes_of_opening(
    fs: Any, mode: str, options: dict[str, Any], kind_of: type
) -> None:
    with fs.open(SIDECAR, mode, **options) as file:
        text = file.read()
    assert type(text) is kind_of
    assert json.loads(text)["id"] == 71
    assert file.closed
    assert json.loads(fs.read_text(SIDECAR, encoding="utf-8"))["id"] == 71


@pytest.mark.parametrize("mode", ["w", "wb", "ab", "xb", "r+b", "w+"])
def test_modes_of_writing_are_refused(fs: Any, mode: str) -> None:
    with pytest.raises(OSError, match="can be read only"):
        fs.open(IMAGE, mode)


def test_an_open_file_is_moved_about_in(fs: Any, small: NeuroVaultServer) -> None:
    whole = small.file_bytes(71)
    with fs.open(IMAGE) as file:
        assert (file.readable(), file.seekable(), file.writable()) == (
            True,
            True,
            False,
        )
        assert file.tell() == 0
        assert file.seek(10) == 10
        assert file.read(5) == whole[10:15]
        assert file.tell() == 15
        assert file.seek(-5, os.SEEK_CUR) == 10
        assert file.seek(0, os.SEEK_END) == len(whole)
        assert file.read() == b""
        file.seek(3)
        into = bytearray(4)
        assert file.readinto(into) == 4
        assert bytes(into) == whole[3:7]
        with pytest.raises(io.UnsupportedOperation, match="writ"):
            file.write(b"x")


@pytest.mark.parametrize(
    ("on_error", "expected"), [("omit", None), ("return", MissingError)]
)
def test_errors_in_a_list(fs: Any, on_error: str, expected: Any) -> None:
    found = fs.cat([IMAGE, ABSENT, SECOND], on_error=on_error)
    assert [path for path, data in found.items() if type(data) is bytes] == [
        IMAGE,
        SECOND,
    ]
    assert type(found.get(ABSENT)) is (expected or type(None))
    ranges = fs.cat_ranges([IMAGE, ABSENT], 0, 4, on_error="return")
    assert [type(data) for data in ranges] == [bytes, MissingError]
    with pytest.raises(MissingError, match="5555"):
        fs.cat_ranges([IMAGE, ABSENT], 0, 4, on_error="raise")


# ---- listing -----------------------------------------------------------------------


def test_walks_in_every_form(fs: Any) -> None:
    downwards = list(fs.walk(""))
    assert [root for root, _, _ in downwards] == ["", "collection_7", "collection_8"]
    assert downwards[0][1:] == (["collection_7", "collection_8"], [])
    assert "image_81.nii.gz" in downwards[2][2]
    upwards = [root for root, _, _ in fs.walk("", topdown=False)]
    assert upwards == ["collection_7", "collection_8", ""]
    assert [root for root, _, _ in fs.walk("", maxdepth=1)] == [""]
    (_, folders, _), *_ = fs.walk("", detail=True)
    assert folders["collection_7"]["nv_id"] == 7
    assert list(fs.walk("collection_5555")) == []
    with pytest.raises(MissingError, match="no collection 5555"):
        list(fs.walk("collection_5555", on_error="raise"))


def test_a_tree_is_drawn(fs: Any) -> None:
    assert "image_81.nii.gz" in fs.tree("collection_8", recursion_limit=1)


def test_what_is_found_is_described(fs: Any) -> None:
    found = fs.find("collection_8", detail=True)
    assert {name: entry["name"] for name, entry in found.items()} == {
        name: name for name in fs.ls("collection_8", detail=False)
    }
    globbed = fs.glob("collection_8/*.nii.gz", detail=True)
    assert globbed == {name: found[name] for name in globbed}
    assert fs.lexists(IMAGE) is True
    assert fs.listdir("collection_8") == fs.ls("collection_8")
    assert fs.stat(IMAGE) == fs.info(IMAGE)


def test_only_the_folder_that_is_named_is_forgotten(
    fs: Any, small: NeuroVaultServer
) -> None:
    for folder in ("collection_7", "collection_8"):
        fs.ls(folder)
    small.clear_requests()
    fs.invalidate_cache("neurovault://collection_7")
    fs.ls("collection_8")
    assert small.requests == []
    fs.ls("collection_7")
    assert paths_of(small)["/api/collections/7/images/"] == 1


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({}, 1),
        ({"listings_expiry_time": 1000}, 1),
        ({"listings_expiry_time": 0}, 2),
        ({"use_listings_cache": False}, 2),
    ],
)
def test_listings_are_remembered_as_long_as_is_said(
    small: NeuroVaultServer, options: dict[str, Any], times: int
) -> None:
    fs = NeuroVaultFileSystem(url=small.url, retries=0, **options)
    for _ in range(2):
        fs.ls("collection_8")
    assert paths_of(small)["/api/collections/8/images/"] == times


@pytest.mark.parametrize(
    "ask",
    [
        lambda fs: fs.created(IMAGE),
        lambda fs: fs.checksum(IMAGE),
        lambda fs: fs.du("collection_7"),
        lambda fs: fs.size(IMAGE),
        lambda fs: list(fs.walk("")),
        lambda fs: fs.head(IMAGE),
        lambda fs: fs.read_text(SIDECAR),
        lambda fs: fs.get(IMAGE, "x"),
        lambda fs: fs.open(IMAGE),
    ],
)
def test_silence_of_the_server_is_not_absence(
    fs: Any, small: NeuroVaultServer, ask: Callable[[Any], object]
) -> None:
    small.faults.append(Fault(match="/api/", kind="503", seconds=0))
    with pytest.raises(ServerError, match="503"):
        ask(fs)


# ---- dates and keys ----------------------------------------------------------------


@pytest.mark.parametrize("path", ["collection_7", ABOUT, IMAGE, SIDECAR])
def test_dates_have_a_zone(fs: Any, path: str) -> None:
    assert fs.created(path).utcoffset() is not None
    assert fs.modified(path).utcoffset() is not None
    assert fs.modified(path) == fs.info(path)["mtime"]


def test_keys_follow_the_file(fs: Any, small: NeuroVaultServer) -> None:
    before = {path: fs.ukey(path) for path in (IMAGE, SECOND, SIDECAR, ABOUT)}
    assert len(set(before.values())) == 4
    small.archive.replace_file(71, Volume("mni6", 99))
    fs.invalidate_cache()
    changed = {path for path, key in before.items() if fs.ukey(path) != key}
    assert IMAGE in changed
    assert SECOND not in changed


# ---- other processes and threads ---------------------------------------------------


def read_in_child(pickled: bytes, path: str) -> tuple[int, str]:
    fs = pickle.loads(pickled)
    return len(fs.cat_file(path)), fs.to_json()


def test_it_travels_to_spawned_processes(fs: Any, small: NeuroVaultServer) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        size, text = pool.apply(read_in_child, (pickle.dumps(fs), IMAGE))
    assert size == len(small.file_bytes(71))
    assert json.loads(text) == json.loads(fs.to_json())
    again = fsspec.AbstractFileSystem.from_json(text)
    assert again.storage_options == fs.storage_options
    assert again.fsid == fs.fsid


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* multi-threaded")
def test_it_works_after_a_fork(fs: Any, small: NeuroVaultServer) -> None:
    fs.ls("collection_7")
    whole = fs.cat_file(SECOND)
    assert len(whole) > 4
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            same = fs.cat_file(SECOND) == whole
            os.write(there, str((same, len(fs.cat_file(IMAGE)))).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(there)
    with os.fdopen(here, "rb") as said:
        assert said.read().decode() == str((True, len(small.file_bytes(71))))
    assert fs.cat_file(SECOND) == whole


def test_one_instance_serves_many_threads(
    kind: str, fs: Any, small: NeuroVaultServer
) -> None:
    paths = fs.glob("collection_7/*.nii.gz")
    expected = {path: fs.cat_file(path) for path in paths}
    fs.invalidate_cache()
    small.clear_requests()
    start = threading.Barrier(16)

    def work(number: int) -> bool:
        start.wait()
        path = paths[number % len(paths)]
        names = fs.ls("collection_7", detail=False)
        return fs.cat_file(path) == expected[path] and path in names

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(16))) == [True] * 16
    if kind == "kept":
        assert not [path for path in paths_of(small) if path.startswith("/media/")]


def test_threads_with_instances_of_their_own_share_connections(
    kind: str, small: NeuroVaultServer, data_dir: Path
) -> None:
    def make() -> Any:
        if kind == "kept":
            return cached(small.url, data_dir)
        return NeuroVaultFileSystem(url=small.url, retries=0)

    made = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: made.append(make()))
        thread.start()
        thread.join()
    made += [make(), make()]
    assert made[-1] is made[-2]
    assert {fs.client for fs in made} == {made[0].client}
    assert [len(fs.ls("collection_8")) for fs in made] == [3] * 5


# ---- wrapped and chained -----------------------------------------------------------


def test_a_folder_as_a_filesystem_of_its_own(fs: Any, small: NeuroVaultServer) -> None:
    inner = DirFileSystem("collection_7", fs)
    assert inner.ls("", detail=False)[0] == "collection_metadata.json"
    assert inner.glob("image_7[12].nii.gz") == ["image_71.nii.gz", "image_72.nii.gz"]
    assert inner.cat("image_71.nii.gz") == small.file_bytes(71)
    assert inner.info("image_71.nii.gz")["name"] == "image_71.nii.gz"
    assert inner.isfile("image_71.nii.gz")
    with inner.open("collection_metadata.json", "r") as file:
        assert json.load(file)["id"] == 7


@pytest.mark.parametrize("prefix", ["neurovault://", CHAIN])
def test_urls_lead_there(small: NeuroVaultServer, data_dir: Path, prefix: str) -> None:
    options = chained(small, data_dir)
    options = options if prefix == CHAIN else {"neurovault": options["neurovault"]}
    fs, path = fsspec.url_to_fs(f"{prefix}{IMAGE}", **options)
    assert path == IMAGE
    assert fs.client.url == small.url
    found = fsspec.open_files(f"{prefix}collection_7/*.nii.gz", **options)
    assert [file.path for file in found] == fs.glob("collection_7/*.nii.gz")
    with found as files:
        assert [len(file.read()) for file in files] == [
            len(fs.cat_file(file.path)) for file in found
        ]
    with fsspec.open(f"{prefix}{SIDECAR}", "rt", **options) as file:
        assert json.load(file)["id"] == 71
    mapper = fsspec.get_mapper(f"{prefix}collection_7", **options)
    assert mapper["image_71.nii.gz"] == small.file_bytes(71)
    assert "image_5555.nii.gz" not in mapper
