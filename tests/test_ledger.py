"""What is noted beside nilearn's tree comes back, or counts as absent."""

from __future__ import annotations

import json
import logging
import os
import pickle
import time
from dataclasses import replace
from pathlib import Path

import pytest
from trees import SERVER, collection_json, image_json, tree

from intake_neurovault import atomic
from intake_neurovault.errors import Failure, NeuroVaultWarning, StoreError
from intake_neurovault.ledger import Ledger, StoredListing, warn_once
from intake_neurovault.schema import COLLECTION_FIELDS

LISTING = StoredListing(
    records=(image_json(3), image_json(5)),
    collection=collection_json(),
    count=3,
    fetched=1_700_000_000.25,
    complete=False,
    failures=(Failure(4, 12, f"{SERVER}/api/images/4/", "It answers 500.", 5),),
)
COLLECTIONS = StoredListing((collection_json(),), None, 1, 1.0, complete=True)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "neurovault")


@pytest.mark.parametrize(
    ("collection_id", "listing"),
    [(12, LISTING), (None, COLLECTIONS), (12, replace(LISTING, count=None))],
)
def test_listing_comes_back(ledger, collection_id, listing):
    assert ledger.listing(SERVER, collection_id) is None
    ledger.save_listing(SERVER, collection_id, listing)
    assert ledger.listing(SERVER, collection_id) == listing
    assert Ledger(ledger.root).listing(SERVER, collection_id) == listing


def test_listings_are_kept_apart(ledger):
    ledger.save_listing(SERVER, 12, LISTING)
    assert ledger.listing(SERVER, None) is None
    assert ledger.listing(SERVER, 13) is None
    assert ledger.listing("http://localhost:8000", 12) is None


def test_a_later_listing_replaces(ledger):
    ledger.save_listing(SERVER, 12, LISTING)
    first = ledger.stamp(SERVER, 12)
    time.sleep(0.02)
    newer = replace(LISTING, complete=True, failures=())
    ledger.save_listing(SERVER, 12, newer)
    assert ledger.listing(SERVER, 12) == newer
    assert ledger.stamp(SERVER, 12) != first


def test_the_collections_with_a_list_are_named(ledger):
    assert ledger.listed(SERVER) == []
    for number in (12, 7, None, 100):
        ledger.save_listing(SERVER, number, LISTING)
    ledger.save_private_id(SERVER, "00ff", 77)
    ledger.save_listing("http://localhost:8000", 13, LISTING)
    folder = listing_file(ledger).parent
    folder.joinpath("collection_5.json.tmp").touch()
    folder.joinpath("collection_0.json").touch()
    assert ledger.listed(SERVER) == [7, 12, 100]
    assert ledger.listed("http://localhost:8000") == [13]


def test_a_store_that_cannot_be_written_is_told_once(tmp_path):
    error = StoreError("No space.")
    for root in (tmp_path / "a", tmp_path / "b"):
        with pytest.warns(NeuroVaultWarning, match=r"^No space\. All is read anew\.$"):
            warn_once(root, error, "All is read anew.")
        warn_once(root, error, "All is read anew.")
    with pytest.warns(NeuroVaultWarning, match="Something else"):
        warn_once(tmp_path / "a", error, "Something else.")


def test_stamp_of_nothing(ledger):
    assert ledger.stamp(SERVER) is None


def test_nothing_outside_our_folder(ledger):
    ledger.save_listing(SERVER, 12, LISTING)
    ledger.save_private_id(SERVER, "00ff", 77)
    assert [path.name for path in ledger.root.iterdir()] == [".intake_neurovault"]


def listing_file(ledger: Ledger) -> Path:
    [path] = ledger.root.rglob("collection_12.json")
    return path


