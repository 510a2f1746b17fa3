"""Records through the store: what is asked, when, and what a gap does."""

from __future__ import annotations

import json
import os
import pickle
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from asking import (
    SECRET,
    asked,
    client_of,
    file_of,
    ids,
    kept_texts,
    listings_of,
    many_collections,
    mirror_of,
)

from intake_neurovault.errors import (
    ArgumentError,
    MissingError,
    NeuroVaultWarning,
    OfflineError,
    PrivateError,
    ServerError,
)
from intake_neurovault.listings import Listings
from intake_neurovault.lookup import Lookup
from intake_neurovault.pool import Pool
from intake_neurovault.records import Token
from intake_neurovault.store import Store
from intake_neurovault.testing import Fault, NeuroVaultServer
from intake_neurovault.whereabouts import IndexedLookup

LIST = "/api/collections/"
ABOUT = "/api/collections/1952/"
IMAGES = "/api/collections/1952/images/"
STUDIES = [32015, 32016, *range(32020, 32029), 32980]


def listing_file(data_dir: Path, name: str) -> Path:
    found = list(data_dir.rglob(f"listings/*/{name}.json"))
    assert len(found) == 1
    return found[0]


def grow_older(data_dir: Path, name: str, seconds: float) -> None:
    """Let a kept listing look as if it had been asked for that long ago."""
    path = listing_file(data_dir, name)
    content = json.loads(path.read_bytes())
    content["fetched"] -= seconds
    path.write_text(json.dumps(content))


# ---- age ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttl", "age", "again"),
    [
        ("1d", 0, False),
        ("1d", 86_000, False),
        ("1d", 87_000, True),
        ("12h", 43_000, False),
        ("12h", 44_000, True),
        (None, 1e9, False),
        (0, 1, True),
    ],
)
def test_a_listing_is_asked_for_again_when_it_is_old(
    server: NeuroVaultServer, data_dir: Path, ttl: Any, age: float, again: bool
) -> None:
    first = listings_of(server, data_dir).collections()
    grow_older(data_dir, "collections", age)
    server.clear_requests()
    second = listings_of(server, data_dir, ttl=ttl).collections()
    assert asked(server) == [LIST] * again
    assert second.items == first.items
    assert first.fetched is not None
    assert second.fetched is not None
    assert (second.fetched > first.fetched) is again


@pytest.mark.parametrize("mode", ["download_new", "update", "overwrite"])
@pytest.mark.parametrize("ttl", ["1d", None])
def test_a_listing_of_tomorrow_is_asked_for_again_today(
    server: NeuroVaultServer, data_dir: Path, mode: str, ttl: str | None
) -> None:
    listings_of(server, data_dir).collections()
    grow_older(data_dir, "collections", -86_400)
    server.clear_requests()
    view = listings_of(server, data_dir, mode, ttl)
    for _ in range(2):
        assert view.collections().fetched <= time.time()
    assert asked(server) == [LIST]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("download_new", []),
        ("offline", []),
        ("update", [LIST, ABOUT, IMAGES]),
        ("overwrite", [LIST, ABOUT, IMAGES]),
    ],
)
def test_a_mode_says_whether_a_young_listing_will_do(
    server: NeuroVaultServer, data_dir: Path, mode: str, expected: list[str]
) -> None:
    def look(listings: Listings) -> list[int]:
        listings.collections()
        return ids(listings.images(listings.collection(1952)).items)

    look(listings_of(server, data_dir))
    server.clear_requests()
    view = listings_of(server, data_dir, mode)
    assert look(view) == STUDIES
    # The list of collections is new then, and has this one's record.
    assert asked(server) == [each for each in expected if each != ABOUT]
    assert look(view) == STUDIES
    assert asked(server) == []
    later = replace(view, since=time.time())
    assert look(later) == STUDIES
    assert asked(server) == [each for each in expected if each != ABOUT]


