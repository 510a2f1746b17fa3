"""One tree for nilearn and for us, whole whatever happens to its writers."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from nilearn.datasets import fetch_neurovault, fetch_neurovault_ids
from nilearn.datasets.neurovault import _download_collection, _download_image
from trees import (
    Written,
    add,
    add_after,
    collection,
    collection_json,
    gzipped,
    image,
    image_file,
    image_json,
    tree,
    writer,
)

from intake_neurovault import atomic, layout
from intake_neurovault.errors import (
    ArgumentError,
    CorruptFileError,
    MissingError,
    NeuroVaultWarning,
    StoreError,
    UnreachableError,
)
from intake_neurovault.receipts import Entry
from intake_neurovault.records import Image, ImageFile
from intake_neurovault.store import Store

FILE = image_file()
SIDECAR = layout.sidecar_path(12, 3)
RECORDS = [SIDECAR, layout.collection_metadata_path(12)]


@pytest.fixture
def store(data_dir):
    return Store.parse(data_dir)


def theirs(root: Path) -> dict[str, bytes | None]:
    """What of a tree nilearn can see."""
    return {
        name: data
        for name, data in tree(root).items()
        if not name.startswith(layout.OURS)
    }


def quarantined(store: Store) -> list[Path]:
    """What was set aside."""
    found = (store.root / layout.OURS / "quarantine").rglob("*")
    return [path for path in found if path.is_file()]


def offline(store: Store, ids: list[int], **more: object) -> list[int]:
    """Which of some images nilearn gives without a network, each of them readable."""
    found = fetch_neurovault_ids(
        image_ids=ids,
        data_dir=store.root.parent,
        mode="offline",
        fetch_neurosynth_words=False,
        verbose=0,
        **more,
    )
    assert all(Path(path).is_file() for path in found["images"])
    return sorted(about["id"] for about in found["images_meta"])


class TestWithNilearn:
    def test_nilearn_reads_what_is_added(self, store):
        for image_id in (3, 5):
            add(store, image_id)
        add(store, 7, 20)
        assert offline(store, [3, 5, 7, 9]) == [3, 5, 7]

    def test_nilearn_resamples_what_is_added(self, store):
        add(store)
        assert offline(store, [3], resample=True) == [3]
        assert (store.root / layout.resampled_path(12, 3)).is_file()
        assert store.local_path(FILE) == store.place(FILE)

    def test_nilearn_filters_what_is_added(self, store):
        add(store)
        found = fetch_neurovault(
            data_dir=store.root.parent, mode="offline", max_images=None, verbose=0
        )
        assert [about["name"] for about in found["collections_meta"]] == ["Émotions"]

    def test_nilearn_survives_what_a_killed_writer_left(self, store):
        add(store)
        with (
            atomic.temporary(store.root / layout.image_path(12, 5)),
            atomic.temporary(store.root / layout.sidecar_path(12, 5)),
        ):
            staging = store.root / (".new-" + "0" * 32 + "-collection_20")
            staging.mkdir()
            about = json.dumps(collection_json(20))
            (staging / "collection_metadata.json").write_text(about)
            assert offline(store, [3, 5]) == [3]

    def test_we_read_what_nilearn_adds(self, store, media):
        raw = image_json(file=media)
        params = nilearn_settings(store)
        _download_collection(collection_json(), params)
        _download_image(raw, params)
        before = theirs(store.root)
        found, about = store.image_record(3)
        del raw["absolute_pitch"]
        assert found == raw | {"handedness": None, "task": None}
        assert about == collection_json(journal_name=None)
        assert list(store.images_on_disk(12)) == [found]
        assert list(store.collections_on_disk()) == [about]
        file = Image.from_json(raw, base_url=media).file
        assert store.local_path(file).read_bytes() == gzipped()
        assert store.is_current(file) is True
        assert theirs(store.root) == before

    def test_both_write_the_same(self, store, media, tmp_path):
        raw = image_json(file=media)
        del raw["absolute_pitch"]
        params = nilearn_settings(Store.parse(tmp_path / "nilearn"))
        _download_collection(collection_json(), params)
        _download_image(raw, params)
        store.add(
            Image.from_json(raw, base_url=media),
            collection(),
            writer(),
        )
        wanted, found = theirs(params["nv_data_dir"]), theirs(store.root)
        assert list(found) == list(wanted)
        assert without_places(found.pop(SIDECAR)) == without_places(wanted.pop(SIDECAR))
        assert found == wanted

    def test_nilearn_may_add_to_our_folder(self, store, media):
        add(store)
        _download_image(image_json(5, file=media), nilearn_settings(store))
        assert offline(store, [3, 5]) == [3, 5]
        assert [raw["id"] for raw in store.images_on_disk(12)] == [3, 5]


def without_places(sidecar: bytes) -> list[tuple[str, object]]:
    """Keys, their order, and values but for the places nilearn gets wrong."""
    return [
        (key, None if key.endswith("_path") else value)
        for key, value in json.loads(sidecar).items()
    ]


def nilearn_settings(store: Store) -> dict:
    return {
        "nv_data_dir": store.root,
        "temp_dir": store.root,
        "resample": False,
        "fetch_neurosynth_words": False,
        "verbose": 0,
    }


@pytest.fixture
def media(tmp_path):
    """The address of a map on a real server."""
    folder = tmp_path / "served" / "media" / "images" / "12"
    folder.mkdir(parents=True)
    (folder / "m.nii.gz").write_bytes(gzipped())

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path / "served")

        def log_message(self, *args):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/media/images/12/m.nii.gz"
        server.shutdown()
        thread.join()


class TestAdding:
    def test_everything_is_in_its_place(self, store):
        place = add(store)
        assert place == store.root / "collection_12" / "image_3.nii.gz"
        assert sorted(tree(store.root)) == [
            ".intake_neurovault",
            ".intake_neurovault/receipts",
            ".intake_neurovault/receipts/collection_12",
            ".intake_neurovault/receipts/collection_12/image_3.json",
            "collection_12",
            "collection_12/collection_metadata.json",
            "collection_12/image_3.nii.gz",
            "collection_12/image_3_metadata.json",
        ]
        assert place.read_bytes() == gzipped()
        assert store.local_path(FILE) == place

    def test_records_come_back(self, store):
        add(store)
        raw, about = store.image_record(3)
        assert raw == image_json(handedness=None, task=None)
        assert about == collection_json(journal_name=None)
        assert store.collection_record(12) == about

    def test_adding_again_replaces(self, store):
        add(store)
        newer = image(modify_date="2025-01-01T00:00:00+01:00", name="new")
        about = collection(name="also new")
        store.add(newer, about, writer(gzipped(1)))
        raw, found = store.image_record(3)
        assert (raw["name"], found["name"]) == ("new", "also new")
        assert store.local_path(newer.file).read_bytes() == gzipped(1)
        assert store.is_current(newer.file) is True
        assert store.is_current(FILE) is False

    @pytest.mark.parametrize("left", [None, b"", b'{"id": 12, "na'])
    def test_folder_that_nilearn_left_unfinished_is_repaired(self, store, left):
        folder = store.root / "collection_12"
        folder.mkdir(parents=True)
        if left is not None:
            (folder / "collection_metadata.json").write_bytes(left)
        add(store)
        assert offline(store, [3]) == [3]

    def test_damaged_record_is_replaced(self, store):
        add(store)
        (store.root / SIDECAR).write_bytes(b"")
        add(store)
        assert offline(store, [3]) == [3]

    @pytest.mark.parametrize("path", RECORDS)
    @pytest.mark.parametrize("content", [b'{"id": 3, "na', b'{"id": 99}', b"[12]"])
    def test_damaged_record_goes_to_the_quarantine_first(
        self, store, path, content, caplog
    ):
        add(store)
        before = tree(store.root)
        (store.root / path).write_bytes(content)
        with caplog.at_level(logging.WARNING):
            store.describe(image(), collection())
        assert before.items() <= tree(store.root).items()
        [aside] = quarantined(store)
        assert aside.read_bytes() == content
        assert aside.name.endswith(Path(path).name)
        assert str(aside) in caplog.text

    def test_records_that_differ_are_replaced(self, store):
        add(store)
        older = image(name="old"), collection(name="old")
        store.describe(*older)
        store.describe(image(), collection())
        assert quarantined(store) == []
        assert store.image_record(3)[0]["name"] == "faces − houses"

    @pytest.mark.parametrize("path", RECORDS)
    def test_damaged_record_is_replaced_where_none_can_be_kept(self, store, path):
        add(store)
        (store.root / path).write_bytes(b"{")
        shutil.rmtree(store.root / layout.OURS)
        (store.root / layout.OURS).touch()
        store.describe(image(), collection())
        assert offline(store, [3]) == [3]

    @pytest.mark.parametrize("path", RECORDS)
    def test_folder_in_the_place_of_a_record_stays(self, store, path):
        add(store)
        (store.root / path).unlink()
        (store.root / path / "mine").mkdir(parents=True)
        before = tree(store.root)
        with pytest.raises(StoreError, match="cannot be written"):
            store.describe(image(), collection())
        assert tree(store.root) == before

    @pytest.mark.parametrize(
        "error", [UnreachableError("gone"), ConnectionResetError(104, "gone")]
    )
    def test_failed_download_passes_through_and_leaves_nothing(self, store, error):
        add(store)
        before = tree(store.root)

        def fail(target):
            target.write_bytes(b"half")
            raise error

        with pytest.raises(type(error), match="gone"):
            store.add(image(), collection(), fail)
        with pytest.raises(type(error), match="gone"):
            store.add(image(5), collection(), fail)
        assert tree(store.root) == before

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
    def test_refusal_of_the_disk_names_the_store(self, store, code):
        def fail(target):
            raise OSError(code, os.strerror(code))

        with pytest.raises(StoreError, match=re.escape(os.strerror(code))) as caught:
            store.add(image(), collection(), fail)
        assert str(store.root) in str(caught.value)
        assert "pass data_dir=" in str(caught.value)

    def test_short_file_is_not_kept(self, store):
        def write(target):
            target.write_bytes(gzipped()[:-1])
            return Written(len(gzipped()), len(gzipped()), "")

        with pytest.raises(CorruptFileError, match="reached the disk"):
            store.add(image(), collection(), write)
        assert store.local_path(FILE) is None
        assert store.image_record(3) is None

    def test_store_below_a_file(self, tmp_path):
        (tmp_path / "file").write_bytes(b"mine")
        before = tree(tmp_path)
        store = Store.parse(tmp_path / "file")
        with pytest.raises(StoreError, match=r"file/neurovault .*pass data_dir="):
            add(store)
        with pytest.raises(StoreError, match="pass data_dir="):
            store.save_words(image(), collection(), {"data": {}})
        assert tree(tmp_path) == before
        assert store.local_path(FILE) is None
        assert store.image_record(3) is None
        assert len(store.collections_on_disk()) == 0

    def test_folder_in_the_place_of_an_image(self, store):
        add(store)
        store.place(FILE).unlink()
        (store.place(FILE) / "mine").mkdir(parents=True)
        before = tree(store.root)
        asked = []

        def write(target):
            asked.append(target)
            return writer(gzipped(1))(target)

        with pytest.raises(StoreError, match=r"A folder stands.*image_3.*move it away"):
            store.add(image(), collection(), write)
        assert asked == []
        assert tree(store.root) == before

    def test_receipts_that_cannot_be_written(self, store):
        store.root.mkdir()
        (store.root / layout.OURS).touch()
        with pytest.warns(NeuroVaultWarning, match="verifies the files"):
            add(store)
        assert store.is_current(FILE) is True
        assert offline(store, [3]) == [3]

    def test_read_only(self, store):
        add(store)
        before = tree(store.root)
        reader = replace(store, read_only=True)
        with pytest.raises(StoreError, match="opened for reading only"):
            add(reader, 5)
        with pytest.raises(StoreError, match="opened for reading only"):
            reader.save_words(image(), collection(), {})
        assert reader.local_path(FILE) == store.place(FILE)
        assert tree(store.root) == before

    def test_image_without_a_file(self, store):
        with pytest.raises(
            MissingError, match=r"Image 3 \(collection 12\) has no file"
        ):
            store.add(image(file=None), collection(), writer())

    def test_collection_of_another_image(self, store):
        with pytest.raises(ArgumentError, match="is in collection 12, not in 13"):
            store.add(image(), collection(13), writer())
        assert not store.root.exists()

    def test_strays_of_yesterday_are_cleared(self, store):
        folder = store.root / "collection_12"
        folder.mkdir(parents=True)
        stray = folder / (".part-" + "0" * 32 + "-image_3.nii.gz")
        staging = store.root / (".new-" + "0" * 32 + "-collection_12")
        staging.mkdir()
        stray.touch()
        then = time.time() - 2 * atomic.DAY
        for path in (stray, staging):
            os.utime(path, (then, then))
        add(store)
        assert not stray.exists()
        assert not staging.exists()


class TestReading:
    def test_moved_tree_works(self, store, tmp_path):
        for image_id in (3, 5):
            add(store, image_id)
        moved = Store.parse(tmp_path / "moved")
        moved.root.parent.mkdir()
        store.root.rename(moved.root)
        assert moved.local_path(FILE) == moved.place(FILE)
        assert [raw["id"] for raw in moved.images_on_disk(12)] == [3, 5]
        assert offline(moved, [3, 5]) == [3, 5]

    def test_image_in_two_collections(self, store, caplog):
        add(store, 3, 12)
        add(store, 3, 20)
        assert store.image_record(3)[1]["id"] == 12
        (store.root / SIDECAR).write_bytes(b"{")
        with caplog.at_level(logging.WARNING):
            assert store.image_record(3)[1]["id"] == 20
        assert str(store.root / SIDECAR) in caplog.text

    def test_image_whose_record_is_bad(self, store):
        add(store)
        (store.root / SIDECAR).write_bytes(b"{")
        assert store.image_record(3) is None
        assert [failure.id for failure in store.images_on_disk(12).failures] == [3]
        assert store.local_path(FILE) == store.place(FILE)

    @pytest.mark.parametrize("content", [None, b"{"])
    def test_image_whose_collection_has_no_record(self, store, content):
        add(store)
        place = store.root / layout.collection_metadata_path(12)
        place.unlink()
        if content:
            place.write_bytes(content)
        assert store.image_record(3) == (
            image_json(handedness=None, task=None),
            {"id": 12},
        )
        assert store.collection_record(12) is None
        assert list(store.collections_on_disk()) == [{"id": 12}]

    def test_many_images_at_once(self, store):
        for image_id in range(1, 13):
            add(store, image_id, 12 + image_id % 2)
        found = store.image_records([*range(5, 30)])
        assert sorted(found) == list(range(5, 13))
        assert {found[image_id][1]["id"] for image_id in found} == {12, 13}

    def test_words_come_back(self, store):
        answer = {"data": {"values": {"face": 0.5, "Émotion": -1.0}}}
        assert store.words(12, 3) is None
        store.save_words(image(), collection(), answer)
        assert store.words(12, 3) == answer
        assert store.collection_record(12) is not None

    def test_words_are_found_by_nilearn(self, store):
        add(store)
        answer = {"data": {"values": {"face": 0.5, "house": 0.25}}}
        store.save_words(image(), collection(), answer)
        found = fetch_neurovault_ids(
            image_ids=[3],
            data_dir=store.root.parent,
            mode="offline",
            fetch_neurosynth_words=True,
            verbose=0,
        )
        assert list(found["vocabulary"]) == ["face", "house"]

    @pytest.mark.parametrize("content", [b"", b"<html>", b"[]"])
    def test_damaged_words_are_absent(self, store, content, caplog):
        store.save_words(image(), collection(), {"data": {}})
        (store.root / layout.words_path(12, 3)).write_bytes(content)
        with caplog.at_level(logging.WARNING):
            assert store.words(12, 3) is None
        assert "Passed over" in caplog.text

    def test_store_travels(self, store):
        assert pickle.loads(pickle.dumps(store)) == store
        assert {store: 1}[Store(store.root)] == 1
        assert replace(store, read_only=True) != store


class TestTogether:
    def check(self, store: Store) -> None:
        assert not re.findall(r"\.(?:part|new)-", " ".join(tree(store.root)))
        assert offline(store, [1, 2, 3, 4, 5]) == [1, 2, 3, 4, 5]
        for image_id in range(1, 6):
            data = store.local_path(image_file(image_id)).read_bytes()
            assert data in {gzipped(seed) for seed in range(8)}

    def test_threads(self, store):
        barrier = threading.Barrier(8)
        with ThreadPoolExecutor(8) as pool:
            work = partial(add_after, barrier, store.root.parent)
            list(pool.map(work, range(8)))
        self.check(store)

    def test_processes(self, store):
        spawn = multiprocessing.get_context("spawn")
        barrier = spawn.Barrier(3)
        workers = [
            spawn.Process(target=add_after, args=(barrier, store.root.parent, seed))
            for seed in range(3)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [0, 0, 0]
        self.check(store)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[4])
from trees import Store, add
steps = int(sys.argv[2])
def hook(event, args):
    global steps
    if event == "os.rename":
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
add(Store.parse(sys.argv[1]), seed=int(sys.argv[3]))
"""


