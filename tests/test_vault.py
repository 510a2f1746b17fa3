"""The façade: files and words for many images, under each policy on failures."""

from __future__ import annotations

import logging
import os
import pickle
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from asking import (
    BusyServer,
    asked,
    find,
    ids,
    many_collections,
    vault_of,
    workers,
)
from trees import gzipped

from intake_neurovault.decoder import PATIENCE
from intake_neurovault.errors import (
    ArgumentError,
    GeometryError,
    MissingError,
    NeuroVaultWarning,
    OfflineError,
    StoreError,
)
from intake_neurovault.pool import MAX_FAILURES_IN_A_ROW, Pool
from intake_neurovault.records import Image, ImageFile
from intake_neurovault.testing import Archive, Fault, NeuroVaultServer, Volume
from intake_neurovault.vault import Vault

MEDIA = "^/media/"
BROKEN = [2201, 2202, 2203, 2204, 2205, 2206]


def files_of(images: tuple[Image, ...]) -> list[ImageFile]:
    return [image.file for image in images if image.file is not None]


def opened(
    vault: Vault, files: list[ImageFile], *, doubted: bool = False
) -> list[Path | None]:
    """What a computation is given, after the last file has arrived."""
    with vault.open(files, doubted=doubted) as paths:
        return list(paths)


# ---- arguments ------------------------------------------------------------------