def test_one_collection_needs_no_list_of_all(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    listings = listings_of(server, data_dir)
    server.clear_requests()
    listings.images(listings.collection(1952))
    assert asked(server) == [ABOUT, IMAGES]
    listings.images(listings.collection(1952))
    assert asked(server) == []


def test_the_list_of_all_knows_each_record(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    listings = listings_of(server, data_dir)
    everything = listings.collections()
    server.clear_requests()
    assert listings.collection(1952) in everything.items
    assert asked(server) == []


def test_another_view_and_another_process_ask_nothing(
    server: NeuroVaultServer, data_dir: Path, run_python: Callable[..., Any]
) -> None:
    listings = listings_of(server, data_dir)
    listings.images(listings.collection(1952))
    server.clear_requests()
    code = """
import sys
from intake_neurovault.client import Client
from intake_neurovault.listings import Listings
from intake_neurovault.store import Store
url, data_dir = sys.argv[1:]
listings = Listings(Client.parse(url=url), Store.parse(data_dir))
print([image.id for image in listings.images(listings.collection(1952)).items])
"""
    done = run_python(code, server.url, str(data_dir))
    assert json.loads(done.stdout) == STUDIES
    assert asked(server) == []


def test_a_copy_began_when_the_original_did(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    view = listings_of(server, data_dir, "update")
    view.collections()
    server.clear_requests()
    copy = pickle.loads(pickle.dumps(view))
    assert copy == view
    copy.collections()
    assert asked(server) == []


def test_two_servers_do_not_share_listings(
    server: NeuroVaultServer, fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    fresh_server.archive.add_collection("only here", id=4)
    assert 4 not in ids(listings_of(server, data_dir).collections().items)
    assert 4 in ids(listings_of(fresh_server, data_dir).collections().items)


def test_a_damaged_listing_is_as_good_as_none(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    listings_of(server, data_dir).collections()
    listing_file(data_dir, "collections").write_bytes(b'{"format": 1, "rec')
    server.clear_requests()
    assert 1952 in ids(listings_of(server, data_dir).collections().items)
    assert asked(server) == [LIST]


# ---- gaps -----------------------------------------------------------------------


def test_a_record_that_cannot_be_served_is_a_failure_of_its_own(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    fresh_server.faults.append(Fault(kind="poison_row", image_id=32020))
    listings = listings_of(fresh_server, data_dir)
    listed = listings.images(listings.collection(1952))
    assert ids(listed.items) == [each for each in STUDIES if each != 32020]
    (failure,) = listed.failures
    assert failure.collection_id == 1952
    assert failure.url == f"{fresh_server.url}{IMAGES}?limit=1&offset=2"
    assert failure.attempts > 0


def test_what_has_gaps_is_not_taken_for_complete(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    fresh_server.faults.append(Fault(kind="poison_row", image_id=32020))
    listings = listings_of(fresh_server, data_dir)
    for number in (1952, 658):
        listings.images(listings.collection(number))
    fresh_server.faults.clear()
    fresh_server.clear_requests()
    again = listings_of(fresh_server, data_dir)
    assert len(again.images(again.collection(658)).items) == 20
    listed = again.images(again.collection(1952))
    assert (ids(listed.items), listed.failures) == (STUDIES, ())
    assert asked(fresh_server) == [ABOUT, IMAGES]
    again.images(again.collection(1952))
    assert asked(fresh_server) == []


def test_an_answer_with_gaps_does_not_cost_what_was_known(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    listings = listings_of(fresh_server, data_dir)
    listings.images(listings.collection(1952))
    fresh_server.archive.edit_image(32021, name="edited since")
    fresh_server.faults.append(Fault(kind="poison_row", image_id=32020))
    later = listings_of(fresh_server, data_dir, "update")
    assert 32020 not in ids(later.images(later.collection(1952)).items)
    offline = listings_of(fresh_server, data_dir, "offline")
    listed = offline.images(offline.collection(1952))
    assert ids(listed.items) == STUDIES
    assert listed.fetched is None
    names = {image.id: image.metadata["name"] for image in listed.items}
    assert names[32021] == "edited since"


def test_a_list_of_collections_with_gaps_is_not_complete_offline(
    data_dir: Path,
) -> None:
    with NeuroVaultServer(many_collections(250, images=0)) as server:
        server.faults.append(Fault(match="offset=200", kind="html"))
        online = listings_of(server, data_dir).collections()
        assert len(online.items) == 200
        assert online.fetched is not None
        assert len(online.failures) == 1
        offline = listings_of(server, data_dir, "offline").collections()
        assert offline.items == online.items
        assert offline.fetched is None
        server.faults.clear()
        again = listings_of(server, data_dir).collections()
        assert (len(again.items), again.failures) == (250, ())


def test_one_senseless_record_does_not_cost_the_others(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    archive = fresh_server.archive
    archive.edit_image(32020, file="ftp://elsewhere.org/map.nii.gz")
    for _ in range(2):
        listings = listings_of(fresh_server, data_dir)
        listed = listings.images(listings.collection(1952))
        assert ids(listed.items) == [each for each in STUDIES if each != 32020]
        (failure,) = listed.failures
        assert (failure.id, failure.collection_id) == (32020, 1952)
        assert failure.url == f"{fresh_server.url}/api/images/32020/"
        assert "Record 32020: The record gives 'ftp://" in failure.reason
    assert asked(fresh_server, "images/$") == [IMAGES]


def test_one_senseless_collection_does_not_cost_the_others(data_dir: Path) -> None:
    archive = many_collections(3)
    archive.add_collection("counted from nought", id=0)
    with NeuroVaultServer(archive) as server:
        listed = listings_of(server, data_dir).collections()
        assert ids(listed.items) == [1, 2, 3]
        assert [each.collection_id for each in listed.failures] == [0]


@pytest.mark.parametrize("shifting", [0, 3])
def test_a_list_without_order_that_moves_is_read_whole(
    data_dir: Path, shifting: int
) -> None:
    archive = many_collections(450, images=0)
    with NeuroVaultServer(archive, shifting=shifting) as server:
        assert archive.public_collections() != sorted(archive.public_collections())
        listed = listings_of(server, data_dir).collections()
        assert ids(listed.items) == list(range(1, 451))
        assert listed.failures == ()
        pages = asked(server)
        assert len(pages) == 3 if shifting == 0 else 3 < len(pages) < 12


def test_a_server_that_gives_nothing_is_an_error(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    fresh_server.faults.append(Fault(kind="reset"))
    listings = listings_of(fresh_server, data_dir)
    with pytest.raises(ServerError, match="The list of collections"):
        listings.collections()
    assert list(data_dir.rglob("*.json")) == []


# ---- offline --------------------------------------------------------------------


def test_offline_says_what_is_missing(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    offline = listings_of(fresh_server, data_dir, "offline")
    fresh_server.clear_requests()
    file = file_of(listings_of(fresh_server, data_dir), 10426)
    assert asked(fresh_server) == ["/api/images/10426/"]
    with pytest.raises(OfflineError, match="Collection 1952 is not in the store"):
        offline.collection(1952)
    with pytest.raises(OfflineError, match=r"private collection .*is not in the"):
        offline.collection(Token(secret=SECRET))
    with pytest.raises(OfflineError, match="Image 32015 is not in the store"):
        offline.image(32015)
    with pytest.raises(OfflineError, match="Collection 658 is not in the store"):
        replace(offline, store=Store(data_dir / "other")).record(file)
    empty = offline.collections()
    assert (empty.items, empty.fetched, empty.failures) == ((), None, ())
    assert asked(fresh_server) == []
    assert list(data_dir.iterdir()) == []


def test_offline_knows_what_was_listed_and_what_is_on_disk(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    mirror = mirror_of(server, data_dir)
    mirror.local(file_of(mirror.listings, 10426))
    mirror.listings.images(mirror.listings.collection(1952))
    server.clear_requests()
    offline = listings_of(server, data_dir, "offline", ttl=0)
    assert ids(offline.collections().items) == [658]
    partly = offline.images(offline.collection(658))
    assert (ids(partly.items), partly.fetched) == ([10426], None)
    whole = offline.images(offline.collection(1952))
    assert ids(whole.items) == STUDIES
    assert whole.fetched is not None
    assert asked(server) == []


def test_damaged_records_on_disk_are_reported(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    mirror = mirror_of(server, data_dir)
    paths = [mirror.local(file_of(mirror.listings, n)) for n in (10426, 10410, 32015)]
    paths[0].with_name("image_10426_metadata.json").write_bytes(b"")
    paths[1].with_name("collection_metadata.json").write_bytes(b'{"id": 6')
    odd = {"id": 10410, "collection_id": "none", "file": None}
    paths[1].with_name("image_10410_metadata.json").write_text(json.dumps(odd))
    offline = listings_of(server, data_dir, "offline")
    listed = offline.collections()
    assert ids(listed.items) == [658, 1952]
    assert [each.collection_id for each in listed.failures] == [658]
    assert listed.failures[0].url.endswith("collection_658/collection_metadata.json")
    images = offline.images(listed.items[0])
    assert images.items == ()
    assert sorted(str(each.id) for each in images.failures) == ["10410", "10426"]
    assert list(offline.kept_images([10426, 10410, 32015])) == [32015]


def test_offline_an_image_that_was_only_listed_is_known_by_its_id(
    server: NeuroVaultServer, fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    mirror = mirror_of(server, data_dir)
    mirror.local(file_of(mirror.listings, 10426))
    online = mirror.listings.images(mirror.listings.collection(1952)).items
    listings_of(fresh_server, data_dir).images(mirror.listings.collection(3324))
    server.clear_requests()
    offline = listings_of(server, data_dir, "offline")
    some = [10426, 32015, 48000, 777]
    lookup = Lookup(offline.store, server.url)
    kept = offline.kept_images(some, lookup)
    assert sorted(kept) == [10426, 32015]
    indexed = IndexedLookup(offline.store, server.url, Pool(progress=False))
    for _ in range(2):
        assert offline.kept_images(some, indexed) == kept
    assert list(offline.kept_images(some)) == [10426]
    assert kept[32015] == (online[0], offline.collection(1952))
    assert listings_of(server, data_dir).kept_images([32015], lookup) == {}
    assert asked(server) == []


def test_offline_a_list_saved_meanwhile_is_seen(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    offline = listings_of(server, data_dir, "offline")
    where = offline.store, server.url
    lookups = [Lookup(*where), IndexedLookup(*where, Pool(progress=False))]
    assert [offline.kept_images([32015], each) for each in lookups] == [{}, {}]
    online = listings_of(server, data_dir)
    online.images(online.collection(1952))
    for lookup in lookups:
        assert list(offline.kept_images([32015], lookup)) == [32015]
    listing_file(data_dir, "collection_1952").write_text("{}")
    assert [offline.kept_images([32015], each) for each in lookups] == [{}, {}]


def test_offline_a_collection_whose_record_is_lost_counts_what_is_on_disk(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    mirror = mirror_of(server, data_dir)
    paths = [mirror.local(file_of(mirror.listings, n)) for n in (10426, 10410)]
    paths[0].with_name("collection_metadata.json").unlink()
    offline = listings_of(server, data_dir, "offline")
    (listed,) = offline.collections().items
    assert (listed.id, listed.metadata["number_of_images"]) == (658, 2)
    assert offline.collection(658) == listed
    assert offline.kept_images([10426])[10426][1] == listed
    mirror.listings.images(mirror.listings.collection(658))
    (known,) = offline.collections().items
    assert known == mirror.listings.collection(658)
    assert not paths[0].with_name("collection_metadata.json").exists()


def test_a_listing_makes_up_for_damaged_records(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    mirror = mirror_of(server, data_dir)
    path = mirror.local(file_of(mirror.listings, 10426))
    path.with_name("image_10426_metadata.json").write_bytes(b"[]")
    path.with_name("collection_metadata.json").write_bytes(b"[]")
    mirror.listings.images(mirror.listings.collection(658))
    mirror.listings.collections()
    offline = listings_of(server, data_dir, "offline")
    listed = offline.images(offline.collection(658))
    assert (len(listed.items), listed.failures) == (20, ())
    assert offline.collections().failures == ()


def test_offline_writes_no_listing(server: NeuroVaultServer, data_dir: Path) -> None:
    mirror = mirror_of(server, data_dir)
    mirror.local(file_of(mirror.listings, 10426))
    before = kept_texts(data_dir)
    offline = listings_of(server, data_dir, "offline")
    offline.images(offline.collections().items[0])
    assert offline.store.read_only
    assert kept_texts(data_dir) == before


# ---- the records of one file ----------------------------------------------------


def test_the_records_of_a_listed_file_are_not_asked_for(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    listings = listings_of(server, data_dir)
    image = listings.images(listings.collection(1952)).items[0]
    assert image.file is not None
    server.clear_requests()
    assert listings.record(image.file) == (image, listings.collection(1952))
    assert asked(server) == []


def test_the_records_of_a_file_asked_for_by_its_id_are_not_asked_for_twice(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    listings = listings_of(server, data_dir, ttl=0)
    about = listings.collection(1952)
    images = [listings.image(number) for number in STUDIES]
    server.clear_requests()
    for image in images:
        assert image.file is not None
        assert listings.record(image.file) == (image, about)
    assert asked(server) == []


def test_a_store_that_knows_nothing_asks_for_both_records(
    server: NeuroVaultServer, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    file = file_of(listings_of(server, tmp_path / "here"), 32015)
    listings = listings_of(server, tmp_path / "there")
    server.clear_requests()
    code = """
import pickle, sys
listings, file = pickle.loads(bytes.fromhex(sys.argv[1]))
for _ in range(2):
    image, collection = listings.record(file)
print(image.raw["study"], collection.id, image.file == file)
"""
    done = run_python(code, pickle.dumps((listings, file)).hex())
    assert done.stdout.split() == ["localizer_sample", "1952", "True"]
    assert asked(server) == [ABOUT, "/api/images/32015/"]


def test_an_old_listing_does_not_describe_a_new_file(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    old = listings_of(fresh_server, data_dir)
    old.images(old.collection(1952))
    fresh_server.archive.edit_image(32015, name="renamed since")
    update = listings_of(fresh_server, data_dir, "update")
    image, _ = update.record(file_of(update, 32015))
    assert image.raw["name"] == image.metadata["name"] == "renamed since"


# ---- private collections --------------------------------------------------------


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> Token:
    monkeypatch.setenv("NV_TOKEN", SECRET)
    return Token(env="NV_TOKEN")


def test_a_private_collection_is_kept_under_its_number(
    server: NeuroVaultServer, data_dir: Path, token: Token
) -> None:
    listings = listings_of(server, data_dir)
    listed = listings.images(listings.collection(token))
    assert ids(listed.items) == [90011, 90012]
    server.clear_requests()
    again = listings_of(server, data_dir)
    about = again.collection(token)
    assert (about.id, about.token) == (9001, token)
    images = again.images(about).items
    assert images == listed.items
    assert [image.file.token for image in images if image.file] == [token, token]
    offline = listings_of(server, data_dir, "offline")
    assert offline.images(offline.collection(token)).items == images
    assert asked(server) == []
    assert listing_file(data_dir, "collection_9001").is_file()
    assert SECRET.encode() not in kept_texts(data_dir)


def test_the_records_of_a_private_file_come_by_its_token(
    fresh_server: NeuroVaultServer, tmp_path: Path, token: Token
) -> None:
    here = listings_of(fresh_server, tmp_path / "here")
    file = here.images(here.collection(token)).items[0].file
    assert file is not None
    there = listings_of(fresh_server, tmp_path / "there")
    fresh_server.clear_requests()
    image, collection = there.record(file)
    assert (image.id, collection.id) == (90011, 9001)
    assert image.file == file
    assert SECRET not in f"{image} {image.raw} {collection} {collection.raw}"
    assert asked(fresh_server) == [f"/api/images/{SECRET}-90011/"]


def test_without_its_token_a_private_collection_is_closed(
    server: NeuroVaultServer, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = listings_of(server, data_dir)
    with pytest.raises(PrivateError, match=r"9001 on .* is private"):
        listings.collection(9001)
    with pytest.raises(MissingError, match="no public image 90011"):
        listings.image(90011)
    with pytest.raises(ArgumentError, match=r"NV_TOKEN.* is not set"):
        listings.collection(Token(env="NV_TOKEN"))
    monkeypatch.setenv("NV_TOKEN", "ZZZZZZZZ")
    with pytest.raises(MissingError, match="private") as caught:
        listings.collection(Token(env="NV_TOKEN"))
    assert "ZZZZZZZZ" not in str(caught.value)


# ---- a store that cannot be written ---------------------------------------------


def test_a_listing_that_cannot_be_kept_is_given_all_the_same(
    server: NeuroVaultServer, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where a folder is needed")
    listings = Listings(client_of(server), Store(blocked))
    text = "pass data_dir=.* each search asks the server for its lists anew"
    with pytest.warns(NeuroVaultWarning, match=text):
        assert len(listings.collections().items) > 5
    assert len(listings.images(listings.collection(1952)).items) == 12
    assert len(listings.images(listings.collection(658)).items) == 20
    other = tmp_path / "other"
    other.write_text("another file")
    with pytest.warns(NeuroVaultWarning, match=f"{other}.* lists anew"):
        replace(listings, store=Store(other)).collections()


def test_a_listing_changed_by_another_process_is_read_anew(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    listings = listings_of(server, data_dir)
    listings.images(listings.collection(1952))
    path = listing_file(data_dir, "collection_1952")
    content = json.loads(path.read_bytes())
    content["records"] = content["records"][:3]
    path.write_text(json.dumps(content))
    os.utime(path, ns=(1, 1))
    assert ids(listings.images(listings.collection(1952)).items) == STUDIES[:3]


class Overtaken(NeuroVaultServer):
    """Has something done after the first answer was made, and before it is sent."""

    meanwhile: Callable[[], object] | None = None

    def prepare(self, asked: Any) -> Any:
        answer = super().prepare(asked)
        hook, self.meanwhile = self.meanwhile, None
        if hook is not None:
            hook()
        return answer


@pytest.mark.parametrize("future", [0.0, 86_400.0])
def test_a_slow_list_does_not_replace_one_that_began_later(
    data_dir: Path, future: float
) -> None:
    with Overtaken(many_collections(2)) as server:

        def overtake() -> None:
            server.archive.add_collection("new", id=3)
            assert ids(listings_of(server, data_dir).collections().items) == [1, 2, 3]
            grow_older(data_dir, "collections", -future)

        server.meanwhile = overtake
        slow = listings_of(server, data_dir)
        assert ids(slow.collections().items) == [1, 2]
        server.clear_requests()
        kept = [1, 2] if future else [1, 2, 3]
        assert ids(listings_of(server, data_dir).collections().items) == kept
        assert asked(server) == []
