"""Which images a meta-analysis can take, and which of them make one contrast."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from maps import COLLECTIONS, record

from intake_neurovault import search
from intake_neurovault.contrasts import (
    Contrast,
    Grouping,
    failure,
    kind_of,
    subjects_of,
    summary,
)
from intake_neurovault.errors import ArgumentError, ExtraError
from intake_neurovault.nimads import document
from intake_neurovault.records import Image

KINDS = ("Z map", "T map", "univariate-beta map", "variance", "F map", "ROI/mask", None)
LEVELS = ("group", "single-subject", "meta-analysis", "other", None)
TASKS = ("faces", "houses")


def image(number: int, **fields: Any) -> Image:
    """An image that every meta-analysis takes, but for what is given."""
    usual = {"analysis_level": "group", "number_of_subjects": 20}
    return record(number, **{**usual, **fields})


def refusals(*images: Image, **how: Any) -> dict[int | None, str]:
    _, refused = Grouping(**how).sort(images)
    return {each.id: each.reason for each in refused}


# ---- kinds and sizes -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("map_type", "kind"),
    [
        ("Z map", "z"),
        ("T map", "t"),
        ("univariate-beta map", "beta"),
        ("variance", "varcope"),
        (" z MAP ", "z"),
        ("multivariate-beta map", None),
        ("P map (given null hypothesis)", None),
        ("F map", None),
        ("Chi squared map", None),
        ("Other", None),
        (None, None),
    ],
)
def test_map_types_are_kinds(map_type: str | None, kind: str | None) -> None:
    assert kind_of(image(1, map_type=map_type)) == kind


@pytest.mark.parametrize(("number", "count"), [(12, 12), (1, 1), (0, None), (-1, None)])
def test_the_server_says_zero_where_it_does_not_know(
    number: int, count: int | None
) -> None:
    assert subjects_of(image(1, number_of_subjects=number)) == count


# ---- what is refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"map_type": "F map"},
            "map_type is 'F map', and a meta-analysis takes Z maps",
        ),
        ({"map_type": None}, "map_type is not given, and"),
        ({"analysis_level": "single-subject"}, "{'analysis_level': 'group'}"),
        ({"analysis_level": "meta-analysis"}, "analysis_level is 'meta-analysis'"),
        ({"is_thresholded": True}, "{'is_thresholded': False}"),
        ({"number_of_subjects": None}, "give require_sample_sizes=False"),
        ({"number_of_subjects": 1}, "number_of_subjects is 1, and"),
        ({"number_of_subjects": 0, "map_type": "T map"}, "a T map becomes no Z map"),
    ],
)
def test_the_reason_names_the_field_and_what_to_ask_for(
    fields: dict[str, Any], text: str
) -> None:
    reasons = refusals(image(3, **fields), image(4))
    assert list(reasons) == [3]
    assert reasons[3].startswith("image 3 (collection 1): ")
    assert text in reasons[3]
    assert "\n" not in reasons[3]


def test_what_records_do_not_say_is_no_reason() -> None:
    assert refusals(image(1, analysis_level=None, is_thresholded=None)) == {}


def test_sample_sizes_can_be_left_out() -> None:
    unknown = {"number_of_subjects": None}
    images = image(1, **unknown), image(2, map_type="T map", **unknown)
    assert list(refusals(*images)) == [1, 2]
    assert list(refusals(*images, sized=False)) == [2]


def test_a_field_that_no_image_has_is_refused() -> None:
    images = image(1, task="faces"), image(2)
    Grouping(study="task").check(images)
    with pytest.raises(ArgumentError, match="contrast='taks' is no field"):
        Grouping(study="task", contrast="taks").check(images)
    assert "name another field in study=" in refusals(*images, study="task")[2]


def test_images_with_one_reason_are_named_together() -> None:
    reasons = [failure(image(n), "too old") for n in range(1, 12)]
    text = summary([*reasons, failure(image(99), "too small")], 50)
    assert text.startswith("12 of 50 images cannot go into a meta-analysis: 1, 2, ")
    assert "7, 8 and 3 more (too old); 99 (too small)" in text
    assert text.endswith("errors='skip'.")


# ---- what belongs together -----------------------------------------------------------


def test_each_image_is_a_contrast_of_its_collection() -> None:
    images = image(1), image(2, collection_id=2), image(3, name=None)
    contrasts, refused = Grouping().sort(images)
    assert refused == []
    assert [(each.study, each.id, each.name) for each in contrasts] == [
        ("1", "1", "map 1"),
        ("2", "2", "map 2"),
        ("1", "3", "3"),
    ]


def test_a_beta_map_and_its_variance_are_one_contrast() -> None:
    images = [
        image(1, map_type="univariate-beta map", task="faces"),
        image(2, map_type="univariate-beta map", task="houses"),
        image(3, map_type="variance", task="faces", number_of_subjects=None),
    ]
    contrasts, refused = Grouping(contrast="task", sized=False).sort(images)
    assert refused == []
    found = [(each.id, each.name, each.subjects) for each in contrasts]
    assert found == [("1_3", "faces", 20), ("2", "houses", 20)]


def test_maps_that_do_not_make_one_contrast_are_refused() -> None:
    beta, variance = {"map_type": "univariate-beta map"}, {"map_type": "variance"}
    twice = image(1, task="faces"), image(2, task="faces")
    reasons = refusals(*twice, image(3, task="houses"), contrast="task")
    assert list(reasons) == [1, 2]
    assert "several of the images 1, 2 are of one kind though they share" in reasons[1]
    sizes = image(1, task="a", **beta), image(2, task="a", number_of_subjects=9)
    assert "numbers of subjects (9, 20)" in refusals(*sizes, contrast="task")[2]
    alone = refusals(image(1, **variance))
    assert "says nothing without its beta map" in alone[1]


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "map_type": st.sampled_from(KINDS),
                "analysis_level": st.sampled_from(LEVELS),
                "number_of_subjects": st.sampled_from((None, 0, 1, 12, 20)),
                "is_thresholded": st.sampled_from((None, False, True)),
                "collection_id": st.sampled_from((1, 2)),
                "task": st.sampled_from((None, *TASKS)),
            }
        ),
        max_size=8,
    ),
    st.sampled_from(("collection_id", "id", "task")),
    st.sampled_from(("id", "task")),
    st.booleans(),
)
def test_every_image_is_taken_or_refused_and_what_is_taken_is_sound(
    fields: list[dict[str, Any]], study: str, contrast: str, sized: bool
) -> None:
    images = [record(number, **each) for number, each in enumerate(fields, start=1)]
    contrasts, refused = Grouping(study, contrast, sized).sort(images)
    taken = [each.id for one in contrasts for each in one.images]
    assert sorted([*taken, *(each.id for each in refused if each.id)]) == [
        each.id for each in images
    ]
    for one in contrasts:
        kinds = [kind_of(each) for each in one.images]
        assert None not in kinds
        assert kinds != ["varcope"]
        assert len(set(kinds)) == len(kinds)
        assert one.subjects is None or one.subjects > 1
        assert one.subjects or not (sized or "t" in kinds)
        assert {str(each.metadata[study]) for each in one.images} == {one.study}


# ---- as NiMARE reads it --------------------------------------------------------------


def test_the_document_holds_plain_json() -> None:
    first = image(1, task="faces", z=3.5, extra_list=[1, 2])
    second = image(2, collection_id=2, map_type="T map", is_valid=True)
    contrasts, _ = Grouping().sort([first, second])
    files = {1: {"z": "/maps/1.nii"}, 2: {"t": "/maps/2.nii", "z": "/maps/2z.nii"}}
    found = document(contrasts, COLLECTIONS, files, "mine")
    assert json.loads(json.dumps(found)) == found
    faces, motor = found["studies"]
    assert (faces["id"], faces["name"], faces["doi"]) == ("1", "Faces", "10.1000/faces")
    (analysis,) = faces["analyses"]
    about = analysis["metadata"]
    assert about["sample_sizes"] == [20]
    assert (about["image_id"], about["task"]) == (1, "faces")
    # NiMARE would take this for the path of a map.
    assert "z" not in about
    assert about["modify_date"] == "2024-05-01T12:00:00.250000+02:00"
    kinds = [each["value_type"] for each in motor["analyses"][0]["images"]]
    assert kinds == ["t", "z"]


def test_a_study_across_collections_is_none_of_them() -> None:
    images = image(1, task="faces"), image(2, collection_id=2, task="faces")
    contrasts, _ = Grouping(study="task").sort(images)
    files = {1: {"z": "a"}, 2: {"z": "b"}}
    (study,) = document(contrasts, COLLECTIONS, files, "mine")["studies"]
    assert (study["id"], study["name"]) == ("faces", "faces")
    assert len(study["analyses"]) == 2


def test_an_uploaded_z_map_comes_before_one_that_was_made() -> None:
    contrast = Contrast("1", "faces", (image(1), image(2, map_type="T map")))
    files = {1: {"z": "own.nii"}, 2: {"t": "t.nii", "z": "made.nii"}}
    (study,) = document([contrast], COLLECTIONS, files, "mine")["studies"]
    found = {
        each["value_type"]: each["filename"] for each in study["analyses"][0]["images"]
    }
    assert found == {"t": "t.nii", "z": "own.nii"}


def test_without_nimare_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "nimare", None)
    with pytest.raises(ImportError, match=r'"intake-neurovault\[nimare\]"') as caught:
        search(image_ids=[1]).to_nimare()
    assert isinstance(caught.value, ExtraError)
