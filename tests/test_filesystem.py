"""NeuroVault as fsspec's filesystems: straight from the server, and kept."""

from __future__ import annotations

import json
import pickle
import posixpath
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import intake
import nibabel
import numpy as np
import pytest
from asking import workers
from folders import (
    ABOUT,
    CHAIN,
    DEAD,
    IMAGE,
    PLAIN,
    SIDECAR,
    cached,
    chained,
    files_in,
    paths_of,
    small_archive,
)
from fsspec.callbacks import Callback
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.tests.abstract import AbstractFixtures, AbstractGetTests
from nilearn.datasets import fetch_neurovault

from intake_neurovault.client import Client
from intake_neurovault.errors import (
    ArgumentError,
    CorruptFileError,
    MissingError,
    NeuroVaultError,
    NeuroVaultWarning,
    OfflineError,
    PrivateError,
    ServerError,
    UnknownArgumentError,
    UnreachableError,
)
from intake_neurovault.filesystem import (
    NeuroVaultCacheFileSystem,
    NeuroVaultFileSystem,
)
from intake_neurovault.testing import (
    PRIVATE_NAME,
    Fault,
    NeuroVaultServer,
    Volume,
)
from intake_neurovault.tree import Tree


@pytest.fixture
def small() -> Iterator[NeuroVaultServer]:
    """Serve the small archive to one test."""
    with NeuroVaultServer(small_archive()) as running:
        yield running


@pytest.fixture
def direct(small: NeuroVaultServer) -> NeuroVaultFileSystem:
    return NeuroVaultFileSystem(url=small.url, retries=0)


@pytest.fixture
def kept(small: NeuroVaultServer, data_dir: Path) -> NeuroVaultCacheFileSystem:
    return cached(small.url, data_dir)


@pytest.fixture(params=["direct", "kept"])
def fs(request: pytest.FixtureRequest) -> Any:
    """Either filesystem, over the small archive."""
    return request.getfixturevalue(request.param)


# ---- names and folders --------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("neurovault://collection_7/", "collection_7"),
        ("neurovault:///collection_7", "collection_7"),
        ("collection_7", "collection_7"),
        ("neurovault://", ""),
        ("/", ""),
        (["neurovault://collection_7", "x"], ["collection_7", "x"]),
    ],
)
@pytest.mark.parametrize("cls", [NeuroVaultFileSystem, NeuroVaultCacheFileSystem])
def test_protocols_are_stripped(cls: Any, path: Any, expected: Any) -> None:
    assert cls._strip_protocol(path) == expected


@pytest.mark.parametrize("path", ["", "collection_7", IMAGE, SIDECAR])
def test_a_path_comes_back_from_its_url(fs: Any, path: str) -> None:
    url = fs.unstrip_protocol(path)
    assert url == f"{fs.protocol}://{path}"
    assert fs._strip_protocol(url) == path


def test_what_is_opened_knows_its_size(fs: Any) -> None:
    whole = fs.cat_file(IMAGE)
    with fs.open(IMAGE) as file:
        assert file.size == len(whole)
    assert fs.read_block(IMAGE, 2, 4) == whole[2:6]


def test_a_chained_url_is_a_path_too(kept: NeuroVaultCacheFileSystem) -> None:
    assert kept._strip_protocol(f"{CHAIN}{IMAGE}") == IMAGE
    assert kept._strip_protocol("neurovaultcache://") == ""


def test_the_root_holds_the_public_collections(fs: Any) -> None:
    assert fs.ls("", detail=False) == ["collection_7", "collection_8"]
    (first, _) = fs.ls("")
    assert first["type"] == "directory"
    assert (first["size"], first["nv_id"]) == (0, 7)
    assert first["created"].isoformat() == "2024-01-15T09:31:00.130299+01:00"


def test_a_collection_holds_nilearns_files(fs: Any) -> None:
    expected = [ABOUT] + [
        f"collection_7/image_{number}{suffix}"
        for number in (71, 72, 73, 74)
        for suffix in (".nii.gz", "_metadata.json")
    ]
    assert [entry["name"] for entry in fs.ls("collection_7")] == expected
    assert fs.ls("/collection_7/", detail=False) == sorted(expected)
    assert fs.ls(IMAGE, detail=False) == [IMAGE]


@pytest.mark.parametrize(
    "path", ["", "collection_7", ABOUT, IMAGE, SIDECAR, PLAIN, "collection_8"]
)
def test_info_is_what_ls_shows(fs: Any, path: str) -> None:
    alone = fs.info(path)
    if path:
        (shown,) = (e for e in fs.ls(fs._parent(path)) if e["name"] == path)
        assert fs.info(path) == shown
        assert alone == shown
    assert alone["name"] == path


