"""What is made of texts field by field is what whole records would have given."""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from maps import COARSE, record

from intake_neurovault.bodies import Shape, Unread, folded, image_of, text_of
from intake_neurovault.columns import image_columns
from intake_neurovault.cube import Recipe, build
from intake_neurovault.fieldwise import Images
from intake_neurovault.nifti import Reader
from intake_neurovault.records import IMAGE_FIELDS, Collection, Image
from intake_neurovault.refs import Token
from intake_neurovault.stacked import StackedMap
from intake_neurovault.tables import image_table

URL = "https://neurovault.org"
COLLECTIONS = {
    1: Collection.from_json({"id": 1, "name": "Faces", "DOI": "10.1000/faces"}),
    2: Collection.from_json({"id": 2, "name": "n/a", "DOI": "10.1000/motor"}),
    3: Collection.from_json({"id": 3, "name": "Rest"}),
}
ODD = st.sampled_from(
    [
        *("", "n/a", "None / Other", " null ", "20", "true", "2016-01-21", "\ud800"),
        *(True, False, 0, 7, -3, 10**30, 10**400, 1.5, -0.0, 1e300),
        *([], ["a", None], {}, {"b": [1.5], "a": "100 %"}),
    ]
)
USUAL: dict[str, Any] = {
    "text": st.sampled_from(["Z map", "roi/mask", "atlas", "GenericMNI", "é"]),
    "int": st.integers(-(2**70), 2**70) | st.integers(0, 90),
    "float": st.floats(allow_nan=False) | st.integers(0, 90),
    "bool": st.booleans(),
    "date": st.sampled_from(
        [
            *("2016-01-21T17:26:53.123456Z", "2016-01-21T17:26:53Z", "2016-01-21"),
            *("2016-01-21T17:26:53.123456-03:30", "2016-01-21 17:26:53+01:00"),
            *("9999-01-01T00:00:00.000000Z", "2016-W03-4T17:26:53.123456Z"),
        ]
    ),
}
SERVED = st.sampled_from(
    [
        "http://neurovault.org/media/images/12/a.nii.gz",
        "https://neurovault.org/media/images/12/a b#é.nii.gz?x=1 2",
        "/media/images/12/a%20b.nii.gz",
        "http://other.org:8080/files/a.nii.gz",
        " http://localhost:8000/media/a.nii.gz ",
        "n/a",
        17,
    ]
)
PAGES = st.sampled_from(["http://localhost:8000/images/3/", "/images/3/", "", 5])
ADDRESSES = {"file": SERVED, "collection": PAGES, "url": PAGES}
CUSTOM = st.sampled_from(["tags", "task", "100%", "collection_name", '"é"'])
NAMED = {
    *("name", "map_type", "image_type", "target_template_image", "subject_species"),
    *("file", "collection", "url", "file_size", "number_of_subjects", "modify_date"),
    *("add_date", "is_thresholded", "not_mni", "age", "brain_coverage"),
}
FIELDS = st.fixed_dictionaries(
    {"collection_id": st.integers(1, 3)},
    optional={
        each.name: st.none() | ADDRESSES.get(each.name, USUAL[each.kind] | ODD)
        for each in IMAGE_FIELDS
        if each.name in NAMED
    },
)
RECORDS = st.lists(
    st.builds(dict.__or__, FIELDS, st.dictionaries(CUSTOM, st.none() | ODD)),
    min_size=1,
    max_size=4,
)
LOOKED_AT = st.lists(st.integers(0, 3), max_size=2)


def whole(fields: Sequence[dict[str, Any]]) -> list[Image]:
    """Read records as they come from a server."""
    texts = [
        json.dumps({"id": number, **each}) for number, each in enumerate(fields, 1)
    ]
    return [Image.from_json(json.loads(text), base_url=URL) for text in texts]


def as_texts(
    images: Sequence[Image], *, looked_at: Sequence[int] = (), fold: Sequence[int] = ()
) -> list[Image]:
    """Make records as they come from the index; some are folded, or looked at."""
    shapes: dict[Shape, Shape] = {}
    found = []
    for image in images:
        shape = shapes.setdefault(Shape.of(image), Shape.of(image))
        found.append(image_of(image.id, image.collection_id, shape, text_of(image)))
    for row in fold:
        found[row % len(found)] = folded(images[row % len(found)])
    for row in looked_at:
        assert found[row % len(found)].metadata == images[row % len(found)].metadata
    return found


def opener(files: Any, /, *, doubted: bool = False) -> Any:
    return nullcontext(None for _ in files)


def cube(images: Sequence[Image]) -> tuple[xr.Dataset, list[str]]:
    """Build a cube, and give what was warned of as well."""
    recipe = Recipe(Reader.parse(grid=10), opener, collections=COLLECTIONS, token="t")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return build(images, recipe), [str(each.message) for each in caught]


def exactly(dataset: xr.Dataset) -> list[Any]:
    """All that may differ in datasets that xarray calls identical."""
    variables = dataset.variables.items()
    facts = [(n, v.dims, v.dtype, list(v.attrs), v.encoding) for n, v in variables]
    types = [[type(x) for x in v.values] for n, v in variables if v.dtype == object]
    return [facts, types, list(dataset.attrs), dataset.maps.data.name]


@given(RECORDS, LOOKED_AT)
def test_a_cube_of_texts_is_that_of_the_records(
    fields: list[dict[str, Any]], looked_at: list[int]
) -> None:
    images = whole(fields)
    expected, warned = cube(images)
    mixed = as_texts(images, looked_at=looked_at, fold=[0, 3])
    for others in (as_texts(images), mixed, list(map(folded, images))):
        found, also_warned = cube(others)
        xr.testing.assert_identical(found, expected)
        assert exactly(found) == exactly(expected)
        assert also_warned == warned


