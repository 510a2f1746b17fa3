"""Records made again of short text are those that were written."""

from __future__ import annotations

import copy
import json
import pickle
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, asdict, replace
from operator import attrgetter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.bodies import (
    Shape,
    collection_of,
    folded,
    image_of,
    text_of,
)
from intake_neurovault.records import Collection, Image
from intake_neurovault.refs import Token

URL = "https://neurovault.org"
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(["n/a", "None / Other", "20", "2016-01-21", " a", "\ud800"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(
    [
        "name",
        "age",
        "DOI",
        "add_date",
        "is_thresholded",
        "file_size",
        "number_of_images",
    ]
)
RECORDS = st.dictionaries(NAMES | st.text(max_size=4), VALUES, max_size=8)


def as_kept(raw: dict[str, Any]) -> dict[str, Any]:
    """What is in a store went through JSON."""
    kept: dict[str, Any] = json.loads(json.dumps(raw))
    return kept


def image(**fields: Any) -> Image:
    raw = {"id": 3, "collection_id": 12, "name": "n/a", "image_type": "atlas", "x": 1}
    place = "http://neurovault.org/media/images/12/a.nii.gz"
    return Image.from_json(raw | {"file": place} | fields, base_url=URL)


def again(record: Image) -> Image:
    about = Shape.of(record), text_of(record)
    return image_of(record.id, record.collection_id, *about)


@given(RECORDS)
def test_an_image_is_the_same_again(fields: dict[str, Any]) -> None:
    raw = as_kept({**fields, "id": 3, "collection_id": 12})
    written = Image.from_json(raw, base_url=URL)
    found = again(written)
    assert found == written
    assert list(found.raw) == list(written.raw)
    assert list(found.metadata) == list(written.metadata)
    kinds = [type(each) for each in written.metadata.values()]
    assert [type(each) for each in found.metadata.values()] == kinds


@given(RECORDS)
def test_what_was_folded_is_the_same_again(fields: dict[str, Any]) -> None:
    raw = as_kept({**fields, "id": 3, "collection_id": 12})
    written = Image.from_json(raw, base_url=URL)
    found = folded(written)
    assert pickle.loads(pickle.dumps(found)) == found == written
    assert list(found.metadata) == list(written.metadata)


def test_folding_keeps_the_token_out_of_the_text_and_in_the_file() -> None:
    raw = {
        "id": 3,
        "collection_id": 12,
        "file": f"{URL}/media/images/ABCDEFGH/a.nii.gz",
        "collection": f"{URL}/collections/ABCDEFGH/",
    }
    private = Image.from_json(raw, base_url=URL, token=Token(secret="ABCDEFGH"))
    found = folded(private)
    assert found == private
    assert found.file is not None
    assert found.file.token == Token(secret="ABCDEFGH")
    assert b"ABCDEFGH" not in text_of(private)


def test_folding_takes_a_fifth_of_the_memory() -> None:
    fields = {f"field {number}": None for number in range(95)}

    def size(number: int, fold: Callable[[Image], Image]) -> float:
        tracemalloc.start()
        try:
            kept = [fold(image(**fields)) for _ in range(number)]
            return tracemalloc.get_traced_memory()[0] / len(kept)
        finally:
            tracemalloc.stop()

    size(1, folded)  # what is remembered of its shape
    assert size(100, folded) < size(100, lambda whole: whole) / 5


@given(RECORDS)
def test_a_collection_is_the_same_again(fields: dict[str, Any]) -> None:
    written = Collection.from_json(as_kept({**fields, "id": 12}))
    found = collection_of(12, Shape.of(written), text_of(written))
    assert found == written
    assert found.name == written.name
    assert found.token is None


@pytest.mark.parametrize("name", ["file", "metadata", "raw", "image_type", "extra"])
def test_each_field_may_be_looked_at_first(name: str) -> None:
    assert getattr(again(image()), name) == getattr(image(), name)


@pytest.mark.parametrize(
    "use", [hash, repr, copy.copy, copy.deepcopy, asdict, replace, attrgetter("label")]
)
def test_nobody_can_tell_it_from_another(use: Any) -> None:
    assert use(again(image())) == use(image())


def test_it_is_pickled_whole() -> None:
    found = pickle.loads(pickle.dumps(again(image())))
    assert found == image()
    assert found.file.path == "/media/images/12/a.nii.gz"


def test_it_does_not_change() -> None:
    found = again(image())
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'raw'"):
        found.raw = {}  # type: ignore[misc]
    assert found == image()


@pytest.mark.parametrize("make", [image, lambda: again(image())])
def test_what_it_has_not_is_an_attribute_error(make: Any) -> None:
    with pytest.raises(AttributeError, match="'Image' object has no attribute 'nmae'"):
        make().nmae  # noqa: B018
    assert not hasattr(make(), "__array__")


def test_threads_may_look_at_the_same_time() -> None:
    with ThreadPoolExecutor(8) as threads:
        for _ in range(50):
            found = again(image())
            seen = set(threads.map(lambda _, f=found: repr((f.raw, f.file)), range(8)))
            assert seen == {repr((image().raw, image().file))}
