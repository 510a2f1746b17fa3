from __future__ import annotations

import copy
import json
import os
import pickle
from collections import UserDict
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault import records
from intake_neurovault.errors import AnswerError
from intake_neurovault.records import (
    COLLECTION_KINDS,
    IMAGE_KINDS,
    Collection,
    Image,
    ImageFile,
    Token,
)

URL = "https://neurovault.org"
LETTERS = "ABCDEFGH"
RECORDED = Path(
    os.environ.get(
        "NEUROVAULT_RECORDED",
        Path(__file__).parents[2] / "shared" / "neurovault_api" / "recorded",
    )
)

STATISTIC_MAP: dict[str, Any] = {
    "url": "http://neurovault.org/images/3/",
    "id": 3,
    "file": "http://neurovault.org/media/images/1/t%20map.nii.gz",
    "collection": "http://neurovault.org/collections/1/",
    "collection_id": 1,
    "file_size": 1024,
    "map_type": "T map",
    "name": "None",
    "description": "None of the above",
    "add_date": "2015-07-01T02:00:00+02:00",
    "modify_date": "2026-11-22T12:18:26.130299+01:00",
    "is_thresholded": False,
    "brain_coverage": 68,
    "number_of_subjects": 20.0,
    "age": None,
    "image_type": "statistic_map",
    "run": 1,
    "task": "n/a",
    "ключ": "значение",
}
ATLAS = {
    "url": "http://neurovault.org/images/4/",
    "id": 4,
    "file": "http://neurovault.org/media/images/6/atlas.nii.gz",
    "collection_id": 6,
    "file_size": 0,
    "label_description_file": "http://neurovault.org/media/images/6/atlas.xml",
    "name": "An atlas",
    "data": None,
    "image_type": "atlas",
}
NIDM = {
    "id": 5,
    "file": "http://neurovault.org/media/images/7/pack.nidm/T.nii.gz",
    "collection_id": 7,
    "nidm_results": "http://neurovault.org/collections/7/pack.nidm",
    "nidm_results_ttl": "http://neurovault.org/collections/7/pack.nidm.ttl",
    "map_type": "T map",
    "data": None,
    "image_type": "NIDM results statistic map",
}
PRIVATE = {
    "url": f"https://neurovault.org/collections/{LETTERS}/images/8/",
    "id": 8,
    "file": f"https://neurovault.org/media/images/{LETTERS}/map.nii.gz",
    "collection": f"https://neurovault.org/collections/{LETTERS}/",
    "collection_id": 3,
    "thumbnail": f"https://neurovault.org/media/images/{LETTERS}/glass_brain_8.jpg",
    "description": f"see {LETTERS}",
    "links": [f"/{LETTERS}/1", {"deep": [f"{LETTERS}"]}],
    "image_type": "statistic_map",
}


def image(**changes: Any) -> Image:
    return Image.from_json(STATISTIC_MAP | changes, base_url=URL)


def recorded() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(RECORDED.glob("*.json")):
        answer = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(answer, dict):
            continue
        for record in answer.get("results", [answer]):
            if isinstance(record, dict) and "id" in record:
                yield path.name, record


def test_a_statistic_map():
    found = image()
    assert (found.id, found.collection_id) == (3, 1)
    assert found.image_type == "statistic_map"
    assert found.file == ImageFile(
        image_id=3,
        collection_id=1,
        path="/media/images/1/t%20map.nii.gz",
        file_size=1024,
        modify_date="2026-11-22T12:18:26.130299+01:00",
    )
    assert found.extra == {"run": 1, "ключ": "значение"}
    assert not found.discrete
    assert found.label == "image 3 (collection 1)"


def test_metadata_is_clean_and_typed():
    metadata = image().metadata
    assert metadata["name"] is None
    assert metadata["description"] == "None of the above"
    assert metadata["task"] is None
    assert metadata["age"] is None
    assert metadata["is_thresholded"] is False
    assert type(metadata["brain_coverage"]) is float
    assert type(metadata["number_of_subjects"]) is int
    assert metadata["add_date"] == "2015-07-01T02:00:00+02:00"
    assert metadata.keys() == STATISTIC_MAP.keys()


def test_raw_stays_as_served():
    raw = dict(STATISTIC_MAP)
    found = Image.from_json(raw, base_url=URL)
    assert found.raw == STATISTIC_MAP
    assert raw == STATISTIC_MAP


