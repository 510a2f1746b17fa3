"""Looking after a store: what is in it, is it whole, mended, cleared."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from asking import SECRET, asked, find, vault_of
from nilearn.datasets import fetch_neurovault_ids
from trees import add, add_after, gzipped, nifti, tree

from intake_neurovault import Cache, layout
from intake_neurovault.errors import ArgumentError, StoreError, UnreachableError
from intake_neurovault.inventory import scan
from intake_neurovault.store import Store
from intake_neurovault.testing import Fault, NeuroVaultServer

OURS = layout.OURS
FIRST, SECOND, THIRD = 32015, 32016, 32020
IMAGES = (FIRST, SECOND, THIRD)
PRIVATE = 90012
ALL_IMAGES = (10426, *IMAGES, PRIVATE)


def image_at(root: Path, image_id: int = FIRST, collection_id: int = 1952) -> Path:
    return root / layout.image_path(collection_id, image_id)


def record_at(root: Path, image_id: int = FIRST, collection_id: int = 1952) -> Path:
    return root / layout.sidecar_path(collection_id, image_id)


def receipt_at(root: Path, image_id: int = FIRST, collection_id: int = 1952) -> Path:
    return root / layout.receipt_path(collection_id, image_id)


@pytest.fixture(scope="module")
def template(
    server: NeuroVaultServer, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A data folder with five images of three collections, one of them private."""
    folder = tmp_path_factory.mktemp("filled")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MY_TOKEN", SECRET)
        public = find(server, folder, collection_ids=[1952], image_ids=IMAGES)
        single = find(server, folder, image_ids=[10426])
        hidden = find(server, folder, collection_ids=["env:MY_TOKEN"], max_images=9)
        vault = vault_of(server, folder)
        secret = [image for image in hidden.images if image.id == PRIVATE]
        vault.fetch([*public.images[:3], *single.images, *secret])
    return folder


@pytest.fixture
def root(template: Path, data_dir: Path) -> Path:
    """A copy of the filled store that a test may spoil."""
    shutil.copytree(template, data_dir, dirs_exist_ok=True)
    return data_dir / "neurovault"


@pytest.fixture
def cache(root: Path) -> Cache:
    return Cache.parse(root.parent, workers=4, progress=False)


def repaired(cache: Cache, server: NeuroVaultServer, **more: object) -> object:
    return cache.repair(url=server.url, retries=0, **more)


def theirs(root: Path) -> dict[str, bytes | None]:
    """nilearn's part of a tree, and what users added."""
    return {name: data for name, data in tree(root).items() if OURS not in name}


def problems(report: object) -> list[tuple[str, str]]:
    return [(each.problem, each.path) for each in report.findings]


def quarantined(root: Path) -> list[bytes]:
    paths = sorted((root / OURS / "quarantine").rglob("*-*"))
    return [path.read_bytes() for path in paths]


def nilearns(root: Path, image_ids: object) -> list[int]:
    """Which images nilearn gives without a network."""
    found = fetch_neurovault_ids(
        image_ids=list(image_ids), data_dir=root.parent, mode="offline", verbose=0
    )
    assert all(Path(path).is_file() for path in found["images"])
    return sorted(about["id"] for about in found["images_meta"])


# ---- what is there ----------------------------------------------------------------