def killed(store: Store, steps: int, seed: int) -> int:
    """Add in a process that dies right before it renames for the nth time."""
    data_dir, here = str(store.root.parent), str(Path(__file__).parent)
    command = [sys.executable, "-c", KILLED, data_dir, str(steps), str(seed), here]
    return subprocess.run(command, check=False).returncode


class TestKilled:
    """The folder, the receipt, the image and its record are a rename each."""

    @pytest.mark.parametrize("steps", [1, 2, 3, 4])
    def test_while_adding(self, store, steps):
        assert killed(store, steps, 0) == -signal.SIGKILL
        assert offline(store, [3]) == []
        there = store.local_path(FILE)
        assert (there is not None) == (steps == 4)
        assert there is None or there.read_bytes() == gzipped()
        assert store.image_record(3) is None
        assert list(store.images_on_disk(12)) == []
        assert store.is_current(FILE) == (steps == 4)
        add(store)
        assert offline(store, [3]) == [3]

    @pytest.mark.parametrize("steps", [1, 2, 3])
    def test_while_replacing(self, store, steps):
        older = image(modify_date="2023-01-01T00:00:00+01:00")
        store.add(older, collection(), writer(gzipped(1)))
        assert killed(store, steps, 0) == -signal.SIGKILL
        assert offline(store, [3]) == [3]
        found = store.local_path(FILE).read_bytes()
        assert found == (gzipped(0) if steps == 3 else gzipped(1))
        assert store.is_current(FILE) == (steps == 3)
        assert store.is_current(older.file) == (steps != 3)

    def test_not_killed(self, store):
        assert killed(store, 5, 0) == 0
        assert store.is_current(FILE) is True


