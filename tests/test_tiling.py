"""Where small pictures stand on a sheet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.tiling import Sheet, panel_size

ORTHO = panel_size("glass_brain", {})
MODES = st.sampled_from(["ortho", "x", "lyrz", "tiled", "mosaic"])


@pytest.mark.parametrize(
    ("count", "columns", "rows"),
    [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 2, 2), (6, 2, 3), (9, 3, 3), (16, 4, 4)],
)
def test_sheets_are_about_as_wide_as_a_notebook(
    count: int, columns: int, rows: int
) -> None:
    sheet = Sheet(count, ORTHO)
    assert (sheet.columns, sheet.rows) == (columns, rows)
    assert sheet.size[0] < 14


@given(
    st.integers(1, 60),
    st.none() | st.integers(1, 70),
    MODES,
    st.sampled_from(["glass_brain", "stat_map"]),
    st.booleans(),
    st.tuples(st.floats(2, 30), st.floats(2, 30)),
)
def test_nothing_stands_on_anything_else(
    count: int,
    ncols: int | None,
    mode: str,
    kind: str,
    around: bool,
    size: tuple[float, float],
) -> None:
    sheet = Sheet(
        count, panel_size(kind, {"display_mode": mode}), ncols, around, around, around
    )
    assert count <= sheet.rows * sheet.columns < count + sheet.columns
    if ncols is None:
        # One panel may be wider, but not two.
        assert sheet.columns == 1 or sheet.size[0] < 14.5
        size = sheet.size
    boxes = [sheet.panel_at(place, size) for place in range(count)]
    if around:
        boxes.append(sheet.bar_at(size))
    if sheet.size > size:
        return
    for n, (left, bottom, wide, tall) in enumerate(boxes):
        assert left >= 0
        assert bottom >= 0
        assert left + wide <= size[0]
        assert bottom + tall <= size[1]
        for other in boxes[:n]:
            beside = left >= other[0] + other[2] or other[0] >= left + wide
            above = bottom >= other[1] + other[3] or other[1] >= bottom + tall
            assert beside or above


@pytest.mark.parametrize(
    ("kind", "given", "width"),
    [
        ("glass_brain", {"display_mode": "lzry"}, 4),
        ("glass_brain", {"display_mode": "z"}, 1),
        ("stat_map", {"display_mode": "z"}, 7),
        ("stat_map", {"display_mode": "z", "cut_coords": 4}, 4),
        ("stat_map", {"display_mode": "z", "cut_coords": (1, 2)}, 2),
        ("stat_map", {"display_mode": "tiled"}, 2),
    ],
)
def test_a_panel_is_as_wide_as_its_views(
    kind: str, given: dict[str, Any], width: int
) -> None:
    assert panel_size(kind, given)[0] == pytest.approx(width)
