"""Locks as values: what is written is what is read, and nothing else is read."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.errors import (
    ArgumentError,
    Failure,
    LockError,
)
from intake_neurovault.filters import Step
from intake_neurovault.locks import FORMAT, KIND, Lock
from intake_neurovault.query import Query
from intake_neurovault.records import Collection, Image
from intake_neurovault.refs import Token

URL = "https://neurovault.org"

NAMES = st.text(max_size=8)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    NAMES,
    st.lists(st.integers(), max_size=2),
)
# NOTE: a record without a file is never frozen, so none is taken away here.
EXTRAS = st.dictionaries(NAMES.filter(lambda name: name != "file"), VALUES, max_size=4)
SHAS = st.text("0123456789abcdef", min_size=64, max_size=64)


def frozen_image(
    number: int, home: int = 1, token: Token | None = None, /, **fields: Any
) -> Image:
    """An image whose file has known bytes."""
    raw = {
        "name": f"image {number}",
        "file": f"{URL}/media/images/{home}/{number}.nii.gz",
        "url": f"{URL}/images/{number}/",
        "file_size": 1000 + number,
        "modify_date": "2024-05-01T12:00:00+02:00",
        "image_type": "statistic_map",
        **fields,
        "id": number,
        "collection_id": home,
    }
    image = Image.from_json(raw, base_url=URL, token=token)
    assert image.file is not None
    known = replace(image.file, sha256=f"{number:064x}", origin="")
    return replace(image, file=known)


def lock_of(*images: Image, **more: Any) -> Lock:
    homes = dict.fromkeys(each.collection_id for each in images)
    collections = {
        home: Collection.from_json({"id": home, "name": f"collection {home}"})
        for home in homes
    }
    facts: dict[str, Any] = {
        "frozen": "2024-05-02T08:00:00+00:00",
        "url": URL,
        "query": Query.parse(collection_ids=[*homes] or [1]),
        "images": images,
        "collections": collections,
    }
    return Lock(**(facts | more))


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    """Any lock of a few images."""
    numbers = draw(st.lists(st.integers(1, 99), unique=True, max_size=4))
    images = []
    for number in numbers:
        image = frozen_image(number, draw(st.integers(1, 3)), **draw(EXTRAS))
        assert image.file is not None
        images.append(replace(image, file=replace(image.file, sha256=draw(SHAS))))
    return lock_of(
        *images,
        query=draw(
            st.sampled_from(
                [
                    Query.parse(),
                    Query.parse(image_ids=numbers),
                    Query.parse(collection_ids=[3, "env:MINE"]),
                    Query.parse(image_terms={"age": {"$gte": 20.5}}, max_images=None),
                    Query.parse(fetch_neurosynth_words=True),
                ]
            )
        ),
        steps=(Step("age >= 20", draw(st.integers(0, 9)), 3),),
        failures=(Failure(7, 1, f"{URL}/x", draw(NAMES), 2),),
        fetched=draw(st.none() | st.floats(0, 2e9)),
        packages=(("numpy", "2.3"),),
    )


@given(locks())
def test_what_is_written_is_read(lock: Lock) -> None:
    again = Lock.from_json(json.loads(json.dumps(lock.to_json(), indent=1)))
    assert again == lock
    assert hash(again) == hash(lock)
    assert again.digest == lock.digest
    assert again.query == lock.query
    assert again.images == lock.images
    assert [each.file and each.file.sha256 for each in again.images] == [
        each.file and each.file.sha256 for each in lock.images
    ]
    assert again.found.images == lock.found.images
    assert again.found.collections == lock.found.collections
    assert (again.steps, again.failures) == (lock.steps, lock.failures)
    assert (again.fetched, again.packages) == (lock.fetched, lock.packages)


@given(locks())
def test_copies_are_equal(lock: Lock) -> None:
    assert copy.deepcopy(lock) == lock
    assert pickle.loads(pickle.dumps(lock)) == lock


@given(locks(), st.data())
def test_what_was_altered_is_not_read(lock: Lock, data: st.DataObject) -> None:
    content = json.loads(json.dumps(lock.to_json()))
    paths = [path for path in paths_in(content) if path not in (("kind",), ("format",))]
    *way, last = data.draw(st.sampled_from(paths))
    place = content
    for step in way:
        place = place[step]
    place[last] = "something else" if place[last] != "something else" else "nothing"
    with pytest.raises(LockError, match=r"^The lock was altered or damaged after it"):
        Lock.from_json(content)


def paths_in(content: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key and index in JSON, as the way there."""
    if isinstance(content, dict):
        inner = list(content.items())
    elif isinstance(content, list):
        inner = list(enumerate(content))
    else:
        return []
    found = []
    for key, value in inner:
        found += [(*way, key), *paths_in(value, (*way, key))]
    return found


