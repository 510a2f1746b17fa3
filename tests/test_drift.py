"""What changed since a query was frozen: the comparison alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_locks import URL, frozen_image, lock_of

from intake_neurovault.changes import Change
from intake_neurovault.drift import Present, compare, complaint, remark
from intake_neurovault.locks import Lock
from intake_neurovault.records import Collection, Image

FATES = st.sampled_from(["same", "touched", "deleted", "hidden", "moved", "up", "edit"])


def served(image: Image, base: str = URL, **fields: Any) -> Image:
    """The same image as a server describes it."""
    return Image.from_json({**image.raw, **fields}, base_url=base)


def changed(image: Image, fate: str) -> Image | None:
    """What the server has of an image after something happened to it."""
    number = image.id
    return {
        "same": served(image),
        "touched": served(image, modify_date="2025-01-01T00:00:00+00:00"),
        "deleted": None,
        "hidden": None,
        "moved": served(
            image,
            collection_id=77,
            file=f"{URL}/media/images/77/{number}.nii.gz",
            modify_date="2025-01-01T00:00:00+00:00",
        ),
        "up": served(image, file=f"{URL}/media/images/1/{number}_1.nii.gz"),
        "edit": served(image, age=31.5, modify_date="2025-01-01T00:00:00+00:00"),
    }[fate]


EXPECTED = {
    "same": [],
    "touched": [],
    "deleted": ["deleted"],
    "hidden": ["made private"],
    "moved": ["moved"],
    "up": ["re-uploaded"],
    "edit": ["edited"],
}


@given(
    st.dictionaries(st.integers(1, 60), FATES, max_size=6),
    st.sets(st.integers(61, 90), max_size=3),
    st.sets(st.integers(1, 60)),
)
def test_each_change_is_named_once(
    fates: dict[int, str], new: set[int], kept: set[int]
) -> None:
    lock = lock_of(*(frozen_image(number) for number in fates))
    now = present(lock, fates, new)
    changes = compare(lock, now, kept)
    expected = [(n, what) for n, fate in fates.items() for what in EXPECTED[fate]]
    assert [(each.id, each.what) for each in changes] == [
        *expected,
        *((number, "added") for number in now.matching if number in new),
    ]
    differing = {n for n, fate in fates.items() if fate != "same"}
    files = [each.file for each in lock.images]
    assert {f.image_id for f in files if f and now.differs(f)} == differing


def present(lock: Lock, fates: dict[int, str], new: set[int]) -> Present:
    after = {each.id: changed(each, fates[each.id]) for each in lock.images}
    there = {number: image for number, image in after.items() if image is not None}
    more = {number: served(frozen_image(number)) for number in new}
    gone = {
        fate: frozenset(n for n, each in fates.items() if each == fate)
        for fate in ("deleted", "hidden")
    }
    return Present(there | more, {}, (*there, *more), **gone)


@given(st.dictionaries(st.integers(1, 60), FATES, max_size=6), st.sets(st.integers()))
def test_what_is_kept_changes_the_advice_alone(
    fates: dict[int, str], kept: set[int]
) -> None:
    lock = lock_of(*(frozen_image(number) for number in fates))
    now = present(lock, fates, set())
    with_store, without = compare(lock, now, kept), compare(lock, now, ())
    strip = [replace(each, advice="") for each in with_store]
    assert strip == [replace(each, advice="") for each in without]
    for each in with_store:
        if each.id in kept:
            assert each.advice.startswith("Nothing: ")


def test_what_was_not_asked_for_is_not_named() -> None:
    lock = lock_of(frozen_image(3), frozen_image(4))
    now = Present({4: served(frozen_image(4))})
    assert compare(lock, now, ()) == ()


def test_bytes_asked_for_in_vain_tell_a_file_of_the_same_name_and_size() -> None:
    image = frozen_image(3)
    edited = served(image, age=3, modify_date="2025-01-01T00:00:00+00:00")
    now = Present({3: edited})
    lock = lock_of(image)
    assert [each.what for each in compare(lock, now, (), {3})] == [
        "re-uploaded",
        "edited",
    ]


def test_another_name_of_the_server_changes_nothing() -> None:
    lock = lock_of(frozen_image(3, paper=f"{URL}/doi/1"))
    (image,) = lock.images
    raw = {
        name: value.replace(URL, "http://127.0.0.1:80")
        if isinstance(value, str)
        else value
        for name, value in image.raw.items()
    }
    there = Image.from_json(raw, base_url="http://127.0.0.1:80")
    assert compare(lock, Present({3: there}), ()) == ()


def test_collections_are_compared_too() -> None:
    lock = lock_of(frozen_image(3, 5))
    about = Collection.from_json(
        {"id": 5, "name": "renamed", "modify_date": "2025", "number_of_images": 9}
    )
    (change,) = compare(lock, Present({}, {5: about}), ())
    assert change == Change(
        None,
        5,
        "edited",
        "name: collection 5",
        "name: renamed",
        "Nothing: the frozen record is served; .thaw() takes the new one.",
    )
    assert change.describe() == (
        "collection 5 was edited: name: collection 5 → name: renamed"
    )


def test_many_and_long_fields_are_cut() -> None:
    fields = {f"field_{n}": "x" * 100 for n in range(9)}
    image = frozen_image(3)
    (change,) = compare(lock_of(image), Present({3: served(image, **fields)}), ())
    assert change.before == (
        "field_0: none; field_1: none; field_2: none; field_3: none; 5 more"
    )
    assert change.now.startswith(f"field_0: {'x' * 59}…; ")
    assert change.now.endswith("; 5 more")


@pytest.mark.parametrize(
    ("before", "now"), [(1, True), (1, 1.0), ("1", 1), (None, 0), ("a", "b")]
)
def test_values_of_other_types_are_others(before: object, now: object) -> None:
    image = frozen_image(3, custom=before)
    there = Present({3: served(image, custom=now)})
    assert [each.what for each in compare(lock_of(image), there, ())] == ["edited"]


def test_files_without_a_size_or_gone() -> None:
    lock = lock_of(frozen_image(3), frozen_image(4))
    unknown = served(lock.images[0], file_size=None)
    without = served(lock.images[1], file=None)
    (change,) = compare(lock, Present({3: unknown, 4: without}), ())
    assert change.describe() == "image 4 (collection 1) was lost"
    empty = served(lock.images[0], file_size=0)
    (change,) = compare(lock, Present({3: empty}), (3,))
    assert (change.what, change.now) == ("lost", "")


def test_the_complaint_reads_well() -> None:
    images = [frozen_image(number) for number in (3, 4, 5)]
    fates = {3: "up", 4: "deleted", 5: "edit"}
    lock = lock_of(*images)
    now = present(lock, fates, {61})
    changes = compare(lock, now, {5}, {3, 4})
    assert complaint(lock, changes, {3, 4}, strict=True) == (
        "2 of 3 images frozen on 2024-05-02 can no longer be had as they were: their "
        "bytes are neither in the store nor on the server.\n"
        "  - image 3 (collection 1) was re-uploaded: 3.nii.gz, 1,003 bytes → "
        "3_1.nii.gz, 1,003 bytes\n"
        "  - image 4 (collection 1) was deleted\n"
        "Changed as well, and served as frozen:\n"
        "  - image 5 (collection 1) was edited: age: none → age: 31.5\n"
        "New, and not part of what was frozen:\n"
        "  - image 61 (collection 1) is new: image 61\n"
        "Pass errors='warn' to go on without what is gone, or data_dir= with a store "
        "that still has it; or accept the changes with result.thaw().freeze(path, "
        "overwrite=True)."
    )
    lenient = complaint(lock, changes, {3, 4}, strict=False)
    assert lenient.endswith(
        "What is gone is left out of files, and NaN in cubes. To accept the changes, "
        "use result.thaw().freeze(path, overwrite=True)."
    )


def test_long_complaints_are_cut() -> None:
    images = [frozen_image(number) for number in range(1, 31)]
    lock = lock_of(*images)
    now = present(lock, dict.fromkeys(range(1, 31), "deleted"), set())
    changes = compare(lock, now, ())
    text = complaint(lock, changes, set(range(1, 31)), strict=True)
    assert text.count("was deleted") == 12
    assert "  - and 18 more, see .changes()" in text
    assert remark(changes).startswith("The server has changed since this was frozen;")
