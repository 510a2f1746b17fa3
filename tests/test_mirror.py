"""Files through the store: each once, whole, described, and at most so many at once."""

from __future__ import annotations

import json
import logging
import multiprocessing
import pickle
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import (
    SECRET,
    BusyServer,
    asked,
    file_of,
    find,
    ids,
    kept_texts,
    listings_of,
    mirror_of,
    vault_of,
)
from nilearn.datasets import neurovault as nilearn_neurovault
from trees import tree

from intake_neurovault.errors import (
    CorruptFileError,
    MissingError,
    NeuroVaultWarning,
    OfflineError,
    StoreError,
)
from intake_neurovault.mirror import Mirror
from intake_neurovault.pool import MAX_WORKERS
from intake_neurovault.records import Token
from intake_neurovault.testing import Fault, NeuroVaultServer

MEDIA = "^/media/"


def sidecar(path: Path) -> dict[str, Any]:
    name = path.name.replace(".nii.gz", "_metadata.json")
    return json.loads(path.with_name(name).read_bytes())


# ---- each file once -------------------------------------------------------------


def test_threads_that_want_the_same_file_download_it_once(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    mirror = mirror_of(server, data_dir)
    file = file_of(mirror.listings, 10426)
    server.clear_requests()
    meeting = threading.Barrier(8, timeout=30)

    def want(_: int) -> Path:
        meeting.wait()
        return mirror.local(file)

    with ThreadPoolExecutor(8) as threads:
        paths = list(threads.map(want, range(8)))
    assert len(set(paths)) == 1
    assert paths[0].read_bytes() == server.file_bytes(10426)
    assert asked(server, MEDIA) == [f"/media/images/658/{paths[0].name}"]


@pytest.mark.parametrize("mode", ["update", "overwrite"])
def test_threads_download_once_in_modes_that_renew(
    server: NeuroVaultServer, data_dir: Path, mode: str
) -> None:
    first = mirror_of(server, data_dir)
    first.local(file_of(first.listings, 10426))
    again = mirror_of(server, data_dir, mode)
    file = file_of(again.listings, 10426)
    server.clear_requests()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: again.local(file), range(8)))
    assert len(asked(server, MEDIA)) == (mode == "overwrite")


def test_different_files_are_downloaded_at_the_same_time(data_dir: Path) -> None:
    with BusyServer(None, MEDIA, 0.05, expected=3) as server:
        mirror = mirror_of(server, data_dir)
        files = [file_of(mirror.listings, number) for number in (32015, 32016, 32020)]
        with ThreadPoolExecutor(3) as threads:
            paths = list(threads.map(mirror.local, files))
    assert len(set(paths)) == server.most == 3


def test_no_process_downloads_more_at_a_time_than_is_polite(data_dir: Path) -> None:
    with BusyServer(None, MEDIA, 0.1, expected=9) as server:
        found = find(server, data_dir, collection_ids=[658, 1952], workers=1)
        files = [image.file for image in found.images if image.file is not None]

        def opened(place: int) -> list[Path | None]:
            # Computations with the same number of workers share them.
            vault = vault_of(server, data_dir, workers=8 - place)
            with vault.open(files[place::4]) as paths:
                return list(paths)

        with ThreadPoolExecutor(4) as dask:
            chunks = list(dask.map(opened, range(4)))
    assert sum(len(chunk) for chunk in chunks) == 32
    assert 8 < server.most <= MAX_WORKERS


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_in_the_middle_of_a_download_does_not_wait_for_ever(
    fresh_server: NeuroVaultServer, data_dir: Path, tmp_path: Path
) -> None:
    mirror = mirror_of(fresh_server, data_dir)
    file = file_of(mirror.listings, 32015)
    fresh_server.faults.append(
        Fault(match="/media/", kind="slow", seconds=1.5, times=1)
    )
    fresh_server.clear_requests()
    background = threading.Thread(target=mirror.local, args=(file,))
    background.start()
    while not fresh_server.requests:
        time.sleep(0.01)
    forks = multiprocessing.get_context("fork")
    child = forks.Process(target=mirror.local, args=(file,))
    child.start()
    child.join(60)
    child.kill()
    child.join()
    background.join()
    assert child.exitcode == 0
    assert len(asked(fresh_server, MEDIA)) == 2


# ---- what is beside it ----------------------------------------------------------