def test_an_image_is_described(direct: Any, small: NeuroVaultServer) -> None:
    record = small.archive.images[71]
    entry = direct.info(IMAGE)
    assert entry["size"] == len(small.file_bytes(71))
    assert entry["nv_id"] == 71
    assert entry["url"] == f"{small.url}/media/images/7/image_71.nii.gz"
    assert entry["created"].isoformat() == record["add_date"]
    assert entry["mtime"].isoformat() == record["modify_date"]
    assert direct.created(IMAGE) == entry["created"]
    assert direct.modified(IMAGE) == entry["mtime"]


def test_listings_may_be_changed_by_who_gets_them(fs: Any) -> None:
    for entry in fs.ls("collection_7"):
        entry.clear()
    fs.info("")["name"] = "spoilt"
    assert fs.info(IMAGE)["name"] == IMAGE
    assert fs.info("")["name"] == ""


def test_the_size_of_a_file_served_plain_is_not_known_before(fs: Any) -> None:
    assert fs.info(PLAIN)["size"] is None
    content = fs.cat_file(PLAIN)
    assert content[:2] == b"\x1f\x8b"
    after = len(content) if isinstance(fs, NeuroVaultCacheFileSystem) else None
    assert fs.info(PLAIN)["size"] == after


@pytest.mark.parametrize(
    ("path", "exists", "kind"),
    [
        ("", True, "directory"),
        ("collection_7", True, "directory"),
        (ABOUT, True, "file"),
        (IMAGE, True, "file"),
        (SIDECAR, True, "file"),
        ("collection_9", False, None),
        ("collection_9/image_91.nii.gz", False, None),
        ("collection_5555", False, None),
        ("collection_5555/collection_metadata.json", False, None),
        ("collection_7/image_5555.nii.gz", False, None),
        ("collection_7/image_81.nii.gz", False, None),
        ("collection_7/image_71_resampled.nii.gz", False, None),
        ("collection_7/../collection_7", False, None),
        (".intake_neurovault", False, None),
        ("elsewhere.txt", False, None),
    ],
)
def test_existence(fs: Any, path: str, exists: bool, kind: str | None) -> None:
    assert fs.exists(path) is exists
    assert fs.isdir(path) is (kind == "directory")
    assert fs.isfile(path) is (kind == "file")


@pytest.mark.parametrize(
    ("path", "error", "match"),
    [
        ("collection_9", PrivateError, "is private"),
        ("collection_5555", MissingError, "no collection 5555"),
        ("collection_7/image_5555.nii.gz", MissingError, "no public image 5555"),
        ("collection_7/image_81.nii.gz", MissingError, "open collection_8/image_81"),
        ("collection_7/odd.txt", MissingError, "a path is written"),
    ],
)
def test_what_is_not_there_says_why(
    fs: Any, path: str, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        fs.info(path)
    with pytest.raises(error, match=match):
        fs.ls(path)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("collection_*", ["collection_7", "collection_8"]),
        ("collection_[8]", ["collection_8"]),
        ("collection_7/image_7[12].nii.gz", [IMAGE, IMAGE.replace("71", "72")]),
        (IMAGE, [IMAGE]),
        ("collection_7/image_99.nii.gz", []),
        ("collection_5555/*", []),
        ("collection_*/collection_*", [ABOUT, ABOUT.replace("7", "8")]),
        ("collection_8*/image_*.nii.gz", ["collection_8/image_81.nii.gz"]),
        ("**/image_81*", [
            "collection_8/image_81.nii.gz",
            "collection_8/image_81_metadata.json",
        ]),
        ("collection_*/image_*/", []),
    ],
)  # fmt: skip
def test_glob(fs: Any, pattern: str, expected: list[str]) -> None:
    assert fs.glob(pattern) == expected
    assert list(fs.glob(pattern, detail=True)) == expected


def test_glob_lists_only_the_collections_that_match(
    direct: NeuroVaultFileSystem, small: NeuroVaultServer
) -> None:
    direct.glob("collection_[8]/image_*.nii.gz")
    assert paths_of(small) == {
        "/api/collections/": 1,
        "/api/collections/8/images/": 1,
    }


def test_find_and_walk(fs: Any) -> None:
    everything = fs.find("")
    assert len(everything) == 12
    assert fs.find("", maxdepth=1, withdirs=True) == ["collection_7", "collection_8"]
    assert fs.find(IMAGE) == [IMAGE]
    assert fs.find("collection_8", withdirs=True)[0] == "collection_8"
    assert fs.find("collection_5555") == []
    (root, *_) = fs.walk("")
    assert root == ("", ["collection_7", "collection_8"], [])