def test_an_atlas_lacks_fields_and_is_discrete():
    atlas = Image.from_json(ATLAS, base_url=URL)
    assert atlas.image_type == "atlas"
    assert atlas.discrete
    assert atlas.metadata.get("map_type") is None
    assert "map_type" not in atlas.raw
    assert atlas.metadata["label_description_file"].endswith("atlas.xml")
    assert atlas.extra == {}


def test_a_nidm_map_lies_one_folder_deeper():
    nidm = Image.from_json(NIDM, base_url=URL)
    assert nidm.image_type == "NIDM results statistic map"
    assert nidm.file is not None
    assert nidm.file.path == "/media/images/7/pack.nidm/T.nii.gz"
    assert nidm.file.file_size is None
    assert nidm.file.modify_date is None
    assert nidm.extra == {}


@pytest.mark.parametrize(
    ("map_type", "discrete"),
    [
        ("ROI/mask", True),
        ("parcellation", True),
        ("Parcellation", True),
        ("anatomical", False),
        ("Z map", False),
        ("other", False),
        (None, False),
    ],
)
def test_which_maps_hold_labels(map_type: str | None, discrete: bool):
    assert image(map_type=map_type).discrete is discrete


@pytest.mark.parametrize(
    "value",
    [
        "  leading and trailing spaces  ",
        "<script>alert(1)</script>",
        "Ünïcödé 脳画像 🧠 \u202eRTL",
        "back\\slash \u2028 line sep \x0b vt",
        "../../etc/passwd",
        "name/with/slashes\\and\\backslashes: *?",
        "quotes \"double\" and 'single' `back`",
        "a" * 5000,
    ],
)
def test_text_is_passed_as_it_is(value: str):
    found = image(name=value, note=value)
    assert found.metadata["name"] == value
    assert found.extra["note"] == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (12, 12),
        (1.5, 1.5),
        ("007", "007"),
        ("True", "True"),
        (True, True),
        (10**30, 10**30),
        ([], []),
        ({"a": [1]}, {"a": [1]}),
        ("None", None),
        (float("nan"), None),
        (float("-inf"), None),
    ],
)
def test_custom_fields_keep_their_types(value: object, expected: object):
    metadata = image(task=value).metadata
    assert metadata["task"] == expected
    assert type(metadata["task"]) is type(expected)


def test_a_core_field_of_a_wrong_type_is_none_and_kept_raw():
    odd = {
        "number_of_subjects": "many",
        "age": [30],
        "is_thresholded": "perhaps",
        "name": {"en": "face"},
        "modify_date": 20150701,
        "file_size": "big",
        "image_type": 7.5,
        "map_type": ["T map"],
    }
    found = image(**odd)
    for name in odd.keys() - {"image_type"}:
        assert found.metadata[name] is None
    assert found.image_type == "7.5"
    assert found.file is not None
    assert (found.file.file_size, found.file.modify_date) == (None, None)
    assert {name: found.raw[name] for name in odd} == odd
    assert not found.discrete


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, 0), (None, None), (1024, 1024), ("1024", 1024), (-1, None), (True, None)],
)
def test_the_size_of_a_file(size: object, expected: int | None):
    file = image(file_size=size).file
    assert file is not None
    assert file.file_size == expected


def test_a_file_the_server_lost_has_size_zero_not_none():
    file = Image.from_json(ATLAS, base_url=URL).file
    assert file is not None
    assert file.file_size == 0


@pytest.mark.parametrize("value", [None, "", "  ", "none", 5, ["x"], {"a": 1}])
def test_a_record_without_a_file(value: object):
    assert image(file=value).file is None
    without = {k: v for k, v in STATISTIC_MAP.items() if k != "file"}
    assert Image.from_json(without, base_url=URL).file is None


@pytest.mark.parametrize(
    ("changes", "path", "host"),
    [
        ({}, "/media/images/1/t%20map.nii.gz", None),
        ({"file": "https://other.org/a b.nii"}, "/a%20b.nii", "https://other.org"),
        (
            {"file": "http://inside/x.nii", "collection": "https://inside/c/1/"},
            "/x.nii",
            None,
        ),
        (
            {"file": "http://inside/x.nii", "collection": None, "url": "http://inside"},
            "/x.nii",
            None,
        ),
        (
            {"file": "http://inside/x.nii", "collection": 7, "url": None},
            "/x.nii",
            "http://inside",
        ),
    ],
)
def test_where_a_file_is_served(changes: dict[str, Any], path: str, host: str | None):
    raw = STATISTIC_MAP | changes
    for base_url in (URL, "http://localhost:8000"):
        file = Image.from_json(raw, base_url=base_url).file
        assert file is not None
        assert (file.path, file.host) == (path, host)


