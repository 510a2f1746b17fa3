"""Reading maps from real files, held against nilearn on every geometry."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import struct
import tracemalloc
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nilearn.image import resample_img

from intake_neurovault.errors import (
    ArgumentError,
    CorruptFileError,
    GeometryError,
    GridError,
    NeuroVaultWarning,
)
from intake_neurovault.grid import GRIDS, Grid, GridFile, parse_grid
from intake_neurovault.nifti import (
    Geometry,
    Reader,
    make_image,
    read_geometry,
    resolve_grid,
)

LABEL = "image 3 (collection 1)"
NAMED = r"^image 3 \(collection 1\): "
ROUNDING = 8 * np.finfo(np.float32).eps
"""How far from nilearn's values, relative to the largest value of the map."""

any_coverage = pytest.mark.filterwarnings(
    "ignore:image 3 .*field of view:intake_neurovault.errors.NeuroVaultWarning"
)


def affine(step: float, x: float, y: float, z: float, flip: bool = False) -> np.ndarray:
    matrix = np.diag([-step if flip else step, step, step, 1.0])
    matrix[:3, 3] = x, y, z
    return matrix


def turned(step: float, *origin: float) -> np.ndarray:
    turn = nib.eulerangles.euler2mat(0.05, -0.1, 0.2)
    return nib.affines.from_matvec(turn * step, origin)


SWAPPED = np.array([[0, 0, 8.0, -90], [8, 0, 0, -120], [0, -8, 0, 80], [0, 0, 0, 1]])

REAL = {
    "FSL 2 mm": ((91, 109, 91), affine(2, 90, -126, -72, flip=True)),
    "SPM 2 mm": ((79, 95, 79), affine(2, -78, -112, -70)),
    "SPM 2 mm flipped": ((79, 95, 68), affine(2, 78, -112, -50, flip=True)),
    "SPM 3 mm": ((53, 63, 46), affine(3, 78, -112, -70, flip=True)),
    "fMRIPrep 2 mm": ((97, 115, 97), affine(2, -96.5, -132.5, -78.5)),
    "FSL 1 mm": ((182, 218, 182), affine(1, 90, -126, -72, flip=True)),
    "nilearn 3 mm, cut": ((61, 73, 50), affine(3, -90, -126, -72)),
    "oblique 3 mm": ((60, 70, 60), turned(3, -80, -115, -60)),
}


def values(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Waves with some noise inside an ellipsoid, nothing outside, as maps are."""
    i, j, k = np.meshgrid(
        *[np.linspace(-1, 1, n, dtype="f4") for n in shape[:3]],
        indexing="ij",
        sparse=True,
    )
    waves = np.cos(9 * i) * np.sin(7 * j + 1) * np.cos(8 * k)
    noise = np.random.default_rng(seed).standard_normal(waves.shape, dtype="f4")
    inside = i**2 + j**2 + k**2 < 0.9
    return ((4 * waves + 0.5 * noise) * inside).astype("f4").reshape(shape)


def nifti(
    data: np.ndarray,
    matrix: np.ndarray,
    dtype: str | None = None,
    scaling: tuple[float, float] = (0, 0),
    kind: type = nib.Nifti1Header,
) -> bytes:
    """Make a file by hand: nibabel's own writing would choose another scaling."""
    stored = np.dtype(dtype or data.dtype)
    header = kind(endianness=">" if stored.str[0] == ">" else "<")
    header.set_data_dtype(stored)
    header.set_data_shape(data.shape)
    header.set_sform(matrix, 4)
    header["scl_slope"], header["scl_inter"] = scaling
    header["magic"], offset = header.single_magic, header.single_vox_offset
    header["vox_offset"] = offset
    start = bytes(header.binaryblock).ljust(offset, b"\0")
    return start + data.astype(stored).tobytes("F")


def save(
    folder: Path, data: np.ndarray, matrix: np.ndarray, name: str = "x.nii"
) -> Path:
    path = folder / name
    content = nifti(data, matrix)
    path.write_bytes(gzip.compress(content, 1) if name.endswith("gz") else content)
    return path


def nilearn_says(image: Path | nib.Nifti1Image, grid: Grid, method: str) -> np.ndarray:
    loaded = nib.load(image) if isinstance(image, Path) else image
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = resample_img(loaded, grid.matrix, grid.shape, interpolation=method)
    return np.asanyarray(made.dataobj).reshape(grid.shape)


def check_agreement(path: Path, grid: Grid, method: str, scale: float) -> None:
    reader = Reader.parse(grid=grid, interpolation=method)
    ours = reader(path, discrete=False, label=LABEL)
    theirs = nilearn_says(path, grid, method)
    assert ours.dtype == np.float32
    assert ours.shape == grid.shape
    if method == "nearest":
        assert np.array_equal(ours, theirs.astype("f4"), equal_nan=True)
    else:
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING * scale)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("real")
    return {
        name: save(folder, values(shape), matrix, f"{number}.nii")
        for number, (name, (shape, matrix)) in enumerate(REAL.items())
    }


