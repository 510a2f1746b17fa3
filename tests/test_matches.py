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