# ---- content ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        (0, 10),
        (5, None),
        (-8, None),
        (None, -8),
        (-20, -10),
        (10, 5),
        (10**9, None),
        (-(10**9), 4),
    ],
)
def test_slices_are_pythons(
    fs: Any, small: NeuroVaultServer, start: int | None, end: int | None
) -> None:
    assert fs.cat_file(IMAGE, start, end) == small.file_bytes(71)[start:end]


def test_files_are_opened_to_read(fs: Any, small: NeuroVaultServer) -> None:
    with fs.open(IMAGE) as file:
        assert file.read(2) == b"\x1f\x8b"
        assert file.seek(-4, 2) > 0
        assert file.read() == small.file_bytes(71)[-4:]
    with fs.open(ABOUT, "r", encoding="utf-8") as text:
        assert json.load(text)["DOI"] == "10.5555/x.7"
    assert fs.head(IMAGE, 3) == small.file_bytes(71)[:3]
    data = fs.cat_ranges([IMAGE, IMAGE], [0, -4], [4, None])
    assert data == [small.file_bytes(71)[:4], small.file_bytes(71)[-4:]]


def test_records_are_written_as_the_store_writes_them(
    fs: Any, small: NeuroVaultServer, tmp_path: Path
) -> None:
    other = cached(small.url, tmp_path / "other")
    other.cat_file(IMAGE)
    for path in (ABOUT, SIDECAR):
        content = fs.cat_file(path)
        assert content == (tmp_path / "other" / "neurovault" / path).read_bytes()
        assert fs.info(path)["size"] == len(content)


@pytest.mark.parametrize("path", ["", "collection_7"])
def test_a_folder_is_not_opened(fs: Any, path: str) -> None:
    with pytest.raises(IsADirectoryError, match="list it with ls"):
        fs.open(path)
    with pytest.raises(IsADirectoryError, match="list it with ls"):
        fs.cat_file(path)


@pytest.mark.parametrize(
    "write",
    [
        lambda fs: fs.open(IMAGE, "wb"),
        lambda fs: fs.open(IMAGE, "a"),
        lambda fs: fs.open(IMAGE, "r+b"),
        lambda fs: fs.mkdir("collection_10"),
        lambda fs: fs.makedirs("collection_10", exist_ok=True),
        lambda fs: fs.rm("collection_7", recursive=True),
        lambda fs: fs.pipe(IMAGE, b""),
        lambda fs: fs.touch(IMAGE),
        lambda fs: fs.cp_file(IMAGE, "x"),
        lambda fs: fs.mv(IMAGE, "x"),
        lambda fs: fs.write_text(ABOUT, "{}"),
    ],
)
def test_nothing_is_written(fs: Any, write: Callable[[Any], object]) -> None:
    with pytest.raises(OSError, match="can be read only"):
        write(fs)


def test_several_files_are_read_at_a_time(fs: Any, small: NeuroVaultServer) -> None:
    found = fs.cat("collection_7/image_7[123].nii.gz")
    assert {path: len(data) for path, data in found.items()} == {
        f"collection_7/image_{number}.nii.gz": len(small.file_bytes(number))
        for number in (71, 72, 73)
    }
    assert set(fs.cat("collection_8", recursive=True)) == set(fs.find("collection_8"))
    assert fs.cat(IMAGE) == small.file_bytes(71)
    assert list(fs.cat([IMAGE])) == [IMAGE]


def test_what_fails_among_several_is_raised_left_out_or_returned(fs: Any) -> None:
    missing = "collection_7/image_5555.nii.gz"
    paths = [IMAGE, missing]
    with pytest.raises(MissingError, match="no public image 5555"):
        fs.cat(paths)
    assert list(fs.cat(paths, on_error="omit")) == [IMAGE]
    assert isinstance(fs.cat(paths, on_error="return")[missing], MissingError)


@pytest.mark.parametrize(
    "ask",
    [
        lambda fs, paths, folder: fs.cat(paths),
        lambda fs, paths, folder: fs.get(paths, f"{folder}/copies/"),
    ],
)
def test_a_failure_leaves_no_thread_behind(
    fs: Any, tmp_path: Path, ask: Callable[..., object]
) -> None:
    before = workers()
    with pytest.raises(MissingError, match="no public image 5555") as caught:
        ask(fs, [IMAGE, "collection_7/image_5555.nii.gz"], tmp_path)
    assert workers() - before == set()
    assert caught.value.attempts > 0


