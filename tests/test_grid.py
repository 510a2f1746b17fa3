"""Grids: presets, spellings, coordinates and comparison."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake_neurovault.errors import GeometryError, GridError
from intake_neurovault.grid import GRIDS, Grid, GridFile, parse_grid

TURN = np.array(
    [[0.0, -2, 0, 30], [2, 0, 0, -40], [0, 0, 2, -50], [0, 0, 0, 1]], dtype=float
)
OBLIQUE = np.array(
    [[1.9, -0.3, 0, -90], [0.3, 1.9, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]]
)

steps = st.floats(0.1, 10).flatmap(lambda step: st.sampled_from([step, -step]))
origins = st.floats(-500, 500)
shapes = st.tuples(*[st.integers(1, 200)] * 3)


@st.composite
def aligned_grids(draw: st.DrawFn) -> Grid:
    affine = np.diag([draw(steps), draw(steps), draw(steps), 1.0])
    affine[:3, 3] = [draw(origins) for _ in range(3)]
    return Grid.from_affine(affine, draw(shapes))


class TestPresets:
    @pytest.mark.parametrize(
        ("name", "shape", "step"),
        [
            ("mni152-3mm", (61, 73, 61), 3),
            ("mni152-2mm", (91, 109, 91), 2),
            ("mni152-1mm", (181, 217, 181), 1),
        ],
    )
    def test_geometry(self, name: str, shape: tuple[int, ...], step: int) -> None:
        grid = GRIDS[name]
        assert grid.shape == shape
        assert grid.name == name
        assert grid.resolution == (step, step, step)
        assert grid.matrix[:3, 3].tolist() == [-90, -126, -72]

    def test_coarse_one_is_the_affine_that_nilearn_resamples_to(self) -> None:
        from nilearn.datasets.neurovault import STD_AFFINE

        assert np.array_equal(GRIDS["mni152-3mm"].matrix, STD_AFFINE)

    def test_all_cover_the_same_box(self) -> None:
        ends = {
            tuple(tuple(grid.coords()[axis][[0, -1]]) for axis in "xyz")
            for grid in GRIDS.values()
        }
        assert len(ends) == 1


class TestParse:
    @pytest.mark.parametrize("name", GRIDS)
    def test_names(self, name: str) -> None:
        assert parse_grid(name) is GRIDS[name]
        assert parse_grid(f" {name.upper()} ") is GRIDS[name]

    @pytest.mark.parametrize("spec", [None, False, "null", "None", "native", "false"])
    def test_native(self, spec: object) -> None:
        assert parse_grid(spec) is None

    @pytest.mark.parametrize("spec", [True, "true", 3, 3.0, "3", "3mm", np.int64(3)])
    def test_three_millimetres(self, spec: object) -> None:
        grid = parse_grid(spec)
        assert isinstance(grid, Grid)
        assert grid.name == "mni152-3mm"

    @pytest.mark.parametrize(
        ("step", "shape"),
        [
            (0.6, (301, 361, 301)),
            (2.5, (73, 87, 73)),
            (4, (46, 55, 46)),
            (7, (26, 31, 26)),
            (np.float32(1.5), (121, 145, 121)),
        ],
    )
    def test_other_steps(self, step: float, shape: tuple[int, ...]) -> None:
        grid = parse_grid(step)
        assert isinstance(grid, Grid)
        assert grid.shape == shape
        assert grid.name is None

    def test_mapping_with_text_numbers(self) -> None:
        affine = [["2", 0, 0, "-90"], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]]
        spec = {"affine": affine, "shape": ["91", 109, 91.0]}
        assert parse_grid(spec) == GRIDS["mni152-2mm"]

    @pytest.mark.parametrize("spec", ["a/b.nii", Path("a/b.nii.gz"), "A.NII.GZ"])
    def test_paths(self, spec: str | Path) -> None:
        assert parse_grid(spec) == GridFile(str(spec))

    @pytest.mark.parametrize("spec", [GRIDS["mni152-1mm"], GridFile("x.nii")])
    def test_values_stay(self, spec: Grid | GridFile) -> None:
        assert parse_grid(spec) is spec

    @pytest.mark.parametrize(
        ("spec", "match"),
        [
            ("mni152-3m", "did you mean 'mni152-3mm'"),
            ("mni152_2mm", "did you mean 'mni152-2mm'"),
            ("colin27", "grid='colin27' is not a grid. A grid is a name"),
            (Path("brain.img"), "brain.img' is not a grid.* path of a .nii"),
            (0, "grid=0: a resolution is between 0.5 and 50 millimetres"),
            (-3, "grid=-3: a resolution"),
            ("0.01", "grid=0.01: a resolution"),
            (float("nan"), "grid=nan: a resolution"),
            (float("inf"), "grid=inf: a resolution"),
            ([3, 3, 3], "is not a grid"),
            (3j, "is not a grid"),
            ({}, "holds exactly 'affine' and 'shape', this one has nothing"),
            ({"affine": np.eye(4)}, "this one has 'affine'"),
            (
                {"affine": np.eye(4), "shape": (2, 2, 2), "name": "x"},
                "this one has 'affine', 'shape', 'name'",
            ),
        ],
    )
    def test_refusals(self, spec: object, match: str) -> None:
        with pytest.raises(GridError, match=match):
            parse_grid(spec)

    @pytest.mark.parametrize(
        ("affine", "match"),
        [
            (np.eye(3), "must be 4×4 .* not 3×3"),
            (3, "not one number"),
            ("abc", "must be 4×4 numbers, not 'abc'"),
            ([[1, 2], [3]], "must be 4×4 numbers"),
            (np.diag([1, 1, np.nan, 1]), "no millimetres"),
            (np.diag([1, 1, 1e300, 1]), "no millimetres"),
            (np.diag([1, 1, 0, 1]), "cannot be inverted"),
            (np.ones((4, 4)), "last row must be 0 0 0 1"),
            (np.diag([1, 1, 1, 2]), "last row must be 0 0 0 1"),
            (
                [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
                "cannot be inverted",
            ),
        ],
    )
    def test_affines_that_are_none(self, affine: object, match: str) -> None:
        with pytest.raises(GridError, match=match):
            parse_grid({"affine": affine, "shape": (2, 2, 2)})

    @pytest.mark.parametrize(
        "shape", [(2, 2), (2, 2, 2, 2), (2, 2, 0), (2, 2, -1), (2, 2, 2.5), "222", 8]
    )
    def test_shapes_that_are_none(self, shape: object) -> None:
        with pytest.raises(GridError, match="three positive whole numbers"):
            parse_grid({"affine": np.eye(4), "shape": shape})

    @pytest.mark.parametrize("shape", [(2, 2, float("nan")), (2, 2, float("inf"))])
    def test_shapes_without_end(self, shape: Any) -> None:
        with pytest.raises(GridError, match="three positive whole numbers"):
            Grid(tuple(np.eye(4).ravel().tolist()), shape)


class TestSpec:
    @given(aligned_grids())
    def test_round_trip_through_json(self, grid: Grid) -> None:
        assert parse_grid(json.loads(json.dumps(grid.to_spec()))) == grid

    @pytest.mark.parametrize("name", GRIDS)
    def test_presets_are_written_by_name(self, name: str) -> None:
        preset = GRIDS[name]
        assert preset.to_spec() == name
        assert Grid(preset.affine, preset.shape).to_spec() == name

    def test_file_is_written_as_its_path(self) -> None:
        assert GridFile("/a b/c.nii").to_spec() == "/a b/c.nii"

    @given(aligned_grids())
    def test_pickle_and_hash(self, grid: Grid) -> None:
        again = pickle.loads(pickle.dumps(grid))
        assert again == grid
        assert hash(again) == hash(grid)

    def test_name_takes_no_part_in_equality(self) -> None:
        preset = GRIDS["mni152-3mm"]
        assert Grid(preset.affine, preset.shape, "mine") == preset


class TestCoords:
    @given(aligned_grids())
    def test_they_are_the_affine_applied_to_the_indices(self, grid: Grid) -> None:
        coords = grid.coords()
        for axis, name in enumerate("xyz"):
            index = np.zeros((grid.shape[axis], 4))
            index[:, axis] = np.arange(grid.shape[axis])
            index[:, 3] = 1
            expected = (index @ grid.matrix.T)[:, axis]
            assert coords[name].dtype == np.float64
            np.testing.assert_allclose(coords[name], expected, rtol=0, atol=1e-9)

    @given(aligned_grids())
    def test_they_give_the_grid_back(self, grid: Grid) -> None:
        coords = grid.coords()
        affine = np.eye(4)
        for axis, name in enumerate("xyz"):
            points = coords[name]
            affine[axis, 3] = points[0]
            if len(points) > 1:
                affine[axis, axis] = (points[-1] - points[0]) / (len(points) - 1)
            else:
                affine[axis, axis] = grid.matrix[axis, axis]
        again = Grid.from_affine(affine, tuple(len(coords[name]) for name in "xyz"))
        assert again.isclose(grid, atol=1e-9)

    def test_flipped_axis_descends(self) -> None:
        affine = GRIDS["mni152-2mm"].matrix
        affine[0, [0, 3]] = [-2, 90]
        x = Grid.from_affine(affine, (91, 109, 91)).coords()["x"]
        assert x[[0, -1]].tolist() == [90, -90]

    @pytest.mark.parametrize("affine", [TURN, OBLIQUE], ids=["swapped", "oblique"])
    def test_none_without_alignment(self, affine: np.ndarray) -> None:
        grid = Grid.from_affine(affine, (10, 10, 10))
        assert not grid.axis_aligned
        with pytest.raises(GeometryError, match='pass grid="mni152-3mm"'):
            grid.coords()

    def test_rounding_of_a_header_is_no_rotation(self) -> None:
        affine = GRIDS["mni152-2mm"].matrix
        affine[0, 1] = 1e-7
        assert Grid.from_affine(affine, (91, 109, 91)).axis_aligned


class TestCloseness:
    @given(aligned_grids())
    def test_each_grid_is_close_to_itself(self, grid: Grid) -> None:
        assert grid.isclose(grid, atol=0)

    @given(aligned_grids(), st.floats(-1, 1), st.integers(0, 2))
    def test_a_shift_counts_in_millimetres(
        self, grid: Grid, shift: float, axis: int
    ) -> None:
        affine = grid.matrix
        affine[axis, 3] += shift
        moved = Grid.from_affine(affine, grid.shape)
        assert grid.isclose(moved, atol=abs(shift) + 1e-9)
        assert moved.isclose(grid, atol=abs(shift) + 1e-9)
        assert abs(shift) < 1e-6 or not grid.isclose(moved, atol=abs(shift) * 0.99)

    def test_a_step_counts_at_the_far_corner(self) -> None:
        affine = GRIDS["mni152-2mm"].matrix
        affine[2, 2] += 2e-5
        near = Grid.from_affine(affine, (91, 109, 20))
        exact = Grid.from_affine(GRIDS["mni152-2mm"].matrix, (91, 109, 20))
        far = Grid.from_affine(affine, (91, 109, 91))
        assert near.isclose(exact)
        assert not far.isclose(GRIDS["mni152-2mm"])

    def test_shapes_must_be_equal(self) -> None:
        small = Grid.from_affine(GRIDS["mni152-3mm"].matrix, (60, 73, 61))
        assert not small.isclose(GRIDS["mni152-3mm"])


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (np.diag([2, 2, 2, 1]), "4×5×6 voxels of 2 mm"),
        (np.diag([-2, 2, 3.5, 1]), "4×5×6 voxels of 2×2×3.5 mm"),
        (TURN, "4×5×6 voxels of 2 mm"),
        (np.diag([1.99999988, 2, 2, 1]), "4×5×6 voxels of 2 mm"),
    ],
)
def test_describe(affine: np.ndarray, words: str) -> None:
    assert Grid.from_affine(affine, (4, 5, 6)).describe() == words