@given(RECORDS, LOOKED_AT)
def test_a_table_of_texts_is_that_of_the_records(
    fields: list[dict[str, Any]], looked_at: list[int]
) -> None:
    images = whole(fields)
    found = image_table(as_texts(images, looked_at=looked_at), COLLECTIONS)
    pd.testing.assert_frame_equal(found, image_table(images, COLLECTIONS))
    own = dict.fromkeys(name for image in images for name in image.extra)
    own.pop("collection_name", None)
    assert [name for name in found.columns if name in own] == list(own)


@given(RECORDS, LOOKED_AT)
def test_a_field_is_what_each_record_says(
    fields: list[dict[str, Any]], looked_at: list[int]
) -> None:
    images = whole(fields)
    found = Images(as_texts(images, looked_at=looked_at))
    for each in IMAGE_FIELDS:
        values = [image.metadata.get(each.name) for image in images]
        assert found.field(each.name).values == values
        assert [type(v) for v in found.field(each.name).values] == list(
            map(type, values)
        )
        assert found.field(each.name).nulls == values.count(None)


@given(RECORDS, LOOKED_AT)
def test_custom_fields_are_one_object_for_each_image(
    fields: list[dict[str, Any]], looked_at: list[int]
) -> None:
    images = whole(fields)
    expected = [json.dumps(image.extra, sort_keys=True) for image in images]
    columns = image_columns(as_texts(images, looked_at=looked_at), COLLECTIONS)
    if any(image.extra for image in images):
        assert columns["extra"].values.tolist() == expected
    else:
        assert "extra" not in columns


@given(RECORDS, LOOKED_AT)
def test_what_is_read_is_what_the_records_name(
    fields: list[dict[str, Any]], looked_at: list[int]
) -> None:
    images = whole(fields)
    maps = Images(as_texts(images, looked_at=looked_at, fold=[1])).maps
    assert list(maps) == list(map(StackedMap.of, images))
    told = [(m.file.origin, m.file.token) for m in maps if m.file]
    assert told == [(i.file.origin, i.file.token) for i in images if i.file]


@given(RECORDS)
def test_the_file_of_a_text_is_that_of_the_record(fields: list[dict[str, Any]]) -> None:
    images = whole(fields)
    found = [image.file for image in as_texts(images)]
    assert found == [image.file for image in images]
    assert [f and f.origin for f in found] == [i.file and i.file.origin for i in images]


def test_what_a_text_does_not_say_of_a_file_is_kept() -> None:
    token = Token(secret="ABCDEFGH")
    raw = {"id": 3, "collection_id": 12, "file": f"{URL}/media/images/ABCDEFGH/a.nii"}
    private = Image.from_json(raw, base_url=URL, token=token)
    assert private.file is not None
    frozen = replace(private, file=replace(private.file, sha256="ab" * 32))
    maps = Images([folded(frozen), record(1)]).maps
    assert maps[0].file == frozen.file
    assert maps[0].file.token == token
    assert "ABCDEFGH" not in maps.identity()
    assert maps.identity() != Images([folded(private), record(1)]).maps.identity()


def test_what_is_known_as_text_stays_text() -> None:
    images = as_texts([record(number) for number in range(1, 4)])
    cube(images)
    image_table(images, COLLECTIONS)
    assert all(isinstance(image._source, Unread) for image in images)


def test_a_cube_may_be_changed_without_changing_the_next() -> None:
    images = Images([record(1, age=30, task="rest"), record(2, age=40, task="n-back")])
    first, _ = cube(images)
    before = first.copy(deep=True)
    for name in ("name", "age", "modify_date", "extra", "image"):
        assert first[name].values.flags.writeable == (name != "image")
    first["name"].values[:] = first["extra"].values[:] = "changed"
    first["age"].values[:] = 1
    first["modify_date"].values[:] = "2000-01-01"
    xr.testing.assert_identical(cube(images)[0], before)


def test_images_are_a_tuple_that_is_sent_without_what_was_worked_out() -> None:
    images = Images([record(1), record(2)])
    size = len(pickle.dumps(images))
    cube(images)
    image_table(images, COLLECTIONS)
    assert len(pickle.dumps(images)) == size
    assert pickle.loads(pickle.dumps(images)) == images == tuple(images)
    assert Images.of(images) is images


@pytest.mark.parametrize("count", [0, 1, 700])
def test_however_many_there_are_they_stay_in_order(count: int) -> None:
    images = [record(n, age=n, **{f"x{n % 7}": n}) for n in range(1, count + 1)]
    found = Images(as_texts(images))
    assert found.field("age").values == [float(n) for n in range(1, count + 1)]
    assert list(found.maps.numbers) == list(range(1, count + 1))
    assert image_table(found, COLLECTIONS)["id"].tolist() == list(found.maps.numbers)


def test_a_part_of_the_maps_is_those_maps() -> None:
    maps = Images([record(n, file=None if n == 2 else f"/{n}") for n in (1, 2, 3)]).maps
    assert list(maps[1:]) == [maps[1], maps[2]]
    assert list(maps.take([2, 0])) == [maps[2], maps[0]]
    assert list(maps.take([1])) == [maps[1]]
    assert list(maps.take([])) == []
    assert maps[1].file is None
    assert COARSE.shape == cube([record(1)])[0].maps.shape[1:]