def test_the_parts_are_what_was_asked_for(tmp_path: Path) -> None:
    vault = Vault.parse(
        url="http://localhost:8000/api/",
        data_dir=tmp_path,
        mode="update",
        metadata_ttl="2h",
        trusted_hosts=("files.lab.org",),
        timeout=5,
        retries=0,
        workers=3,
        errors="skip",
        progress=False,
    )
    assert vault.pool == Pool(3, "skip", progress=False)
    client = vault.mirror.client
    assert (client.url, client.timeout, client.retries) == (
        "http://localhost:8000",
        5,
        0,
    )
    assert client.trusted_hosts == ("files.lab.org",)
    assert vault.mirror.store.root == tmp_path / "neurovault"
    assert (vault.mirror.listings.mode, vault.mirror.listings.ttl) == ("update", 7200)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"mode": "online"}, "'mode' must be one of"),
        ({"metadata_ttl": "soon"}, "metadata_ttl='soon'"),
        ({"workers": 0}, "workers=0"),
        ({"errors": "stop"}, "'errors' must be one of"),
        ({"timeout": 0}, "timeout"),
        ({"data_dir": 7}, "data_dir"),
    ],
)
def test_arguments_that_make_no_sense_are_named(arguments: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        Vault.parse(**arguments)


def test_a_vault_travels(server: NeuroVaultServer, data_dir: Path) -> None:
    vault = vault_of(server, data_dir)
    copy = pickle.loads(pickle.dumps(vault))
    assert copy == vault
    assert hash(copy) == hash(vault)


# ---- files ----------------------------------------------------------------------


def test_files_come_in_the_order_asked(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    found = find(server, data_dir, image_ids=[32021, 10426, 32015, 48001])
    vault = vault_of(server, data_dir)
    server.clear_requests()
    fetched = vault.fetch(found.images)
    names = [path.name for path in fetched.paths if path]
    assert names == [f"image_{number}.nii.gz" for number in ids(found.images)]
    assert fetched.failures == ()
    assert len(asked(server, MEDIA)) == 4
    assert vault.fetch(found.images) == fetched
    assert opened(vault, files_of(found.images)) == list(fetched.paths)
    assert asked(server) == []


def test_the_same_image_twice_is_downloaded_once(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    (image,) = find(server, data_dir, image_ids=[32015]).images
    server.clear_requests()
    paths = vault_of(server, data_dir).fetch([image, image, image]).paths
    assert len(paths) == 3
    assert len(set(paths)) == 1
    assert len(asked(server, MEDIA)) == 1


def zeroed(path: Path) -> None:
    """Take the content of a file, and leave its size and time of last change."""
    state = path.stat()
    path.write_bytes(bytes(state.st_size))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("mode", ["download_new", "update", "overwrite"])
def test_a_doubted_file_is_read_to_its_end_and_had_again_if_damaged(
    server: NeuroVaultServer, data_dir: Path, mode: str
) -> None:
    found = find(server, data_dir, image_ids=[32015, 32016])
    whole, damaged = vault_of(server, data_dir).fetch(found.images).paths
    assert whole
    assert damaged
    zeroed(damaged)
    files = files_of(found.images)
    vault = vault_of(server, data_dir, mode)
    if mode != "overwrite":
        assert opened(vault, files) == [whole, damaged]
    server.clear_requests()
    with pytest.warns(NeuroVaultWarning, match="image 32016.*moved to") as seen:
        assert opened(vault, files, doubted=True) == [whole, damaged]
    assert len(seen) == 1
    assert damaged.read_bytes() == server.file_bytes(32016)
    assert len(asked(server, MEDIA)) == (2 if mode == "overwrite" else 1)
    assert opened(vault, files, doubted=True) == [whole, damaged]
    assert asked(server, MEDIA) == []


def test_offline_a_doubted_file_that_is_damaged_is_not_given(
    server: NeuroVaultServer, data_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = find(server, data_dir, image_ids=[32015])
    (path,) = vault_of(server, data_dir).fetch(found.images).paths
    assert path
    zeroed(path)
    files = files_of(found.images)
    text = "32015 .* is damaged .*without mode='offline'.*`neurovault cache repair`"
    with (
        pytest.warns(NeuroVaultWarning, match="32015.*is passed over"),
        pytest.raises(OfflineError, match=text),
    ):
        opened(vault_of(server, data_dir, "offline"), files, doubted=True)
    lenient = vault_of(server, data_dir, "offline", "skip")
    with pytest.warns(NeuroVaultWarning, match="32015.*is passed over"):
        assert opened(lenient, files, doubted=True) == [None]
    assert re.search(text, caplog.text)
    assert path.exists()


@pytest.mark.parametrize("errors", ["raise", "skip"])
def test_the_grid_of_a_damaged_file_is_read_after_it_was_had_again(
    server: NeuroVaultServer, data_dir: Path, errors: str
) -> None:
    found = find(server, data_dir, image_ids=[32015])
    vault = vault_of(server, data_dir, errors=errors)
    paths = vault.fetch(found.images).paths
    before = vault.geometries(found.images, paths)
    assert paths[0]
    zeroed(paths[0])
    with pytest.warns(NeuroVaultWarning, match="32015.*moved to"):
        assert vault.geometries(found.images, paths) == before
    zeroed(paths[0])
    offline = vault_of(server, data_dir, "offline", "skip")
    with pytest.warns(NeuroVaultWarning, match="32015.*is passed over"):
        geometries, failures = offline.geometries(found.images, paths)
    assert geometries == [None]
    assert "neurovault cache repair" in failures[0].reason


@pytest.mark.parametrize("errors", ["warn", "skip"])
def test_what_cannot_be_had_is_left_out_and_reported(
    server: NeuroVaultServer,
    data_dir: Path,
    errors: str,
    recwarn: pytest.WarningsRecorder,
) -> None:
    found = find(server, data_dir, image_ids=[*BROKEN, 32015])
    vault = vault_of(server, data_dir, errors=errors)
    if errors == "warn":
        text = r"6 things could not be fetched; see \.failures\. First: .mage 2201"
        with pytest.warns(NeuroVaultWarning, match=text):
            fetched = vault.fetch(found.images)
    else:
        fetched = vault.fetch(found.images)
    assert len(recwarn) == 0
    assert [path is not None for path in fetched.paths] == [False] * 6 + [True]
    assert [each.id for each in fetched.failures] == BROKEN
    for failure, image in zip(fetched.failures, found.images, strict=False):
        assert failure.collection_id == 22
        assert failure.url.startswith(f"{server.url}/media/images/22/")
        assert failure.attempts > 0
        assert str(image.id) in failure.reason


def test_raise_raises_the_first_and_keeps_what_was_fetched(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    found = find(server, data_dir, image_ids=[32015, 2201, 2202])
    vault = vault_of(server, data_dir)
    with pytest.raises(MissingError, match=r"(?i)image 2201 \(collection 22\)"):
        vault.fetch(found.images)
    assert vault.mirror.store.local_path(files_of(found.images)[0]) is not None


def test_an_image_without_a_file_is_named(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    fresh_server.archive.edit_image(32015, file=None)
    images = find(fresh_server, data_dir, image_ids=[32015, 32016]).images
    with pytest.raises(MissingError, match=r"image 32015 \(collection 1952\) has no f"):
        vault_of(fresh_server, data_dir).fetch(images)
    fetched = vault_of(fresh_server, data_dir, errors="skip").fetch(images)
    assert [path is None for path in fetched.paths] == [True, False]
    assert [each.id for each in fetched.failures] == [32015]


def lost_archive(count: int) -> Archive:
    """One collection of images whose files the server has lost."""
    archive = Archive()
    archive.add_collection("lost", id=1)
    for number in range(1, count + 1):
        archive.add_image(1, None, id=number)
    return archive


def test_a_server_that_fails_again_and_again_is_given_up(data_dir: Path) -> None:
    with NeuroVaultServer(many_collections(10, 20)) as server:
        images = find(server, data_dir, collection_ids=range(1, 11)).images
        server.faults.append(Fault(match=MEDIA, kind="html"))
        vault = vault_of(server, data_dir, errors="skip")
        fetched = vault.fetch(images)
        tried = set(asked(server, MEDIA))
    assert fetched.paths == (None,) * len(images)
    assert [each.id for each in fetched.failures] == ids(images)
    assert len(tried) <= MAX_FAILURES_IN_A_ROW + 10
    not_asked = [each for each in fetched.failures if each.attempts == 0]
    assert len(not_asked) == len(images) - len(tried)
    assert "100 things in a row had failed" in not_asked[0].reason


def test_what_is_on_disk_is_given_though_the_server_was_given_up(
    data_dir: Path,
) -> None:
    archive = many_collections(10, 20)
    archive.add_collection("whole", id=11)
    archive.add_image(11, Volume("mni6"), id=20000)
    with NeuroVaultServer(archive) as server:
        images = find(server, data_dir, collection_ids=range(1, 12)).images
        vault = vault_of(server, data_dir, errors="skip")
        kept = vault.fetch(images[-1:]).paths
        server.faults.append(Fault(match=MEDIA, kind="html"))
        assert vault.fetch(images).paths == (*[None] * 200, *kept)


def test_a_collection_that_fails_again_and_again_is_given_up(data_dir: Path) -> None:
    archive = many_collections(1, 80)
    archive.add_collection("whole", id=2)
    for number in range(3):
        archive.add_image(2, Volume("mni6", number), id=2000 + number)
    with NeuroVaultServer(archive) as server:
        images = find(server, data_dir, collection_ids=[1, 2]).images
        server.faults.append(Fault(match="/media/images/1/", kind="html"))
        fetched = vault_of(server, data_dir, errors="skip").fetch(images)
        tried = set(asked(server, "/media/images/1/"))
    assert [path is None for path in fetched.paths] == [True] * 80 + [False] * 3
    assert len(fetched.failures) == 80
    assert "was not asked for" in fetched.failures[-1].reason
    assert 30 <= len(tried) <= 30 + 8


@pytest.mark.parametrize("mode", ["download_new", "offline"])
def test_files_that_are_not_there_end_no_run(data_dir: Path, mode: str) -> None:
    count = MAX_FAILURES_IN_A_ROW + 20
    with NeuroVaultServer(lost_archive(count)) as server:
        images = find(server, data_dir, collection_ids=[1]).images
        fetched = vault_of(server, data_dir, mode, errors="skip").fetch(images)
    assert fetched.paths == (None,) * count
    assert [each.id for each in fetched.failures] == list(range(1, count + 1))


def test_a_store_that_cannot_be_written_is_told_before_all_is_tried(
    server: NeuroVaultServer, data_dir: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder is needed")
    images = find(server, data_dir, collection_ids=[1952]).images
    server.clear_requests()
    with pytest.raises(StoreError, match="pass data_dir="):
        vault_of(server, blocked).fetch(images)
    assert len(asked(server, MEDIA)) == 0


# ---- files for a computation ----------------------------------------------------


def test_a_computation_gets_files_or_an_error(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    files = files_of(find(server, data_dir, image_ids=[32015, 2201]).images)
    vault = vault_of(server, data_dir)
    assert [path.name for path in opened(vault, files[:1]) if path] == [
        "image_32015.nii.gz"
    ]
    with pytest.raises(MissingError, match=r"(?i)image 2201"):
        opened(vault, files)
    assert opened(vault, []) == []


@pytest.mark.parametrize("errors", ["warn", "skip"])
def test_a_computation_gets_none_where_failures_are_allowed(
    server: NeuroVaultServer,
    data_dir: Path,
    errors: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    files = files_of(find(server, data_dir, image_ids=[32015, 2201, 32016]).images)
    vault = vault_of(server, data_dir, errors=errors)
    warned = (
        pytest.warns(NeuroVaultWarning, match="1 thing could not be fetched, and left")
        if errors == "warn"
        else nullcontext()
    )
    with caplog.at_level(logging.WARNING), warned as seen:
        paths = opened(vault, files)
    assert {each.filename for each in seen or ()} <= {__file__}
    assert [path is None for path in paths] == [False, True, False]
    (line,) = caplog.messages
    assert re.match("(?i)left empty: image 2201", line)


def test_what_is_on_disk_takes_no_other_thread(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    files = files_of(find(server, data_dir, image_ids=[32015, 32016]).images)
    vault = vault_of(server, data_dir)
    missing = opened(vault, files)
    before = workers()
    with vault.open(files) as paths:
        assert workers() == before
        assert list(paths) == missing


def test_what_is_on_disk_and_what_is_not_come_in_the_order_asked(
    data_dir: Path,
) -> None:
    with NeuroVaultServer(many_collections(1, 3, gzipped(1))) as server:
        files = files_of(find(server, data_dir, collection_ids=[1]).images)
        vault = vault_of(server, data_dir)
        opened(vault, files[1:2])
        asked(server)
        order = [files[place] for place in (0, 1, 2, 1)]
        names = [path.name for path in opened(vault, order) if path]
        requests = asked(server, MEDIA)
    assert names == [f"image_{number}.nii.gz" for number in (1000, 1001, 1002, 1001)]
    assert len(requests) == 2


def test_a_computation_offline_asks_nothing(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    files = files_of(find(server, data_dir, image_ids=[32015, 32016]).images)
    opened(vault_of(server, data_dir), files[:1])
    server.clear_requests()
    offline = vault_of(server, data_dir, "offline", errors="skip")
    assert [path is None for path in opened(offline, files)] == [False, True]
    with pytest.raises(OfflineError, match="file of image 32016"):
        opened(vault_of(server, data_dir, "offline"), files)
    assert asked(server) == []


class HeldServer(NeuroVaultServer):
    """Does not send the files of one image before it is told to."""

    def __init__(self, archive: Archive, image_id: int) -> None:
        super().__init__(archive)
        self.asked_for, self.told = threading.Event(), threading.Event()
        self._held = f"_{image_id}."

    def prepare(self, asked: Any) -> Any:
        if asked.path.startswith("/media/") and self._held in asked.path:
            self.asked_for.set()
            self.told.wait(60)
        return super().prepare(asked)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_threads_of_a_computation_share_the_workers(
    data_dir: Path, workers: int
) -> None:
    archive = many_collections(1, 24, gzipped(1))
    with BusyServer(archive, MEDIA, 0.02, expected=workers) as server:
        files = files_of(find(server, data_dir, collection_ids=[1]).images)
        vault = vault_of(server, data_dir, workers=workers)
        blocks = [files[first : first + 6] for first in range(0, 24, 6)]
        with ThreadPoolExecutor(4) as threads:
            paths = list(threads.map(partial(opened, vault), blocks))
    assert sum(path is not None for block in paths for path in block) == 24
    assert server.most == workers


@pytest.fixture
def held() -> Iterator[HeldServer]:
    with HeldServer(many_collections(1, 3, gzipped(1)), 1001) as server:
        yield server
        server.told.set()


def test_a_file_is_given_while_the_next_is_on_its_way(
    held: HeldServer, data_dir: Path
) -> None:
    files = files_of(find(held, data_dir, image_ids=[1000, 1001, 1002]).images)
    with vault_of(held, data_dir).open(files) as paths:
        first = next(paths)
        assert held.asked_for.wait(60)
        assert not held.told.is_set()
        held.told.set()
        names = [path.name for path in (first, *paths) if path]
    assert names == [f"image_{number}.nii.gz" for number in (1000, 1001, 1002)]


def test_what_is_on_its_way_is_called_off_by_an_error(
    held: HeldServer, data_dir: Path
) -> None:
    files = files_of(find(held, data_dir, image_ids=[1000, 1001]).images)

    def decode(_: Path | None) -> None:
        held.asked_for.wait(60)
        msg = "in the middle"
        raise ValueError(msg)

    with (
        pytest.raises(ValueError, match="in the middle"),
        vault_of(held, data_dir).open(files) as paths,
    ):
        decode(next(paths))
    held.told.set()
    vault = vault_of(held, data_dir, "offline", "skip")
    assert [path is None for path in opened(vault, files)] == [False, True]


# ---- geometry -------------------------------------------------------------------


@pytest.mark.parametrize("errors", ["raise", "skip"])
def test_geometries_are_read_from_the_files(
    server: NeuroVaultServer, data_dir: Path, errors: str
) -> None:
    found = find(server, data_dir, image_ids=[32015, 2015, 48001])
    vault = vault_of(server, data_dir, errors=errors)
    paths = vault.fetch(found.images).paths
    if errors == "raise":
        with pytest.raises(GeometryError, match=r"image 2015 \(collection 20\)"):
            vault.geometries(found.images, paths)
        return
    geometries, failures = vault.geometries(found.images, [paths[0], paths[1], None])
    assert [each and each.grid.shape for each in geometries] == [
        (53, 63, 46),
        None,
        None,
    ]
    assert [each.id for each in failures] == [2015]


# ---- words ----------------------------------------------------------------------


@pytest.fixture
def pairs(server: NeuroVaultServer, data_dir: Path) -> list[tuple[Image, Any]]:
    found = find(server, data_dir, collection_ids=[1952], max_images=4)
    return [(image, found.collections[1952]) for image in found.images]


def test_words_come_in_the_order_asked_and_only_once(
    server: NeuroVaultServer, data_dir: Path, pairs: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("INTAKE_NEUROVAULT_WORDS_URL", f"{server.url}/api/decode/")
    server.clear_requests()
    words = vault_of(server, data_dir).words(pairs)
    assert words.failures == ()
    assert len({tuple((each or {}).values()) for each in words.weights}) == 4
    assert len(asked(server)) == 4
    assert (
        vault_of(server, data_dir, "offline").words(pairs[::-1]).weights
        == (words.weights[::-1])
    )
    assert asked(server) == []


def test_offline_without_words_fails_one_by_one(
    server: NeuroVaultServer, data_dir: Path, pairs: Any
) -> None:
    base = f"{server.url}/api/decode/"
    vault_of(server, data_dir).words(pairs[2:3], base)
    server.clear_requests()
    offline = vault_of(server, data_dir, "offline")
    with pytest.warns(
        NeuroVaultWarning, match="3 things could not be fetched from Neu"
    ):
        words = offline.words(pairs, base)
    assert [each is None for each in words.weights] == [True, True, False, True]
    assert [each.url for each in words.failures] == [
        f"{base}?neurovault={image.id}" for image, _ in (*pairs[:2], pairs[3])
    ]
    assert asked(server) == []


def test_skip_is_silent_about_words(
    fresh_server: NeuroVaultServer, data_dir: Path, pairs: Any
) -> None:
    fresh_server.faults.append(Fault(match="decode", kind="503"))
    vault = vault_of(fresh_server, data_dir, errors="skip")
    words = vault.words(pairs, f"{fresh_server.url}/api/decode/")
    assert words.weights == (None,) * 4
    assert [each.id for each in words.failures] == [image.id for image, _ in pairs]
    assert all(each.attempts == 2 for each in words.failures)


@pytest.mark.parametrize("mode", ["download_new", "offline"])
def test_a_decoder_that_is_away_is_asked_no_more_and_blocks_nothing(
    data_dir: Path, mode: str
) -> None:
    count = PATIENCE + 60
    with NeuroVaultServer(many_collections(1, count)) as server:
        found = find(server, data_dir, collection_ids=[1])
        server.faults.append(Fault(match="decode", kind="html"))
        server.clear_requests()
        vault = vault_of(server, data_dir, mode, errors="skip")
        pairs = [(image, found.collections[1]) for image in found.images]
        words = vault.words(pairs, f"{server.url}/api/decode/")
        requests = len(asked(server))
    assert words.weights == (None,) * count
    assert [each.id for each in words.failures] == ids(found.images)
    if mode == "offline":
        assert requests == 0
    else:
        assert PATIENCE <= requests / 2 <= PATIENCE + 8
        assert "asked no more" in words.failures[-1].reason


@pytest.mark.parametrize("errors", ["raise", "warn", "skip"])
def test_an_address_that_is_none_is_an_error(
    server: NeuroVaultServer, data_dir: Path, pairs: Any, errors: str
) -> None:
    with pytest.raises(ArgumentError, match="words_url='neurosynth' must begin with"):
        vault_of(server, data_dir, errors=errors).words(pairs, "neurosynth")


def test_an_empty_variable_is_no_address(
    server: NeuroVaultServer,
    data_dir: Path,
    pairs: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("INTAKE_NEUROVAULT_WORDS_URL", "")
    words = vault_of(server, data_dir, "offline", errors="skip").words(pairs)
    assert all("neurosynth.org" in each.url for each in words.failures)
