"""The JSON of nilearn's tree: its bytes when written, any bytes when read."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nilearn.datasets.neurovault import _download_collection, _write_metadata
from trees import collection_json, image_json

from intake_neurovault import sidecars
from intake_neurovault.errors import CorruptFileError
from intake_neurovault.records import clean


def put(root: Path, name: str, content: object) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(data)
    return path


def nilearn_collection_bytes(raw: dict, root: Path) -> bytes:
    _download_collection(raw, {"nv_data_dir": root})
    return (root / f"collection_{raw['id']}" / "collection_metadata.json").read_bytes()


def not_misread_by_nilearn(value: object) -> bool:
    """Whether nilearn's idea of a null, a matching start, is right for a value."""
    if not isinstance(value, str):
        return True
    matched = re.match(r"($|n/?a$|none|null)", value, re.IGNORECASE) is not None
    return matched == (clean(value) is None) or value[:1].isspace()


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["None", "none / other", "N/A", "na", "NULL", "", " ", " None"]),
    st.lists(st.integers() | st.just("None"), max_size=2),
    st.dictionaries(st.text(max_size=3), st.just("n/a"), max_size=2),
).filter(not_misread_by_nilearn)
KEYS = st.text(max_size=6).filter(lambda key: key != "id")


@given(fields=st.dictionaries(KEYS, VALUES, max_size=6))
def test_collection_is_written_as_nilearn_writes_it(tmp_path_factory, fields):
    raw = {"id": 12} | fields
    theirs = nilearn_collection_bytes(raw, tmp_path_factory.getbasetemp() / "theirs")
    assert sidecars.collection_bytes(raw, 12) == theirs


def test_text_that_only_begins_like_a_null_survives(tmp_path):
    raw = {"id": 12, "name": "None of the above", "description": "null hypothesis"}
    ours = json.loads(sidecars.collection_bytes(raw, 12))
    assert (ours["name"], ours["description"]) == (raw["name"], raw["description"])
    assert json.loads(nilearn_collection_bytes(raw, tmp_path))["name"] is None


def test_image_is_written_as_nilearn_writes_it(tmp_path):
    raw = image_json() | {"handedness": None, "task": None}
    del raw["absolute_pitch"]
    paths = {
        "relative_path": Path("collection_12/image_3.nii.gz"),
        "resampled_relative_path": Path("collection_12/image_3_resampled.nii.gz"),
        "absolute_path": tmp_path,
    }
    _write_metadata(raw | paths, tmp_path / "theirs")
    assert (
        sidecars.image_bytes(image_json(absolute_path=1), 12, 3).replace(
            b', "absolute_pitch": 1', b""
        )
        == (tmp_path / "theirs").read_bytes()
    )


def test_fields_that_nilearn_loses_are_kept():
    assert json.loads(sidecars.image_bytes(image_json(), 12, 3))["absolute_pitch"] == 1


def test_paths_of_others_are_replaced():
    raw = image_json(relative_path="/old/a", resampled_relative_path=None, id=3)
    found = json.loads(sidecars.image_bytes(raw, 12, 3))
    assert found["relative_path"] == "collection_12/image_3.nii.gz"
    assert list(found)[-2:] == ["relative_path", "resampled_relative_path"]


def test_what_is_written_can_be_read(tmp_path):
    image, about = image_json(), collection_json()
    put(
        tmp_path,
        "collection_12/image_3_metadata.json",
        sidecars.image_bytes(image, 12, 3),
    )
    put(
        tmp_path,
        "collection_12/collection_metadata.json",
        sidecars.collection_bytes(about, 12),
    )
    nulls = {"handedness": None, "task": None}
    assert sidecars.read_image(tmp_path, 12, 3) == image | nulls
    assert sidecars.read_collection(tmp_path, 12) == about | {"journal_name": None}


def test_path_keys_are_ignored(tmp_path):
    paths = {
        "relative_path": "/elsewhere/a",
        "absolute_path": "/elsewhere/b",
        "resampled_relative_path": 5,
        "ns_words_absolute_path": None,
    }
    put(tmp_path, "collection_12/image_3_metadata.json", image_json() | paths)
    assert sidecars.read_image(tmp_path, 12, 3) == image_json()


def test_record_without_collection_has_that_of_its_folder(tmp_path):
    put(tmp_path, "collection_12/image_3_metadata.json", {"id": 3})
    assert sidecars.read_image(tmp_path, 12, 3) == {"id": 3, "collection_id": 12}