class TestInfo:
    def test_a_filled_store(self, cache: Cache, server: NeuroVaultServer) -> None:
        found = cache.info()
        images = [*cache.root.glob("collection_*/image_*.nii.gz")]
        assert found.exists
        assert (found.images.files, found.verified, found.unverified) == (5, 5, 0)
        assert found.images.bytes == sum(path.stat().st_size for path in images)
        assert [each.collection_id for each in found.collections] == [658, 1952, 9001]
        assert [each.images for each in found.collections] == [1, 3, 1]
        assert found.records.files == 8
        assert found.receipts.files == 5
        assert found.files == sum(path.is_file() for path in cache.root.rglob("*"))
        assert found.bytes == sum(
            path.stat().st_size for path in cache.root.rglob("*") if path.is_file()
        )
        [listings] = found.listings
        assert listings.server == server.url.removeprefix("http://")
        assert listings.files == 3

    def test_it_says_the_same_to_machines(self, cache: Cache) -> None:
        found = cache.info()
        read = json.loads(json.dumps(found.to_json()))
        assert read["root"] == str(cache.root)
        assert read["images"] == {
            "files": 5,
            "bytes": found.images.bytes,
        }
        assert read["collections"][1]["name"] == found.collections[1].name
        assert read["unverified"] == 0

    def test_one_collection(self, cache: Cache) -> None:
        found = cache.info(1952)
        assert [each.collection_id for each in found.collections] == [1952]
        assert (found.images.files, found.receipts.files) == (3, 3)
        assert found.bytes == found.collections[0].bytes
        assert cache.info(77).files == 0

    def test_a_table_of_collections(self, cache: Cache) -> None:
        table = cache.collections()
        assert table["collection_id"].tolist() == [658, 1952, 9001]
        assert table["images"].tolist() == [1, 3, 1]
        assert table["images"].dtype == "int64"

    def test_an_image_that_changed_is_not_verified(self, cache: Cache) -> None:
        os.utime(image_at(cache.root))
        receipt_at(cache.root, SECOND).write_bytes(b"")
        receipt_at(cache.root, THIRD).unlink()
        found = cache.info()
        assert (found.verified, found.unverified) == (2, 3)

    def test_what_else_there_may_be(self, cache: Cache) -> None:
        root = cache.root
        folder = image_at(root).parent
        (folder / "notes.txt").write_text("mine")
        (root / "my_mask.nii.gz").write_bytes(b"1234")
        (root / "collection_one").mkdir()
        (folder / f"image_{FIRST}_resampled.nii.gz").write_bytes(gzipped())
        (root / layout.words_path(1952, FIRST)).write_bytes(b"{}")
        (folder / f".part-{'0' * 32}-image_1.nii.gz").write_bytes(b"12")
        (root / OURS / "index.sqlite").write_bytes(b"1")
        (root / OURS / "gridded" / "mni152-3mm").mkdir(parents=True)
        (root / OURS / "gridded" / "mni152-3mm" / "image_3.nii").write_bytes(b"22")
        found = cache.info()
        assert (found.others.files, found.others.bytes) == (3, 8)
        assert (found.resampled.files, found.resampled.bytes) == (1, len(gzipped()))
        assert found.words.files == 1
        assert (found.temporaries.files, found.temporaries.bytes) == (1, 2)
        assert (found.derived.files, found.derived.bytes) == (2, 3)
        assert found.images.files == 5

    def test_the_age_of_listings_is_that_of_the_answer(self, cache: Cache) -> None:
        [before] = cache.info().listings
        for path in (cache.root / OURS / "listings").rglob("*.json"):
            os.utime(path, (1.0, 1.0))
        assert cache.info().listings == (before,)
        assert 0 <= time.time() - before.newest < 3600
        for path in (cache.root / OURS / "listings").rglob("*.json"):
            path.write_bytes(b"{}")
            os.utime(path, (1.0, 1.0))
        assert [each.oldest for each in cache.info().listings] == [1.0]

    @pytest.mark.parametrize("there", ["nothing", "a folder", "a file"])
    def test_no_store(self, data_dir: Path, there: str) -> None:
        root = data_dir / "neurovault"
        if there == "a folder":
            root.mkdir()
        if there == "a file":
            root.touch()
        before = tree(data_dir)
        found = Cache(root).info()
        assert (found.exists, found.files, found.collections) == (
            there == "a folder",
            0,
            (),
        )
        assert tree(data_dir) == before

    def test_it_changes_and_asks_nothing(
        self, cache: Cache, server: NeuroVaultServer
    ) -> None:
        before, times = tree(cache.root), image_at(cache.root).parent.stat().st_mtime_ns
        server.clear_requests()
        cache.info()
        assert tree(cache.root) == before
        assert image_at(cache.root).parent.stat().st_mtime_ns == times
        assert asked(server) == []

    def test_no_map_is_read(self, cache: Cache) -> None:
        path = image_at(cache.root)
        state = path.stat()
        path.write_bytes(bytes(state.st_size))
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert cache.info().verified == 5

    def test_a_folder_that_is_a_link_is_looked_into(
        self, cache: Cache, tmp_path: Path
    ) -> None:
        folder = image_at(cache.root).parent
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
        assert cache.info().images.files == 5
        (cache.root / OURS / "gridded").mkdir()
        (cache.root / OURS / "gridded" / "circle").symlink_to(cache.root / OURS)
        assert cache.info().others.files == 1

    def test_a_link_that_leads_nowhere_is_no_image(self, cache: Cache) -> None:
        image_at(cache.root).unlink()
        image_at(cache.root).symlink_to("no/such/file")
        assert cache.info().images.files == 4

    @pytest.mark.parametrize("value", ["abc", 0, -3, 1.5])
    def test_no_collection(self, cache: Cache, value: object) -> None:
        with pytest.raises(ArgumentError, match="a collection id must be"):
            cache.info(value)  # type: ignore[arg-type]


