"""What a result says of itself: how old it is, what is not here, what went wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from intake_neurovault import SearchResult, search
from intake_neurovault.errors import MissingError
from intake_neurovault.testing import Fault, NeuroVaultServer

Ask = Callable[..., SearchResult]

NAMED = [32015, 32016, 32020]


@pytest.fixture
def ask(fresh_server: NeuroVaultServer, data_dir: Path) -> Ask:
    def asked(**arguments: Any) -> SearchResult:
        settings = {"url": fresh_server.url, "data_dir": data_dir, "retries": 0}
        return search(**(settings | arguments))

    return asked


def test_a_result_says_when_the_server_gave_the_list(ask: Ask) -> None:
    before = datetime.now(UTC)
    result = ask(collection_ids=[1952])
    assert before <= result.listed <= datetime.now(UTC)
    assert ask(collection_ids=[1952], mode="offline").listed == result.listed
    assert ask(image_ids=NAMED).listed is None
    assert ask(collection_ids=[658], mode="offline", errors="skip").listed is None


def test_a_result_says_which_images_are_not_on_disk(
    ask: Ask, fresh_server: NeuroVaultServer
) -> None:
    everything = ask(collection_ids=[1952])
    assert everything.missing() == everything.keys()
    ask(image_ids=NAMED).fetch()
    fresh_server.clear_requests()
    rest = [each.id for each in everything if each.id not in NAMED]
    assert everything.missing() == rest
    assert ask(collection_ids=[1952], mode="offline").missing() == rest
    assert fresh_server.requests == []


def test_an_image_without_a_file_is_missing(
    ask: Ask, fresh_server: NeuroVaultServer
) -> None:
    fresh_server.archive.edit_image(32016, file=None)
    assert ask(image_ids=NAMED).missing() == NAMED


def test_offline_the_first_look_says_how_old_and_what_is_not_here(ask: Ask) -> None:
    listed = ask(collection_ids=[1952]).listed
    ask(image_ids=NAMED).fetch()
    offline = ask(collection_ids=[1952], mode="offline")
    assert repr(offline).startswith("<SearchResult: not searched yet; ")
    count = len(offline)
    assert repr(offline).startswith(
        f"<SearchResult: {count} images, {count - 3} of them not on disk; last listed "
        f"{listed:%Y-%m-%d %H:%M} UTC; "
    )
    named = ask(image_ids=NAMED, mode="offline")
    assert len(named) == 3
    assert "3 images, all on disk; last listed never;" in repr(named)


def test_what_a_search_came_to_before_it_raised_is_not_asked_for_again(
    ask: Ask, fresh_server: NeuroVaultServer
) -> None:
    result = ask(image_ids=[32015, 404404])
    with pytest.raises(MissingError, match="404404"):
        result.keys()
    fresh_server.clear_requests()
    assert result.failures.id.tolist() == [404404]
    assert fresh_server.requests == []
    # Looking at the images asks once more, and the table is that of the last search.
    fresh_server.archive.add_image(1952, b"", id=404404)
    assert result.keys() == [32015, 404404]
    assert result.failures.empty


def test_a_closed_result_forgets_what_failed(ask: Ask) -> None:
    result = ask(image_ids=[404404])
    with pytest.raises(MissingError, match="404404"):
        result.keys()
    result.close()
    with pytest.raises(MissingError, match="404404"):
        _ = result.failures


def test_maps_on_their_own_grids_come_one_by_one_without_those_that_cannot(
    ask: Ask, fresh_server: NeuroVaultServer
) -> None:
    place = next(iter(ask(image_ids=NAMED[1:2]))).file.path
    fresh_server.faults.append(Fault(match=place, kind="html"))
    result = ask(image_ids=NAMED, grid=None, errors="skip")
    assert [int(each.image) for each in result.read_chunked()] == [32015, 32020]
    assert result.failures.id.tolist() == [32016]


def test_an_old_list_is_told_as_such(ask: Ask, fresh_server: NeuroVaultServer) -> None:
    first = ask(collection_ids=[1952]).listed
    again = ask(collection_ids=[1952], metadata_ttl=0).listed
    assert first < again
    assert again - first < timedelta(minutes=10)


# ---- what each term did -----------------------------------------------------------

EMPTY: dict[str, tuple[dict[str, Any], str]] = {
    "one term": ({"image_terms": {"age": {"$gt": 999}}}, "age > 999"),
    "the worst of several": (
        {"image_terms": {"is_thresholded": False, "age": {"$gt": 999}}},
        "age > 999",
    ),
    "collections before images": (
        {"collection_terms": {"DOI": "no such"}, "image_terms": {"age": {"$gt": 999}}},
        'DOI is "no such"',
    ),
    "images after collections": (
        {"collection_terms": {"id": 658}, "image_terms": {"age": {"$gt": 999}}},
        "age > 999",
    ),
    "a function": ({"image_terms": lambda image: False}, "a Python function"),
    "terms that no image fulfils together": (
        {"image_terms": {"map_type": "ROI/mask", "number_of_subjects": {"$gte": 60}}},
        'map_type is "ROI/mask"',
    ),
}


@pytest.mark.parametrize(("arguments", "blamed"), EMPTY.values(), ids=EMPTY)
def test_an_empty_result_names_the_term_to_blame(
    ask: Ask, arguments: dict[str, Any], blamed: str
) -> None:
    for _ in ("cold", "warm"):
        result = ask(**arguments)
        assert len(result) == 0
        table = result.explain()
        assert table[table.to_blame].term.tolist() == [blamed]
        assert blamed in result.found.why_empty()


def test_every_term_says_how_many_records_it_saw(ask: Ask) -> None:
    everything = {"image_terms": {}, "collection_terms": {}, "max_images": None}
    total = len(ask(**everything))
    terms = {"is_thresholded": False, "not_mni": False, "name": {"$regex": "a"}}
    result = ask(**everything | {"image_terms": terms})
    count, table = len(result), result.explain()
    assert table.applied_to.tolist() == ["images"] * 3
    assert table.seen.tolist()[0] == total
    assert (table.seen - table.removed).tolist() == [*table.seen[1:], count]
    assert (table.alone >= table.removed).all()
    assert not table.to_blame.any()
    kinds = ["str", "str", "str", "int64", "int64", "int64", "bool"]
    assert [str(each) for each in table.dtypes] == kinds
    assert [str(each) for each in ask(image_ids=[]).explain().dtypes] == kinds


def test_terms_that_nothing_reached_are_told(ask: Ask) -> None:
    table = ask(collection_terms={"name": "no such"}, image_terms={"age": 3}).explain()
    assert table.applied_to.tolist() == ["collections", "images"]
    assert table.seen.tolist() == [8, 0]


def test_who_judged_is_told(ask: Ask) -> None:
    arguments = {"collection_ids": [658], "image_terms": {"number_of_subjects": 20}}
    assert ask(**arguments).explain().judged_by.tolist() == ["Python"]
    warm = ask(**arguments)
    assert warm.explain().judged_by.tolist() == ["index"]
    part = warm.search(image_terms={"map_type": "Z map"})
    assert part.explain().judged_by.tolist() == ["index", "Python"]