class TestRealGeometries:
    @pytest.mark.parametrize("method", ["continuous", "linear", "nearest"])
    @pytest.mark.parametrize("name", REAL)
    def test_agrees_with_nilearn(
        self, files: dict[str, Path], name: str, method: str
    ) -> None:
        check_agreement(files[name], GRIDS["mni152-3mm"], method, 6)

    @pytest.mark.parametrize("name", ["SPM 3 mm", "nilearn 3 mm, cut"])
    def test_agrees_on_the_two_millimetre_grid(
        self, files: dict[str, Path], name: str
    ) -> None:
        check_agreement(files[name], GRIDS["mni152-2mm"], "linear", 6)

    def test_all_stack(self, files: dict[str, Path]) -> None:
        reader = Reader.parse(interpolation="nearest")
        maps = [reader(path, discrete=False, label=LABEL) for path in files.values()]
        assert np.stack(maps).shape == (len(REAL), 61, 73, 61)


COARSE = parse_grid(9)
SMALL = (24, 29, 24)
AROUND = affine(8, -95, -130, -76)


def with_background(value: float) -> np.ndarray:
    data = values(SMALL)
    data[data == 0] = value
    return data


def scattered(value: float) -> np.ndarray:
    data = values(SMALL)
    data[::5, ::4, ::7] = value
    return data


COUNTS = np.abs(values(SMALL)) * 40
TWO = nib.Nifti2Header

VARIANTS: dict[str, bytes] = {
    "float64": nifti(values(SMALL), AROUND, "<f8"),
    "float32, big-endian": nifti(values(SMALL), AROUND, ">f4"),
    "float64, big-endian": nifti(values(SMALL), AROUND, ">f8"),
    "int16, scaled": nifti(COUNTS, AROUND, "<i2", (0.0123, -1.5)),
    "int16, big-endian, scaled": nifti(COUNTS, AROUND, ">i2", (0.0123, -1.5)),
    "uint8, scaled": nifti(COUNTS, AROUND, "|u1", (0.7, 0)),
    "float32, scaled": nifti(values(SMALL), AROUND, "<f4", (0.7, 3)),
    "int32, intercept alone": nifti(COUNTS, AROUND, ">i4", (1, 2)),
    "NIfTI-2": nifti(values(SMALL), AROUND, kind=TWO),
    "NIfTI-2, int16, scaled": nifti(COUNTS, AROUND, "<i2", (0.5, 1), TWO),
    "NIfTI-2, big-endian": nifti(values(SMALL), AROUND, ">f4", kind=TWO),
    "NaN background": nifti(with_background(np.nan), AROUND),
    "NaN background, float64": nifti(with_background(np.nan), AROUND, "<f8"),
    "infinite background": nifti(with_background(np.inf), AROUND),
    "scattered NaN": nifti(scattered(np.nan), AROUND),
    "scattered infinities": nifti(scattered(-np.inf), AROUND),
    "one volume": nifti(values((*SMALL, 1)), AROUND),
    "two trailing ones": nifti(values((*SMALL, 1, 1)), AROUND),
    "oblique": nifti(values(SMALL), turned(8, -75, -115, -70)),
    "swapped axes": nifti(values(SMALL), SWAPPED),
    "reaches half way": nifti(values(SMALL), affine(8, 10, -130, 0)),
    "one slice": nifti(values((24, 29, 1)) + 1, affine(9, -99, -126, -9)),
    "whole voxels off": nifti(values(SMALL), affine(9, -108, -126, -63)),
    "longer, same affine": nifti(values((30, 30, 30)), affine(9, -90, -126, -72)),
    "constant": nifti(np.full(SMALL, 7, "f4"), AROUND),
    "empty": nifti(np.zeros(SMALL, "f4"), AROUND),
}