BAD = [
    (b"", "not readable JSON"),
    (b'{"id": 3, "na', "not readable JSON"),
    (b"<html>", "not readable JSON"),
    (b"\xff\xfe\x00", "not readable JSON"),
    (b"[" * 100_000, "not readable JSON"),
    (b"[1]", "holds no JSON object"),
    (b"null", "holds no JSON object"),
    (b"{}", "record of id None instead of 3"),
    (b'{"id": 4}', "record of id 4 instead of 3"),
    (b'{"id": "x"}', "record of id 'x' instead of 3"),
    (b'{"id": true}', "record of id True instead of 3"),
]


@pytest.mark.parametrize(("content", "reason"), BAD)
def test_bad_record_is_an_error_that_names_it(tmp_path, content, reason):
    path = put(tmp_path, "collection_12/image_3_metadata.json", content)
    with pytest.raises(CorruptFileError, match=re.escape(str(path))) as caught:
        sidecars.read_image(tmp_path, 12, 3)
    assert reason in str(caught.value)


@pytest.mark.parametrize(("content", "reason"), BAD)
def test_bad_record_hides_no_other(tmp_path, caplog, content, reason):
    path = put(tmp_path, "collection_12/image_3_metadata.json", content)
    put(tmp_path, "collection_12/image_5_metadata.json", image_json(5))
    with caplog.at_level(logging.WARNING):
        found = sidecars.read_images(tmp_path, 12)
    assert list(found) == [image_json(5)]
    assert len(found) == 1
    [failure] = found.failures
    assert (failure.id, failure.collection_id, failure.attempts) == (3, 12, 0)
    assert failure.url == path.as_uri()
    assert reason in failure.reason
    assert reason in caplog.text


def test_collection_without_a_good_record_is_known_by_its_id(tmp_path):
    put(tmp_path, "collection_7/collection_metadata.json", collection_json(7))
    (tmp_path / "collection_20").mkdir()
    put(tmp_path, "collection_100/collection_metadata.json", b"{")
    found = sidecars.read_collections(tmp_path)
    assert list(found) == [collection_json(7), {"id": 20}, {"id": 100}]
    assert [failure.collection_id for failure in found.failures] == [20, 100]
    assert [failure.id for failure in found.failures] == [None, None]


def test_only_names_of_the_layout_count(tmp_path):
    for name in [
        "collection_0/x",
        "collection_01/x",
        "collection_7b/x",
        ".new-00-collection_8/collection_metadata.json",
        "collection_9/image_3_metadata.json~",
        "collection_9/.part-00-image_3_metadata.json",
        "collection_9/image_x_metadata.json",
        "collection_9/sub/image_3_metadata.json",
        "elsewhere/collection_5/collection_metadata.json",
    ]:
        put(tmp_path, name, {"id": 3})
    (tmp_path / "collection_10").touch()
    assert sidecars.collection_ids(tmp_path) == [9, 10]
    assert sidecars.read_images(tmp_path, 9) == sidecars.OnDisk((), ())
    assert sidecars.read_images(tmp_path, 10) == sidecars.OnDisk((), ())


def test_nothing_there(tmp_path):
    nowhere = tmp_path / "absent"
    assert list(sidecars.read_collections(nowhere)) == []
    assert list(sidecars.read_images(nowhere, 12)) == []
    assert list(sidecars.find_images(nowhere, [3])) == []
    with pytest.raises(FileNotFoundError, match="There is no"):
        sidecars.read_collection(nowhere, 12)


@pytest.mark.parametrize("extra", [0, 100], ids=["few", "many"])
def test_images_are_found_without_opening_anything(tmp_path, extra):
    for collection_id, image_id in [(12, 3), (12, 4), (20, 5), (20, 3)]:
        put(tmp_path, f"collection_{collection_id}/image_{image_id}_metadata.json", b"")
    wanted = [3, 5, 6, *range(1000, 1000 + extra)]
    found = list(sidecars.find_images(tmp_path, wanted))
    assert sorted(found) == [(3, 12), (3, 20), (5, 20)]
    assert [collection_id for _, collection_id in found] == [12, 20, 20]


def test_finding_nothing_looks_at_nothing(tmp_path):
    put(tmp_path, "collection_12/image_3_metadata.json", b"")
    assert list(sidecars.find_images(tmp_path, [])) == []
