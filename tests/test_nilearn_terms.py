"""From nilearn's arguments to a query."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asking import vault_of

from intake_neurovault import (
    NotIn,
    ResultFilter,
    basic_collection_terms,
    basic_image_terms,
    fetch_neurovault,
)
from intake_neurovault.errors import FilterError, NeuroVaultWarning, ServerError
from intake_neurovault.nilearn_terms import (
    Conditions,
    among_collections,
    without_collection_id,
)
from intake_neurovault.query import Query
from intake_neurovault.result_filter import any_record
from intake_neurovault.testing import Fault, NeuroVaultServer


def test_the_basic_terms_are_those_of_a_search() -> None:
    asked = Query.parse(
        image_terms=basic_image_terms(), collection_terms=basic_collection_terms()
    )
    assert asked == Query.parse()


def test_keywords_replace_the_basic_terms_of_the_same_name() -> None:
    asked = Conditions.parse("image", None, any_record, {"map_type": "T map"})
    assert asked.terms == basic_image_terms() | {"map_type": "T map"}


def test_a_filter_of_terms_is_written_down() -> None:
    only = ResultFilter(map_type="Z map")
    asked = Conditions.parse("image", {"map_type": NotIn("T map")}, only, {})
    query = Query.parse(image_terms=asked.all_terms)
    assert asked.function is None
    assert query.image_filter.matches({"map_type": "Z map"})
    assert not query.image_filter.matches({"map_type": "F map"})


@pytest.mark.parametrize("terms", ["map_type", [1], 3])
def test_terms_that_are_none_are_refused(terms: Any) -> None:
    with pytest.raises(FilterError, match="image_terms: expected a mapping"):
        Conditions.parse("image", terms, any_record, {})


def test_a_collection_that_is_ruled_out_is_not_listed() -> None:
    images = Conditions({"collection_id": NotIn(457, 1952)}, None)
    images, collections = without_collection_id(images, Conditions({}, None))
    assert (images.terms, collections.terms) == ({}, {"id": NotIn(457, 1952)})


@pytest.mark.parametrize("term", [NotIn(2), {"$ne": 2}, {"$gt": 2}])
def test_a_collection_that_is_named_and_excluded_is_told(term: Any) -> None:
    collections = Conditions({"id": term}, None)
    with pytest.warns(NeuroVaultWarning, match="Contradictory .* collection_id=2 "):
        without_collection_id(Conditions({"collection_id": "2"}, None), collections)
    for named in (3, NotIn(3), [2, 3]):
        images = Conditions({"collection_id": named}, None)
        assert without_collection_id(images, collections) == (images, collections)


def test_only_collections_that_a_function_wants_are_listed(
    fresh_server: NeuroVaultServer, data_dir: Path
) -> None:
    maps = fetch_neurovault(
        image_terms={},
        collection_filter=ResultFilter({}, lambda about: about["id"] == 658),
        collection_terms={},
        max_images=3,
        url=fresh_server.url,
        data_dir=data_dir,
    )
    assert {about["id"] for about in maps.collections_meta} == {658}
    listed = [r.path for r in fresh_server.requests if r.path.endswith("/images/")]
    assert listed == ["/api/collections/658/images/"]


def test_a_function_that_fails_names_the_collection(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    query = Query.parse(collection_terms={"id": 658})
    with pytest.raises(KeyError, match="no such field") as caught:
        among_collections(
            query, lambda about: about["no such field"], vault_of(server, data_dir)
        )
    assert caught.value.__notes__ == [
        "The function given as collection_filter failed at collection 658."
    ]


@pytest.mark.parametrize("errors", ["raise", "warn", "skip"])
def test_collections_that_cannot_be_listed_follow_the_policy(
    fresh_server: NeuroVaultServer, data_dir: Path, errors: str
) -> None:
    fresh_server.faults.append(Fault(match="/api/collections/", kind="503"))
    arguments: dict[str, Any] = {
        "collection_filter": lambda _about: True,
        "collection_terms": {},
        "url": fresh_server.url,
        "data_dir": data_dir,
        "retries": 0,
        "errors": errors,
    }
    if errors == "raise":
        with pytest.raises(ServerError, match="503"):
            fetch_neurovault(**arguments)
    elif errors == "warn":
        with pytest.warns(NeuroVaultWarning, match="1 thing could not be listed"):
            assert fetch_neurovault(**arguments).images == []
    else:
        assert fetch_neurovault(**arguments).images == []


def test_offline_a_limit_counts_what_is_on_disk(
    server: NeuroVaultServer, data_dir: Path
) -> None:
    arguments: dict[str, Any] = {
        "url": server.url,
        "data_dir": data_dir,
        "image_terms": {},
        "collection_id": 658,
    }
    maps = fetch_neurovault(**arguments, max_images=4)
    for path in maps.images[:2]:
        Path(path).unlink()
    offline = fetch_neurovault(**arguments, max_images=2, mode="offline")
    assert offline.images == maps.images[2:]
    assert offline.failures == []
