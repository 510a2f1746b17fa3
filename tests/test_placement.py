"""Which images stand on which grid, and in which space."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from maps import COARSE, FLIPPED, OBLIQUE, record

from intake_neurovault.errors import GeometryError, NeuroVaultWarning
from intake_neurovault.grid import GRIDS, Grid
from intake_neurovault.nifti import Geometry
from intake_neurovault.placement import (
    node_name,
    node_names,
    place,
    several_grids,
    warn_of_other_spaces,
    warn_of_unplaced,
)

COARSE_MAP = Geometry(COARSE, 4, 1, "mm sec", "first", "int16")
FLIPPED_MAP = Geometry(FLIPPED, 2, 0, "mm sec", "second", "float32")


def shifted(grid: Grid, by: float) -> Grid:
    affine = list(grid.affine)
    affine[3] += by
    return replace(grid, affine=tuple(affine))


def test_on_a_grid_all_images_are_one_group() -> None:
    (group,) = place([record(1), record(2)], COARSE, None)
    assert group.rows == (0, 1)
    assert group.geometry == Geometry(COARSE, 4, 4, "mm sec", "", "float32")


@pytest.mark.parametrize(
    ("grid", "fields", "codes"),
    [
        (COARSE, {}, (4, 4)),
        (COARSE, {"target_template_image": None, "subject_species": None}, (4, 4)),
        (COARSE, {"target_template_image": "Dorr2008"}, (2, 2)),
        (OBLIQUE, {}, (4, 0)),
    ],
)
def test_codes_promise_mni_only_where_the_records_do(
    grid: Grid, fields: dict[str, str], codes: tuple[int, int]
) -> None:
    (group,) = place([record(1, **fields)], grid, None)
    assert (group.geometry.sform_code, group.geometry.qform_code) == codes


def test_native_grids_are_told_apart_in_order() -> None:
    near = replace(COARSE_MAP, grid=shifted(COARSE, 5e-4))
    geometries = [COARSE_MAP, FLIPPED_MAP, None, near, FLIPPED_MAP]
    groups = place([record(i) for i in range(1, 6)], None, geometries)
    assert [group.rows for group in groups] == [(0, 3), (1, 4)]
    assert [group.geometry for group in groups] == [COARSE_MAP, FLIPPED_MAP]


def test_a_description_that_not_all_share_is_left_out() -> None:
    other = replace(COARSE_MAP, description="other")
    (group,) = place([record(1), record(2)], None, [COARSE_MAP, other])
    assert group.geometry == replace(COARSE_MAP, description="")


@pytest.mark.parametrize("geometries", [None, [], [None]])
def test_without_any_grid_the_way_out_is_named(geometries: list[None] | None) -> None:
    with pytest.raises(GeometryError, match='pass grid="mni152-3mm"'):
        place([record(1)], None, geometries)


def test_several_grids_name_an_image_of_each_and_both_ways_out() -> None:
    images = [record(11), record(12)]
    message = several_grids(images, place(images, None, [COARSE_MAP, FLIPPED_MAP]))
    assert "image 11: 19×22×19 voxels of 10 mm" in message
    assert "image 12: 16×19×16 voxels of 12 mm" in message
    assert 'grid="mni152-3mm"' in message
    assert ".to_datatree()" in message


@pytest.mark.parametrize("name", list(GRIDS))
def test_presets_give_their_name_also_to_grids_nearby(name: str) -> None:
    assert node_name(shifted(GRIDS[name], 1e-4)) == name.replace("-", "_")


def test_other_grids_have_names_of_their_own() -> None:
    names = [node_name(g) for g in (COARSE, shifted(COARSE, 0.1), FLIPPED)]
    assert len(set(names)) == 3
    assert all(re.fullmatch("grid_[0-9a-f]{8}", name) for name in names)


def test_no_two_nodes_have_one_name() -> None:
    preset = GRIDS["mni152-2mm"]
    grids = [shifted(preset, -8e-4), shifted(preset, 8e-4), COARSE]
    groups = place(
        [record(i) for i in range(1, 4)],
        None,
        [replace(COARSE_MAP, grid=grid) for grid in grids],
    )
    names = node_names(groups)
    assert names[0] == "mni152_2mm"
    assert len(set(names)) == len(groups) == 3
    assert all(re.fullmatch("grid_[0-9a-f]{8}", name) for name in names[1:])


MOUSE = {"target_template_image": "Dorr2008", "subject_species": "mus musculus"}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (MOUSE, "image 7: Dorr2008"),
        ({"target_template_image": "Talairach"}, "image 7: Talairach"),
        ({"subject_species": "macaca mulatta"}, "image 7: macaca mulatta"),
    ],
)
def test_other_spaces_are_named_with_the_way_out(
    fields: dict[str, str], named: str
) -> None:
    images = [record(6), record(7, **fields)]
    with pytest.warns(NeuroVaultWarning, match=f"1 of 2 maps.*{named}.*image_terms"):
        warn_of_other_spaces(images, everywhere=False)


def test_many_other_spaces_are_counted() -> None:
    images = [record(number, **MOUSE) for number in range(1, 9)]
    with pytest.warns(NeuroVaultWarning, match="8 of 8 .*image 5: .*, and 3 more"):
        warn_of_other_spaces(images, everywhere=True)


@pytest.mark.parametrize(
    "template", ["GenericMNI", "MNI152NLin2009cAsym", "MNI152NLin6Asym", "MNI305", None]
)
def test_mni_spaces_are_one(template: str | None) -> None:
    warn_of_other_spaces(
        [record(1), record(2, target_template_image=template, subject_species="Human")],
        everywhere=True,
    )


def test_a_study_of_mice_on_its_own_grid_needs_no_warning() -> None:
    warn_of_other_spaces([record(1, **MOUSE), record(2, **MOUSE)], everywhere=False)


def test_images_left_out_are_named() -> None:
    with pytest.warns(
        NeuroVaultWarning, match="grid of 7 images .*: 1, 2, 3, 4, 5 and 2"
    ):
        warn_of_unplaced([record(number) for number in range(1, 8)])


def test_nothing_left_out_is_nothing_to_say() -> None:
    warn_of_unplaced([])