# ---- is it whole ------------------------------------------------------------------


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def as_a_page(path: Path) -> None:
    path.write_bytes(b"<html><body>Down for maintenance</body></html>")


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def quietly(path: Path) -> None:
    """Damage a file so that size and time say nothing."""
    state = path.stat()
    flip_a_bit(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


DAMAGES = [cut_off, flip_a_bit, as_a_page, emptied, quietly]


class TestVerify:
    def test_a_whole_store(self, cache: Cache) -> None:
        before = tree(cache.root)
        found = cache.verify()
        assert found.whole
        assert (found.findings, found.images, found.unchanged) == ((), 5, None)
        assert found.files == len(scan(cache.root).items) > 15
        assert tree(cache.root) == before

    @pytest.mark.parametrize("damage", DAMAGES)
    def test_a_damaged_image_is_set_aside(
        self, cache: Cache, damage: Callable[[Path], None]
    ) -> None:
        path = image_at(cache.root)
        damage(path)
        content = path.read_bytes()
        found = cache.verify()
        [finding] = found.findings
        assert not found.whole
        assert (finding.problem, finding.kind) == ("damaged", "image")
        assert (finding.collection_id, finding.image_id) == (1952, FIRST)
        assert re.fullmatch(r"[A-Z].*\.", finding.reason)
        assert not path.exists()
        assert (cache.root / finding.moved_to).read_bytes() == content
        assert quarantined(cache.root) == [content]
        assert found.df["path"].tolist() == [finding.path]
        again = cache.verify()
        assert problems(again) == [("missing", finding.path)]
        assert not again.whole

    def test_all_texts_are_read(self, cache: Cache) -> None:
        root = cache.root
        [listing] = (root / OURS / "listings").rglob("collection_1952.json")
        [private] = (root / OURS / "listings").rglob("private_*.json")
        copy = root / OURS / "records" / "collection_1952" / "about.json"
        copy.parent.mkdir(parents=True)
        words = root / layout.words_path(1952, FIRST)
        contents = {
            record_at(root): b'{"id": 3',
            record_at(root, SECOND): b'{"id": 3}',
            root / layout.collection_metadata_path(658): b"[]",
            words: b'{"message": "not found"}',
            receipt_at(root): b"",
            receipt_at(root, SECOND): b'{"format": 1, "size": "large"}',
            listing: b'{"format": 1, "source": "elsewhere"}',
            private: b'{"format": 1}',
            copy: b"\xff\xfe",
        }
        for path, content in contents.items():
            path.write_bytes(content)
        found = cache.verify()
        damaged = {each.path for each in found.findings if each.problem == "damaged"}
        assert damaged == {path.relative_to(root).as_posix() for path in contents}
        gone = [path for path in contents if not path.exists()]
        # Images are whole, so that their receipts are there again.
        assert set(contents) - set(gone) == {receipt_at(root), receipt_at(root, SECOND)}
        assert sorted(quarantined(root)) == sorted(contents.values())
        lacking = {each.path for each in found.findings if each.problem == "no record"}
        assert lacking == set()
        assert [problem for problem, _ in problems(cache.verify())] == ["no record"] * 3

    def test_files_of_another_version_are_let_be(self, cache: Cache) -> None:
        receipt_at(cache.root).write_bytes(b'{"format": 99, "new": true}')
        assert cache.verify().whole

    def test_resampled_copies_are_read(self, cache: Cache) -> None:
        good = cache.root / layout.resampled_path(1952, FIRST)
        bad = cache.root / layout.resampled_path(1952, SECOND)
        good.write_bytes(gzipped())
        bad.write_bytes(gzipped()[:-20])
        found = cache.verify()
        assert problems(found) == [("damaged", layout.resampled_path(1952, SECOND))]
        assert good.exists()
        assert not bad.exists()
        assert cache.verify().whole

    @pytest.mark.parametrize("quiet", [False, True])
    def test_a_changed_image_is_told_from_a_damaged_one(
        self, cache: Cache, quiet: bool
    ) -> None:
        path = image_at(cache.root)
        state = path.stat()
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), mtime=9))
        if quiet:
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        before = tree(cache.root)
        for _ in range(2):
            found = cache.verify()
            assert problems(found) == [("changed", layout.image_path(1952, FIRST))]
            assert not found.whole
        assert tree(cache.root) == before

    def test_an_image_that_nilearn_replaced_is_not_changed(self, cache: Cache) -> None:
        image_at(cache.root).write_bytes(gzipped())
        record = json.loads(record_at(cache.root).read_bytes())
        record |= {"modify_date": "2031-01-01", "file_size": len(gzipped())}
        record_at(cache.root).write_text(json.dumps(record))
        assert cache.verify().whole
        assert cache.info().verified == 5

    def test_whole_images_of_others_get_a_receipt(self, cache: Cache) -> None:
        shutil.rmtree(cache.root / OURS)
        assert cache.info().verified == 0
        assert cache.verify().whole
        assert cache.info().verified == 5
        assert image_at(cache.root).exists()

    def test_a_touched_image_keeps_what_its_receipt_tells(self, cache: Cache) -> None:
        before = json.loads(receipt_at(cache.root).read_bytes())
        os.utime(image_at(cache.root))
        assert cache.verify().whole
        after = json.loads(receipt_at(cache.root).read_bytes())
        assert after.pop("mtime_ns") != before.pop("mtime_ns")
        assert after == before

    def test_an_image_without_its_gzip_is_gzipped(self, tmp_path: Path) -> None:
        store = Store(tmp_path / "neurovault")
        path = add(store)
        shutil.rmtree(store.root / OURS)
        path.write_bytes(nifti())
        assert Cache(store.root).verify(dry_run=True).whole
        assert path.read_bytes() == nifti()
        assert Cache(store.root).verify().whole
        assert gzip.decompress(path.read_bytes()) == nifti()
        assert Cache(store.root).info().verified == 1

    def test_what_is_lacking_is_reported(self, cache: Cache) -> None:
        root = cache.root
        image_at(root).unlink()
        image_at(root, SECOND).unlink()
        receipt_at(root, SECOND).unlink()
        record_at(root, THIRD).unlink()
        found = cache.verify()
        assert problems(found) == [
            ("missing", layout.image_path(1952, FIRST)),
            ("no image", layout.image_path(1952, SECOND)),
            ("no record", layout.image_path(1952, THIRD)),
        ]
        assert [each.serious for each in found.findings] == [True, False, False]

    def test_a_record_alone_is_no_error(self, cache: Cache) -> None:
        image_at(cache.root).unlink()
        receipt_at(cache.root).unlink()
        assert cache.verify().whole

    def test_a_collection_that_somebody_removed_is_not_missed(
        self, cache: Cache
    ) -> None:
        shutil.rmtree(image_at(cache.root).parent)
        assert cache.verify().findings == ()

    def test_a_dry_run_changes_nothing(self, cache: Cache) -> None:
        cut_off(image_at(cache.root))
        emptied(record_at(cache.root, SECOND))
        shutil.rmtree(cache.root / OURS / "receipts")
        before = tree(cache.root)
        found = cache.verify(dry_run=True)
        assert problems(found) == [
            ("damaged", layout.sidecar_path(1952, SECOND)),
            ("damaged", layout.image_path(1952, FIRST)),
        ]
        assert [each.moved_to for each in found.findings] == [None, None]
        assert found.unchanged == "dry run"
        assert tree(cache.root) == before

    def test_a_store_that_cannot_be_written(self, cache: Cache) -> None:
        """A file in place of our folder refuses all that a read-only disk would."""
        shutil.rmtree(cache.root / OURS)
        (cache.root / OURS).touch()
        cut_off(image_at(cache.root))
        before = tree(cache.root)
        found = cache.verify()
        assert problems(found) == [("damaged", layout.image_path(1952, FIRST))]
        assert found.unchanged == "File exists"
        assert tree(cache.root) == before
        assert cache.info().verified == 0

    def test_one_collection(self, cache: Cache) -> None:
        cut_off(image_at(cache.root))
        cut_off(image_at(cache.root, 10426, 658))
        assert cache.verify(collection_ids=[9001]).whole
        assert problems(cache.verify(collection_ids="658")) == [
            ("damaged", layout.image_path(658, 10426))
        ]
        assert image_at(cache.root).exists()

    def test_temporaries_of_yesterday_are_swept(self, cache: Cache) -> None:
        folders = [
            cache.root,
            image_at(cache.root).parent,
            receipt_at(cache.root).parent,
        ]
        for folder in folders:
            for age in (0, 90_000):
                stray = folder / f".part-{age:032d}-image_1.nii.gz"
                stray.touch()
                os.utime(stray, (time.time() - age,) * 2)
        assert cache.verify(dry_run=True).swept == 0
        assert cache.verify().swept == 3
        assert cache.info().temporaries.files == 3

    @pytest.mark.parametrize("name", ["notes.txt", "my_mask.nii.gz", "image_x.nii.gz"])
    def test_files_of_others_are_let_be(self, cache: Cache, name: str) -> None:
        for folder in (cache.root, image_at(cache.root).parent, cache.root / OURS):
            (folder / name).write_bytes(b"not a map")
        before = tree(cache.root)
        assert cache.verify().whole
        assert tree(cache.root) == before

    def test_a_file_that_cannot_be_read_stays(self, cache: Cache) -> None:
        record = record_at(cache.root)
        record.unlink()
        record.symlink_to(record)
        assert problems(cache.verify()) == [
            ("no record", layout.image_path(1952, FIRST))
        ]
        assert record.is_symlink()

    def test_no_store(self, data_dir: Path) -> None:
        found = Cache.parse(data_dir).verify()
        assert (found.exists, found.files, found.whole) == (False, 0, True)
        assert list(data_dir.iterdir()) == []

    def test_it_says_the_same_to_machines(self, cache: Cache) -> None:
        cut_off(image_at(cache.root))
        found = cache.verify(dry_run=True)
        read = json.loads(json.dumps(found.to_json()))
        assert read["whole"] is False
        assert read["findings"][0]["path"] == layout.image_path(1952, FIRST)
        assert read["unchanged"] == "dry run"