def test_an_address_that_climbs_is_refused():
    with pytest.raises(AnswerError, match="cannot be one; leave the image out"):
        image(file=f"{URL}/media/images/../../secret.nii.gz")


@pytest.mark.parametrize("raw", [None, [], "x", 3, [("id", 3)]])
def test_what_is_no_record(raw: object):
    with pytest.raises(
        AnswerError, match=r"image should be a JSON object.* check .*url"
    ):
        Image.from_json(raw, base_url=URL)
    with pytest.raises(AnswerError, match="collection should be a JSON object"):
        Collection.from_json(raw)


@pytest.mark.parametrize("value", [None, "x", 0, -3, 2.5, True, [3], 2**63, 10**30])
@pytest.mark.parametrize("name", ["id", "collection_id"])
def test_a_record_without_an_id(name: str, value: object):
    with pytest.raises(AnswerError, match=f"for its {name}; check that url"):
        image(**{name: value})


def test_a_detail_is_no_record():
    with pytest.raises(AnswerError, match="has None for its id"):
        Collection.from_json({"detail": "Not found."})


def test_ids_may_be_text():
    found = image(id="3", collection_id=1.0)
    assert (found.id, found.collection_id) == (3, 1)
    assert (found.metadata["id"], found.metadata["collection_id"]) == (3, 1)


def test_any_mapping_is_a_record():
    found = Image.from_json(UserDict(STATISTIC_MAP), base_url=URL)
    assert found == image()
    assert type(found.raw) is dict


@pytest.mark.parametrize(
    "token", [None, Token(env="NEVER_SET_ANYWHERE"), Token(secret=LETTERS)]
)
def test_a_token_leaves_no_trace(token: Token | None):
    found = Image.from_json(PRIVATE, base_url=URL, token=token)
    assert found.file is not None
    assert found.file.path == "/media/images/3/map.nii.gz"
    assert found.file.token == token
    assert found.raw["url"] == f"{URL}/collections/3/images/8/"
    assert found.raw["description"] == "see 3"
    assert found.metadata["links"] == ["/3/1", {"deep": ["3"]}]
    assert LETTERS not in f"{found!r} {found.raw} {found.metadata} {found.file}"
    assert LETTERS in PRIVATE["url"]


def test_a_literal_token_is_removed_from_addresses_that_hide_it():
    raw = {"id": 8, "collection_id": 3, "note": f"x{LETTERS}y"}
    token = Token(secret=LETTERS)
    assert Image.from_json(raw, base_url=URL, token=token).raw["note"] == "x3y"
    assert Image.from_json(raw, base_url=URL).raw["note"] == f"x{LETTERS}y"


def test_capitals_in_public_names_are_no_token():
    raw = STATISTIC_MAP | {"file": f"{URL}/media/images/1/{LETTERS}.nii.gz"}
    file = Image.from_json(raw, base_url=URL).file
    assert file is not None
    assert file.path == f"/media/images/1/{LETTERS}.nii.gz"


def test_a_private_collection():
    raw = {
        "id": 3,
        "url": f"{URL}/collections/{LETTERS}/",
        "download_url": f"{URL}/collections/{LETTERS}/download",
        "private": True,
    }
    token = Token(secret=LETTERS)
    found = Collection.from_json(raw, token=token)
    assert found.token == token
    assert found.raw["download_url"] == f"{URL}/collections/3/download"
    assert LETTERS not in f"{found!r} {found.raw} {found.metadata}"
    assert found == Collection.from_json(raw)


def test_a_collection():
    found = Collection.from_json(
        {
            "id": "12",
            "name": " Motor ",
            "DOI": "10.1016/j",
            "number_of_images": "7",
            "private": False,
            "field_strength": 3,
            "doi_add_date": "then",
            "communities": [1, 2],
        }
    )
    assert found.id == 12
    assert found.name == " Motor "
    assert found.doi == "10.1016/j"
    assert found.metadata == {
        "id": 12,
        "name": " Motor ",
        "DOI": "10.1016/j",
        "number_of_images": 7,
        "private": False,
        "field_strength": 3.0,
        "doi_add_date": None,
        "communities": [1, 2],
    }
    assert found.raw["id"] == "12"
    assert Collection.from_json({"id": 1, "DOI": "N/A"}).doi is None
    assert Collection.from_json({"id": 1}).name is None


