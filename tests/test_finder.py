"""From a query to images: what is visited, in which order, and what a gap costs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
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
    many_collections,
    mirror_of,
)
from trees import gzipped

import intake_neurovault
from intake_neurovault.errors import (
    CorruptFileError,
    NeuroVaultWarning,
    OfflineError,
    ServerError,
    UnreachableError,
)
from intake_neurovault.finder import Finder
from intake_neurovault.found import outcome
from intake_neurovault.pool import MAX_FAILURES_IN_A_ROW, Pool
from intake_neurovault.query import Query
from intake_neurovault.tables import image_table
from intake_neurovault.testing import Fault, NeuroVaultServer

STUDIES = [32015, 32016, *range(32020, 32029), 32980]
ANY: dict[str, Any] = {"image_terms": {}, "collection_terms": {}, "max_images": None}


@pytest.fixture(scope="module")
def crowd() -> Iterator[NeuroVaultServer]:
    """Sixty collections of two images each; nobody changes them."""
    with NeuroVaultServer(many_collections(60)) as running:
        yield running


def failed(found: Any) -> list[tuple[int | None, int | None]]:
    return [(each.id, each.collection_id) for each in found.failures]


# ---- what is visited ------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4, 16])
@pytest.mark.parametrize("cap", [1, 2, 3, 21])
def test_a_cap_asks_for_few_more_lists_than_it_needs(
    crowd: NeuroVaultServer, data_dir: Path, workers: int, cap: int
) -> None:
    found = find(
        crowd, data_dir, "update", workers=workers, **{**ANY, "max_images": cap}
    )
    first = [1000 * number + place for number in range(1, 61) for place in (0, 1)]
    assert ids(found.images) == first[:cap]
    assert found.truncated
    needed = (cap + 1) // 2
    assert needed <= len(asked(crowd, "/images/$")) <= needed + workers


def test_a_cap_holds_for_named_collections_too(
    crowd: NeuroVaultServer, data_dir: Path
) -> None:
    crowd.clear_requests()
    named = list(range(60, 0, -1))
    found = find(crowd, data_dir, collection_ids=named, max_images=3)
    assert ids(found.images) == [60000, 60001, 59000]
    lists = [each for each in crowd.requests if each.path.endswith("/images/")]
    records = asked(crowd, r"collections/\d+/$")
    assert 2 <= len(lists) <= 2 + 4
    assert 2 <= len(records) <= 2 + 4


def test_a_cap_holds_for_named_images_too(
    crowd: NeuroVaultServer, data_dir: Path
) -> None:
    crowd.clear_requests()
    named = [1000 * number for number in range(1, 61)]
    found = find(crowd, data_dir, image_ids=named, max_images=3)
    assert ids(found.images) == named[:3]
    assert len(asked(crowd, "api/images/")) == 4


def test_no_more_requests_at_a_time_than_workers(data_dir: Path) -> None:
    with BusyServer(many_collections(20), "", 0.01) as server:
        found = find(server, data_dir, workers=3, collection_ids=range(1, 21))
    assert len(found.images) == 40
    assert 1 < server.most <= 3


def test_an_empty_collection_is_not_asked_for(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    server.clear_requests()
    found = find(server, data_dir, **ANY)
    lists = asked(server, "/images/$")
    assert len(lists) == len(set(lists)) == 8
    assert "/api/collections/23/images/" not in lists
    assert len(found.images) == 89
    assert found.failures == ()


def test_conditions_on_collections_come_before_their_images(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    server.clear_requests()
    doi = {"DOI": {"$regex": r"sample\.(658|3324)"}}
    found = find(server, data_dir, **{**ANY, "collection_terms": doi})
    assert asked(server, "/images/$") == [
        "/api/collections/3324/images/",
        "/api/collections/658/images/",
    ]
    assert sorted(found.collections) == [658, 3324]
    assert [(step.removed, step.alone) for step in found.steps] == [(6, 6)]


def test_conditions_hold_for_named_collections_before_their_images_are_asked_for(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    server.clear_requests()
    terms = {"name": {"$contains": "Atlases"}}
    found = find(server, data_dir, collection_ids=[658, 262], collection_terms=terms)
    assert asked(server, "/images/$") == ["/api/collections/262/images/"]
    assert [step.removed for step in found.steps] == [1]


@pytest.mark.parametrize(
    "terms",
    [
        {"image_terms": {"collection_id": [3324, 1952]}},
        {"image_terms": {}, "collection_terms": {"id": [3324, 1952]}},
        {"image_terms": {"id": [48001, 32980, 48000, 32015]}},
    ],
)
def test_ids_in_terms_do_not_change_the_order(
    server: NeuroVaultServer, data_dir: Path, terms: dict[str, Any]
) -> None:
    server.clear_requests()
    found = find(server, data_dir, **terms)
    order = [(image.collection_id, image.id) for image in found.images]
    assert {number for number, _ in order} == {1952, 3324}
    assert order == sorted(order)
    assert "/api/collections/" not in asked(server)


def test_a_list_that_moves_meanwhile_changes_nothing(data_dir: Path) -> None:
    archive = many_collections(300, images=0)
    for number in (7, 150, 299):
        archive.add_image(number, b"", id=5000 + number)
    with NeuroVaultServer(archive, shifting=2) as server:
        found = find(server, data_dir, **ANY)
        assert ids(found.images) == [5007, 5150, 5299]
        assert len(asked(server, "/images/$")) == 3


# ---- failures, under each policy ------------------------------------------------


@pytest.mark.parametrize("errors", ["warn", "skip"])
def test_a_record_that_cannot_be_served_costs_only_itself(
    fresh_server: NeuroVaultServer,
    data_dir: Path,
    errors: str,
    recwarn: pytest.WarningsRecorder,
) -> None:
    fresh_server.faults.append(Fault(kind="poison_row", image_id=32020))
    query = {"collection_ids": [1952, 3324]}
    if errors == "warn":
        with pytest.warns(NeuroVaultWarning, match="1 thing could not be listed"):
            found = find(fresh_server, data_dir, errors=errors, **query)
    else:
        found = find(fresh_server, data_dir, errors=errors, **query)
    assert len(recwarn) == 0
    rest = [each for each in STUDIES if each != 32020]
    assert ids(found.images)[: len(rest)] == rest
    assert len(found.images) == len(rest) + 9
    (failure,) = found.failures
    assert failure.url.endswith("/api/collections/1952/images/?limit=1&offset=2")
    assert failure.attempts > 0


def test_raise_raises_what_the_server_did(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    fresh_server.faults.append(Fault(kind="poison_row", image_id=32020))
    with pytest.raises(ServerError, match=r"1952.*offset=2 answered 500") as caught:
        find(fresh_server, data_dir, collection_ids=[1952])
    assert caught.value.attempts > 0


@pytest.mark.parametrize("errors", ["warn", "skip"])
@pytest.mark.filterwarnings("ignore:[0-9]+ thing:UserWarning")
def test_asking_again_asks_only_for_what_failed(
    fresh_server: NeuroVaultServer, data_dir: Path, errors: str
) -> None:
    fresh_server.faults.append(Fault(match="/1952/images/", kind="html"))
    query = {"collection_ids": [658, 1952, 3324]}
    found = find(fresh_server, data_dir, errors=errors, **query)
    assert failed(found) == [(None, 1952)]
    assert found.failures[0].url == f"{fresh_server.url}/api/collections/1952/images/"
    assert {image.collection_id for image in found.images} == {658, 3324}
    fresh_server.faults.clear()
    fresh_server.clear_requests()
    again = find(fresh_server, data_dir, errors=errors, **query)
    assert (len(again.images), again.failures) == (41, ())
    assert asked(fresh_server) == [
        "/api/collections/1952/",
        "/api/collections/1952/images/",
    ]


def test_a_collection_that_cannot_be_had_is_named(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    found = find(server, data_dir, errors="skip", collection_ids=[9001, 77, 1952])
    assert failed(found) == [(None, 9001), (None, 77)]
    assert found.failures[1].url == f"{server.url}/api/collections/77/"
    assert ids(found.images) == STUDIES


def test_an_image_without_its_collection_is_not_found_silently(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    fresh_server.faults.append(Fault(match=r"/api/collections/1952/$", kind="html"))
    found = find(
        fresh_server, data_dir, errors="skip", image_ids=[32015, 10426], max_images=9
    )
    assert ids(found.images) == [10426]
    assert failed(found) == [(None, 1952)]


def test_what_does_not_exist_ends_no_run(data_dir: Path) -> None:
    gone = range(1, MAX_FAILURES_IN_A_ROW + 20)
    with NeuroVaultServer(many_collections(1)) as server:
        found = find(server, data_dir, errors="skip", image_ids=[*gone, 1000, 1001])
    assert ids(found.images) == [1000, 1001]
    assert [each.id for each in found.failures] == list(gone)


def test_failures_here_and_there_end_no_run(data_dir: Path) -> None:
    archive = many_collections(1, images=2 * MAX_FAILURES_IN_A_ROW + 2)
    named = archive.image_ids(1)
    with NeuroVaultServer(archive) as server:
        server.faults.append(Fault(match=r"/api/images/\d*[13579]/", kind="html"))
        found = find(server, data_dir, errors="skip", image_ids=named)
    assert ids(found.images) == named[::2]
    assert [each.id for each in found.failures] == named[1::2]


def test_failures_in_a_row_end_a_run_and_cost_nothing_that_was_found(
    data_dir: Path,
) -> None:
    archive = many_collections(1, images=2 * MAX_FAILURES_IN_A_ROW)
    named = archive.image_ids(1)
    with NeuroVaultServer(archive) as server:
        server.faults.append(Fault(match=r"/api/images/1[01]", after=10, kind="html"))
        with pytest.warns(NeuroVaultWarning, match="things could not be listed"):
            found = find(server, data_dir, errors="warn", workers=1, image_ids=named)
        assert len(set(asked(server, "/api/images/"))) <= MAX_FAILURES_IN_A_ROW + 12
    assert ids(found.images) == named[:10]
    assert not found.truncated
    assert len(found.failures) == MAX_FAILURES_IN_A_ROW + 1
    last = found.failures[-1]
    assert last.reason == (
        "90 images were not looked at any more, since 100 requests in a row had "
        "failed; try again later."
    )
    assert (last.id, last.collection_id, last.attempts) == (None, None, 0)


def test_images_on_disk_are_found_though_the_server_is_given_up(
    data_dir: Path,
) -> None:
    archive = many_collections(1, images=2 * MAX_FAILURES_IN_A_ROW)
    named = archive.image_ids(1)
    archive.add_image(1, gzipped(), id=9999)
    with NeuroVaultServer(archive) as server:
        fill(server, data_dir, 9999)
        server.faults.append(Fault(match="/api/images/", kind="html"))
        found = find(
            server,
            data_dir,
            errors="skip",
            image_ids=[*named, 9999],
            max_images=5,
            image_terms={},
        )
    assert ids(found.images) == [9999]
    assert found.failures[-1].reason.startswith("100 images were not looked at")


@pytest.mark.parametrize("errors", ["warn", "skip"])
@pytest.mark.filterwarnings("ignore:[0-9,]+ things:UserWarning")
def test_a_server_that_lists_no_image_is_given_up(data_dir: Path, errors: Any) -> None:
    count = MAX_FAILURES_IN_A_ROW + 60
    with NeuroVaultServer(many_collections(count)) as server:
        listings = listings_of(server, data_dir)
        listings.collections()
        for number in (1, 2):
            listings.images(listings.collection(number))
        server.faults.append(Fault(match="/images/", kind="html"))
        client = replace(listings.client, retries=0)
        finder = Finder(replace(listings, client=client), Pool(4, errors))
        found = outcome(finder.find(Query.parse(**ANY)))
        assert len(set(asked(server, "/images/$"))) <= MAX_FAILURES_IN_A_ROW + 2 + 5
    assert ids(found.images) == [1000, 1001, 2000, 2001]
    assert len(found.failures) == MAX_FAILURES_IN_A_ROW + 1
    assert found.failures[-1].reason.startswith("58 collections were not looked at")


def test_a_server_that_breaks_on_every_list_costs_little(data_dir: Path) -> None:
    with NeuroVaultServer(many_collections(3)) as server:
        listings = listings_of(server, data_dir)
        listings.collections()
        server.clear_requests()
        server.faults.append(Fault(match="/images/", kind="500"))
        finder = Finder(listings, Pool(4, "skip"))
        found = outcome(finder.find(Query.parse(**ANY)))
        assert len(server.requests) <= 3 * 21
    assert failed(found) == [(None, 1), (None, 2), (None, 3)]


@pytest.mark.parametrize(
    "query", [{}, ANY, {"image_ids": [1000]}, {"collection_ids": [1]}]
)
@pytest.mark.parametrize("workers", [1, 4])
def test_a_dead_server_is_a_failure_and_no_error(
    data_dir: Path, query: dict[str, Any], workers: int
) -> None:
    with NeuroVaultServer(many_collections(1)) as server:
        pass
    with pytest.warns(NeuroVaultWarning, match=r"1 thing .*cannot be reached"):
        found = find(server, data_dir, errors="warn", workers=workers, **query)
    assert found.images == ()
    assert len(found.failures) == 1
    with pytest.raises(UnreachableError, match="cannot be reached"):
        find(server, data_dir, **query)


@pytest.mark.parametrize("query", [{}, {"image_ids": [1000]}, {"collection_ids": [1]}])
def test_a_search_of_a_dead_server_is_empty(
    data_dir: Path, query: dict[str, Any]
) -> None:
    with NeuroVaultServer(many_collections(1)) as server:
        pass
    where = {"url": server.url, "data_dir": data_dir, "retries": 0}
    result = intake_neurovault.search(**where, **query, errors="warn")
    with pytest.warns(NeuroVaultWarning, match=r"1 thing .*cannot be reached"):
        assert len(result) == 0
    assert len(result.failures) == 1
    assert result.df.empty


# ---- several pages at a time ----------------------------------------------------


@pytest.mark.parametrize(
    ("workers", "collections", "most"),
    [(1, 1, 1), (3, 1, 3), (8, 1, 4), (8, 2, 8), (8, 3, 6), (4, 3, 4), (2, 3, 2)],
)
def test_no_more_pages_at_a_time_than_workers(
    data_dir: Path, workers: int, collections: int, most: int
) -> None:
    archive = many_collections(collections, images=1000)
    with BusyServer(archive, "", 0.05) as server:
        named = range(1, collections + 1)
        found = find(
            server, data_dir, workers=workers, collection_ids=named, image_terms={}
        )
        assert len(asked(server)) == 6 * collections
    assert len(found.images) == 1000 * collections
    assert 1 <= server.most <= most
    assert (server.most > 1) is (workers > 1)


def test_one_long_list_among_many_is_read_several_pages_at_a_time(
    data_dir: Path,
) -> None:
    archive = many_collections(20, images=1)
    for number in range(1000):
        archive.add_image(7, b"", id=50_000 + number)
    with BusyServer(archive, "/images/$", 0.1) as server:
        terms = {"name": "collection 7"}
        found = find(server, data_dir, **{**ANY, "collection_terms": terms})
    assert len(found.images) == 1001
    assert 1 < server.most <= 4


@pytest.mark.parametrize(("workers", "most"), [(1, 1), (2, 2), (8, 4)])
def test_the_list_of_collections_is_read_several_pages_at_a_time(
    data_dir: Path, workers: int, most: int
) -> None:
    archive = many_collections(1200, images=0)
    archive.add_image(7, b"", id=7000)
    with BusyServer(archive, "", 0.1) as server:
        found = find(server, data_dir, workers=workers, **ANY)
        assert len(asked(server)) == 7
    assert ids(found.images) == [7000]
    assert server.most <= most
    assert (server.most > 1) is (most > 1)


# ---- progress -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("collections", "progress", "shown"),
    [(3, True, False), (9, True, True), (9, None, False)],
)
def test_a_bar_is_shown_while_many_lists_are_asked_for(
    data_dir: Path,
    capsys: pytest.CaptureFixture[str],
    collections: int,
    progress: bool | None,
    shown: bool,
) -> None:
    with NeuroVaultServer(many_collections(collections)) as server:
        for _ in range(2):
            finder = Finder(listings_of(server, data_dir), Pool(2, progress=progress))
            assert (
                len(outcome(finder.find(Query.parse(**ANY))).images) == 2 * collections
            )
            text = capsys.readouterr().err
            assert ("9/9" in text) is shown
            assert ("collection" in text) is shown
            # What was listed is not asked for again, and nothing is shown.
            shown = False


# ---- offline --------------------------------------------------------------------


def fill(server: NeuroVaultServer, data_dir: Path, *image_ids: int) -> dict[int, Path]:
    """Have files, and no listing at all."""
    mirror = mirror_of(server, data_dir)
    paths = {n: mirror.local(file_of(mirror.listings, n)) for n in image_ids}
    server.clear_requests()
    return paths


def test_offline_says_what_was_never_listed(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    fill(server, data_dir, 10426, 10410, 32015)
    text = (
        "the collections of the server and the images of 2 collection.s. were never "
        "listed completely"
    )
    with pytest.warns(NeuroVaultWarning, match=text):
        found = find(server, data_dir, "offline", **ANY)
    assert ids(found.images) == [10410, 10426, 32015]
    assert found.listed is None
    listings_of(server, data_dir).collections()
    with pytest.warns(NeuroVaultWarning, match="known: the images of 8 collection.s."):
        find(server, data_dir, "offline", **ANY)


def test_offline_with_whole_lists_warns_of_nothing(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    online = find(server, data_dir, **ANY)
    server.clear_requests()
    offline = find(server, data_dir, "offline", **ANY)
    assert offline == online
    assert offline.listed is not None
    assert asked(server) == []


def test_offline_with_nothing_warns(server: NeuroVaultServer, data_dir: Path) -> None:
    with pytest.warns(NeuroVaultWarning, match="known: the collections of the server"):
        found = find(server, data_dir, "offline")
    assert found.images == ()


@pytest.mark.filterwarnings("ignore:Offline, only:UserWarning")
def test_damaged_records_on_disk_end_no_search(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    paths = fill(server, data_dir, 10426, 10410, 32015, 32016)
    paths[10426].with_name("image_10426_metadata.json").write_bytes(b"")
    paths[32015].with_name("collection_metadata.json").write_bytes(b"{")
    with pytest.warns(NeuroVaultWarning, match="2 things could not be listed"):
        found = find(server, data_dir, "offline", "warn", **ANY)
    assert ids(found.images) == [10410, 32015, 32016]
    assert sorted(failed(found), key=str) == [(10426, 658), (None, 1952)]
    assert all(each.url.startswith("file://") for each in found.failures)
    with pytest.raises(CorruptFileError, match=r"image_10426_metadata\.json"):
        find(server, data_dir, "offline", collection_ids=[658])
    with pytest.raises(OfflineError, match="Image 10426 is not in the store"):
        find(server, data_dir, "offline", image_ids=[10410, 10426])
    some = find(server, data_dir, "offline", "skip", image_ids=[10410, 10426])
    assert ids(some.images) == [10410]


@pytest.mark.filterwarnings("ignore:Offline, only:UserWarning")
def test_the_terms_that_hold_by_default_keep_a_collection_whose_record_is_lost(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    paths = fill(server, data_dir, 10426, 10410, 32015)
    usual = ids(find(server, data_dir, "offline").images)
    assert usual
    for path in paths.values():
        path.with_name("collection_metadata.json").unlink(missing_ok=True)
    with pytest.warns(NeuroVaultWarning, match="2 things could not be listed"):
        found = find(server, data_dir, "offline", "warn")
    assert ids(found.images) == usual


def test_offline_an_image_that_was_only_listed_is_found_by_its_id(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    fill(server, data_dir, 10426)
    online = find(server, data_dir, collection_ids=[1952])
    server.clear_requests()
    found = find(server, data_dir, "offline", image_ids=[32016, 10426])
    assert ids(found.images) == [32016, 10426]
    assert found.images[0] == online.images[1]
    assert asked(server) == []


def test_a_damaged_record_online_is_asked_for(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    path = fill(server, data_dir, 10426, 10410)[10426]
    path.with_name("image_10426_metadata.json").write_bytes(b"null")
    found = find(server, data_dir, image_ids=[10410, 10426])
    assert ids(found.images) == [10410, 10426]
    assert "/api/images/10426/" in asked(server)


@pytest.mark.filterwarnings("ignore:Offline, only:UserWarning")
def test_a_record_may_name_another_collection(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    path = fill(server, data_dir, 10426)[10426]
    sidecar = path.with_name("image_10426_metadata.json")
    content = json.loads(sidecar.read_bytes())
    sidecar.write_text(json.dumps({**content, "collection_id": 77}))
    found = find(server, data_dir, "offline", collection_ids=[658])
    table = image_table(found.images, found.collections)
    assert table["collection_id"].tolist() == [77]
    assert table["collection_name"].str.startswith("Functional localizer").all()


# ---- private collections --------------------------------------------------------


@pytest.mark.parametrize("mode", ["download_new", "update"])
def test_a_private_collection_among_public_ones(
    server: NeuroVaultServer,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    monkeypatch.setenv("NV_TOKEN", SECRET)
    query = {"collection_ids": ["env:NV_TOKEN", 1952], "image_terms": {}}
    found = find(server, data_dir, mode, **query)
    assert ids(found.images) == [90011, 90012, *STUDIES]
    assert sorted(found.collections) == [1952, 9001]
    assert SECRET not in f"{found} {[each.raw for each in found.images]}"
    assert SECRET.encode() not in kept_texts(data_dir)
    assert find(server, data_dir, "offline", **query).images == found.images


@pytest.mark.parametrize("errors", ["warn", "skip"])
@pytest.mark.filterwarnings("ignore:[0-9]+ thing:UserWarning")
def test_a_failure_of_a_private_collection_leaks_nothing(
    fresh_server: NeuroVaultServer,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    errors: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("NV_TOKEN", SECRET)
    fresh_server.faults.append(Fault(match=f"{SECRET}/images/", kind="html"))
    query = {"collection_ids": ["env:NV_TOKEN"]}
    found = find(fresh_server, data_dir, errors=errors, **query)
    assert failed(found) == [(None, 9001)]
    monkeypatch.setenv("NV_TOKEN", "ZZZZZZZZ")
    other = find(fresh_server, data_dir / "new", errors=errors, **query)
    assert failed(other) == [(None, None)]
    monkeypatch.delenv("NV_TOKEN")
    unset = find(fresh_server, data_dir / "new", errors=errors, **query)
    assert "NV_TOKEN" in unset.failures[0].reason
    told = f"{found} {other} {unset} {caplog.text}"
    assert SECRET not in told
    assert "ZZZZZZZZ" not in told
    assert SECRET.encode() not in kept_texts(data_dir)


# ---- the account ----------------------------------------------------------------


def test_no_cap_and_no_image_are_told_apart(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    server.clear_requests()
    nothing = find(server, data_dir, max_images=0)
    assert (nothing.images, nothing.truncated) == ((), False)
    assert asked(server) == []
    everything = find(server, data_dir, **ANY)
    assert not everything.truncated


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (
            {"collection_ids": [658], "image_terms": {"name": "x"}},
            r"'name is \W?x.*20 re",
        ),
        ({"image_terms": {}, "collection_terms": {"name": "x"}}, "alone removed 8 rec"),
        ({"image_ids": [99999]}, "No image could be had: .*99999"),
        ({"image_ids": []}, "nothing to filter"),
    ],
)
def test_an_empty_answer_says_why(
    server: NeuroVaultServer, data_dir: Path, query: Any, text: str
) -> None:
    found = find(server, data_dir, errors="skip", **query)
    assert found.images == ()
    assert re.search(text, found.why_empty())
