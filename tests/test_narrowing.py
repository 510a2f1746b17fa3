"""Any chain of refinements is a query that finds, from the start, what was left."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intake_neurovault.errors import ArgumentError
from intake_neurovault.found import Found
from intake_neurovault.narrowing import Selection, narrowed, sampled
from intake_neurovault.pool import Report
from intake_neurovault.query import Query
from intake_neurovault.records import Collection, Image
from intake_neurovault.sieve import Sieve

HOMES = {n: Collection.from_json({"id": n, "owner": n % 2}) for n in (1, 2, 3)}
IMAGES = {
    n: Image.from_json(
        {"id": n, "collection_id": n // 10, "age": n * 7 % 10, "sex": "FM"[n % 2]},
        base_url="https://neurovault.org",
    )
    for n in (*range(10, 15), *range(20, 26), *range(30, 33))
}

ages = st.builds(
    lambda o, n: {"age": {o: n}}, st.sampled_from(["$gte", "$lt"]), st.integers(0, 9)
)
image_terms = st.one_of(ages, st.just({"sex": "F"}), st.just({}))
collection_terms = st.sampled_from([{}, {"owner": 1}, {"id": [1, 3]}])
image_ids = st.lists(st.sampled_from(sorted(IMAGES)), unique=True, max_size=6)
collection_ids = st.lists(st.sampled_from(sorted(HOMES)), unique=True, max_size=3)
terms = {"image_terms": image_terms, "collection_terms": collection_terms}
starts = st.fixed_dictionaries(
    terms | {"max_images": st.none() | st.integers(1, 9)},
    optional={"image_ids": image_ids, "collection_ids": collection_ids},
)
changes = st.fixed_dictionaries(
    {},
    optional=terms
    | {
        "max_images": st.none() | st.integers(0, 12),
        "image_ids": image_ids,
        "collection_ids": collection_ids,
    },
)


def search(query: Query) -> Found:
    """Find as the finder does, from records that are all there."""
    sieve = Sieve(query, None, Report("raise"))
    if query.explicit:
        batches = [[IMAGES[n]] for n in query.image_ids]
        refs: Any = query.collection_ids
    else:
        batches, refs = [], sorted(HOMES)
    batches += [[i for i in IMAGES.values() if i.collection_id == n] for n in refs]
    for images in batches:
        home = HOMES[images[0].collection_id]
        if not sieve.full and sieve.passes(home):
            sieve.sift(home, images)
    return sieve.found(truncated=sieve.full)


def ids(found: Found) -> list[int]:
    return [image.id for image in found.images]


@given(start=starts, steps=st.lists(changes, max_size=3), size=st.integers(0, 3))
@settings(max_examples=300)
@pytest.mark.filterwarnings("ignore::intake_neurovault.NeuroVaultWarning")
def test_a_chain_of_refinements_is_one_query(
    start: dict[str, Any], steps: list[dict[str, Any]], size: int
) -> None:
    query = Query.parse(**start)
    found = search(query)
    for step in steps:
        before, expected = ids(found), list(found.images)
        wanted = Selection.parse(found, **step)
        if "image_ids" in step:
            expected = [i for i in expected if i.id in step["image_ids"]]
        if "collection_ids" in step:
            expected = [
                i for i in expected if i.collection_id in step["collection_ids"]
            ]
        for image in list(expected):
            home = HOMES[image.collection_id].metadata
            whole = wanted.image_filter.matches(image.metadata)
            if not (whole and wanted.collection_filter.matches(home)):
                expected.remove(image)
        cap = step.get("max_images")
        try:
            query, found = narrowed(query, found, wanted)
        except ArgumentError:
            assert found.truncated or query.max_images == 0
            assert cap is None or cap > len(before)
            continue
        assert ids(found) == [image.id for image in expected][:cap]
        again = Query.parse(**query.to_arguments())
        assert again == query
        assert ids(search(again)) == ids(found)
    size = min(size, len(found.images))
    query, found = sampled(query, found, size, 1)
    assert len(found.images) == size
    assert ids(search(Query.parse(**query.to_arguments()))) == ids(found)