# ---- mended -----------------------------------------------------------------------


class TestRepair:
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_damaged_images_come_back_byte_for_byte(
        self, cache: Cache, server: NeuroVaultServer, damage: Callable[[Path], None]
    ) -> None:
        before = theirs(cache.root)
        damage(image_at(cache.root))
        damage(image_at(cache.root, 10426, 658))
        done = repaired(cache, server)
        assert done.whole
        assert done.mended.images == (10426, FIRST)
        assert len(done.before.findings) == 2
        assert theirs(cache.root) == before
        assert len(quarantined(cache.root)) == 2
        assert cache.verify().whole
        assert nilearns(cache.root, ALL_IMAGES) == sorted(ALL_IMAGES)

    def test_all_that_may_be_lost_comes_back(
        self, cache: Cache, server: NeuroVaultServer
    ) -> None:
        root = cache.root
        before = theirs(root)
        image_at(root).unlink()
        emptied(record_at(root, SECOND))
        receipt_at(root, THIRD).unlink()
        image_at(root, THIRD).unlink()
        (root / layout.collection_metadata_path(658)).unlink()
        done = repaired(cache, server)
        assert done.whole
        assert set(done.mended.images) == {FIRST, SECOND, THIRD, 10426}
        assert theirs(root) == before
        assert nilearns(root, ALL_IMAGES) == sorted(ALL_IMAGES)

    def test_a_changed_image_is_replaced_and_kept_aside(
        self, cache: Cache, server: NeuroVaultServer
    ) -> None:
        before = theirs(cache.root)
        image_at(cache.root).write_bytes(gzipped())
        done = repaired(cache, server)
        assert done.whole
        assert theirs(cache.root) == before
        assert quarantined(cache.root) == [gzipped()]

    def test_a_changed_image_stays_where_no_other_can_be_had(
        self, cache: Cache, fresh_server: NeuroVaultServer
    ) -> None:
        image_at(cache.root).write_bytes(gzipped())
        fresh_server.faults.append(Fault(match="/media/", kind="html"))
        done = repaired(cache, fresh_server)
        assert not done.whole
        assert [each.id for each in done.mended.failures] == [FIRST]
        assert image_at(cache.root).read_bytes() == gzipped()
        assert quarantined(cache.root) == []
        assert problems(cache.verify()) == [("changed", layout.image_path(1952, FIRST))]

    def test_a_whole_store_asks_nothing(
        self, cache: Cache, server: NeuroVaultServer
    ) -> None:
        server.clear_requests()
        assert repaired(cache, server).whole
        assert asked(server) == []

    def test_what_cannot_be_had_does_not_stop_the_rest(
        self, cache: Cache, fresh_server: NeuroVaultServer
    ) -> None:
        cut_off(image_at(cache.root))
        cut_off(image_at(cache.root, SECOND))
        name = json.loads(record_at(cache.root).read_bytes())["file"].rpartition("/")[2]
        fresh_server.faults.append(Fault(match=re.escape(name), kind="502"))
        done = repaired(cache, fresh_server)
        assert not done.whole
        assert done.mended.images == (SECOND,)
        [failure] = done.mended.failures
        assert (failure.id, failure.collection_id) == (FIRST, 1952)
        assert failure.reason
        assert done.failures["id"].tolist() == [FIRST]
        read = json.loads(json.dumps(done.to_json()))
        assert (read["mended"], read["whole"]) == ([SECOND], False)
        assert read["failures"][0]["reason"] == failure.reason

    def test_a_private_image_needs_its_token(
        self,
        cache: Cache,
        server: NeuroVaultServer,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        before = theirs(cache.root)
        cut_off(image_at(cache.root, PRIVATE, 9001))
        done = repaired(cache, server)
        assert [each.id for each in done.mended.failures] == [PRIVATE]
        with pytest.raises(ArgumentError, match="MY_TOKEN, which should hold"):
            repaired(cache, server, tokens="env:MY_TOKEN")
        monkeypatch.setenv("MY_TOKEN", SECRET)
        done = repaired(cache, server, tokens=["env:MY_TOKEN"])
        assert done.whole
        assert done.mended.images == (PRIVATE,)
        assert theirs(cache.root) == before
        assert SECRET.encode() not in b"".join(filter(None, tree(cache.root).values()))

    def test_only_some_collections(
        self, cache: Cache, server: NeuroVaultServer
    ) -> None:
        image_at(cache.root).unlink()
        image_at(cache.root, 10426, 658).unlink()
        done = repaired(cache, server, collection_ids=658)
        assert done.mended.images == (10426,)
        assert not image_at(cache.root).exists()

    def test_nobody_answers(self, cache: Cache) -> None:
        cut_off(image_at(cache.root))
        text = "1 image waits to be fetched again, and the server http.* cannot be"
        with pytest.raises(UnreachableError, match=text):
            cache.repair(url="http://127.0.0.1:9", retries=0)
        assert len(quarantined(cache.root)) == 1

    def test_a_store_that_cannot_be_written(
        self, cache: Cache, server: NeuroVaultServer
    ) -> None:
        shutil.rmtree(cache.root / OURS)
        (cache.root / OURS).touch()
        with pytest.raises(StoreError, match=r"cannot be written \(File exists\)"):
            repaired(cache, server)

    def test_files_that_only_nilearn_brought(
        self, cache: Cache, server: NeuroVaultServer
    ) -> None:
        shutil.rmtree(cache.root / OURS)
        before = theirs(cache.root)
        as_a_page(image_at(cache.root))
        assert repaired(cache, server).whole
        assert theirs(cache.root) == before

    def test_no_store(self, data_dir: Path, server: NeuroVaultServer) -> None:
        done = Cache.parse(data_dir).repair(url=server.url)
        assert (done.whole, done.before.exists) == (True, False)
        assert list(data_dir.iterdir()) == []


# ---- cleared ----------------------------------------------------------------------


def in_folder(root: Path, folder: str) -> list[str]:
    return sorted(name for name in tree(root) if folder in name)


class TestClear:
    def test_a_collection_goes_as_a_whole(
        self, cache: Cache, server: NeuroVaultServer
    ) -> None:
        cut_off(image_at(cache.root))
        cache.verify()
        before = tree(cache.root)
        planned = cache.plan(collection_ids=1952)
        assert tree(cache.root) == before
        done = cache.clear(collection_ids=1952)
        assert (done.removed, done.freed) == (len(planned.items), planned.bytes)
        assert in_folder(cache.root, "collection_1952") == []
        left = [name for name in before if "collection_1952" not in name]
        after = tree(cache.root)
        assert set(left) - set(after) <= {f"{OURS}/quarantine"}
        assert {name: before[name] for name in after} == after
        assert (
            find(
                server, cache.root.parent, "offline", "skip", collection_ids=[1952]
            ).images
            == ()
        )
        assert cache.verify().whole
        assert repaired(cache, server).mended.images == ()
        assert nilearns(cache.root, ALL_IMAGES) == [10426, PRIVATE]

    def test_a_private_collection_is_forgotten(self, cache: Cache) -> None:
        cache.clear(collection_ids=[9001])
        assert list((cache.root / OURS).rglob("private_*")) == []
        assert in_folder(cache.root, "9001") == []

    @pytest.mark.parametrize("name", ["notes.txt", "my_mask.nii.gz", "image_1.nii"])
    def test_files_of_users_survive_with_their_folder(
        self, cache: Cache, name: str
    ) -> None:
        folders = [image_at(cache.root).parent, cache.root, cache.root / OURS]
        folders += [receipt_at(cache.root).parent]
        for folder in folders:
            (folder / name).write_text("mine")
        done = cache.clear(everything=True)
        assert done.left == ()
        files = sorted(path for path in cache.root.rglob("*") if path.is_file())
        assert files == sorted(folder / name for folder in folders)

    def test_everything(self, cache: Cache) -> None:
        cache.clear(everything=True)
        assert list(cache.root.iterdir()) == []
        assert cache.plan(everything=True).items == ()

    def test_the_order_keeps_every_state_harmless(self, cache: Cache) -> None:
        root = cache.root
        (root / layout.resampled_path(1952, FIRST)).write_bytes(gzipped())
        (root / layout.words_path(1952, FIRST)).write_bytes(b"{}")
        paths = [item.path for item in cache.plan(collection_ids=1952).items]
        assert paths[:5] == [
            layout.sidecar_path(1952, FIRST),
            layout.image_path(1952, FIRST),
            layout.words_path(1952, FIRST),
            layout.resampled_path(1952, FIRST),
            layout.receipt_path(1952, FIRST),
        ]
        assert paths[-2] == layout.collection_metadata_path(1952)
        assert "listings" in paths[-1]

    def test_nilearn_survives_a_kill_at_any_time(self, cache: Cache) -> None:
        planned = cache.plan(collection_ids=1952)
        for item in planned.items:
            replace(planned, items=(item,), folders=()).carry_out()
            found = nilearns(cache.root, ALL_IMAGES)
            records = [n for n in IMAGES if record_at(cache.root, n).exists()]
            assert found == sorted([10426, *records, PRIVATE])
            assert [
                f
                for f in cache.verify(dry_run=True).findings
                if (f.problem == "damaged")
            ] == []

    def test_by_age_of_the_download(self, cache: Cache) -> None:
        long_ago = time.time() - 100 * 86400
        receipt = json.loads(receipt_at(cache.root).read_bytes())
        receipt["added"] = long_ago
        receipt_at(cache.root).write_text(json.dumps(receipt))
        receipt_at(cache.root, SECOND).unlink()
        os.utime(image_at(cache.root, SECOND), (long_ago, long_ago))
        os.utime(image_at(cache.root, THIRD), (long_ago, long_ago))
        listings = in_folder(cache.root, "listings/")
        assert cache.plan(older_than="101d").items == ()
        cache.clear(older_than="90d")
        assert not image_at(cache.root).exists()
        assert not record_at(cache.root, SECOND).exists()
        # Its receipt says that it is young.
        assert image_at(cache.root, THIRD).exists()
        assert in_folder(cache.root, "listings/") == listings
        assert cache.verify().whole
        assert nilearns(cache.root, ALL_IMAGES) == [10426, THIRD, PRIVATE]

    def test_an_image_that_was_replaced_is_as_young_as_that(self, cache: Cache) -> None:
        receipt = json.loads(receipt_at(cache.root).read_bytes())
        receipt["added"] = 1.0
        receipt_at(cache.root).write_text(json.dumps(receipt))
        assert cache.plan(older_than="1d").bytes > 0
        os.utime(image_at(cache.root))
        assert cache.plan(older_than="1d").items == ()

    def test_by_age_the_last_image_takes_its_collection_along(
        self, cache: Cache
    ) -> None:
        cache.clear(older_than=0, collection_ids=[658])
        assert not image_at(cache.root, 10426, 658).parent.exists()
        assert image_at(cache.root).exists()

    def test_derived_only(self, cache: Cache) -> None:
        root = cache.root
        before = tree(root)
        (root / layout.resampled_path(1952, FIRST)).write_bytes(gzipped())
        gridded = root / OURS / "gridded" / "mni152-3mm"
        gridded.mkdir(parents=True)
        (gridded / "a.nii").touch()
        (root / OURS / "index.sqlite-wal").touch()
        assert cache.clear(derived=True).removed == 3
        assert tree(root) == before
        assert nilearns(root, ALL_IMAGES) == sorted(ALL_IMAGES)

    def test_listings_only(self, cache: Cache, server: NeuroVaultServer) -> None:
        before = theirs(cache.root)
        cache.clear(listings=True)
        assert list((cache.root / OURS).rglob("listings")) == []
        assert theirs(cache.root) == before
        found = find(
            server, cache.root.parent, "offline", "skip", collection_ids=[1952]
        )
        assert [image.id for image in found.images] == list(IMAGES)

    def test_quarantine_only(self, cache: Cache, server: NeuroVaultServer) -> None:
        cut_off(image_at(cache.root))
        repaired(cache, server)
        before = theirs(cache.root)
        assert cache.clear(quarantine=True, collection_ids=658).removed == 0
        assert cache.clear(quarantine=True, older_than="1d").removed == 0
        assert cache.clear(quarantine=True).removed == 1
        assert not (cache.root / OURS / "quarantine").exists()
        assert theirs(cache.root) == before

    def test_links_are_not_followed(self, cache: Cache, tmp_path: Path) -> None:
        outside = tmp_path / "elsewhere"
        folder = image_at(cache.root).parent
        folder.rename(outside)
        folder.symlink_to(outside)
        receipts = receipt_at(cache.root, 10426, 658).parent
        receipts.rename(tmp_path / "receipts")
        receipts.symlink_to(tmp_path / "receipts")
        before = tree(outside), tree(tmp_path / "receipts")
        done = cache.clear(everything=True)
        assert [each.path for each in done.left] == [
            f"{OURS}/receipts/collection_658",
            "collection_1952",
        ]
        assert "symbolic link" in done.left[0].reason
        assert (tree(outside), tree(tmp_path / "receipts")) == before
        assert folder.is_symlink()
        assert not image_at(cache.root, 10426, 658).exists()

    def test_our_folder_may_be_a_link(self, cache: Cache, tmp_path: Path) -> None:
        (cache.root / OURS).rename(tmp_path / "ours")
        (cache.root / OURS).symlink_to(tmp_path / "ours")
        before = tree(tmp_path / "ours")
        done = cache.clear(everything=True)
        assert done.left
        assert tree(tmp_path / "ours") == before
        assert [path.name for path in cache.root.iterdir()] == [OURS]

    def test_a_folder_that_becomes_a_link_is_not_followed(
        self, cache: Cache, tmp_path: Path
    ) -> None:
        planned = cache.plan(collection_ids=[1952])
        folder = image_at(cache.root).parent
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
        before = tree(tmp_path / "elsewhere")
        planned.carry_out()
        assert tree(tmp_path / "elsewhere") == before

    def test_of_an_image_that_is_a_link_the_link_goes(
        self, cache: Cache, tmp_path: Path
    ) -> None:
        place = image_at(cache.root)
        content = place.read_bytes()
        place.rename(tmp_path / "object")
        place.symlink_to(tmp_path / "object")
        assert cache.verify().whole
        cache.clear(collection_ids=[1952])
        assert not place.parent.exists()
        assert (tmp_path / "object").read_bytes() == content

    def test_a_folder_with_the_name_of_an_image_stays(self, cache: Cache) -> None:
        place = image_at(cache.root)
        place.unlink()
        place.mkdir()
        (place / "thesis.txt").write_text("years of work")
        cache.clear(everything=True)
        assert (place / "thesis.txt").read_text() == "years of work"

    def test_images_that_came_meanwhile_keep_their_record(self, cache: Cache) -> None:
        planned = cache.plan(collection_ids=[1952])
        new = image_at(cache.root, 5)
        new.write_bytes(gzipped())
        planned.carry_out()
        assert sorted(path.name for path in new.parent.iterdir()) == [
            "collection_metadata.json",
            "image_5.nii.gz",
        ]

    def test_what_has_gone_meanwhile_is_no_error(self, cache: Cache) -> None:
        planned = cache.plan(everything=True)
        shutil.rmtree(cache.root)
        done = planned.carry_out()
        assert (done.removed, done.freed, done.left) == (0, 0, ())

    def test_what_cannot_be_removed_is_reported(self, cache: Cache) -> None:
        planned = cache.plan(collection_ids=[1952])
        place = image_at(cache.root)
        place.unlink()
        place.mkdir()
        [left] = planned.carry_out().left
        assert left.path == layout.image_path(1952, FIRST)
        assert left.reason.startswith("It cannot be removed (")

    def test_nothing_is_chosen(self, cache: Cache) -> None:
        with pytest.raises(ArgumentError, match="Nothing was chosen; pass collection"):
            cache.clear()

    @pytest.mark.parametrize("age", ["a week", "-1d", "90 months"])
    def test_no_age(self, cache: Cache, age: str) -> None:
        with pytest.raises(ArgumentError, match=f"older_than='{age}' is not an age"):
            cache.clear(older_than=age)

    def test_no_store(self, data_dir: Path) -> None:
        assert Cache.parse(data_dir).clear(everything=True).removed == 0
        assert list(data_dir.iterdir()) == []


# ---- beside others ----------------------------------------------------------------


def test_names_that_layout_gives_and_no_others_are_known(tmp_path: Path) -> None:
    names = {
        layout.image_path(12, 3): "image",
        layout.sidecar_path(12, 3): "record",
        layout.resampled_path(12, 3): "resampled",
        layout.words_path(12, 3): "words",
        layout.collection_metadata_path(12): "about",
        layout.receipt_path(12, 3): "receipt",
        layout.listing_path("https://neurovault.org", 12): "listing",
        layout.listing_path("http://localhost:8000/mirror", None): "listing",
        "collection_12/image_03.nii.gz": "other",
        "collection_12/image_3.nii.gz.bak": "other",
        "collection_12/image_3.nii": "other",
        "collection_12/Image_3.nii.gz": "other",
        "collection_12/sub/image_3.nii.gz": None,
        "collection_012/image_3.nii.gz": None,
        "image_3.nii.gz": "other",
        "collection_metadata.json": "other",
        f"{OURS}/receipts/image_3.json": "other",
        f"{OURS}/collection_12/image_3.nii.gz": None,
        f"{OURS}/quarantine/collection_12/image_3.nii.gz": "other",
        f"{OURS}/quarantine/collection_12/{'a' * 32}-image_3.nii.gz": "quarantined",
        f"{OURS}/gridded/thesis.docx": "other",
    }
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {item.path: item.kind for item in scan(tmp_path).items}
    expected = {name: kind for name, kind in names.items() if kind}
    folders = ("collection_12/sub", "collection_012", f"{OURS}/collection_12")
    assert found == expected | dict.fromkeys(folders, "other")


def test_clearing_and_verifying_beside_readers(cache: Cache) -> None:
    stop = threading.Event()
    failed: list[BaseException] = []

    def look() -> None:
        try:
            while not stop.is_set():
                cache.info()
                cache.verify()
                cache.plan(everything=True)
        except BaseException as error:  # noqa: BLE001  handed to the main thread
            failed.append(error)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in (658, 1952, 9001):
        cache.clear(collection_ids=number)
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert theirs(cache.root) == {}


def test_images_that_are_being_replaced_are_not_called_changed(tmp_path: Path) -> None:
    store = Store(tmp_path / "neurovault")
    add(store)
    place = store.root / layout.image_path(12, 3)
    old = place.read_bytes()
    add(store, seed=1)
    new = place.read_bytes()
    # The state between the two steps of a writer: the new receipt, and the old image.
    place.write_bytes(old)
    part = place.with_name(f".part-{'0' * 32}-{place.name}")
    part.write_bytes(new)
    finish = threading.Timer(0.03, part.replace, [place])
    finish.start()
    assert Cache(store.root).verify().whole
    finish.join()
    assert place.read_bytes() == new


def test_verifying_beside_writers_in_other_processes(data_dir: Path) -> None:
    processes = multiprocessing.get_context("spawn")
    barrier = processes.Barrier(3)
    writers = [
        processes.Process(target=add_after, args=(barrier, data_dir, 0))
        for _ in range(2)
    ]
    for writer in writers:
        writer.start()
    cache = Cache.parse(data_dir)
    barrier.wait(60)
    while any(writer.is_alive() for writer in writers):
        assert cache.verify().whole
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert cache.info().images.files == 5
    assert cache.verify().whole