def test_a_worker_with_a_store_of_its_own_downloads_with_the_right_records(
    server: NeuroVaultServer, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    here = find(server, tmp_path / "here", collection_ids=[1952])
    files = [image.file for image in here.images[:3]]
    there = mirror_of(server, tmp_path / "there")
    server.clear_requests()
    code = """
import pickle, sys
mirror, files = pickle.loads(bytes.fromhex(sys.argv[1]))
print(*[mirror.local(file) for file in files], sep="\\n")
"""
    done = run_python(code, pickle.dumps((there, files)).hex())
    paths = [Path(line) for line in done.stdout.split()]
    for path, image in zip(paths, here.images, strict=False):
        assert path.is_relative_to(tmp_path / "there")
        assert path.read_bytes() == server.file_bytes(image.id)
        kept = sidecar(path)
        assert kept["study"] == image.raw["study"]
        assert kept["file"] == image.raw["file"]
        assert kept["modify_date"] == image.raw["modify_date"]
    about = json.loads(paths[0].with_name("collection_metadata.json").read_bytes())
    assert about["name"] == here.collections[1952].name
    assert asked(server, "api") == [
        "/api/collections/1952/",
        *[f"/api/images/{image.id}/" for image in here.images[:3]],
    ]
    offline = listings_of(server, tmp_path / "there", "offline")
    kept_images = offline.kept_images(ids(here.images))
    assert [kept_images[file.image_id][0].file for file in files if file] == files


def test_a_new_file_gets_its_new_record(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    find(fresh_server, data_dir, collection_ids=[1952])
    old = mirror_of(fresh_server, data_dir)
    old.local(file_of(old.listings, 32015))
    archive = fresh_server.archive
    archive.edit_image(32015, name="renamed since")
    archive.replace_file(32015, fresh_server.file_bytes(32016))
    update = mirror_of(fresh_server, data_dir, "update")
    file = file_of(update.listings, 32015)
    path = update.local(file)
    assert path.read_bytes() == fresh_server.file_bytes(32016)
    assert sidecar(path)["name"] == "renamed since"
    assert sidecar(path)["modify_date"] == file.modify_date
    kept = listings_of(fresh_server, data_dir).kept_images([32015])
    assert kept[32015][0].file == file


def test_an_edited_record_does_not_cost_the_file(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    images = find(fresh_server, data_dir, collection_ids=[1952]).images
    vault_of(fresh_server, data_dir).fetch(images)
    archive = fresh_server.archive
    edited, replaced, likewise, *_ = ids(images)
    archive.edit_image(edited, name="renamed since")
    archive.replace_file(replaced, archive.file_bytes(images[-1].id))
    # Its address and size are the same afterwards; the date in its gzip is not.
    data = archive.file_bytes(likewise)
    archive.replace_file(likewise, data)
    archive.replace_file(likewise, data[:4] + b"date" + data[8:])
    asked(fresh_server)
    renewed = find(fresh_server, data_dir, "update", collection_ids=[1952]).images
    paths = vault_of(fresh_server, data_dir, "update").fetch(renewed).paths
    requests = [each for each in fresh_server.requests if "/media/" in each.path]
    named = {each.id: each.file.path for each in renewed if each.file}
    assert sorted((each.method, each.path) for each in requests) == sorted(
        [
            ("HEAD", named[edited]),
            ("GET", named[replaced]),
            ("HEAD", named[likewise]),
            ("GET", named[likewise]),
        ]
    )
    assert sidecar(paths[0])["name"] == "renamed since"
    for image, path in zip(renewed, paths, strict=True):
        assert path is not None
        assert path.read_bytes() == archive.file_bytes(image.id)

    # The new dates are known now.
    asked(fresh_server)
    again = find(fresh_server, data_dir, "update", collection_ids=[1952]).images
    vault_of(fresh_server, data_dir, "update").fetch(again)
    assert asked(fresh_server, MEDIA) == []


def test_another_servers_file_of_the_same_number_is_not_taken(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    with NeuroVaultServer() as other:
        other.archive.replace_file(32015, other.file_bytes(32016))
        for server in (fresh_server, other, fresh_server):
            mirror = mirror_of(server, data_dir)
            path = mirror.local(file_of(mirror.listings, 32015))
            assert path.read_bytes() == server.file_bytes(32015)


def test_another_servers_record_of_the_same_number_is_not_taken(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    found = find(fresh_server, data_dir, image_ids=[32015])
    vault_of(fresh_server, data_dir).fetch(found.images)
    with NeuroVaultServer() as other:
        other.archive.edit_image(32015, name="another map")
        found = find(other, data_dir, image_ids=[32015])
        assert found.images[0].metadata["name"] == "another map"
    offline = find(other, data_dir, "offline", image_ids=[32015])
    assert ids(offline.images) == [32015]


def test_a_copy_of_a_server_shares_its_files(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    mirror = mirror_of(fresh_server, data_dir)
    path = mirror.local(file_of(mirror.listings, 32015))
    with NeuroVaultServer() as copy:
        mirror = mirror_of(copy, data_dir)
        assert mirror.local(file_of(mirror.listings, 32015)) == path
        assert asked(copy, MEDIA) == []


def test_files_asked_for_by_their_ids_need_no_second_look_at_their_records(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    server.clear_requests()
    named = [32015, 32016, 32020]
    found = find(server, data_dir, image_ids=named)
    vault_of(server, data_dir).fetch(found.images)
    assert asked(server, "api") == [
        "/api/collections/1952/",
        *[f"/api/images/{number}/" for number in named],
    ]


def test_a_private_file_is_kept_without_its_token(
    server: NeuroVaultServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("NV_TOKEN", SECRET)
    here = listings_of(server, tmp_path / "here")
    images = here.images(here.collection(Token(env="NV_TOKEN"))).items
    assert images[0].file is not None
    there = mirror_of(server, tmp_path / "there")
    server.clear_requests()
    with caplog.at_level(logging.DEBUG):
        path = pickle.loads(pickle.dumps(there)).local(images[0].file)
    assert path.parent.name == "collection_9001"
    assert path.read_bytes() == server.file_bytes(90011)
    assert len(asked(server, f"/media/images/{SECRET}/")) == 1
    assert SECRET.encode() not in kept_texts(tmp_path)
    ours = [r for r in caplog.records if not r.name.endswith("testing.server")]
    assert len(ours) > 0
    assert not any(SECRET in record.getMessage() for record in ours)
    monkeypatch.delenv("NV_TOKEN")
    assert there.local(images[0].file) == path
    offline = mirror_of(server, tmp_path / "there", "offline")
    assert offline.local(images[0].file) == path


# ---- what cannot be had ---------------------------------------------------------


@pytest.mark.parametrize(
    ("image_id", "error", "text"),
    [
        (2201, MissingError, "image 2201"),
        (2202, CorruptFileError, "image 2202"),
        (2203, CorruptFileError, "image 2203"),
        (2204, CorruptFileError, "image 2204"),
        (2205, CorruptFileError, "image 2205"),
        (2206, CorruptFileError, "image 2206"),
    ],
)
def test_a_broken_file_leaves_nothing_behind(
    server: NeuroVaultServer,
    data_dir: Path,
    image_id: int,
    error: type[Exception],
    text: str,
) -> None:
    mirror = mirror_of(server, data_dir)
    file = file_of(mirror.listings, image_id)
    with pytest.raises(error, match=f"(?i){text}"):
        mirror.local(file)
    assert mirror.kept(file) is None
    assert list(data_dir.rglob("image_*")) == []
    assert list(data_dir.rglob("*.part*")) == []


def test_overwrite_replaces_what_was_downloaded_tomorrow(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    first = mirror_of(server, data_dir)
    file = file_of(first.listings, 32015)
    first.local(file)
    (receipt,) = data_dir.rglob("receipts/*/image_32015.json")
    content = json.loads(receipt.read_bytes())
    receipt.write_text(json.dumps(content | {"added": time.time() + 86_400}))
    again = mirror_of(server, data_dir, "overwrite")
    server.clear_requests()
    for _ in range(2):
        again.local(file)
    assert len(asked(server, MEDIA)) == 1


def test_a_failed_download_keeps_the_old_file(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    first = mirror_of(fresh_server, data_dir)
    path = first.local(file_of(first.listings, 32015))
    before = tree(path.parent)
    fresh_server.faults.append(Fault(match="/media/", kind="short_body"))
    again = mirror_of(fresh_server, data_dir, "overwrite")
    with pytest.raises(OSError, match=r"[Ii]mage 32015"):
        again.local(file_of(again.listings, 32015))
    assert tree(path.parent) == before


def test_offline_needs_the_file(server: NeuroVaultServer, data_dir: Path) -> None:
    file = file_of(listings_of(server, data_dir), 32015)
    offline = mirror_of(server, data_dir, "offline")
    server.clear_requests()
    with pytest.raises(OfflineError, match=r"file of image 32015 \(collection 1952\)"):
        offline.local(file)
    assert asked(server) == []
    assert list(data_dir.iterdir()) == []


def test_a_store_that_is_opened_for_reading_is_not_written(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    listings = listings_of(server, data_dir)
    file = file_of(listings, 32015)
    store = replace(listings.store, read_only=True)
    with pytest.raises(StoreError, match="for reading only"):
        Mirror(replace(listings, store=store)).local(file)
    assert list(data_dir.rglob("image_*")) == []


# ---- a tree that nilearn wrote --------------------------------------------------


@pytest.fixture(scope="module")
def nilearns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that only nilearn has written: two images of collection 1952."""
    folder = tmp_path_factory.mktemp("nilearns")
    with NeuroVaultServer() as server, pytest.MonkeyPatch.context() as patch:
        api = f"{server.url}/api/"
        # nilearn offers no other way to name a server.
        patch.setattr(nilearn_neurovault, "_NEUROVAULT_BASE_URL", api)
        for name in ("COLLECTIONS", "IMAGES"):
            address = f"{api}{name.lower()}/"
            patch.setattr(nilearn_neurovault, f"_NEUROVAULT_{name}_URL", address)
        found = nilearn_neurovault.fetch_neurovault_ids(
            image_ids=[32015, 48001], data_dir=folder, verbose=0
        )
    assert len(found.images) == 2
    return folder


def test_offline_over_nilearns_tree(
    server: NeuroVaultServer, nilearns: Path, data_dir: Path
) -> None:
    shutil.copytree(nilearns, data_dir, dirs_exist_ok=True)
    before = tree(data_dir / "neurovault")
    server.clear_requests()
    with pytest.warns(NeuroVaultWarning, match="the images of 2 collection.s. were"):
        found = find(server, data_dir, "offline", "warn", max_images=None)
    assert ids(found.images) == [32015, 48001]
    assert found.images[0].extra["study"] == "localizer_sample"
    assert found.collections[3324].doi == "10.5555/sample.3324"
    vault = vault_of(server, data_dir, "offline")
    paths = vault.fetch(found.images).paths
    assert [path.read_bytes() for path in paths if path] == [
        server.file_bytes(32015),
        server.file_bytes(48001),
    ]
    named = find(server, data_dir, "offline", image_ids=[48001, 32015])
    assert ids(named.images) == [48001, 32015]
    assert asked(server) == []
    after = tree(data_dir / "neurovault")
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {
        ".intake_neurovault"
    }


def test_nilearns_files_are_not_downloaded_again(
    server: NeuroVaultServer, nilearns: Path, data_dir: Path
) -> None:
    shutil.copytree(nilearns, data_dir, dirs_exist_ok=True)
    found = find(server, data_dir, collection_ids=[1952])
    server.clear_requests()
    fetched = vault_of(server, data_dir).fetch(found.images[:2])
    assert fetched.failures == ()
    assert len(asked(server, MEDIA)) == 1
    renewed = find(server, data_dir, "update", image_ids=[32015])
    server.clear_requests()
    vault_of(server, data_dir, "update").fetch(renewed.images)
    assert asked(server, MEDIA) == []


def test_a_damaged_tree_of_nilearns_is_reported(
    server: NeuroVaultServer, nilearns: Path, data_dir: Path
) -> None:
    shutil.copytree(nilearns, data_dir, dirs_exist_ok=True)
    root = data_dir / "neurovault"
    (root / "collection_1952" / "image_32015_metadata.json").write_text('{"id": 3')
    (root / "collection_3324" / "collection_metadata.json").unlink()
    found = find(
        server,
        data_dir,
        "offline",
        "skip",
        **{"max_images": None, "collection_terms": {}},
    )
    assert ids(found.images) == [48001]
    assert [(each.id, each.collection_id) for each in found.failures] == [
        (None, 3324),
        (32015, 1952),
    ]