@any_coverage
class TestVariants:
    @pytest.mark.parametrize("method", ["continuous", "linear", "nearest"])
    @pytest.mark.parametrize("name", VARIANTS)
    def test_agrees_with_nilearn(self, tmp_path: Path, name: str, method: str) -> None:
        path = tmp_path / "x.nii"
        path.write_bytes(VARIANTS[name])
        stored = np.asanyarray(nib.load(path).dataobj)
        scale = np.abs(stored[np.isfinite(stored)]).max(initial=0)
        check_agreement(path, COARSE, method, scale)

    @pytest.mark.parametrize("name", VARIANTS)
    def test_gzip_makes_no_difference(self, tmp_path: Path, name: str) -> None:
        plain, packed = tmp_path / "x.nii", tmp_path / "x.nii.gz"
        plain.write_bytes(VARIANTS[name])
        packed.write_bytes(gzip.compress(VARIANTS[name]))
        reader = Reader.parse(grid=None)
        first = reader(plain, discrete=False, label=LABEL)
        second = reader(packed, discrete=False, label=LABEL)
        expected = np.asanyarray(nib.load(plain).dataobj).reshape(first.shape)
        assert np.array_equal(first, expected.astype("f4"), equal_nan=True)
        assert np.array_equal(first, second, equal_nan=True)

    @pytest.mark.parametrize("dtype", ["|u1", "<i2", ">u2", "<i4", "<i8"])
    @pytest.mark.parametrize("method", ["continuous", "linear", "nearest"])
    def test_integers_give_fractions(
        self, tmp_path: Path, dtype: str, method: str
    ) -> None:
        path, floats = tmp_path / "x.nii", tmp_path / "floats.nii"
        path.write_bytes(nifti(COUNTS, AROUND, dtype))
        floats.write_bytes(nifti(np.trunc(COUNTS), AROUND))
        reader = Reader.parse(grid=COARSE, interpolation=method)
        ours = reader(path, discrete=False, label=LABEL)
        theirs = nilearn_says(floats, COARSE, method)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING * 250)
        assert (method == "nearest") == bool((ours == np.round(ours)).all())


class TestInterpolation:
    @pytest.mark.parametrize(
        ("interpolation", "discrete", "method"),
        [
            ("auto", True, "nearest"),
            ("auto", False, "continuous"),
            ("nearest", False, "nearest"),
            ("linear", True, "linear"),
            ("continuous", True, "continuous"),
        ],
    )
    def test_choice(
        self, tmp_path: Path, interpolation: str, discrete: bool, method: str
    ) -> None:
        path = save(tmp_path, values(SMALL), AROUND)
        reader = Reader.parse(grid=9, interpolation=interpolation)
        assert reader.method(discrete) == method
        ours = reader(path, discrete=discrete, label=LABEL)
        theirs = nilearn_says(path, COARSE, method)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=ROUNDING * 6)

    def test_labels_stay_labels(self, tmp_path: Path) -> None:
        labels = np.random.default_rng(0).integers(0, 400, SMALL).astype("i2")
        path = save(tmp_path, labels, AROUND)
        read = Reader.parse(grid=9)(path, discrete=True, label=LABEL)
        assert set(np.unique(read)) <= set(np.unique(labels))

    def test_a_mask_raises_no_warning(self, tmp_path: Path) -> None:
        mask = (values(SMALL) > 0).astype("u1")
        path = save(tmp_path, mask, AROUND)
        read = Reader.parse(grid=9)(path, discrete=False, label=LABEL)
        assert 0 <= read.min() < read.max() <= 1