@pytest.mark.parametrize("content", [None, [], "text", {}, {"kind": "other"}])
def test_what_is_no_lock(content: object) -> None:
    with pytest.raises(LockError, match=r"^/a\.json is not the lock of a frozen query"):
        Lock.from_json(content, "/a.json")


@pytest.mark.parametrize("number", [FORMAT + 1, 0, None, "1"])
def test_other_formats(number: object) -> None:
    content = lock_of(frozen_image(3)).to_json() | {"format": number}
    with pytest.raises(LockError, match=r"is of format .*; upgrade the package to op"):
        Lock.from_json(content)


def test_what_has_a_good_checksum_and_makes_no_sense() -> None:
    content = lock_of(frozen_image(3)).to_json()
    for name in ("checksum", "images"):
        del content[name]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["checksum"] = hashlib.sha256(text.encode()).hexdigest()
    with pytest.raises(LockError, match=r"^The lock was altered or damaged"):
        Lock.from_json(content)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sha256", "../../../somewhere"),
        ("sha256", "A" * 64),
        ("path", "@other.org/3.nii.gz"),
        ("size", -1),
        ("size", 0),
        ("id", "../3"),
        ("collection_id", None),
    ],
)
def test_a_lock_written_by_hand_leads_nowhere_else(name: str, value: object) -> None:
    content = lock_of(frozen_image(3)).to_json()
    del content["checksum"]
    content["images"][0][name] = value
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    content["checksum"] = hashlib.sha256(text.encode()).hexdigest()
    with pytest.raises(LockError, match=r"^The lock was altered or damaged"):
        Lock.from_json(content)


def test_a_private_collection_keeps_the_name_of_its_variable() -> None:
    token = Token(env="MY_TOKEN")
    about = Collection.from_json({"id": 5, "name": "mine"}, token=token)
    lock = lock_of(frozen_image(3, 5, token), collections={5: about})
    again = Lock.from_json(json.loads(json.dumps(lock.to_json())))
    assert again.collections[5].token == token
    assert again.images[0].file is not None
    assert again.images[0].file.token == token


def test_a_literal_token_is_refused() -> None:
    token = Token(secret="ABCDEFGH")
    about = Collection.from_json({"id": 5}, token=token)
    lock = lock_of(frozen_image(3, 5, token), collections={5: about})
    with pytest.raises(ArgumentError, match=r"A literal token .* cannot be written"):
        lock.to_json()


def test_an_image_without_known_bytes_is_refused() -> None:
    image = frozen_image(3)
    with pytest.raises(LockError, match=r"image 3 .* has no file of known bytes"):
        lock_of(replace(image, file=None)).to_json()


def test_what_a_query_adds_to_a_lock() -> None:
    lock = lock_of(frozen_image(3))
    assert lock.written(lock.query) == {}
    words = replace(lock.query, words=True)
    assert lock.written(words) == {"fetch_neurosynth_words": True}
    narrower = Query.parse(collection_ids=[1], image_terms={"age": 3})
    assert not lock.covers(narrower)
    assert lock.written(narrower) == {
        "collection_ids": [1],
        "image_terms": {"age": 3},
        "collection_terms": {},
        "max_images": None,
    }


def test_locks_differ_by_content() -> None:
    lock = lock_of(frozen_image(3))
    assert lock != lock_of(frozen_image(4))
    assert lock != lock_of(frozen_image(3, name="other"))
    assert lock != KIND
    assert lock.day == "2024-05-02"
