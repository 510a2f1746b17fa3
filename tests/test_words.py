"""Neurosynth words as one matrix."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.words import vectorise

weights = st.dictionaries(
    st.text("abc", min_size=1, max_size=2), st.floats(-1, 1), max_size=4
)


@given(st.lists(st.none() | weights, min_size=1, max_size=5))
def test_the_matrix_holds_every_weight(rows: list[dict[str, float] | None]) -> None:
    matrix, vocabulary = vectorise(rows)
    assert vocabulary == sorted({word for row in rows for word in row or {}})
    assert matrix.shape == (len(rows), len(vocabulary))
    for row, found in zip(rows, matrix, strict=True):
        if row is None:
            assert np.isnan(found).all()
        else:
            expected = [row.get(word, 0.0) for word in vocabulary]
            assert found.tolist() == expected


def test_the_type_of_the_numbers_can_be_chosen() -> None:
    rows = [{"a": 1.0}, None]
    assert vectorise(rows, dtype=np.float32)[0].dtype == np.float32
    np.testing.assert_array_equal(vectorise(rows, dtype=int)[0], [[1.0], [np.nan]])