class TestNan:
    @pytest.mark.parametrize("grid", [9, None, AROUND])
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_zero_leaves_only_numbers(
        self, tmp_path: Path, grid: object, value: float
    ) -> None:
        if grid is AROUND:
            grid = Grid.from_affine(AROUND, SMALL)
        path = save(tmp_path, with_background(value), AROUND)
        kept = Reader.parse(grid=grid)(path, discrete=False, label=LABEL)
        zeroed = Reader.parse(grid=grid, nan="zero")(path, discrete=False, label=LABEL)
        assert not np.isfinite(kept).all()
        assert np.array_equal(zeroed, np.where(np.isfinite(kept), kept, 0))

    def test_map_of_nothing_else(self, tmp_path: Path) -> None:
        path = save(tmp_path, np.full(SMALL, np.nan, "f4"), AROUND)
        read = Reader.parse(grid=9)(path, discrete=False, label=LABEL)
        assert np.isnan(read[:20, :24, :20]).all()
        assert (read[20] == 0).all()

    def test_signalling_nan_and_huge_doubles(self, tmp_path: Path) -> None:
        content = bytearray(nifti(values(SMALL), AROUND, "<f8"))
        struct.pack_into("<Qd", content, 352, 0x7FF0000000000001, 1e300)
        path = tmp_path / "x.nii"
        path.write_bytes(content)
        read = Reader.parse(grid=None)(path, discrete=False, label=LABEL)
        assert np.isnan(read[0, 0, 0])
        assert read[1, 0, 0] == np.inf


class TestFieldOfView:
    @pytest.mark.parametrize("fill", [0.0, -999.0, 1e6, float("nan")])
    @any_coverage
    def test_outside_is_the_fill_value(self, tmp_path: Path, fill: float) -> None:
        path = save(tmp_path, values(SMALL), affine(8, 10, -130, 0))
        plain = Reader.parse(grid=9)(path, discrete=False, label=LABEL)
        read = Reader.parse(grid=9, fill_value=fill)(path, discrete=False, label=LABEL)
        outside = np.isnan(
            Reader.parse(grid=9, fill_value="nan")(path, discrete=False, label=LABEL)
        )
        assert 0 < outside.sum() < outside.size
        assert np.array_equal(
            read, np.where(outside, np.float32(fill), plain), equal_nan=True
        )

    def test_nan_fill_survives_the_zero_policy(self, tmp_path: Path) -> None:
        path = save(tmp_path, scattered(np.nan), affine(8, -95, -130, -30))
        reader = Reader.parse(grid=9, nan="zero", fill_value="nan")
        read = reader(path, discrete=False, label=LABEL)
        assert np.isnan(read[:, :, 0]).all()
        assert np.isfinite(read[:, :, 10]).any()

    def test_little_coverage_warns(self, tmp_path: Path) -> None:
        path = save(tmp_path, values(SMALL), affine(8, 10, -130, 0))
        reader = Reader.parse(grid=9)
        with pytest.warns(
            NeuroVaultWarning, match=rf"{NAMED}.*covers 2\d% of the grid"
        ):
            reader(path, discrete=False, label=LABEL)

    @pytest.mark.parametrize("x", [-900, 900])
    def test_none_at_all_is_no_error(self, tmp_path: Path, x: float) -> None:
        path = save(tmp_path, values(SMALL) + 1, affine(8, x, -130, -76))
        reader = Reader.parse(grid=9, fill_value=5)
        with pytest.warns(NeuroVaultWarning, match=rf"{NAMED}.*covers 0% of the grid"):
            read = reader(path, discrete=False, label=LABEL)
        assert (read == 5).all()


