"""Tables: columns that are always there, typed, whatever the records hold."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trees import SERVER, collection, image, image_json

from intake_neurovault.errors import Failure
from intake_neurovault.filters import Step
from intake_neurovault.records import Image
from intake_neurovault.schema import IMAGE_FIELDS
from intake_neurovault.tables import failure_table, image_table, step_table

DTYPES = {
    "int": "Int64",
    "float": "float64",
    "bool": "boolean",
    "text": "str",
    "date": "datetime64[us, UTC]",
}

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()))
    | st.sampled_from(["n/a", "None", "007", "1e400", "-0", "2015-02-29", "0001-01-01"])
    | st.datetimes().map(lambda moment: moment.isoformat())
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
names = st.sampled_from([field.name for field in IMAGE_FIELDS]) | st.text(max_size=8)
fields = st.dictionaries(names, values, max_size=12)


def read(image_id: int, /, **more: Any) -> Image:
    raw = {"file": None, **more, "id": image_id, "collection_id": 12}
    return Image.from_json(raw, base_url=SERVER)


@settings(max_examples=60)
@given(st.lists(fields, max_size=4))
@example([{"number_of_subjects": 2**63}, {"number_of_subjects": -(2**63)}])
@example([{"add_date": "9999-12-31T23:59:59-12:00"}, {"add_date": "0001-01-01"}])
@example([{"name": "\ud83d"}, {"\ud83d": "\ud83d"}])
@example([{"collection_name": "a field of that name"}])
@example([{"task": ["a", "b"]}, {"task": {"a": 1}}, {"task": "a"}])
def test_no_record_is_too_odd_for_the_table(rows: list[dict[str, Any]]) -> None:
    images = [read(number, **row) for number, row in enumerate(rows, start=1)]
    table = image_table(images, {12: collection(12)})
    assert table["id"].tolist() == [each.id for each in images]
    assert table.columns.is_unique
    assert table["collection_name"].tolist() == ["Émotions"] * len(rows)
    for field in IMAGE_FIELDS:
        assert table[field.name].dtype == pd.Series([], dtype=DTYPES[field.kind]).dtype
    for place, each in enumerate(images):
        for name, value in each.extra.items():
            if name != "collection_name":
                assert table[name].iloc[place] is value


@pytest.mark.parametrize(
    ("name", "given_value", "shown"),
    [
        ("number_of_subjects", "20", 20),
        ("number_of_subjects", 20.0, 20),
        ("number_of_subjects", 20.5, None),
        ("number_of_subjects", True, None),
        ("number_of_subjects", "many", None),
        ("number_of_subjects", 10**30, None),
        ("number_of_subjects", 2**63 - 1, 2**63 - 1),
        ("smoothness_fwhm", "6", 6.0),
        ("smoothness_fwhm", "1e999", None),
        ("is_thresholded", "True", True),
        ("is_thresholded", "maybe", None),
        ("map_type", "N/A", None),
        ("map_type", "None of the above", "None of the above"),
        ("name", 7, "7"),
        ("name", ["a"], None),
        ("add_date", "2015-02-29", None),
        ("add_date", "soon", None),
        (
            "add_date",
            "2016-01-21T01:00:00+01:00",
            pd.Timestamp("2016-01-21T00:00:00Z"),
        ),
        ("add_date", "2016-01-21", pd.Timestamp("2016-01-21T00:00:00Z")),
    ],
)
def test_odd_values_of_core_fields(name: str, given_value: Any, shown: Any) -> None:
    found = image_table([read(3, **{name: given_value})], {12: collection()})[name][0]
    assert pd.isna(found) if shown is None else found == shown


def test_dates_of_several_zones_stand_in_one_column() -> None:
    dates = [
        "2016-01-21T01:00:00.000001+01:00",
        None,
        "1969-07-20",
        "2016-06-01T00:00Z",
    ]
    images = [read(number, add_date=date) for number, date in enumerate(dates, start=1)]
    column = image_table(images, {12: collection()})["add_date"]
    assert column.dt.strftime("%Y-%m-%d %H:%M:%S.%f").tolist()[0] == (
        "2016-01-21 00:00:00.000001"
    )
    assert column.isna().tolist() == [False, True, False, False]


def test_custom_fields_follow_as_they_came() -> None:
    images = [read(3, run=1, task="faces"), read(5, run="01"), read(7)]
    table = image_table(images, {12: collection()})
    assert table.columns[-2:].tolist() == ["run", "task"]
    assert table["run"].tolist() == [1, "01", None]
    assert table["task"].tolist() == ["faces", None, None]


def test_the_table_is_written_and_read_again(tmp_path: Any) -> None:
    table = image_table([image(3), image(5, name='a, "b"\n')], {12: collection()})
    table.to_csv(tmp_path / "images.csv", index=False)
    again = pd.read_csv(tmp_path / "images.csv")
    assert again["name"].tolist() == ["faces − houses", 'a, "b"\n']
    assert again["absolute_pitch"].tolist() == [1, 1]
    assert again["file_size"].tolist() == [image_json()["file_size"]] * 2


def test_half_a_character_can_be_written_down() -> None:
    table = image_table([read(3, name="brain \ud83d")], {12: collection(name="\ud83d")})
    assert table["name"].tolist() == ["brain ?"]
    assert table["collection_name"].tolist() == ["?"]


def test_failures_keep_ids_whole_where_some_are_missing() -> None:
    page = Failure(None, 7, "http://a.org/api/", "A page failed.", 5)
    token = Failure(None, None, "http://a.org/api/", "No such collection.", 1)
    table = failure_table([Failure(3, 12, "http://a.org/m", "Gone.", 1), page, token])
    assert table["id"].dtype == table["collection_id"].dtype == "Int64"
    assert table["id"].dropna().tolist() == [3]
    assert table["collection_id"].dropna().tolist() == [12, 7]
    assert table["attempts"].tolist() == [1, 5, 1]
    assert table.loc[1, "reason"] == "A page failed."
    assert failure_table([]).dtypes.tolist()[0] == "Int64"


def test_steps_are_rows() -> None:
    table = step_table([Step("map_type is Z map", 3, 5), Step("not_mni", 0, 0)])
    assert table["removed"].tolist() == [3, 0]
    assert table["alone"].tolist() == [5, 0]


def test_an_id_that_no_column_can_hold_is_null_in_the_table() -> None:
    table = failure_table([Failure(10**30, -(10**30), "http://a.org/m", "Odd.", 1)])
    assert table[["id", "collection_id"]].isna().all(axis=None)
    assert table.reason.tolist() == ["Odd."]