@pytest.mark.parametrize(
    "record",
    [image(), Image.from_json(PRIVATE, base_url=URL), Collection.from_json({"id": 1})],
    ids=["image", "private image", "collection"],
)
def test_records_are_values(record: Image | Collection):
    for other in (pickle.loads(pickle.dumps(record)), copy.deepcopy(record)):
        assert other == record
        assert hash(other) == hash(record)
    assert {record} == {copy.copy(record)}
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'id'"):
        record.id = 5


def test_records_differ_by_their_metadata():
    assert image(age=30) != image(age=31)
    assert hash(image(age=30)) == hash(image(age=31))


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"collection_id": 99}, True),
        ({"host": "https://other.org"}, True),
        ({"token": Token(env="NAME")}, True),
        ({"image_id": 99}, False),
        ({"path": "/other"}, False),
        ({"file_size": None}, False),
        ({"modify_date": "2016-01-01"}, False),
    ],
)
def test_what_makes_the_same_bytes(change: dict[str, Any], same: bool):
    file = image().file
    assert file is not None
    assert file.same_bytes_as(replace(file, **change)) is same


def test_the_token_is_no_part_of_a_files_identity():
    file = image().file
    assert file is not None
    with_token = replace(file, token=Token(secret=LETTERS))
    assert with_token == file
    assert hash(with_token) == hash(file)
    assert LETTERS not in repr(with_token)


@given(
    st.dictionaries(
        st.sampled_from(sorted(IMAGE_KINDS)) | st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner, max_size=3),
        ),
    )
)
def test_any_json_gives_a_typed_record_or_a_refusal(raw: dict[str, Any]):
    try:
        found = Image.from_json({"id": 3, "collection_id": 1} | raw, base_url=URL)
    except AnswerError:
        return
    allowed = {"int": int, "float": float, "bool": bool, "text": str, "date": str}
    for name, kind in IMAGE_KINDS.items():
        value = found.metadata.get(name)
        assert value is None or type(value) is allowed[kind]
    assert found.metadata.keys() == found.raw.keys()
    assert not found.extra.keys() & IMAGE_KINDS.keys()
    assert pickle.loads(pickle.dumps(found.file)) == found.file


def test_everything_is_found_under_the_module():
    assert set(records.__all__) <= set(dir(records))


needs_recorded = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded answers are not beside the repository"
)


@needs_recorded
def test_every_recorded_image_is_read_whole():
    seen = set()
    for name, raw in recorded():
        if "image_type" not in raw:
            continue
        found = Image.from_json(raw, base_url=URL)
        seen.add(found.image_type)
        assert found.file is not None, name
        assert found.file.host is None, name
        assert found.file.file_size == raw["file_size"], name
        assert found.metadata.keys() == raw.keys(), name
        assert raw.keys() <= IMAGE_KINDS.keys() | {
            key for key in raw if key in found.extra or found.metadata[key] is None
        }, name
        for key in raw.keys() & IMAGE_KINDS.keys():
            assert (found.metadata[key] is None) == (records.clean(raw[key]) is None), (
                name,
                key,
            )
        assert LETTERS not in json.dumps([found.raw, found.metadata])
    assert seen == {"statistic_map", "atlas", "NIDM results statistic map"}


@needs_recorded
def test_every_recorded_collection_is_read_whole():
    count = 0
    for name, raw in recorded():
        if "number_of_images" not in raw:
            continue
        count += 1
        found = Collection.from_json(raw)
        assert raw.keys() == COLLECTION_KINDS.keys() | {"communities"}, name
        for key in raw:
            assert (found.metadata[key] is None) == (records.clean(raw[key]) is None), (
                name,
                key,
            )
        assert LETTERS not in json.dumps([found.raw, found.metadata])
    assert count > 10


@needs_recorded
def test_recorded_addresses_keep_their_quoting():
    checked = 0
    for _, raw in recorded():
        if "image_type" not in raw or raw["collection_id"] == 3:
            continue
        file = Image.from_json(raw, base_url="http://localhost:1").file
        assert file is not None
        assert f"https://neurovault.org{file.path}" == raw["file"]
        checked += 1
    assert checked > 100