class TestOnTheGrid:
    @pytest.mark.parametrize("nudge", [0, 2e-4, -9e-4])
    @pytest.mark.parametrize("method", ["auto", "continuous", "linear", "nearest"])
    def test_values_are_taken_as_they_are(
        self, tmp_path: Path, nudge: float, method: str
    ) -> None:
        grid = COARSE
        data = values(grid.shape)
        data[3, 4, 5] = np.inf
        matrix = grid.matrix
        matrix[0, 3] += nudge
        path = save(tmp_path, data, matrix)
        reader = Reader.parse(grid=grid, interpolation=method)
        assert np.array_equal(reader(path, discrete=False, label=LABEL), data)

    def test_beyond_the_tolerance_they_are_resampled(self, tmp_path: Path) -> None:
        data = values(COARSE.shape)
        matrix = COARSE.matrix
        matrix[0, 3] += 0.5
        path = save(tmp_path, data, matrix)
        read = Reader.parse(grid=COARSE)(path, discrete=False, label=LABEL)
        assert not np.array_equal(read, data)

    @pytest.mark.parametrize("grid", [None, Grid.from_affine(AROUND, SMALL)])
    @pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8"])
    def test_the_array_belongs_to_the_caller(
        self, tmp_path: Path, grid: Grid | None, dtype: str
    ) -> None:
        path = tmp_path / "x.nii"
        path.write_bytes(nifti(values(SMALL), AROUND, dtype))
        read = Reader.parse(grid=grid)(path, discrete=False, label=LABEL)
        assert read.dtype == np.float32
        assert read.flags.writeable
        assert np.array_equal(read, values(SMALL))


class TestRefusals:
    @pytest.mark.parametrize(
        ("shape", "words"),
        [
            ((4, 5), r"2 dimensions \(4×5\)"),
            ((4, 5, 6, 3), r"4 dimensions \(4×5×6×3\)"),
            ((4, 5, 6, 1, 2), r"5 dimensions \(4×5×6×1×2\)"),
        ],
    )
    def test_dimensions(
        self, tmp_path: Path, shape: tuple[int, ...], words: str
    ) -> None:
        path = save(tmp_path, np.zeros(shape, "f4"), np.eye(4))
        with pytest.raises(GeometryError, match=f"{NAMED}the file has {words}"):
            Reader.parse()(path, discrete=False, label=LABEL)
        with pytest.raises(GeometryError, match=f"{NAMED}the file has {words}"):
            read_geometry(path, label=LABEL)

    @pytest.mark.parametrize(
        "dtype", ["c8", np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])], ids=str
    )
    def test_what_is_no_real_number(
        self, tmp_path: Path, dtype: str | np.dtype[np.void]
    ) -> None:
        path = save(tmp_path, np.zeros((4, 5, 6), dtype), np.eye(4))
        with pytest.raises(GeometryError, match=f"{NAMED}.* where a map has one real"):
            Reader.parse()(path, discrete=False, label=LABEL)

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda content: content[:-1], "the file is cut off"),
            (lambda content: content[:-8] + bytes(8), "the gzip stream is damaged"),
            (lambda content: b"<html>" + content, "looks like an HTML"),
            (lambda content: content[:0], "the file is empty"),
            (lambda content: gzip.decompress(content)[:-4], "ends after"),
        ],
    )
    def test_damage(
        self, tmp_path: Path, damage: Callable[[bytes], bytes], words: str
    ) -> None:
        path = save(tmp_path, values(SMALL), AROUND, "x.nii.gz")
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(CorruptFileError, match=f"{NAMED}.*{words}"):
            Reader.parse()(path, discrete=False, label=LABEL)

    def test_scaling_by_nothing(self, tmp_path: Path) -> None:
        content = bytearray(nifti(COUNTS, AROUND, "<i2", (2, 1)))
        struct.pack_into("<f", content, 116, float("nan"))
        path = tmp_path / "x.nii"
        path.write_bytes(content)
        with pytest.raises(CorruptFileError, match=f"{NAMED}.*the intercept nan"):
            Reader.parse()(path, discrete=False, label=LABEL)

    @settings(deadline=None)
    @given(offset=st.integers(40, 343), junk=st.binary(min_size=1, max_size=12))
    def test_junk_in_a_header_raises_nothing_else(
        self, tmp_path_factory: pytest.TempPathFactory, offset: int, junk: bytes
    ) -> None:
        content = nifti(COUNTS, AROUND, "<i2", (2, 1))
        path = tmp_path_factory.getbasetemp() / "junk.nii"
        path.write_bytes(content[:offset] + junk + content[offset + len(junk) :])
        try:
            read = Reader.parse(grid=None)(path, discrete=False, label=LABEL)
        except (CorruptFileError, GeometryError):
            return
        assert read.ndim == 3