def altered(**changes: object) -> bytes:
    content = {
        "format": 1,
        "source": "neurovault.org",
        "records": [{"id": 3}],
        "collection": {"id": 12},
        "count": 1,
        "fetched": 1.0,
        "complete": True,
        "failures": [],
    } | changes
    return json.dumps({k: v for k, v in content.items() if v != "absent"}).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not readable JSON"),
        (altered()[:-20], "not readable JSON"),
        (b"[]", "holds no JSON object"),
        (altered(format=2), "of another version"),
        (altered(format="absent"), "of another version"),
        (altered(source="localhost+8000"), "not a listing"),
        (altered(records="absent"), "not a listing"),
        (altered(records=[{"name": "x"}]), "a record has no id"),
        (altered(records=[3]), "a record has no id"),
        (altered(collection=[]), "a record has no id"),
        (altered(fetched=None), "not a listing"),
        (altered(failures=[{"odd": 1}]), "not a listing"),
    ],
)
def test_listing_that_cannot_be_used_is_absent(ledger, caplog, content, reason):
    ledger.save_listing(SERVER, 12, LISTING)
    listing_file(ledger).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert ledger.listing(SERVER, 12) is None
    assert reason in caplog.text
    ledger.save_listing(SERVER, 12, LISTING)
    assert ledger.listing(SERVER, 12) == LISTING


def test_altered_is_good_when_not_altered(ledger):
    ledger.save_listing(SERVER, 12, LISTING)
    listing_file(ledger).write_bytes(altered())
    assert ledger.listing(SERVER, 12).records == ({"id": 3},)


@pytest.mark.parametrize("complete", [1, "true", None])
def test_only_true_is_complete(ledger, complete):
    ledger.save_listing(SERVER, 12, LISTING)
    listing_file(ledger).write_bytes(altered(complete=complete))
    assert ledger.listing(SERVER, 12).complete is False


def test_private_id_comes_back(ledger):
    assert ledger.private_id(SERVER, "00ff") is None
    ledger.save_private_id(SERVER, "00ff", 77)
    assert ledger.private_id(SERVER, "00ff") == 77
    assert ledger.private_id(SERVER, "11ff") is None
    assert ledger.private_id("http://localhost:8000", "00ff") is None


@pytest.mark.parametrize("content", [b"", b'{"format": 1}', b'{"format": 0}'])
def test_damaged_private_id_is_absent(ledger, content):
    ledger.save_private_id(SERVER, "00ff", 77)
    [path] = ledger.root.rglob("private_*")
    path.write_bytes(content)
    assert ledger.private_id(SERVER, "00ff") is None


def test_unwritable_store(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    before = tree(tmp_path)
    ledger = Ledger(tmp_path / "file" / "neurovault")
    with pytest.raises(
        StoreError, match=r"file/neurovault cannot be written.*data_dir="
    ):
        ledger.save_listing(SERVER, 12, LISTING)
    with pytest.raises(StoreError, match="pass data_dir="):
        ledger.save_private_id(SERVER, "00ff", 77)
    assert ledger.listing(SERVER, 12) is None
    assert ledger.stamp(SERVER, 12) is None
    assert tree(tmp_path) == before


def test_saving_clears_what_a_killed_writer_left(ledger):
    folder = ledger.root / ".intake_neurovault" / "listings" / "neurovault.org"
    folder.mkdir(parents=True)
    stray = folder / (".part-" + "0" * 32 + "-collections.json")
    stray.touch()
    then = time.time() - 2 * atomic.DAY
    os.utime(stray, (then, then))
    ledger.save_listing(SERVER, None, COLLECTIONS)
    assert [path.name for path in folder.iterdir()] == ["collections.json"]


def test_ten_thousand_collections_load_quickly(ledger):
    fields = {field.name: None for field in COLLECTION_FIELDS}
    fields |= {"description": "faces and houses " * 40, "authors": "A. Author"}
    records = tuple(fields | {"id": number} for number in range(1, 10_001))
    ledger.save_listing(SERVER, None, replace(COLLECTIONS, records=records))
    start = time.process_time()
    found = ledger.listing(SERVER)
    assert time.process_time() - start < 1
    assert len(found.records) == 10_000


def test_ledger_travels(ledger):
    assert pickle.loads(pickle.dumps(ledger)) == ledger
    assert hash(Ledger(ledger.root)) == hash(ledger)