def test_files_are_copied(fs: Any, small: NeuroVaultServer, tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "map.nii.gz"
    seen = Callback()
    fs.get_file(IMAGE, target, callback=seen)
    assert target.read_bytes() == small.file_bytes(71)
    assert seen.value == seen.size == len(small.file_bytes(71))
    with (tmp_path / "open").open("wb") as sink:
        fs.get_file(SIDECAR, sink)
    assert (tmp_path / "open").read_bytes() == fs.cat_file(SIDECAR)
    fs.get("collection_7", f"{tmp_path}/all", recursive=True)
    assert files_in(tmp_path / "all") == {
        path.partition("/")[2] for path in fs.find("collection_7")
    }
    assert files_in(tmp_path) == {p for p in files_in(tmp_path) if ".part-" not in p}


def test_a_list_is_copied_with_a_callback(fs: Any, tmp_path: Path) -> None:
    seen = Callback()
    fs.get([IMAGE, ABOUT], [f"{tmp_path}/a", f"{tmp_path}/b"], callback=seen)
    assert (seen.size, seen.value) == (2, 2)
    with pytest.raises(MissingError, match="no public image 5555"):
        fs.get([IMAGE, "collection_7/image_5555.nii.gz"], f"{tmp_path}/c/")


@dataclass(frozen=True)
class Place:
    """Where something is in memory."""

    path: str
    kind: str = "image_metadata"


class Writable(Tree):
    """A test double: a tree in memory where NeuroVault is, and writing to it."""

    cachable = False

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return MemoryFileSystem._strip_protocol(path)

    def __init__(self) -> None:
        super().__init__()
        self.memory = MemoryFileSystem()
        for name in ("ls", "info", "mkdir", "makedirs", "touch", "pipe", "rm"):
            setattr(self, name, getattr(self.memory, name))

    def _kind(self, path: str) -> str:
        return "collection" if self.memory.isdir(path) else "image_metadata"

    def _locate(self, path: str) -> Any:
        return Place(path)

    def _opened(self, location: Any) -> Any:
        return self.memory.open(location.path)


class WritableDirect(Writable, NeuroVaultFileSystem):
    """The copying of the one filesystem."""

    protocol = "writabledirect"


class WritableKept(Writable, NeuroVaultCacheFileSystem):
    """The copying of the other."""

    protocol = "writablekept"


class TestGet(AbstractFixtures, AbstractGetTests):  # type: ignore[misc]
    """What fsspec asks of every ``get``."""

    @pytest.fixture(params=[WritableDirect, WritableKept])
    def fs(self, request: pytest.FixtureRequest) -> Iterator[Any]:
        yield request.param()
        MemoryFileSystem.store.clear()
        MemoryFileSystem.pseudo_dirs[:] = [""]

    @pytest.fixture
    def local_fs(self) -> LocalFileSystem:
        # fsspec's own, before 2026.7, is what pytest 9 warns of.
        return LocalFileSystem(auto_mkdir=True)

    @pytest.fixture
    def fs_path(self) -> str:
        return "/root"

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return posixpath.join


# ---- how much is asked --------------------------------------------------------


def test_a_description_costs_one_request(fs: Any, small: NeuroVaultServer) -> None:
    for path, asked in (
        (IMAGE, "/api/images/71/"),
        (SIDECAR, "/api/images/71/"),
        (ABOUT, "/api/collections/7/"),
        ("collection_7", "/api/collections/7/"),
    ):
        small.clear_requests()
        fs.info(path)
        assert paths_of(small) == {asked: 1}


def test_a_listed_folder_answers_for_its_files(
    fs: Any, small: NeuroVaultServer
) -> None:
    fs.ls("collection_7")
    small.clear_requests()
    assert fs.glob("collection_7/image_*_metadata.json")
    fs.info(IMAGE)
    fs.cat_file(SIDECAR)
    fs.info("collection_7")
    assert small.requests == []


def test_a_glob_lists_once(fs: Any, small: NeuroVaultServer) -> None:
    fs.glob("collection_7/*")
    assert paths_of(small) == {
        "/api/collections/7/": 1,
        "/api/collections/7/images/": 1,
    }


def test_a_refresh_asks_again(fs: Any, small: NeuroVaultServer) -> None:
    assert len(fs.ls("collection_8")) == 3
    small.archive.add_image(8, Volume("mni6", 82), id=82)
    assert len(fs.ls("collection_8")) == 3
    assert len(fs.ls("collection_8", refresh=True)) == 5
    small.archive.add_image(8, Volume("mni6", 83), id=83)
    assert len(fs.find("collection_8", refresh=True)) == 7
    small.archive.add_image(8, Volume("mni6", 84), id=84)
    fs.invalidate_cache("collection_7")
    assert len(fs.ls("collection_8")) == 7
    fs.invalidate_cache()
    assert len(fs.ls("collection_8")) == 9


def test_listings_need_not_be_remembered(small: NeuroVaultServer) -> None:
    fs = NeuroVaultFileSystem(url=small.url, use_listings_cache=False)
    fs.ls("collection_8")
    small.archive.add_image(8, Volume("mni6", 82), id=82)
    assert len(fs.ls("collection_8")) == 5


def test_a_file_is_downloaded_once(
    kept: NeuroVaultCacheFileSystem, small: NeuroVaultServer, data_dir: Path
) -> None:
    with kept.open(IMAGE) as file:
        assert file.name == f"{data_dir}/neurovault/{IMAGE}"
        assert file.read() == small.file_bytes(71)
    assert paths_of(small) == {
        "/api/images/71/": 1,
        "/api/collections/7/": 1,
        "/media/images/7/image_71.nii.gz": 1,
    }
    small.clear_requests()
    again = cached(small.url, data_dir, workers=2)
    for fs in (kept, again):
        fs.cat_file(IMAGE)
        fs.cat_file(SIDECAR)
        fs.cat_file(ABOUT)
        fs.info(IMAGE)
    assert small.requests == []


def test_old_listings_are_asked_for_again(
    small: NeuroVaultServer, data_dir: Path
) -> None:
    young, old = (cached(small.url, data_dir, metadata_ttl=ttl) for ttl in ("1d", 0))
    for fs in (young, old):
        fs.ls("collection_8")
    small.archive.add_image(8, Volume("mni6", 82), id=82)
    assert [len(fs.ls("collection_8")) for fs in (young, old)] == [3, 5]


def test_an_update_fetches_what_changed(
    kept: NeuroVaultCacheFileSystem, small: NeuroVaultServer, data_dir: Path
) -> None:
    before, record = kept.cat_file(IMAGE), kept.cat_file(SIDECAR)
    small.archive.replace_file(71, Volume("mni6", 99))
    assert kept.cat_file(IMAGE) == before
    fresh = cached(small.url, data_dir, mode="update")
    assert fresh.cat_file(SIDECAR) != record
    assert kept.cat_file(SIDECAR) == record
    assert fresh.cat_file(IMAGE) == small.file_bytes(71) != before
    assert fresh.cat_file(SIDECAR) == kept.cat_file(SIDECAR) != record


# ---- what goes wrong ----------------------------------------------------------


def test_a_network_error_is_not_an_absence(fs: Any, small: NeuroVaultServer) -> None:
    small.faults.append(Fault(match="/api/", kind="503", seconds=0))
    for ask in (fs.exists, fs.isfile, fs.info, fs.glob, fs.cat, fs.ukey):
        with pytest.raises(ServerError, match="503"):
            ask(IMAGE)
    for ask in (fs.ls, fs.find, fs.isdir):
        with pytest.raises(ServerError, match="503"):
            ask("collection_7")
    with pytest.raises(ServerError, match="503"):
        fs.glob("collection_*/image_*.nii.gz")


def test_no_server_is_an_error_of_this_package(tmp_path: Path) -> None:
    for fs in (
        NeuroVaultFileSystem(url=DEAD, retries=0),
        cached(DEAD, tmp_path),
    ):
        with pytest.raises(UnreachableError, match="127"):
            fs.open(IMAGE)


@pytest.mark.parametrize("kind", ["short_body", "reset_body", "bit_flip"])
def test_a_broken_download_leaves_nothing(
    fs: Any, small: NeuroVaultServer, tmp_path: Path, kind: Any
) -> None:
    small.faults.append(Fault(match="/media/", kind=kind))
    target = tmp_path / "copy" / "map.nii.gz"
    with pytest.raises((ServerError, CorruptFileError), match="71"):
        fs.get_file(IMAGE, target)
    assert files_in(target.parent) == set() if target.parent.exists() else True
    assert not [path for path in files_in(tmp_path) if path.endswith("nii.gz")]
    small.faults.clear()
    fs.get_file(IMAGE, target)
    assert target.read_bytes() == small.file_bytes(71)


def test_an_incomplete_listing_warns_and_is_not_remembered(
    fs: Any, small: NeuroVaultServer
) -> None:
    small.faults.append(Fault(match="/images/", kind="poison_row", image_id=72))
    for _ in range(2):
        with pytest.warns(NeuroVaultWarning, match="list of 7 is not complete"):
            assert len(fs.ls("collection_7")) == 7
    small.faults.clear()
    assert len(fs.ls("collection_7")) == 9


def test_an_image_without_a_file_has_a_record_only(
    fs: Any, small: NeuroVaultServer
) -> None:
    small.archive.edit_image(71, file=None)
    assert IMAGE not in fs.ls("collection_7", detail=False)
    assert fs.exists(SIDECAR)
    with pytest.raises(MissingError, match="only a record"):
        fs.info(IMAGE)
    with pytest.raises(MissingError, match="only a record"):
        fs.cat_file(IMAGE)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"timeot": 3}, UnknownArgumentError, "did you mean 'timeout'"),
        ({"workers": 0}, ArgumentError, "workers=0"),
        ({"timeout": -1}, ArgumentError, "timeout=-1"),
        ({"url": "ftp://x"}, ArgumentError, "url='ftp://x'"),
    ],
)
def test_wrong_options_are_refused(
    options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        fsspec.filesystem("neurovault", **options)
    if "workers" not in options:
        with pytest.raises(error, match=match):
            fsspec.open(f"{CHAIN}{IMAGE}", neurovault=options)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"mode": "fast"}, ArgumentError, "'mode' must be one of"),
        ({"metadata_ttl": "soon"}, ArgumentError, "metadata_ttl='soon'"),
        ({"workers": 99}, ArgumentError, "workers=99"),
        ({"data_dri": "x"}, UnknownArgumentError, "did you mean 'data_dir'"),
        ({"target_protocol": "http"}, ArgumentError, "not over 'http'"),
    ],
)
def test_wrong_options_of_the_cache_are_refused(
    options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        fsspec.filesystem("neurovaultcache", **options)


def test_the_cache_lies_over_neurovault_only() -> None:
    with pytest.raises(ArgumentError, match="not over 'memory'"):
        fsspec.open("neurovaultcache::memory://collection_1/image_3.nii.gz")


# ---- offline ------------------------------------------------------------------


def test_offline_asks_nothing(small: NeuroVaultServer, data_dir: Path) -> None:
    online = cached(small.url, data_dir)
    online.ls("")
    listed = online.ls("collection_7")
    online.cat_file(IMAGE)
    content = online.cat_file(SIDECAR)
    offline = cached(small.url, data_dir, mode="offline")
    before = files_in(data_dir)
    small.clear_requests()
    assert [e["name"] for e in offline.ls("collection_7")] == [
        e["name"] for e in listed
    ]
    assert offline.ls("", detail=False) == ["collection_7", "collection_8"]
    assert offline.cat_file(IMAGE) == small.file_bytes(71)
    assert offline.cat_file(SIDECAR) == content
    assert offline.info("collection_7/image_72.nii.gz")["nv_id"] == 72
    assert offline.exists("collection_7/image_5555.nii.gz") is False
    with pytest.raises(OfflineError, match="without mode='offline'"):
        offline.cat_file("collection_7/image_72.nii.gz")
    assert json.loads(offline.cat_file("collection_7/image_72_metadata.json"))["id"]
    other = offline.ls("collection_8", detail=False)
    assert other == ["collection_8/collection_metadata.json"]
    with pytest.raises(OfflineError, match="not in the store"):
        offline.ls("collection_5555")
    assert small.requests == []
    tree = {path for path in files_in(data_dir) if ".intake_neurovault" not in path}
    assert tree == {path for path in before if ".intake_neurovault" not in path}


def test_offline_sees_what_others_fetched_meanwhile(
    kept: NeuroVaultCacheFileSystem, small: NeuroVaultServer, data_dir: Path
) -> None:
    offline = cached(small.url, data_dir, mode="offline")
    assert offline.ls("") == []
    kept.cat_file(IMAGE)
    assert offline.ls("", detail=False) == ["collection_7"]
    assert offline.ls("collection_7", detail=False) == [ABOUT, IMAGE, SIDECAR]
    kept.cat_file("collection_7/image_72.nii.gz")
    assert len(offline.ls("collection_7")) == 5


def test_a_damaged_record_does_not_hide_what_was_listed(
    kept: NeuroVaultCacheFileSystem, small: NeuroVaultServer, data_dir: Path
) -> None:
    kept.ls("collection_7")
    kept.cat_file(IMAGE)
    (data_dir / "neurovault" / SIDECAR).write_text('{"id":')
    assert json.loads(kept.cat_file(SIDECAR))["id"] == 71
    offline = cached(small.url, data_dir, mode="offline")
    assert offline.cat_file(IMAGE) == small.file_bytes(71)
    (data_dir / "neurovault" / "collection_7/image_99_metadata.json").write_text("{")
    with pytest.warns(NeuroVaultWarning, match="list of 7 is not complete"):
        assert offline.info("collection_7/image_72.nii.gz")["nv_id"] == 72


def test_a_record_that_makes_no_sense_does_not_cost_the_others(
    fs: Any, small: NeuroVaultServer
) -> None:
    small.archive.edit_image(72, file="http://127.0.0.1/../../etc/passwd")
    with pytest.warns(NeuroVaultWarning, match="Record 72: The record gives"):
        assert len(fs.ls("collection_7")) == 7


def test_a_tree_that_nilearn_wrote_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "neurovault" / "collection_12"
    folder.mkdir(parents=True)
    (folder / "collection_metadata.json").write_text('{"id": 12, "name": "Old"}')
    record = {"id": 3, "file": "http://neurovault.org/media/images/12/t.nii.gz"}
    (folder / "image_3_metadata.json").write_text(json.dumps(record))
    image = nibabel.Nifti1Image(np.ones((3, 3, 3), "f4"), np.eye(4))
    image.to_filename(folder / "image_3.nii.gz")
    (folder / "image_4_metadata.json").write_text('{"id": 4')
    fs = cached(DEAD, tmp_path, mode="offline")
    with pytest.warns(NeuroVaultWarning, match="not complete"):
        assert len(fs.ls("collection_12")) == 3
    with fs.open("collection_12/image_3.nii.gz") as file:
        assert nibabel.load(file.name).shape == (3, 3, 3)
    assert fs.info("collection_12/image_3.nii.gz")["size"] > 0


# ---- chains, other packages, other processes ----------------------------------


def test_local_paths_of_a_pattern(small: NeuroVaultServer, data_dir: Path) -> None:
    options = chained(small, data_dir)
    found = fsspec.open_local(f"{CHAIN}collection_7/image_*.nii.gz", **options)
    root = data_dir / "neurovault"
    assert found == [f"{root}/collection_7/image_{n}.nii.gz" for n in (71, 72, 73, 74)]
    assert {nibabel.load(path).shape for path in found} == {(31, 37, 31)}
    media = [r for r in small.requests if r.path.startswith("/media/")]
    assert len(media) == 4
    alone = fsspec.open_local(f"{CHAIN}{IMAGE}", **options)
    assert alone == f"{root}/{IMAGE}"


def test_local_paths_of_records(small: NeuroVaultServer, data_dir: Path) -> None:
    options = chained(small, data_dir)
    found = fsspec.open_local(f"{CHAIN}collection_7/*.json", **options)
    assert [json.loads(Path(path).read_text())["id"] for path in found] == [
        7,
        71,
        72,
        73,
        74,
    ]
    assert not (data_dir / "neurovault" / "collection_7").exists()


def test_a_chain_opens_one_file(small: NeuroVaultServer, data_dir: Path) -> None:
    opened = fsspec.open(
        f"{CHAIN}{IMAGE}", compression="gzip", **chained(small, data_dir)
    )
    with opened as file:
        assert int.from_bytes(file.read(4), "little") == 348
    fs, path = fsspec.url_to_fs(f"{CHAIN}{IMAGE}", **chained(small, data_dir))
    other, _ = fsspec.url_to_fs(f"{CHAIN}{PLAIN}", **chained(small, data_dir))
    assert (path, fs is other, fs is opened.fs) == (IMAGE, True, True)


def test_without_a_chain_the_server_is_the_usual_one(
    small: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTAKE_NEUROVAULT_URL", small.url)
    monkeypatch.setenv("NILEARN_DATA", str(data_dir))
    with fsspec.open(f"neurovaultcache://{IMAGE}") as file:
        assert file.name == f"{data_dir}/neurovault/{IMAGE}"
    monkeypatch.setenv("NILEARN_DATA", f"{data_dir}/other")
    with fsspec.open(f"neurovaultcache://{IMAGE}") as file:
        assert file.name == f"{data_dir}/other/neurovault/{IMAGE}"
    monkeypatch.setenv("INTAKE_NEUROVAULT_URL", DEAD)
    with pytest.raises(UnreachableError, match="127"):
        fsspec.filesystem("neurovault", retries=0).ls("")


def test_many_are_opened_as_text(small: NeuroVaultServer, data_dir: Path) -> None:
    urls = [f"{CHAIN}{ABOUT}", f"{CHAIN}{SIDECAR}"]
    with fsspec.open_files(urls, mode="rt", **chained(small, data_dir)) as files:
        assert [json.load(file)["id"] for file in files] == [7, 71]
    assert all(file.closed for file in files)
    broken = [f"{CHAIN}{IMAGE}", f"{CHAIN}collection_7/image_5555.nii.gz"]
    with (
        pytest.raises(MissingError, match="no public image 5555"),
        fsspec.open_files(broken, **chained(small, data_dir)),
    ):
        pass


def test_another_driver_of_intake_reads_records(
    small: NeuroVaultServer, data_dir: Path
) -> None:
    source = intake.open_textfiles(
        f"{CHAIN}collection_7/image_*_metadata.json",
        storage_options=chained(small, data_dir),
    )
    text = source.read()
    assert [text.count(f'"id": {number},') for number in (71, 72, 73, 74)] == [1] * 4


@pytest.mark.parametrize("stock", ["simplecache", "filecache"])
def test_the_caches_of_fsspec_are_safe_over_it(
    small: NeuroVaultServer, tmp_path: Path, stock: str
) -> None:
    storage = tmp_path / "stock"
    options = {
        "neurovault": {"url": small.url, "retries": 0},
        stock: {"cache_storage": str(storage)},
    }
    small.faults.append(Fault(match="/media/", kind="short_body", times=1))
    url = f"{stock}::neurovault://{IMAGE}"
    with (
        pytest.raises(NeuroVaultError, match="71"),
        fsspec.open(url, **options),
    ):
        pass
    assert files_in(storage) <= {"cache"}
    with fsspec.open(url, **options) as file:
        assert file.read() == small.file_bytes(71)


def test_nilearn_reads_what_was_kept(
    kept: NeuroVaultCacheFileSystem, data_dir: Path
) -> None:
    kept.get([IMAGE, PLAIN], f"{data_dir}/elsewhere/")
    kept.cat("collection_7/image_72_metadata.json")
    for resample in (False, True):
        found = fetch_neurovault(
            max_images=None,
            collection_terms={},
            image_terms={},
            data_dir=str(data_dir),
            mode="offline",
            resample=resample,
            verbose=0,
        )
        assert sorted(meta["id"] for meta in found.images_meta) == [71, 74]
    assert [nibabel.load(path).shape for path in found.images] == [(61, 73, 61)] * 2


def test_threads_download_once(small: NeuroVaultServer, data_dir: Path) -> None:
    small.latency = 0.05
    start = threading.Barrier(4)
    found: list[bytes] = []

    def read() -> None:
        start.wait()
        found.append(cached(small.url, data_dir).cat_file(IMAGE))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [small.file_bytes(71)] * 4
    assert paths_of(small)["/media/images/7/image_71.nii.gz"] == 1


def test_a_filesystem_travels(fs: Any) -> None:
    assert pickle.loads(pickle.dumps(fs)) is fs
    assert fsspec.AbstractFileSystem.from_json(fs.to_json()) is fs
    assert fs.fsid.startswith(f"{fs.protocol}:http://127.0.0.1:")


def test_another_process_reads_what_it_is_given(
    fs: Any, small: NeuroVaultServer, run_python: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "fs").write_bytes(pickle.dumps(fs))
    done = run_python(
        "import pickle, sys\n"
        "fs = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(len(fs.cat_file(sys.argv[2])))",
        str(tmp_path / "fs"),
        IMAGE,
    )
    assert int(done.stdout) == len(small.file_bytes(71))


def test_keys_change_with_the_file(fs: Any, small: NeuroVaultServer) -> None:
    before = fs.ukey(IMAGE), fs.checksum(IMAGE)
    assert (fs.ukey(IMAGE), fs.checksum(IMAGE)) == before
    assert fs.ukey(SIDECAR) != fs.ukey(IMAGE)
    small.archive.edit_image(71, name="renamed")
    fs.invalidate_cache()
    assert fs.ukey(IMAGE) != before[0]
    assert fs.checksum(IMAGE) != before[1]


def test_a_read_only_store_still_gives_records(
    kept: NeuroVaultCacheFileSystem, data_dir: Path
) -> None:
    (data_dir / "neurovault").write_text("a file where the store should be")
    with pytest.warns(NeuroVaultWarning, match="cannot be written"):
        assert json.loads(kept.cat_file(ABOUT))["id"] == 7


def test_no_address_shows_a_token(small: NeuroVaultServer) -> None:
    fs = NeuroVaultFileSystem(url=small.url)
    shown = [str(entry) for entry in (*fs.ls(""), *fs.ls("collection_7"))]
    assert not [text for text in shown if PRIVATE_NAME in text]
    assert fs.client == Client.parse(url=small.url)


def test_the_protocols_are_known_before_anything_is_loaded(
    run_python: Callable[..., Any],
) -> None:
    done = run_python(
        "import fsspec, json, sys\n"
        "names = set(fsspec.available_protocols())\n"
        "assert {'neurovault', 'neurovaultcache'} <= names\n"
        "assert 'intake_neurovault' not in sys.modules\n"
        "cls = fsspec.get_filesystem_class('neurovaultcache')\n"
        "print(json.dumps([cls.__name__, sorted(sys.modules)]))"
    )
    name, loaded = json.loads(done.stdout)
    assert name == "NeuroVaultCacheFileSystem"
    heavy = {"nibabel", "nilearn", "xarray", "dask"}
    assert heavy & set(loaded) == set()