class TestReadGeometry:
    @pytest.mark.parametrize("name", REAL)
    def test_real_ones(self, tmp_path: Path, name: str) -> None:
        shape, matrix = REAL[name]
        header = nib.Nifti1Image(np.broadcast_to(np.float32(0), shape), matrix).header
        path = tmp_path / "x.nii"
        path.write_bytes(header.binaryblock + bytes(4))
        grid = read_geometry(path, label=LABEL).grid
        assert grid.shape == shape
        np.testing.assert_allclose(grid.matrix, matrix, rtol=0, atol=1e-5)

    def test_nothing_behind_the_header_is_inflated(self, tmp_path: Path) -> None:
        path = save(tmp_path, values((60, 60, 60)), AROUND, "x.nii.gz")
        content = path.read_bytes()
        path.write_bytes(content[:2000] + b"damage" * 1000)
        assert read_geometry(path, label=LABEL).grid.shape == (60, 60, 60)


class TestResolveGrid:
    @pytest.mark.parametrize("grid", [None, COARSE])
    def test_values_stay(self, grid: Grid | None) -> None:
        assert resolve_grid(grid) is grid

    @pytest.mark.parametrize("name", ["like.nii", "like.nii.gz"])
    def test_grid_of_an_image(self, tmp_path: Path, name: str) -> None:
        like = save(tmp_path, np.zeros((*SMALL, 1), "u1"), AROUND, name)
        source = save(tmp_path, values((20, 24, 20)), affine(10, -95, -125, -75))
        reader = Reader.parse(grid=like)
        assert resolve_grid(reader.grid) == Grid.from_affine(AROUND, SMALL)
        read = reader(source, discrete=False, label=LABEL)
        same = reader.resolve()(source, discrete=False, label=LABEL)
        assert read.shape == SMALL
        assert np.array_equal(read, same)

    def test_home_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", os.fspath(tmp_path))
        save(tmp_path, values(SMALL), AROUND, "like.nii")
        assert resolve_grid(GridFile("~/like.nii")) == Grid.from_affine(AROUND, SMALL)

    @pytest.mark.parametrize(
        ("content", "words"),
        [(None, "No such file"), (b"<html>", "looks like an HTML"), (b"", "is empty")],
    )
    def test_what_cannot_be_matched(
        self, tmp_path: Path, content: bytes | None, words: str
    ) -> None:
        path = tmp_path / "like.nii"
        if content is not None:
            path.write_bytes(content)
        reader = Reader.parse(grid=path)
        with pytest.raises(
            GridError, match=f"image to match cannot be used: .*{words}"
        ):
            resolve_grid(reader.grid)


readers = st.builds(
    Reader.parse,
    grid=st.sampled_from([None, 2.5, "mni152-1mm", "a.nii", *GRIDS.values()]),
    interpolation=st.sampled_from(["auto", "continuous", "linear", "nearest"]),
    nan=st.sampled_from(["keep", "zero"]),
    fill_value=st.floats(width=32) | st.sampled_from(["0", "-1.5", "nan", 7]),
)