def test_a_reader_between_receipt_and_image_spoils_no_identity(store):
    """Read in the middle of a replacement, by one who is killed at its end."""
    older = image(modify_date="2023-01-01T00:00:00+01:00")
    store.add(older, collection(), writer(gzipped(1)))
    place = store.place(FILE)
    with atomic.temporary(place) as part:
        written = writer(gzipped(0))(part)
        store.remember(FILE, Entry.of_download(FILE, written, part.stat()))
        assert store.local_path(older.file).read_bytes() == gzipped(1)
        part.replace(place)
    assert store.local_path(FILE).read_bytes() == gzipped(0)
    assert store.is_current(FILE) is True
    assert store.is_current(older.file) is False


def nothing() -> None:
    """Let nobody go first."""


@dataclass(frozen=True)
class Polite(Store):
    """Lets others go first, where two writers can come between each other."""

    noted: Callable[[], None] = nothing
    """Called after the receipt, before the image."""
    renamed: Callable[[], None] = nothing
    """Called after the image, before the record."""

    def remember(self, file: ImageFile, entry: Entry) -> None:
        super().remember(file, entry)
        self.noted()

    def _write_record(self, image: Image) -> None:
        self.renamed()
        super()._write_record(image)


@pytest.mark.parametrize("last", ["ours", "theirs"], ids="record {}".format)
def test_the_receipt_is_that_of_the_image_which_came_last(store, last):
    """Receipts ours and theirs; images theirs and ours; records in either order."""
    ours, theirs = image(), image(modify_date="2025-01-01T00:00:00+01:00")
    turn, done = threading.Event(), threading.Event()
    second = Polite(store.root, renamed=lambda: turn.set() or done.wait(30))
    if last == "ours":
        second = store
    with ThreadPoolExecutor(1) as pool:

        def meanwhile() -> None:
            if not waiting:
                work = second.add, theirs, collection(), writer(gzipped(1))
                waiting.append(pool.submit(*work))
                assert last == "ours" or turn.wait(30)
                assert last == "theirs" or waiting[0].result(30)

        waiting = []
        first = Polite(store.root, noted=meanwhile)
        first.add(ours, collection(), writer(gzipped(0)))
        done.set()
    assert waiting[0].result() == store.place(FILE)
    receipt = Entry.read(store.root / layout.receipt_path(12, 3))
    assert receipt.holds_for(store.place(FILE).stat())
    assert receipt.file.same_bytes_as(ours.file)
    assert store.local_path(FILE).read_bytes() == gzipped(0)
    record = store.image_record(3)[0]
    wanted = ours if last == "ours" else theirs
    assert record["modify_date"] == wanted.raw["modify_date"]
    assert store.is_current(ours.file) is True
    assert store.is_current(theirs.file) is False
