"""Typed columns of metadata, axes, and the header's facts."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from maps import COARSE, COLLECTIONS, FLIPPED, OBLIQUE, record

from intake_neurovault.columns import image_columns
from intake_neurovault.coordinates import axis_columns, nifti_attrs
from intake_neurovault.nifti import Geometry
from intake_neurovault.records import IMAGE_FIELDS


def columns(*fields: dict[str, Any]) -> dict[str, Any]:
    images = [record(number, **each) for number, each in enumerate(fields, start=1)]
    return image_columns(images, COLLECTIONS)


@pytest.mark.parametrize(
    ("name", "given", "dtype", "expected"),
    [
        ("number_of_subjects", [12, 20], "int64", [12, 20]),
        ("number_of_subjects", [12, None], "float64", [12, np.nan]),
        ("number_of_subjects", [12, 10**30], "float64", [12, 1e30]),
        ("age", [1.5, None], "float64", [1.5, np.nan]),
        ("not_mni", [True, False], "bool", [True, False]),
        ("not_mni", [True, None], "float64", [1, np.nan]),
        ("analysis_level", ["group", None], "object", ["group", ""]),
        ("analysis_level", ["group", "n/a"], "object", ["group", ""]),
        (
            "add_date",
            ["2024-07-01T02:00:00.000250+02:00", None],
            "datetime64[ns]",
            ["2024-07-01T00:00:00.000250", "NaT"],
        ),
        (
            "add_date",
            ["2024-07-01", "9999-01-01"],
            "datetime64[ns]",
            ["2024-07-01", "NaT"],
        ),
    ],
)
def test_a_column_has_the_dtype_of_its_kind(
    name: str, given: list[Any], dtype: str, expected: list[Any]
) -> None:
    column = columns(*({name: value} for value in given))[name]
    assert column.values.dtype == dtype
    np.testing.assert_array_equal(column.values, np.array(expected, dtype=dtype))


ZONES = st.one_of(
    st.none(),
    st.just(UTC),
    st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23))),
)


@given(
    moments=st.lists(st.datetimes(timezones=ZONES), min_size=1, max_size=5),
    separator=st.sampled_from("T "),
    zulu=st.booleans(),
    cut=st.booleans(),
)
def test_a_date_is_utc_however_it_is_written(
    moments: list[datetime], separator: str, zulu: bool, cut: bool
) -> None:
    texts = [each.isoformat(separator) for each in moments]
    texts = [re.sub(r"\+00:00$", "Z", text) if zulu else text for text in texts]
    # What is written with whole seconds has another length.
    texts[0] = moments[0].isoformat("T", "seconds" if cut else "auto")
    read = [datetime.fromisoformat(text) for text in texts]
    expected = []
    for each in read:
        clock = np.datetime64(each.replace(tzinfo=None), "us")
        moment = clock - np.timedelta64(each.utcoffset() or timedelta(), "us")
        held = np.datetime64("1678") <= moment < np.datetime64("2262")
        expected.append(moment if held else np.datetime64("NaT"))
    column = columns(*({"add_date": text} for text in texts))["add_date"]
    np.testing.assert_array_equal(column.values, np.array(expected, "datetime64[ns]"))


def test_a_field_that_is_null_for_all_has_no_column() -> None:
    found = columns({"age": None, "sex": "none"}, {"sex": ""})
    assert "map_type" in found
    assert {"age", "sex", "id", "extra"}.isdisjoint(found)


def test_columns_stand_in_the_order_of_the_schema() -> None:
    names = [each.name for each in IMAGE_FIELDS]
    found = list(columns({"age": 3}))
    assert found[-2:] == ["collection_name", "collection_doi"]
    assert found[:-2] == [name for name in names if name in found]


def test_the_collection_stands_beside_each_image() -> None:
    found = columns({}, {"collection_id": 2}, {"collection_id": 77})
    assert found["collection_name"].values.tolist() == ["Faces", "Motor", ""]
    assert found["collection_doi"].values.tolist() == ["10.1000/faces", "", ""]


def test_custom_fields_are_json_whatever_their_type() -> None:
    found = columns({"task": "n-back", "runs": [1, 2]}, {"task": 7}, {})
    decoded = [json.loads(text) for text in found["extra"].values]
    assert decoded == [{"task": "n-back", "runs": [1, 2]}, {"task": 7}, {}]


def test_attributes_say_what_a_column_means() -> None:
    found = columns({"not_mni": True}, {"not_mni": None})
    assert all(column.attrs["long_name"] for column in found.values())
    assert found["modify_date"].attrs["time_zone"] == "UTC"
    assert "1 = true" in found["not_mni"].attrs["comment"]
    assert "comment" not in columns({"not_mni": True})["not_mni"].attrs


def test_aligned_axes_are_millimetres() -> None:
    axes = axis_columns(FLIPPED)
    assert list(axes) == ["x", "y", "z"]
    assert axes["x"].values.tolist() == [90 - 12 * i for i in range(16)]
    assert {name: axes[name].attrs["axis"] for name in axes} == {
        name: name.upper() for name in "xyz"
    }
    assert {axis.attrs["units"] for axis in axes.values()} == {"mm"}


def test_oblique_axes_are_indices_under_another_name() -> None:
    axes = axis_columns(OBLIQUE)
    assert list(axes) == ["i", "j", "k"]
    assert axes["j"].values.tolist() == list(range(20))
    assert {axis.attrs["units"] for axis in axes.values()} == {"1"}


def test_the_header_is_flat() -> None:
    attrs = nifti_attrs(Geometry(COARSE, 4, 1, "mm sec", "text", "int16"), "GenericMNI")
    assert attrs["affine"] == COARSE.matrix.ravel().tolist()
    assert (attrs["sform_code"], attrs["qform_code"]) == (4, 1)
    assert (attrs["xyzt_units"], attrs["description"]) == ("mm sec", "text")
    assert attrs["space"] == "GenericMNI"