class TestReader:
    @given(readers)
    def test_arguments_round_trip_through_json(self, reader: Reader) -> None:
        text = json.dumps(reader.to_arguments(), allow_nan=False)
        assert Reader.parse(**json.loads(text)) == reader

    @given(readers)
    def test_pickle_and_hash(self, reader: Reader) -> None:
        again = pickle.loads(pickle.dumps(reader))
        assert again == reader
        assert hash(again) == hash(reader)

    def test_defaults_need_no_words(self) -> None:
        assert Reader.parse().to_arguments() == {}
        assert Reader.parse(grid=3, fill_value="0") == Reader.parse()

    def test_opens_nothing_before_it_is_called(self, tmp_path: Path) -> None:
        reader = Reader.parse(grid=tmp_path / "no_such_file.nii")
        assert reader.to_arguments() == {"grid": str(tmp_path / "no_such_file.nii")}

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            (
                {"interpolation": "nearst"},
                "interpolation='nearst' is unknown; did you mean 'nearest'[?] "
                "It is one of auto, continuous, linear, nearest",
            ),
            ({"interpolation": "cubic"}, "interpolation='cubic' is unknown"),
            ({"interpolation": None}, "interpolation=None is unknown"),
            ({"nan": "Zero"}, "nan='Zero' is unknown; did you mean 'zero'[?]"),
            ({"nan": "drop"}, "nan='drop' is unknown; it is one of keep, zero"),
            ({"grid": "mni152-4mm"}, "grid='mni152-4mm' is not a grid; did you mean"),
            ({"fill_value": "none"}, "fill_value='none' must be a number"),
            ({"fill_value": None}, "fill_value=None must be a number"),
            ({"fill_value": True}, "fill_value=True must be a number"),
            ({"fill_value": 1e39}, "must be a number that float32 can hold"),
        ],
    )
    def test_refusals(self, arguments: dict[str, object], match: str) -> None:
        with pytest.raises(ArgumentError, match=match):
            Reader.parse(**arguments)

    def test_many_threads(self, tmp_path: Path) -> None:
        paths = [
            save(tmp_path, values(SMALL, seed), AROUND, f"{seed}.nii.gz")
            for seed in range(6)
        ]
        reader = Reader.parse(grid=9)
        filters = list(warnings.filters)

        def read(path: Path) -> np.ndarray:
            return reader(path, discrete=False, label=LABEL)

        with ThreadPoolExecutor(6) as pool:
            together = list(pool.map(read, paths * 5))
        alone = [read(path) for path in paths] * 5
        assert all(map(np.array_equal, together, alone))
        assert warnings.filters == filters

    def test_memory_is_that_of_a_few_maps(self, tmp_path: Path) -> None:
        shape, matrix = REAL["FSL 2 mm"]
        path = save(tmp_path, values(shape), matrix, "x.nii.gz")
        reader = Reader.parse()
        one_map = 4 * 91 * 109 * 91
        tracemalloc.start()
        try:
            reader(path, discrete=False, label=LABEL)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 4 * one_map


def test_what_was_read_can_be_written_again(tmp_path: Path) -> None:
    source = nib.Nifti1Image(values(SMALL), AROUND)
    source.set_sform(AROUND, 4)
    source.header.set_xyzt_units("mm", "sec")
    source.header["descrip"] = b"group mean"
    path = tmp_path / "x.nii.gz"
    nib.save(source, path)
    geometry = read_geometry(path, label=LABEL)
    assert isinstance(geometry, Geometry)
    copy = tmp_path / "copy.nii.gz"
    made = make_image(
        Reader.parse(grid=None)(path, discrete=False, label=LABEL),
        geometry.grid.matrix,
        sform_code=geometry.sform_code,
        qform_code=geometry.qform_code,
        xyzt_units=geometry.xyzt_units,
        description=geometry.description,
    )
    nib.save(made, copy)
    assert read_geometry(copy, label=LABEL) == geometry
    again = Reader.parse(grid=None)(copy, discrete=False, label=LABEL)
    assert np.array_equal(again, values(SMALL))
